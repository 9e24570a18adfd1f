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
  readonly #exact = new Map<string, string>();
  readonly #patterns: { readonly pattern: RegExp; readonly target: string }[] = [];
  readonly #lists = new Map<string, { readonly expiresAt: number; readonly ids: Promise<readonly string[]> }>();
  readonly #createdAt: number;

  /** @throws ConfigError where an alias or the default names a provider that does not exist. */
  constructor(options: CatalogOptions) {
    this.#options = options;
    this.#createdAt = Math.floor(options.now() / 1000);
    for (const { alias, target } of options.aliases) {
      if (this.#targetOf(target) === undefined) {
        throw new ConfigError(
          `open-responses.models.${alias}: '${target}' names no provider that can be called. Configure it with open-responses.providers.NAME.base-url.`,
        );
      }
      if (alias.includes('*')) this.#patterns.push({ pattern: toPattern(alias), target });
      else this.#exact.set(alias, target);
    }
    if (!this.#hasProvider(options.defaultProvider)) {
      throw new ConfigError(`open-responses.default-provider: there is no provider '${options.defaultProvider}'.`);
    }
  }

  resolve(name: string, chooser: ModelChooser): ResolvedModel {
    const target = this.#find(name, chooser);
    if (target === undefined) {
      const provider = chooser.provider?.slice(0, 100) ?? '';
      throw invalidRequest(`There is no provider '${provider}'.`, 'x-model-provider', 'model_not_found');
    }
    if (target.provider === demoName && this.#options.demo !== undefined) {
      return { model: this.#options.demo, provider: demoName, upstreamName: target.name };
    }
    const provider = this.#options.providers.get(target.provider);
    if (provider === undefined) throw modelNotFound(name);
    if (!provider.isConfigured && chooser.credential === undefined) throw this.#needsKey(name, provider, chooser);
    return { model: provider.model, provider: provider.name, upstreamName: target.name };
  }

  async list(chooser: ModelChooser): Promise<readonly ModelResource[]> {
    const { demo, providers, defaultProvider } = this.#options;
    const own: ModelResource[] = [];
    if (chooser.provider === undefined) {
      if (demo !== undefined) own.push(this.#resource(demoName, demoName));
      for (const [alias, target] of this.#exact)
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
          isSame(this.#find(name, chooser), { provider: provider.name, name: id }),
        );
        return reached.map(({ name }) => this.#resource(name, provider.name));
      }),
    );
    const all = new Map<string, ModelResource>();
    for (const resource of [...own, ...lists.flat()]) if (!all.has(resource.id)) all.set(resource.id, resource);
    return [...all.values()];
  }

  async find(name: string, chooser: ModelChooser): Promise<ModelResource | undefined> {
    const target = this.#find(name, chooser);
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
    for (const [alias, target] of this.#exact) lines.push(`${alias}: ${target}`);
    for (const { alias, target } of this.#options.aliases) if (alias.includes('*')) lines.push(`${alias}: ${target}`);
    for (const provider of providers.values()) {
      const isDefault = provider.name === defaultProvider;
      const name = isDefault ? `any other name, and ${provider.name}/MODEL` : `${provider.name}/MODEL`;
      const key = provider.hasOwnKey ? "with the server's key" : "with the client's own key";
      lines.push(`${name}: ${provider.baseUrl}, ${key}`);
    }
    return lines;
  }

  /** Undefined only where the chooser names a provider that does not exist. */
  #find(name: string, chooser: ModelChooser): Target | undefined {
    if (chooser.provider !== undefined) {
      const provider = chooser.provider.toLowerCase();
      return this.#hasProvider(provider) ? { provider, name } : undefined;
    }
    const exact = this.#exact.get(name);
    const target = exact === undefined ? undefined : this.#targetOf(exact);
    if (target !== undefined) return target;
    const named = this.#split(name, '@') ?? this.#split(name, '/');
    if (named !== undefined) return named;
    if (name === demoName && this.#options.demo !== undefined) return { provider: demoName, name };
    return this.#byPattern(name) ?? { provider: this.#options.defaultProvider, name };
  }

  #byPattern(name: string): Target | undefined {
    for (const { pattern, target } of this.#patterns) {
      const match = pattern.exec(name);
      if (match !== null) return this.#targetOf(target.replace('*', () => match[1] ?? ''));
    }
    return undefined;
  }

  #targetOf(target: string): Target | undefined {
    return this.#split(target, '/') ?? (target === demoName ? this.#split('demo/demo', '/') : undefined);
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
