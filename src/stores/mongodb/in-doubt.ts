import type { EntryPlace } from '../../store.ts';
import { tenantKey } from './documents.ts';

const maxAppends = 10_000;

/**
 * Appends of this process whose time ran out before it was known whether they were done. They may still be done later,
 * by a server that was halted. Whoever records another end of the same response takes their places first.
 */
export class AppendsInDoubt {
  readonly #places = new Map<string, EntryPlace>();

  note(tenant: string, responseId: string, place: EntryPlace): void {
    this.#places.set(tenantKey(tenant, responseId), place);
    for (const oldest of this.#places.keys()) {
      if (this.#places.size <= maxAppends) break;
      this.#places.delete(oldest);
    }
  }

  get(tenant: string, responseId: string): EntryPlace | undefined {
    return this.#places.get(tenantKey(tenant, responseId));
  }

  settle(tenant: string, responseId: string): void {
    this.#places.delete(tenantKey(tenant, responseId));
  }
}
