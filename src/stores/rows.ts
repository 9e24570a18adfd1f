import type { EntryPlace } from '../store.ts';
import type { Answer } from './steps.ts';

/**
 * What the bundled stores keep, as rows. The rules of the store are written once over these (`reading.ts`,
 * `writing.ts`); a backend says only where rows lie.
 */
export type ThreadRow = {
  readonly id: string;
  readonly kind: ThreadKind;
  /** The id of the thread that the whole tree of forks grew from. Eviction, expiry and clean-up go by tree. */
  readonly tree: string;
  /** What a fork saw of other threads, oldest first; the nearest part of it only where `continues` is set. */
  readonly ancestors: readonly Ancestor[];
  /** The thread whose own ancestors come before `ancestors`, so that a list never grows past `maxAncestors`. */
  readonly continues: string | undefined;
  /** For a record of a run on a conversation: it goes when the conversation goes. */
  readonly conversationId: string | undefined;
  readonly metadataJson: string | undefined;
  readonly user: string | undefined;
  readonly createdAt: number;
};

export type ThreadKind = 'conversation' | 'chain' | 'record';

/** A thread up to a position, that one included. */
export type Ancestor = readonly [threadId: string, upTo: number];

export type EntryRow = {
  readonly threadId: string;
  readonly position: number;
  readonly tree: string;
  /** True where a response made it; stays true when the response is deleted and its items are not (R4, R7). */
  readonly isTurn: boolean;
  readonly responseId: string | undefined;
  readonly status: string | undefined;
  readonly responseJson: string | undefined;
  /** A JSON array, see `entry-items.ts`. Undefined: nothing is left here but the position, which stays taken. */
  readonly itemsJson: string | undefined;
  readonly inputCount: number;
  readonly textBytes: number;
  readonly hasReferences: boolean;
  readonly user: string | undefined;
  readonly createdAt: number;
};

/** An item's line in the index by id. */
export type IndexedItem = { readonly id: string; readonly isReference: boolean };

/** Positions `from` to `to`, both included, of one thread. */
export type Stretch = {
  readonly threadId: string;
  readonly tree: string;
  readonly from: number;
  readonly to: number;
  /** Leaves out what the responses of these entries put out. */
  readonly inputOnly: boolean;
};

export type Order = 'asc' | 'desc';

export type Lease = { readonly holder: string; readonly expiresAt: number };

/** A part of what was asked for, in its order. */
export type Chunk = {
  readonly entries: readonly EntryRow[];
  /** Nothing comes behind it. */
  readonly isLast: boolean;
  /** Threads go at once here: one that has an entry in this was there until now, with all that it held. */
  readonly provesThreads: boolean;
};

/** A thread with the newest position that was taken in it; -1 where none was. */
export type ThreadHead = { readonly thread: ThreadRow; readonly head: number };

/** The entry of a response, with its thread. */
export type TurnRow = { readonly thread: ThreadRow; readonly entry: EntryRow };

/**
 * Each method is one question to the database, also where it asks for many rows: a rule takes few of them, and over a
 * network each is one round trip.
 */
export interface ReadRows {
  thread(tenant: string, id: string): Answer<ThreadRow | undefined>;
  threadHead(tenant: string, id: string): Answer<ThreadHead | undefined>;
  /**
   * In the order of the places, with holes for what is not there; of many that are large the first only, at least one:
   * whoever wants more asks on. `responseJson` may be left out.
   */
  entries(tenant: string, places: readonly EntryPlace[]): Answer<readonly (EntryRow | undefined)[]>;
  entryOfResponse(tenant: string, responseId: string): Answer<EntryRow | undefined>;
  turn(tenant: string, responseId: string): Answer<TurnRow | undefined>;
  /** What the thread saw of others, oldest first: its own list behind those of the threads that it continues. */
  ancestors(tenant: string, thread: ThreadRow): Answer<readonly Ancestor[]>;
  /**
   * The entries of some stretches that hold items, one stretch after the other, without looking at entries that hold
   * none. At least one if there is any, `wanted` or fewer, and less where they are large. `responseJson` may be left out.
   */
  chunk(tenant: string, stretches: readonly Stretch[], order: Order, wanted: number): Answer<Chunk>;
  /** The entries in some threads that hold an item of that id, or a reference to one; the newest of a thread first. */
  entriesWith(tenant: string, itemId: string, threadIds: readonly string[]): Answer<readonly EntryRow[]>;
  /** For each id the newest place in the tenant that holds the item itself. */
  newest(tenant: string, itemIds: readonly string[]): Answer<ReadonlyMap<string, EntryPlace>>;
}

/** Within one change, which is whole or not at all, and which no other change of the same threads comes between. */
export interface WriteRows extends ReadRows {
  /** Which of these ids one thread holds, as items or references. */
  idsIn(tenant: string, threadId: string, itemIds: readonly string[]): Answer<ReadonlySet<string>>;
  /**
   * Adds a thread, an entry, or both; all or nothing. False where the thread's id, the entry's position or its
   * response's id is taken. A bounded backend makes room first, and throws `StoreUnavailable` where it can't.
   */
  append(
    tenant: string,
    thread: ThreadRow | undefined,
    entry: EntryRow | undefined,
    index: readonly IndexedItem[],
  ): Answer<boolean>;
  setMetadata(tenant: string, threadId: string, metadataJson: string): Answer<void>;
  /** Replaces what an entry holds, and takes items out of the index. */
  replaceEntry(tenant: string, entry: EntryRow, removed: readonly IndexedItem[]): Answer<void>;
  /** Removes threads with their entries, their lines in the index, and their leases. */
  removeThreads(tenant: string, threadIds: readonly string[]): Answer<void>;
  recordsOf(tenant: string, conversationId: string): Answer<readonly string[]>;
  threadsOf(tenant: string, tree: string): Answer<readonly string[]>;
  /** Whether any entry of the tree still holds something. */
  hasContent(tenant: string, tree: string): Answer<boolean>;
  lease(tenant: string, threadId: string): Answer<Lease | undefined>;
  setLease(tenant: string, threadId: string, lease: Lease | undefined): Answer<void>;
  /** The secret that is kept: the proposed one where there was none. Of several that propose at once all get the same. */
  keepSecret(proposed: string): Answer<string>;
}

/** Past this many ancestors a fork points at the thread that it came from instead of repeating the list. */
export const maxAncestors = 64;
