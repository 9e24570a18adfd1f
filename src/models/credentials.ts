import type { Provider } from './providers.ts';
import { inventedKey, type KeyCheck } from './upstream/key-check.ts';

/** How long an upstream's word about a credential is believed. */
const rememberedMs = 60 * 60 * 1000;
/** Credentials remembered at most; the oldest goes first and is asked about again. */
const maxRemembered = 100_000;

/** What a provider said about itself, or is being asked. */
type Said<T> = Map<string, { readonly expiresAt: number; readonly word: Promise<T | 'unknown'> }>;

/**
 * Remembers, by hash, whose credential an upstream has accepted. Beyond loopback only those may create state: nobody
 * may spend the operator's disk with an invented token.
 */
export class CredentialBook {
  readonly #accepted = new Map<string, number>();
  readonly #keyChecks: Said<KeyCheck> = new Map();
  readonly #listChecks: Said<Verdict> = new Map();
  readonly #now: () => number;

  /** @param now in ms since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  isAccepted(tenant: string): boolean {
    return (this.#accepted.get(tenant) ?? 0) > this.#now();
  }

  /** Whether a provider looks at the keys that callers bring. Never rejects; what it did not say is asked again. */
  async keyCheck(provider: Provider): Promise<KeyCheck> {
    if (provider.hasOwnKey || provider.ignoresKeys) return 'open';
    return this.#remembered(this.#keyChecks, provider.name, () => provider.checkKeys());
  }

  /**
   * A provider has answered a call that carried this tenant's credential with success. That counts where it looks at
   * keys. Resolves with whether the tenant is accepted now.
   */
  async vouch(tenant: string, provider: Provider): Promise<boolean> {
    if ((await this.keyCheck(provider)) === 'strict') this.#accept(tenant);
    return this.isAccepted(tenant);
  }

  /**
   * Asks a provider about a credential that is not known yet, by its list of models. `refused` as well where the provider
   * lists them to anybody, so that its list proves nothing; `unknown` where it could not be asked.
   */
  async prove(tenant: string, credential: string, provider: Provider): Promise<Verdict> {
    const word = await verdict(provider, credential);
    if (word !== 'accepted') return word;
    const control = await this.#remembered(this.#listChecks, provider.name, () => verdict(provider, inventedKey));
    if (control !== 'refused') return 'refused';
    this.#accept(tenant);
    return 'accepted';
  }

  #accept(tenant: string): void {
    this.#accepted.delete(tenant);
    this.#accepted.set(tenant, this.#now() + rememberedMs);
    for (const oldest of this.#accepted.keys()) {
      if (this.#accepted.size <= maxRemembered) break;
      this.#accepted.delete(oldest);
    }
  }

  /** Many may ask at a time; the provider is asked once. */
  #remembered<T>(said: Said<T>, name: string, ask: () => Promise<T | 'unknown'>): Promise<T | 'unknown'> {
    const known = said.get(name);
    const nowMs = this.#now();
    if (known !== undefined && known.expiresAt > nowMs) return known.word;
    const word = ask().then((answer) => {
      if (answer === 'unknown') said.delete(name);
      return answer;
    });
    said.set(name, { expiresAt: nowMs + rememberedMs, word });
    return word;
  }
}

export type Verdict = 'accepted' | 'refused' | 'unknown';

/** Google answers 400 for a key that is none. */
const refusals: ReadonlySet<number> = new Set([400, 401, 403]);

async function verdict(provider: Provider, credential: string): Promise<Verdict> {
  try {
    const { status } = await provider.listModels(credential);
    if (status >= 200 && status < 300) return 'accepted';
    return refusals.has(status) ? 'refused' : 'unknown';
  } catch {
    return 'unknown';
  }
}
