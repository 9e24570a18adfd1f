import { setTimeout as delay } from 'node:timers/promises';
import type { Call, Values } from './call.ts';
import { removeRest } from './conversations.ts';
import { removeOrphans } from './deletion.ts';
import type { Deployment } from './deployment.ts';
import { asDocument, at, type ChunkDocument, chunks, type EntryDocument, entries, rootPosition } from './documents.ts';
import { Leftovers } from './leftovers.ts';
import type { Work } from './work.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** A deletion that took longer than this has died on the way. */
const unfinishedAfterMs = 10 * minuteMs;
/** Until then the mark of a deleted conversation stays, for whoever still appends to it. */
const markLivesMs = hourMs;
/** Chunks that are younger may belong to an entry that is about to be written. */
const orphanedAfterMs = 24 * hourMs;

const conversationsAtOnce = 50;
const chunksAtOnce = 500;
/** The walk through the chunks, of which nearly all are named, takes several rounds where there are many. */
const maxChunkStepsPerRound = 100;
/** The same for the entries. */
const maxEntryStepsPerRound = 100;
/** After so many failures the rest of a round is left to the next: the database is not well. */
const maxFailuresPerRound = 20;
/** Between two steps, so that a long clean-up is no load. */
const pauseMs = 100;

export type Sweep = {
  readonly deployment: Deployment;
  workOf(call: Call): Work;
  /** What is done before a clean-up, where nobody else asks for it. */
  keepUp(call: Call): Promise<void>;
};

/**
 * Removes what crashes left behind: the rest of deleted conversations, entries that nobody can come upon, chunks that no
 * entry names. Any server may do it at any time, several at once too. A round goes through all marks that there are, in
 * bounded steps; what can't be finished is passed over, and tried again in a later round.
 */
export class Sweeper {
  readonly #sweep: Sweep;
  #timer: NodeJS.Timeout | undefined;
  readonly #ending = new AbortController();
  readonly #leftovers: Leftovers;
  /** Where the walk through the marks goes on in the next round, after one that was broken off. */
  #marksAfter = 0;
  /** The same for the chunks. */
  #chunksFrom = 0;

  constructor(sweep: Sweep) {
    this.#sweep = sweep;
    this.#leftovers = new Leftovers(sweep);
  }

  /** First a minute from now, then every hour, never at the same time as all the other servers. */
  start(): void {
    this.#schedule(minuteMs);
  }

  stop(): void {
    this.#ending.abort();
    clearTimeout(this.#timer);
  }

  #schedule(afterMs: number): void {
    if (this.#ending.signal.aborted) return;
    const jittered = afterMs * (0.8 + 0.4 * Math.random());
    this.#timer = setTimeout(() => {
      // A database that can't be asked now is asked in an hour.
      void this.next()
        .catch(() => undefined)
        .finally(() => this.#schedule(hourMs));
    }, jittered);
    this.#timer.unref();
  }

  /**
   * A round at the time that it is by the clock of this server or of the database, whichever is behind: one that is ahead
   * takes what is new for old.
   */
  async next(): Promise<void> {
    const { deployment, keepUp } = this.#sweep;
    await deployment.run(keepUp);
    const localTime = await deployment.run(databaseTimeOf).catch(() => undefined);
    await this.round(Math.min(Date.now(), localTime ?? Number.POSITIVE_INFINITY));
  }

  async round(nowMs: number): Promise<void> {
    const ofMarks = new Failures();
    await ofMarks.passOver(async () => {
      do {
        this.#marksAfter = (await this.#deletions(nowMs, this.#marksAfter, ofMarks)) ?? 0;
      } while (this.#marksAfter !== 0 && (await this.#mayGoOn(ofMarks)));
    });
    await this.#entries(nowMs);
    const ofChunks = new Failures();
    await ofChunks.passOver(async () => {
      let step = 0;
      do {
        this.#chunksFrom = (await this.#orphans(nowMs, this.#chunksFrom, ofChunks)) ?? 0;
        step += 1;
      } while (this.#chunksFrom !== 0 && step < maxChunkStepsPerRound && (await this.#mayGoOn(ofChunks)));
    });
  }

  async #entries(nowMs: number): Promise<void> {
    const failures = new Failures();
    for (const suspect of this.#leftovers.take(nowMs)) {
      if (this.#ending.signal.aborted || failures.areTooMany) return;
      await failures.passOver(() => this.#leftovers.remove(suspect));
    }
    await failures.passOver(async () => {
      for (let step = 1; (await this.#leftovers.look(nowMs)) && step < maxEntryStepsPerRound; step += 1) {
        if (!(await this.#mayGoOn(failures))) return;
      }
    });
  }

  async #mayGoOn(failures: Failures): Promise<boolean> {
    const { signal } = this.#ending;
    await delay(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    return !signal.aborted && !failures.areTooMany;
  }

  /** Resolves with where to go on; undefined at the end. */
  async #deletions(nowMs: number, after: number, failures: Failures): Promise<number | undefined> {
    const { deployment } = this.#sweep;
    const found = await deployment.run((call) =>
      call.find(entries, {
        filter: { deletedAt: { $gt: after, $lt: nowMs - unfinishedAfterMs } },
        sort: { deletedAt: 1 },
        limit: conversationsAtOnce,
        projection: { tenant: 1, thread: 1, deletedAt: 1 },
      }),
    );
    let last = after;
    for (const each of found) {
      if (this.#ending.signal.aborted || failures.areTooMany) return last;
      await failures.passOver(() => this.#finish(asDocument(each), nowMs));
      last = Number(each['deletedAt']);
    }
    return found.length < conversationsAtOnce ? undefined : last;
  }

  async #finish(root: EntryDocument, nowMs: number): Promise<void> {
    const { deployment, workOf } = this.#sweep;
    const { tenant, thread, deletedAt = nowMs } = root;
    const place = at(tenant, { threadId: thread, position: rootPosition });
    await deployment.run(async (call) => {
      // One that was only just being made can not come to life any more.
      const mark = { $set: { swept: true } };
      const { isMatched } = await call.update(entries, { ...place, deletedAt: { $exists: true } }, mark);
      if (!isMatched) return;
      await removeRest(workOf(call), tenant, thread);
      if (deletedAt < nowMs - markLivesMs) await call.remove(entries, { ...place, swept: true });
    });
  }

  async #orphans(nowMs: number, from: number, failures: Failures): Promise<number | undefined> {
    const { deployment } = this.#sweep;
    const cutoff = nowMs - orphanedAfterMs;
    const found = await deployment.run((call) =>
      call.find(chunks, {
        filter: { createdAt: { $gte: from, $lt: cutoff } },
        sort: { createdAt: 1 },
        limit: chunksAtOnce,
        projection: { tenant: 1, thread: 1, owner: 1, createdAt: 1 },
      }),
    );
    const listed = found as readonly Values[] as readonly ChunkDocument[];
    const byThread = Map.groupBy(listed, ({ tenant, thread }) => JSON.stringify([tenant, thread]));
    for (const list of byThread.values()) {
      if (this.#ending.signal.aborted || failures.areTooMany) break;
      await failures.passOver(() => this.#orphansOf(list));
    }
    const last = listed.at(-1)?.createdAt;
    if (last === undefined || listed.length < chunksAtOnce) return undefined;
    // Many of one moment are looked at once more in the next step, unless there is nothing else in this one.
    return last === from ? last + 1 : last;
  }

  async #orphansOf(list: readonly ChunkDocument[]): Promise<void> {
    const [first] = list;
    if (first === undefined) return;
    const { tenant, thread } = first;
    const owners = [...new Set(list.map(({ owner }) => owner))];
    await this.#sweep.deployment.run((call) => removeOrphans({ call }, tenant, thread, owners));
  }
}

/** Undefined where the server does not tell. */
async function databaseTimeOf(call: Call): Promise<number | undefined> {
  const { localTime } = await call.command(() => ({ isMaster: 1 }));
  return localTime instanceof Date ? localTime.getTime() : undefined;
}

/** What could not be done in one round: a later one will come upon it again. */
class Failures {
  #count = 0;

  get areTooMany(): boolean {
    return this.#count >= maxFailuresPerRound;
  }

  async passOver(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch {
      this.#count += 1;
    }
  }
}
