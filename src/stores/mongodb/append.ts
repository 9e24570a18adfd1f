import type { AppendItemsResult, EntryPlace, NewItems, NewTurn, StorableItem } from '../../store.ts';
import { StoreUnavailable } from '../../store.ts';
import { type EncodedItems, encodeItems } from '../entry-items.ts';
import { settleReferences } from '../references.ts';
import type { EntryRow, ThreadRow } from '../rows.ts';
import { runSteps } from '../steps.ts';
import { conversationRow, isSameTurn, newThread, threadOf } from '../threads.ts';
import {
  asDocument,
  at,
  digestsOf,
  documentVersion,
  type EntryDocument,
  entries,
  freshToken,
  isPlain,
  liveRoot,
  nextSequence,
  optional,
  placeId,
  rootOf,
  text,
  whole,
} from './documents.ts';
import { removeChunks, TextWriter } from './texts.ts';
import { isAlive, maxAttempts, unlock, type Work } from './work.ts';

/** An entry before its place is known. */
type Draft = Pick<
  EntryDocument,
  'isTurn' | 'responseId' | 'status' | 'inputCount' | 'textBytes' | 'user' | 'createdAt'
> & {
  readonly response: string | undefined;
  /** Undefined for an entry that only takes a place. */
  readonly encoded: EncodedItems | undefined;
};

/** Where an entry is to lie. `isRoot`: it is the first of its thread, and carries what the thread is. */
type Spot = { readonly thread: ThreadRow; readonly position: number; readonly isRoot: boolean };

/**
 * Puts an entry into its place, or finds that another one has it. Its texts are written before, where they are large,
 * and removed again where the place is taken.
 */
async function insertEntry(
  work: Work,
  tenant: string,
  draft: Draft,
  spot: Spot,
): Promise<{ readonly outcome: 'inserted' | 'taken'; readonly document: EntryDocument }> {
  const { call } = work;
  const { thread, position } = spot;
  const texts = { items: draft.encoded?.itemsJson, response: draft.response };
  let written = await TextWriter.write(call, tenant, thread.id, texts);
  // A process that was halted for long must not name what the clean-up may be about to remove.
  if (!written.isFresh) written = await TextWriter.write(call, tenant, thread.id, texts);
  const document = documentOf(tenant, draft, spot, written);
  const outcome = await call.insert(entries, document, at(tenant, { threadId: thread.id, position }));
  if (outcome === 'taken') await removeChunks(call, document);
  else await written.secure(call, position);
  return { outcome, document };
}

function documentOf(
  tenant: string,
  draft: Draft,
  { thread, position, isRoot }: Spot,
  written: TextWriter,
): EntryDocument {
  const { encoded } = draft;
  return {
    _id: placeId(tenant, { threadId: thread.id, position }),
    maker: freshToken(),
    v: documentVersion,
    tenant: text(tenant),
    thread: text(thread.id),
    position: whole(position),
    kind: thread.kind,
    tree: text(thread.tree),
    plain: isPlain(thread),
    isTurn: draft.isTurn,
    ...optional('responseId', draft.responseId),
    ...optional('status', draft.status),
    ...written.stored,
    ids: digestsOf(encoded?.index ?? []),
    itemCount: encoded?.index.length ?? 0,
    inputCount: draft.inputCount,
    textBytes: draft.textBytes,
    hasReferences: encoded?.hasReferences ?? false,
    ...optional('user', draft.user),
    createdAt: whole(draft.createdAt),
    sequence: nextSequence(),
    rev: 0,
    ...(isRoot ? { root: rootOf(thread) } : {}),
  };
}

/**
 * Appends what a run made, see `Store.appendTurn`. A response that is stored already is looked up first. Ends of one
 * response that are written at the same time contend for the same places, which a unique index gives away once; that
 * index can't be one by response, since on a sharded cluster it has to begin with the key of the shards. The one end that
 * could go by is the record of a response whose append is in doubt: it takes the place of that append before it is
 * written itself.
 */
export async function appendTurn(work: Work, tenant: string, turn: NewTurn): Promise<'appended' | 'lost'> {
  switch (turn.kind) {
    case 'conversation':
      return appendToConversation(work, tenant, turn);
    case 'chain':
      return appendToChain(work, tenant, turn);
    case 'record':
      return appendRecord(work, tenant, turn);
    default:
      return turn.kind satisfies never;
  }
}

/**
 * The place is taken first, then it is asked whether the conversation is still there. A deletion marks the root first
 * and removes entries afterwards. So an append that finds the root unmarked was in its place before the removal, which
 * takes it along; and one that finds it marked takes itself back.
 */
async function appendToConversation(work: Work, tenant: string, turn: NewTurn): Promise<'appended' | 'lost'> {
  const { base } = turn;
  if (base === undefined) throw new Error('A turn of a conversation needs a base');
  const { threadId: id } = base;
  const position = base.position + 1;
  const [known, draft] = await Promise.all([
    work.rows.entryOfResponse(tenant, turn.responseId),
    draftOf(work, tenant, turn),
  ]);
  if (known !== undefined) {
    // Whoever was told nothing the first time may not have come to freeing the lease.
    return isSameTurn(known, turn) && (await freeLease(work, tenant, id, turn.holder)) ? 'appended' : 'lost';
  }
  const inserted = await insertTurn(work, tenant, turn, draft, {
    thread: conversationRow(id),
    position,
    isRoot: false,
  });
  const earlier =
    inserted.outcome === 'taken' ? await endAt(work, tenant, { threadId: id, position }, turn) : undefined;
  if (inserted.outcome === 'taken' && earlier !== 'appended') return 'lost';
  const [isThere, hasBase] = await Promise.all([
    freeLease(work, tenant, id, turn.holder),
    base.position < 0 || earlier === 'appended' ? true : isTaken(work, tenant, base),
  ]);
  if (isThere && hasBase) return 'appended';
  await takeBack(work, inserted.document);
  return 'lost';
}

/** Frees a conversation's lease where it is this holder's. True: the conversation is there. */
async function freeLease(work: Work, tenant: string, id: string, holder: string | undefined): Promise<boolean> {
  if (holder !== undefined && (await unlock(work, tenant, id, holder))) return true;
  return isAlive(work, tenant, id);
}

async function isTaken(work: Work, tenant: string, place: EntryPlace): Promise<boolean> {
  return (await work.call.findOne(entries, at(tenant, place), { _id: 1 })) !== undefined;
}

async function takeBack(work: Work, document: EntryDocument): Promise<void> {
  const { tenant, thread: threadId, position, maker } = document;
  await work.call.remove(entries, { ...at(tenant, { threadId, position }), maker });
  await removeChunks(work.call, document);
}

async function appendToChain(work: Work, tenant: string, turn: NewTurn): Promise<'appended' | 'lost'> {
  const { base } = turn;
  const [known, draft, parent] = await Promise.all([
    work.rows.entryOfResponse(tenant, turn.responseId),
    draftOf(work, tenant, turn),
    base === undefined ? undefined : parentOf(work, tenant, base),
  ]);
  if (known !== undefined) return isSameTurn(known, turn) ? 'appended' : 'lost';
  if (base !== undefined && parent?.kind === 'chain' && !parent.isRootless) {
    const position = base.position + 1;
    const { outcome } = await insertTurn(work, tenant, turn, draft, { thread: parent, position, isRoot: false });
    if (outcome === 'inserted') return 'appended';
    // Perhaps by this very turn, the first time that it was tried.
    const earlier = await endAt(work, tenant, { threadId: parent.id, position }, turn);
    if (earlier !== undefined) return earlier;
  }
  return startThread(work, tenant, turn, draft, parent);
}

type Parent = ThreadRow & { readonly isRootless?: true };

/**
 * The thread that a turn grows out of; undefined where nothing is left of it. A thread whose root went with an emptied
 * tree while somebody appended to it lives on in that entry: it had seen nothing before.
 */
async function parentOf(work: Work, tenant: string, base: EntryPlace): Promise<Parent | undefined> {
  const found = await work.rows.thread(tenant, base.threadId);
  if (found !== undefined || base.position < 0) return found;
  const entry = await work.call.findOne(entries, { ...at(tenant, base), kind: { $ne: 'conversation' } }, { tree: 1 });
  if (entry === undefined) return undefined;
  const thread = conversationRow(base.threadId);
  return { ...thread, kind: 'chain', tree: String(entry['tree']), isRootless: true };
}

async function appendRecord(work: Work, tenant: string, turn: NewTurn): Promise<'appended' | 'lost'> {
  const { base, conversationId, responseId } = turn;
  const earlier = (await work.rows.entryOfResponse(tenant, responseId)) ?? (await settleDoubt(work, tenant, turn));
  if (earlier !== undefined) return isSameTurn(earlier, turn) ? 'appended' : 'lost';
  const owner = conversationId === undefined ? undefined : await work.rows.thread(tenant, conversationId);
  if (conversationId !== undefined && owner?.kind !== 'conversation') return 'lost';
  const isElsewhere = base !== undefined && base.threadId !== conversationId;
  const parent = isElsewhere ? await parentOf(work, tenant, base) : owner;
  const draft = await draftOf(work, tenant, turn);
  const outcome = await startThread(work, tenant, turn, draft, parent);
  // As for a turn: written first, then asked.
  if (outcome === 'lost' || conversationId === undefined || (await isAlive(work, tenant, conversationId)))
    return outcome;
  await removeRecord(work, tenant, responseId);
  return 'lost';
}

async function removeRecord(work: Work, tenant: string, responseId: string): Promise<void> {
  const place = { threadId: threadOf(responseId), position: 0 };
  const found = await work.call.findOne(entries, { ...at(tenant, place), responseId: text(responseId) });
  if (found !== undefined) await takeBack(work, asDocument(found));
}

/** Makes sure that an append whose fate is unknown is either there, and returned, or can't come any more. */
async function settleDoubt(work: Work, tenant: string, turn: NewTurn): Promise<EntryRow | undefined> {
  const place = work.inDoubt.get(tenant, turn.responseId);
  if (place === undefined) return undefined;
  // The place of a thread of its own is the very one that the record is about to take.
  if (place.threadId !== threadOf(turn.responseId)) {
    const { createdAt } = turn;
    const nothing = { isTurn: false, inputCount: 0, textBytes: 0, createdAt, response: undefined, encoded: undefined };
    const known = await work.rows.thread(tenant, place.threadId);
    const thread = known ?? { ...conversationRow(place.threadId), kind: 'record' as const };
    await insertEntry(work, tenant, nothing, { thread, position: place.position, isRoot: false });
  }
  const found = await work.rows.entryOfResponse(tenant, turn.responseId);
  work.inDoubt.settle(tenant, turn.responseId);
  return found;
}

/** The thread that a response begins. `lost`: it was begun by another end, or by one that was deleted since. */
async function startThread(
  work: Work,
  tenant: string,
  turn: NewTurn,
  draft: Draft,
  parent: Parent | undefined,
): Promise<'appended' | 'lost'> {
  const thread = newThread(turn, parent);
  const { outcome } = await insertTurn(work, tenant, turn, draft, { thread, position: 0, isRoot: true });
  if (outcome === 'inserted') {
    work.facts.learn(tenant, thread);
    return 'appended';
  }
  return (await endAt(work, tenant, { threadId: thread.id, position: 0 }, turn)) ?? 'lost';
}

/** Undefined: another response, or none, has the place. */
async function endAt(
  work: Work,
  tenant: string,
  place: EntryPlace,
  turn: NewTurn,
): Promise<'appended' | 'lost' | undefined> {
  const row = await work.rows.anyEntry(tenant, place);
  if (row === undefined || row.responseId !== turn.responseId) return undefined;
  if (!isSameTurn(row, turn)) return 'lost';
  await work.call.confirm(entries, at(tenant, place), { v: documentVersion });
  return 'appended';
}

/** The append itself. It is noted as in doubt until it is known whether it was done, and stays so where time runs out. */
async function insertTurn(work: Work, tenant: string, turn: NewTurn, draft: Draft, spot: Spot) {
  const { call, inDoubt } = work;
  inDoubt.note(tenant, turn.responseId, { threadId: spot.thread.id, position: spot.position });
  let isKnown = true;
  try {
    return await insertEntry(work, tenant, draft, spot);
  } catch (error) {
    isKnown = !call.mayHaveWritten;
    throw error;
  } finally {
    if (isKnown) inDoubt.settle(tenant, turn.responseId);
  }
}

async function draftOf(work: Work, tenant: string, turn: NewTurn): Promise<Draft> {
  return {
    isTurn: true,
    responseId: turn.responseId,
    status: turn.status,
    response: turn.responseJson.toWellFormed(),
    encoded: await encode(work, tenant, [...turn.input, ...turn.output]),
    inputCount: turn.input.length,
    textBytes: turn.textBytes,
    ...optional('user', turn.user),
    createdAt: turn.createdAt,
  };
}

async function encode(work: Work, tenant: string, items: readonly StorableItem[]): Promise<EncodedItems> {
  return encodeItems(items, await runSteps(settleReferences(work.rows, tenant, items)));
}

/**
 * Adds items behind the newest entry of a conversation. A run that takes the lease after this has looked at it loses its
 * place, and so its work, as it does where its lease has run out: correctness does not rest on leases.
 */
export async function appendItems(
  work: Work,
  tenant: string,
  { id, entry, nowMs }: { readonly id: string; readonly entry: NewItems; readonly nowMs: number },
): Promise<AppendItemsResult> {
  const ids = entry.items.map((item) => item.id.toWellFormed());
  let draft: Draft | undefined;
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    const [root, found] = await Promise.all([
      work.call.findOne(entries, liveRoot(tenant, id), { lease: 1 }),
      work.rows.threadHead(tenant, id),
    ]);
    if (root === undefined || found === undefined) return { outcome: 'missing' };
    const { lease } = asDocument(root);
    if (lease !== undefined && lease.expiresAt > nowMs) return { outcome: 'locked' };
    if (entry.items.length === 0) return { outcome: 'appended' };
    // Asked after the head: what came in between takes the place behind it.
    const seen = new Set(found.head < 0 ? [] : await work.rows.idsIn(tenant, id, ids));
    for (const itemId of ids) {
      if (seen.has(itemId)) return { outcome: 'duplicate', itemId };
      seen.add(itemId);
    }
    draft ??= await itemsDraft(work, tenant, entry);
    const spot = { thread: found.thread, position: found.head + 1, isRoot: false };
    const { outcome, document } = await insertEntry(work, tenant, draft, spot);
    if (outcome === 'inserted') {
      if (await isAlive(work, tenant, id)) return { outcome: 'appended' };
      await takeBack(work, document);
      return { outcome: 'missing' };
    }
    await work.call.pause(attempt);
  }
  throw new StoreUnavailable('Too many others add to this conversation');
}

async function itemsDraft(work: Work, tenant: string, entry: NewItems): Promise<Draft> {
  return {
    isTurn: false,
    response: undefined,
    encoded: await encode(work, tenant, entry.items),
    inputCount: entry.items.length,
    textBytes: entry.textBytes,
    createdAt: entry.createdAt,
  };
}

/** The first entry of a conversation whose root is written, and not yet alive. */
export async function insertFirstItems(work: Work, tenant: string, id: string, entry: NewItems): Promise<void> {
  const draft = await itemsDraft(work, tenant, entry);
  const spot = { thread: conversationRow(id), position: 0, isRoot: false };
  const { outcome } = await insertEntry(work, tenant, draft, spot);
  if (outcome === 'taken') throw new Error('A new conversation has an entry already');
}
