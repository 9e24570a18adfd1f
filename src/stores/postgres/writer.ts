import type { WriteOperation, WriteResult } from '../writing.ts';
import { isDoubtful, isPassing, Refusal, spoilsConnection, tooSlow, unavailable } from './failures.ts';
import type { FastWay } from './fast-ways.ts';
import type { Pool } from './pool.ts';
import type { Question, Session } from './session.ts';

/**
 * What became of a change on the fast way. `elsewhere`: it did not apply, or the connection was not good for it, and it
 * was certainly not done. `doubtful`: it may have been committed.
 */
export type FastOutcome =
  | { readonly kind: 'done'; readonly result: WriteResult }
  | { readonly kind: 'elsewhere' | 'doubtful'; readonly failure?: unknown };

type Pending = {
  readonly way: FastWay;
  /** The tenant and the id of the thread that it changes. */
  readonly thread: string;
  readonly isRelaxed: boolean;
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly resolve: (outcome: FastOutcome) => void;
  readonly reject: (error: unknown) => void;
};

const limits = {
  waiting: 10_000,
  waitingBytes: 256 * 1024 * 1024,
  group: 128,
  lookahead: 512,
  groupBytes: 4 * 1024 * 1024,
};

/** Lease operations cost work at most when they are lost: they need not wait for the disk. */
const relaxedKinds: ReadonlySet<WriteOperation['kind']> = new Set(['acquire_lease', 'renew_lease', 'release_lease']);

export type WriterSetup = {
  readonly pool: Pool;
  /** How many groups are under way at once. */
  readonly lanes: number;
  /** Said before a group that must be on the disk when it is answered; most often nothing. */
  readonly insist: readonly Question[];
  /** Said before a group that need not be. */
  readonly relax: readonly Question[];
};

/**
 * Sends changes in groups, each one piece of the wire and one commit: what arrives while a commit is under way goes with
 * the next one. A change that fails takes the group's transaction with it; then it goes its own way, and the others
 * together once more.
 */
export class Writer {
  readonly #setup: WriterSetup;
  #queue: Pending[] = [];
  #bytes = 0;
  #busyLanes = 0;
  /** Those that a group under way has to do with. */
  readonly #busyThreads = new Set<string>();
  #isScheduled = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(setup: WriterSetup) {
    this.#setup = setup;
  }

  submit(way: FastWay, kind: WriteOperation['kind'], deadlineMs: number): Promise<FastOutcome> {
    const bytes = way.question.values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
    if (this.#queue.length >= limits.waiting || this.#bytes + bytes > limits.waitingBytes) {
      return Promise.reject(unavailable('too much is waiting to be written'));
    }
    return new Promise((resolve, reject) => {
      this.#bytes += bytes;
      const [tenant, id] = way.question.values;
      this.#queue.push({
        way,
        thread: `${tenant}\n${id}`,
        isRelaxed: relaxedKinds.has(kind),
        bytes,
        deadlineMs,
        resolve,
        reject,
      });
      this.#watch();
      this.#schedule();
    });
  }

  /** What one turn of the event loop brought goes together. */
  #schedule(): void {
    if (this.#isScheduled || this.#busyLanes >= this.#setup.lanes) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (this.#queue.length > 0 && this.#busyLanes < this.#setup.lanes) void this.#drive();
    });
  }

  async #drive(): Promise<void> {
    this.#busyLanes += 1;
    for (let group = this.#take(); group.length > 0; group = this.#take()) {
      await this.#commit(group);
      for (const { thread } of group) this.#busyThreads.delete(thread);
    }
    this.#busyLanes -= 1;
  }

  /**
   * The next ones, but for those of a thread that another group has locked: they would not get it, and take the long way
   * for nothing.
   */
  #take(): Pending[] {
    const now = performance.now();
    const group: Pending[] = [];
    const kept: Pending[] = [];
    const own = new Set<string>();
    let bytes = 0;
    let seen = 0;
    for (const pending of this.#queue) {
      const isFull = group.length > 0 && bytes + pending.bytes > limits.groupBytes;
      if (isFull || group.length >= limits.group || seen >= limits.lookahead) break;
      seen += 1;
      if (pending.deadlineMs <= now) {
        this.#bytes -= pending.bytes;
        pending.reject(tooSlow());
      } else if (this.#busyThreads.has(pending.thread)) {
        kept.push(pending);
      } else {
        this.#bytes -= pending.bytes;
        bytes += pending.bytes;
        own.add(pending.thread);
        group.push(pending);
      }
    }
    for (const thread of own) this.#busyThreads.add(thread);
    this.#queue.splice(0, seen, ...kept);
    return group;
  }

  async #commit(group: Pending[]): Promise<void> {
    let rest = group;
    while (rest.length > 0) {
      // The store answers each in its own time: whoever came first must not end it for the others.
      const deadlineMs = Math.max(...rest.map((pending) => pending.deadlineMs));
      let session: Session;
      try {
        session = await this.#setup.pool.acquire(deadlineMs);
      } catch (error) {
        for (const pending of rest) pending.reject(error);
        return;
      }
      rest = inTime(rest);
      if (rest.length > 0) rest = await this.#attempt(session, rest, deadlineMs);
      else this.#setup.pool.release(session);
    }
  }

  /** Resolves with those that have to be tried again, without the one that spoilt it for them. */
  async #attempt(session: Session, group: readonly Pending[], deadlineMs: number): Promise<Pending[]> {
    const isRelaxed = group.every((pending) => pending.isRelaxed);
    const opening = isRelaxed ? this.#setup.relax : this.#setup.insist;
    let failure: unknown;
    try {
      const questions = group.map(({ way }) => way.question);
      const results = await session.run([...opening, ...questions], deadlineMs);
      for (const [index, { way, resolve }] of group.entries()) {
        const result = results[index + opening.length];
        const outcome = result === undefined ? undefined : way.outcome(result);
        resolve(outcome === undefined ? { kind: 'elsewhere' } : { kind: 'done', result: outcome.result });
      }
      return [];
    } catch (error) {
      failure = error;
      return settleFailed(group, error, opening.length);
    } finally {
      this.#setup.pool.release(session, failure);
    }
  }

  /** All have the same time, so the first to come is the first to go. */
  #watch(): void {
    const [first] = this.#queue;
    if (this.#timer !== undefined || first === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#expire();
        this.#watch();
      },
      Math.max(1, first.deadlineMs - performance.now()),
    );
    // Whoever waits keeps the process alive by the connection that they wait for.
    this.#timer.unref();
  }

  #expire(): void {
    this.#queue = inTime(this.#queue);
    this.#bytes = this.#queue.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

/** Those that have time left; the others are told. */
function inTime(some: readonly Pending[]): Pending[] {
  const now = performance.now();
  return some.filter(({ deadlineMs, reject }) => {
    if (deadlineMs <= now) reject(tooSlow());
    return deadlineMs > now;
  });
}

function settleFailed(group: readonly Pending[], failure: unknown, opening: number): Pending[] {
  if (failure instanceof Refusal && !spoilsConnection(failure)) {
    const culprit = group[failure.at - opening];
    // Without one it is the commit that failed, or the opening.
    if (culprit === undefined) return toAll(group, isPassing(failure) ? 'elsewhere' : undefined, failure);
    toAll([culprit], isPassing(failure) ? 'elsewhere' : undefined, failure);
    return group.filter((pending) => pending !== culprit);
  }
  return toAll(group, isDoubtful(failure) ? 'doubtful' : 'elsewhere', failure);
}

function toAll(group: readonly Pending[], kind: 'elsewhere' | 'doubtful' | undefined, failure: unknown): Pending[] {
  for (const { resolve, reject } of group) {
    if (kind === undefined) reject(failure);
    else resolve({ kind, failure });
  }
  return [];
}
