import type { Provider } from './providers.ts';

/** How long an upstream's word about a credential is believed. */
const rememberedMs = 60 * 60 * 1000;
/** Credentials remembered at most; the oldest goes first and is asked about again. */
const maxRemembered = 100_000;
/** A credential that no upstream has ever given out: whoever accepts it accepts anything. */
const invented = 'open-responses-does-this-upstream-check-credentials';

/**
 * Remembers, by hash, whose credential an upstream has accepted. Beyond loopback only those may create state: nobody
 * may spend the operator's disk with an invented token.
 */
export class CredentialBook {
  readonly #accepted = new Map<string, number>();
  readonly #checks = new Map<string, { readonly expiresAt: number; readonly checks: Promise<boolean> }>();
  readonly #now: () => number;

  /** @param now in ms since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** An upstream has answered a call that carried this tenant's credential with success. */
  accept(tenant: string): void {
    this.#accepted.delete(tenant);
    this.#accepted.set(tenant, this.#now() + rememberedMs);
    for (const oldest of this.#accepted.keys()) {
      if (this.#accepted.size <= maxRemembered) break;
      this.#accepted.delete(oldest);
    }
  }

  isAccepted(tenant: string): boolean {
    return (this.#accepted.get(tenant) ?? 0) > this.#now();
  }

  /**
   * Asks a provider about a credential that is not known yet, by its list of models. `refused` as well where the provider
   * lists them to anybody, so that its list proves nothing; `unknown` where it could not be asked.
   */
  async prove(tenant: string, credential: string, provider: Provider): Promise<Verdict> {
    const word = await verdict(provider, credential);
    if (word !== 'accepted') return word;
    if (!(await this.#tellsApart(provider))) return 'refused';
    this.accept(tenant);
    return 'accepted';
  }

  /** Some vendors list their models to anybody: their list proves nothing. */
  #tellsApart(provider: Provider): Promise<boolean> {
    const known = this.#checks.get(provider.name);
    const nowMs = this.#now();
    if (known !== undefined && known.expiresAt > nowMs) return known.checks;
    const checks = verdict(provider, invented).then((word) => {
      // A provider that could not be asked may well list its models to anybody: it is asked again.
      if (word === 'unknown') this.#checks.delete(provider.name);
      return word === 'refused';
    });
    this.#checks.set(provider.name, { expiresAt: nowMs + rememberedMs, checks });
    return checks;
  }
}

/** Whether a provider answers somebody who brings nothing at all, or something invented. False where it does not answer. */
export async function answersAnybody(provider: Provider): Promise<boolean> {
  const words = await Promise.all([verdict(provider, undefined), verdict(provider, invented)]);
  return words.includes('accepted');
}

export type Verdict = 'accepted' | 'refused' | 'unknown';

/** Google answers 400 for a key that is none. */
const refusals: ReadonlySet<number> = new Set([400, 401, 403]);

async function verdict(provider: Provider, credential: string | undefined): Promise<Verdict> {
  try {
    const { status } = await provider.listModels(credential);
    if (status >= 200 && status < 300) return 'accepted';
    return refusals.has(status) ? 'refused' : 'unknown';
  } catch {
    return 'unknown';
  }
}
