import { join } from 'node:path';
import { type BenchOptions, complaints, measure, wronglyKept } from './client.ts';
import type { Group, JobResult } from './load.ts';
import { cores, type Started, serverFlags, startScript, startServer } from './processes.ts';
import { answerText, chatAnswer, chatBody } from './script.ts';
import { figure, median, spread } from './stats.ts';

/** On one core it takes V8 seconds of full load to compile what is hot; a yardstick has less of that. */
const firstWarmupMs = { yardstick: 3_000, server: 7_000 };
/** Enough to compile what is hot; one connection alone would take long for that. */
const firstConnections = 32;
/** The floor has to do this much of the hello server's rate. */
const leastOfHello = 0.5;
const guardRounds = 3;

/** Who takes part: the upstream without anybody between, one of the two yardsticks, or the server. */
export type Entry = {
  readonly name: string;
  readonly kind: 'upstream' | 'hello' | 'floor' | 'server';
  /** Of the hello server; without it, the answer of the upstream. */
  readonly says?: string;
  /** Of the server. */
  readonly flags?: (folder: string) => readonly string[];
  /** Whether what was answered must be there afterwards, or must not. Undefined: nothing new is stored. */
  readonly store?: boolean;
  /** What is asked of it. */
  readonly group: (port: number) => Group | Promise<Group>;
};

export type Contestant = {
  readonly entry: Entry;
  readonly started: Started;
  readonly group: Group;
  readonly rounds: JobResult[];
};

/** The processes that take part, and how long they are kept. */
export type Arena = {
  readonly keep: (started: Promise<Started>) => Promise<Started>;
  readonly upstream: Started;
  readonly load: Started;
  readonly options: BenchOptions;
  /** What was wrong so far. */
  readonly wrong: string[];
};

export type Times = { readonly warmupMs: number; readonly measureMs: number };

/** Upstream and load, each a process on the core that is not measured. */
export async function openArena(keep: Arena['keep'], options: BenchOptions): Promise<Arena> {
  const upstream = await keep(startScript('upstream.ts', [], cores.world));
  const load = await keep(startScript('load.ts', [], cores.world));
  return { keep, upstream, load, options, wrong: [] };
}

/** Starts everybody, warms everybody up, and measures them in turn, round by round. */
export async function contest(arena: Arena, title: string, entries: readonly Entry[], times: Times) {
  const contestants: Contestant[] = [];
  for (const [at, entry] of entries.entries()) contestants.push(await enter(arena, entry, `${title}-${at}`));
  for (const each of contestants) {
    const connections = Math.max(each.group.connections, firstConnections);
    const measureMs = each.entry.kind === 'server' ? firstWarmupMs.server : firstWarmupMs.yardstick;
    const warm = { ...each, group: { ...each.group, connections } };
    await once(arena, warm, { warmupMs: 0, measureMs });
  }
  await takeTurns(arena, contestants, times, arena.options.rounds);
  return contestants;
}

async function takeTurns(
  arena: Arena,
  contestants: readonly Contestant[],
  times: Times,
  rounds: number,
): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    // Every other round backwards, so that nobody always follows the same one.
    const order = round % 2 === 0 ? contestants : contestants.toReversed();
    for (const each of order) each.rounds.push(await once(arena, each, times));
  }
}

async function enter(arena: Arena, entry: Entry, title: string): Promise<Contestant> {
  const started = await start(arena, entry, title);
  return { entry, started, group: await entry.group(started.port), rounds: [] };
}

async function start({ keep, upstream, options }: Arena, entry: Entry, title: string): Promise<Started> {
  const { folder } = options;
  switch (entry.kind) {
    case 'upstream':
      return upstream;
    case 'hello':
      return keep(startScript('hello.ts', [entry.says ?? chatAnswer(answerText)], cores.measured));
    case 'floor':
      return keep(startScript('floor.ts', [`http://127.0.0.1:${upstream.port}`], cores.measured));
    case 'server': {
      const flags = serverFlags(upstream.port, entry.flags?.(folder));
      const stderrFile = join(folder, `server-${title}.log`);
      return keep(startServer(flags, { core: cores.measured, cwd: folder, stderrFile }));
    }
    default:
      return entry.kind satisfies never;
  }
}

async function once(arena: Arena, contestant: Contestant, times: Times): Promise<JobResult> {
  const { upstream, load, wrong } = arena;
  const { entry, started, group } = contestant;
  const otherPids = started === upstream ? [] : [upstream.pid];
  const result = await measure(load, { groups: [group], ...times, pid: started.pid, otherPids });
  wrong.push(...complaints(entry.name, result, [group]));
  if (entry.store !== undefined) wrong.push(...(await wronglyKept(entry.name, started.port, result, entry.store)));
  return result;
}

/** What the hello server and the floor are asked: the same request, and for whole answers the same answer. */
export function yardstickGroup(kind: 'hello' | 'floor', port: number, stream: boolean, connections: number): Group {
  const check = stream && kind === 'floor' ? 'chat-stream' : 'chat-json';
  return { port, connections, path: '/v1/chat/completions', body: chatBody({ stream }), check };
}

/**
 * A floor that is slow for a reason of its own would make every server look good. So it is held against the hello server
 * in the same run, with whole answers on 32 connections.
 */
export async function guardFloor(arena: Arena, contestants: readonly Contestant[]): Promise<string> {
  const floor = contestants.find(({ entry }) => entry.kind === 'floor');
  if (floor === undefined) throw new Error('there is no floor');
  const { rounds, seconds } = arena.options;
  const groupOf = (kind: 'hello' | 'floor') => (port: number) => yardstickGroup(kind, port, false, firstConnections);
  const entry: Entry = { name: 'floor', kind: 'floor', group: groupOf('floor') };
  const again: Contestant = { entry, started: floor.started, group: groupOf('floor')(floor.started.port), rounds: [] };
  const hello = await enter(arena, { name: 'hello', kind: 'hello', group: groupOf('hello') }, 'hello');
  const pair = [again, hello];
  for (const each of pair) await once(arena, each, { warmupMs: 0, measureMs: firstWarmupMs.yardstick });
  await takeTurns(arena, pair, { warmupMs: 250, measureMs: seconds * 1000 }, Math.min(rounds, guardRounds));
  await hello.started.stop();
  return judgeFloor(arena, again.rounds, hello.rounds);
}

/** Says whether the run counts, and notes it as wrong where it does not. */
export function judgeFloor({ wrong }: Arena, floor: readonly JobResult[], hello: readonly JobResult[]): string {
  const shares = floor.map((each, at) => rateOf(each) / rateOf(hello[at] ?? each));
  const isGood = median(shares) >= leastOfHello;
  const cpuUs = (rounds: readonly JobResult[]) =>
    figure(median(rounds.map((one) => (one.cpuMs / answersOf(one)) * 1000)));
  const said = `The floor does ${spread(shares)} of the requests per second of a plain \`node:http\` hello server (${figure(median(floor.map(rateOf)))} to ${figure(median(hello.map(rateOf)))}, with ${cpuUs(floor)} to ${cpuUs(hello)} µs of CPU each; at least ${leastOfHello} or the run does not count): `;
  if (!isGood) {
    wrong.push(
      `THE RUN DOES NOT COUNT. The floor does only ${figure(median(shares))} of the hello server's requests per second instead of ${leastOfHello}. The floor takes one request in and sends one out, so it should cost about twice a hello. Either other processes disturbed it, or bench/floor.ts has become slower than a bare proxy has to be; every share of the floor is too good by as much.`,
    );
  }
  return said + (isGood ? 'the run counts.' : '**THE RUN DOES NOT COUNT.**');
}

/** Answers per second. */
export function rateOf(result: JobResult): number {
  return answersOf(result) / result.seconds;
}

/** Answers within the measured time. */
export function answersOf(result: JobResult): number {
  return result.groups[0]?.answers ?? 0;
}

/** What one contestant gives over another, round by round: what disturbed one disturbed the other too, more or less. */
export function against(
  one: Contestant,
  other: Contestant | undefined,
  compare: (one: JobResult, other: JobResult) => number,
): number[] {
  return one.rounds.flatMap((each, at) => {
    const base = other?.rounds[at];
    return base === undefined ? [] : [compare(each, base)];
  });
}

/** How quiet the machine was. */
export function disturbance(percentages: readonly number[]): string {
  const [middle, highest] = [median(percentages), Math.max(...percentages)].map((each) =>
    Math.max(0, Math.round(each)),
  );
  return `Other processes used ${middle} % of a core meanwhile (at most ${highest} %).`;
}

/** The same, of a contest. */
export function disturbanceOf(contestants: readonly Contestant[]): string {
  return disturbance(contestants.flatMap(({ rounds }) => rounds.map((each) => each.foreignCpuMs / each.seconds / 10)));
}
