import type { AppendItemsResult, NewItems, NewTurn } from '../store.ts';
import type { StoredItem } from './entry-items.ts';
import { decodeItems, encodeItems, hasId, indexOf, isReference } from './entry-items.ts';
import { asConversation } from './reading.ts';
import { settleReferences } from './references.ts';
import type { EntryRow, IndexedItem, ThreadHead, ThreadRow, WriteRows } from './rows.ts';
import { got, type Steps } from './steps.ts';
import { conversationRow, isSameTurn, newThread } from './threads.ts';

/** A change, as plain data, so that it can be sent to another thread. `nowMs` is the time at which it was asked for. */
export type WriteOperation = { readonly tenant: string } & (
  | {
      readonly kind: 'create_conversation';
      readonly id: string;
      readonly metadataJson: string;
      readonly createdAt: number;
      readonly entry: NewItems | undefined;
    }
  | { readonly kind: 'update_conversation'; readonly id: string; readonly metadataJson: string }
  | { readonly kind: 'delete_conversation'; readonly id: string }
  | { readonly kind: 'append_items'; readonly id: string; readonly entry: NewItems; readonly nowMs: number }
  | { readonly kind: 'delete_item'; readonly id: string; readonly itemId: string; readonly nowMs: number }
  | {
      readonly kind: 'acquire_lease' | 'renew_lease';
      readonly id: string;
      readonly holder: string;
      readonly ttlMs: number;
      readonly nowMs: number;
    }
  | { readonly kind: 'release_lease'; readonly id: string; readonly holder: string }
  | { readonly kind: 'append_turn'; readonly turn: NewTurn }
  | { readonly kind: 'delete_response'; readonly id: string }
  /** Of no tenant: that one is empty. */
  | { readonly kind: 'keep_secret'; readonly proposed: string }
);

export type WriteResults = {
  readonly create_conversation: undefined;
  /** When it was created. */
  readonly update_conversation: number | undefined;
  readonly delete_conversation: boolean;
  readonly append_items: AppendItemsResult;
  readonly delete_item: 'deleted' | 'locked' | 'missing';
  readonly acquire_lease: 'acquired' | 'busy' | 'missing';
  readonly renew_lease: boolean;
  readonly release_lease: undefined;
  readonly append_turn: 'appended' | 'lost';
  readonly delete_response: boolean;
  readonly keep_secret: string;
};

export type WriteResult = WriteResults[keyof WriteResults];

/** Does one change, whole or not at all: what throws has either changed nothing or is rolled back by the backend. */
export function* applyWrite(rows: WriteRows, operation: WriteOperation): Steps<WriteResult> {
  const { tenant } = operation;
  switch (operation.kind) {
    case 'create_conversation':
      return yield* createConversation(rows, operation);
    case 'update_conversation':
      return yield* updateConversation(rows, tenant, operation.id, operation.metadataJson);
    case 'delete_conversation':
      return yield* deleteConversation(rows, tenant, operation.id);
    case 'append_items':
      return yield* appendItems(rows, operation);
    case 'delete_item':
      return yield* deleteItem(rows, operation);
    case 'acquire_lease':
      return yield* acquireLease(rows, operation);
    case 'renew_lease':
      return yield* renewLease(rows, operation);
    case 'release_lease':
      return yield* releaseLease(rows, tenant, operation.id, operation.holder);
    case 'append_turn':
      return yield* appendTurn(rows, tenant, operation.turn);
    case 'delete_response':
      return yield* deleteResponse(rows, tenant, operation.id);
    case 'keep_secret':
      return yield* got(rows.keepSecret(operation.proposed));
  }
}

type OfKind<Operation, Kind> = Operation extends { readonly kind: infer Own }
  ? Kind extends Own
    ? Operation
    : never
  : never;
type Of<Kind extends WriteOperation['kind']> = OfKind<WriteOperation, Kind>;

function* createConversation(rows: WriteRows, operation: Of<'create_conversation'>): Steps<undefined> {
  const { tenant, id, metadataJson, createdAt } = operation;
  const thread = conversationRow(id, metadataJson, createdAt);
  const first = operation.entry === undefined || operation.entry.items.length === 0 ? undefined : operation.entry;
  const added = first === undefined ? undefined : yield* itemsEntry(rows, tenant, thread, 0, first);
  if (!(yield* got(rows.append(tenant, thread, added?.entry, added?.index ?? [])))) {
    throw new Error('A thread of this id exists already');
  }
  return undefined;
}

function* conversation(rows: WriteRows, tenant: string, id: string): Steps<ThreadRow | undefined> {
  return asConversation(yield* got(rows.thread(tenant, id)));
}

function* updateConversation(
  rows: WriteRows,
  tenant: string,
  id: string,
  metadataJson: string,
): Steps<number | undefined> {
  const thread = yield* conversation(rows, tenant, id);
  if (thread === undefined) return undefined;
  yield* got(rows.setMetadata(tenant, id, metadataJson));
  return thread.createdAt;
}

function* deleteConversation(rows: WriteRows, tenant: string, id: string): Steps<boolean> {
  const thread = yield* conversation(rows, tenant, id);
  if (thread === undefined) return false;
  const records = yield* got(rows.recordsOf(tenant, id));
  yield* got(rows.removeThreads(tenant, [...records, id]));
  yield* sweepTree(rows, tenant, thread.tree);
  return true;
}

function* appendItems(rows: WriteRows, operation: Of<'append_items'>): Steps<AppendItemsResult> {
  const { tenant, id, entry, nowMs } = operation;
  const found = yield* got(rows.threadHead(tenant, id));
  if (asConversation(found?.thread) === undefined || found === undefined) return { outcome: 'missing' };
  if (yield* isLeased(rows, tenant, id, nowMs)) return { outcome: 'locked' };
  if (entry.items.length === 0) return { outcome: 'appended' };
  const ids = entry.items.map((item) => item.id.toWellFormed());
  const seen = new Set(yield* got(rows.idsIn(tenant, id, ids)));
  for (const itemId of ids) {
    if (seen.has(itemId)) return { outcome: 'duplicate', itemId };
    seen.add(itemId);
  }
  const added = yield* itemsEntry(rows, tenant, found.thread, found.head + 1, entry);
  if (!(yield* got(rows.append(tenant, undefined, added.entry, added.index)))) {
    throw new Error('The position behind the head is taken');
  }
  return { outcome: 'appended' };
}

function* deleteItem(rows: WriteRows, operation: Of<'delete_item'>): Steps<'deleted' | 'locked' | 'missing'> {
  const { tenant, id, itemId, nowMs } = operation;
  if ((yield* conversation(rows, tenant, id)) === undefined) return 'missing';
  if (yield* isLeased(rows, tenant, id, nowMs)) return 'locked';
  const entries = yield* got(rows.entriesWith(tenant, itemId, [id]));
  for (const entry of entries) {
    yield* got(rows.replaceEntry(tenant, ...withoutItem(entry, itemId)));
  }
  return entries.length > 0 ? 'deleted' : 'missing';
}

/** An entry as it is once an item of that id is gone from it, and what that took out of the index. */
export function withoutItem(entry: EntryRow, itemId: string): [entry: EntryRow, removed: readonly IndexedItem[]] {
  const kept: StoredItem[] = [];
  const removed: IndexedItem[] = [];
  let inputCount = entry.inputCount;
  for (const [index, item] of decodeItems(entry).entries()) {
    if (!hasId(item, itemId)) {
      kept.push(item);
      continue;
    }
    removed.push({ id: itemId, isReference: isReference(item) });
    if (index < entry.inputCount) inputCount -= 1;
  }
  // A turn keeps its line in the context even when nothing of it is left: it is still the newest turn (R7).
  const itemsJson = kept.length > 0 || entry.isTurn ? JSON.stringify(kept) : undefined;
  // The store can't tell text from images: it never counts too little, and no more than what is left.
  const textBytes = kept.length === 0 ? 0 : Math.min(entry.textBytes, Buffer.byteLength(itemsJson ?? ''));
  return [{ ...entry, itemsJson, inputCount, textBytes, hasReferences: kept.some(isReference) }, removed];
}

function* isLeased(rows: WriteRows, tenant: string, id: string, nowMs: number): Steps<boolean> {
  const lease = yield* got(rows.lease(tenant, id));
  return lease !== undefined && lease.expiresAt > nowMs;
}

function* acquireLease(rows: WriteRows, operation: Of<'acquire_lease'>): Steps<'acquired' | 'busy' | 'missing'> {
  const { tenant, id, holder, ttlMs, nowMs } = operation;
  if ((yield* conversation(rows, tenant, id)) === undefined) return 'missing';
  const lease = yield* got(rows.lease(tenant, id));
  if (lease !== undefined && lease.expiresAt > nowMs && lease.holder !== holder) return 'busy';
  yield* got(rows.setLease(tenant, id, { holder, expiresAt: nowMs + ttlMs }));
  return 'acquired';
}

/** A lease past its time is lost even where nobody took it: items may have been added meanwhile. */
function* renewLease(rows: WriteRows, operation: Of<'renew_lease'>): Steps<boolean> {
  const { tenant, id, holder, ttlMs, nowMs } = operation;
  if ((yield* conversation(rows, tenant, id)) === undefined) return false;
  const lease = yield* got(rows.lease(tenant, id));
  if (lease === undefined || lease.expiresAt <= nowMs || lease.holder !== holder) return false;
  yield* got(rows.setLease(tenant, id, { holder, expiresAt: nowMs + ttlMs }));
  return true;
}

function* releaseLease(rows: WriteRows, tenant: string, id: string, holder: string): Steps<undefined> {
  const lease = yield* got(rows.lease(tenant, id));
  if (lease?.holder === holder) yield* got(rows.setLease(tenant, id, undefined));
  return undefined;
}

function* appendTurn(rows: WriteRows, tenant: string, turn: NewTurn): Steps<'appended' | 'lost'> {
  const earlier = yield* got(rows.entryOfResponse(tenant, turn.responseId));
  if (earlier !== undefined) {
    return isSameTurn(earlier, turn) ? 'appended' : 'lost';
  }
  switch (turn.kind) {
    case 'conversation':
      return yield* appendToConversation(rows, tenant, turn);
    case 'chain': {
      const found = turn.base === undefined ? undefined : yield* got(rows.threadHead(tenant, turn.base.threadId));
      if (found?.thread.kind === 'chain' && (yield* appendBehind(rows, tenant, found, turn))) return 'appended';
      return (yield* startThread(rows, tenant, turn, found?.thread)) ? 'appended' : 'lost';
    }
    case 'record':
      return (yield* appendRecord(rows, tenant, turn)) ? 'appended' : 'lost';
  }
}

function* appendToConversation(rows: WriteRows, tenant: string, turn: NewTurn): Steps<'appended' | 'lost'> {
  const { base, holder } = turn;
  if (base === undefined) throw new Error('A turn of a conversation needs a base');
  const found = yield* got(rows.threadHead(tenant, base.threadId));
  if (found?.thread.kind !== 'conversation' || !(yield* appendBehind(rows, tenant, found, turn))) return 'lost';
  if (holder !== undefined) yield* releaseLease(rows, tenant, found.thread.id, holder);
  return 'appended';
}

/** A conversation's record belongs to its tree, whatever the run had seen of it. */
function* appendRecord(rows: WriteRows, tenant: string, turn: NewTurn): Steps<boolean> {
  const { base, conversationId } = turn;
  const owner = conversationId === undefined ? undefined : yield* conversation(rows, tenant, conversationId);
  if (conversationId !== undefined && owner === undefined) return false;
  if (base !== undefined && base.threadId !== conversationId) {
    return yield* startThread(rows, tenant, turn, yield* got(rows.thread(tenant, base.threadId)));
  }
  return yield* startThread(rows, tenant, turn, owner);
}

/** Appends at the position after the turn's base. False where that is not the newest entry, or another was faster. */
function* appendBehind(rows: WriteRows, tenant: string, { thread, head }: ThreadHead, turn: NewTurn): Steps<boolean> {
  if (head !== turn.base?.position) return false;
  const added = yield* turnEntry(rows, tenant, thread, head + 1, turn);
  return yield* got(rows.append(tenant, undefined, added.entry, added.index));
}

/** False where the thread of this response exists already: the response was stored, and deleted since. */
function* startThread(rows: WriteRows, tenant: string, turn: NewTurn, parent: ThreadRow | undefined): Steps<boolean> {
  const thread = newThread(turn, parent);
  const added = yield* turnEntry(rows, tenant, thread, 0, turn);
  return yield* got(rows.append(tenant, thread, added.entry, added.index));
}

function* deleteResponse(rows: WriteRows, tenant: string, id: string): Steps<boolean> {
  const found = yield* got(rows.turn(tenant, id));
  if (found === undefined) return false;
  const { entry, thread } = found;
  const bare = { ...entry, responseId: undefined, status: undefined, responseJson: undefined };
  if (thread.kind === 'conversation') {
    yield* got(rows.replaceEntry(tenant, bare, []));
    return true;
  }
  const nothing = { itemsJson: undefined, inputCount: 0, textBytes: 0, hasReferences: false, user: undefined };
  yield* got(rows.replaceEntry(tenant, { ...bare, ...nothing }, indexOf(entry)));
  yield* sweepTree(rows, tenant, thread.tree);
  return true;
}

/** Removes the last traces of a tree in which nothing is left: empty entries, and threads with their owner's name. */
function* sweepTree(rows: WriteRows, tenant: string, tree: string): Steps<void> {
  if (yield* got(rows.hasContent(tenant, tree))) return;
  if ((yield* conversation(rows, tenant, tree)) !== undefined) return;
  const threads = yield* got(rows.threadsOf(tenant, tree));
  // Asked once more: over a network the first answer may be out of date by now, and from here on nobody else writes.
  if (threads.length === 0 || (yield* got(rows.hasContent(tenant, tree)))) return;
  yield* got(rows.removeThreads(tenant, threads));
}

type Added = { readonly entry: EntryRow; readonly index: readonly IndexedItem[] };

function* itemsEntry(
  rows: WriteRows,
  tenant: string,
  thread: ThreadRow,
  position: number,
  items: NewItems,
): Steps<Added> {
  const encoded = encodeItems(items.items, yield* settleReferences(rows, tenant, items.items));
  const entry: EntryRow = {
    threadId: thread.id,
    position,
    tree: thread.tree,
    isTurn: false,
    responseId: undefined,
    status: undefined,
    responseJson: undefined,
    itemsJson: encoded.itemsJson,
    inputCount: items.items.length,
    textBytes: items.textBytes,
    hasReferences: encoded.hasReferences,
    user: undefined,
    createdAt: items.createdAt,
  };
  return { entry, index: encoded.index };
}

function* turnEntry(rows: WriteRows, tenant: string, thread: ThreadRow, position: number, turn: NewTurn): Steps<Added> {
  const items = [...turn.input, ...turn.output];
  const encoded = encodeItems(items, yield* settleReferences(rows, tenant, items));
  const entry: EntryRow = {
    threadId: thread.id,
    position,
    tree: thread.tree,
    isTurn: true,
    responseId: turn.responseId,
    status: turn.status,
    responseJson: turn.responseJson.toWellFormed(),
    itemsJson: encoded.itemsJson,
    inputCount: turn.input.length,
    textBytes: turn.textBytes,
    hasReferences: encoded.hasReferences,
    user: turn.user?.toWellFormed(),
    createdAt: turn.createdAt,
  };
  return { entry, index: encoded.index };
}
