import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Store } from '../../store.ts';
import { StoreUnavailable } from '../../store.ts';
import { UnusableDatabase } from '../../store-admin.ts';
import type { ReadRows } from '../rows.ts';
import { got, runAtOnce, type Steps } from '../steps.ts';
import type { Backend } from '../store-over-rows.ts';
import { storeOverRows } from '../store-over-rows.ts';
import type { WriteOperation, WriteResults } from '../writing.ts';
import type { Synchronous } from './connection.ts';
import { openForReading } from './connection.ts';
import { asUnavailable } from './failures.ts';
import { createFile, type FileIdentity, goneMessage, isInPlace } from './file-identity.ts';
import { SqliteReadRows } from './rows.ts';
import { WriteQueue } from './write-queue.ts';

export type SqliteStoreOptions = {
  readonly path: string;
  /** `full`: what was answered survives the loss of power. `normal`: it survives the death of the process. */
  readonly synchronous: Synchronous;
  readonly now: () => number;
  /** How long a change waits for another process that is writing; 5 s unless told otherwise. */
  readonly busyTimeoutMs?: number | undefined;
  /** Off: a file whose schema is behind, or that is new, is refused. On unless told otherwise. */
  readonly autoMigrate?: boolean | undefined;
};

/** What may wait for the writer. */
const queueLimits = { maxOperations: 10_000, maxBytes: 256 * 1024 * 1024 };

/**
 * Keeps everything in one SQLite file, which several processes may share. Rejects with `UnusableDatabase` where the file
 * is not for this program or can not be made, with `StoreUnavailable` where it can not be opened now.
 */
export async function createSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  if (options.path === '' || options.path.startsWith(':memory:')) {
    throw new UnusableDatabase('The SQLite store needs a file; for a store in memory choose the type `in-memory`');
  }
  const path = resolve(options.path);
  if (options.autoMigrate === false && !existsSync(path)) {
    throw new UnusableDatabase(`${path} is not there: run \`open-responses migrate\` first`);
  }
  const file = createFile(path);
  const { synchronous, busyTimeoutMs = 5_000, autoMigrate = true } = options;
  const setup = { path, synchronous, busyTimeoutMs, autoMigrate, file };
  const queue = new WriteQueue(setup, queueLimits);
  // The writer migrates before it answers: whoever reads afterwards finds the tables.
  await queue.submit({ kind: 'ping' });
  return storeOverRows(new SqliteBackend(openForReading(path), queue, { path, file, now: options.now }));
}

type Place = { readonly path: string; readonly file: FileIdentity; readonly now: () => number };

/** How long reads trust that the path still names the file that they have open. */
const lookAgainMs = 1_000;

class SqliteBackend implements Backend {
  readonly now: () => number;
  readonly #reader: DatabaseSync;
  readonly #rows: ReadRows;
  readonly #queue: WriteQueue;
  readonly #path: string;
  readonly #file: FileIdentity;
  #isGone = false;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #ping: Promise<void> | undefined;

  constructor(reader: DatabaseSync, queue: WriteQueue, { path, file, now }: Place) {
    this.#path = path;
    this.#file = file;
    this.#reader = reader;
    this.#rows = new SqliteReadRows(reader);
    this.#queue = queue;
    this.now = now;
  }

  /** In the caller's own thread: readers never wait for the writer, and a context need not be copied between threads. */
  async read<T>(reading: (rows: ReadRows) => Steps<T>): Promise<T> {
    if (!this.#reader.isOpen) throw new StoreUnavailable('The store is closed');
    this.#requireInPlace();
    try {
      // One state of the database for all of it: a head must not be newer than the items read before it.
      this.#reader.exec('BEGIN');
      return runAtOnce(reading(this.#rows));
    } catch (error) {
      throw asUnavailable(error);
    } finally {
      if (this.#reader.isTransaction) this.#reader.exec('COMMIT');
    }
  }

  /** Looked at now and then: what a file holds that was replaced may have been taken back or deleted. */
  #requireInPlace(): void {
    const nowMs = performance.now();
    if (this.#isGone || nowMs - this.#lookedAtMs > lookAgainMs) {
      this.#lookedAtMs = nowMs;
      this.#isGone = !isInPlace(this.#path, this.#file);
    }
    if (this.#isGone) throw new StoreUnavailable(goneMessage(this.#path));
  }

  async write<Operation extends WriteOperation>(operation: Operation): Promise<WriteResults[Operation['kind']]> {
    return (await this.#queue.submit(operation)) as WriteResults[Operation['kind']];
  }

  hold(): () => void {
    return () => undefined;
  }

  /** Whoever asks while the writer waits for a lock is told what it finds: questions don't pile up behind it. */
  ping(): Promise<void> {
    this.#ping ??= this.#probe().finally(() => {
      this.#ping = undefined;
    });
    return this.#ping;
  }

  async #probe(): Promise<void> {
    await this.read((rows) => got(rows.thread('', '')));
    await this.#queue.submit({ kind: 'ping' });
  }

  async close(): Promise<void> {
    // The last to close cleans the log up: that had better be the writer's thread.
    if (this.#reader.isOpen) this.#reader.close();
    await this.#queue.close();
  }
}
