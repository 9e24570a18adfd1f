import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { type ValidateOptions, validate } from '../api/validate.ts';
import type { Caller, Engine, EngineDeps } from '../engine/engine.ts';
import { ApiError, invalidRequest } from '../errors.ts';
import type { ModelLister } from '../model.ts';
import type { Store } from '../store.ts';
import type { Tokenizer } from '../tokenizer.ts';

/** What the routes work with. */
export type HttpContext = {
  readonly engine: Engine;
  readonly deps: EngineDeps;
  readonly store: Store;
  readonly models: ModelLister;
  readonly tokenizer: Tokenizer;
  readonly validation: ValidateOptions;
  readonly stream: {
    readonly keepAliveMs: number;
    readonly writeTimeoutMs: number;
    readonly done: boolean;
    readonly joinDeltas: boolean;
  };
  /** Whether bodies and answers go to the log. */
  readonly logsContent: boolean;
  /** @throws ApiError 401 where nobody has vouched for this caller's credential, and one is needed to create state. */
  readonly requireProven: (caller: Caller) => Promise<void>;
  /** False while the server stops. */
  readonly isReady: () => boolean;
  readonly callerOf: (request: FastifyRequest) => Caller;
};

export type Handler = (request: FastifyRequest, reply: FastifyReply, context: HttpContext) => unknown;

export type Route = {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly handler: Handler;
  /** True for what anybody may ask: whether the server lives, and what it offers. */
  readonly isOpen?: boolean;
};

/** A checked body or query. @throws ApiError 400 */
export function checked<T extends z.ZodType>(schema: T, value: unknown, context: HttpContext): z.output<T> {
  const result = validate(schema, value, context.validation);
  if (result.ok) return result.value;
  const { message, param, code } = result.problem;
  throw invalidRequest(message, param ?? undefined, code);
}

/** A path parameter. */
export function pathParam(request: FastifyRequest, name: string): string {
  const value = (request.params as Readonly<Record<string, string | undefined>>)[name];
  if (value === undefined) throw new ApiError('internal', `no path parameter ${name}`);
  return value;
}

/** Sends a text that is JSON already. */
export function sendJson(reply: FastifyReply, json: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(json);
}
