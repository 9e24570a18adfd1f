import { join } from 'node:path';
import { type Bench, complaints, measure, wronglyKept } from './client.ts';
import type { Group, JobResult } from './load.ts';
import { rssOf } from './machine.ts';
import { cores, type Started, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { responsesBody } from './script.ts';
import { figure, median, table, verdict } from './stats.ts';

/** Of each server; what warms up comes on top. */
const wanted = { requests: 200_000, streams: 20_000 };
/** The load comes in slices, each with connections of its own. */
const slices = 40;
const warmupSlices = 6;
/** The servers follow each other, so all of it is done after nine minutes. */
const limitMs = 4.5 * 60_000;
const sampleEveryMs = 100;
/** From the second quarter to the last one. */
const mostGrowth = 0.05;

type Kind = { readonly name: string; readonly flags: (folder: string) => readonly string[]; readonly forgets: boolean };

/** One store per server, so the mixture takes two. */
const kinds: readonly Kind[] = [
  {
    name: 'in memory, `memory.max-threads=1000`, `memory.max-bytes=4MiB`',
    // What one slice stores is more than that.
    flags: () => ['--memory.max-threads=1000', '--memory.max-bytes=4MiB'],
    forgets: true,
  },
  {
    name: 'SQLite, synchronous=full',
    flags: (folder) => ['--store.type=sqlite', `--sqlite.path=${join(folder, 'soak.sqlite')}`],
    forgets: false,
  },
];

type Sample = { readonly slice: number; readonly rss: number };
type Soaked = {
  readonly kind: Kind;
  readonly samples: readonly Sample[];
  readonly requests: number;
  readonly streams: number;
  readonly slices: number;
  readonly seconds: number;
};

/** Whether a server's memory stays what it is. Runs only by name. */
export const soakBench: Bench = (options) =>
  withProcesses(async (keep) => {
    const upstream = await keep(startScript('upstream.ts', [], cores.world));
    const load = await keep(startScript('load.ts', [], cores.world));
    const wrong: string[] = [];
    const all: Soaked[] = [];
    for (const [at, kind] of kinds.entries()) {
      const flags = serverFlags(upstream.port, kind.flags(options.folder));
      const stderrFile = join(options.folder, `server-soak-${at}.log`);
      const server = await keep(startServer(flags, { core: cores.measured, cwd: options.folder, stderrFile }));
      all.push(await soak({ kind, server, upstream, load, wrong }));
      await server.stop();
    }
    return { markdown: describe(all), wrong };
  });

type Around = {
  readonly kind: Kind;
  readonly server: Started;
  readonly upstream: Started;
  readonly load: Started;
  readonly wrong: string[];
};

async function soak(around: Around): Promise<Soaked> {
  const { kind, server, wrong } = around;
  const samples: Sample[] = [];
  const startedAt = performance.now();
  const leftMs = (): number => limitMs - (performance.now() - startedAt);
  let slice = 0;
  const sampler = setInterval(() => samples.push({ slice, rss: rssOf(server.pid) }), sampleEveryMs);
  const counts = { requests: 0, streams: 0 };
  let first: JobResult | undefined;
  try {
    for (; slice < warmupSlices + slices && leftMs() > 0 && wrong.length === 0; slice += 1) {
      const result = await takeSlice(around, leftMs());
      first ??= result;
      if (slice < warmupSlices) continue;
      counts.requests += countOf(result, 'json');
      counts.streams += countOf(result, 'stream');
    }
  } finally {
    clearInterval(sampler);
  }
  // What is bounded has to have forgotten the first ones, and what is durable must not.
  if (first !== undefined)
    wrong.push(...(await wronglyKept(`${kind.name}, after all`, server.port, first, !kind.forgets)));
  const seconds = (performance.now() - startedAt) / 1000;
  return { kind, samples, ...counts, slices: Math.max(0, slice - warmupSlices), seconds };
}

const perSlice = { requests: wanted.requests / slices, streams: wanted.streams / slices };

/** Stored ones first: of them one is read back. */
function groupsOf(port: number): Group[] {
  return [true, false].flatMap((store): Group[] => {
    const common = { port, path: '/v1/responses' };
    const [json, stream] = [false, true].map((each) => responsesBody({ stream: each, store })) as [string, string];
    return [
      { ...common, connections: 10, body: json, check: 'json', limit: perSlice.requests / 2 },
      { ...common, connections: 6, body: stream, check: 'stream', limit: perSlice.streams / 2 },
    ];
  });
}

async function takeSlice({ kind, server, upstream, load, wrong }: Around, leftMs: number): Promise<JobResult> {
  const groups = groupsOf(server.port);
  const job = { groups, warmupMs: 0, measureMs: leftMs, pid: server.pid, otherPids: [upstream.pid] };
  const result = await measure(load, job);
  wrong.push(...complaints(kind.name, result, groups));
  wrong.push(...(await wronglyKept(kind.name, server.port, result, true)));
  return result;
}

function countOf(result: JobResult, check: 'json' | 'stream'): number {
  const isStream = (at: number): boolean => at % 2 === 1;
  return result.groups.reduce((sum, { all }, at) => sum + (isStream(at) === (check === 'stream') ? all : 0), 0);
}

const megabyte = 1_000_000;

/** Medians of the four quarters after the warm-up. */
function quartersOf({ samples, slices: done }: Soaked): number[] {
  return [0, 1, 2, 3].map((quarter) => {
    const [from, to] = [quarter, quarter + 1].map((each) => warmupSlices + (each * done) / 4) as [number, number];
    return median(samples.filter(({ slice }) => slice >= from && slice < to).map(({ rss }) => rss));
  });
}

function describe(all: readonly Soaked[]): string {
  const head = [
    ...['', 'requests', 'streams', 's', 'RSS at first MB', 'after warm-up', '2nd quarter', '3rd', 'last', 'highest'],
    ...['last to 2nd', 'bytes per answer', `flat: at most ${mostGrowth * 100} % more`],
  ];
  const rows = all.map((each) => {
    const [first = Number.NaN, second = Number.NaN, third = Number.NaN, last = Number.NaN] = quartersOf(each);
    const isWhole = each.requests >= wanted.requests && each.streams >= wanted.streams;
    const between = (each.requests + each.streams) / 2;
    const said = verdict(last <= second * (1 + mostGrowth));
    return [
      each.kind.name,
      figure(each.requests),
      figure(each.streams),
      figure(each.seconds),
      ...[each.samples[0]?.rss ?? Number.NaN, first, second, third, last].map((rss) => figure(rss / megabyte)),
      figure(each.samples.reduce((most, { rss }) => Math.max(most, rss), 0) / megabyte),
      `${last >= second ? '+' : '−'}${figure((Math.abs(last - second) / second) * 100)} %`,
      figure((last - second) / between),
      isWhole ? said : `${said}, but **stopped early**`,
    ];
  });
  return [
    '### Soak: whether memory stays flat',
    '',
    table(head, rows),
    '',
    `Whole answers and streams of 200 chunks at the same time, half of each stored, in ${slices} slices with 32 connections of their own each, after ${warmupSlices} slices to warm up. RSS read every ${sampleEveryMs} ms, medians of the quarters. After ${limitMs / 60_000} minutes a server's turn is over, however far it is. "Bytes per answer": the growth from the second quarter to the last, by the answers between their middles. MB are 1,000,000 bytes.`,
  ].join('\n');
}
