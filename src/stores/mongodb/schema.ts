import { StoreUnavailable } from '../../store.ts';
import { type SchemaState, UnusableDatabase } from '../../store-admin.ts';
import { reach } from '../fault-points.ts';
import { namesOfOthers, perhapsOfOthers } from '../other-servers.ts';
import type { Call, Values } from './call.ts';
import { chunks, documentVersion, entries, meta } from './documents.ts';

/** Grows with every change of the documents or the indexes; what was released is never changed, only added to. */
export const schemaVersion = 1;

const product = 'open-responses';
const schemaId = 'schema';
const secretId = 'secret';
/** Of each collection without a mark. */
const maxSampled = 100;
const maxAttempts = 10;

type Index = { readonly name: string; readonly key: Values; readonly unique?: true; readonly sparse?: true };

/**
 * Every index. On a sharded cluster the key of the shards of both collections is `{ tenant: 1, thread: 1 }`: a unique
 * index has to begin with it. What does not name a thread asks every shard.
 */
export const indexes: { readonly [collection: string]: readonly Index[] } = {
  [entries]: [
    // Reads places and heads. Unique like `_id`, which decides who wins.
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
    .filter((name) => namesOfOthers.includes(name))
    .map((name) => perhapsOfOthers(`the collection ${name}`));
  // Our mark is the first thing that a migration writes: whoever sees our collections finds it afterwards.
  const mark = await call.findOne(meta, { _id: schemaId });
  const version = mark === undefined ? 0 : Number(mark['version']);
  const isOurs = mark === undefined || (mark['product'] === product && Number.isSafeInteger(version));
  const own = names.filter((name) => name === entries || name === chunks || name === meta);
  const taken = !isOurs ? own : mark === undefined ? await strangersAmong(call, own) : [];
  if (taken.length > 0) {
    const what = taken.map((name) => `the collection ${name}, which bears our name without our mark`);
    const conflict = `The database holds ${taken.join(', ')}, not made by this program: name another database, or rename what is there`;
    return { version: 0, foreign: [...foreign, ...what], conflict };
  }
  const newer = `The database was written by a newer release: its schema has version ${version}, this release knows ${schemaVersion}`;
  return { version, foreign, conflict: version > schemaVersion ? newer : undefined };
}

/**
 * Which of these collections of our names hold what we did not write, as far as some documents tell. Ours can be without
 * the mark: running servers make them again when somebody drops the database.
 */
async function strangersAmong(call: Call, names: readonly string[]): Promise<readonly string[]> {
  const projection = { v: 1, tenant: 1, thread: 1, position: 1, kind: 1, owner: 1, part: 1, product: 1 };
  const strangers: string[] = [];
  for (const name of names) {
    // The mark may have come this very moment, by another server that looks after the same database.
    const filter = { _id: { $ne: schemaId } };
    const found = await call.find(name, { filter, limit: maxSampled, projection });
    if (!found.every((each) => isOwn(name, each))) strangers.push(name);
  }
  return strangers;
}

function isOwn(collection: string, document: Values): boolean {
  const { v, tenant, thread, position, kind, owner, part } = document;
  const isCommon = v === documentVersion && typeof tenant === 'string' && typeof thread === 'string';
  switch (collection) {
    case entries:
      return isCommon && Number.isSafeInteger(position) && typeof kind === 'string';
    case chunks:
      return isCommon && typeof owner === 'string' && Number.isSafeInteger(part);
    default:
      return document['_id'] === secretId && document['product'] === product;
  }
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

/** Indexes of this release that are not there, by collection. */
export type Missing = readonly { readonly collection: string; readonly index: Index }[];

/**
 * What has to be made. Whatever the mark says: an index may have been dropped since, or not have come with a backup.
 * @throws UnusableDatabase where another index is in the way of ours.
 */
export async function missingIndexes(call: Call): Promise<Missing> {
  const names = await collectionNames(call);
  const missing: { readonly collection: string; readonly index: Index }[] = [];
  for (const [collection, list] of Object.entries(indexes)) {
    const there = names.includes(collection) ? await indexesOf(call, collection) : [];
    for (const index of list) {
      if (there.some((each) => isSame(each, index))) continue;
      const other = there.find((each) => each.name === index.name || keyOf(each) === keyOf(index));
      if (other !== undefined) {
        throw new UnusableDatabase(
          `The index ${other.name} of ${collection} is not the one that this release makes: drop it, and run \`open-responses migrate\``,
        );
      }
      missing.push({ collection, index });
    }
  }
  return missing;
}

async function indexesOf(call: Call, collection: string): Promise<readonly (Index & Values)[]> {
  const answer = await call.command(() => ({ listIndexes: collection, cursor: { batchSize: 1_000 } }));
  const { firstBatch = [] } = answer['cursor'] as { readonly firstBatch?: readonly (Index & Values)[] };
  return firstBatch;
}

/** Under whatever name, so that an operator may have made it. One that leaves documents out is another one. */
function isSame(one: Index & Values, other: Index): boolean {
  const isPlain = one['partialFilterExpression'] === undefined && one['collation'] === undefined;
  const [isUnique, isSparse] = [one.unique === true, one.sparse === true];
  return (
    isPlain &&
    keyOf(one) === keyOf(other) &&
    isUnique === (other.unique ?? false) &&
    isSparse === (other.sparse ?? false)
  );
}

/** The order of the fields counts. */
function keyOf({ key }: Index): string {
  return JSON.stringify(Object.entries(key).map(([name, order]) => [name, Number(order)]));
}

export function stateOf(version: number, missing: Missing): SchemaState {
  const pending =
    version < 1
      ? Object.entries(indexes).map(([name, list]) => `the collection ${name} with ${list.length} indexes`)
      : missing.map(({ collection, index }) => `the index ${index.name} of ${collection}, which is missing`);
  if (version >= 1) return { version, needed: schemaVersion, pending };
  return { version, needed: schemaVersion, pending: [`migration 1: ${pending.join(', ')}`] };
}

/** Every step may be done by several servers at once, and again after one was killed in between. */
export async function migrate(call: Call): Promise<void> {
  const version = await inspect(call);
  if (version < schemaVersion) await upsert(call, { $set: { product }, $max: { version: 0 } });
  reach('during_migration');
  const missing = await missingIndexes(call);
  for (const [collection, list] of Map.groupBy(missing, (each) => each.collection)) {
    await call.writing(() => ({ createIndexes: collection, indexes: list.map(({ index }) => index) }));
    reach('during_migration');
  }
  if (version < schemaVersion) await upsert(call, { $set: { product }, $max: { version: schemaVersion } });
}

/** Of several that insert at once one may be told of a duplicate: then there is something to update. */
async function upsert(call: Call, change: Values): Promise<void> {
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    const { isMatched } = await call.update(meta, { _id: schemaId }, change, true);
    if (isMatched) return;
  }
  throw new StoreUnavailable('The schema can not be marked');
}

/** The secret that is kept: the proposed one where there was none. */
export async function keepSecret(call: Call, proposed: string): Promise<string> {
  const place = { _id: secretId };
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    await call.insertAll(meta, [{ ...place, product, value: proposed }]);
    // Whoever has inserted it: a majority has it when this is answered.
    await call.confirm(meta, place, { product });
    const value = (await call.findOne(meta, place))?.['value'];
    if (typeof value === 'string') return value;
  }
  throw new StoreUnavailable('The secret of the servers did not stay in the database');
}

/**
 * Makes sure that the database can be written to. False where it lacks our mark, as after somebody dropped it: everything
 * is to be made again.
 */
export async function touch(call: Call): Promise<boolean> {
  // It changes nothing, and is confirmed like a change: by a primary that can write, and a majority.
  const whole = { _id: schemaId, version: { $gte: schemaVersion } };
  return (await call.update(meta, whole, { $set: { product } })).isMatched;
}
