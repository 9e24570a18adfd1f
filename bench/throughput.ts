import { join } from 'node:path';
import type { Bench, BenchOptions, BenchResult } from './client.ts';
import {
  against,
  answersOf,
  type Contestant,
  contest,
  disturbanceOf,
  type Entry,
  guardFloor,
  judgeFloor,
  openArena,
  rateOf,
  yardstickGroup,
} from './contest.ts';
import type { JobResult } from './load.ts';
import { withProcesses } from './processes.ts';
import { models, responsesBody } from './script.ts';
import { figure, median, spread, table } from './stats.ts';
import { atLeast, atMost, type Target } from './targets.ts';

const connections = 32;
const warmupMs = 250;

type Variant = {
  readonly name: string;
  /** Of the server; the others are yardsticks. */
  readonly flags?: (folder: string) => readonly string[];
  readonly yardstick?: 'hello' | 'floor';
  readonly store?: boolean;
  readonly model?: string;
  readonly only?: 'json' | 'stream';
  /** Of the floor's rate. */
  readonly share?: { readonly json?: Target; readonly stream?: Target };
  /** CPU in µs per whole answer. */
  readonly cpuUs?: Target;
};

const variants: readonly Variant[] = [
  { name: 'hello: `node:http` alone, the same answer', yardstick: 'hello', only: 'json' },
  { name: 'floor', yardstick: 'floor' },
  {
    name: 'unstored',
    flags: () => [],
    share: { json: { least: 0.48, towards: 0.6 }, stream: { least: 0.55, towards: 0.65 } },
    cpuUs: { least: 60, towards: 40 },
  },
  { name: 'unstored, log.level=info (default)', flags: () => ['--log.level=info'] },
  { name: 'unstored, a delta for each chunk', flags: () => ['--no-stream.join-deltas'], only: 'stream' },
  { name: 'unstored, chunks padded as by OpenAI', flags: () => [], model: models.padded, only: 'stream' },
  { name: 'stored in memory', flags: () => [], store: true, share: { json: { least: 0.28, towards: 0.45 } } },
  {
    name: 'stored in SQLite, synchronous=full',
    flags: (folder) => ['--store.type=sqlite', `--sqlite.path=${join(folder, 'throughput.sqlite')}`],
    store: true,
    share: { json: { least: 0.15, towards: 0.25 }, stream: { least: 0.4, towards: 0.5 } },
  },
];

/** Whole answers: requests per second. */
export const jsonBench: Bench = (options) => run(options, 'json');
/** Streams of 200 chunks: streams per second. */
export const streamBench: Bench = (options) => run(options, 'stream');

type Form = 'json' | 'stream';
type Placed = { readonly variant: Variant; readonly contestant: Contestant };

function run(options: BenchOptions, form: Form): Promise<BenchResult> {
  return withProcesses(async (keep) => {
    const arena = await openArena(keep, options);
    const chosen = variants.filter(({ only }) => only === undefined || only === form);
    const times = { warmupMs, measureMs: options.seconds * 1000 };
    const contestants = await contest(
      arena,
      form,
      chosen.map((each) => entryOf(each, form)),
      times,
    );
    const placed = chosen.flatMap((variant, at): Placed[] => {
      const contestant = contestants[at];
      return contestant === undefined ? [] : [{ variant, contestant }];
    });
    const [floor, hello] = [find(placed, 'floor'), find(placed, 'hello')];
    const guard =
      floor !== undefined && hello !== undefined
        ? judgeFloor(arena, floor.rounds, hello.rounds)
        : await guardFloor(arena, contestants);
    return { markdown: `${describe(placed, form, options.seconds)}\n\n${guard}`, wrong: arena.wrong };
  });
}

function find(placed: readonly Placed[], yardstick: 'hello' | 'floor'): Contestant | undefined {
  return placed.find(({ variant }) => variant.yardstick === yardstick)?.contestant;
}

function entryOf(variant: Variant, form: Form): Entry {
  const { name, yardstick, flags = () => [], store = false, model = models.fast } = variant;
  const stream = form === 'stream';
  if (yardstick !== undefined) {
    return { name, kind: yardstick, group: (port) => yardstickGroup(yardstick, port, stream, connections) };
  }
  const body = responsesBody({ stream, store, model });
  const group: Entry['group'] = (port) => ({ port, connections, path: '/v1/responses', body, check: form });
  return { name, kind: 'server', flags, store, group };
}

const cpuOf = (result: JobResult): number => result.cpuMs / answersOf(result);

function describe(placed: readonly Placed[], form: Form, seconds: number): string {
  const unit = form === 'stream' ? 'stream' : 'request';
  const floor = find(placed, 'floor');
  const head = [
    ...['', `${unit}s/s`, '× floor', 'target × floor', `CPU ms/${unit}`, '× floor'],
    ...['p50 ms', 'p99 ms', 'core busy'],
  ];
  const rows = placed.map(({ variant, contestant }) => {
    const { rounds } = contestant;
    const shares = against(contestant, floor, (one, other) => rateOf(one) / rateOf(other));
    const costs = against(contestant, floor, (one, other) => cpuOf(one) / cpuOf(other));
    const target = variant.share?.[form];
    return [
      variant.name,
      spread(rounds.map(rateOf)),
      contestant === floor ? '1.00' : spread(shares),
      target === undefined ? '' : atLeast(median(shares), target),
      spread(rounds.map(cpuOf)),
      contestant === floor ? '1.00' : spread(costs),
      figure(median(rounds.map((each) => each.groups[0]?.latencyMs.p50 ?? Number.NaN))),
      figure(median(rounds.map((each) => each.groups[0]?.latencyMs.p99 ?? Number.NaN))),
      `${Math.round(median(rounds.map((each) => each.cpuMs / each.seconds / 10)))} %`,
    ];
  });
  const rounds = floor?.rounds.length ?? 0;
  const contestants = placed.map(({ contestant }) => contestant);
  return [
    `### ${form === 'stream' ? 'Streams of 200 chunks' : 'Whole answers (JSON)'}`,
    '',
    table(head, rows),
    '',
    ...(form === 'json' ? placed.flatMap(describeCpu) : []),
    `${connections} connections; ${rounds} interleaved rounds of ${seconds} s each: median (lowest–highest). ${disturbanceOf(contestants)}`,
  ].join('\n');
}

function describeCpu({ variant, contestant }: Placed): string[] {
  if (variant.cpuUs === undefined) return [];
  const cpuUs = contestant.rounds.map((each) => cpuOf(each) * 1000);
  return [
    `CPU per request, ${variant.name}: ${spread(cpuUs)} µs. Target: ${atMost(median(cpuUs), variant.cpuUs)}.`,
    '',
  ];
}
