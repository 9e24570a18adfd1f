import type { DatabaseSync } from 'node:sqlite';
import { runAtOnce } from '../steps.ts';
import { applyWrite } from '../writing.ts';
import type { Synchronous } from './connection.ts';
import { isBusy, unavailableReason } from './failures.ts';
import type { Answer, Outcome, Submission, WriterOperation } from './messages.ts';
import { SqliteRows } from './rows.ts';
import { rewriteVersion } from './schema.ts';

/** A lost lease costs work at most, never data: it need not wait for the disk. */
const leaseKinds: ReadonlySet<WriterOperation['kind']> = new Set([
  'acquire_lease',
  'renew_lease',
  'release_lease',
  'ping',
]);

/** Commits operations in groups, so that many turns share one wait for the disk. */
export class GroupCommit {
  readonly #database: DatabaseSync;
  readonly #synchronous: Synchronous;
  readonly #rows: SqliteRows;
  /** A change did not get to the disk, and none has since. */
  #isInDoubt = false;

  constructor(database: DatabaseSync, synchronous: Synchronous) {
    this.#database = database;
    this.#synchronous = synchronous;
    this.#rows = new SqliteRows(database);
  }

  /** Answers for every submission, once they are committed or refused. Never throws. */
  commit(group: readonly Submission[]): Answer[] {
    const isRelaxed = group.every(({ operation }) => leaseKinds.has(operation.kind));
    const settings = isRelaxed && this.#synchronous === 'full';
    try {
      if (settings) this.#database.exec('PRAGMA synchronous = normal');
      return this.#together(group);
    } finally {
      if (settings) this.#database.exec('PRAGMA synchronous = full');
    }
  }

  #together(group: readonly Submission[]): Answer[] {
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      // Not every operation writes. This one does, and changes nothing.
      if (this.#isInDoubt) rewriteVersion(this.#database);
      const answers = group.map(({ number, operation }): Answer => {
        const result = operation.kind === 'ping' ? undefined : runAtOnce(applyWrite(this.#rows, operation));
        return { number, outcome: { kind: 'done', result } };
      });
      this.#database.exec('COMMIT');
      this.#isInDoubt = false;
      return answers;
    } catch (error) {
      this.#rollBack();
      if (unavailableReason(error) !== undefined && !isBusy(error)) this.#isInDoubt = true;
      // Whoever holds the lock would keep each of them waiting as long again.
      if (group.length === 1 || isBusy(error)) return group.map(({ number }) => ({ number, outcome: failure(error) }));
      return group.flatMap((submission) => this.#together([submission]));
    }
  }

  #rollBack(): void {
    if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
  }
}

function failure(error: unknown): Outcome {
  const reason = unavailableReason(error);
  if (reason !== undefined) return { kind: 'unavailable', message: `The SQLite database can't serve now: ${reason}` };
  return { kind: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
