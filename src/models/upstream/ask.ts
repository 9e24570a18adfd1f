import { ApiError } from '../../errors.ts';
import type { Dispatching } from '../connections.ts';
import { type Provider, requestHeaders, toEndpoint } from './endpoint.ts';
import { Exchange, type ResponseHeaders } from './exchange.ts';
import { transportError } from './failures.ts';

const usualTimeoutMs = 5_000;
const maxBytes = 4 * 1024 * 1024;

export type AskOptions = {
  readonly provider: Provider;
  readonly dispatcher: Dispatching;
  /** The bearer token, sent where the provider has no key of the server's. */
  readonly credential?: string | undefined;
  readonly via?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type Question = {
  readonly method: 'GET' | 'POST';
  /** Such as `/models`. */
  readonly resource: string;
  /** A JSON text. */
  readonly body?: string;
  /** What is asked for, for messages: 'its list of models'. */
  readonly what: string;
  /** Of which answers the body is wanted; the others are over with their status. */
  readonly reads: (status: number) => boolean;
  /** Undefined: 5 s, as what is asked for costs nothing. */
  readonly timeoutMs?: number;
};

/** `body` is empty where it was not wanted; of an error it is what came. */
export type UpstreamAnswer = { readonly status: number; readonly headers: ResponseHeaders; readonly body: string };

/**
 * Asks a provider something small, once, in bounded time and 4 MiB. Resolves with whatever status came; rejects with an
 * `ApiError` where none did, where the body of a 2xx did not come whole, or where the signal called it off.
 */
export function ask(options: AskOptions, question: Question): Promise<UpstreamAnswer> {
  const { provider, dispatcher, credential, via = [], signal } = options;
  const { timeoutMs = usualTimeoutMs } = question;
  const endpoint = toEndpoint(provider);
  const { promise, resolve, reject } = Promise.withResolvers<UpstreamAnswer>();
  let status = 0;
  let headers: ResponseHeaders = {};
  let size = 0;
  const body: Buffer[] = [];
  const settle = (failure?: ApiError) => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', callOff);
    exchange.abort();
    if (failure !== undefined && status < 300) reject(failure);
    else resolve({ status, headers, body: Buffer.concat(body).toString() });
  };
  const exchange = new Exchange({
    headers(received, fields) {
      status = received;
      headers = fields;
      if (!question.reads(status)) settle();
    },
    data(bytes) {
      size += bytes.length;
      if (size <= maxBytes) body.push(bytes);
      else settle(new ApiError('upstream_failed', `Provider \`${provider.name}\` says too much: ${question.what}.`));
    },
    end: () => settle(),
    failed: (error) => settle(transportError(provider.name, error, status !== 0)),
  });
  const late = `Provider \`${provider.name}\` did not answer in time: ${question.what}.`;
  const timer = setTimeout(() => settle(new ApiError('upstream_timeout', late)), timeoutMs);
  const callOff = () => settle(new ApiError('upstream_failed', `The call was called off: ${question.what}.`));
  signal?.addEventListener('abort', callOff);
  const sent = requestHeaders(endpoint, credential, via);
  exchange.send(dispatcher, {
    origin: endpoint.origin,
    path: endpoint.path(question.resource),
    method: question.method,
    headers: question.body === undefined ? sent : { ...sent, 'content-type': 'application/json' },
    body: question.body ?? null,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
  });
  if (signal?.aborted === true) callOff();
  return promise;
}
