import type { UpstreamConfig } from '../../src/config.ts';
import type { Model, ModelCall, ModelEvent } from '../../src/model.ts';
import { createChatCompletionsModel } from '../../src/models/chat-completions/model.ts';
import { createDispatcher, type HttpClient } from '../../src/models/http-client.ts';
import { type Profile, profiles } from '../../src/models/profiles.ts';
import { modelCall, run, userSays } from '../contracts/model.ts';
import { type Handler, startUpstream, type Upstream } from '../support/upstream.ts';

export const upstreamConfig: UpstreamConfig = {
  connectTimeoutMs: 5_000,
  headersTimeoutMs: 10_000,
  idleTimeoutMs: 10_000,
  timeoutMs: 30_000,
  maxRetries: 0,
  maxResponseBytes: 64 * 1024 * 1024,
  maxConnections: 32,
  unsupported: 'reject',
  caFile: undefined,
  httpProxy: undefined,
  httpsProxy: undefined,
  noProxy: undefined,
};

export function profileOf(name: string): Profile {
  const profile = profiles.get(name);
  if (profile === undefined) throw new Error(`no profile ${name}`);
  return profile;
}

export type Setting = {
  readonly upstream?: Partial<UpstreamConfig>;
  readonly profile?: string;
  readonly apiKey?: string | undefined;
  readonly headers?: Record<string, string>;
  readonly url?: string;
  /** Told when a backoff begins. */
  readonly onBackoff?: () => void;
};

/** A scripted upstream, and what a model over it is made with. Retries wait no time; `delays` records how long they would have. */
export async function upstreamScene(script: Handler | readonly Handler[], setting: Setting) {
  const upstream: Upstream = await startUpstream(script);
  const config = { ...upstreamConfig, ...setting.upstream };
  const client: HttpClient = createDispatcher(config);
  const delays: number[] = [];
  const warned: { readonly fields: object; readonly message: string }[] = [];
  const warnings: string[] = [];
  const options = {
    provider: {
      name: 'acme',
      baseUrl: setting.url ?? upstream.url,
      apiKey: 'apiKey' in setting ? setting.apiKey : 'sk-the-servers-own-key',
      headers: setting.headers ?? {},
    },
    upstream: config,
    dispatcher: client.dispatcher,
    logger: {
      warn(fields: object, message: string) {
        warned.push({ fields, message });
        warnings.push(message);
      },
    },
    schedule(delayMs: number, wake: () => void) {
      // Backoff is at most 2 s; the bounds on the call are longer, or set short by the test.
      const isBackoff = delayMs <= 2_000 && delayMs !== config.timeoutMs;
      if (isBackoff) {
        delays.push(delayMs);
        setting.onBackoff?.();
      }
      const timer = setTimeout(wake, isBackoff ? 0 : delayMs);
      return () => clearTimeout(timer);
    },
    now: () => Date.UTC(2026, 0, 1),
    random: () => 0.5,
  };
  const close = async () => {
    await client.close();
    await upstream.close();
  };
  return { upstream, client, delays, warnings, warned, options, close, [Symbol.asyncDispose]: close };
}

/** A model over a scripted upstream that speaks Chat Completions. */
export async function scene(script: Handler | readonly Handler[], setting: Setting = {}) {
  const { options, ...rest } = await upstreamScene(script, setting);
  const profile = profileOf(setting.profile ?? 'generic');
  return { ...rest, model: createChatCompletionsModel({ ...options, profile }) };
}

/** Plays one call to its end. */
export async function play(model: Model, fields: Partial<ModelCall> = {}) {
  const { events, ended } = run(model, modelCall({ items: [userSays('Hello')], ...fields }));
  const end = await ended;
  return { events, end, error: end.reason === 'error' ? end.error : undefined };
}

export const types = (events: readonly ModelEvent[]) => events.map((event) => event.type);

/** Something that can go wrong with an upstream, and how it is told. */
export type Weather<S extends Setting = Setting> = {
  readonly handler: Handler;
  readonly setting?: S;
  readonly call?: Partial<ModelCall>;
  readonly error: {
    kind: string;
    code?: string | null;
    param?: string | null;
    retryAfterMs?: number;
    message?: RegExp;
  };
  /** The upstream had accepted the call. */
  readonly started: boolean;
};
