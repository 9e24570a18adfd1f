import type { Item } from '../api/items.ts';
import type { Metadata } from '../api/primitives.ts';
import { parseJson } from '../parse-json.ts';
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
import { StoreUnavailable } from '../store.ts';
import { decodeItems } from './entry-items.ts';
import { inputStretch, stretch, stretchesBefore } from './lineage.ts';
import { References, type Room, type Slot, slotsOf, type Target } from './references.ts';
import type { EntryRow, Order, ReadRows, Stretch, ThreadHead, ThreadRow, TurnRow } from './rows.ts';
import { got, gotBoth, type Steps } from './steps.ts';
import { Walk } from './walk.ts';

export function* readConversation(rows: ReadRows, tenant: string, id: string): Steps<Conversation | undefined> {
  const thread = asConversation(yield* got(rows.thread(tenant, id)));
  if (thread === undefined) return undefined;
  return { id, metadata: parseJson(thread.metadataJson ?? '{}') as Metadata, createdAt: thread.createdAt };
}

export function asConversation(thread: ThreadRow | undefined): ThreadRow | undefined {
  return thread?.kind === 'conversation' ? thread : undefined;
}

export function* readItem(
  rows: ReadRows,
  tenant: string,
  conversationId: string,
  itemId: string,
): Steps<Item | undefined> {
  const [thread, entries] = yield* gotBoth(
    rows.thread(tenant, conversationId),
    rows.entriesWith(tenant, itemId, [conversationId]),
  );
  if (asConversation(thread) === undefined) return undefined;
  const references = new References(rows, tenant);
  for (const entry of entries) {
    const found = yield* references.itemOf(decodeItems(entry), itemId);
    if (found !== undefined) return found.item;
  }
  return undefined;
}

/** Many of them may live in one long entry: it is decoded once. */
export function* readNewestItems(
  rows: ReadRows,
  tenant: string,
  ids: readonly string[],
  maxChars: number,
): Steps<ReadonlyMap<string, FoundItem> | 'too_large'> {
  const places = yield* got(rows.newest(tenant, [...new Set(ids.map((id) => id.toWellFormed()))]));
  const targets: (Target & { readonly asked: string })[] = [];
  for (const asked of ids) {
    const id = asked.toWellFormed();
    const place = places.get(id);
    if (place !== undefined) targets.push({ asked, id, place });
  }
  const items = yield* new References(rows, tenant).targets(targets, maxChars);
  if (items === 'too_large') return items;
  const found = new Map<string, FoundItem>();
  for (const [index, { asked, place }] of targets.entries()) {
    const item = items[index];
    if (item !== undefined) found.set(asked, { item, place });
  }
  return found;
}

export function* readResponse(rows: ReadRows, tenant: string, id: string): Steps<StoredResponse | undefined> {
  const entry = yield* got(rows.entryOfResponse(tenant, id));
  if (entry?.responseJson === undefined || entry.status === undefined) return undefined;
  const output = decodeItems(entry).slice(entry.inputCount) as Item[];
  return { responseJson: entry.responseJson, output, status: entry.status };
}

/** Reads again what may have been seen in part: what was removed meanwhile is then missing, or a fork goes without it. */
function* untorn<T>(read: (gone: Set<string>) => Steps<T | 'torn'>): Steps<T> {
  const gone = new Set<string>();
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    const found = yield* read(gone);
    if (found !== 'torn') return found;
  }
  throw new StoreUnavailable('What is read is removed again and again');
}

/** Nothing is removed twice: the second attempt knows better. */
const maxAttempts = 5;

export function* readContext(
  rows: ReadRows,
  tenant: string,
  from: ContextSource,
  maxTextBytes: number,
): Steps<Context | 'missing' | 'too_large'> {
  return yield* untorn((gone) => contextOnce(rows, tenant, from, { maxTextBytes, gone }));
}

function* contextOnce(
  rows: ReadRows,
  tenant: string,
  from: ContextSource,
  { maxTextBytes, gone }: { readonly maxTextBytes: number; readonly gone: Set<string> },
): Steps<Context | 'missing' | 'too_large' | 'torn'> {
  const source = yield* from.kind === 'conversation'
    ? ofConversation(rows, tenant, from.id)
    : ofResponse(rows, tenant, from.id);
  if (source === undefined) return 'missing';
  const references = new References(rows, tenant);
  const walk = new Walk(rows, tenant, source.stretches, 'asc');
  const entries: ContextEntry[] = [];
  let textBytes = 0;
  while (!walk.isAtEnd) {
    const parts = yield* walk.next(Number.POSITIVE_INFINITY);
    for (const { entry } of parts) textBytes += entry.textBytes;
    if (textBytes > maxTextBytes) return 'too_large';
    const items = yield* references.items(parts);
    for (const [index, { entry }] of parts.entries()) {
      const place = { threadId: entry.threadId, position: entry.position };
      entries.push({ items: items[index] ?? [], place, isTurn: entry.isTurn });
    }
  }
  if (yield* isTorn(rows, tenant, source, { walk, gone })) return 'torn';
  return { entries, head: source.head, status: source.status };
}

/**
 * Whether something went while a walk was under way, so that it may have seen a part of it. Where nothing lacks, nothing
 * is asked. That an entry lacks is no harm by itself: its items were deleted, or the response of a chain that it was.
 * @param gone the threads that are known not to be there, for the next attempt: what is found of them is no conversation.
 */
function* isTorn(
  rows: ReadRows,
  tenant: string,
  { responseId, head, conversation }: Origin,
  { walk, gone }: { readonly walk: Walk; readonly gone: Set<string> },
): Steps<boolean> {
  if (responseId !== undefined && walk.lacks(head) && (yield* got(rows.turn(tenant, responseId))) === undefined) {
    return true;
  }
  // Chains are emptied response by response.
  if (conversation === undefined || gone.has(conversation) || !walk.doubts(conversation)) return false;
  if ((yield* got(rows.thread(tenant, conversation))) !== undefined) return false;
  gone.add(conversation);
  return responseId === undefined || walk.hasFound(conversation);
}

/** What a reading starts from. */
type Origin = {
  /** Undefined for a conversation. */
  readonly responseId: string | undefined;
  /** The newest entry of the conversation, or the response's. */
  readonly head: EntryPlace;
  /** The only thread of this tree that can be a conversation: its root, unless that is known to be none. */
  readonly conversation: string | undefined;
};

type Source = Origin & {
  readonly stretches: readonly Stretch[];
  readonly status: string | undefined;
};

function* ofConversation(rows: ReadRows, tenant: string, id: string): Steps<Source | undefined> {
  const found = yield* got(rows.threadHead(tenant, id));
  if (asConversation(found?.thread) === undefined || found === undefined) return undefined;
  return { ...originOf(found), stretches: [wholeOf(found)], status: undefined };
}

function originOf({ thread, head }: ThreadHead): Origin {
  return { responseId: undefined, head: { threadId: thread.id, position: head }, conversation: thread.id };
}

function wholeOf({ thread, head }: ThreadHead): Stretch {
  return stretch(thread.id, thread.tree, head);
}

function* ofResponse(rows: ReadRows, tenant: string, id: string): Steps<Source | undefined> {
  const found = yield* got(rows.turn(tenant, id));
  if (found === undefined) return undefined;
  const { entry, thread } = found;
  const before = yield* stretchesBefore(rows, tenant, thread);
  const own = stretch(entry.threadId, entry.tree, entry.position);
  return { ...originOfTurn(found, id), stretches: [...before, own], status: entry.status };
}

function originOfTurn({ entry, thread }: TurnRow, responseId: string): Origin {
  const { threadId, position, tree } = entry;
  const conversation = thread.kind !== 'conversation' && tree === threadId ? undefined : tree;
  return { responseId, head: { threadId, position }, conversation };
}

export function* readPage(
  rows: ReadRows,
  tenant: string,
  view: ItemView,
  page: PageQuery,
): Steps<ItemPage | 'unknown_cursor' | 'missing'> {
  return yield* untorn((gone) => pageOnce(rows, tenant, view, { ...page, gone }));
}

function* pageOnce(
  rows: ReadRows,
  tenant: string,
  view: ItemView,
  { order, limit, after: cursorId, gone }: PageQuery & { readonly gone: Set<string> },
): Steps<ItemPage | 'unknown_cursor' | 'missing' | 'torn'> {
  const after = cursorId?.toWellFormed();
  const start = yield* startOf(rows, tenant, view, after);
  if (start === undefined) return 'missing';
  const references = new References(rows, tenant);
  let rest = order === 'asc' ? start.stretches : start.stretches.toReversed();
  const page = new PageRoom(limit);
  let isAll = true;
  if (after !== undefined) {
    const entries = start.entriesWithCursor ?? (yield* entriesWith(rows, tenant, after, rest));
    const cursor = yield* findCursor(references, entries, rest, after, order);
    if (cursor === undefined) return (yield* isThere(rows, tenant, view)) ? 'unknown_cursor' : 'missing';
    isAll = yield* references.fill(page, cursor.remainder);
    rest = cursor.rest;
  }
  const walk = new Walk(rows, tenant, rest, order);
  // A turn has an input and an output: most often half as many entries do, and then one question was enough.
  let share = 2;
  while (isAll && page.wanted > 0 && !walk.isAtEnd) {
    const parts = yield* walk.next(Math.ceil(page.wanted / share));
    share = 1;
    isAll = yield* references.fill(
      page,
      parts.flatMap((part) => slotsOf(part, order)),
    );
  }
  if (yield* isTorn(rows, tenant, start, { walk, gone })) return 'torn';
  return page.close(isAll && walk.isAtEnd);
}

/** Of JSON that one page holds: a page of large items is shorter than was asked for, and more comes behind it. */
const maxPageChars = 32 * 1024 * 1024;

/** A page while it is filled: with one item more than it shows, so that it knows whether there is one. */
class PageRoom implements Room {
  readonly #items: Item[] = [];
  readonly #limit: number;
  #chars = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get wanted(): number {
    // An empty page would leave its reader without an item to go on from.
    if (this.#chars > maxPageChars && this.#items.length > 0) return 0;
    return this.#limit + 1 - this.#items.length;
  }

  add(item: Item): void {
    this.#items.push(item);
  }

  count(chars: number): void {
    this.#chars += chars;
  }

  /** `isAll`: there is nothing behind what was added. */
  close(isAll: boolean): ItemPage {
    const items = this.#items;
    // What was counted holds more than the items that were added.
    const most = this.#chars > maxPageChars ? countWithin(items, maxPageChars) : this.#limit;
    const shown = Math.min(this.#limit, most);
    return { items: items.slice(0, shown), hasMore: items.length > shown || !isAll };
  }
}

/** How many of the first items fit, at least one. */
function countWithin(items: readonly Item[], maxChars: number): number {
  let chars = 0;
  const over = items.findIndex((item, at) => {
    chars += JSON.stringify(item).length;
    return at > 0 && chars > maxChars;
  });
  return over === -1 ? items.length : over;
}

type Start = Origin & {
  readonly stretches: readonly Stretch[];
  /** Where it could be asked for right away. */
  readonly entriesWithCursor: readonly EntryRow[] | undefined;
};

function* startOf(rows: ReadRows, tenant: string, view: ItemView, after: string | undefined): Steps<Start | undefined> {
  if (view.kind === 'conversation') {
    const [found, entriesWithCursor] = yield* gotBoth(
      rows.threadHead(tenant, view.id),
      after === undefined ? undefined : rows.entriesWith(tenant, after, [view.id]),
    );
    if (asConversation(found?.thread) === undefined || found === undefined) return undefined;
    return { ...originOf(found), stretches: [wholeOf(found)], entriesWithCursor };
  }
  const found = yield* got(rows.turn(tenant, view.responseId));
  if (found === undefined) return undefined;
  const { entry, thread } = found;
  const before = yield* stretchesBefore(rows, tenant, thread);
  const own = stretch(entry.threadId, entry.tree, entry.position - 1);
  const stretches = [...before, own, inputStretch(entry)];
  return { ...originOfTurn(found, view.responseId), stretches, entriesWithCursor: undefined };
}

function* isThere(rows: ReadRows, tenant: string, view: ItemView): Steps<boolean> {
  if (view.kind === 'input_of') return (yield* got(rows.turn(tenant, view.responseId))) !== undefined;
  return asConversation(yield* got(rows.thread(tenant, view.id))) !== undefined;
}

function* entriesWith(
  rows: ReadRows,
  tenant: string,
  itemId: string,
  stretches: readonly Stretch[],
): Steps<readonly EntryRow[]> {
  return yield* got(rows.entriesWith(tenant, itemId, [...new Set(stretches.map(({ threadId }) => threadId))]));
}

type Cursor = {
  /** What the cursor's own entry holds behind it. */
  readonly remainder: readonly Slot[];
  readonly rest: Stretch[];
};

/** Among the entries that hold an item of that id: a page costs the same wherever it lies. */
function* findCursor(
  references: References,
  entries: readonly EntryRow[],
  stretches: readonly Stretch[],
  itemId: string,
  order: Order,
): Steps<Cursor | undefined> {
  for (const [index, part] of stretches.entries()) {
    for (const entry of entries) {
      const { threadId, position } = entry;
      if (threadId !== part.threadId || position < part.from || position > part.to) continue;
      const slots = slotsOf({ entry, inputOnly: part.inputOnly }, order);
      const stored = slots.map(({ item }) => item);
      const found = yield* references.itemOf(stored, itemId);
      if (found === undefined) continue;
      const beyond = order === 'asc' ? { ...part, from: position + 1 } : { ...part, to: position - 1 };
      const remainder = slots.slice(found.at + 1).map(({ item }) => ({ item, chars: JSON.stringify(item).length }));
      return { remainder, rest: [beyond, ...stretches.slice(index + 1)] };
    }
  }
  return undefined;
}
