import type { EntryPlace } from '../store.ts';

/**
 * What the bundled stores keep, as rows. The rules of the store are written once over these (`reading.ts`,
 * `writing.ts`); a backend says only where rows lie. Both backends answer synchronously, and run one operation at a time.
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

export interface ReadRows {
  thread(tenant: string, id: string): ThreadRow | undefined;
  entry(tenant: string, place: EntryPlace): EntryRow | undefined;
  entryOfResponse(tenant: string, responseId: string): EntryRow | undefined;
  /** The newest position that was taken; -1 where none was. */
  head(tenant: string, threadId: string): number;
  /** The entries of a stretch that hold items, without looking at the others. The caller may stop early. */
  walk(tenant: string, stretch: Stretch, order: Order): Iterable<EntryRow>;
  /** Where in one thread an item of that id, or a reference to one, lies; newest first. */
  positionsOf(tenant: string, itemId: string, threadId: string): readonly number[];
  /** The newest item of that id which is not a reference. */
  newest(tenant: string, itemId: string): EntryPlace | undefined;
}

export interface WriteRows extends ReadRows {
  /**
   * Adds a thread, an entry, or both; all or nothing. False where the thread's id, the entry's position or its
   * response's id is taken. A bounded backend makes room first, and throws `StoreUnavailable` where it can't.
   */
  append(
    tenant: string,
    thread: ThreadRow | undefined,
    entry: EntryRow | undefined,
    index: readonly IndexedItem[],
  ): boolean;
  setMetadata(tenant: string, threadId: string, metadataJson: string): void;
  /** Replaces what an entry holds, and takes items out of the index. */
  replaceEntry(tenant: string, entry: EntryRow, removed: readonly IndexedItem[]): void;
  /** Removes a thread with its entries, their lines in the index, and its lease. */
  removeThread(tenant: string, threadId: string): void;
  recordsOf(tenant: string, conversationId: string): readonly string[];
  threadsOf(tenant: string, tree: string): readonly string[];
  /** Whether any entry of the tree still holds something. */
  hasContent(tenant: string, tree: string): boolean;
  lease(tenant: string, threadId: string): Lease | undefined;
  setLease(tenant: string, threadId: string, lease: Lease | undefined): void;
}

/** Past this many ancestors a fork points at the thread that it came from instead of repeating the list. */
export const maxAncestors = 64;
