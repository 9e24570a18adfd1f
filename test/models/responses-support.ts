import type { ModelEvent } from '../../src/model.ts';
import { createDispatcher, type HttpClient } from '../../src/models/http-client.ts';
import { dialectOf } from '../../src/models/responses/dialects.ts';
import { createResponsesModel } from '../../src/models/responses/model.ts';
import { type Handler, startUpstream, type Upstream } from '../support/upstream.ts';
import { type Setting, upstreamConfig } from './support.ts';

export type ResponsesSetting = Setting & { readonly store?: boolean };

/** A model over a scripted upstream that speaks Responses. Retries wait no time. */
export async function responsesScene(script: Handler | readonly Handler[], setting: ResponsesSetting = {}) {
  const upstream: Upstream = await startUpstream(script);
  const config = { ...upstreamConfig, ...setting.upstream };
  const client: HttpClient = createDispatcher(config);
  const delays: number[] = [];
  const warnings: string[] = [];
  const model = createResponsesModel({
    provider: {
      name: 'acme',
      baseUrl: setting.url ?? upstream.url,
      apiKey: 'apiKey' in setting ? setting.apiKey : 'sk-the-servers-own-key',
      headers: setting.headers ?? {},
    },
    dialect: dialectOf(setting.profile ?? 'openai'),
    store: setting.store ?? false,
    upstream: config,
    dispatcher: client.dispatcher,
    logger: { warn: (_fields, message) => warnings.push(message) },
    schedule(delayMs, wake) {
      // Backoff is at most 2 s; the bounds on the call are longer, or set short by the test.
      const backoff = delayMs <= 2_000 && delayMs !== config.timeoutMs;
      if (backoff) delays.push(delayMs);
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

/** What was said, with neighbouring deltas of a kind joined: what an answer says however it is cut. */
export function joined(events: readonly ModelEvent[]): ModelEvent[] {
  const result: ModelEvent[] = [];
  for (const event of events) {
    const last = result.at(-1);
    if (event.type === 'text' && last?.type === 'text') {
      result[result.length - 1] = { ...last, delta: last.delta + event.delta };
    } else if (event.type === 'refusal' && last?.type === 'refusal') {
      result[result.length - 1] = { ...last, delta: last.delta + event.delta };
    } else if (event.type === 'reasoning' && last?.type === 'reasoning' && event.summary?.part === last.summary?.part) {
      result[result.length - 1] = { ...last, delta: last.delta + event.delta };
    } else if (event.type === 'tool_arguments' && last?.type === 'tool_arguments' && last.index === event.index) {
      result[result.length - 1] = { ...last, delta: last.delta + event.delta };
    } else {
      result.push(event);
    }
  }
  return result;
}
