import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bench, type BenchOptions, complaints, measure } from './client.ts';
import type { Group } from './load.ts';
import { type MemoryUse, memoryOf } from './machine.ts';
import { cores, type Started, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { chatBody, models, responsesBody, slowGapMs } from './script.ts';
import { figure, median, spread, table } from './stats.ts';
import type { HolderState, HolderTask } from './stream-holder.ts';
import { atMost, type Target } from './targets.ts';

const streams = 1_000;
/** Each takes as long as ten rounds of other benches. */
const maxRounds = 3;
/**
 * A few streams before, so that loading code is not charged to those that are held. No more: a heap that load has
 * stretched would have room for them.
 */
const warmup = { connections: 2, limit: 40, limitMs: 10_000 };
const settleMs = 3_000;
/** Memory moves with every garbage collection: the median of some looks. */
const looks = { count: 5, everyMs: 200 };

const target: Target = { least: 100, towards: 50 };

type Kind = { readonly name: string; readonly flags?: (file: string) => readonly string[]; readonly store: boolean };

const kinds: readonly Kind[] = [
  { name: 'floor', store: false },
  { name: 'unstored', flags: () => [], store: false },
  { name: 'stored in SQLite', flags: (file) => ['--store.type=sqlite', `--sqlite.path=${file}`], store: true },
];

type Round = { readonly before: MemoryUse; readonly after: MemoryUse };
type Row = { readonly kind: Kind; readonly rounds: Round[] };

/** What an open stream takes of the server's memory. */
export const openStreamsBench: Bench = (options) =>
  withProcesses(async (keep) => {
    const upstream = await keep(startScript('upstream.ts', [], cores.world));
    const load = await keep(startScript('load.ts', [], cores.world));
    const holder = await keep(startScript('stream-holder.ts', [], cores.world));
    const around = { options, keep, upstream, load, holder, wrong: [] as string[] };
    const rows = kinds.map((kind): Row => ({ kind, rounds: [] }));
    for (let round = 0; round < Math.min(options.rounds, maxRounds); round += 1) {
      for (const each of round % 2 === 0 ? rows : rows.toReversed()) {
        each.rounds.push(await takeRound(around, each.kind, round));
      }
    }
    return { markdown: describe(rows), wrong: around.wrong };
  });

type Around = {
  readonly options: BenchOptions;
  readonly keep: (started: Promise<Started>) => Promise<Started>;
  readonly upstream: Started;
  readonly load: Started;
  readonly holder: Started;
  readonly wrong: string[];
};

/** A process of its own for each round: memory that was once taken is seldom given back. */
async function takeRound(around: Around, kind: Kind, round: number): Promise<Round> {
  const { upstream, load, holder, wrong } = around;
  const started = await around.keep(start(around, kind, round));
  const warm = { ...groupOf(kind, started.port, models.fast), limit: warmup.limit };
  const times = { warmupMs: 0, measureMs: warmup.limitMs };
  const result = await measure(load, { groups: [warm], ...times, pid: started.pid, otherPids: [upstream.pid] });
  wrong.push(...complaints(kind.name, result, [warm]));
  await sleep(settleMs);
  const before = await lookAt(started.pid);
  const { path, body } = groupOf(kind, started.port, models.slow);
  const text = kind.flags === undefined ? '"delta":{"content":' : 'event: response.output_text.delta';
  const opened = await ask(holder, { kind: 'open', port: started.port, path, body, count: streams, text });
  await sleep(settleMs);
  const after = await lookAt(started.pid);
  const last = await ask(holder, { kind: 'close' });
  await started.stop();
  wrong.push(...wrongStreams(kind.name, opened, last));
  return { before, after };
}

function start({ options, upstream }: Around, kind: Kind, round: number): Promise<Started> {
  const { folder } = options;
  if (kind.flags === undefined) {
    return startScript('floor.ts', [`http://127.0.0.1:${upstream.port}`], cores.measured);
  }
  const flags = serverFlags(upstream.port, kind.flags(join(folder, `open-streams-${round}.sqlite`)));
  const stderrFile = join(folder, `server-open-streams-${kind.store}-${round}.log`);
  return startServer(flags, { core: cores.measured, cwd: folder, stderrFile });
}

function groupOf({ flags, store }: Kind, port: number, model: string): Group {
  const { connections } = warmup;
  if (flags === undefined) {
    const body = chatBody({ stream: true, model });
    return { port, connections, path: '/v1/chat/completions', body, check: 'chat-stream' };
  }
  return {
    port,
    connections,
    path: '/v1/responses',
    body: responsesBody({ stream: true, store, model }),
    check: 'stream',
  };
}

async function lookAt(pid: number): Promise<MemoryUse> {
  const seen: MemoryUse[] = [];
  for (let at = 0; at < looks.count; at += 1) {
    await sleep(looks.everyMs);
    seen.push(memoryOf(pid));
  }
  return { rss: median(seen.map(({ rss }) => rss)), pss: median(seen.map(({ pss }) => pss)) };
}

const askLimitMs = 90_000;

/** @throws Error where the holder ends, or does not answer in time. */
async function ask(holder: Started, task: HolderTask): Promise<HolderState> {
  const answer = once(holder.child, 'message', { signal: AbortSignal.timeout(askLimitMs) });
  holder.child.send(task);
  const [state] = (await answer) as [HolderState];
  return state;
}

/** Streams that are closed, or that bring nothing more, would look cheap. */
function wrongStreams(name: string, opened: HolderState, last: HolderState): string[] {
  const failure = opened.failure ?? last.failure;
  if (failure !== undefined) return [`${name}: ${failure}`];
  if (opened.flowing !== streams || last.flowing !== streams) {
    return [`${name}: of ${streams} streams ${opened.flowing} were open, and ${last.flowing} at the end`];
  }
  return last.leastReads > 1 ? [] : [`${name}: a stream brought nothing after its first text`];
}

const kilobyte = 1_000;
const megabyte = 1_000_000;

function describe(rows: readonly Row[]): string {
  const head = ['', 'RSS before MB', 'after MB', 'RSS KB per stream', 'PSS KB per stream', 'target KB of RSS'];
  const each = ({ rounds }: Row, of: 'rss' | 'pss'): number[] =>
    rounds.map(({ before, after }) => (after[of] - before[of]) / streams / kilobyte);
  const lines = rows.map((row) => [
    row.kind.name,
    figure(median(row.rounds.map(({ before }) => before.rss / megabyte))),
    figure(median(row.rounds.map(({ after }) => after.rss / megabyte))),
    spread(each(row, 'rss')),
    spread(each(row, 'pss')),
    row.kind.flags === undefined ? '' : atMost(median(each(row, 'rss')), target),
  ]);
  const rounds = rows[0]?.rounds.length ?? 0;
  return [
    `### ${figure(streams)} open streams`,
    '',
    table(head, lines),
    '',
    `${figure(streams)} streams that bring a chunk every ${slowGapMs / 1000} s; each had brought its first text and more when the memory was read, ${settleMs / 1000} s after the last one was opened. ${rounds} rounds, each with processes of their own: median (lowest–highest). KB and MB are 1,000 and 1,000,000 bytes.`,
  ].join('\n');
}
