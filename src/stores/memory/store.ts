import type { Store } from '../../store.ts';
import { StoreUnavailable } from '../../store.ts';
import type { ReadRows } from '../rows.ts';
import { runAtOnce, type Steps } from '../steps.ts';
import type { Backend } from '../store-over-rows.ts';
import { storeOverRows } from '../store-over-rows.ts';
import type { WriteOperation, WriteResults } from '../writing.ts';
import { applyWrite } from '../writing.ts';
import type { MemoryLimits } from './rows.ts';
import { MemoryRows } from './rows.ts';

export type MemoryStoreOptions = MemoryLimits & { readonly now: () => number };

/** Keeps everything in this process, bounded (R8). Nothing survives its end. */
export function createMemoryStore(options: MemoryStoreOptions): Store {
  return storeOverRows(new MemoryBackend(options));
}

class MemoryBackend implements Backend {
  readonly now: () => number;
  readonly #rows: MemoryRows;
  #isClosed = false;

  constructor({ maxThreads, maxBytes, now }: MemoryStoreOptions) {
    this.now = now;
    this.#rows = new MemoryRows({ maxThreads, maxBytes }, now);
  }

  async read<T>(reading: (rows: ReadRows) => Steps<T>): Promise<T> {
    this.#requireOpen();
    return runAtOnce(reading(this.#rows));
  }

  async write<Operation extends WriteOperation>(operation: Operation): Promise<WriteResults[Operation['kind']]> {
    this.#requireOpen();
    return runAtOnce(applyWrite(this.#rows, operation)) as WriteResults[Operation['kind']];
  }

  hold(tenant: string, threadId: string): () => void {
    return this.#rows.hold(tenant, threadId);
  }

  async ping(): Promise<void> {
    this.#requireOpen();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#rows.clear();
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new StoreUnavailable('The store is closed');
  }
}
