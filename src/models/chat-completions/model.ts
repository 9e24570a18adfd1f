import type { Dispatcher } from 'undici';
import type { UpstreamConfig } from '../../config.ts';
import type { Model } from '../../model.ts';
import type { Profile } from '../profiles.ts';
import { type CallSettings, ChatCall, type Logger, type Schedule } from './call.ts';
import { type Provider, toEndpoint } from './endpoint.ts';

export type ChatCompletionsOptions = {
  readonly provider: Provider;
  readonly profile: Profile;
  readonly upstream: UpstreamConfig;
  readonly dispatcher: Dispatcher;
  /** Told about retries. Undefined: nobody is. */
  readonly logger?: Logger | undefined;
  readonly schedule?: Schedule | undefined;
  readonly now?: (() => number) | undefined;
  readonly random?: (() => number) | undefined;
};

/**
 * A provider that speaks Chat Completions. A call is tried again, before anything of an answer has arrived, at most
 * `upstream.maxRetries` times. Throws a `TypeError` for a base URL that is none; `stream` never throws.
 */
export function createChatCompletionsModel(options: ChatCompletionsOptions): Model {
  const { provider, profile } = options;
  const settings: CallSettings = {
    provider: provider.name,
    endpoint: toEndpoint(provider),
    profile,
    upstream: options.upstream,
    dispatcher: options.dispatcher,
    logger: options.logger ?? { warn: () => {} },
    schedule: options.schedule ?? later,
    now: options.now ?? Date.now,
    random: options.random ?? Math.random,
  };
  return {
    features: profile.features,
    stream(call, sink) {
      const running = new ChatCall(settings, call, sink);
      running.begin();
      return running;
    },
  };
}

const later: Schedule = (delayMs, run) => {
  const timer = setTimeout(run, delayMs);
  return () => clearTimeout(timer);
};
