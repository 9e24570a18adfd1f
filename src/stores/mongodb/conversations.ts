import type { NewItems } from '../../store.ts';
import { conversationRow } from '../threads.ts';
import { insertFirstItems } from './append.ts';
import type { Values } from './call.ts';
import { sweepTree } from './deletion.ts';
import {
  asDocument,
  at,
  chunks,
  conversationRoot,
  type EntryDocument,
  entries,
  freshToken,
  inThread,
  liveRoot,
  rootPosition,
  text,
  whole,
} from './documents.ts';
import { unavailable } from './failures.ts';
import { unlock, type Work } from './work.ts';

/** Threads that are looked up at once on the way to removing them. */
const recordsAtOnce = 100;

type NewRoot = {
  readonly id: string;
  readonly metadataJson: string;
  readonly createdAt: number;
  readonly entry: NewItems | undefined;
};

/**
 * A conversation without items is made by one insert. One with items begins as if it were deleted, and comes to life
 * when its items are there: what a crash leaves in between is cleaned up like a deleted one.
 */
export async function createConversation(work: Work, tenant: string, given: NewRoot): Promise<undefined> {
  const { id, metadataJson, createdAt, entry } = given;
  const thread = conversationRow(id, metadataJson, createdAt);
  const first = entry === undefined || entry.items.length === 0 ? undefined : entry;
  const root = conversationRoot(tenant, thread);
  const place = at(tenant, { threadId: id, position: rootPosition });
  const by = freshToken();
  const document = first === undefined ? root : { ...root, deletedAt: Date.now(), by };
  if ((await work.call.insert(entries, document, place)) === 'taken') {
    throw new Error('A thread of this id exists already');
  }
  if (first === undefined) return undefined;
  await insertFirstItems(work, tenant, id, first);
  // A deletion writes another token: a copy of this that arrives after it brings nothing back to life.
  const unborn = { ...place, maker: root.maker, by, swept: { $exists: false } };
  const { isMatched, isUnsure } = await work.call.update(entries, unborn, { $unset: { deletedAt: '' } });
  if (isMatched) return undefined;
  const found = isUnsure ? await work.call.findLatest(entries, place, { by: 1 }) : undefined;
  // It was made, and somebody else deleted it before this process knew.
  if (found?.['by'] !== undefined && found['by'] !== by) return undefined;
  throw unavailable('making a conversation took so long that it was cleaned up');
}

/** Resolves with the time of its creation. */
export async function updateConversation(
  work: Work,
  tenant: string,
  id: string,
  metadataJson: string,
): Promise<number | undefined> {
  const change = { $set: { 'root.metadata': text(metadataJson), bytes: Buffer.byteLength(metadataJson) } };
  const root = await work.call.findOne(entries, liveRoot(tenant, id), { createdAt: 1 });
  if (root === undefined) return undefined;
  const { isMatched } = await work.call.update(entries, liveRoot(tenant, id), change);
  return isMatched ? asDocument(root).createdAt : undefined;
}

/** The mark decides who deleted it, and hides everything at once. What lies there goes afterwards. */
export async function deleteConversation(work: Work, tenant: string, id: string): Promise<boolean> {
  const { call } = work;
  const by = freshToken();
  const { isMatched, isUnsure } = await call.update(entries, liveRoot(tenant, id), {
    $set: { deletedAt: Date.now(), by, bytes: 0 },
    $unset: { 'root.metadata': '', lease: '', user: '' },
  });
  const place = at(tenant, { threadId: id, position: rootPosition });
  const mine = isMatched || (isUnsure && (await call.findLatest(entries, place, { by: 1 }))?.['by'] === by);
  if (mine) await removeRest(work, tenant, id);
  return mine;
}

/** Removes what a marked conversation has: its records, its entries, their chunks. The root stays, to mark it. */
export async function removeRest(work: Work, tenant: string, id: string): Promise<void> {
  const { call } = work;
  await removeRecords(work, tenant, id);
  await call.remove(entries, { ...inThread(tenant, id), position: { $gte: 0 } });
  await call.remove(chunks, inThread(tenant, id));
  await sweepTree(work, tenant, id);
}

async function removeRecords(work: Work, tenant: string, id: string): Promise<void> {
  const { call } = work;
  // A record of a conversation is in its tree, and so is every fork of it.
  const filter = { tenant: text(tenant), tree: text(id), kind: 'record', 'root.conversationId': text(id) };
  for (;;) {
    const found = await call.find(entries, { filter, limit: recordsAtOnce, projection: { tenant: 1, thread: 1 } });
    for (const each of found) {
      const { thread } = asDocument(each);
      await call.remove(entries, inThread(tenant, thread));
      await call.remove(chunks, inThread(tenant, thread));
    }
    if (found.length < recordsAtOnce) return;
  }
}

type LeaseOf = { readonly id: string; readonly holder: string; readonly ttlMs: number; readonly nowMs: number };

export async function acquireLease(
  work: Work,
  tenant: string,
  { id, holder, ttlMs, nowMs }: LeaseOf,
): Promise<'acquired' | 'busy' | 'missing'> {
  const isFree = [
    { lease: { $exists: false } },
    { 'lease.expiresAt': { $lte: whole(nowMs) } },
    { 'lease.holder': text(holder) },
  ];
  if (await setLease(work, { ...liveRoot(tenant, id), $or: isFree }, holder, nowMs + ttlMs)) return 'acquired';
  return (await work.call.findOne(entries, liveRoot(tenant, id), { _id: 1 })) === undefined ? 'missing' : 'busy';
}

export async function renewLease(work: Work, tenant: string, lease: LeaseOf): Promise<boolean> {
  const { id, holder, ttlMs, nowMs } = lease;
  const held = { 'lease.holder': text(holder), 'lease.expiresAt': { $gt: whole(nowMs) } };
  return setLease(work, { ...liveRoot(tenant, id), ...held }, holder, nowMs + ttlMs);
}

async function setLease(work: Work, filter: Values, holder: string, expiresAt: number): Promise<boolean> {
  const lease = { holder: text(holder), expiresAt: whole(expiresAt) } satisfies EntryDocument['lease'];
  return (await work.call.update(entries, filter, { $set: { lease } })).isMatched;
}

export async function releaseLease(work: Work, tenant: string, id: string, holder: string): Promise<undefined> {
  await unlock(work, tenant, id, holder);
  return undefined;
}
