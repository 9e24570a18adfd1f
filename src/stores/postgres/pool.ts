import { ConnectionLost, spoilsConnection, tooSlow, unavailable, unavailableReason } from './failures.ts';
import type { Result, Statement, Value } from './session.ts';
import { Session, type SessionSetup } from './session.ts';

type Waiter = {
  readonly deadlineMs: number;
  /** Waits on where the server can't be reached: it has to find out what became of a change. */
  readonly isPatient: boolean;
  readonly resolve: (session: Session) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
  /** How many connections broke while they were made for it. */
  losses: number;
};

export type PoolSetup = SessionSetup & {
  readonly size: number;
  /** How long one attempt to connect may take. */
  readonly connectTimeoutMs: number;
};

/** What may wait for a connection. */
const maxWaiting = 10_000;
/** After so long without use, a connection is tried before it is trusted: the network may have forgotten it. */
const staleAfterMs = 15_000;
const staleCheckMs = 1_000;
const reconnectPauseMs = 100;
const maxReadAttempts = 3;
/** What operations may keep for long, besides `size`. */
const maxLent = 2;
const maxLosses = 2;

const probe: Statement = { name: 'probe', text: 'SELECT 1' };

/** A few connections, opened as they are needed and replaced as they break. Nobody waits longer than they have time. */
export class Pool {
  readonly #setup: PoolSetup;
  readonly #idle: Session[] = [];
  readonly #all = new Set<Session>();
  /** In use, and no longer among those that the size counts, with what gives them up. */
  readonly #lent = new Map<Session, () => void>();
  /** First come, first served. */
  readonly #waiters = new Set<Waiter>();
  #opening = 0;
  #isClosed = false;
  #whenEmpty: (() => void) | undefined;

  constructor(setup: PoolSetup) {
    this.#setup = setup;
  }

  /** A connection for one operation, which gives it back. */
  async acquire(deadlineMs: number, isPatient = false): Promise<Session> {
    for (;;) {
      // Otherwise it would be given a connection, and end that at once.
      if (performance.now() >= deadlineMs) throw tooSlow();
      const session = this.#idle.pop() ?? (await this.#wait(deadlineMs, isPatient));
      if (!session.isOpen) continue;
      const now = performance.now();
      if (now - session.usedAtMs < staleAfterMs) return session;
      if (await this.#isAlive(session, Math.min(deadlineMs, now + staleCheckMs))) return session;
    }
  }

  /** `failure`: what the operation threw, if it did. */
  release(session: Session, failure?: unknown): void {
    if (failure !== undefined && spoilsConnection(failure)) {
      session.destroy();
      // What spoilt one connection has most often spoilt those that nobody was listening to as well.
      for (const other of this.#idle.splice(0)) other.destroy();
    }
    if (!session.isOpen) return;
    if (this.#isClosed || session.isCancelled || this.#lent.has(session)) void session.end();
    else this.#give(session);
  }

  /**
   * Lets an operation keep its connection for long: another may be opened in its place. False where too many are kept.
   * Closing calls `giveUp`, which has to bring the connection back, or to an end, before long.
   */
  lend(session: Session, giveUp: () => void): boolean {
    if (this.#lent.size >= maxLent || this.#isClosed || !this.#all.delete(session)) return false;
    this.#lent.set(session, giveUp);
    this.#openMore();
    return true;
  }

  /** Asks one question that changes nothing, and again on another connection where the first one breaks. */
  async ask(statement: Statement, values: readonly Value[], deadlineMs: number): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      const session = await this.acquire(deadlineMs);
      let failure: unknown;
      try {
        return await session.ask(statement, values, deadlineMs);
      } catch (error) {
        failure = error;
      } finally {
        this.release(session, failure);
      }
      if (performance.now() >= deadlineMs) throw tooSlow();
      if (!spoilsConnection(failure) || attempt >= maxReadAttempts) throw failure;
    }
  }

  /** Ends what is idle now, and everything else as it is given back. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const closed = unavailable('the store is closed');
    for (const waiter of this.#waiters) settle(waiter, closed);
    this.#waiters.clear();
    for (const giveUp of this.#lent.values()) giveUp();
    await Promise.all(this.#idle.splice(0).map((session) => session.end()));
    if (this.#all.size + this.#lent.size > 0) await new Promise<void>((resolve) => (this.#whenEmpty = resolve));
  }

  #wait(deadlineMs: number, isPatient: boolean): Promise<Session> {
    if (this.#isClosed) return Promise.reject(unavailable('the store is closed'));
    if (this.#waiters.size >= maxWaiting) return Promise.reject(unavailable('too much is waiting for it'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => {
          this.#waiters.delete(waiter);
          reject(tooSlow());
        },
        Math.max(1, deadlineMs - performance.now()),
      );
      const waiter: Waiter = { deadlineMs, isPatient, resolve, reject, timer, losses: 0 };
      this.#waiters.add(waiter);
      this.#openMore();
    });
  }

  #openMore(): void {
    const missing = Math.min(this.#waiters.size - this.#opening, this.#setup.size - this.#all.size - this.#opening);
    for (let count = 0; count < missing; count += 1) void this.#open();
  }

  async #open(): Promise<void> {
    this.#opening += 1;
    try {
      const session = await Session.open(this.#setup, performance.now() + this.#setup.connectTimeoutMs);
      this.#opening -= 1;
      this.#all.add(session);
      session.onEnd = () => this.#ended(session);
      if (this.#isClosed) void session.end().then(() => this.#ended(session));
      else this.#give(session);
    } catch (error) {
      this.#opening -= 1;
      this.#refused(error);
    }
  }

  /** As long as some connection lives, those who wait may still get it. */
  #refused(error: unknown): void {
    // Broken, not refused: another may do better.
    const isLost = error instanceof ConnectionLost && error.reason !== 'ECONNREFUSED';
    if (this.#all.size === 0) {
      // What can't be healed was found when the store was opened; what is new since may pass.
      const reason = unavailable(unavailableReason(error) ?? 'a connection can’t be made');
      for (const waiter of this.#waiters) {
        if (waiter.isPatient) continue;
        waiter.losses += 1;
        if (isLost && waiter.losses <= maxLosses) continue;
        this.#waiters.delete(waiter);
        settle(waiter, reason);
      }
    }
    if (this.#waiters.size > 0 && this.#opening === 0) setTimeout(() => this.#openMore(), reconnectPauseMs);
  }

  #give(session: Session): void {
    session.usedAtMs = performance.now();
    const [waiter] = this.#waiters;
    if (waiter === undefined) {
      this.#idle.push(session);
      return;
    }
    this.#waiters.delete(waiter);
    settle(waiter, session);
  }

  #ended(session: Session): void {
    this.#all.delete(session);
    this.#lent.delete(session);
    const at = this.#idle.indexOf(session);
    if (at >= 0) this.#idle.splice(at, 1);
    if (this.#isClosed && this.#all.size + this.#lent.size === 0) this.#whenEmpty?.();
    if (!this.#isClosed) this.#openMore();
  }

  async #isAlive(session: Session, deadlineMs: number): Promise<boolean> {
    try {
      await session.ask(probe, [], deadlineMs);
      return true;
    } catch {
      session.destroy();
      return false;
    }
  }
}

function settle(waiter: Waiter, outcome: Session | Error): void {
  clearTimeout(waiter.timer);
  if (outcome instanceof Error) waiter.reject(outcome);
  else waiter.resolve(outcome);
}
