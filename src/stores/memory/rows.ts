import type { EntryPlace } from '../../store.ts';
import { StoreUnavailable, TooLargeForStore } from '../../store.ts';
import { indexOf } from '../entry-items.ts';
import { joinAncestors } from '../lineage.ts';
import type {
  Ancestor,
  Chunk,
  EntryRow,
  IndexedItem,
  Lease,
  Order,
  Stretch,
  ThreadHead,
  ThreadRow,
  TurnRow,
  WriteRows,
} from '../rows.ts';

export type MemoryLimits = { readonly maxThreads: number; readonly maxBytes: number };

/** What maps, objects and keys cost beside the strings, roughly; so that a million tiny entries count as well. */
const threadOverheadBytes = 600;
const entryOverheadBytes = 500;
const indexOverheadBytes = 200;

/** Of entries that are asked for by their places, and then decoded side by side. */
const maxEntriesChars = 8 * 1024 * 1024;

type Place = { readonly position: number; readonly isReference: boolean; readonly sequence: number };

type Thread = {
  row: ThreadRow;
  /** By position, without gaps. */
  readonly entries: EntryRow[];
  lease: Lease | undefined;
};

type Tree = {
  readonly tenant: string;
  readonly id: string;
  readonly threads: Set<string>;
  bytes: number;
  holds: number;
  contentful: number;
};

type Tenant = {
  readonly threads: Map<string, Thread>;
  readonly trees: Map<string, Tree>;
  readonly responses: Map<string, EntryPlace>;
  /** By item id, then by thread. */
  readonly items: Map<string, Map<string, readonly Place[]>>;
};

/** Rows in maps, bounded. Keys are nested by tenant: nothing of another tenant can be reached. */
export class MemoryRows implements WriteRows {
  readonly #limits: MemoryLimits;
  readonly #now: () => number;
  readonly #tenants = new Map<string, Tenant>();
  /** Least recently used first. */
  readonly #trees = new Set<Tree>();
  #threads = 0;
  #bytes = 0;
  #sequence = 0;
  #secret: string | undefined;

  constructor(limits: MemoryLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  thread(tenant: string, id: string): ThreadRow | undefined {
    return this.#used(tenant, id)?.row;
  }

  threadHead(tenant: string, id: string): ThreadHead | undefined {
    const found = this.#used(tenant, id);
    return found === undefined ? undefined : { thread: found.row, head: found.entries.length - 1 };
  }

  entries(tenant: string, places: readonly EntryPlace[]): readonly (EntryRow | undefined)[] {
    const found: (EntryRow | undefined)[] = [];
    let chars = 0;
    for (const { threadId, position } of places) {
      const entry = this.#used(tenant, threadId)?.entries[position];
      found.push(entry);
      chars += entry?.itemsJson?.length ?? 0;
      if (chars > maxEntriesChars) break;
    }
    return found;
  }

  entryOfResponse(tenant: string, responseId: string): EntryRow | undefined {
    const place = this.#tenants.get(tenant)?.responses.get(responseId);
    return place === undefined ? undefined : this.#used(tenant, place.threadId)?.entries[place.position];
  }

  turn(tenant: string, responseId: string): TurnRow | undefined {
    const entry = this.entryOfResponse(tenant, responseId);
    const thread = entry === undefined ? undefined : this.#find(tenant, entry.threadId)?.row;
    return entry === undefined || thread === undefined ? undefined : { entry, thread };
  }

  ancestors(tenant: string, thread: ThreadRow): readonly Ancestor[] {
    return joinAncestors(thread, (id) => this.#used(tenant, id)?.row);
  }

  chunk(tenant: string, stretches: readonly Stretch[], order: Order, wanted: number): Chunk {
    const found: EntryRow[] = [];
    for (const stretch of stretches) {
      for (const entry of this.#walk(tenant, stretch, order)) {
        if (found.length >= wanted) return { entries: found, isLast: false, provesThreads: true };
        found.push(entry);
      }
    }
    return { entries: found, isLast: true, provesThreads: true };
  }

  entriesWith(tenant: string, itemId: string, threadIds: readonly string[]): readonly EntryRow[] {
    return threadIds.flatMap((threadId) => {
      const entries = this.#find(tenant, threadId)?.entries;
      const places = this.#tenants.get(tenant)?.items.get(itemId)?.get(threadId) ?? [];
      const positions = new Set(places.map(({ position }) => position).reverse());
      return [...positions].map((position) => entries?.[position]).filter((entry) => entry !== undefined);
    });
  }

  newest(tenant: string, itemIds: readonly string[]): ReadonlyMap<string, EntryPlace> {
    const found = new Map<string, EntryPlace>();
    for (const itemId of itemIds) {
      const place = this.#newest(tenant, itemId);
      if (place !== undefined) found.set(itemId, place);
    }
    return found;
  }

  idsIn(tenant: string, threadId: string, itemIds: readonly string[]): ReadonlySet<string> {
    const items = this.#tenants.get(tenant)?.items;
    return new Set(itemIds.filter((id) => items?.get(id)?.has(threadId)));
  }

  append(
    tenant: string,
    thread: ThreadRow | undefined,
    entry: EntryRow | undefined,
    index: readonly IndexedItem[],
  ): boolean {
    const known = this.#tenants.get(tenant);
    const treeId = thread?.tree ?? entry?.tree;
    if (treeId === undefined) return true;
    if (thread !== undefined && known?.threads.has(thread.id)) return false;
    if (entry !== undefined && this.#isTaken(tenant, entry)) return false;
    const bytes =
      (thread === undefined ? 0 : threadBytes(thread)) + (entry === undefined ? 0 : entryBytes(entry, index));
    this.#makeRoom(thread === undefined ? 0 : 1, bytes, known?.trees.get(treeId));
    // Only now: making room may have emptied the tenant.
    const owner = this.#tenant(tenant);
    const tree = this.#tree(owner, tenant, treeId);
    if (thread !== undefined) {
      owner.threads.set(thread.id, { row: thread, entries: [], lease: undefined });
      tree.threads.add(thread.id);
      this.#threads += 1;
    }
    this.#count(tree, bytes);
    if (entry !== undefined) this.#addEntry(owner, tree, entry, index);
    return true;
  }

  setMetadata(tenant: string, threadId: string, metadataJson: string): void {
    const thread = this.#find(tenant, threadId);
    const tree = thread === undefined ? undefined : this.#tenants.get(tenant)?.trees.get(thread.row.tree);
    if (thread === undefined || tree === undefined) return;
    const row = { ...thread.row, metadataJson };
    const bytes = threadBytes(row) - threadBytes(thread.row);
    this.#makeRoom(0, bytes, tree);
    thread.row = row;
    this.#count(tree, bytes);
  }

  replaceEntry(tenant: string, entry: EntryRow, removed: readonly IndexedItem[]): void {
    const owner = this.#tenants.get(tenant);
    const thread = owner?.threads.get(entry.threadId);
    const before = thread?.entries[entry.position];
    const tree = owner?.trees.get(entry.tree);
    if (owner === undefined || thread === undefined || before === undefined || tree === undefined) return;
    if (before.responseId !== undefined && entry.responseId === undefined) owner.responses.delete(before.responseId);
    for (const { id } of removed) unindex(owner, id, entry);
    thread.entries[entry.position] = entry;
    if (before.itemsJson !== undefined && entry.itemsJson === undefined) tree.contentful -= 1;
    this.#count(tree, entryBytes(entry, []) - entryBytes(before, removed));
  }

  removeThreads(tenant: string, threadIds: readonly string[]): void {
    for (const threadId of threadIds) this.#removeThread(tenant, threadId);
  }

  #removeThread(tenant: string, threadId: string): void {
    const owner = this.#tenants.get(tenant);
    const thread = owner?.threads.get(threadId);
    const tree = thread === undefined ? undefined : owner?.trees.get(thread.row.tree);
    if (owner === undefined || thread === undefined || tree === undefined) return;
    for (const entry of thread.entries) {
      const index = indexOf(entry);
      for (const { id } of index) unindex(owner, id, entry);
      if (entry.responseId !== undefined) owner.responses.delete(entry.responseId);
      if (entry.itemsJson !== undefined) tree.contentful -= 1;
      this.#count(tree, -entryBytes(entry, index));
    }
    this.#count(tree, -threadBytes(thread.row));
    owner.threads.delete(threadId);
    tree.threads.delete(threadId);
    this.#threads -= 1;
    if (tree.threads.size > 0) return;
    owner.trees.delete(tree.id);
    this.#trees.delete(tree);
    if (owner.trees.size === 0) this.#tenants.delete(tenant);
  }

  recordsOf(tenant: string, conversationId: string): readonly string[] {
    const threads = this.#tenants.get(tenant)?.threads;
    // A record grew out of its conversation, so it is in that tree.
    return this.threadsOf(tenant, conversationId).filter(
      (id) => threads?.get(id)?.row.conversationId === conversationId,
    );
  }

  threadsOf(tenant: string, tree: string): readonly string[] {
    return [...(this.#tenants.get(tenant)?.trees.get(tree)?.threads ?? [])];
  }

  hasContent(tenant: string, tree: string): boolean {
    return (this.#tenants.get(tenant)?.trees.get(tree)?.contentful ?? 0) > 0;
  }

  lease(tenant: string, threadId: string): Lease | undefined {
    return this.#find(tenant, threadId)?.lease;
  }

  setLease(tenant: string, threadId: string, lease: Lease | undefined): void {
    const thread = this.#find(tenant, threadId);
    if (thread !== undefined) thread.lease = lease;
  }

  /** Keeps a thread's tree from being evicted until the returned function is called (R8). */
  hold(tenant: string, threadId: string): () => void {
    const thread = this.#find(tenant, threadId);
    const tree = thread === undefined ? undefined : this.#tenants.get(tenant)?.trees.get(thread.row.tree);
    if (tree === undefined) return () => undefined;
    let isHeld = true;
    tree.holds += 1;
    return () => {
      if (isHeld) tree.holds -= 1;
      isHeld = false;
    };
  }

  keepSecret(proposed: string): string {
    this.#secret ??= proposed;
    return this.#secret;
  }

  clear(): void {
    this.#tenants.clear();
    this.#trees.clear();
    this.#threads = 0;
    this.#bytes = 0;
  }

  *#walk(tenant: string, stretch: Stretch, order: Order): Iterable<EntryRow> {
    const entries = this.#find(tenant, stretch.threadId)?.entries;
    if (entries === undefined) return;
    const last = Math.min(stretch.to, entries.length - 1);
    for (let offset = 0; offset <= last - stretch.from; offset += 1) {
      const entry = entries[order === 'asc' ? stretch.from + offset : last - offset];
      if (entry?.itemsJson !== undefined) yield entry;
    }
  }

  #newest(tenant: string, itemId: string): EntryPlace | undefined {
    let found: EntryPlace | undefined;
    let newest = -1;
    for (const [threadId, places] of this.#tenants.get(tenant)?.items.get(itemId) ?? []) {
      for (const { position, isReference, sequence } of places) {
        if (isReference || sequence < newest) continue;
        newest = sequence;
        found = { threadId, position };
      }
    }
    return found;
  }

  #isTaken(tenant: string, entry: EntryRow): boolean {
    const responses = this.#tenants.get(tenant)?.responses;
    if (entry.responseId !== undefined && responses?.has(entry.responseId)) return true;
    return entry.position !== (this.#find(tenant, entry.threadId)?.entries.length ?? 0);
  }

  #addEntry(owner: Tenant, tree: Tree, entry: EntryRow, index: readonly IndexedItem[]): void {
    const { threadId, position } = entry;
    this.#sequence += 1;
    owner.threads.get(threadId)?.entries.push(entry);
    if (entry.responseId !== undefined) owner.responses.set(entry.responseId, { threadId, position });
    if (entry.itemsJson !== undefined) tree.contentful += 1;
    for (const { id, isReference } of index) {
      let threads = owner.items.get(id);
      if (threads === undefined) {
        threads = new Map();
        owner.items.set(id, threads);
      }
      threads.set(threadId, [...(threads.get(threadId) ?? []), { position, isReference, sequence: this.#sequence }]);
    }
  }

  /**
   * Evicts whole trees, least recently used first, until so much more fits (R8). What would not fit anyway costs nobody
   * else anything: the victims are chosen before the first goes.
   */
  #makeRoom(threads: number, bytes: number, own: Tree | undefined): void {
    if (threads === 0 && bytes <= 0) return;
    if (bytes + (own?.bytes ?? 0) > this.#limits.maxBytes) {
      throw new TooLargeForStore('The in-memory store could not hold this even if it held nothing else');
    }
    let threadsOver = this.#threads + threads - this.#limits.maxThreads;
    let bytesOver = this.#bytes + bytes - this.#limits.maxBytes;
    const victims: Tree[] = [];
    for (const tree of this.#trees) {
      if (threadsOver <= 0 && bytesOver <= 0) break;
      if (tree === own || tree.holds > 0 || this.#isLeased(tree)) continue;
      victims.push(tree);
      threadsOver -= tree.threads.size;
      bytesOver -= tree.bytes;
    }
    if (threadsOver > 0 || bytesOver > 0) {
      throw new StoreUnavailable('The in-memory store is full, and what is in it is in use');
    }
    for (const tree of victims) this.removeThreads(tree.tenant, [...tree.threads]);
  }

  #count(tree: Tree, bytes: number): void {
    tree.bytes += bytes;
    this.#bytes += bytes;
  }

  /** Only a conversation has a lease, and it is the root of its tree. */
  #isLeased(tree: Tree): boolean {
    const lease = this.#find(tree.tenant, tree.id)?.lease;
    return lease !== undefined && lease.expiresAt > this.#now();
  }

  #find(tenant: string, threadId: string): Thread | undefined {
    return this.#tenants.get(tenant)?.threads.get(threadId);
  }

  /** Finds a thread for somebody who uses it, and notes that its tree was used. */
  #used(tenant: string, threadId: string): Thread | undefined {
    const owner = this.#tenants.get(tenant);
    const thread = owner?.threads.get(threadId);
    const tree = thread === undefined ? undefined : owner?.trees.get(thread.row.tree);
    if (tree !== undefined) {
      this.#trees.delete(tree);
      this.#trees.add(tree);
    }
    return thread;
  }

  #tenant(tenant: string): Tenant {
    let owner = this.#tenants.get(tenant);
    if (owner === undefined) {
      owner = { threads: new Map(), trees: new Map(), responses: new Map(), items: new Map() };
      this.#tenants.set(tenant, owner);
    }
    return owner;
  }

  #tree(owner: Tenant, tenant: string, id: string): Tree {
    let tree = owner.trees.get(id);
    if (tree === undefined) {
      tree = { tenant, id, threads: new Set(), bytes: 0, holds: 0, contentful: 0 };
      owner.trees.set(id, tree);
      this.#trees.add(tree);
    }
    return tree;
  }
}

function threadBytes(row: ThreadRow): number {
  const ancestors = row.ancestors.reduce((sum, [threadId]) => sum + threadId.length + 64, 0);
  return threadOverheadBytes + row.id.length + Buffer.byteLength(row.metadataJson ?? '') + ancestors;
}

function entryBytes(entry: EntryRow, index: readonly IndexedItem[]): number {
  const texts = Buffer.byteLength(entry.itemsJson ?? '') + Buffer.byteLength(entry.responseJson ?? '');
  const lines = index.reduce((sum, { id }) => sum + id.length + indexOverheadBytes, 0);
  return entryOverheadBytes + texts + lines;
}

function unindex(owner: Tenant, itemId: string, entry: EntryRow): void {
  const threads = owner.items.get(itemId);
  const places = threads?.get(entry.threadId);
  if (threads === undefined || places === undefined) return;
  const kept = places.filter((place) => place.position !== entry.position);
  if (kept.length > 0) threads.set(entry.threadId, kept);
  else threads.delete(entry.threadId);
  if (threads.size === 0) owner.items.delete(itemId);
}
