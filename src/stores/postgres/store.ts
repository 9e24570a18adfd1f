import type { Store } from '../../store.ts';
import { StoreUnavailable } from '../../store.ts';
import { UnusableDatabase } from '../../store-admin.ts';
import type { ReadRows } from '../rows.ts';
import { runSteps, type Steps } from '../steps.ts';
import { type Backend, storeOverRows } from '../store-over-rows.ts';
import type { WriteOperation, WriteResult, WriteResults } from '../writing.ts';
import { openingError, sessionSetup } from './connect.ts';
import { asStoreError, tooSlow } from './failures.ts';
import { fastWayOf } from './fast-ways.ts';
import { LongWay } from './long-way.ts';
import { Pool } from './pool.ts';
import { PgReadRows } from './read-rows.ts';
import { Reader } from './reader.ts';
import { findSchema, migrate, migrationTimeoutMs, requireRights } from './schema.ts';
import { type Question, Session, type SessionSetup } from './session.ts';
import { type Statements, statementsFor } from './statements.ts';
import { Writer } from './writer.ts';

export type PostgresStoreOptions = {
  readonly uri: string;
  /** Holds everything, and nothing of others. */
  readonly schema: string;
  /** How many connections are open at most. */
  readonly poolSize: number;
  /** How long one operation may take, waiting for a connection included. */
  readonly timeoutMs: number;
  /** Otherwise a schema that is not up to date is refused. */
  readonly autoMigrate: boolean;
  readonly now: () => number;
};

const maxPingMs = 2_000;
/** Two, so that one group is sent while the other waits for the disk. */
const maxLanes = 2;
/**
 * Keeps everything in a schema of a PostgreSQL database, which any number of servers may share. Rejects with
 * `UnusableDatabase` where the database is not for this program, with `StoreUnavailable` where it can't be reached now.
 */
export async function createPostgresStore(options: PostgresStoreOptions): Promise<Store> {
  requireSchemaName(options.schema);
  const setup = sessionSetup(options);
  try {
    await prepareSchema(options, setup);
  } catch (error) {
    throw openingError(error);
  }
  return storeOverRows(new PostgresBackend(options, setup));
}

/** @throws UnusableDatabase where it could be mistaken for something else. */
export function requireSchemaName(schema: string): void {
  if (/^[a-z_][a-z0-9_]{0,62}$/.test(schema) && !schema.startsWith('pg_')) return;
  throw new UnusableDatabase(
    'the name of the schema must consist of lower-case letters, digits and _, begin with no digit nor pg_, and have at most 63 characters',
  );
}

async function prepareSchema(options: PostgresStoreOptions, setup: SessionSetup): Promise<void> {
  const { schema, autoMigrate, timeoutMs } = options;
  const session = await Session.open(setup, performance.now() + timeoutMs);
  try {
    const found = await findSchema(session, schema, performance.now() + timeoutMs);
    if (found.pending.length > 0) {
      if (!autoMigrate) {
        throw new UnusableDatabase(
          `the schema ${schema} has version ${found.version} and this release needs ${found.needed}; run \`open-responses migrate\``,
        );
      }
      await migrate(session, schema, performance.now() + migrationTimeoutMs);
    }
    await requireRights(session, schema, performance.now() + timeoutMs);
  } finally {
    await session.end();
  }
}

class PostgresBackend implements Backend {
  readonly now: () => number;
  readonly #timeoutMs: number;
  readonly #statements: Statements;
  readonly #pool: Pool;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #longWay: LongWay;
  /** Accepted and not yet done, also where the answer was that it took too long. */
  readonly #running = new Set<Promise<unknown>>();
  #ping: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor({ now, schema, poolSize, timeoutMs }: PostgresStoreOptions, setup: SessionSetup) {
    this.now = now;
    this.#timeoutMs = timeoutMs;
    const statements = statementsFor(schema);
    this.#statements = statements;
    const pool = new Pool({ ...setup, size: poolSize, connectTimeoutMs: timeoutMs });
    this.#pool = pool;
    this.#reader = new Reader(pool, Math.max(1, poolSize - maxLanes));
    const { statementMs, lockMs, idleMs } = setup.limits;
    const limits: Question = { statement: statements.limits, values: [statementMs, lockMs, idleMs].map(String) };
    // Behind a pooler each transaction says for itself what a session was told otherwise.
    const common = setup.canPrepare ? [] : [limits];
    const insist = setup.canPrepare ? [] : [...common, { statement: statements.insist, values: [] }];
    const relax = [...common, { statement: statements.relax, values: [] }];
    this.#writer = new Writer({ pool, lanes: Math.min(maxLanes, poolSize), insist, relax });
    this.#longWay = new LongWay({ pool, statements, preamble: insist });
  }

  read<T>(reading: (rows: ReadRows) => Steps<T>): Promise<T> {
    return this.#accept(async (deadlineMs) => {
      const rows = new PgReadRows(this.#statements, async (statement, values) => {
        return (await this.#reader.ask({ statement, values }, deadlineMs)).rows;
      });
      return runSteps(reading(rows));
    });
  }

  write<Operation extends WriteOperation>(operation: Operation): Promise<WriteResults[Operation['kind']]> {
    const result = this.#accept((deadlineMs) => this.#write(operation, deadlineMs));
    return result as Promise<WriteResults[Operation['kind']]>;
  }

  async #write(operation: WriteOperation, deadlineMs: number): Promise<WriteResult> {
    const way = fastWayOf(this.#statements, operation);
    if (way === undefined) return this.#longWay.go(operation, deadlineMs, false);
    const outcome = await this.#writer.submit(way, operation.kind, deadlineMs);
    if (outcome.kind === 'done') return outcome.result;
    return this.#longWay.go(operation, deadlineMs, outcome.kind === 'doubtful');
  }

  hold(): () => void {
    return () => undefined;
  }

  /** Fails wherever a change would, and shares its time with none. Questions that come while one is asked get the same answer. */
  ping(): Promise<void> {
    this.#ping ??= this.#accept((deadlineMs) => this.#probe(deadlineMs), Math.min(maxPingMs, this.#timeoutMs)).finally(
      () => {
        this.#ping = undefined;
      },
    );
    return this.#ping;
  }

  async #probe(deadlineMs: number): Promise<void> {
    await this.#pool.ask(this.#statements.ping, [], deadlineMs);
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    // Whatever is longer under way than anybody waits for it is given up: a deletion of very much, which is rolled back.
    const work = Promise.allSettled(this.#running);
    await inTime(work, this.#timeoutMs).catch(() => undefined);
    await this.#pool.close();
  }

  async #accept<T>(work: (deadlineMs: number) => Promise<T>, timeoutMs = this.#timeoutMs): Promise<T> {
    if (this.#closed !== undefined) throw new StoreUnavailable('The store is closed');
    const running = work(performance.now() + timeoutMs);
    this.#running.add(running);
    const forget = (): boolean => this.#running.delete(running);
    running.then(forget, forget);
    try {
      return await inTime(running, timeoutMs);
    } catch (error) {
      throw asStoreError(error);
    }
  }
}

/** Everybody is answered in their own time, whomever they share a connection and a commit with. */
function inTime<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const timer = setTimeout(() => reject(tooSlow()), timeoutMs);
  work.then(resolve, reject).finally(() => clearTimeout(timer));
  return promise;
}
