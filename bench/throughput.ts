import { join } from 'node:path';
import { type Bench, type BenchResult, complaints, measure, wronglyKept } from './client.ts';
import type { Group, JobResult } from './load.ts';
import { cores, type Started, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { chatBody, models, responsesBody } from './script.ts';
import { figure, median, spread, table } from './stats.ts';

const connections = 32;
/** On one core it takes V8 seconds of full load to compile what is hot; the floor has less of that. */
const firstWarmupMs = { floor: 3_000, server: 7_000 };
const warmupMs = 250;

type Variant = {
  readonly name: string;
  /** Undefined: the floor. */
  readonly flags?: (folder: string) => readonly string[];
  readonly store?: boolean;
  readonly model?: string;
  readonly streamsOnly?: boolean;
};

const variants: readonly Variant[] = [
  { name: 'floor' },
  { name: 'unstored', flags: () => [] },
  { name: 'unstored, log.level=info (default)', flags: () => ['--log.level=info'] },
  { name: 'unstored, chunks padded as by OpenAI', flags: () => [], model: models.padded, streamsOnly: true },
  { name: 'stored in memory', flags: () => [], store: true },
  {
    name: 'stored in SQLite, synchronous=full',
    flags: (folder) => ['--store.type=sqlite', `--sqlite.path=${join(folder, 'throughput.sqlite')}`],
    store: true,
  },
];

type Contestant = {
  readonly variant: Variant;
  readonly started: Started;
  readonly group: Group;
  readonly rounds: JobResult[];
};

/** Whole answers: requests per second. */
export const jsonBench: Bench = (options) => run(options, false);
/** Streams of 200 chunks: streams per second. */
export const streamBench: Bench = (options) => run(options, true);

function run({ rounds, seconds, folder }: Parameters<Bench>[0], stream: boolean): Promise<BenchResult> {
  return withProcesses(async (keep) => {
    const upstream = await keep(startScript('upstream.ts', [], cores.world));
    const load = await keep(startScript('load.ts', [], cores.world));
    const contestants: Contestant[] = [];
    const chosen = variants.filter((each) => stream || each.streamsOnly !== true);
    for (const [at, variant] of chosen.entries()) {
      const stderrFile = join(folder, `server-${stream ? 'stream' : 'json'}-${at}.log`);
      const started = await keep(
        variant.flags === undefined
          ? startScript('floor.ts', [`http://127.0.0.1:${upstream.port}`], cores.measured)
          : startServer(serverFlags(upstream.port, variant.flags(folder)), {
              core: cores.measured,
              cwd: folder,
              stderrFile,
            }),
      );
      contestants.push({ variant, started, group: groupOf(variant, started.port, stream), rounds: [] });
    }
    const wrong: string[] = [];
    const once = async (contestant: Contestant, job: { warmupMs: number; measureMs: number }): Promise<JobResult> => {
      const { started, group, variant } = contestant;
      const result = await measure(load, { groups: [group], ...job, pid: started.pid, otherPids: [upstream.pid] });
      wrong.push(...complaints(variant.name, result, [group]));
      if (variant.flags !== undefined) {
        wrong.push(...(await wronglyKept(variant.name, started.port, result, variant.store ?? false)));
      }
      return result;
    };
    for (const each of contestants) {
      const measureMs = each.variant.flags === undefined ? firstWarmupMs.floor : firstWarmupMs.server;
      await once(each, { warmupMs: 0, measureMs });
    }
    for (let round = 0; round < rounds; round += 1) {
      // Every other round backwards, so that nobody always follows the same one.
      const order = round % 2 === 0 ? contestants : contestants.toReversed();
      for (const each of order) each.rounds.push(await once(each, { warmupMs, measureMs: seconds * 1000 }));
    }
    return { markdown: describe(contestants, stream, seconds), wrong };
  });
}

function groupOf(variant: Variant, port: number, stream: boolean): Group {
  const common = { port, connections };
  if (variant.flags === undefined) {
    return {
      ...common,
      path: '/v1/chat/completions',
      body: chatBody({ stream }),
      check: stream ? 'chat-stream' : 'chat-json',
    };
  }
  const body = responsesBody({ stream, store: variant.store ?? false, model: variant.model ?? models.fast });
  return { ...common, path: '/v1/responses', body, check: stream ? 'stream' : 'json' };
}

const answersOf = (result: JobResult): number => result.groups[0]?.answers ?? 0;
const rateOf = (result: JobResult): number => answersOf(result) / result.seconds;
const cpuOf = (result: JobResult): number => result.cpuMs / answersOf(result);

function describe(contestants: readonly Contestant[], stream: boolean, seconds: number): string {
  const unit = stream ? 'stream' : 'request';
  const floor = contestants[0]?.rounds ?? [];
  const head = ['', `${unit}s/s`, '× floor', `CPU ms/${unit}`, '× floor', 'p50 ms', 'p99 ms', 'core busy'];
  const rows = contestants.map(({ variant, rounds }) => {
    // Ratios within a round: what disturbed one disturbed the other too, more or less.
    const ratio = (of: (result: JobResult) => number): string =>
      `${median(rounds.map((each, at) => of(each) / of(floor[at] ?? each))).toFixed(2)}`;
    return [
      variant.name,
      spread(rounds.map(rateOf)),
      ratio(rateOf),
      spread(rounds.map(cpuOf)),
      ratio(cpuOf),
      figure(median(rounds.map((each) => each.groups[0]?.latencyMs.p50 ?? Number.NaN))),
      figure(median(rounds.map((each) => each.groups[0]?.latencyMs.p99 ?? Number.NaN))),
      `${Math.round(median(rounds.map((each) => each.cpuMs / each.seconds / 10)))} %`,
    ];
  });
  const foreign = contestants.flatMap(({ rounds }) => rounds.map((each) => each.foreignCpuMs / each.seconds / 10));
  const rounds = floor.length;
  return [
    `### ${stream ? 'Streams of 200 chunks' : 'Whole answers (JSON)'}`,
    '',
    table(head, rows),
    '',
    `${connections} connections; ${rounds} interleaved rounds of ${seconds} s each: median (lowest–highest). ${disturbance(foreign)}`,
  ].join('\n');
}

/** How quiet the machine was. */
export function disturbance(percentages: readonly number[]): string {
  const [middle, highest] = [median(percentages), Math.max(...percentages)].map((each) =>
    Math.max(0, Math.round(each)),
  );
  return `Other processes used ${middle} % of a core meanwhile (at most ${highest} %).`;
}
