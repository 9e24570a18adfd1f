import type { DatabaseSync } from 'node:sqlite';
import type { WriterOperation } from './messages.ts';

const erasingKinds: ReadonlySet<WriterOperation['kind']> = new Set([
  'delete_conversation',
  'delete_item',
  'delete_response',
  'update_conversation',
]);

/** From a deletion to the emptying of the log, so that many deletions share one. */
const delayMs = 1_000;
/** Until the next attempt, where another process was reading an old state. */
const retryMs = 10_000;
const patienceMs = 50;

/**
 * What was deleted is overwritten in the database, but its old pages stay in the write-ahead log until that is written
 * over by chance. Deleting is real: so the log is emptied soon afterwards.
 */
export class Eraser {
  readonly #database: DatabaseSync;
  readonly #busyTimeoutMs: number;
  #dueAtMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(database: DatabaseSync, busyTimeoutMs: number) {
    this.#database = database;
    this.#busyTimeoutMs = busyTimeoutMs;
    // The process before may have died between a deletion and its erasure.
    this.#arm(delayMs);
  }

  note(operation: WriterOperation): void {
    if (erasingKinds.has(operation.kind) && this.#dueAtMs === undefined) this.#arm(delayMs);
  }

  /** Called between groups: a busy writer never comes to its timers. */
  eraseIfDue(): void {
    if (this.#dueAtMs !== undefined && performance.now() >= this.#dueAtMs) this.#erase();
  }

  stop(): void {
    clearTimeout(this.#timer);
    if (this.#dueAtMs !== undefined) this.#emptyLog();
  }

  #arm(afterMs: number): void {
    clearTimeout(this.#timer);
    this.#dueAtMs = performance.now() + afterMs;
    this.#timer = setTimeout(() => this.#erase(), afterMs);
  }

  #erase(): void {
    clearTimeout(this.#timer);
    this.#dueAtMs = undefined;
    if (!this.#emptyLog()) this.#arm(retryMs);
  }

  #emptyLog(): boolean {
    try {
      this.#database.exec(`PRAGMA busy_timeout = ${patienceMs}`);
      return this.#database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.['busy'] === 0;
    } catch {
      // A full disk, for one. What was committed is safe in the log, and the next attempt comes.
      return false;
    } finally {
      this.#database.exec(`PRAGMA busy_timeout = ${this.#busyTimeoutMs}`);
    }
  }
}
