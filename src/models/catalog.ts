import type { ModelAlias } from '../config.ts';
import { ConfigError } from '../config-error.ts';
import { ApiError, invalidRequest } from '../errors.ts';
import type { Model, ModelCatalog, ModelChooser, ModelLister, ModelResource, ResolvedModel } from '../model.ts';
import type { Provider } from './providers.ts';

export type CatalogOptions = {
  readonly providers: ReadonlyMap<string, Provider>;
  readonly defaultProvider: string;
  readonly aliases: readonly ModelAlias[];
  /** Undefined where `demo` is off. */
  readonly demo: Model | undefined;
  /** In ms since 1970. */
  readonly now: () => number;
};

const demoName = 'demo';
/** How long a provider's list of models is believed. */
const listTtlMs = 30_000;
/** Lists kept: one per provider and credential. */
const maxLists = 1_000;

type Target = { readonly provider: string; readonly name: string };

/**
 * Finds a model by name, the strongest rule first: `x-model-provider`; an alias; `NAME@model` and `NAME/model` where
 * there is such a provider; `demo`; an alias with `*`; the default provider.
 */
export class Catalog implements ModelCatalog, ModelLister {
  readonly #options: CatalogOptions;
  readonly #exact = new Map<string, readonly string[]>();
  readonly #patterns: { readonly pattern: RegExp; readonly targets: readonly string[] }[] = [];
  readonly #lists = new Map<string, { readonly expiresAt: number; readonly ids: Promise<readonly string[]> }>();
  readonly #createdAt: number;

  /** @throws ConfigError where an alias or the default names a provider that does not exist. */
  constructor(options: CatalogOptions) {
    this.#options = options;
    this.#createdAt = Math.floor(options.now() / 1000);
    for (const { alias, targets } of options.aliases) {
      this.#check(alias, targets);
      if (alias.includes('*')) this.#patterns.push({ pattern: toPattern(alias), targets });
      else this.#exact.set(alias, targets);
    }
    if (!this.#hasProvider(options.defaultProvider)) {
      throw new ConfigError(`open-responses.default-provider: there is no provider '${options.defaultProvider}'.`);
    }
  }

  /** @throws ConfigError where a target can't be called, or a fallback only with a key that nobody has. */
  #check(alias: string, targets: readonly string[]): void {
    for (const [index, target] of targets.entries()) {
      const found = this.#targetOf(target);
      if (found === undefined) {
        throw new ConfigError(
          `open-responses.models.${alias}: '${target}' names no provider that can be called. Configure it with open-responses.providers.NAME.base-url.`,
        );
      }
      if (
        index > 0 &&
        found.provider !== demoName &&
        this.#options.providers.get(found.provider)?.isConfigured !== true
      ) {
        throw new ConfigError(
          `open-responses.models.${alias}: '${target}' is asked after another model, where the caller's own key does not go. Configure a key for it with open-responses.providers.${found.provider}.api-key.`,
        );
      }
    }
  }

  resolve(name: string, chooser: ModelChooser): ResolvedModel {
    const [target, ...others] = this.#find(name, chooser) ?? [];
    if (target === undefined) {
      const provider = chooser.provider?.slice(0, 100) ?? '';
      throw invalidRequest(`There is no provider '${provider}'.`, 'x-model-provider', 'model_not_found');
    }
    let fallback: ResolvedModel | undefined;
    for (const other of others.toReversed()) fallback = this.#resolved(other, undefined, fallback) ?? fallback;
    const first = this.#resolved(target, chooser, fallback);
    if (first !== undefined) return first;
    const provider = this.#options.providers.get(target.provider);
    throw provider === undefined ? modelNotFound(name) : this.#needsKey(name, provider, chooser);
  }

  /** Undefined where it can't be called. Without a chooser nobody's key but the server's goes to it. */
  #resolved(
    { provider: name, name: upstreamName }: Target,
    chooser: ModelChooser | undefined,
    fallback: ResolvedModel | undefined,
  ): ResolvedModel | undefined {
    const { demo, providers } = this.#options;
    if (name === demoName && demo !== undefined) {
      return { model: demo, provider: demoName, upstreamName, takesCredential: chooser !== undefined, fallback };
    }
    const provider = providers.get(name);
    if (provider === undefined || (!provider.isConfigured && chooser?.credential === undefined)) return undefined;
    return { model: provider.model, provider: name, upstreamName, takesCredential: chooser !== undefined, fallback };
  }

  async list(chooser: ModelChooser): Promise<readonly ModelResource[]> {
    const { demo, providers, defaultProvider } = this.#options;
    const own: ModelResource[] = [];
    if (chooser.provider === undefined) {
      if (demo !== undefined) own.push(this.#resource(demoName, demoName));
      for (const [alias, [target = '']] of this.#exact)
        own.push(this.#resource(alias, this.#targetOf(target)?.provider ?? ''));
    } else if (chooser.provider === demoName && demo !== undefined) {
      return [this.#resource(demoName, demoName)];
    }
    const asked = [...providers.values()].filter((provider) => this.#mayList(provider, chooser));
    // A caller's key goes to the provider that it is meant for, never to all the others.
    const lists = await Promise.all(
      asked.map(async (provider) => {
        const isBare = provider.name === (chooser.provider ?? defaultProvider);
        const ids = await this.#upstreamIds(provider, isBare ? chooser.credential : undefined, chooser.via);
        const named = ids.map((id) => ({ id, name: isBare ? id : `${provider.name}/${id}` }));
        // Another rule may be stronger, and take the name elsewhere.
        const reached = named.filter(({ id, name }) =>
          isSame(this.#find(name, chooser)?.[0], { provider: provider.name, name: id }),
        );
        return reached.map(({ name }) => this.#resource(name, provider.name));
      }),
    );
    const all = new Map<string, ModelResource>();
    for (const resource of [...own, ...lists.flat()]) if (!all.has(resource.id)) all.set(resource.id, resource);
    return [...all.values()];
  }

  async find(name: string, chooser: ModelChooser): Promise<ModelResource | undefined> {
    const target = this.#find(name, chooser)?.[0];
    if (target === undefined) return undefined;
    const found = this.#resource(name, target.provider);
    if (target.provider === demoName && this.#options.demo !== undefined) return found;
    if (chooser.provider === undefined && this.#exact.has(name)) return found;
    const provider = this.#options.providers.get(target.provider);
    if (provider === undefined || (!provider.isConfigured && chooser.credential === undefined)) return undefined;
    const ids = await this.#upstreamIds(provider, chooser.credential, chooser.via);
    if (ids.includes(target.name)) return found;
    if (!provider.isConfigured || provider.name === (chooser.provider ?? this.#options.defaultProvider))
      return undefined;
    // As `list` asks a provider that the key is not meant for.
    return (await this.#upstreamIds(provider, undefined, chooser.via)).includes(target.name) ? found : undefined;
  }

  /** Lines that tell an operator what can be called. */
  describe(): string[] {
    const { demo, providers, defaultProvider } = this.#options;
    const lines = demo === undefined ? [] : ['demo: a scripted model, no key and no network needed'];
    const aliases = [...this.#exact, ...this.#options.aliases.map(({ alias, targets }) => [alias, targets] as const)];
    for (const [alias, targets] of new Map(aliases)) lines.push(`${alias}: ${targets.join(', else ')}`);
    const others: string[] = [];
    for (const provider of providers.values()) {
      const isDefault = provider.name === defaultProvider;
      if (!isDefault && !provider.isConfigured) {
        others.push(provider.name);
        continue;
      }
      const name = isDefault ? `any other name, and ${provider.name}/MODEL` : `${provider.name}/MODEL`;
      const key = provider.hasOwnKey ? "with the server's key" : "with the client's own key";
      lines.push(`${name}: ${provider.baseUrl}, ${key}`);
    }
    if (others.length > 0) {
      const separator = providers.get(defaultProvider)?.hostsOthers === true ? '@' : '/';
      lines.push(`NAME${separator}MODEL, with the client's own key, where NAME is: ${others.join(', ')}`);
    }
    return lines;
  }

  /** In the order in which they are asked. Undefined only where the chooser names a provider that does not exist. */
  #find(name: string, chooser: ModelChooser): readonly Target[] | undefined {
    if (chooser.provider !== undefined) {
      const provider = chooser.provider.toLowerCase();
      return this.#hasProvider(provider) ? [{ provider, name }] : undefined;
    }
    const exact = this.#exact.get(name);
    if (exact !== undefined) return this.#targetsOf(exact);
    const named = this.#split(name, '@') ?? this.#ofVendor(name);
    if (named !== undefined) return [named];
    if (name === demoName && this.#options.demo !== undefined) return [{ provider: demoName, name }];
    return this.#byPattern(name) ?? [{ provider: this.#options.defaultProvider, name }];
  }

  #targetsOf(targets: readonly string[]): readonly Target[] {
    return targets.flatMap((target) => this.#targetOf(target) ?? []);
  }

  #byPattern(name: string): readonly Target[] | undefined {
    for (const { pattern, targets } of this.#patterns) {
      const match = pattern.exec(name);
      if (match !== null) return this.#targetsOf(targets.map((each) => each.replace('*', () => match[1] ?? '')));
    }
    return undefined;
  }

  #targetOf(target: string): Target | undefined {
    return this.#split(target, '/') ?? (target === demoName ? this.#split('demo/demo', '/') : undefined);
  }

  /**
   * `vendor/model`. Where the default provider has models of such names, a vendor that nobody configured is not meant, and
   * does not get the caller's key.
   */
  #ofVendor(name: string): Target | undefined {
    const { providers, defaultProvider } = this.#options;
    const named = this.#split(name, '/');
    if (named === undefined || named.provider === defaultProvider) return named;
    const isThere = named.provider === demoName || providers.get(named.provider)?.isConfigured === true;
    return isThere || providers.get(defaultProvider)?.hostsOthers !== true ? named : undefined;
  }

  #split(name: string, separator: '@' | '/'): Target | undefined {
    const at = name.indexOf(separator);
    const provider = name.slice(0, at);
    if (at <= 0 || at === name.length - 1 || !this.#hasProvider(provider)) return undefined;
    return { provider, name: name.slice(at + 1) };
  }

  #hasProvider(name: string): boolean {
    return this.#options.providers.has(name) || (name === demoName && this.#options.demo !== undefined);
  }

  /** A vendor that nobody configured is only there for those who bring a key for it. */
  #needsKey(name: string, provider: Provider, chooser: ModelChooser): ApiError {
    const isNamed =
      chooser.provider !== undefined || name.startsWith(`${provider.name}/`) || name.startsWith(`${provider.name}@`);
    if (!isNamed) return modelNotFound(name);
    return new ApiError(
      'unauthorized',
      `The provider '${provider.name}' needs a key: send yours as \`Authorization: Bearer KEY\`.`,
      { code: 'invalid_api_key' },
    );
  }

  #mayList(provider: Provider, chooser: ModelChooser): boolean {
    if (chooser.provider !== undefined) {
      return provider.name === chooser.provider && (provider.isConfigured || chooser.credential !== undefined);
    }
    if (provider.isConfigured) return true;
    return provider.name === this.#options.defaultProvider && chooser.credential !== undefined;
  }

  #upstreamIds(provider: Provider, credential: string | undefined, via: readonly string[]): Promise<readonly string[]> {
    const sent = provider.hasOwnKey ? undefined : credential;
    const key = `${provider.name}\n${sent ?? ''}`;
    const known = this.#lists.get(key);
    const nowMs = this.#options.now();
    if (known !== undefined && known.expiresAt > nowMs) return known.ids;
    const ids = provider.listModels(sent, via).then(
      (answer) => answer.ids,
      () => [],
    );
    this.#lists.delete(key);
    this.#lists.set(key, { expiresAt: nowMs + listTtlMs, ids });
    for (const oldest of this.#lists.keys()) {
      if (this.#lists.size <= maxLists) break;
      this.#lists.delete(oldest);
    }
    return ids;
  }

  #resource(id: string, owner: string): ModelResource {
    return { id, object: 'model', created: this.#createdAt, owned_by: owner === demoName ? 'open-responses' : owner };
  }
}

/** `*` stands for anything; what it stood for takes the place of a `*` in the target. */
function toPattern(alias: string): RegExp {
  const parts = alias.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('(.*)')}$`, 's');
}

function isSame(one: Target | undefined, other: Target): boolean {
  return one?.provider === other.provider && one.name === other.name;
}

function modelNotFound(name: string): ApiError {
  return invalidRequest(
    `The model '${name.slice(0, 200)}' does not exist or you do not have access to it.`,
    'model',
    'model_not_found',
  );
}
