import type { EntryPlace } from '../../store.ts';
import { joinAncestors } from '../lineage.ts';
import type { Ancestor, Chunk, EntryRow, Order, ReadRows, Stretch, ThreadHead, ThreadRow, TurnRow } from '../rows.ts';
import { asEntry, asThread } from './decode.ts';
import { decodeText, keyOf, placeKeyOf, plainArray, textArray } from './names.ts';
import type { Row, Statement, Value } from './session.ts';
import { entryWidth, type Statements, threadWidth } from './statements.ts';

/** What one answer may hold at most; whoever reads on asks for the next. */
const maxRows = 4_096;
const maxBytes = 16 * 1024 * 1024;
const maxStretches = 512;
const maxNames = 1_000;

/**
 * Reading, one question at a time, each on whatever connection is free. It needs no transaction: entries are only added
 * and emptied, a head is read before the entries up to it, and whether a thread was removed meanwhile is asked at the end
 * (`reading.ts`).
 */
export class PgReadRows implements ReadRows {
  protected readonly statements: Statements;
  readonly #ask: (statement: Statement, values: readonly Value[]) => Promise<readonly Row[]>;

  constructor(
    statements: Statements,
    ask: (statement: Statement, values: readonly Value[]) => Promise<readonly Row[]>,
  ) {
    this.statements = statements;
    this.#ask = ask;
  }

  protected ask(statement: Statement, values: readonly Value[]): Promise<readonly Row[]> {
    return this.#ask(statement, values);
  }

  async thread(tenant: string, id: string): Promise<ThreadRow | undefined> {
    const [row] = await this.ask(this.statements.readThread, [keyOf(tenant), placeKeyOf(id)]);
    return row === undefined ? undefined : asThread(row);
  }

  async threadHead(tenant: string, id: string): Promise<ThreadHead | undefined> {
    const [row] = await this.ask(this.statements.readHead, [keyOf(tenant), placeKeyOf(id)]);
    return row === undefined ? undefined : { thread: asThread(row), head: Number(row[threadWidth] ?? -1) };
  }

  async entries(tenant: string, places: readonly EntryPlace[]): Promise<readonly (EntryRow | undefined)[]> {
    const [first, ...others] = places;
    if (first === undefined) return [];
    if (others.length === 0) {
      const values = [keyOf(tenant), placeKeyOf(first.threadId), String(first.position)];
      const [row] = await this.ask(this.statements.readEntry, values);
      return [row === undefined ? undefined : asEntry(row)];
    }
    const threads = textArray(places.map(({ threadId }) => placeKeyOf(threadId)));
    const positions = plainArray(places.map(({ position }) => position));
    const rows = await this.ask(this.statements.readEntries, [keyOf(tenant), threads, positions, String(maxBytes)]);
    const found: (EntryRow | undefined)[] = places.map(() => undefined);
    for (const row of rows) found[Number(row[entryWidth]) - 1] = asEntry(row);
    // What was not answered for its size lies behind the last row.
    return bytesOf(found) < maxBytes ? found : found.slice(0, Number(rows.at(-1)?.[entryWidth]));
  }

  async entryOfResponse(tenant: string, responseId: string): Promise<EntryRow | undefined> {
    const [row] = await this.ask(this.statements.entryOfResponse, [keyOf(tenant), placeKeyOf(responseId)]);
    return row === undefined ? undefined : asEntry(row);
  }

  async turn(tenant: string, responseId: string): Promise<TurnRow | undefined> {
    const [row] = await this.ask(this.statements.turn, [keyOf(tenant), placeKeyOf(responseId)]);
    return row === undefined ? undefined : { entry: asEntry(row), thread: asThread(row, entryWidth) };
  }

  async ancestors(tenant: string, thread: ThreadRow): Promise<readonly Ancestor[]> {
    const above = new Map<string, ThreadRow>();
    for (let next = thread.continues; next !== undefined && !above.has(next); ) {
      const values = [keyOf(tenant), placeKeyOf(next), String(maxNames)];
      const rows = await this.ask(this.statements.ancestors, values);
      next = undefined;
      for (const row of rows) {
        const id = decodeText(row[0] ?? '');
        const continues = row[2] == null ? undefined : decodeText(row[2]);
        above.set(id, { ...thread, id, ancestors: JSON.parse(row[1] ?? '[]') as Ancestor[], continues });
        next = continues;
      }
    }
    return joinAncestors(thread, (id) => above.get(id));
  }

  async chunk(tenant: string, stretches: readonly Stretch[], order: Order, wanted: number): Promise<Chunk> {
    const limit = Math.min(Math.max(1, wanted), maxRows);
    // Most stretches hold something: of a long list of them a short page needs the first few.
    const size = Math.min(maxStretches, Math.max(16, 2 * limit));
    for (let at = 0; at < stretches.length; at += size) {
      const some = stretches.slice(at, at + size);
      const rows = await this.#walk(tenant, some, order, limit);
      const entries = rows.map((row) => asEntry(row));
      const isWhole = entries.length < limit && bytesOf(entries) < maxBytes;
      const isLast = isWhole && at + size >= stretches.length;
      if (entries.length > 0) return { entries, isLast, provesThreads: true };
    }
    return { entries: [], isLast: true, provesThreads: false };
  }

  #walk(tenant: string, stretches: readonly Stretch[], order: Order, limit: number): Promise<readonly Row[]> {
    const isUp = order === 'asc';
    const common = [keyOf(tenant), String(limit), String(maxBytes)];
    const [first, ...others] = stretches;
    if (first !== undefined && others.length === 0) {
      const statement = isUp ? this.statements.stretchUp : this.statements.stretchDown;
      const { tree, threadId, from, to } = first;
      return this.ask(statement, [...common, placeKeyOf(tree), placeKeyOf(threadId), String(from), String(to)]);
    }
    return this.ask(isUp ? this.statements.stretchesUp : this.statements.stretchesDown, [
      ...common,
      textArray(stretches.map(({ tree }) => placeKeyOf(tree))),
      textArray(stretches.map(({ threadId }) => placeKeyOf(threadId))),
      plainArray(stretches.map(({ from }) => from)),
      plainArray(stretches.map(({ to }) => to)),
    ]);
  }

  async entriesWith(tenant: string, itemId: string, threadIds: readonly string[]): Promise<readonly EntryRow[]> {
    const found: EntryRow[] = [];
    const threads = textArray(threadIds.map((id) => placeKeyOf(id)));
    for (;;) {
      const page = [String(maxNames), String(found.length)];
      const rows = await this.ask(this.statements.entriesWith, [keyOf(tenant), keyOf(itemId), threads, ...page]);
      found.push(...rows.map((row) => asEntry(row)));
      if (rows.length < maxNames) return found;
    }
  }

  async newest(tenant: string, itemIds: readonly string[]): Promise<ReadonlyMap<string, EntryPlace>> {
    const found = new Map<string, EntryPlace>();
    for (let at = 0; at < itemIds.length; at += maxNames) {
      const some = itemIds.slice(at, at + maxNames);
      const rows = await this.ask(this.statements.newest, [keyOf(tenant), textArray(some.map((id) => keyOf(id)))]);
      for (const [number, threadId, position] of rows) {
        const id = some[Number(number) - 1];
        if (id !== undefined) found.set(id, { threadId: decodeText(threadId ?? ''), position: Number(position) });
      }
    }
    return found;
  }
}

function bytesOf(entries: readonly (EntryRow | undefined)[]): number {
  return entries.reduce((sum, entry) => sum + Buffer.byteLength(entry?.itemsJson ?? ''), 0);
}
