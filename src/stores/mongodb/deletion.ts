import { StoreUnavailable } from '../../store.ts';
import { indexOf } from '../entry-items.ts';
import type { EntryRow } from '../rows.ts';
import { withoutItem } from '../writing.ts';
import type { Call, Values } from './call.ts';
import {
  asDocument,
  asEntry,
  at,
  chunks,
  digestsOf,
  type EntryDocument,
  entries,
  inThread,
  itemDigest,
  liveRoot,
  optional,
  ownerOf,
  referenceDigest,
  type Texts,
  text,
} from './documents.ts';
import { unavailable } from './failures.ts';
import { DamagedEntry, lacksChunks, readTexts, removeChunks, TextWriter } from './texts.ts';
import { changeEntry, maxAttempts, type Work } from './work.ts';

/** Entries of one thread that hold one id, at a time: more than one only where runs repeated it. */
const entriesAtOnce = 200;
const namesAtOnce = 500;
/** Documents of an emptied tree. */
const emptiedAtOnce = 500;

/** What an entry holds that only takes a place. */
const nothing = { itemsJson: undefined, inputCount: 0, textBytes: 0, hasReferences: false };

export async function deleteItem(
  work: Work,
  tenant: string,
  { id, itemId, nowMs }: { readonly id: string; readonly itemId: string; readonly nowMs: number },
): Promise<'deleted' | 'locked' | 'missing'> {
  const { call } = work;
  const root = await call.findOne(entries, liveRoot(tenant, id), { lease: 1 });
  if (root === undefined) return 'missing';
  const { lease } = asDocument(root);
  if (lease !== undefined && lease.expiresAt > nowMs) return 'locked';
  const ids = { $in: [itemDigest(itemId), referenceDigest(itemId)] };
  let isDeleted = false;
  for (let from = 0; ; ) {
    const found = await call.find(entries, {
      filter: { ...inThread(tenant, id), ids, position: { $gte: from } },
      sort: { position: 1 },
      limit: entriesAtOnce,
      projection: { _id: 0, tenant: 1, thread: 1, position: 1 },
    });
    for (const each of found) if (await takeItem(work, asDocument(each), itemId)) isDeleted = true;
    const last = found.at(-1);
    if (last === undefined || found.length < entriesAtOnce) return isDeleted ? 'deleted' : 'missing';
    from = asDocument(last).position + 1;
  }
}

/** True where this took it out; false where it is not in that entry, or not any more. */
async function takeItem(work: Work, place: EntryDocument, itemId: string): Promise<boolean> {
  const editing = edit(work, place, (row) => {
    const [entry, removed] = withoutItem(row, itemId);
    return removed.length === 0 ? undefined : { row: entry, unset: {} };
  });
  return orEmptied(work, place, editing);
}

type Place = Pick<EntryDocument, 'tenant' | 'thread' | 'position'>;

/** The outcome of an edit; of a damaged entry, which nobody can edit, all that is left goes. Its place stays taken. */
async function orEmptied(work: Work, place: Place, editing: Promise<boolean>): Promise<boolean> {
  try {
    return await editing;
  } catch (error) {
    if (!(error instanceof DamagedEntry)) throw error;
  }
  const { tenant, thread, position } = place;
  const found = await work.call.findOne(entries, at(tenant, { threadId: thread, position }));
  if (found === undefined) return false;
  const document = asDocument(found);
  // Nothing goes that is merely not seen, or that somebody else has changed meanwhile: that is worth another try.
  if ((await lacksChunks(work.call, document)) && (await replace(work, document, emptied(document)))) return true;
  throw unavailable('an entry could not be read whole');
}

function emptied(document: EntryDocument): Edited {
  const row = asEntry(document, { items: undefined, response: undefined });
  return { row: { ...row, ...nothing }, unset: { responseId: '', status: '', user: '' } };
}

type Edited = {
  readonly row: EntryRow;
  /** What goes beside the texts and the index. */
  readonly unset: Values;
};

/**
 * Replaces what an entry holds by what `change` makes of it, as long as nobody else was faster; else looks again. False
 * where there is nothing to change.
 */
async function edit(
  work: Work,
  { tenant, thread, position }: Place,
  change: (row: EntryRow) => Edited | undefined,
): Promise<boolean> {
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    const found = await work.call.findOne(entries, at(tenant, { threadId: thread, position }), { lease: 0 });
    const read = found === undefined ? undefined : await readTexts(work.call, asDocument(found));
    if (read === undefined) return false;
    const edited = change(asEntry(read.document, read.texts));
    if (edited === undefined) return false;
    if (await replace(work, read.document, edited)) return true;
    await work.call.pause(attempt);
  }
  throw new StoreUnavailable('Too many others change this entry');
}

async function replace(work: Work, before: EntryDocument, { row, unset }: Edited): Promise<boolean> {
  const { call } = work;
  const texts: Texts = { items: row.itemsJson, response: row.responseJson };
  const writer = await TextWriter.write(call, before.tenant, before.thread, texts);
  const { stored } = writer;
  const index = indexOf(row);
  const set = {
    ...stored,
    ids: digestsOf(index),
    itemCount: index.length,
    inputCount: row.inputCount,
    textBytes: row.textBytes,
    hasReferences: row.hasReferences,
  };
  const gone = ['items', 'response', 'chunks', 'hasItems'].filter((name) => !(name in set) && name in before);
  const $unset = { ...unset, ...Object.fromEntries(gone.map((name) => [name, ''])) };
  const isDone = await changeEntry(work, before, set, $unset);
  if (isDone) await writer.secure(call, before.position);
  const { tenant, thread } = before;
  await removeChunks(call, { tenant, thread, ...optional('chunks', isDone ? before.chunks : stored.chunks) });
  return isDone;
}

/** See R4. Exactly one caller takes the response's id out of its entry. */
export async function deleteResponse(work: Work, tenant: string, id: string): Promise<boolean> {
  const { call } = work;
  const projection = { tenant: 1, thread: 1, position: 1, kind: 1, tree: 1, 'root.conversationId': 1 };
  const found = await call.findOne(entries, { tenant: text(tenant), responseId: text(id) }, projection);
  if (found === undefined) return false;
  const place = asDocument(found);
  const isOfConversation = place.kind === 'conversation';
  const owner = ownerOf(place);
  if (owner !== undefined && (await call.findOne(entries, liveRoot(tenant, owner), { _id: 1 })) === undefined) {
    return false;
  }
  const editing = edit(work, place, (row) => {
    if (row.responseId !== id) return undefined;
    const bare = { ...row, responseId: undefined, status: undefined, responseJson: undefined };
    const unset = { responseId: '', status: '' };
    if (isOfConversation) return { row: bare, unset };
    return { row: { ...bare, ...nothing }, unset: { ...unset, user: '' } };
  });
  const isDone = await orEmptied(work, place, editing);
  if (isDone && !isOfConversation) await sweepTree(work, tenant, place.tree);
  return isDone;
}

/**
 * Removes the last traces of a tree in which nothing is left. What is appended meanwhile stays; it then has lost the root
 * of its thread, which readers know how to do without: it had nothing before it. That is so because each document that
 * goes was empty before it was asked whether the tree holds anything. One that is emptied later may be the root of what
 * came in between, and tell where that comes from.
 */
export async function sweepTree(work: Work, tenant: string, tree: string): Promise<void> {
  const { call, facts } = work;
  const inTree = { tenant: text(tenant), tree: text(tree) };
  const emptied = { ...inTree, kind: { $in: ['chain', 'record'] }, hasItems: { $exists: false } };
  if (!(await isEmptyTree(call, tenant, tree))) return;
  if ((await call.findOne(entries, liveRoot(tenant, tree), { _id: 1 })) !== undefined) return;
  for (;;) {
    const listed = await call.find(entries, { filter: emptied, limit: emptiedAtOnce, projection: { _id: 1 } });
    if (listed.length === 0 || !(await isEmptyTree(call, tenant, tree))) break;
    await call.remove(entries, { ...emptied, _id: { $in: listed.map((each) => text(asDocument(each)._id)) } });
  }
  facts.forgetTree(tenant, tree);
}

export async function isEmptyTree(call: Call, tenant: string, tree: string): Promise<boolean> {
  const filter = { tenant: text(tenant), tree: text(tree), hasItems: true };
  return (await call.findOne(entries, filter, { _id: 1 })) === undefined;
}

/** Which of these owners of chunks an entry of the thread names. */
async function namedOwners(
  work: Pick<Work, 'call'>,
  tenant: string,
  thread: string,
  owners: readonly string[],
): Promise<ReadonlySet<string>> {
  const named = new Set<string>();
  for (let from = 0; from < owners.length; from += namesAtOnce) {
    const some = owners.slice(from, from + namesAtOnce).map(text);
    const filter = { ...inThread(tenant, thread), 'chunks.owner': { $in: some } };
    const found = await work.call.find(entries, { filter, limit: namesAtOnce, projection: { 'chunks.owner': 1 } });
    for (const each of found) named.add(asDocument(each).chunks?.owner ?? '');
  }
  return named;
}

/**
 * Removes the chunks of these owners that no entry names. One that comes to name them meanwhile finds them doomed, and
 * saves them or writes them again (`TextWriter.secure`): whoever asks after its doom either sees the entry, or was before
 * it.
 */
export async function removeOrphans(
  work: Pick<Work, 'call'>,
  tenant: string,
  thread: string,
  owners: readonly string[],
): Promise<void> {
  const { call } = work;
  const named = await namedOwners(work, tenant, thread, owners);
  const orphaned = owners.filter((owner) => !named.has(owner)).map(text);
  if (orphaned.length === 0) return;
  const ownedBy = (some: readonly string[]): Values => ({ ...inThread(tenant, thread), owner: { $in: some } });
  await call.updateAll(chunks, ownedBy(orphaned), { $set: { doomed: true } });
  const saved = await namedOwners(work, tenant, thread, orphaned);
  if (saved.size > 0) await call.updateAll(chunks, ownedBy([...saved]), { $unset: { doomed: '' } });
  const rest = orphaned.filter((owner) => !saved.has(owner));
  await call.remove(chunks, { ...ownedBy(rest), doomed: true });
}
