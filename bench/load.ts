/**
 * The load, in a process of its own: raw keep-alive connections, each with one request at a time. Takes a job as a
 * message, and answers with what it measured. See `client.ts` for the other end.
 */
import { connect, type Socket } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type Answer, AnswerReader } from './answer-reader.ts';
import { type CheckName, wrongWith } from './checks.ts';
import { Course, type Follow } from './course.ts';
import { busyMs } from './machine.ts';
import { treeCpuMs } from './process-tree.ts';
import { type Summary, summarise } from './stats.ts';

/** Connections that all do the same. */
export type Group = {
  readonly port: number;
  readonly path: string;
  readonly method?: 'GET';
  readonly body: string;
  readonly connections: number;
  readonly check: CheckName;
  /** Texts that every answer must hold besides. */
  readonly expects?: readonly string[];
  /** Ids that are asked for in turn, below `path`; each answer must hold the one that was asked for. */
  readonly readIds?: readonly string[];
  /** The most requests of all connections together. Where every group has it, the job ends when the last one is answered. */
  readonly limit?: number;
  /** How many items a list must have. */
  readonly items?: number;
  readonly follow?: Follow;
  /** Requests per second of all connections together, where it is not as many as they can. */
  readonly perSecond?: number;
  /**
   * Counts the times from the request to the first read that brought this text, between two such reads, and from the
   * last of them to the end of the answer.
   */
  readonly gapsOf?: string;
};

export type Job = {
  readonly groups: readonly Group[];
  readonly warmupMs: number;
  /** At most, where every group has a limit. */
  readonly measureMs: number;
  /** Whose CPU time is measured, children included, and who else belongs to the bench. */
  readonly pid: number;
  /** Measured together with it. */
  readonly twinPids?: readonly number[];
  readonly otherPids: readonly number[];
  /** Whose CPU time is measured apart: the first process of a database. */
  readonly databasePid?: number | undefined;
  /** The core of whoever is not measured, where it is of interest how busy that is. */
  readonly worldCore?: number;
};

export type GroupResult = {
  /** Answers that ended within the measured time. */
  readonly answers: number;
  /** Those before and after it included. */
  readonly all: number;
  readonly latencyMs: Summary;
  /** From the request to the first piece of text. */
  readonly firstTextMs: Summary;
  readonly gapsMs: Summary;
  /** From the last piece of text to the end of the answer. */
  readonly endingMs: Summary;
  /** Of all answers, those before and after the measured time included. */
  readonly wrong: number;
  readonly firstWrong: string | undefined;
  /** The id of the last response, to be asked for afterwards. */
  readonly lastId: string | undefined;
};

export type JobResult = {
  readonly groups: readonly GroupResult[];
  readonly seconds: number;
  readonly cpuMs: number;
  /** NaN where nobody asked, or the system does not tell. */
  readonly databaseCpuMs: number;
  readonly worldBusyMs: number;
  /** CPU time that went to processes outside the bench. */
  readonly foreignCpuMs: number;
  /** The longest that the load itself was held up: no time that it measured is more exact than that. */
  readonly ownStallMs: number;
};

/** Answers that are still to come when the time is over get so long. */
const drainMs = 8_000;

type State = { isMeasuring: boolean; isEnding: boolean };

class Tally {
  readonly group: Group;
  readonly state: State;
  readonly latencies: number[] = [];
  readonly firsts: number[] = [];
  readonly gaps: number[] = [];
  readonly endings: number[] = [];
  answers = 0;
  sent = 0;
  all = 0;
  wrong = 0;
  firstWrong: string | undefined;
  #last: Answer | undefined;

  constructor(group: Group, state: State) {
    this.group = group;
    this.state = state;
  }

  /** Whether no further request may be sent. */
  get isFull(): boolean {
    return this.state.isEnding || this.sent >= (this.group.limit ?? Number.POSITIVE_INFINITY);
  }

  answered(answer: Answer, latencyMs: number, wanted: string | undefined): void {
    this.all += 1;
    this.#last = answer;
    if (this.state.isMeasuring) {
      this.answers += 1;
      this.latencies.push(latencyMs);
    }
    const wrong = wrongWith(this.group.check, answer, this.all, this.group.items) ?? this.#missing(answer, wanted);
    if (wrong !== undefined) this.failed(wrong);
  }

  #missing({ body }: Answer, wanted: string | undefined): string | undefined {
    if (wanted !== undefined && !body.includes(wanted)) return `${wanted} is not in it: ${body}`;
    const text = this.group.expects?.find((each) => !body.includes(each));
    return text === undefined ? undefined : `${text} is not in it: ${body}`;
  }

  failed(what: string): void {
    this.wrong += 1;
    this.firstWrong ??= what;
  }

  result(): GroupResult {
    const { answers, all, wrong, firstWrong } = this;
    const [latencyMs, firstTextMs] = [summarise(this.latencies), summarise(this.firsts)];
    const [gapsMs, endingMs] = [summarise(this.gaps), summarise(this.endings)];
    const lastId = /"id":"(resp_[^"]+)"/.exec(this.#last?.body ?? '')?.[1];
    return { answers, all, latencyMs, firstTextMs, gapsMs, endingMs, wrong, firstWrong, lastId };
  }
}

/** One connection. */
class Peer {
  readonly #tally: Tally;
  readonly #course: Course;
  readonly #reader = new AnswerReader();
  readonly #pauseMs: number;
  readonly #prepared = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #socket: Socket | undefined;
  #isRunning = false;
  #isBusy = false;
  #startedAt = 0;
  #lastTextAt = 0;

  constructor(tally: Tally) {
    const { group } = tally;
    this.#tally = tally;
    this.#pauseMs = group.perSecond === undefined ? 0 : (group.connections / group.perSecond) * 1000;
    this.#course = new Course(group);
  }

  /** Resolves when the connection is there, and what its requests need; or lost. */
  prepare(): Promise<void> {
    const socket = connect({ port: this.#tally.group.port, host: '127.0.0.1', noDelay: true });
    this.#socket = socket;
    socket.on('connect', () => this.#goOn());
    socket.on('data', (bytes: Buffer) => this.#data(bytes));
    socket.on('error', (error) => this.#lost(error.message));
    socket.on('close', () => this.#lost('closed'));
    return this.#prepared.promise;
  }

  /** Resolves when the last answer is there, or the connection is lost. */
  run(delayMs: number): Promise<void> {
    this.#isRunning = true;
    if (delayMs > 0) setTimeout(() => this.#send(), delayMs);
    else this.#send();
    return this.#ended.promise;
  }

  /** Where nothing is under way, this is the end. */
  finish(): void {
    if (!this.#isBusy) this.#end();
  }

  #goOn(): void {
    if (this.#isRunning || this.#course.isPreparing) this.#send();
    else this.#prepared.resolve();
  }

  #send(): void {
    if (this.#tally.isFull || this.#socket?.destroyed === true) {
      this.#end();
      return;
    }
    if (this.#isRunning) this.#tally.sent += 1;
    this.#isBusy = true;
    this.#startedAt = performance.now();
    this.#lastTextAt = 0;
    this.#socket?.write(this.#course.next());
  }

  #data(bytes: Buffer): void {
    const { gapsOf } = this.#tally.group;
    if (gapsOf !== undefined && bytes.includes(gapsOf)) this.#gap();
    let answer: Answer | undefined;
    try {
      answer = this.#reader.feed(bytes);
      if (answer !== undefined) this.#course.heard(answer);
    } catch (error) {
      this.#lost(String(error));
      return;
    }
    if (answer !== undefined) this.#answered(answer);
  }

  #answered(answer: Answer): void {
    const now = performance.now();
    this.#isBusy = false;
    if (!this.#isRunning) {
      this.#goOn();
      return;
    }
    if (this.#lastTextAt > 0 && this.#tally.state.isMeasuring) this.#tally.endings.push(now - this.#lastTextAt);
    this.#tally.answered(answer, now - this.#startedAt, this.#course.wanted);
    const waitMs = this.#pauseMs === 0 ? 0 : this.#startedAt + this.#pauseMs - now;
    if (waitMs > 0 && !this.#tally.state.isEnding) setTimeout(() => this.#send(), waitMs);
    else this.#send();
  }

  #gap(): void {
    const now = performance.now();
    if (this.#tally.state.isMeasuring) {
      if (this.#lastTextAt > 0) this.#tally.gaps.push(now - this.#lastTextAt);
      else this.#tally.firsts.push(now - this.#startedAt);
    }
    this.#lastTextAt = now;
  }

  #lost(why: string): void {
    if (this.#isBusy) this.#tally.failed(`the connection was lost: ${why}`);
    this.#isBusy = false;
    this.#end();
  }

  #end(): void {
    this.#socket?.destroy();
    this.#prepared.resolve();
    this.#ended.resolve();
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function work(job: Job): Promise<JobResult> {
  const state: State = { isMeasuring: false, isEnding: false };
  const tallies = job.groups.map((group) => new Tally(group, state));
  const peers: { peer: Peer; delayMs: number }[] = tallies.flatMap((tally) =>
    Array.from({ length: tally.group.connections }, (_, at) => {
      const { perSecond } = tally.group;
      return { peer: new Peer(tally), delayMs: perSecond === undefined ? 0 : (at / perSecond) * 1000 };
    }),
  );
  await Promise.all(peers.map(({ peer }) => peer.prepare()));
  const ends = Promise.all(peers.map(({ peer, delayMs }) => peer.run(delayMs)));
  await sleep(job.warmupMs);
  const before = { ...spentBy(job), at: performance.now() };
  const stalls = monitorEventLoopDelay({ resolution: 5 });
  stalls.enable();
  state.isMeasuring = true;
  const isLimited = job.groups.every(({ limit }) => limit !== undefined);
  await Promise.race([sleep(job.measureMs), ...(isLimited ? [ends] : [])]);
  state.isMeasuring = false;
  stalls.disable();
  const seconds = (performance.now() - before.at) / 1000;
  const after = spentBy(job);
  state.isEnding = true;
  for (const { peer } of peers) peer.finish();
  const isDrained = await Promise.race([ends.then(() => true), sleep(drainMs).then(() => false)]);
  if (!isDrained) tallies[0]?.failed(`answers were missing ${drainMs} ms after the end`);
  const ownStallMs = stalls.max / 1e6;
  return {
    groups: tallies.map((tally) => tally.result()),
    seconds,
    cpuMs: after.measured - before.measured,
    databaseCpuMs: after.database - before.database,
    worldBusyMs: after.world - before.world,
    foreignCpuMs: after.busy - before.busy - (after.ours - before.ours),
    ownStallMs,
  };
}

/** CPU time so far, in ms. */
function spentBy({ pid, twinPids = [], otherPids, databasePid, worldCore }: Job) {
  const database = databasePid === undefined ? [] : [databasePid];
  return {
    measured: treeCpuMs([pid, ...twinPids]),
    database: databasePid === undefined ? Number.NaN : treeCpuMs(database),
    ours: treeCpuMs([pid, ...twinPids, process.pid, ...otherPids, ...database]),
    busy: busyMs(),
    world: worldCore === undefined ? Number.NaN : busyMs(worldCore),
  };
}

process.on('message', (message) => {
  void work(message as Job).then((result) => process.send?.(result));
});
process.on('disconnect', () => process.exit(0));
process.send?.({});
