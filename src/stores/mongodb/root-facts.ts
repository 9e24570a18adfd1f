import type { ThreadRow } from '../rows.ts';
import { tenantKey } from './documents.ts';

/** What never changes about a chain or a record: where it comes from. */
const maxThreads = 2_000;

/**
 * The roots of chains and records that were used last, to save looking them up. That one was found here is no proof that
 * it still exists. Conversations are never kept: they can be deleted.
 */
export class RootFacts {
  /** Least recently used first. */
  readonly #threads = new Map<string, ThreadRow>();

  get(tenant: string, id: string): ThreadRow | undefined {
    const key = tenantKey(tenant, id);
    const thread = this.#threads.get(key);
    if (thread !== undefined) {
      this.#threads.delete(key);
      this.#threads.set(key, thread);
    }
    return thread;
  }

  learn(tenant: string, thread: ThreadRow): void {
    if (thread.kind === 'conversation') return;
    const key = tenantKey(tenant, thread.id);
    this.#threads.delete(key);
    this.#threads.set(key, thread);
    for (const oldest of this.#threads.keys()) {
      if (this.#threads.size <= maxThreads) break;
      this.#threads.delete(oldest);
    }
  }

  forgetTree(tenant: string, tree: string): void {
    for (const [key, thread] of this.#threads) {
      if (thread.tree === tree && key === tenantKey(tenant, thread.id)) this.#threads.delete(key);
    }
  }
}
