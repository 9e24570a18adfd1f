import type { WriteRows } from '../rows.ts';
import { runSteps } from '../steps.ts';
import { applyWrite, type WriteOperation, type WriteResult } from '../writing.ts';
import { isThere, settled } from './doubt.ts';
import { ConnectionLost, isDoubtful, isPassing, Refusal, tooSlow } from './failures.ts';
import { keyOf, placeKeyOf } from './names.ts';
import type { Pool } from './pool.ts';
import type { Question, Result, Session } from './session.ts';
import type { Statements } from './statements.ts';
import { PgWriteRows } from './write-rows.ts';

const maxAttempts = 8;
const maxPauseMs = 25;

/** What an earlier attempt would have answered, which may have been committed. */
type Doubt = { readonly result: WriteResult } | undefined;

export type LongWay = {
  readonly pool: Pool;
  readonly statements: Statements;
  /** Said at the begin of each transaction, where the connection itself can't be told. */
  readonly preamble: readonly Question[];
};

/**
 * The way of a change that needs to look around: the shared rules in one transaction. What came between is tried again,
 * and so is a commit whose answer was lost, because each rule finds out first what there is.
 *
 * @param wasTried an attempt on the fast way may have been committed.
 */
export async function goLongWay(
  way: LongWay,
  operation: WriteOperation,
  deadlineMs: number,
  wasTried: boolean,
): Promise<WriteResult> {
  let isPatient = wasTried;
  let doubt: Doubt;
  for (let attempt = 1; ; attempt += 1) {
    const session = await way.pool.acquire(deadlineMs, isPatient);
    const transaction = new Transaction(way, session, deadlineMs);
    let failure: unknown;
    try {
      const result = await transaction.run(operation, isPatient);
      return doubt === undefined ? result : settled(operation.kind, doubt.result, result);
    } catch (error) {
      failure = error;
      await transaction.abandon(error);
    } finally {
      way.pool.release(session, failure);
    }
    if (performance.now() >= deadlineMs) throw tooSlow();
    if (isDoubtful(failure) && transaction.mayBeCommitted) {
      isPatient = true;
      doubt ??= transaction.answer;
    }
    const isOver = failure instanceof ConnectionLost || isDoubtful(failure) || isPassing(failure);
    if (!isOver || attempt >= maxAttempts) throw failure;
    await pause(attempt);
  }
}

function pause(attempt: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(maxPauseMs, 2 ** attempt)));
}

function isAppended(result: WriteResult): boolean {
  return typeof result === 'object' && result.outcome === 'appended';
}

function isOfDatabase(error: unknown): boolean {
  return error instanceof Refusal || error instanceof ConnectionLost;
}

class Transaction {
  readonly #way: LongWay;
  readonly #session: Session;
  readonly #deadlineMs: number;
  #hasBegun = false;
  /** From here on the answer decides, or its loss leaves open. */
  mayBeCommitted = false;
  answer: Doubt;

  constructor(way: LongWay, session: Session, deadlineMs: number) {
    this.#way = way;
    this.#session = session;
    this.#deadlineMs = deadlineMs;
  }

  async run(operation: WriteOperation, isInDoubt: boolean): Promise<WriteResult> {
    const { statements } = this.#way;
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
    if (!this.#hasBegun || isDoubtful(failure) || !this.#session.isOpen) return;
    await this.#session.ask(this.#way.statements.rollback, [], this.#deadlineMs).catch(() => this.#session.destroy());
  }

  /** What deletes the last of a tree removes its rows: one at a time, or neither would find that it is the last. */
  async #lockTree(operation: WriteOperation): Promise<void> {
    const { lockTree, lockTreeOf } = this.#way.statements;
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
    const { preamble, statements } = this.#way;
    const opening = [{ statement: statements.begin, values: [] }, ...preamble];
    return (await this.#session.run([...opening, ...questions], this.#deadlineMs)).slice(opening.length);
  }
}
