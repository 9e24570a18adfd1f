import type { Dispatcher } from 'undici';
import type { Config, ProviderConfig } from '../config.ts';
import { ConfigError } from '../config-error.ts';
import type { Model } from '../model.ts';
import type { Logger } from './chat-completions/call.ts';
import { checkKeys, type KeyCheck } from './chat-completions/key-check.ts';
import { listUpstreamModels, type UpstreamModels } from './chat-completions/list-models.ts';
import { createChatCompletionsModel } from './chat-completions/model.ts';
import { type Profile, profileFor, profiles } from './profiles.ts';

/** Somewhere that models can be called. */
export type Provider = {
  readonly name: string;
  readonly baseUrl: string;
  /** Whether the operator set it up; a remote vendor can be called by name without that, with the client's own key. */
  readonly isConfigured: boolean;
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

export type ProviderDeps = { readonly dispatcher: Dispatcher; readonly logger: Logger; readonly serverId: string };

/**
 * Every provider that can be called: those configured, the default one, and the remote vendors that need no setting.
 * @throws ConfigError where a provider has no address or names a profile that does not exist.
 */
export function createProviders(config: Config, deps: ProviderDeps): ReadonlyMap<string, Provider> {
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
    providers.set(provider.name, toProvider(provider, profile, true, config, deps));
  }
  return providers;
}

function unconfigured(name: string): ProviderConfig {
  return { name, profile: undefined, baseUrl: undefined, apiKey: undefined, headers: {} };
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
  return {
    name: provider.name,
    baseUrl,
    isConfigured,
    ignoresKeys: profile.ignoresKeys,
    hasOwnKey: provider.apiKey !== undefined || Object.keys(provider.headers).some(isCredential),
    model: createChatCompletionsModel({ provider: address, profile, upstream: config.upstream, dispatcher, logger }),
    listModels: (credential, via = []) =>
      listUpstreamModels({ provider: address, dispatcher, credential, via: [...via, serverId] }),
    checkKeys: () => checkKeys({ provider: address, dispatcher, via: [serverId] }),
  };
}

/** Headers in which vendors take credentials besides `Authorization`. */
function isCredential(header: string): boolean {
  return /auth|key|token|secret|cookie|credential/i.test(header);
}
