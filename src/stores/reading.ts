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
import { References, type Target } from './references.ts';
import type { EntryRow, Order, ReadRows, Stretch, ThreadHead, ThreadRow } from './rows.ts';
import { got, gotBoth, type Steps } from './steps.ts';
import { Walk } from './walk.ts';

export function* readConversation(rows: ReadRows, tenant: string, id: string): Steps<Conversation | undefined> {
  const thread = asConversation(yield* got(rows.thread(tenant, id)));
  if (thread === undefined) return undefined;
  return { id, metadata: JSON.parse(thread.metadataJson ?? '{}') as Metadata, createdAt: thread.createdAt };
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
    const [items = []] = yield* references.items([{ entry, inputOnly: false }]);
    const item = items.find((each) => hasId(each, itemId));
    if (item !== undefined) return item;
  }
  return undefined;
}

/** Many of them may live in one long entry: it is decoded once. */
export function* readNewestItems(
  rows: ReadRows,
  tenant: string,
  ids: readonly string[],
): Steps<ReadonlyMap<string, FoundItem>> {
  const places = yield* got(rows.newest(tenant, [...new Set(ids.map((id) => id.toWellFormed()))]));
  const targets: (Target & { readonly asked: string })[] = [];
  for (const asked of ids) {
    const id = asked.toWellFormed();
    const place = places.get(id);
    if (place !== undefined) targets.push({ asked, id, place });
  }
  const items = yield* new References(rows, tenant).targets(targets);
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

export function* readContext(
  rows: ReadRows,
  tenant: string,
  from: ContextSource,
  maxTextBytes: number,
): Steps<Context | 'missing' | 'too_large'> {
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
  return { entries, head: source.head, status: source.status };
}

type Source = {
  readonly stretches: readonly Stretch[];
  readonly head: EntryPlace;
  readonly status: string | undefined;
};

function* ofConversation(rows: ReadRows, tenant: string, id: string): Steps<Source | undefined> {
  const found = yield* got(rows.threadHead(tenant, id));
  if (asConversation(found?.thread) === undefined || found === undefined) return undefined;
  return { stretches: [wholeOf(found)], head: { threadId: id, position: found.head }, status: undefined };
}

function wholeOf({ thread, head }: ThreadHead): Stretch {
  return stretch(thread.id, thread.tree, head);
}

function* ofResponse(rows: ReadRows, tenant: string, id: string): Steps<Source | undefined> {
  const found = yield* got(rows.turn(tenant, id));
  if (found === undefined) return undefined;
  const { entry, thread } = found;
  const head = { threadId: entry.threadId, position: entry.position };
  const before = yield* stretchesBefore(rows, tenant, thread);
  return { stretches: [...before, stretch(entry.threadId, entry.tree, entry.position)], head, status: entry.status };
}

export function* readPage(
  rows: ReadRows,
  tenant: string,
  view: ItemView,
  page: PageQuery,
): Steps<ItemPage | 'unknown_cursor' | 'missing'> {
  const { order, limit } = page;
  const after = page.after?.toWellFormed();
  const start = yield* startOf(rows, tenant, view, after);
  if (start === undefined) return 'missing';
  const references = new References(rows, tenant);
  let rest = order === 'asc' ? start.stretches : start.stretches.toReversed();
  const items: Item[] = [];
  if (after !== undefined) {
    const entries = start.entriesWithCursor ?? (yield* entriesWith(rows, tenant, after, rest));
    const cursor = yield* findCursor(references, entries, rest, after, order);
    if (cursor === undefined) return 'unknown_cursor';
    items.push(...cursor.remainder.slice(0, limit + 1));
    rest = cursor.rest;
  }
  const walk = new Walk(rows, tenant, rest, order);
  let room = maxPageChars - charsOf(items);
  // A turn has an input and an output: most often half as many entries do, and then one question was enough.
  let share = 2;
  // An empty page would leave its reader without an item to go on from.
  while (items.length <= limit && (room > 0 || items.length === 0) && !walk.isAtEnd) {
    const parts = yield* walk.next(Math.ceil((limit + 1 - items.length) / share));
    share = 1;
    const more = yield* references.items(parts);
    for (const each of more) items.push(...inOrder(each, order).slice(0, limit + 1 - items.length));
    for (const { entry } of parts) room -= entry.itemsJson?.length ?? 0;
  }
  const shown = room > 0 ? limit : Math.min(limit, countWithin(items, maxPageChars));
  return { items: items.slice(0, shown), hasMore: items.length > shown || !(walk.isAtEnd || items.length > limit) };
}

/** Of JSON that one page holds: a page of large items is shorter than was asked for, and more comes behind it. */
const maxPageChars = 32 * 1024 * 1024;

/** How many of the first items fit, at least one. */
function countWithin(items: readonly Item[], maxChars: number): number {
  let chars = 0;
  const over = items.findIndex((item, at) => {
    chars += JSON.stringify(item).length;
    return at > 0 && chars > maxChars;
  });
  return over === -1 ? items.length : over;
}

function charsOf(items: readonly Item[]): number {
  return items.reduce((chars, item) => chars + JSON.stringify(item).length, 0);
}

type Start = {
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
    return { stretches: [wholeOf(found)], entriesWithCursor };
  }
  const found = yield* got(rows.turn(tenant, view.responseId));
  if (found === undefined) return undefined;
  const { entry, thread } = found;
  const before = yield* stretchesBefore(rows, tenant, thread);
  const own = stretch(entry.threadId, entry.tree, entry.position - 1);
  return { stretches: [...before, own, inputStretch(entry)], entriesWithCursor: undefined };
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
  readonly remainder: readonly Item[];
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
      const [found = []] = yield* references.slots([{ entry, inputOnly: part.inputOnly }]);
      const slots = inOrder(found, order);
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
