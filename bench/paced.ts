import { join } from 'node:path';
import type { Bench } from './client.ts';
import { against, type Contestant, contest, disturbanceOf, type Entry, guardFloor, openArena } from './contest.ts';
import type { Group, JobResult } from './load.ts';
import { withProcesses } from './processes.ts';
import { chatBody, chunkCount, models, pacedGapMs, responsesBody } from './script.ts';
import { figure, median, type Summary, spread, table, verdict } from './stats.ts';

const streams = 100;
/** All streams have begun by then. */
const warmupMs = 1_500;
/** A stream begins about once a second on each connection, so a round takes longer than others' to have as many. */
const secondsFactor = 2;
/** Of what a server adds to the time to the first token, in ms. */
const targets = {
  p50: { least: 1, towards: 0.4 },
  p99: { least: 5, towards: 1.5 },
} as const;
/** As good as `towards`: so much more than the floor, in ms. */
const closeToFloorMs = 0.3;

type Quantile = keyof typeof targets;

const entries: readonly Entry[] = [
  { name: 'no server: the upstream itself', kind: 'upstream', group: chatGroup },
  { name: 'floor', kind: 'floor', group: chatGroup },
  { name: 'unstored', kind: 'server', store: false, group: (port) => responsesGroup(port, false) },
  {
    name: 'stored in SQLite',
    kind: 'server',
    flags: (folder) => ['--store.type=sqlite', `--sqlite.path=${join(folder, 'paced.sqlite')}`],
    store: true,
    group: (port) => responsesGroup(port, true),
  },
];

/** What a server adds to the time to the first token, with 100 streams open at the speed of a model. */
export const pacedBench: Bench = (options) =>
  withProcesses(async (keep) => {
    const arena = await openArena(keep, options);
    const measureMs = options.seconds * secondsFactor * 1000;
    const contestants = await contest(arena, 'paced', entries, { warmupMs, measureMs });
    const guard = await guardFloor(arena, contestants);
    return { markdown: `${describe(contestants, measureMs)}\n\n${guard}`, wrong: arena.wrong };
  });

// `perSecond` spreads the first ones over a second; from then on each follows the one before at once.
const shape = { connections: streams, perSecond: streams } as const;

function chatGroup(port: number): Group {
  const body = chatBody({ stream: true, model: models.steady });
  const path = '/v1/chat/completions';
  return { ...shape, port, path, body, check: 'chat-stream', gapsOf: '"delta":{"content":' };
}

function responsesGroup(port: number, store: boolean): Group {
  const body = responsesBody({ stream: true, store, model: models.steady });
  const path = '/v1/responses';
  return { ...shape, port, path, body, check: 'stream', gapsOf: 'event: response.output_text.delta' };
}

const nothing: Summary = { count: 0, p50: Number.NaN, p99: Number.NaN, max: Number.NaN };
const firstOf = (result: JobResult): Summary => result.groups[0]?.firstTextMs ?? nothing;
const gapsOf = (result: JobResult): Summary => result.groups[0]?.gapsMs ?? nothing;

function describe(contestants: readonly Contestant[], measureMs: number): string {
  const [upstream, floor] = contestants;
  const head = [
    ...['', 'first token p50 ms', 'p99 ms', 'added to upstream p50 ms', 'p99 ms', 'added to floor p50 ms', 'p99 ms'],
    ...['gap p50 ms', 'gap p99 ms', 'client stalled ms', 'core busy'],
  ];
  const added = (one: Contestant, base: Contestant | undefined, which: Quantile): number[] =>
    against(one, base, (each, other) => firstOf(each)[which] - firstOf(other)[which]);
  const rows = contestants.map((each) => {
    const { entry, rounds } = each;
    const to = (base: Contestant | undefined, isOf: boolean): string[] =>
      isOf ? [spread(added(each, base, 'p50')), spread(added(each, base, 'p99'))] : ['', ''];
    return [
      entry.name,
      spread(rounds.map((one) => firstOf(one).p50)),
      spread(rounds.map((one) => firstOf(one).p99)),
      ...to(upstream, entry.kind !== 'upstream'),
      ...to(floor, entry.kind === 'server'),
      figure(median(rounds.map((one) => gapsOf(one).p50))),
      figure(median(rounds.map((one) => gapsOf(one).p99))),
      figure(median(rounds.map((one) => one.ownStallMs))),
      `${Math.round(median(rounds.map((one) => one.cpuMs / one.seconds / 10)))} %`,
    ];
  });
  const verdicts = contestants
    .filter(({ entry }) => entry.kind === 'server')
    .flatMap((each) =>
      (['p50', 'p99'] as const).map((which) => {
        const [toUpstream, toFloor] = [added(each, upstream, which), added(each, floor, which)];
        return `- ${each.entry.name}, added ${which}: ${judge(which, median(toUpstream), median(toFloor))}`;
      }),
    );
  const counts = contestants.flatMap(({ rounds }) => rounds.map((one) => firstOf(one).count));
  return [
    '### Time to the first token, 100 streams open',
    '',
    table(head, rows),
    '',
    ...verdicts,
    '',
    `${streams} streams at a time, each of ${chunkCount} chunks, the first at once and one every ${pacedGapMs} ms from there; ${contestants[0]?.rounds.length ?? 0} interleaved rounds of ${measureMs / 1000} s, in each of which at least ${Math.min(...counts)} streams began: median (lowest–highest), differences within a round. "Client stalled": the longest that the measuring process itself was held up. ${disturbanceOf(contestants)}`,
  ].join('\n');
}

function judge(which: Quantile, toUpstreamMs: number, toFloorMs: number): string {
  const { least, towards } = targets[which];
  const isClose = toUpstreamMs <= towards || toFloorMs <= closeToFloorMs;
  return `≤ ${figure(least)} ms: ${verdict(toUpstreamMs <= least)}; ≤ ${figure(towards)} ms, or the floor's own + ${figure(closeToFloorMs)} ms: ${verdict(isClose)}`;
}
