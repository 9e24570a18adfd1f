import { waitingBytes } from '../waiting-bytes.ts';
import type { WriteOperation, WriteResult } from '../writing.ts';
import { settled } from './doubt.ts';
import { ConnectionLost, isDoubtful, isPassing, tooSlow, unavailable } from './failures.ts';
import type { Pool } from './pool.ts';
import type { Session } from './session.ts';
import { Transaction, type TransactionSetup } from './transaction.ts';

const maxAttempts = 8;
const maxPauseMs = 25;
/** Texts of all changes that are on this way, waiting or not. */
const maxBytes = 256 * 1024 * 1024;
/** How long a deletion may take, however long its caller waits. */
const deletionTimeoutMs = 15 * 60_000;
/** How long the server may take to let go of one that is broken off. */
const breakOffTimeoutMs = 5_000;
/** Decided before the caller is told: who comes again at once should find it decided. */
const headStartMs = 20;

export type LongWaySetup = TransactionSetup & { readonly pool: Pool };

/**
 * The way of a change that needs to look around: the shared rules in one transaction. What came between is tried again,
 * and so is a commit whose answer was lost, because each rule finds out first what there is.
 *
 * A deletion may be of any size, and has to be whole. If it ended with its caller's time, what is too large to be
 * deleted within it could never be deleted. So once it has its locks it goes on: the caller is told in time to come
 * again, who comes meanwhile is told the same, and who comes afterwards finds it done. Its connection no longer counts
 * among those of the pool; a few deletions may do so at once, and the others are broken off: the server is told to stop,
 * and until it has, their connections count.
 */
export class LongWay {
  readonly #setup: LongWaySetup;
  #bytes = 0;
  /** What the deletions that have outlasted their callers are about. */
  readonly #late = new Set<string>();

  constructor(setup: LongWaySetup) {
    this.#setup = setup;
  }

  /** @param wasTried an attempt on the fast way may have been committed. */
  async go(operation: WriteOperation, deadlineMs: number, wasTried: boolean): Promise<WriteResult> {
    const bytes = waitingBytes(operation);
    if (this.#bytes > 0 && this.#bytes + bytes > maxBytes) throw unavailable('too much is waiting to be written');
    this.#bytes += bytes;
    try {
      return await this.#insist(operation, deadlineMs, wasTried);
    } finally {
      this.#bytes -= bytes;
    }
  }

  async #insist(operation: WriteOperation, deadlineMs: number, wasTried: boolean): Promise<WriteResult> {
    const { pool } = this.#setup;
    const subject = subjectOf(operation);
    let isPatient = wasTried;
    /** What an earlier attempt would have answered, which may have been committed. */
    let doubt: Transaction['answer'];
    for (let attempt = 1; ; attempt += 1) {
      // It would wait for a lock, and keep a connection from others meanwhile.
      if (this.#late.has(subject)) throw unavailable('what this is about is being deleted');
      const session = await pool.acquire(deadlineMs, isPatient);
      const { transaction, end } = this.#begin(operation, session, deadlineMs);
      let failure: unknown;
      try {
        const result = await transaction.run(operation, isPatient);
        return doubt === undefined ? result : settled(operation.kind, doubt.result, result);
      } catch (error) {
        failure = error;
        await transaction.abandon(error);
      } finally {
        end();
        pool.release(session, failure);
      }
      if (session.isCancelled || performance.now() >= deadlineMs) throw tooSlow();
      if (isDoubtful(failure) && transaction.mayBeCommitted) {
        isPatient = true;
        doubt ??= transaction.answer;
      }
      const isOver = failure instanceof ConnectionLost || isDoubtful(failure) || isPassing(failure);
      if (!isOver || attempt >= maxAttempts) throw failure;
      await pause(attempt);
    }
  }

  #begin(operation: WriteOperation, session: Session, deadlineMs: number) {
    const { pool, statements, preamble } = this.#setup;
    if (!isDeletion(operation)) {
      return { transaction: new Transaction(this.#setup, session, deadlineMs), end: () => undefined };
    }
    const patience = { statement: statements.patience, values: [String(deletionTimeoutMs)] };
    const setup = { statements, preamble: [...preamble, patience] };
    const endMs = performance.now() + deletionTimeoutMs;
    const transaction = new Transaction(setup, session, endMs + breakOffTimeoutMs);
    const subject = subjectOf(operation);
    let isLate = false;
    let timer: NodeJS.Timeout;
    const after = (ms: number, next: () => void): void => {
      clearTimeout(timer);
      timer = setTimeout(next, Math.max(1, ms));
    };
    const breakOff = (): void => {
      // To cancel a commit would leave a change that standbys may not have, and call it done. Its answer is waited for.
      if (transaction.mayBeCommitted) after(breakOffTimeoutMs, () => session.destroy());
      else void session.cancel(breakOffTimeoutMs);
    };
    const onDeadline = (): void => {
      isLate = transaction.hasLocked && !this.#late.has(subject) && pool.lend(session, breakOff);
      if (!isLate) {
        breakOff();
        return;
      }
      this.#late.add(subject);
      after(endMs - performance.now(), breakOff);
    };
    after(deadlineMs - headStartMs - performance.now(), onDeadline);
    const end = (): void => {
      clearTimeout(timer);
      if (isLate) this.#late.delete(subject);
    };
    return { transaction, end };
  }
}

/** Those that may remove many rows. */
function isDeletion({ kind }: WriteOperation): boolean {
  return kind === 'delete_conversation' || kind === 'delete_response';
}

/** What is locked first. */
function subjectOf(operation: WriteOperation): string {
  const { tenant } = operation;
  if (operation.kind === 'keep_secret') return operation.kind;
  if (operation.kind !== 'append_turn') return `${tenant}\n${operation.id}`;
  return `${tenant}\n${operation.turn.base?.threadId ?? operation.turn.conversationId}`;
}

function pause(attempt: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(maxPauseMs, 2 ** attempt)));
}
