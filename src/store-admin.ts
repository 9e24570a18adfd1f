/**
 * What an operator does with a database, apart from serving from it. Opening one changes nothing in it. Methods reject
 * with `StoreUnavailable` when the database can't be asked now, and with `UnusableDatabase` when it is not for this
 * program.
 */
export interface StoreAdmin {
  schema(): Promise<SchemaState>;
  /**
   * Brings the schema up to date, as a starting server does. Processes that do it at once wait for each other, and all
   * but one find it done. Killed in between, it leaves what the next one finishes.
   */
  migrate(): Promise<SchemaState>;
  /** Counts everything, so it may take a while on a large database; it locks nothing. */
  stats(): Promise<StoreStats>;
  close(): Promise<void>;
}

export type SchemaState = {
  /** What the database has; 0 where there is nothing of ours yet. */
  readonly version: number;
  /** What this release needs. A database of a newer release is refused with `UnusableDatabase`. */
  readonly needed: number;
  /** What is still to be done, in words for an operator, in order. Empty: nothing. */
  readonly pending: readonly string[];
};

export type StoreStats = {
  readonly records: readonly RecordStats[];
  /**
   * What the place that was named to us takes on disk, indexes included: a schema of PostgreSQL, a database of MongoDB,
   * a file of SQLite. Undefined where that can't be told.
   */
  readonly diskBytes: number | undefined;
  /** What of others lies beside ours and is left alone, in words for an operator. */
  readonly foreign: readonly string[];
};

export type RecordStats = {
  readonly kind: RecordKind;
  readonly count: number;
  /** Of the JSON that is kept, without indexes and what a database adds. */
  readonly bytes: number;
  /** Times of creation in ms since 1970; undefined where there is none of that kind. */
  readonly oldestAt: number | undefined;
  readonly newestAt: number | undefined;
};

/**
 * - `conversations`, `chains`, `records`: threads of each kind (`store.ts`).
 * - `responses`: those that can be retrieved. `bytes` is without their items.
 * - `items`: input and output items; references count too, and weigh next to nothing. Dates are their entries'.
 * - `leases`: conversations that a run holds, or held when its server died.
 */
export type RecordKind = 'conversations' | 'chains' | 'records' | 'responses' | 'items' | 'leases';

/** The database can't be used by this program, now or later; the message is for the operator. */
export class UnusableDatabase extends Error {
  override readonly name = 'UnusableDatabase';
}
