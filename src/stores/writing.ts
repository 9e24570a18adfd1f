import type { AppendItemsResult, NewItems, NewTurn } from '../store.ts';
import type { StoredItem } from './entry-items.ts';
import { decodeItems, encodeItems, hasId, indexOf, isReference } from './entry-items.ts';
import type { Lineage } from './lineage.ts';
import { lineageOf } from './lineage.ts';
import { conversationThread } from './reading.ts';
import { settler } from './references.ts';
import type { EntryRow, IndexedItem, ThreadRow, WriteRows } from './rows.ts';

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
};

export type WriteResult = WriteResults[keyof WriteResults];

/** Does one change, whole or not at all: what throws has either changed nothing or is rolled back by the backend. */
export function applyWrite(rows: WriteRows, operation: WriteOperation): WriteResult {
  const { tenant } = operation;
  switch (operation.kind) {
    case 'create_conversation':
      return createConversation(rows, operation);
    case 'update_conversation':
      return updateConversation(rows, tenant, operation.id, operation.metadataJson);
    case 'delete_conversation':
      return deleteConversation(rows, tenant, operation.id);
    case 'append_items':
      return appendItems(rows, operation);
    case 'delete_item':
      return deleteItem(rows, operation);
    case 'acquire_lease':
      return acquireLease(rows, operation);
    case 'renew_lease':
      return renewLease(rows, operation);
    case 'release_lease':
      return releaseLease(rows, tenant, operation.id, operation.holder);
    case 'append_turn':
      return appendTurn(rows, tenant, operation.turn);
    case 'delete_response':
      return deleteResponse(rows, tenant, operation.id);
  }
}

type OfKind<Operation, Kind> = Operation extends { readonly kind: infer Own }
  ? Kind extends Own
    ? Operation
    : never
  : never;
type Of<Kind extends WriteOperation['kind']> = OfKind<WriteOperation, Kind>;

function createConversation(rows: WriteRows, operation: Of<'create_conversation'>): undefined {
  const { tenant, id, metadataJson, createdAt } = operation;
  const lineage = { tree: id, ancestors: [], continues: undefined };
  const thread: ThreadRow = {
    ...lineage,
    id,
    kind: 'conversation',
    conversationId: undefined,
    metadataJson,
    user: undefined,
    createdAt,
  };
  const first = operation.entry === undefined || operation.entry.items.length === 0 ? undefined : operation.entry;
  const added = first === undefined ? undefined : itemsEntry(rows, tenant, thread, 0, first);
  if (!rows.append(tenant, thread, added?.entry, added?.index ?? [])) {
    throw new Error('A thread of this id exists already');
  }
  return undefined;
}

function updateConversation(rows: WriteRows, tenant: string, id: string, metadataJson: string): number | undefined {
  const thread = conversationThread(rows, tenant, id);
  if (thread === undefined) return undefined;
  rows.setMetadata(tenant, id, metadataJson);
  return thread.createdAt;
}

function deleteConversation(rows: WriteRows, tenant: string, id: string): boolean {
  const thread = conversationThread(rows, tenant, id);
  if (thread === undefined) return false;
  for (const record of rows.recordsOf(tenant, id)) rows.removeThread(tenant, record);
  rows.removeThread(tenant, id);
  sweepTree(rows, tenant, thread.tree);
  return true;
}

function appendItems(rows: WriteRows, operation: Of<'append_items'>): AppendItemsResult {
  const { tenant, id, entry, nowMs } = operation;
  const thread = conversationThread(rows, tenant, id);
  if (thread === undefined) return { outcome: 'missing' };
  if (isLeased(rows, tenant, id, nowMs)) return { outcome: 'locked' };
  if (entry.items.length === 0) return { outcome: 'appended' };
  const seen = new Set<string>();
  for (const item of entry.items) {
    const itemId = item.id.toWellFormed();
    if (seen.has(itemId) || rows.positionsOf(tenant, itemId, id).length > 0) return { outcome: 'duplicate', itemId };
    seen.add(itemId);
  }
  const added = itemsEntry(rows, tenant, thread, rows.head(tenant, id) + 1, entry);
  if (!rows.append(tenant, undefined, added.entry, added.index))
    throw new Error('The position behind the head is taken');
  return { outcome: 'appended' };
}

function deleteItem(rows: WriteRows, operation: Of<'delete_item'>): 'deleted' | 'locked' | 'missing' {
  const { tenant, id, itemId, nowMs } = operation;
  if (conversationThread(rows, tenant, id) === undefined) return 'missing';
  if (isLeased(rows, tenant, id, nowMs)) return 'locked';
  const positions = rows.positionsOf(tenant, itemId, id);
  for (const position of positions) {
    const entry = rows.entry(tenant, { threadId: id, position });
    if (entry !== undefined) rows.replaceEntry(tenant, ...withoutItem(entry, itemId));
  }
  return positions.length > 0 ? 'deleted' : 'missing';
}

function withoutItem(entry: EntryRow, itemId: string): [entry: EntryRow, removed: readonly IndexedItem[]] {
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

function isLeased(rows: WriteRows, tenant: string, id: string, nowMs: number): boolean {
  const lease = rows.lease(tenant, id);
  return lease !== undefined && lease.expiresAt > nowMs;
}

function acquireLease(rows: WriteRows, operation: Of<'acquire_lease'>): 'acquired' | 'busy' | 'missing' {
  const { tenant, id, holder, ttlMs, nowMs } = operation;
  if (conversationThread(rows, tenant, id) === undefined) return 'missing';
  if (isLeased(rows, tenant, id, nowMs) && rows.lease(tenant, id)?.holder !== holder) return 'busy';
  rows.setLease(tenant, id, { holder, expiresAt: nowMs + ttlMs });
  return 'acquired';
}

/** A lease past its time is lost even where nobody took it: items may have been added meanwhile. */
function renewLease(rows: WriteRows, operation: Of<'renew_lease'>): boolean {
  const { tenant, id, holder, ttlMs, nowMs } = operation;
  if (!isLeased(rows, tenant, id, nowMs) || rows.lease(tenant, id)?.holder !== holder) return false;
  rows.setLease(tenant, id, { holder, expiresAt: nowMs + ttlMs });
  return true;
}

function releaseLease(rows: WriteRows, tenant: string, id: string, holder: string): undefined {
  if (rows.lease(tenant, id)?.holder === holder) rows.setLease(tenant, id, undefined);
  return undefined;
}

function appendTurn(rows: WriteRows, tenant: string, turn: NewTurn): 'appended' | 'lost' {
  const earlier = rows.entryOfResponse(tenant, turn.responseId);
  if (earlier !== undefined) {
    // The same turn again, after an answer that never arrived. Anything else comes too late: the first end wins.
    const isSame = earlier.status === turn.status && earlier.responseJson === turn.responseJson.toWellFormed();
    return isSame ? 'appended' : 'lost';
  }
  switch (turn.kind) {
    case 'conversation':
      return appendToConversation(rows, tenant, turn);
    case 'chain': {
      const parent = turn.base === undefined ? undefined : rows.thread(tenant, turn.base.threadId);
      const follows = parent?.kind === 'chain' && appendBehind(rows, tenant, parent, turn);
      return follows || startThread(rows, tenant, turn) ? 'appended' : 'lost';
    }
    case 'record': {
      const { conversationId } = turn;
      const isGone = conversationId !== undefined && conversationThread(rows, tenant, conversationId) === undefined;
      return !isGone && startThread(rows, tenant, turn) ? 'appended' : 'lost';
    }
  }
}

function appendToConversation(rows: WriteRows, tenant: string, turn: NewTurn): 'appended' | 'lost' {
  const { base, holder } = turn;
  if (base === undefined) throw new Error('A turn of a conversation needs a base');
  const thread = conversationThread(rows, tenant, base.threadId);
  if (thread === undefined || !appendBehind(rows, tenant, thread, turn)) return 'lost';
  if (holder !== undefined) releaseLease(rows, tenant, thread.id, holder);
  return 'appended';
}

/** Appends at the position after the turn's base. False where that is not the newest entry, or another was faster. */
function appendBehind(rows: WriteRows, tenant: string, thread: ThreadRow, turn: NewTurn): boolean {
  const position = turn.base?.position;
  if (position === undefined || rows.head(tenant, thread.id) !== position) return false;
  const added = turnEntry(rows, tenant, thread, position + 1, turn);
  return rows.append(tenant, undefined, added.entry, added.index);
}

/** False where the thread of this response exists already: the response was stored, and deleted since. */
function startThread(rows: WriteRows, tenant: string, turn: NewTurn): boolean {
  const id = `thr_${turn.responseId}`;
  // A conversation's record belongs to its tree, whatever the run had seen of it.
  const root = turn.conversationId === undefined ? undefined : { threadId: turn.conversationId, position: -1 };
  const lineage: Lineage = lineageOf(rows, tenant, id, turn.base ?? (turn.kind === 'record' ? root : undefined));
  const thread: ThreadRow = {
    ...lineage,
    id,
    kind: turn.kind === 'record' ? 'record' : 'chain',
    conversationId: turn.kind === 'record' ? turn.conversationId : undefined,
    metadataJson: undefined,
    user: turn.user,
    createdAt: turn.createdAt,
  };
  const added = turnEntry(rows, tenant, thread, 0, turn);
  return rows.append(tenant, thread, added.entry, added.index);
}

function deleteResponse(rows: WriteRows, tenant: string, id: string): boolean {
  const entry = rows.entryOfResponse(tenant, id);
  const thread = entry === undefined ? undefined : rows.thread(tenant, entry.threadId);
  if (entry === undefined || thread === undefined) return false;
  const bare = { ...entry, responseId: undefined, status: undefined, responseJson: undefined };
  if (thread.kind === 'conversation') {
    rows.replaceEntry(tenant, bare, []);
    return true;
  }
  const nothing = { itemsJson: undefined, inputCount: 0, textBytes: 0, hasReferences: false, user: undefined };
  rows.replaceEntry(tenant, { ...bare, ...nothing }, indexOf(entry));
  sweepTree(rows, tenant, thread.tree);
  return true;
}

/** Removes the last traces of a tree in which nothing is left: empty entries, and threads with their owner's name. */
function sweepTree(rows: WriteRows, tenant: string, tree: string): void {
  if (conversationThread(rows, tenant, tree) !== undefined || rows.hasContent(tenant, tree)) return;
  for (const threadId of rows.threadsOf(tenant, tree)) rows.removeThread(tenant, threadId);
}

type Added = { readonly entry: EntryRow; readonly index: readonly IndexedItem[] };

function itemsEntry(rows: WriteRows, tenant: string, thread: ThreadRow, position: number, items: NewItems): Added {
  const encoded = encodeItems(items.items, settler(rows, tenant));
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

function turnEntry(rows: WriteRows, tenant: string, thread: ThreadRow, position: number, turn: NewTurn): Added {
  const items = [...turn.input, ...turn.output];
  const encoded = encodeItems(items, settler(rows, tenant));
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
