import { setTimeout as delay } from 'node:timers/promises';
import { type Db, MongoServerError } from 'mongodb';
import { failureOf, plainError, Refused, unavailable } from './failures.ts';

/** What a command is made of and answers with. Keys are ours alone; strings of clients are only ever values. */
export type Values = { readonly [name: string]: unknown };

export type Change = { readonly $set?: Values; readonly $unset?: Values; readonly $max?: Values };

export type Find = {
  readonly filter: Values;
  readonly sort?: Values;
  readonly limit: number;
  /** What is left out of, or alone taken from, the documents. */
  readonly projection?: Values;
  /** Also what a majority has not confirmed yet: to find out what a write has done. */
  readonly isLatest?: true;
};

/** How one database is asked. */
export type Asking = {
  readonly db: Db;
  readonly writeConcern: Values;
  readonly readConcern: Values;
};

/** What a server takes in one message, and what we ask for in one answer. */
export const maxRows = 2_000;
const firstPauseMs = 20;
const longestPauseMs = 500;

/**
 * One operation of the store on its way through its commands: it ends by its deadline, whatever the database does.
 *
 * Each command is sent through `runCommand`, which the driver never repeats, and which needs no sessions. What broke on
 * the way is sent again until the deadline. That is safe because every command here may be done twice: an insert names
 * a place that a unique index gives to one document, a change names the state that it changes, a removal removes what
 * is there.
 */
export class Call {
  readonly signal: AbortSignal;
  /** Asked anew for each command: the driver may be another one by then. */
  readonly #asking: () => Asking;
  readonly #endsAt: number;
  #mayHaveWritten = false;

  constructor(asking: () => Asking, timeoutMs: number, signal: AbortSignal) {
    this.#asking = asking;
    this.#endsAt = performance.now() + timeoutMs;
    this.signal = signal;
  }

  get remainingMs(): number {
    return Math.max(0, Math.ceil(this.#endsAt - performance.now()));
  }

  /** One page of documents in one round trip. The server ends a page early at 16 MB. */
  async find(collection: string, { filter, sort, limit, projection, isLatest }: Find): Promise<readonly Values[]> {
    const page = { limit, batchSize: limit, singleBatch: true };
    const shape = { ...(sort === undefined ? {} : { sort }), ...(projection === undefined ? {} : { projection }) };
    const readConcern = isLatest === true ? { level: 'local' } : this.#asking().readConcern;
    const { answer } = await this.#send(() => ({
      ...{ find: collection, filter, ...shape, ...page, readConcern, maxTimeMS: Math.max(1, this.remainingMs) },
    }));
    const cursor = answer['cursor'] as { readonly firstBatch?: readonly Values[] } | undefined;
    return cursor?.firstBatch ?? [];
  }

  async findOne(collection: string, filter: Values, projection?: Values): Promise<Values | undefined> {
    const found = await this.find(collection, {
      filter,
      limit: 1,
      ...(projection === undefined ? {} : { projection }),
    });
    return found[0];
  }

  /** The one document at a place as the primary has it now. */
  async findLatest(collection: string, filter: Values, projection: Values): Promise<Values | undefined> {
    return (await this.find(collection, { filter, limit: 1, projection, isLatest: true }))[0];
  }

  /**
   * Inserts a document whose `maker` is its own. `taken`: a unique index has another one in its place. Where an answer
   * was lost, it is found out by the `maker` at `place` whether the document is there.
   */
  async insert(collection: string, document: Values, place: Values): Promise<'inserted' | 'taken'> {
    const { answer, mayBeDone } = await this.#write(() => ({ insert: collection, documents: [document] }));
    if (!isDuplicate(answer)) return 'inserted';
    if (!mayBeDone) return 'taken';
    const found = await this.findLatest(collection, place, { maker: 1 });
    if (found === undefined || found['maker'] !== document['maker']) return 'taken';
    await this.confirm(collection, place, { v: document['v'] });
    return 'inserted';
  }

  /**
   * Makes sure that what was found is durable: a change that changes nothing is answered, like any other, when a
   * majority has everything that came before it.
   */
  async confirm(collection: string, place: Values, same: Values): Promise<void> {
    await this.update(collection, place, { $set: same });
  }

  /** Inserts documents of which a unique index may have some already, written by the same hand. */
  async insertAll(collection: string, documents: readonly Values[]): Promise<void> {
    await this.#write(() => ({ insert: collection, documents, ordered: false }));
  }

  /** Changes the one document that matches. `isUnsure`: an answer was lost, and it may have been this very change. */
  async update(
    collection: string,
    filter: Values,
    change: Change | Values,
    upsert = false,
  ): Promise<{ readonly isMatched: boolean; readonly isUnsure: boolean }> {
    const updates = [{ q: filter, u: change, upsert }];
    const { answer, mayBeDone } = await this.#write(() => ({ update: collection, updates }));
    if (isDuplicate(answer)) return { isMatched: false, isUnsure: true };
    const isMatched = Number(answer['n']) > 0;
    return { isMatched, isUnsure: mayBeDone && !isMatched };
  }

  /** Changes every document that matches, and tells how many do. */
  async updateAll(collection: string, filter: Values, change: Change): Promise<number> {
    const { answer } = await this.#write(() => ({
      update: collection,
      updates: [{ q: filter, u: change, multi: true }],
    }));
    return Number(answer['n']);
  }

  async remove(collection: string, filter: Values): Promise<number> {
    const { answer } = await this.#write(() => ({ delete: collection, deletes: [{ q: filter, limit: 0 }] }));
    return Number(answer['n']);
  }

  /** Any other command that only reads, or that may be done twice. */
  async command(command: () => Values): Promise<Values> {
    return (await this.#send(command)).answer;
  }

  /** Any other command that writes. */
  async writing(command: () => Values): Promise<Values> {
    return (await this.#write(command)).answer;
  }

  /** Whether a write of this operation was sent whose answer never came, or was that it failed. */
  get mayHaveWritten(): boolean {
    return this.#mayHaveWritten;
  }

  /** Waits a little, for another's change of the same thing; longer every time. */
  async pause(attempt: number): Promise<void> {
    const longestMs = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(attempt, 10), this.remainingMs);
    await delay(Math.random() * longestMs, undefined, { signal: this.signal }).catch(() => undefined);
    this.signal.throwIfAborted();
  }

  async #write(command: () => Values): Promise<Sent> {
    const { writeConcern } = this.#asking();
    return this.#send(
      () => ({
        ...command(),
        writeConcern: { wtimeout: Math.max(1, this.remainingMs), ...writeConcern },
      }),
      true,
    );
  }

  async #send(command: () => Values, isWrite = false): Promise<Sent> {
    let mayBeDone = false;
    for (let attempt = 0; ; attempt += 1) {
      this.signal.throwIfAborted();
      try {
        const answer = await this.#asking().db.command(command(), { signal: this.signal, readPreference: 'primary' });
        // A router may tell within an answer that it lost a shard on the way. A duplicate is for the caller.
        const inside = writeErrorsOf(answer).find(({ code }) => code !== duplicateKey);
        if (inside !== undefined) throw new MongoServerError({ ...inside, message: inside.errmsg });
        return { answer, mayBeDone };
      } catch (thrown) {
        // Whatever the failure is: one server may have done it, and a majority may be out of reach.
        if (isWrite) this.#mayHaveWritten = true;
        if (this.signal.aborted) throw this.signal.reason;
        const failure = failureOf(thrown);
        if (failure.kind === 'refused') throw new Refused(failure.reason, failure.code, thrown);
        if (failure.kind === 'defect') throw plainError(thrown);
        mayBeDone = isWrite;
        if (this.remainingMs === 0) throw unavailable(failure.reason, thrown);
        // A connection that was dead for long is found out like that: the first time, another one will do.
        if (attempt > 0 || thrown instanceof MongoServerError) await this.pause(attempt);
      }
    }
  }
}

type Sent = { readonly answer: Values; readonly mayBeDone: boolean };

type WriteError = { readonly code: number; readonly errmsg: string };

const duplicateKey = 11000;

function writeErrorsOf(answer: Values): readonly WriteError[] {
  return (answer['writeErrors'] as readonly WriteError[] | undefined) ?? [];
}

function isDuplicate(answer: Values): boolean {
  return writeErrorsOf(answer).length > 0;
}
