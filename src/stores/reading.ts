import type { Item } from '../api/items.ts';
import type { Metadata } from '../api/primitives.ts';
import type {
  Context,
  ContextEntry,
  ContextSource,
  Conversation,
  EntryPlace,
  FoundItem,
  ItemPage,
  ItemView,
  PageQuery,
  StoredResponse,
} from '../store.ts';
import { decodeItems, hasId } from './entry-items.ts';
import { inputStretch, stretch, stretchesBefore } from './lineage.ts';
import { References } from './references.ts';
import type { Order, ReadRows, Stretch, ThreadRow } from './rows.ts';

export function readConversation(rows: ReadRows, tenant: string, id: string): Conversation | undefined {
  const thread = conversationThread(rows, tenant, id);
  if (thread === undefined) return undefined;
  return { id, metadata: JSON.parse(thread.metadataJson ?? '{}') as Metadata, createdAt: thread.createdAt };
}

export function conversationThread(rows: ReadRows, tenant: string, id: string): ThreadRow | undefined {
  const thread = rows.thread(tenant, id);
  return thread?.kind === 'conversation' ? thread : undefined;
}

export function readItem(rows: ReadRows, tenant: string, conversationId: string, itemId: string): Item | undefined {
  if (conversationThread(rows, tenant, conversationId) === undefined) return undefined;
  for (const position of rows.positionsOf(tenant, itemId, conversationId)) {
    const item = itemAt(rows, tenant, { threadId: conversationId, position }, itemId);
    if (item !== undefined) return item;
  }
  return undefined;
}

/** Many of them may live in one long entry: it is decoded once. */
export function readNewestItems(
  rows: ReadRows,
  tenant: string,
  ids: readonly string[],
): ReadonlyMap<string, FoundItem> {
  const references = new References(rows, tenant);
  const found = new Map<string, FoundItem>();
  for (const id of ids) {
    const wellFormed = id.toWellFormed();
    const place = rows.newest(tenant, wellFormed);
    const item = place === undefined ? undefined : references.target(wellFormed, place);
    if (place !== undefined && item !== undefined) found.set(id, { item, place });
  }
  return found;
}

function itemAt(rows: ReadRows, tenant: string, place: EntryPlace, itemId: string): Item | undefined {
  const entry = rows.entry(tenant, place);
  if (entry === undefined) return undefined;
  const stored = decodeItems(entry).find((item) => hasId(item, itemId));
  return stored === undefined ? undefined : new References(rows, tenant).resolve(stored);
}

export function readResponse(rows: ReadRows, tenant: string, id: string): StoredResponse | undefined {
  const entry = rows.entryOfResponse(tenant, id);
  if (entry?.responseJson === undefined || entry.status === undefined) return undefined;
  const output = decodeItems(entry).slice(entry.inputCount) as Item[];
  return { responseJson: entry.responseJson, output, status: entry.status };
}

export function readContext(
  rows: ReadRows,
  tenant: string,
  from: ContextSource,
  maxTextBytes: number,
): Context | 'missing' | 'too_large' {
  const source =
    from.kind === 'conversation' ? ofConversation(rows, tenant, from.id) : ofResponse(rows, tenant, from.id);
  if (source === undefined) return 'missing';
  const references = new References(rows, tenant);
  const entries: ContextEntry[] = [];
  let textBytes = 0;
  for (const part of source.stretches) {
    for (const entry of rows.walk(tenant, part, 'asc')) {
      textBytes += entry.textBytes;
      if (textBytes > maxTextBytes) return 'too_large';
      const place = { threadId: entry.threadId, position: entry.position };
      entries.push({ items: references.itemsOf(entry), place, isTurn: entry.isTurn });
    }
  }
  return { entries, head: source.head, status: source.status };
}

type Source = {
  readonly stretches: readonly Stretch[];
  readonly head: EntryPlace;
  readonly status: string | undefined;
};

function ofConversation(rows: ReadRows, tenant: string, id: string): Source | undefined {
  const thread = conversationThread(rows, tenant, id);
  if (thread === undefined) return undefined;
  const position = rows.head(tenant, id);
  return { stretches: [stretch(id, thread.tree, position)], head: { threadId: id, position }, status: undefined };
}

function ofResponse(rows: ReadRows, tenant: string, id: string): Source | undefined {
  const entry = rows.entryOfResponse(tenant, id);
  const thread = entry === undefined ? undefined : rows.thread(tenant, entry.threadId);
  if (entry === undefined || thread === undefined) return undefined;
  const head = { threadId: entry.threadId, position: entry.position };
  const own = stretch(entry.threadId, entry.tree, entry.position);
  return { stretches: [...stretchesBefore(rows, tenant, thread), own], head, status: entry.status };
}

export function readPage(
  rows: ReadRows,
  tenant: string,
  view: ItemView,
  page: PageQuery,
): ItemPage | 'unknown_cursor' | 'missing' {
  const stretches = stretchesOf(rows, tenant, view);
  if (stretches === undefined) return 'missing';
  const references = new References(rows, tenant);
  let rest = page.order === 'asc' ? stretches : stretches.toReversed();
  const items: Item[] = [];
  if (page.after !== undefined) {
    const cursor = findCursor(rows, tenant, references, rest, page.after.toWellFormed(), page.order);
    if (cursor === undefined) return 'unknown_cursor';
    items.push(...cursor.remainder.slice(0, page.limit + 1));
    rest = cursor.rest;
  }
  for (const part of rest) {
    if (items.length > page.limit) break;
    for (const entry of rows.walk(tenant, part, page.order)) {
      const more = inOrder(references.itemsOf(entry, part.inputOnly), page.order);
      items.push(...more.slice(0, page.limit + 1 - items.length));
      if (items.length > page.limit) break;
    }
  }
  return { items: items.slice(0, page.limit), hasMore: items.length > page.limit };
}

function stretchesOf(rows: ReadRows, tenant: string, view: ItemView): Stretch[] | undefined {
  if (view.kind === 'conversation') {
    const thread = conversationThread(rows, tenant, view.id);
    return thread === undefined ? undefined : [stretch(view.id, thread.tree, rows.head(tenant, view.id))];
  }
  const entry = rows.entryOfResponse(tenant, view.responseId);
  const thread = entry === undefined ? undefined : rows.thread(tenant, entry.threadId);
  if (entry === undefined || thread === undefined) return undefined;
  const before = stretch(entry.threadId, entry.tree, entry.position - 1);
  return [...stretchesBefore(rows, tenant, thread), before, inputStretch(entry)];
}

type Cursor = {
  /** What the cursor's own entry holds behind it. */
  readonly remainder: readonly Item[];
  readonly rest: Stretch[];
};

/** Goes through the index by id, so that a page costs the same wherever it lies. */
function findCursor(
  rows: ReadRows,
  tenant: string,
  references: References,
  stretches: readonly Stretch[],
  itemId: string,
  order: Order,
): Cursor | undefined {
  for (const [index, part] of stretches.entries()) {
    for (const position of rows.positionsOf(tenant, itemId, part.threadId)) {
      if (position < part.from || position > part.to) continue;
      const entry = rows.entry(tenant, { threadId: part.threadId, position });
      if (entry === undefined) continue;
      const slots = inOrder(references.slotsOf(entry, part.inputOnly), order);
      const at = slots.findIndex((item) => item !== undefined && hasId(item, itemId));
      if (at < 0) continue;
      const beyond = order === 'asc' ? { ...part, from: position + 1 } : { ...part, to: position - 1 };
      const remainder = slots.slice(at + 1).filter((item) => item !== undefined);
      return { remainder, rest: [beyond, ...stretches.slice(index + 1)] };
    }
  }
  return undefined;
}

function inOrder<T>(items: readonly T[], order: Order): readonly T[] {
  return order === 'asc' ? items : items.toReversed();
}
