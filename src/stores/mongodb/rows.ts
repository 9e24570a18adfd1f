import type { EntryPlace } from '../../store.ts';
import type { Ancestor, Chunk, EntryRow, Order, ReadRows, Stretch, ThreadHead, ThreadRow, TurnRow } from '../rows.ts';
import type { Call, Values } from './call.ts';
import { maxRows } from './call.ts';
import {
  asDocument,
  asEntry,
  asThread,
  at,
  type EntryDocument,
  entries,
  inThread,
  itemDigest,
  liveRoot,
  ownerOf,
  referenceDigest,
  rootlessThread,
  rootPosition,
  text,
  whole,
} from './documents.ts';
import type { RootFacts } from './root-facts.ts';
import { readTexts } from './texts.ts';

/** What one chunk may hold before it ends: whoever reads on asks for the next. A server ends an answer at 16 MB. */
const maxChunkBytes = 8 * 1024 * 1024;
/** Entries that the answer to one question about several stretches may hold at most. */
const maxEntriesOfStretches = 512;
/** Ids that are looked up side by side. */
const idsAtOnce = 16;
const candidatesPerId = 4;
const entriesAtOnce = 200;
/** What the entries that hold one id may hold in all: the oldest beyond it are left out. */
const maxBytesWith = 64 * 1024 * 1024;
const maxThreadsAtOnce = 500;

/** Everything of an entry but what only the index needs. */
const whollyShown: Values = { _id: 0, ids: 0, lease: 0, by: 0 };
/** For contexts and lists, which never show the response. */
const itemsShown: Values = { ...whollyShown, response: 0 };
const textsHidden: Values = { ...itemsShown, items: 0 };

/** The rows of one reading, asked for one question at a time. What is of a conversation that is deleted is not there. */
export class MongoReadRows implements ReadRows {
  readonly #call: Call;
  readonly #facts: RootFacts;
  /** Conversations that this reading has found to exist. */
  readonly #alive = new Set<string>();
  /** Those of them whose newest position was asked for at the same moment, so that a deletion may have come between. */
  readonly #unproven = new Set<string>();

  constructor(call: Call, facts: RootFacts) {
    this.#call = call;
    this.#facts = facts;
  }

  async thread(tenant: string, id: string): Promise<ThreadRow | undefined> {
    const known = this.#facts.get(tenant, id);
    if (known !== undefined) return known;
    const found = await this.#call.findOne(
      entries,
      { ...inThread(tenant, id), position: { $lte: 0 }, root: { $exists: true }, deletedAt: { $exists: false } },
      textsHidden,
    );
    const thread = found === undefined ? undefined : asThread(asDocument(found));
    if (thread === undefined) {
      this.#alive.delete(id);
      return undefined;
    }
    if (thread.kind === 'conversation') this.#alive.add(id);
    else this.#facts.learn(tenant, thread);
    return thread;
  }

  async threadHead(tenant: string, id: string): Promise<ThreadHead | undefined> {
    const [found, newest] = await Promise.all([
      this.thread(tenant, id),
      this.#call.find(entries, {
        filter: { ...inThread(tenant, id), position: { $gte: 0 } },
        sort: { position: -1 },
        limit: 1,
        projection: { _id: 0, position: 1 },
      }),
    ]);
    const head = Number(newest[0]?.['position'] ?? rootPosition);
    if (found?.kind === 'conversation') this.#unproven.add(id);
    // Where nothing is there to be read, nobody asks again.
    const thread = head === rootPosition && found?.kind === 'conversation' ? await this.thread(tenant, id) : found;
    return thread === undefined ? undefined : { thread, head };
  }

  async entries(tenant: string, places: readonly EntryPlace[]): Promise<readonly (EntryRow | undefined)[]> {
    const documents = await this.#documents(tenant, places);
    const there = documents.filter((document) => document !== undefined);
    const rows = await this.#rows(await this.#living(tenant, there));
    const byPlace = new Map(rows.map((row) => [keyOf(row), row]));
    return places.slice(0, documents.length).map((place) => byPlace.get(keyOf(place)));
  }

  /** What has a place now, whether its conversation is there or not. */
  async anyEntry(tenant: string, place: EntryPlace): Promise<EntryRow | undefined> {
    const found = await this.#call.findLatest(entries, at(tenant, place), whollyShown);
    const [row] = found === undefined ? [] : await this.#rows([asDocument(found)]);
    return row;
  }

  async entryOfResponse(tenant: string, responseId: string): Promise<EntryRow | undefined> {
    const found = await this.#ofResponse(tenant, responseId, whollyShown);
    const [row] = await this.#rows(await this.#living(tenant, found === undefined ? [] : [found]));
    return row;
  }

  /** The entry comes without its texts: whoever asks wants to know where it lies. */
  async turn(tenant: string, responseId: string): Promise<TurnRow | undefined> {
    const found = await this.#ofResponse(tenant, responseId, textsHidden);
    if (found === undefined) return undefined;
    const thread = await this.#threadOf(tenant, found);
    if (thread === undefined) return undefined;
    return { thread, entry: asEntry(found, { items: undefined, response: undefined }) };
  }

  async ancestors(tenant: string, thread: ThreadRow): Promise<readonly Ancestor[]> {
    const parts: (readonly Ancestor[])[] = [thread.ancestors];
    for (let next = thread.continues; next !== undefined; ) {
      const before = await this.thread(tenant, next);
      if (before !== undefined) parts.push(before.ancestors);
      next = before?.continues;
    }
    return parts.reverse().flat();
  }

  async chunk(tenant: string, stretches: readonly Stretch[], order: Order, wanted: number): Promise<Chunk> {
    const [chunk, isProven] = await Promise.all([
      this.#chunk(tenant, stretches, order, wanted),
      this.#proveHeads(tenant, stretches),
    ]);
    // Nothing rather than a part: whoever asked finds out that the conversation is gone.
    return isProven ? chunk : nothingMore;
  }

  /** Whether the conversations among these threads were still there when it was known how far they go. */
  async #proveHeads(tenant: string, stretches: readonly Stretch[]): Promise<boolean> {
    for (const { threadId } of stretches) {
      if (this.#unproven.delete(threadId) && (await this.thread(tenant, threadId)) === undefined) return false;
    }
    return true;
  }

  async #chunk(tenant: string, stretches: readonly Stretch[], order: Order, wanted: number): Promise<Chunk> {
    for (let rest = stretches; rest.length > 0; ) {
      const page = await this.#page(tenant, rest, order, wanted);
      const rows = await this.#rows(await this.#living(tenant, page.documents));
      // What was emptied meanwhile holds no items any more.
      const held = rows.filter(({ itemsJson }) => itemsJson !== undefined);
      if (page.rest.length === 0) return { entries: held, isLast: true, provesThreads: false };
      if (held.length > 0) return { entries: held, isLast: false, provesThreads: false };
      rest = page.rest;
    }
    return nothingMore;
  }

  async #page(tenant: string, stretches: readonly Stretch[], order: Order, wanted: number): Promise<Page> {
    const several = groupOf(stretches, wanted);
    if (several.length > 1) {
      const found = await this.#call.find(entries, {
        filter: walkOfAll(tenant, several),
        limit: maxRows,
        projection: itemsShown,
      });
      const documents = found.map(asDocument);
      // A part of them in no order is no use.
      if (isWhole(documents, maxRows)) {
        const sorted = inOrderOf(several, documents, order);
        const taken = firstOf(sorted, wanted);
        const isAll = taken.length === sorted.length;
        return { documents: taken, rest: isAll ? stretches.slice(several.length) : beyond(stretches, taken, order) };
      }
    }
    const [first] = stretches;
    if (first === undefined) return { documents: [], rest: [] };
    const limit = Math.min(wanted, maxRows);
    const found = await this.#call.find(entries, {
      filter: walkOf(tenant, first),
      sort: { position: order === 'asc' ? 1 : -1 },
      limit,
      projection: itemsShown,
    });
    const documents = found.map(asDocument);
    const taken = firstOf(documents, wanted);
    const isAll = taken.length === documents.length && isWhole(documents, limit);
    return { documents: taken, rest: isAll ? stretches.slice(1) : beyond(stretches, taken, order) };
  }

  async entriesWith(tenant: string, itemId: string, threadIds: readonly string[]): Promise<readonly EntryRow[]> {
    const ids = { $in: [itemDigest(itemId), referenceDigest(itemId)] };
    const found: EntryDocument[] = [];
    for (let from = 0; from < threadIds.length; from += maxThreadsAtOnce) {
      const threads = threadIds.slice(from, from + maxThreadsAtOnce).map(text);
      found.push(...(await this.#allOf({ tenant: text(tenant), ids }, threads, maxBytesWith - bytesOf(found))));
    }
    return this.#rows(await this.#living(tenant, found));
  }

  /** What fits the filter in these threads, page by page, the newest of a thread first, up to so many bytes. */
  async #allOf(filter: Values, threads: readonly string[], maxBytes: number): Promise<readonly EntryDocument[]> {
    const found: EntryDocument[] = [];
    let rest: Values = { thread: { $in: threads } };
    for (;;) {
      const some = await this.#call.find(entries, {
        filter: { ...filter, ...rest },
        sort: { thread: 1, position: -1 },
        limit: entriesAtOnce,
        projection: itemsShown,
      });
      const page = some.map(asDocument);
      found.push(...page);
      const last = page.at(-1);
      const bytes = bytesOf(found);
      if (last === undefined || isWhole(page, entriesAtOnce) || bytes > maxBytes) {
        return firstOf(found, Number.POSITIVE_INFINITY, maxBytes);
      }
      const { thread, position } = last;
      rest = { $or: [{ thread, position: { $lt: position } }, { thread: { $in: threads, $gt: thread } }] };
    }
  }

  async newest(tenant: string, itemIds: readonly string[]): Promise<ReadonlyMap<string, EntryPlace>> {
    const places = new Map<string, EntryPlace>();
    for (let from = 0; from < itemIds.length; from += idsAtOnce) {
      const some = itemIds.slice(from, from + idsAtOnce);
      await this.#newestOf(tenant, some, places);
    }
    return places;
  }

  /** Which of these ids one thread holds, as items or references. */
  async idsIn(tenant: string, threadId: string, itemIds: readonly string[]): Promise<ReadonlySet<string>> {
    const byDigest = new Map(
      itemIds.flatMap(
        (id) =>
          [
            [itemDigest(id), id],
            [referenceDigest(id), id],
          ] as const,
      ),
    );
    const known = new Set<string>();
    for (let from = 0; ; ) {
      const found = await this.#call.find(entries, {
        filter: { ...inThread(tenant, threadId), ids: { $in: [...byDigest.keys()] }, position: { $gte: from } },
        sort: { position: 1 },
        limit: entriesAtOnce,
        projection: { _id: 0, ids: 1, position: 1 },
      });
      const last = found.at(-1);
      // A short page is no end: an answer ends at 16 MB, and lists of ids may be long.
      if (last === undefined) return known;
      for (const digest of found.flatMap((each) => asDocument(each).ids ?? [])) {
        const id = byDigest.get(digest);
        if (id !== undefined) known.add(id);
      }
      from = asDocument(last).position + 1;
    }
  }

  async #newestOf(tenant: string, ids: readonly string[], places: Map<string, EntryPlace>): Promise<void> {
    let open = ids.map((id) => ({ id, before: Number.MAX_SAFE_INTEGER }));
    while (open.length > 0) {
      const pages = await Promise.all(open.map(({ id, before }) => this.#candidates(tenant, id, before)));
      const living = new Set(await this.#living(tenant, pages.flat()));
      const next: typeof open = [];
      for (const [index, { id }] of open.entries()) {
        const page = pages[index] ?? [];
        const found = page.find((each) => living.has(each));
        const last = page.at(-1);
        if (found !== undefined) places.set(id, { threadId: found.thread, position: found.position });
        else if (last !== undefined) next.push({ id, before: last.sequence });
      }
      open = next;
    }
  }

  async #candidates(tenant: string, itemId: string, before: number): Promise<readonly EntryDocument[]> {
    const found = await this.#call.find(entries, {
      filter: { tenant: text(tenant), ids: itemDigest(itemId), sequence: { $lt: before } },
      sort: { sequence: -1 },
      limit: candidatesPerId,
      projection: { _id: 0, thread: 1, position: 1, kind: 1, sequence: 1, 'root.conversationId': 1 },
    });
    return found.map(asDocument);
  }

  async #ofResponse(tenant: string, responseId: string, projection: Values): Promise<EntryDocument | undefined> {
    const filter = { tenant: text(tenant), responseId: text(responseId) };
    const found = await this.#call.findOne(entries, filter, projection);
    return found === undefined ? undefined : asDocument(found);
  }

  async #threadOf(tenant: string, document: EntryDocument): Promise<ThreadRow | undefined> {
    if (document.kind === 'conversation') return this.thread(tenant, document.thread);
    const own = asThread(document);
    if (own !== undefined) {
      const { conversationId } = own;
      if (conversationId !== undefined && (await this.thread(tenant, conversationId)) === undefined) return undefined;
      this.#facts.learn(tenant, own);
      return own;
    }
    const found = document.plain ? undefined : await this.thread(tenant, document.thread);
    // A root goes only when the whole tree was empty: then there was nothing before this entry.
    return found ?? rootlessThread(document);
  }

  /** Those at the first of these places, at least at one of them, as far as they may be held at a time. */
  async #documents(tenant: string, places: readonly EntryPlace[]): Promise<readonly (EntryDocument | undefined)[]> {
    // A client may name any place, also that of a root.
    const wanted = places.filter(({ position }) => position >= 0);
    const found = await this.#at(tenant, wanted);
    // More than one answer takes: one by one.
    const isOneByOne = wanted.length > 1 && !isWhole(found, wanted.length + 1);
    const byPlace = new Map(found.map((document) => [keyOf(placeOf(document)), document]));
    const documents: (EntryDocument | undefined)[] = [];
    let bytes = 0;
    for (const place of places) {
      let document = byPlace.get(keyOf(place));
      if (isOneByOne && document === undefined && place.position >= 0) [document] = await this.#at(tenant, [place]);
      documents.push(document);
      bytes += document?.bytes ?? 0;
      if (bytes > maxChunkBytes) break;
    }
    return documents;
  }

  async #at(tenant: string, places: readonly EntryPlace[]): Promise<readonly EntryDocument[]> {
    const [first] = places;
    if (first === undefined) return [];
    const filter = places.length === 1 ? at(tenant, first) : { $or: places.map((place) => at(tenant, place)) };
    const found = await this.#call.find(entries, { filter, limit: places.length, projection: itemsShown });
    return found.map(asDocument);
  }

  /** Leaves out what is of a conversation that is deleted, or is just being made. */
  async #living(tenant: string, documents: readonly EntryDocument[]): Promise<readonly EntryDocument[]> {
    const owners = documents.map(ownerOf).filter((owner) => owner !== undefined && !this.#alive.has(owner));
    const threads = [...new Set(owners)].map((owner) => text(owner ?? ''));
    for (let from = 0; from < threads.length; from += maxThreadsAtOnce) {
      const some = threads.slice(from, from + maxThreadsAtOnce);
      const found = await this.#call.find(entries, {
        filter: { ...liveRoot(tenant, ''), thread: { $in: some } },
        limit: some.length,
        projection: { _id: 0, thread: 1 },
      });
      for (const each of found) this.#alive.add(String(each['thread']));
    }
    return documents.filter((document) => {
      const owner = ownerOf(document);
      return owner === undefined || this.#alive.has(owner);
    });
  }

  async #rows(documents: readonly EntryDocument[]): Promise<EntryRow[]> {
    const rows: EntryRow[] = [];
    for (const document of documents) {
      const read = await readTexts(this.#call, document);
      if (read !== undefined) rows.push(asEntry(read.document, read.texts));
    }
    return rows;
  }
}

const nothingMore: Chunk = { entries: [], isLast: true, provesThreads: false };

/** Some documents, and the stretches that are still to be walked after them. */
type Page = { readonly documents: readonly EntryDocument[]; readonly rest: readonly Stretch[] };

/** As many as may be held at a time, at least one. */
function firstOf(
  documents: readonly EntryDocument[],
  wanted: number,
  maxBytes = maxChunkBytes,
): readonly EntryDocument[] {
  let bytes = 0;
  let count = 0;
  for (const document of documents) {
    if (count >= wanted || (count > 0 && bytes + document.bytes > maxBytes)) break;
    bytes += document.bytes;
    count += 1;
  }
  return documents.slice(0, count);
}

function bytesOf(documents: readonly EntryDocument[]): number {
  return documents.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** What of the stretches lies behind the last of these documents. */
function beyond(stretches: readonly Stretch[], documents: readonly EntryDocument[], order: Order): readonly Stretch[] {
  const last = documents.at(-1);
  if (last === undefined) return stretches.slice(1);
  const { thread, position } = last;
  const index = stretches.findIndex(
    ({ threadId, from, to }) => threadId === thread && from <= position && position <= to,
  );
  const current = stretches[index];
  if (current === undefined) throw new Error('An entry was found that was not asked for');
  const rest = order === 'asc' ? { ...current, from: position + 1 } : { ...current, to: position - 1 };
  return [...(rest.from <= rest.to ? [rest] : []), ...stretches.slice(index + 1)];
}

/**
 * The first stretches that are asked for in one question: for all entries of their threads up to the highest position
 * that is wanted in any of them. So they are taken together only where that is not many more than are wanted.
 */
function groupOf(stretches: readonly Stretch[], wanted: number): readonly Stretch[] {
  const most = Math.min(maxEntriesOfStretches, Math.max(2 * wanted, 8));
  const tree = stretches[0]?.tree;
  let highest = 0;
  let count = 0;
  for (const stretch of stretches) {
    highest = Math.max(highest, stretch.to);
    if (stretch.tree !== tree || (count + 1) * (highest + 1) > most) break;
    count += 1;
  }
  return stretches.slice(0, count);
}

function walkOfAll(tenant: string, stretches: readonly Stretch[]): Values {
  const threads = [...new Set(stretches.map(({ threadId }) => text(threadId)))];
  const highest = stretches.reduce((most, { to }) => Math.max(most, to), 0);
  return {
    tenant: text(tenant),
    tree: text(stretches[0]?.tree ?? ''),
    hasItems: true,
    position: { $gte: 0, $lte: whole(highest) },
    thread: { $in: threads },
  };
}

function walkOf(tenant: string, { tree, threadId, from, to }: Stretch): Values {
  return {
    tenant: text(tenant),
    tree: text(tree),
    hasItems: true,
    thread: text(threadId),
    position: { $gte: whole(from), $lte: whole(to) },
  };
}

/** Whether these are all that there are: neither the limit nor the size of an answer can have cut some off. */
function isWhole(documents: readonly EntryDocument[], limit: number): boolean {
  if (documents.length >= limit) return false;
  return documents.reduce((sum, { bytes, chunks }) => sum + (chunks === undefined ? bytes : 0), 0) <= maxChunkBytes;
}

function inOrderOf(
  stretches: readonly Stretch[],
  documents: readonly EntryDocument[],
  order: Order,
): readonly EntryDocument[] {
  const byThread = Map.groupBy(documents, ({ thread }) => thread);
  for (const list of byThread.values()) {
    list.sort((one, other) => (order === 'asc' ? one.position - other.position : other.position - one.position));
  }
  return stretches.flatMap(({ threadId, from, to }) =>
    (byThread.get(threadId) ?? []).filter(({ position }) => from <= position && position <= to),
  );
}

function placeOf({ thread, position }: EntryDocument): EntryPlace {
  return { threadId: thread, position };
}

function keyOf({ threadId, position }: EntryPlace): string {
  return `${position} ${threadId}`;
}
