import { tooSlow, unavailable } from './failures.ts';
import type { Pool } from './pool.ts';
import type { Question, Result } from './session.ts';

type Pending = {
  readonly question: Question;
  readonly deadlineMs: number;
  readonly resolve: (result: Result | Promise<Result>) => void;
  readonly reject: (error: unknown) => void;
};

/** Few enough that nobody waits long for another's large answer. */
const maxGroup = 16;
const maxWaiting = 10_000;

/** Asks what changes nothing: the questions that one turn of the event loop brought share a round trip. */
export class Reader {
  readonly #pool: Pool;
  readonly #lanes: number;
  readonly #queue: Pending[] = [];
  #busyLanes = 0;
  #isScheduled = false;

  constructor(pool: Pool, lanes: number) {
    this.#pool = pool;
    this.#lanes = lanes;
  }

  ask(question: Question, deadlineMs: number): Promise<Result> {
    if (performance.now() >= deadlineMs) return Promise.reject(tooSlow());
    if (this.#queue.length >= maxWaiting) return Promise.reject(unavailable('too much is waiting for it'));
    return new Promise((resolve, reject) => {
      this.#queue.push({ question, deadlineMs, resolve, reject });
      if (this.#isScheduled || this.#busyLanes >= this.#lanes) return;
      this.#isScheduled = true;
      setImmediate(() => this.#start());
    });
  }

  #start(): void {
    this.#isScheduled = false;
    while (this.#busyLanes < this.#lanes && this.#queue.length > 0) void this.#drive();
  }

  async #drive(): Promise<void> {
    this.#busyLanes += 1;
    while (this.#queue.length > 0) await this.#together(this.#queue.splice(0, maxGroup));
    this.#busyLanes -= 1;
  }

  async #together(group: readonly Pending[]): Promise<void> {
    // The store answers each in its own time: whoever came first must not end it for the others.
    const deadlineMs = Math.max(...group.map((pending) => pending.deadlineMs));
    let failure: unknown;
    try {
      const session = await this.#pool.acquire(deadlineMs);
      try {
        const results = await session.run(
          group.map(({ question }) => question),
          deadlineMs,
        );
        for (const [index, { resolve }] of group.entries()) resolve(results[index] ?? { rows: [], tag: '' });
      } catch (error) {
        failure = error;
        // Alone, each gets its own answer, and another connection where this one broke.
        for (const pending of group) pending.resolve(this.#alone(pending));
      } finally {
        this.#pool.release(session, failure);
      }
    } catch (error) {
      for (const pending of group) pending.reject(error);
    }
  }

  #alone({ question, deadlineMs }: Pending): Promise<Result> {
    return this.#pool.ask(question.statement, question.values, deadlineMs);
  }
}
