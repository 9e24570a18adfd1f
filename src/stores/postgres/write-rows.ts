import { indexOf } from '../entry-items.ts';
import type { EntryRow, IndexedItem, Lease, ThreadHead, ThreadRow, TurnRow, WriteRows } from '../rows.ts';
import { asEntry, asThread, entryValues, textOrNull, threadValues } from './decode.ts';
import { unavailable } from './failures.ts';
import { decodeText, encodeText, keyOf, placeKeyOf, textArray } from './names.ts';
import { PgReadRows } from './read-rows.ts';
import type { Question, Result, Row } from './session.ts';
import { entryWidth, type Statements, threadWidth } from './statements.ts';

/** What one round trip removes. */
const maxThreads = 100;

/** Asks within one transaction. */
export type AskTogether = (questions: readonly Question[]) => Promise<readonly Result[]>;

/**
 * Writing within one transaction. Whatever names a thread first locks its row and keeps it locked, so that changes of
 * one thread go one after the other; what is read of a locked thread is asked by a statement of its own, because a
 * statement does not see what was committed while it waited for a lock.
 */
export class PgWriteRows extends PgReadRows implements WriteRows {
  readonly #together: AskTogether;
  /** Of the threads that were locked: nobody else can change it meanwhile. */
  readonly #leases = new Map<string, Lease | undefined>();

  constructor(statements: Statements, together: AskTogether) {
    super(statements, async (statement, values) => (await together([{ statement, values }]))[0]?.rows ?? []);
    this.#together = together;
  }

  override async thread(tenant: string, id: string): Promise<ThreadRow | undefined> {
    const [row] = await this.ask(this.statements.lockThread, [keyOf(tenant), placeKeyOf(id)]);
    return this.#locked(id, row);
  }

  override async threadHead(tenant: string, id: string): Promise<ThreadHead | undefined> {
    const values = [keyOf(tenant), placeKeyOf(id)];
    const [found, newest] = await this.#together([
      { statement: this.statements.lockThread, values },
      { statement: this.statements.head, values },
    ]);
    const thread = this.#locked(id, found?.rows[0]);
    return thread === undefined ? undefined : { thread, head: Number(newest?.rows[0]?.[0] ?? -1) };
  }

  override async turn(tenant: string, responseId: string): Promise<TurnRow | undefined> {
    const values = [keyOf(tenant), placeKeyOf(responseId)];
    const [, found] = await this.#together([
      { statement: this.statements.lockThreadOf, values },
      { statement: this.statements.turn, values },
    ]);
    const row = found?.rows[0];
    return row === undefined ? undefined : { entry: asEntry(row), thread: asThread(row, entryWidth) };
  }

  async idsIn(tenant: string, threadId: string, itemIds: readonly string[]): Promise<ReadonlySet<string>> {
    const keys = itemIds.map((id) => keyOf(id));
    const rows = await this.ask(this.statements.idsIn, [keyOf(tenant), placeKeyOf(threadId), textArray(keys)]);
    const there = new Set(rows.map(([key]) => key));
    return new Set(itemIds.filter((_, at) => there.has(keys[at] ?? '')));
  }

  async append(
    tenant: string,
    thread: ThreadRow | undefined,
    entry: EntryRow | undefined,
    index: readonly IndexedItem[],
  ): Promise<boolean> {
    const question = appendQuestion(this.statements, tenant, thread, entry, index);
    if (question === undefined) return true;
    const [result] = await this.#together([question]);
    // A thread alone answers with no row, but counts.
    return result !== undefined && (result.rows.length > 0 || result.tag === 'INSERT 0 1');
  }

  async setMetadata(tenant: string, threadId: string, metadataJson: string): Promise<void> {
    await this.ask(this.statements.setMetadata, [keyOf(tenant), placeKeyOf(threadId), metadataJson]);
  }

  async replaceEntry(tenant: string, entry: EntryRow, removed: readonly IndexedItem[]): Promise<void> {
    const place = [keyOf(tenant), placeKeyOf(entry.threadId), String(entry.position)];
    const [responseId, status, inputCount, textBytes, hasReferences, user, , items, response, itemIds] = entryValues(
      entry,
      indexOf(entry),
    );
    const fields = [responseId, status, inputCount, textBytes, hasReferences, user, items, response, itemIds];
    const questions: Question[] = [
      { statement: this.statements.replaceEntry, values: [...place, ...fields.map((value) => value ?? null)] },
    ];
    if (removed.length > 0) {
      const keys = textArray(removed.map(({ id }) => keyOf(id)));
      questions.push({ statement: this.statements.unindex, values: [...place, keys] });
    }
    await this.#together(questions);
  }

  async removeThreads(tenant: string, threadIds: readonly string[]): Promise<void> {
    const { removeItems, removeEntries, removeThread } = this.statements;
    for (let at = 0; at < threadIds.length; at += maxThreads) {
      const questions = threadIds.slice(at, at + maxThreads).flatMap((id) => {
        const values = [keyOf(tenant), placeKeyOf(id)];
        return [removeItems, removeEntries, removeThread].map((statement) => ({ statement, values }));
      });
      await this.#together(questions);
    }
  }

  async recordsOf(tenant: string, conversationId: string): Promise<readonly string[]> {
    return namesOf(await this.ask(this.statements.records, [keyOf(tenant), placeKeyOf(conversationId)]));
  }

  /** Locked, all of them, in the same order for everybody. */
  async threadsOf(tenant: string, tree: string): Promise<readonly string[]> {
    const values = [keyOf(tenant), placeKeyOf(tree)];
    const [root, forks] = await this.#together([
      { statement: this.statements.lockThread, values },
      { statement: this.statements.lockForks, values },
    ]);
    return [...namesOf(root?.rows ?? []), ...namesOf(forks?.rows ?? [])];
  }

  async hasContent(tenant: string, tree: string): Promise<boolean> {
    return (await this.ask(this.statements.content, [keyOf(tenant), placeKeyOf(tree)])).length > 0;
  }

  /** Every rule that asks has the thread locked by then. */
  async lease(tenant: string, threadId: string): Promise<Lease | undefined> {
    if (!this.#leases.has(threadId)) await this.thread(tenant, threadId);
    return this.#leases.get(threadId);
  }

  async setLease(tenant: string, threadId: string, lease: Lease | undefined): Promise<void> {
    this.#leases.set(threadId, lease);
    const fields = [textOrNull(lease?.holder), lease === undefined ? null : String(lease.expiresAt)];
    await this.ask(this.statements.setLease, [keyOf(tenant), placeKeyOf(threadId), ...fields]);
  }

  async keepSecret(proposed: string): Promise<string> {
    const { secret, keepSecret } = this.statements;
    // Most often it is there: then nothing is written, which a database that can only be read would refuse.
    let [row] = await this.ask(secret, []);
    if (row === undefined) {
      const insert = { statement: keepSecret, values: [encodeText(proposed)] };
      const [, kept] = await this.#together([insert, { statement: secret, values: [] }]);
      row = kept?.rows[0];
    }
    // It was removed between the two: somebody is emptying the table.
    if (row === undefined) throw unavailable('the secret did not stay');
    return decodeText(row[0] ?? '');
  }

  #locked(id: string, row: Row | undefined): ThreadRow | undefined {
    if (row === undefined) return undefined;
    const holder = row[threadWidth];
    const expiresAt = Number(row[threadWidth + 1]);
    this.#leases.set(id, holder == null ? undefined : { holder: decodeText(holder), expiresAt });
    return asThread(row);
  }
}

/** The one statement that adds a thread, an entry, or both; undefined where there is neither. */
export function appendQuestion(
  statements: Statements,
  tenant: string,
  thread: ThreadRow | undefined,
  entry: EntryRow | undefined,
  index: readonly IndexedItem[],
): Question | undefined {
  if (thread !== undefined) {
    const values = threadValues(tenant, thread);
    if (entry === undefined) return { statement: statements.thread, values };
    const all = [...values, entry.isTurn ? 't' : 'f', ...entryValues(entry, index)];
    return { statement: statements.threadAndEntry, values: all };
  }
  if (entry === undefined) return undefined;
  const place = [keyOf(tenant), placeKeyOf(entry.threadId), String(entry.position), placeKeyOf(entry.tree)];
  return {
    statement: statements.entry,
    values: [...place, entry.isTurn ? 't' : 'f', ...entryValues(entry, index)],
  };
}

function namesOf(rows: readonly Row[]): string[] {
  return rows.map(([id]) => decodeText(id ?? ''));
}
