import type { UpstreamConfig } from '../../config.ts';
import type { Model, ModelFeatures } from '../../model.ts';
import type { Dispatching } from '../connections.ts';
import { type CallSettings, type Logger, type Schedule, UpstreamCall } from './call.ts';
import { type Provider, toEndpoint } from './endpoint.ts';
import type { Protocol } from './protocol.ts';

/** Where a model's calls go, and with what. */
export type UpstreamOptions = {
  readonly provider: Provider;
  readonly upstream: UpstreamConfig;
  readonly dispatcher: Dispatching;
  /** Told about retries. Undefined: nobody is. */
  readonly logger?: Logger | undefined;
  readonly schedule?: Schedule | undefined;
  readonly now?: (() => number) | undefined;
  readonly random?: (() => number) | undefined;
};

/**
 * A model behind HTTP. A call is tried again, before anything of an answer has arrived, at most `upstream.maxRetries`
 * times. Throws a `TypeError` for a base URL that is none; `stream` never throws.
 */
export function createUpstreamModel(options: UpstreamOptions, protocol: Protocol, features: ModelFeatures): Model {
  const { provider } = options;
  const settings: CallSettings = {
    provider: provider.name,
    endpoint: toEndpoint(provider),
    protocol,
    upstream: options.upstream,
    dispatcher: options.dispatcher,
    logger: options.logger ?? { warn: () => {} },
    schedule: options.schedule ?? later,
    now: options.now ?? Date.now,
    random: options.random ?? Math.random,
  };
  return {
    features,
    stream(call, sink) {
      const running = new UpstreamCall(settings, call, sink);
      running.begin();
      return running;
    },
  };
}

const later: Schedule = (delayMs, run) => {
  const timer = setTimeout(run, delayMs);
  return () => clearTimeout(timer);
};
