import type { Call, Values } from './call.ts';
import { removeRest } from './conversations.ts';
import { namedOwners, removeOrphans } from './deletion.ts';
import type { Deployment } from './deployment.ts';
import { asDocument, at, type ChunkDocument, chunks, type EntryDocument, entries, rootPosition } from './documents.ts';
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
const maxStepsPerRound = 20;

export type Sweep = { readonly deployment: Deployment; workOf(call: Call): Work };

/**
 * Removes what crashes left behind: the rest of deleted conversations, chunks that no entry names. Any server may do it
 * at any time, several at once too. Each round takes a bounded number of steps, each of them bounded.
 */
export class Sweeper {
  readonly #sweep: Sweep;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;
  /** Where the walk through the chunks goes on in the next round. */
  #chunksFrom = 0;

  constructor(sweep: Sweep) {
    this.#sweep = sweep;
  }

  /** First a minute from now, then every hour, never at the same time as all the other servers. */
  start(): void {
    this.#schedule(minuteMs);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(afterMs: number): void {
    if (this.#isStopped) return;
    const jittered = afterMs * (0.8 + 0.4 * Math.random());
    this.#timer = setTimeout(() => {
      // A database that can't be asked now is asked in an hour.
      void this.round(Date.now())
        .catch(() => undefined)
        .finally(() => this.#schedule(hourMs));
    }, jittered);
    this.#timer.unref();
  }

  async round(nowMs: number): Promise<void> {
    let after = 0;
    for (let step = 0; step < maxStepsPerRound && !this.#isStopped; step += 1) {
      const next = await this.#deletions(nowMs, after);
      if (next === undefined) break;
      after = next;
    }
    for (let step = 0; step < maxStepsPerRound && !this.#isStopped; step += 1) {
      const next = await this.#orphans(nowMs, this.#chunksFrom);
      this.#chunksFrom = next ?? 0;
      if (next === undefined) break;
    }
  }

  /** Resolves with where to go on; undefined at the end. */
  async #deletions(nowMs: number, after: number): Promise<number | undefined> {
    const { deployment } = this.#sweep;
    const found = await deployment.run((call) =>
      call.find(entries, {
        filter: { deletedAt: { $gt: after, $lt: nowMs - unfinishedAfterMs } },
        sort: { deletedAt: 1 },
        limit: conversationsAtOnce,
        projection: { tenant: 1, thread: 1, deletedAt: 1 },
      }),
    );
    for (const each of found) await this.#finish(asDocument(each), nowMs);
    return found.length < conversationsAtOnce ? undefined : Number(found.at(-1)?.['deletedAt']);
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

  async #orphans(nowMs: number, from: number): Promise<number | undefined> {
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
    for (const list of byThread.values()) await this.#orphansOf(list);
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
    await this.#sweep.deployment.run(async (call) => {
      const named = await namedOwners({ call }, tenant, thread, owners);
      for (const owner of owners) if (!named.has(owner)) await removeOrphans({ call }, tenant, thread, owner);
    });
  }
}
