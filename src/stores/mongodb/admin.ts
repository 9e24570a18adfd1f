import {
  type RecordKind,
  type RecordStats,
  type StoreAdmin,
  type StoreStats,
  UnusableDatabase,
} from '../../store-admin.ts';
import type { Call, Values } from './call.ts';
import { type Access, asStartFailure, Deployment } from './deployment.ts';
import { entries } from './documents.ts';
import { inspect, look, migrate, missingIndexes, schemaVersion, stateOf } from './schema.ts';

/** Counting and building indexes read everything: nobody waits for them but the operator. */
const longTimeoutMs = 30 * 60_000;

/** An operator's look at a database. Opening it connects, and changes nothing. */
export async function openMongoAdmin(access: Access): Promise<StoreAdmin> {
  const deployment = await Deployment.open(access);
  const guarded = async <T>(work: (call: Call) => Promise<T>, timeoutMs: number): Promise<T> => {
    try {
      return await deployment.run(work, { timeoutMs });
    } catch (thrown) {
      throw asStartFailure(thrown);
    }
  };
  return {
    schema: () => guarded(async (call) => stateOf(await inspect(call), await missingIndexes(call)), access.timeoutMs),
    async migrate() {
      await guarded(migrate, longTimeoutMs);
      return stateOf(schemaVersion, []);
    },
    stats: () => guarded(statsOf, longTimeoutMs),
    close: () => deployment.close(),
  };
}

async function statsOf(call: Call): Promise<StoreStats> {
  const { version, foreign, conflict } = await look(call);
  // What a newer release wrote may mean something else.
  if (version > schemaVersion && conflict !== undefined) throw new UnusableDatabase(conflict);
  const [disk, records] = await Promise.all([
    diskBytesOf(call),
    version === 0 || conflict !== undefined ? [] : recordsOf(call),
  ]);
  return { records, diskBytes: disk, foreign };
}

async function diskBytesOf(call: Call): Promise<number | undefined> {
  const answer = await call.command(() => ({ dbStats: 1 }));
  const { storageSize, indexSize } = answer;
  // A server that keeps nothing on disk says 0, one that can't tell says nothing.
  if (typeof storageSize !== 'number' || typeof indexSize !== 'number' || storageSize === 0) return undefined;
  return storageSize + indexSize;
}

async function recordsOf(call: Call): Promise<readonly RecordStats[]> {
  const isThere = { deletedAt: { $exists: false } };
  const roots = { root: { $exists: true }, ...isThere };
  const [conversations, chains, records, responses, items, leases] = await Promise.all([
    groupOf(call, 'conversations', { ...roots, kind: 'conversation' }, '$bytes'),
    groupOf(call, 'chains', { ...roots, kind: 'chain' }, 0),
    groupOf(call, 'records', { ...roots, kind: 'record' }, 0),
    groupOf(call, 'responses', { responseId: { $exists: true } }, '$responseBytes'),
    groupOf(call, 'items', { itemCount: { $gt: 0 } }, { $subtract: ['$bytes', '$responseBytes'] }, '$itemCount'),
    groupOf(call, 'leases', { ...isThere, lease: { $exists: true } }, 0),
  ]);
  return [conversations, chains, records, responses, items, leases];
}

async function groupOf(
  call: Call,
  kind: RecordKind,
  filter: Values,
  bytes: unknown,
  count: unknown = 1,
): Promise<RecordStats> {
  const sums = { count: { $sum: count }, bytes: { $sum: bytes } };
  const times = { oldest: { $min: '$createdAt' }, newest: { $max: '$createdAt' } };
  const pipeline = [{ $match: filter }, { $group: { _id: null, ...sums, ...times } }];
  const answer = await call.command(() => ({ aggregate: entries, pipeline, cursor: {}, allowDiskUse: false }));
  const { firstBatch = [] } = answer['cursor'] as { readonly firstBatch?: readonly Values[] };
  const [found] = firstBatch;
  const time = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);
  return {
    kind,
    count: Number(found?.['count'] ?? 0),
    bytes: Number(found?.['bytes'] ?? 0),
    oldestAt: time(found?.['oldest']),
    newestAt: time(found?.['newest']),
  };
}
