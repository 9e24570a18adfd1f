import { StoreUnavailable } from '../../store.ts';
import { type SchemaState, UnusableDatabase } from '../../store-admin.ts';
import { reach } from '../fault-points.ts';
import type { Call, Values } from './call.ts';
import { chunks, entries, meta } from './documents.ts';

/** Grows with every change of the documents or the indexes; what was released is never changed, only added to. */
export const schemaVersion = 1;

const product = 'open-responses';
const schemaId = 'schema';

type Index = { readonly name: string; readonly key: Values; readonly unique?: true; readonly sparse?: true };

/**
 * Every index. On a sharded cluster the key of the shards of both collections is `{ tenant: 1, thread: 1 }`: a unique
 * index has to begin with it. What does not name a thread asks every shard.
 */
export const indexes: { readonly [collection: string]: readonly Index[] } = {
  [entries]: [
    // Decides who wins. Reads places and heads.
    { name: 'place', key: { tenant: 1, thread: 1, position: 1 }, unique: true },
    // Finds a response; asks every shard.
    { name: 'response', key: { tenant: 1, responseId: 1 } },
    // Finds the newest item of an id; asks every shard.
    { name: 'newest_item', key: { tenant: 1, ids: 1, sequence: -1 } },
    // Finds an id within threads: cursors, duplicates, deletions.
    { name: 'item_in_thread', key: { tenant: 1, thread: 1, ids: 1, position: 1 } },
    // Walks through what holds items; tells, on every shard, whether a tree holds anything, and its records.
    { name: 'with_items', key: { tenant: 1, tree: 1, hasItems: 1, thread: 1, position: 1 } },
    // For the clean-up.
    { name: 'deleted', key: { deletedAt: 1 }, sparse: true },
    // For the clean-up: who names chunks. An owner is unique anywhere, and few entries have one.
    { name: 'owner', key: { 'chunks.owner': 1 }, sparse: true },
  ],
  [chunks]: [
    { name: 'part', key: { tenant: 1, thread: 1, owner: 1, part: 1 }, unique: true },
    // For the clean-up.
    { name: 'age', key: { createdAt: 1 } },
  ],
};

/** Collections that an older conversation server may have used. */
const formerNames: ReadonlySet<string> = new Set([
  'responses',
  'conversations',
  'conversation_items',
  'messages',
  'items',
  'response_items',
  'input_items',
]);

export type Inspection = {
  readonly version: number;
  /** In words for an operator. */
  readonly foreign: readonly string[];
  /** Why this database is not for this program. */
  readonly conflict: string | undefined;
};

/** What is there, without changing anything. */
export async function look(call: Call): Promise<Inspection> {
  const names = await collectionNames(call);
  const foreign = names
    .filter((name) => formerNames.has(name))
    .map((name) => `the collection ${name}, perhaps of another conversation server`);
  // Our mark is the first thing that a migration writes: whoever sees our collections finds it afterwards.
  const mark = await call.findOne(meta, { _id: schemaId });
  const version = mark === undefined ? 0 : Number(mark['version']);
  const taken = names.filter((name) => name === entries || name === chunks || name === meta);
  const isStrange =
    mark === undefined ? taken.length > 0 : mark['product'] !== product || !Number.isSafeInteger(version);
  if (isStrange) {
    const what = taken.map((name) => `the collection ${name}, which bears our name without our mark`);
    const conflict = `The database holds ${taken.join(', ')}, not made by this program; name another database`;
    return { version: 0, foreign: [...foreign, ...what], conflict };
  }
  const newer = `The database was written by a newer release: its schema has version ${version}, this release knows ${schemaVersion}`;
  return { version, foreign, conflict: version > schemaVersion ? newer : undefined };
}

/**
 * The version of the schema, 0 where there is none.
 * @throws UnusableDatabase where it is of a newer release, or of somebody else.
 */
export async function inspect(call: Call): Promise<number> {
  const { version, conflict } = await look(call);
  if (conflict !== undefined) throw new UnusableDatabase(conflict);
  return version;
}

async function collectionNames(call: Call): Promise<readonly string[]> {
  const names: string[] = [];
  const ask = { nameOnly: true, authorizedCollections: true, cursor: { batchSize: 1_000 } };
  const answer = await call.command(() => ({ listCollections: 1, ...ask }));
  const { firstBatch = [] } = answer['cursor'] as { readonly firstBatch?: readonly Values[] };
  for (const each of firstBatch) names.push(String(each['name']));
  return names;
}

export function stateOf(version: number): SchemaState {
  const pending: string[] = [];
  if (version < 1) {
    const names = Object.entries(indexes).map(([name, list]) => `the collection ${name} with ${list.length} indexes`);
    pending.push(`migration 1: ${names.join(', ')}`);
  }
  return { version, needed: schemaVersion, pending };
}

/** Every step may be done by several servers at once, and again after one was killed in between. */
export async function migrate(call: Call): Promise<void> {
  if ((await inspect(call)) === schemaVersion) return;
  const mark = { $set: { product }, $max: { version: 0 } };
  await upsert(call, mark);
  reach('during_migration');
  for (const [collection, list] of Object.entries(indexes)) {
    await call.writing(() => ({ createIndexes: collection, indexes: list }));
    reach('during_migration');
  }
  await upsert(call, { $set: { product }, $max: { version: schemaVersion } });
}

/** Of several that insert at once one may be told of a duplicate: then there is something to update. */
async function upsert(call: Call, change: Values): Promise<void> {
  for (let attempt = 0; attempt < 10; attempt += 1) {
    const { isMatched } = await call.update(meta, { _id: schemaId }, change, true);
    if (isMatched) return;
  }
  throw new StoreUnavailable('The schema can not be marked');
}

/** @throws StoreUnavailable where the mark is gone, as after somebody dropped the database. */
export async function touch(call: Call): Promise<void> {
  // It changes nothing, and is confirmed like a change: by a primary that can write, and a majority.
  const { isMatched } = await call.update(meta, { _id: schemaId }, { $set: { product } });
  if (!isMatched)
    throw new StoreUnavailable('The MongoDB database was emptied while it was in use; restart the server');
}
