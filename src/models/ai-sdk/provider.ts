import type { UpstreamConfig } from '../../config.ts';
import { emptyCall, type Model, type ModelCall, type ModelEnd } from '../../model.ts';
import type { Dispatching } from '../connections.ts';
import type { Logger, Schedule } from '../upstream/call.ts';
import { type Provider, toEndpoint } from '../upstream/endpoint.ts';
import { inventedKey, type KeyCheck } from '../upstream/key-check.ts';
import type { UpstreamModels } from '../upstream/list-models.ts';
import { AiSdkCall, type AiSdkSettings } from './call.ts';
import { askForModels, listPackageModels } from './listing.ts';
import type { LoadedPackage } from './load.ts';

export type AiSdkOptions = {
  /** Its `baseUrl` is the vendor's own where the operator gave none. */
  readonly provider: Provider;
  readonly loaded: LoadedPackage;
  readonly upstream: UpstreamConfig;
  readonly dispatcher: Dispatching;
  readonly logger?: Logger | undefined;
  readonly schedule?: Schedule | undefined;
  readonly now?: (() => number) | undefined;
  readonly random?: (() => number) | undefined;
};

/** A provider that is called through a package of the AI SDK. */
export type AiSdkProvider = {
  readonly model: Model;
  /** As `Provider.listModels` of `providers.ts`, `via` complete. */
  listModels(credential: string | undefined, via: readonly string[]): Promise<UpstreamModels>;
  /** As `Provider.checkKeys` of `providers.ts`, `via` complete. */
  checkKeys(via: readonly string[]): Promise<KeyCheck>;
};

/** Warnings of a package that are told, once each. */
const maxWarnings = 100;
/** How long a call may take that only shows whether keys are looked at. */
const checkTimeoutMs = 5_000;

/** Throws a `TypeError` for a base URL that is none. */
export function createAiSdkProvider(options: AiSdkOptions): AiSdkProvider {
  const { provider, loaded, upstream, dispatcher } = options;
  const { habits, version } = loaded;
  const logger = options.logger ?? { warn: () => {} };
  const { ownCredential, secrets } = toEndpoint(provider);
  const warned = new Set<string>();
  const settings: AiSdkSettings = {
    loaded,
    provider: provider.name,
    baseUrl: provider.baseUrl,
    apiKey: provider.apiKey,
    headers: provider.headers,
    ownCredential,
    secrets,
    upstream,
    dispatcher,
    logger,
    schedule: options.schedule ?? later,
    now: options.now ?? Date.now,
    random: options.random ?? Math.random,
    onWarning(warning) {
      const text = JSON.stringify(warning);
      if (warned.size >= maxWarnings || warned.has(text)) return;
      warned.add(text);
      logger.warn({ provider: provider.name, warning }, 'a package did not pass on all of a call as it was');
    },
  };
  const model: Model = {
    features: { ...habits.features, reasoningEffort: version === 'v4' || habits.efforts !== undefined },
    stream(call, sink) {
      const running = new AiSdkCall(settings, call, sink);
      running.begin();
      return running;
    },
  };
  return {
    model,
    listModels: (credential, via) => listPackageModels({ provider, habits, dispatcher, credential, via }),
    checkKeys: (via) => checkKeys(options, model, via),
  };
}

const later: Schedule = (delayMs, run) => {
  const timer = setTimeout(run, delayMs);
  return () => clearTimeout(timer);
};

/**
 * Asks with a key that is none: first for the vendor's models, and where that says nothing by a call of a model that no
 * vendor has. Never rejects.
 */
async function checkKeys(
  { provider, loaded, dispatcher }: AiSdkOptions,
  model: Model,
  via: readonly string[],
): Promise<KeyCheck> {
  const { habits } = loaded;
  const asked = { provider, habits, dispatcher, credential: inventedKey, via };
  try {
    const { status, body } = await askForModels(asked, (code) => code === 400);
    if (status === 401 || status === 403) return 'strict';
    // Google answers 400 for a key that is none.
    if (status === 400 && /api[ _-]?key/i.test(body)) return 'strict';
  } catch {
    // A call may still say it.
  }
  const end = await endOf(model, {
    ...emptyCall,
    model: checkedModel,
    maxOutputTokens: 1,
    credential: inventedKey,
    via,
  });
  if (end === undefined) return 'unknown';
  if (end.reason !== 'error') return 'open';
  const { kind } = end.error;
  if (kind === 'unauthorized' || kind === 'forbidden') return 'strict';
  return kind === 'invalid_request' ? 'open' : 'unknown';
}

/** No vendor has a model of that name. */
const checkedModel = 'open-responses-key-check';

/** Undefined: it did not end in time. */
function endOf(model: Model, call: ModelCall): Promise<ModelEnd | undefined> {
  return new Promise((resolve) => {
    const stream = model.stream(call, (event) => {
      if (event.type !== 'end') return;
      clearTimeout(timer);
      resolve(event);
    });
    const timer = setTimeout(() => {
      stream.abort();
      resolve(undefined);
    }, checkTimeoutMs);
  });
}
