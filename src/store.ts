import type { Item } from './api/items.ts';
import type { Metadata } from './api/primitives.ts';

/**
 * The store keeps **threads**: append-only lists of **entries**. An entry is one atomic append: the items that one turn
 * added (input, then output) and the response that made them, if any.
 *
 * - A `conversation` is a thread with metadata and a lease. Items posted to it are an entry without a response.
 * - A `chain` is a thread made by responses that follow each other through `previous_response_id`.
 * - A `record` is a thread of one entry that nothing can follow: a failed or cancelled response (R3).
 *
 * A chain or a record that grew out of another thread names it as its parent, with the position it saw last: a fork.
 * Nothing is ever copied, so an item exists once and deleting it removes it everywhere (R6).
 *
 * **Who wins is decided by a unique insert alone**: (tenant, thread, position) is unique, and a run appends at the
 * position after the one it read, or loses. No correctness rests on a lease, which only saves work.
 *
 * The tenant is the first argument of every method and part of every key: nothing of another tenant is ever found.
 * Times are in ms since 1970. Every method rejects with `StoreUnavailable` when the database can't serve now; what it
 * was asked to write is then either not written or written whole; a bounded store with `TooLargeForStore` for what is
 * larger than all of it. Any other rejection is a defect.
 */
export interface Store {
  /**
   * The secret that all servers of this database share: the first one that was ever proposed. Resolves with it when it is
   * durable. It belongs to no tenant, and is no part of what `store stats` counts.
   */
  keptSecret(proposed: string): Promise<string>;
  /**
   * Creates a conversation, with its first items if any. Resolves when it is durable. An id that is taken is a defect of
   * the caller's, and rejects as one.
   */
  createConversation(tenant: string, conversation: NewConversation): Promise<void>;
  getConversation(tenant: string, id: string): Promise<Conversation | undefined>;
  /** Replaces the metadata. Undefined where there is no such conversation. Not refused while a run is in progress (R12). */
  updateConversation(tenant: string, id: string, metadata: Metadata): Promise<Conversation | undefined>;
  /**
   * Removes a conversation, its items, the responses made in it and their records (R5). Forks of it live on without
   * its items. False where there is no such conversation. A run in progress on it can append nothing afterwards.
   */
  deleteConversation(tenant: string, id: string): Promise<boolean>;
  /**
   * Adds an entry without a response behind the newest one. `locked`: a run holds the lease (R12). `duplicate`: an item
   * of that id is in this conversation already (R9); nothing was added. Without items, nothing is written.
   */
  appendItems(tenant: string, conversationId: string, entry: NewItems): Promise<AppendItemsResult>;
  /** One item of a conversation, references resolved. */
  getItem(tenant: string, conversationId: string, itemId: string): Promise<Item | undefined>;
  /**
   * Removes an item from a conversation, and so from every response that shows it and every later context (R6). Where
   * the conversation only refers to an item of another thread, the reference goes and the item stays.
   */
  deleteItem(tenant: string, conversationId: string, itemId: string): Promise<'deleted' | 'locked' | 'missing'>;
  /**
   * For each id the newest live item which the tenant has anywhere (R10), and where it lives. What is not found is absent.
   * `too_large`: they take more than `maxChars` of JSON, and are more than one.
   */
  findItems(
    tenant: string,
    itemIds: readonly string[],
    maxChars: number,
  ): Promise<ReadonlyMap<string, FoundItem> | 'too_large'>;

  /**
   * A page of a view, in the given order. References are resolved; those whose target is gone are passed over. Very large
   * items make a page shorter than `limit`, with `hasMore`.
   * `unknown_cursor`: `after` is no item of the view. Costs the same wherever in a long thread the page lies.
   */
  listItems(tenant: string, view: ItemView, page: PageQuery): Promise<ItemPage | 'unknown_cursor' | 'missing'>;

  /**
   * Everything that a run continuing from here is given, oldest first, and the place it would append behind.
   * `missing`: no such response or conversation. `too_large`: the texts exceed `maxTextBytes`.
   */
  readContext(tenant: string, from: ContextSource, maxTextBytes: number): Promise<Context | 'missing' | 'too_large'>;

  /**
   * Takes the lease of a conversation for `ttlMs`, or finds it `busy` in another holder's hands, or the conversation
   * `missing`. A lease past its time is free, and its own holder may take it again.
   */
  acquireLease(
    tenant: string,
    conversationId: string,
    holder: string,
    ttlMs: number,
  ): Promise<'acquired' | 'busy' | 'missing'>;
  /**
   * Prolongs a lease. False: it is lost, and the run must stop (R12), also where its time is over and nobody took it:
   * items may have been added meanwhile.
   */
  renewLease(tenant: string, conversationId: string, holder: string, ttlMs: number): Promise<boolean>;
  /** Frees a lease; harmless where it is not held. */
  releaseLease(tenant: string, conversationId: string, holder: string): Promise<void>;

  /**
   * Appends what a run made, atomically: response and items, or nothing. Resolves when it is durable.
   *
   * - `chain` without `base`: a new thread. With `base`: behind it where that is the newest entry of a chain, else a
   *   fork. Loses only to its own response (below).
   * - `conversation`: at the position after `base`, and frees the lease of `holder`. `lost`: the place was taken or
   *   the conversation is gone; nothing was written.
   * - `record`: a thread of its own, seen by nobody but through its response's id. With `conversationId`, written only
   *   while that conversation exists, else `lost`.
   *
   * A response is stored once. The same turn again, after an answer that never arrived, is `appended`; another end of it
   * is `lost`. One that was stored and deleted since is `lost` too where a trace of it is left, and otherwise stored anew:
   * nothing remembers what is deleted.
   */
  appendTurn(tenant: string, turn: NewTurn): Promise<'appended' | 'lost'>;

  getResponse(tenant: string, id: string): Promise<StoredResponse | undefined>;
  /**
   * Removes a response (R4): in a conversation the response only, its items stay; elsewhere its own items go with it.
   * Its place stays taken, so that later turns keep their order. False where there is no such response.
   */
  deleteResponse(tenant: string, id: string): Promise<boolean>;

  /**
   * Keeps the tree that holds this thread from being evicted until the returned function is called (R8). Only a
   * bounded store evicts; the others return a function that does nothing.
   */
  hold(tenant: string, threadId: string): () => void;

  /** Resolves when the store can serve. Rejects with `StoreUnavailable` otherwise. Used by `/readyz`. */
  ping(): Promise<void>;
  /** Writes what was accepted, then closes. */
  close(): Promise<void>;
}

/** The database can't serve now: a full or gone disk, a lock held for too long, a store that is full or closed. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
}

/** What is to be written exceeds what this store can ever hold: another try is no use. */
export class TooLargeForStore extends Error {
  override readonly name = 'TooLargeForStore';
}

/** An item to be stored: its JSON text was made once, for the client as for the store. */
export type EncodedItem = { readonly id: string; readonly json: string };

/** An item that lives in another entry: it is stored as a reference, and is gone when its target is (R10). */
export type ItemReference = { readonly id: string; readonly target: EntryPlace };

export type StorableItem = EncodedItem | ItemReference;

export type EntryPlace = { readonly threadId: string; readonly position: number };

export type NewItems = {
  readonly items: readonly StorableItem[];
  /** Bytes of the items' JSON without images and files: what `context.max-bytes` counts. */
  readonly textBytes: number;
  readonly createdAt: number;
};

export type NewConversation = {
  readonly id: string;
  readonly metadata: Metadata;
  readonly createdAt: number;
  /** Absent where the conversation begins empty. */
  readonly entry?: NewItems;
};

export type Conversation = { readonly id: string; readonly metadata: Metadata; readonly createdAt: number };

export type AppendItemsResult =
  | { readonly outcome: 'appended' | 'locked' | 'missing' }
  | { readonly outcome: 'duplicate'; readonly itemId: string };

export type FoundItem = { readonly item: Item; readonly place: EntryPlace };

/** `conversation`: all of it. `input_of`: what a response was given, then its own input, never its output (R15). */
export type ItemView =
  | { readonly kind: 'conversation'; readonly id: string }
  | { readonly kind: 'input_of'; readonly responseId: string };

export type PageQuery = { readonly limit: number; readonly order: 'asc' | 'desc'; readonly after?: string | undefined };
export type ItemPage = { readonly items: readonly Item[]; readonly hasMore: boolean };

export type ContextSource =
  | { readonly kind: 'conversation'; readonly id: string }
  | { readonly kind: 'response'; readonly id: string };

export type Context = {
  readonly entries: readonly ContextEntry[];
  /** Where the newest entry lies; position -1 in a conversation that has none yet. */
  readonly head: EntryPlace;
  /** Status of the response continued from; undefined for a conversation. Only `completed` and `incomplete` may be (R3). */
  readonly status: string | undefined;
};

export type ContextEntry = {
  /** References resolved; input first, then output. */
  readonly items: readonly Item[];
  readonly place: EntryPlace;
  /** True where a response made it, also after that was deleted, and after its items were (R7). */
  readonly isTurn: boolean;
};

export type NewTurn = {
  readonly kind: 'chain' | 'conversation' | 'record';
  readonly base: EntryPlace | undefined;
  /** The conversation that the response belongs to, for `conversation` and for a `record` of a run on one. */
  readonly conversationId: string | undefined;
  /** Who holds the conversation's lease. */
  readonly holder: string | undefined;
  readonly responseId: string;
  readonly status: string;
  /** The snapshot's JSON without `output`, which is kept as items: `{…}`. */
  readonly responseJson: string;
  readonly input: readonly StorableItem[];
  readonly output: readonly EncodedItem[];
  readonly textBytes: number;
  /** The request's `user`, for erasure by it. */
  readonly user: string | undefined;
  readonly createdAt: number;
};

export type StoredResponse = {
  /** The snapshot's JSON without `output`, as it was given to `appendTurn`. */
  readonly responseJson: string;
  readonly output: readonly Item[];
  readonly status: string;
};
