import { hash } from 'node:crypto';
import { ObjectId } from 'mongodb';
import type { EntryPlace } from '../../store.ts';
import type { Ancestor, EntryRow, IndexedItem, Lease, ThreadKind, ThreadRow } from '../rows.ts';
import type { Values } from './call.ts';

export const entries = 'openresponses_entries';
export const chunks = 'openresponses_chunks';
export const meta = 'openresponses_meta';

/**
 * One entry of a thread, or the root of a conversation, which lies at position -1. The root of a chain or a record is
 * part of its first entry.
 */
export type EntryDocument = {
  /** Its place. The index of `_id` is the one that every collection has, however it came to be. */
  readonly _id: string;
  /** Who inserted it, which never changes: known again where an answer was lost. */
  readonly maker: string;
  /** The version of the schema that it was written with. */
  readonly v: number;
  readonly tenant: string;
  readonly thread: string;
  readonly position: number;
  readonly kind: ThreadKind;
  readonly tree: string;
  /** The thread grew out of no other: its root need not be looked up. */
  readonly plain: boolean;
  readonly isTurn: boolean;
  readonly responseId?: string;
  readonly status?: string;
  readonly response?: string;
  readonly items?: string;
  /** Only ever true, else absent: whether there is a list of items, here or in the chunks, be it empty. */
  readonly hasItems?: true;
  /** Where the texts are too large for a document of their own. */
  readonly chunks?: ChunksOf;
  /** The digests of the ids of items (`i…`) and of references (`r…`). */
  readonly ids?: readonly string[];
  readonly itemCount: number;
  readonly inputCount: number;
  readonly textBytes: number;
  /** Of the texts. */
  readonly bytes: number;
  readonly responseBytes: number;
  readonly hasReferences: boolean;
  readonly user?: string;
  readonly createdAt: number;
  /** Not used yet. */
  readonly expiresAt?: number;
  /** Grows with every insert, as well as the clocks of the servers agree. */
  readonly sequence: number;
  /** Counts changes. A change names the one that it saw. */
  readonly rev: number;
  /** Who made the last change: known again where an answer was lost. */
  readonly by?: string;
  readonly root?: RootPart;
  readonly lease?: Lease;
  /** A conversation that is deleted, or one that is not made yet: nothing of it is there. */
  readonly deletedAt?: number;
  /** The clean-up has begun: it can't come to life any more. */
  readonly swept?: true;
};

export type RootPart = {
  readonly ancestors: readonly Ancestor[];
  readonly continues?: string;
  readonly conversationId?: string;
  readonly metadata?: string;
};

/** The items' text, then the response's, cut into parts. */
export type ChunksOf = {
  readonly owner: string;
  readonly parts: number;
  /** How many characters of it are the items; absent where there are no items. */
  readonly itemsLength?: number;
  readonly hasResponse: boolean;
};

export type ChunkDocument = {
  /** Its owner and part, for the same reason as that of an entry. */
  readonly _id: string;
  readonly v: number;
  readonly tenant: string;
  readonly thread: string;
  readonly owner: string;
  readonly part: number;
  readonly text: string;
  readonly createdAt: number;
  /** The clean-up is about to remove it, unless an entry names it. */
  readonly doomed?: true;
};

export const documentVersion = 1;
export const rootPosition = -1;

/** Values from outside go into queries through these: whatever the types promise, an object would be an operator. */
export function text(value: string): string {
  if (typeof value !== 'string') throw new TypeError('A string was expected');
  return value;
}

export function whole(value: number): number {
  if (!Number.isSafeInteger(value)) throw new TypeError('A whole number was expected');
  return value;
}

export function inThread(tenant: string, thread: string): Values {
  return { tenant: text(tenant), thread: text(thread) };
}

export function at(tenant: string, { threadId, position }: EntryPlace): Values {
  return { tenant: text(tenant), thread: text(threadId), position: whole(position) };
}

/** The `_id` of the entry at a place: the tenant and the thread are in it, so that each shard sees all that are equal. */
export function placeId(tenant: string, { threadId, position }: EntryPlace): string {
  return idOf(text(tenant), text(threadId), whole(position));
}

export function chunkId(tenant: string, thread: string, owner: string, part: number): string {
  return idOf(text(tenant), text(thread), text(owner), whole(part));
}

/** No two lists of values come out the same. Half characters become what they become in the other fields. */
function idOf(...values: readonly (string | number)[]): string {
  return JSON.stringify(values.map((value) => (typeof value === 'string' ? value.toWellFormed() : value)));
}

/** The root of a conversation that is there. */
export function liveRoot(tenant: string, id: string): Values {
  return { ...at(tenant, { threadId: id, position: rootPosition }), deletedAt: { $exists: false } };
}

/** Ids may be long, and there may be 50,000 of them in one entry. Whoever finds one by its digest compares the id. */
export function itemDigest(id: string): string {
  return `i${digest(id)}`;
}

export function referenceDigest(id: string): string {
  return `r${digest(id)}`;
}

function digest(id: string): string {
  return hash('sha256', text(id), 'base64url').slice(0, 22);
}

export function digestsOf(index: readonly IndexedItem[]): string[] {
  return index.map(({ id, isReference }) => (isReference ? referenceDigest(id) : itemDigest(id)));
}

let lastSequence = 0;

/** In the order of their making within one process, and by the clock between several. */
export function nextSequence(): number {
  lastSequence = Math.max(lastSequence + 1, Date.now() * 1_000);
  return lastSequence;
}

export function freshToken(): string {
  return new ObjectId().toHexString();
}

export function rootOf(thread: ThreadRow): RootPart {
  return {
    ancestors: thread.ancestors,
    ...optional('continues', thread.continues),
    ...optional('conversationId', thread.conversationId),
    ...optional('metadata', thread.metadataJson),
  };
}

export function isPlain(thread: ThreadRow): boolean {
  return thread.ancestors.length === 0 && thread.continues === undefined && thread.tree === thread.id;
}

/** A conversation's root, as it is before anything happens to it. */
export function conversationRoot(tenant: string, thread: ThreadRow): EntryDocument {
  return {
    _id: placeId(tenant, { threadId: thread.id, position: rootPosition }),
    maker: freshToken(),
    v: documentVersion,
    tenant: text(tenant),
    thread: text(thread.id),
    position: rootPosition,
    kind: thread.kind,
    tree: text(thread.tree),
    plain: true,
    isTurn: false,
    itemCount: 0,
    inputCount: 0,
    textBytes: 0,
    bytes: Buffer.byteLength(thread.metadataJson ?? ''),
    responseBytes: 0,
    hasReferences: false,
    createdAt: whole(thread.createdAt),
    sequence: nextSequence(),
    rev: 0,
    root: rootOf(thread),
  };
}

/** An object with one property, or with none: an undefined one would be stored as null. */
export function optional<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { readonly [Key in Name]?: Value } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [Key in Name]?: Value });
}

export function asDocument(found: Values): EntryDocument {
  return found as EntryDocument;
}

/** The conversation that an entry is of, or a record of a run on: whatever is there of it goes with that. */
export function ownerOf({ kind, thread, root }: Pick<EntryDocument, 'kind' | 'thread' | 'root'>): string | undefined {
  return kind === 'conversation' ? thread : root?.conversationId;
}

/** Undefined for an entry that is no root. */
export function asThread(document: EntryDocument): ThreadRow | undefined {
  const { root } = document;
  if (root === undefined) return undefined;
  return {
    id: document.thread,
    kind: document.kind,
    tree: document.tree,
    ancestors: root.ancestors,
    continues: root.continues,
    conversationId: root.conversationId,
    metadataJson: root.metadata,
    user: document.user,
    createdAt: document.createdAt,
  };
}

/** The thread of an entry that is known to need no root, or whose root went with an emptied tree. */
export function rootlessThread(document: EntryDocument): ThreadRow {
  return {
    id: document.thread,
    kind: document.kind,
    tree: document.tree,
    ancestors: [],
    continues: undefined,
    conversationId: undefined,
    metadataJson: undefined,
    user: document.user,
    createdAt: document.createdAt,
  };
}

export type Texts = { readonly items: string | undefined; readonly response: string | undefined };

export function asEntry(document: EntryDocument, { items, response }: Texts): EntryRow {
  return {
    threadId: document.thread,
    position: document.position,
    tree: document.tree,
    isTurn: document.isTurn,
    responseId: document.responseId,
    status: document.status,
    responseJson: response,
    itemsJson: items,
    inputCount: document.inputCount,
    textBytes: document.textBytes,
    hasReferences: document.hasReferences,
    user: document.user,
    createdAt: document.createdAt,
  };
}

/** A key of a map for what has a name in a tenant. */
export function tenantKey(tenant: string, id: string): string {
  return `${tenant.length} ${tenant}${id}`;
}
