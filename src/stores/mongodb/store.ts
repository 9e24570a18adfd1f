import { type Store, StoreUnavailable } from '../../store.ts';
import { UnusableDatabase } from '../../store-admin.ts';
import type { ReadRows } from '../rows.ts';
import { runSteps, type Steps } from '../steps.ts';
import type { Backend } from '../store-over-rows.ts';
import { storeOverRows } from '../store-over-rows.ts';
import { waitingBytes } from '../waiting-bytes.ts';
import type { WriteOperation, WriteResult, WriteResults } from '../writing.ts';
import { appendItems, appendTurn } from './append.ts';
import type { Call } from './call.ts';
import {
  acquireLease,
  createConversation,
  deleteConversation,
  releaseLease,
  renewLease,
  updateConversation,
} from './conversations.ts';
import { deleteItem, deleteResponse } from './deletion.ts';
import { type Access, asStartFailure, Deployment } from './deployment.ts';
import { tenantKey } from './documents.ts';
import { AppendsInDoubt } from './in-doubt.ts';
import { KeyedQueue } from './keyed-queue.ts';
import { RootFacts } from './root-facts.ts';
import { MongoReadRows } from './rows.ts';
import { inspect, keepSecret, migrate, missingIndexes, schemaVersion, touch } from './schema.ts';
import { Sweeper } from './sweep.ts';
import type { Work } from './work.ts';

export type MongoStoreOptions = Access & {
  /** Whether a schema that is behind is brought up to date; else it is refused. */
  readonly autoMigrate: boolean;
  readonly now: () => number;
};

/** Building an index of a large collection takes its time. */
export const migrationTimeoutMs = 30 * 60_000;
const maxPingMs = 2_000;

/**
 * Keeps everything in a MongoDB database, which many servers may share; a replica set, a sharded cluster or a single
 * node. Rejects with `UnusableDatabase` where it is not for this program, with `StoreUnavailable` where it can not be
 * reached now.
 */
export async function createMongoStore(options: MongoStoreOptions): Promise<Store> {
  const { autoMigrate } = options;
  const deployment = await Deployment.open(options);
  try {
    await prepare(deployment, autoMigrate);
    await deployment.run((call) => keepUp(call, autoMigrate));
  } catch (thrown) {
    await deployment.close();
    throw asStartFailure(thrown);
  }
  return storeOverRows(new MongoBackend(deployment, options));
}

async function prepare(deployment: Deployment, autoMigrate: boolean): Promise<void> {
  // Who can't be asked in time is no reason to wait as long as a migration may take.
  const version = await deployment.run(inspect);
  const missing = await deployment.run(missingIndexes);
  if (version === schemaVersion && missing.length === 0) return;
  if (autoMigrate) {
    await deployment.run(migrate, { timeoutMs: migrationTimeoutMs });
    return;
  }
  if (version !== schemaVersion) {
    throw new UnusableDatabase(
      `The schema has version ${version} and this release needs ${schemaVersion}: run \`open-responses migrate\``,
    );
  }
  const names = missing.map(({ collection, index }) => `${index.name} of ${collection}`).join(', ');
  const message = `The database lacks indexes (${names}): run \`open-responses migrate\``;
  if (missing.some(({ index }) => index.unique === true)) throw new UnusableDatabase(message);
  // Slow, and right.
  process.emitWarning(message);
}

/**
 * Looks whether the database is well, and makes the mark and the indexes again where it was dropped. Meanwhile nothing
 * went wrong, as places are unique without them.
 */
async function keepUp(call: Call, autoMigrate: boolean): Promise<void> {
  if (!(await touch(call))) await makeAgain(call, autoMigrate);
}

async function makeAgain(call: Call, autoMigrate: boolean): Promise<void> {
  if (!autoMigrate) {
    throw new StoreUnavailable('The MongoDB database was emptied while it was in use: run `open-responses migrate`');
  }
  try {
    await migrate(call);
  } catch (thrown) {
    // No reason to end a server that runs: somebody may yet put it right.
    throw thrown instanceof UnusableDatabase ? new StoreUnavailable(thrown.message) : thrown;
  }
}

class MongoBackend implements Backend {
  readonly now: () => number;
  readonly #deployment: Deployment;
  readonly #sweeper: Sweeper;
  readonly #facts = new RootFacts();
  readonly #inDoubt = new AppendsInDoubt();
  readonly #turns = new KeyedQueue();
  readonly #keepUp: (call: Call) => Promise<void>;
  /** What this server was told to share with the others. */
  #secret: string | undefined;
  /** The database was dropped, and may lack the secret. */
  #wasEmptied = false;
  #ping: Promise<void> | undefined;

  constructor(deployment: Deployment, { autoMigrate, now }: MongoStoreOptions) {
    this.#deployment = deployment;
    this.#keepUp = (call) => this.#lookAfter(call, autoMigrate);
    this.now = now;
    this.#sweeper = new Sweeper({ deployment, workOf: (call) => this.#workOf(call), keepUp: this.#keepUp });
    this.#sweeper.start();
  }

  async read<T>(reading: (rows: ReadRows) => Steps<T>): Promise<T> {
    return this.#deployment.run((call) => runSteps(reading(new MongoReadRows(call, this.#facts))));
  }

  async write<Operation extends WriteOperation>(operation: Operation): Promise<WriteResults[Operation['kind']]> {
    const bytes = waitingBytes(operation);
    const result = await this.#deployment.run((call) => apply(this.#workOf(call), operation), { bytes });
    if (operation.kind === 'keep_secret') this.#secret = String(result);
    return result as WriteResults[Operation['kind']];
  }

  hold(): () => void {
    return () => undefined;
  }

  /** Whoever asks while one is under way is told what that one finds. */
  ping(): Promise<void> {
    const timeoutMs = Math.min(maxPingMs, this.#deployment.timeoutMs);
    this.#ping ??= this.#deployment.run(this.#keepUp, { timeoutMs }).finally(() => {
      this.#ping = undefined;
    });
    return this.#ping;
  }

  /** The secret is put back too: servers that start later have to share it with those that run. */
  async #lookAfter(call: Call, autoMigrate: boolean): Promise<void> {
    if (!(await touch(call))) {
      this.#wasEmptied = true;
      await makeAgain(call, autoMigrate);
    }
    if (this.#wasEmptied && this.#secret !== undefined) await keepSecret(call, this.#secret);
    this.#wasEmptied = false;
  }

  async close(): Promise<void> {
    this.#sweeper.stop();
    await this.#deployment.close();
  }

  #workOf(call: Call): Work {
    const rows = new MongoReadRows(call, this.#facts);
    return { call, rows, facts: this.#facts, inDoubt: this.#inDoubt, turns: this.#turns };
  }
}

async function apply(work: Work, operation: WriteOperation): Promise<WriteResult> {
  const { tenant } = operation;
  switch (operation.kind) {
    case 'create_conversation':
      return createConversation(work, tenant, operation);
    case 'update_conversation':
      return updateConversation(work, tenant, operation.id, operation.metadataJson);
    case 'delete_conversation':
      return deleteConversation(work, tenant, operation.id);
    case 'append_items': {
      const key = tenantKey(tenant, operation.id);
      return work.turns.run(key, work.call.signal, () => appendItems(work, tenant, operation));
    }
    case 'delete_item':
      return deleteItem(work, tenant, operation);
    case 'acquire_lease':
      return acquireLease(work, tenant, operation);
    case 'renew_lease':
      return renewLease(work, tenant, operation);
    case 'release_lease':
      return releaseLease(work, tenant, operation.id, operation.holder);
    case 'append_turn':
      return appendTurn(work, tenant, operation.turn);
    case 'delete_response':
      return deleteResponse(work, tenant, operation.id);
    case 'keep_secret':
      return keepSecret(work.call, operation.proposed);
    default:
      return operation satisfies never;
  }
}
