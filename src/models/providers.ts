import type { Config, ProviderConfig } from '../config.ts';
import { ConfigError } from '../config-error.ts';
import type { Model } from '../model.ts';
import { loadPackage } from './ai-sdk/load.ts';
import { createAiSdkProvider } from './ai-sdk/provider.ts';
import { chatResource, createChatCompletionsModel } from './chat-completions/model.ts';
import type { Dispatching } from './connections.ts';
import { type Profile, profileFor, profiles } from './profiles.ts';
import { dialectOf } from './responses/dialects.ts';
import { createResponsesModel, responsesResource } from './responses/model.ts';
import type { Logger } from './upstream/call.ts';
import { checkKeys, type KeyCheck } from './upstream/key-check.ts';
import { listUpstreamModels, type UpstreamModels } from './upstream/list-models.ts';
import type { UpstreamOptions } from './upstream/model.ts';

/** Somewhere that models can be called. */
export type Provider = {
  readonly name: string;
  readonly baseUrl: string;
  /** Whether the operator set it up; a remote vendor can be called by name without that, with the client's own key. */
  readonly isConfigured: boolean;
  /** Its models have names like `vendor/model`, which are not that vendor's. */
  readonly hostsOthers: boolean;
  /** Takes any key for a good one. */
  readonly ignoresKeys: boolean;
  /** Whether calls go out with a credential of the server's. */
  readonly hasOwnKey: boolean;
  readonly model: Model;
  /** Asks for its list of models, in bounded time. `via`: the servers passed before this one. Rejects where there is no answer. */
  listModels(credential: string | undefined, via?: readonly string[]): Promise<UpstreamModels>;
  /** Asks whether it looks at the keys that callers bring, in bounded time. Never rejects. */
  checkKeys(): Promise<KeyCheck>;
};

export type ProviderDeps = { readonly dispatcher: Dispatching; readonly logger: Logger; readonly serverId: string };

/**
 * Every provider that can be called: those configured, the default one, and the remote vendors that need no setting.
 * @throws ConfigError where a provider has no address, names a profile that does not exist, or a package that can't be
 * used.
 */
export async function createProviders(config: Config, deps: ProviderDeps): Promise<ReadonlyMap<string, Provider>> {
  const providers = new Map<string, Provider>();
  for (const profile of profiles.values()) {
    if (!profile.remote || config.providers.has(profile.name)) continue;
    providers.set(profile.name, toProvider(unconfigured(profile.name), profile, false, config, deps));
  }
  const configured = [...config.providers.values()];
  if (!config.providers.has(config.defaultProvider) && !providers.has(config.defaultProvider)) {
    configured.push(unconfigured(config.defaultProvider));
  }
  for (const provider of configured) {
    const profile = profileFor(provider);
    if (profile === undefined) {
      throw new ConfigError(
        `open-responses.providers.${provider.name}.profile: there is no profile '${provider.profile ?? ''}'. Allowed: ${[...profiles.keys()].join(', ')}.`,
      );
    }
    if (provider.name === 'demo') continue;
    const isPackaged = provider.api === 'ai-sdk' || provider.package !== undefined;
    const made = isPackaged
      ? await throughPackage(provider, config, deps)
      : toProvider(provider, profile, true, config, deps);
    providers.set(provider.name, made);
  }
  return providers;
}

function unconfigured(name: string): ProviderConfig {
  return {
    name,
    profile: undefined,
    api: undefined,
    package: undefined,
    baseUrl: undefined,
    apiKey: undefined,
    headers: {},
    store: false,
  };
}

/** What a provider is spoken to with, and what calls of it are posted to. */
type Spoken = { readonly model: Model; readonly resource: string };

/** What a provider is spoken to with: what is configured, else what its profile's vendor speaks at this address. */
export function apiOf(
  { api }: Pick<ProviderConfig, 'api'>,
  profile: Pick<Profile, 'name'>,
  baseUrl: string,
): NonNullable<ProviderConfig['api']> {
  return api ?? (dialectOf(profile.name).nativeAt === baseUrl ? 'responses' : 'chat-completions');
}

/** The one place where a provider's model is made, whatever it speaks. */
function speakTo(provider: ProviderConfig, profile: Profile, options: UpstreamOptions): Spoken {
  const api = apiOf(provider, profile, options.provider.baseUrl);
  switch (api) {
    case 'chat-completions':
      return { model: createChatCompletionsModel({ ...options, profile }), resource: chatResource };
    case 'responses':
      return {
        model: createResponsesModel({ ...options, dialect: dialectOf(profile.name), store: provider.store }),
        resource: responsesResource,
      };
    case 'ai-sdk':
      throw new Error('a package speaks for itself: see throughPackage');
    default:
      return unreachable(api);
  }
}

function unreachable(api: never): never {
  throw new Error(`unknown api ${String(api)}`);
}

function toProvider(
  provider: ProviderConfig,
  profile: Profile,
  isConfigured: boolean,
  config: Config,
  deps: ProviderDeps,
): Provider {
  const baseUrl = provider.baseUrl ?? profile.baseUrl;
  if (baseUrl === undefined) {
    throw new ConfigError(
      `The provider '${provider.name}' has no address: set open-responses.providers.${provider.name}.base-url.`,
    );
  }
  const { dispatcher, logger, serverId } = deps;
  const address = { name: provider.name, baseUrl, apiKey: provider.apiKey, headers: provider.headers };
  const spoken = speakTo(provider, profile, { provider: address, upstream: config.upstream, dispatcher, logger });
  return {
    name: provider.name,
    baseUrl,
    isConfigured,
    hostsOthers: profile.hostsOthers,
    ignoresKeys: profile.ignoresKeys,
    hasOwnKey: provider.apiKey !== undefined || Object.keys(provider.headers).some(isCredential),
    model: spoken.model,
    listModels: (credential, via = []) =>
      listUpstreamModels({ provider: address, dispatcher, credential, via: [...via, serverId] }),
    checkKeys: () => checkKeys({ provider: address, dispatcher, via: [serverId] }, spoken.resource),
  };
}

/** A provider that is called through a package which the operator installed. */
async function throughPackage(provider: ProviderConfig, config: Config, deps: ProviderDeps): Promise<Provider> {
  const { name, apiKey, headers, package: packageName } = provider;
  const key = `open-responses.providers.${name}`;
  if (provider.api !== 'ai-sdk') throw new ConfigError(`${key}.package needs ${key}.api=ai-sdk.`);
  if (packageName === undefined) {
    throw new ConfigError(`${key}.api: 'ai-sdk' needs a package, as in ${key}.package=@ai-sdk/anthropic.`);
  }
  const loaded = await loadPackage(packageName, name);
  const baseUrl = provider.baseUrl ?? loaded.habits.baseUrl;
  if (baseUrl === undefined) throw new ConfigError(`The provider '${name}' has no address: set ${key}.base-url.`);
  const { dispatcher, logger, serverId } = deps;
  const address = { name, baseUrl, apiKey, headers };
  const spoken = createAiSdkProvider({ provider: address, loaded, upstream: config.upstream, dispatcher, logger });
  return {
    name,
    baseUrl,
    isConfigured: true,
    hostsOthers: false,
    ignoresKeys: false,
    hasOwnKey: apiKey !== undefined || Object.keys(headers).some(isCredential),
    model: spoken.model,
    listModels: (credential, via = []) => spoken.listModels(credential, [...via, serverId]),
    checkKeys: () => spoken.checkKeys([serverId]),
  };
}

/** Headers in which vendors take credentials besides `Authorization`. */
function isCredential(header: string): boolean {
  return /auth|key|token|secret|cookie|credential/i.test(header);
}
