import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite';
import type { EntryPlace } from '../../store.ts';
import { indexOf } from '../entry-items.ts';
import { joinAncestors } from '../lineage.ts';
import type {
  Ancestor,
  Chunk,
  EntryRow,
  IndexedItem,
  Lease,
  Order,
  ReadRows,
  Stretch,
  ThreadHead,
  ThreadKind,
  ThreadRow,
  TurnRow,
  WriteRows,
} from '../rows.ts';

type Columns = Record<string, SQLOutputValue>;

/** What a chunk of entries may hold before it ends: whoever reads on asks for the next. */
const maxChunkChars = 8 * 1024 * 1024;

/** Prepared once per connection and text. The texts are constants: values are always bound. */
class Statements {
  readonly #database: DatabaseSync;
  readonly #prepared = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get(sql: string): StatementSync {
    let statement = this.#prepared.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#prepared.set(sql, statement);
    }
    return statement;
  }
}

const entryColumns =
  'thread, position, tree, is_turn, response_id, status, response, items, input_count, text_bytes, has_references, user, created_at';

const walkFrom = `SELECT ${entryColumns} FROM entries INDEXED BY entries_with_items
  WHERE tenant = ? AND tree = ? AND thread = ? AND position BETWEEN ? AND ? AND items IS NOT NULL`;

const sql = {
  thread: `SELECT id, kind, tree, ancestors, continues, conversation_id, metadata, user, created_at
    FROM threads WHERE tenant = ? AND id = ?`,
  entry: `SELECT ${entryColumns} FROM entries WHERE tenant = ? AND thread = ? AND position = ?`,
  entryOfResponse: `SELECT ${entryColumns} FROM entries WHERE tenant = ? AND response_id = ?`,
  head: 'SELECT position FROM entries WHERE tenant = ? AND thread = ? ORDER BY position DESC LIMIT 1',
  walkUp: `${walkFrom} ORDER BY position`,
  walkDown: `${walkFrom} ORDER BY position DESC`,
  positions: 'SELECT DISTINCT position FROM items WHERE tenant = ? AND id = ? AND thread = ? ORDER BY position DESC',
  isIn: 'SELECT 1 FROM items WHERE tenant = ? AND id = ? AND thread = ? LIMIT 1',
  newest: `SELECT thread, position FROM items INDEXED BY items_newest
    WHERE tenant = ? AND id = ? AND is_reference = 0 ORDER BY sequence DESC LIMIT 1`,
  insertThread: `INSERT INTO threads
    (tenant, id, kind, tree, ancestors, continues, conversation_id, metadata, user, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  insertEntry: `INSERT INTO entries
    (tenant, thread, position, tree, is_turn, response_id, status, response, items, input_count, text_bytes,
     has_references, user, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  insertItem: 'INSERT INTO items VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  setMetadata: 'UPDATE threads SET metadata = ? WHERE tenant = ? AND id = ?',
  replaceEntry: `UPDATE entries SET response_id = ?, status = ?, response = ?, items = ?, input_count = ?,
    text_bytes = ?, has_references = ?, user = ? WHERE tenant = ? AND thread = ? AND position = ?`,
  deleteItem: 'DELETE FROM items WHERE tenant = ? AND id = ? AND thread = ? AND position = ? AND is_reference = ?',
  deleteEntries: 'DELETE FROM entries WHERE tenant = ? AND thread = ?',
  deleteThread: 'DELETE FROM threads WHERE tenant = ? AND id = ?',
  records: 'SELECT id FROM threads WHERE tenant = ? AND conversation_id = ?',
  threadsOfTree: 'SELECT id FROM threads WHERE tenant = ? AND tree = ?',
  content: `SELECT 1 FROM entries INDEXED BY entries_with_items
    WHERE tenant = ? AND tree = ? AND items IS NOT NULL LIMIT 1`,
  lease: 'SELECT holder, expires_at FROM leases WHERE tenant = ? AND thread = ?',
  setLease: `INSERT INTO leases VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at`,
  deleteLease: 'DELETE FROM leases WHERE tenant = ? AND thread = ?',
  keepSecret: "INSERT INTO named_values VALUES ('secret', ?) ON CONFLICT DO NOTHING",
  secret: "SELECT value FROM named_values WHERE name = 'secret'",
} as const;

export class SqliteReadRows implements ReadRows {
  protected readonly statements: Statements;

  constructor(database: DatabaseSync) {
    this.statements = new Statements(database);
  }

  thread(tenant: string, id: string): ThreadRow | undefined {
    const columns = this.statements.get(sql.thread).get(tenant, id);
    return columns === undefined ? undefined : asThread(columns);
  }

  threadHead(tenant: string, id: string): ThreadHead | undefined {
    const thread = this.thread(tenant, id);
    if (thread === undefined) return undefined;
    const newest = this.statements.get(sql.head).get(tenant, id);
    return { thread, head: newest === undefined ? -1 : Number(newest['position']) };
  }

  entries(tenant: string, places: readonly EntryPlace[]): readonly (EntryRow | undefined)[] {
    const found: (EntryRow | undefined)[] = [];
    let chars = 0;
    for (const { threadId, position } of places) {
      const entry = this.entry(tenant, threadId, position);
      found.push(entry);
      chars += entry?.itemsJson?.length ?? 0;
      if (chars > maxChunkChars) break;
    }
    return found;
  }

  entryOfResponse(tenant: string, responseId: string): EntryRow | undefined {
    const columns = this.statements.get(sql.entryOfResponse).get(tenant, responseId);
    return columns === undefined ? undefined : asEntry(columns);
  }

  turn(tenant: string, responseId: string): TurnRow | undefined {
    const entry = this.entryOfResponse(tenant, responseId);
    const thread = entry === undefined ? undefined : this.thread(tenant, entry.threadId);
    return entry === undefined || thread === undefined ? undefined : { entry, thread };
  }

  ancestors(tenant: string, thread: ThreadRow): readonly Ancestor[] {
    return joinAncestors(thread, (id) => this.thread(tenant, id));
  }

  chunk(tenant: string, stretches: readonly Stretch[], order: Order, wanted: number): Chunk {
    const entries: EntryRow[] = [];
    let chars = 0;
    for (const stretch of stretches) {
      for (const entry of this.walk(tenant, stretch, order)) {
        if (entries.length >= wanted || chars > maxChunkChars) return { entries, isLast: false, provesThreads: true };
        entries.push(entry);
        chars += entry.itemsJson?.length ?? 0;
      }
    }
    return { entries, isLast: true, provesThreads: true };
  }

  entriesWith(tenant: string, itemId: string, threadIds: readonly string[]): readonly EntryRow[] {
    return threadIds.flatMap((threadId) =>
      this.statements
        .get(sql.positions)
        .all(tenant, itemId, threadId)
        .map((columns) => this.entry(tenant, threadId, Number(columns['position'])))
        .filter((entry) => entry !== undefined),
    );
  }

  newest(tenant: string, itemIds: readonly string[]): ReadonlyMap<string, EntryPlace> {
    const found = new Map<string, EntryPlace>();
    for (const itemId of itemIds) {
      const columns = this.statements.get(sql.newest).get(tenant, itemId);
      if (columns === undefined) continue;
      found.set(itemId, { threadId: String(columns['thread']), position: Number(columns['position']) });
    }
    return found;
  }

  protected entry(tenant: string, threadId: string, position: number): EntryRow | undefined {
    const columns = this.statements.get(sql.entry).get(tenant, threadId, position);
    return columns === undefined ? undefined : asEntry(columns);
  }

  protected *walk(tenant: string, stretch: Stretch, order: Order): Iterable<EntryRow> {
    const statement = this.statements.get(order === 'asc' ? sql.walkUp : sql.walkDown);
    const { tree, threadId, from, to } = stretch;
    for (const columns of statement.iterate(tenant, tree, threadId, from, to)) yield asEntry(columns);
  }
}

/** Expects a transaction around each operation: what a failure leaves half done is rolled back. */
export class SqliteRows extends SqliteReadRows implements WriteRows {
  idsIn(tenant: string, threadId: string, itemIds: readonly string[]): ReadonlySet<string> {
    const isIn = this.statements.get(sql.isIn);
    return new Set(itemIds.filter((id) => isIn.get(tenant, id, threadId) !== undefined));
  }

  append(
    tenant: string,
    thread: ThreadRow | undefined,
    entry: EntryRow | undefined,
    index: readonly IndexedItem[],
  ): boolean {
    if (thread !== undefined && !this.#insertThread(tenant, thread)) return false;
    if (entry === undefined) return true;
    const sequence = this.#insertEntry(tenant, entry);
    if (sequence === undefined) {
      if (thread !== undefined) this.statements.get(sql.deleteThread).run(tenant, thread.id);
      return false;
    }
    const insert = this.statements.get(sql.insertItem);
    for (const { id, isReference } of index) {
      insert.run(tenant, id, entry.threadId, entry.position, Number(isReference), sequence);
    }
    return true;
  }

  setMetadata(tenant: string, threadId: string, metadataJson: string): void {
    this.statements.get(sql.setMetadata).run(metadataJson, tenant, threadId);
  }

  replaceEntry(tenant: string, entry: EntryRow, removed: readonly IndexedItem[]): void {
    this.#unindex(tenant, entry, removed);
    this.statements
      .get(sql.replaceEntry)
      .run(
        entry.responseId ?? null,
        entry.status ?? null,
        entry.responseJson ?? null,
        entry.itemsJson ?? null,
        entry.inputCount,
        entry.textBytes,
        Number(entry.hasReferences),
        entry.user ?? null,
        tenant,
        entry.threadId,
        entry.position,
      );
  }

  removeThreads(tenant: string, threadIds: readonly string[]): void {
    for (const threadId of threadIds) this.#removeThread(tenant, threadId);
  }

  #removeThread(tenant: string, threadId: string): void {
    const row = this.thread(tenant, threadId);
    if (row === undefined) return;
    const all = { threadId, tree: row.tree, from: 0, to: Number.MAX_SAFE_INTEGER, inputOnly: false };
    for (const entry of this.walk(tenant, all, 'asc')) this.#unindex(tenant, entry, indexOf(entry));
    this.statements.get(sql.deleteEntries).run(tenant, threadId);
    this.statements.get(sql.deleteLease).run(tenant, threadId);
    this.statements.get(sql.deleteThread).run(tenant, threadId);
  }

  recordsOf(tenant: string, conversationId: string): readonly string[] {
    return this.statements
      .get(sql.records)
      .all(tenant, conversationId)
      .map((columns) => String(columns['id']));
  }

  threadsOf(tenant: string, tree: string): readonly string[] {
    return this.statements
      .get(sql.threadsOfTree)
      .all(tenant, tree)
      .map((columns) => String(columns['id']));
  }

  hasContent(tenant: string, tree: string): boolean {
    return this.statements.get(sql.content).get(tenant, tree) !== undefined;
  }

  lease(tenant: string, threadId: string): Lease | undefined {
    const columns = this.statements.get(sql.lease).get(tenant, threadId);
    if (columns === undefined) return undefined;
    return { holder: String(columns['holder']), expiresAt: Number(columns['expires_at']) };
  }

  setLease(tenant: string, threadId: string, lease: Lease | undefined): void {
    if (lease === undefined) this.statements.get(sql.deleteLease).run(tenant, threadId);
    else this.statements.get(sql.setLease).run(tenant, threadId, lease.holder, lease.expiresAt);
  }

  keepSecret(proposed: string): string {
    this.statements.get(sql.keepSecret).run(proposed);
    return String(this.statements.get(sql.secret).get()?.['value']);
  }

  #insertThread(tenant: string, row: ThreadRow): boolean {
    const { changes } = this.statements
      .get(sql.insertThread)
      .run(
        tenant,
        row.id,
        row.kind,
        row.tree,
        JSON.stringify(row.ancestors),
        row.continues ?? null,
        row.conversationId ?? null,
        row.metadataJson ?? null,
        row.user?.toWellFormed() ?? null,
        row.createdAt,
      );
    return changes === 1;
  }

  #insertEntry(tenant: string, row: EntryRow): number | bigint | undefined {
    const { changes, lastInsertRowid } = this.statements
      .get(sql.insertEntry)
      .run(
        tenant,
        row.threadId,
        row.position,
        row.tree,
        Number(row.isTurn),
        row.responseId ?? null,
        row.status ?? null,
        row.responseJson ?? null,
        row.itemsJson ?? null,
        row.inputCount,
        row.textBytes,
        Number(row.hasReferences),
        row.user ?? null,
        row.createdAt,
      );
    return changes === 1 ? lastInsertRowid : undefined;
  }

  #unindex(tenant: string, entry: EntryRow, items: readonly IndexedItem[]): void {
    const remove = this.statements.get(sql.deleteItem);
    for (const { id, isReference } of items) {
      remove.run(tenant, id, entry.threadId, entry.position, Number(isReference));
    }
  }
}

function asThread(columns: Columns): ThreadRow {
  return {
    id: String(columns['id']),
    kind: String(columns['kind']) as ThreadKind,
    tree: String(columns['tree']),
    ancestors: JSON.parse(String(columns['ancestors'])) as Ancestor[],
    continues: text(columns['continues']),
    conversationId: text(columns['conversation_id']),
    metadataJson: text(columns['metadata']),
    user: text(columns['user']),
    createdAt: Number(columns['created_at']),
  };
}

function asEntry(columns: Columns): EntryRow {
  return {
    threadId: String(columns['thread']),
    position: Number(columns['position']),
    tree: String(columns['tree']),
    isTurn: columns['is_turn'] === 1,
    responseId: text(columns['response_id']),
    status: text(columns['status']),
    responseJson: text(columns['response']),
    itemsJson: text(columns['items']),
    inputCount: Number(columns['input_count']),
    textBytes: Number(columns['text_bytes']),
    hasReferences: columns['has_references'] === 1,
    user: text(columns['user']),
    createdAt: Number(columns['created_at']),
  };
}

function text(value: SQLOutputValue | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
