import type { WriteRows } from '../rows.ts';
import { runSteps } from '../steps.ts';
import { applyWrite, type WriteOperation, type WriteResult } from '../writing.ts';
import { isThere } from './doubt.ts';
import { ConnectionLost, isDoubtful, Refusal } from './failures.ts';
import { keyOf, placeKeyOf } from './names.ts';
import type { Question, Result, Session } from './session.ts';
import type { Statements } from './statements.ts';
import { PgWriteRows } from './write-rows.ts';

function isAppended(result: WriteResult): boolean {
  return typeof result === 'object' && result.outcome === 'appended';
}

function isOfDatabase(error: unknown): boolean {
  return error instanceof Refusal || error instanceof ConnectionLost;
}

export type TransactionSetup = {
  readonly statements: Statements;
  /** Said at the begin of each transaction, where the connection itself can't be told. */
  readonly preamble: readonly Question[];
};

/** The shared rules in one transaction, over one connection. */
export class Transaction {
  readonly #setup: TransactionSetup;
  readonly #session: Session;
  readonly #deadlineMs: number;
  #hasBegun = false;
  /** Whatever its first step had to wait for, it has. */
  hasLocked = false;
  /** From here on the answer decides, or its loss leaves open. */
  mayBeCommitted = false;
  /** What was to be answered. */
  answer: { readonly result: WriteResult } | undefined;

  constructor(setup: TransactionSetup, session: Session, deadlineMs: number) {
    this.#setup = setup;
    this.#session = session;
    this.#deadlineMs = deadlineMs;
  }

  async run(operation: WriteOperation, isInDoubt: boolean): Promise<WriteResult> {
    const { statements } = this.#setup;
    const rows = new PgWriteRows(statements, (questions) => this.#ask(questions));
    await this.#lockTree(operation);
    const result = await this.#apply(rows, operation, isInDoubt);
    if (!this.#hasBegun) return result;
    this.answer = { result };
    this.mayBeCommitted = true;
    const { tag } = await this.#session.ask(statements.commit, [], this.#deadlineMs);
    this.#hasBegun = false;
    if (tag !== 'COMMIT') throw new Error(`A transaction ended with ${tag}`);
    return result;
  }

  async #apply(rows: WriteRows, operation: WriteOperation, isInDoubt: boolean): Promise<WriteResult> {
    try {
      const result = await runSteps(applyWrite(rows, operation));
      // The same turn may have been on its way twice: the one that waited for the other finds it now.
      if (result === 'lost') return await runSteps(applyWrite(rows, operation));
      const isRefused = operation.kind === 'append_items' && !isAppended(result);
      return isRefused && isInDoubt && (await isThere(rows, operation)) ? { outcome: 'appended' } : result;
    } catch (error) {
      const isTaken = operation.kind === 'create_conversation' && isInDoubt && !isOfDatabase(error);
      if (isTaken && (await isThere(rows, operation))) return undefined;
      throw error;
    }
  }

  async abandon(failure: unknown): Promise<void> {
    // One that was cancelled ends with its connection: behind a pooler a late request would meet whoever comes next.
    if (!this.#hasBegun || isDoubtful(failure) || !this.#session.isOpen || this.#session.isCancelled) return;
    await this.#session.ask(this.#setup.statements.rollback, [], this.#deadlineMs).catch(() => this.#session.destroy());
  }

  /** What deletes the last of a tree removes its rows: one at a time, or neither would find that it is the last. */
  async #lockTree(operation: WriteOperation): Promise<void> {
    const { lockTree, lockTreeOf } = this.#setup.statements;
    const tenant = keyOf(operation.tenant);
    if (operation.kind === 'delete_conversation') {
      await this.#ask([{ statement: lockTree, values: [tenant, placeKeyOf(operation.id)] }]);
    } else if (operation.kind === 'delete_response') {
      await this.#ask([{ statement: lockTreeOf, values: [tenant, placeKeyOf(operation.id)] }]);
    }
  }

  async #ask(questions: readonly Question[]): Promise<readonly Result[]> {
    if (this.#hasBegun) return this.#session.run(questions, this.#deadlineMs);
    this.#hasBegun = true;
    const { preamble, statements } = this.#setup;
    const opening = [{ statement: statements.begin, values: [] }, ...preamble];
    const results = await this.#session.run([...opening, ...questions], this.#deadlineMs);
    this.hasLocked = true;
    return results.slice(opening.length);
  }
}
