import { join } from 'node:path';
import type { Bench } from './client.ts';
import { against, type Contestant, contest, disturbanceOf, type Entry, guardFloor, openArena } from './contest.ts';
import type { Group, JobResult } from './load.ts';
import { withProcesses } from './processes.ts';
import { chatBody, responsesBody } from './script.ts';
import { figure, median, spread, table } from './stats.ts';
import { atMost, type Target } from './targets.ts';

const warmupMs = 250;

type Rival = { readonly entry: Entry; readonly target?: Target };

const rivals: readonly Rival[] = [
  { entry: { name: 'no server: the upstream itself', kind: 'upstream', group: chatGroup } },
  { entry: { name: 'floor', kind: 'floor', group: chatGroup } },
  {
    entry: { name: 'unstored', kind: 'server', store: false, group: (port) => responsesGroup(port, false) },
    target: { least: 0.5, towards: 0.3 },
  },
  { entry: { name: 'stored in memory', kind: 'server', store: true, group: (port) => responsesGroup(port, true) } },
  {
    entry: {
      name: 'stored in SQLite, synchronous=full',
      kind: 'server',
      flags: (folder) => ['--store.type=sqlite', `--sqlite.path=${join(folder, 'latency.sqlite')}`],
      store: true,
      group: (port) => responsesGroup(port, true),
    },
    target: { least: 1, towards: 0.6 },
  },
];

/** What a server adds to a whole answer for a client that is alone. */
export const latencyBench: Bench = (options) =>
  withProcesses(async (keep) => {
    const arena = await openArena(keep, options);
    const times = { warmupMs, measureMs: options.seconds * 1000 };
    const contestants = await contest(
      arena,
      'latency',
      rivals.map(({ entry }) => entry),
      times,
    );
    const guard = await guardFloor(arena, contestants);
    return { markdown: `${describe(contestants, options.seconds)}\n\n${guard}`, wrong: arena.wrong };
  });

function chatGroup(port: number): Group {
  const body = chatBody({ stream: false });
  return { port, connections: 1, path: '/v1/chat/completions', body, check: 'chat-json' };
}

function responsesGroup(port: number, store: boolean): Group {
  const body = responsesBody({ stream: false, store });
  return { port, connections: 1, path: '/v1/responses', body, check: 'json' };
}

const p50Of = (result: JobResult): number => result.groups[0]?.latencyMs.p50 ?? Number.NaN;
const p99Of = (result: JobResult): number => result.groups[0]?.latencyMs.p99 ?? Number.NaN;
const difference = (one: JobResult, other: JobResult): number => p50Of(one) - p50Of(other);

function describe(contestants: readonly Contestant[], seconds: number): string {
  const [upstream, floor] = contestants;
  const head = ['', 'p50 ms', 'p99 ms', 'p50 added to upstream', 'target ms', 'p50 added to floor'];
  const rows = contestants.map((each, at) => {
    const target = rivals[at]?.target;
    const toUpstream = against(each, upstream, difference);
    return [
      each.entry.name,
      spread(each.rounds.map(p50Of)),
      figure(median(each.rounds.map(p99Of))),
      each === upstream ? '' : spread(toUpstream),
      target === undefined ? '' : atMost(median(toUpstream), target),
      each.entry.kind === 'server' ? spread(against(each, floor, difference)) : '',
    ];
  });
  return [
    '### Latency at one connection',
    '',
    table(head, rows),
    '',
    `Whole answers, one connection, one request at a time; ${upstream?.rounds.length ?? 0} interleaved rounds of ${seconds} s each: median (lowest–highest), differences within a round. ${disturbanceOf(contestants)}`,
  ].join('\n');
}
