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

/** A model over a scripted upstream. Retries wait no time; `delays` records how long they would have. */
export async function scene(script: Handler | readonly Handler[], setting: Setting = {}) {
  const upstream: Upstream = await startUpstream(script);
  const config = { ...upstreamConfig, ...setting.upstream };
  const client: HttpClient = createDispatcher(config);
  const delays: number[] = [];
  const warnings: string[] = [];
  const model = createChatCompletionsModel({
    provider: {
      name: 'acme',
      baseUrl: setting.url ?? upstream.url,
      apiKey: 'apiKey' in setting ? setting.apiKey : 'sk-the-servers-own-key',
      headers: setting.headers ?? {},
    },
    profile: profileOf(setting.profile ?? 'generic'),
    upstream: config,
    dispatcher: client.dispatcher,
    logger: { warn: (_fields, message) => warnings.push(message) },
    schedule(delayMs, wake) {
      // Backoff is at most 2 s; the bounds on the call are longer, or set short by the test.
      const backoff = delayMs <= 2_000 && delayMs !== config.timeoutMs;
      if (backoff) {
        delays.push(delayMs);
        setting.onBackoff?.();
      }
      const timer = setTimeout(wake, backoff ? 0 : delayMs);
      return () => clearTimeout(timer);
    },
    now: () => Date.UTC(2026, 0, 1),
    random: () => 0.5,
  });
  const close = async () => {
    await client.close();
    await upstream.close();
  };
  return { model, upstream, client, delays, warnings, close, [Symbol.asyncDispose]: close };
}

/** Plays one call to its end. */
export async function play(model: Model, fields: Partial<ModelCall> = {}) {
  const { events, ended } = run(model, modelCall({ items: [userSays('Hello')], ...fields }));
  const end = await ended;
  return { events, end, error: end.reason === 'error' ? end.error : undefined };
}

export const types = (events: readonly ModelEvent[]) => events.map((event) => event.type);
