import { join } from 'node:path';
import { type Bench, type BenchOptions, complaints, measure } from './client.ts';
import { disturbance } from './contest.ts';
import { compileShim, type Shim, syncDelayMs } from './fsync-shim.ts';
import type { Group, GroupResult, JobResult } from './load.ts';
import { cores, type Started, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { chatBody, models, pacedGapMs, responsesBody } from './script.ts';
import { figure, table } from './stats.ts';

const streams = 8;
const background = { connections: 16, perSecond: 200 };
const targetGapMs = 50;
const lockHoldMs = 1_000;
const measureMs = 6_000;
const warmupMs = 1_500;

type Row = {
  readonly name: string;
  readonly paced: GroupResult;
  readonly stored: GroupResult | undefined;
  readonly syncs: number | undefined;
  readonly foreign: number;
  readonly ownStallMs: number;
};

/** Whether streams flow on while the disk is slow, or the database in somebody else's hands. */
export const slowDiskBench: Bench = (options) =>
  withProcesses(async (keep) => {
    const upstream = await keep(startScript('upstream.ts', [], cores.world));
    const load = await keep(startScript('load.ts', [], cores.world));
    const wrong: string[] = [];
    const rows: Row[] = [];
    const note = (name: string, job: Ran, syncs?: number): void => {
      wrong.push(...complaints(name, job.result, job.groups));
      rows.push(rowOf(name, job, syncs));
    };
    note('no server: the upstream itself', await runLoad(load, upstream, [pacedGroup(upstream.port, false)], upstream));

    const file = join(options.folder, 'disk.sqlite');
    const plain = await keep(start(upstream, file, options));
    note('SQLite, the disk as it is', await runLoad(load, plain, bothGroups(plain.port), upstream));
    const holder = await keep(startScript('lock-holder.ts', [file], cores.world));
    const locked = await withLock(holder, () => runLoad(load, plain, bothGroups(plain.port), upstream));
    note(`SQLite, locked by another process for ${lockHoldMs} ms`, locked.job);
    wrong.push(...wrongLock(locked));
    await holder.stop();
    await plain.stop();

    const shim = compileShim(options.folder);
    if (shim === undefined) {
      wrong.push('there is no gcc: the slow disk was NOT measured');
    } else {
      const slow = await keep(start(upstream, join(options.folder, 'slow.sqlite'), options, shim));
      const before = shim.count();
      const job = await runLoad(load, slow, bothGroups(slow.port), upstream);
      const syncs = shim.count() - before;
      note(`SQLite, every fsync ${syncDelayMs} ms slower`, job, syncs);
      wrong.push(...wrongShim(syncs, job));
    }
    return { markdown: describe(rows), wrong };
  });

function start(upstream: Started, file: string, options: BenchOptions, shim?: Shim): Promise<Started> {
  const flags = serverFlags(upstream.port, ['--store.type=sqlite', `--sqlite.path=${file}`]);
  const stderrFile = join(options.folder, `server-disk${shim === undefined ? '' : '-slow'}.log`);
  return startServer(flags, { core: cores.measured, cwd: options.folder, stderrFile, ...(shim && { env: shim.env }) });
}

type Ran = { readonly groups: readonly Group[]; readonly result: JobResult };

async function runLoad(load: Started, server: Started, groups: readonly Group[], upstream: Started): Promise<Ran> {
  const otherPids = server === upstream ? [] : [upstream.pid];
  return { groups, result: await measure(load, { groups, warmupMs, measureMs, pid: server.pid, otherPids }) };
}

function pacedGroup(port: number, isServer: boolean): Group {
  // Started one after the other, not in step.
  const common = { port, connections: streams, perSecond: 100 };
  if (!isServer) {
    const body = chatBody({ stream: true, model: models.paced });
    return { ...common, path: '/v1/chat/completions', body, check: 'chat-stream', gapsOf: '"delta":{"content":' };
  }
  const body = responsesBody({ stream: true, store: true, model: models.paced });
  return { ...common, path: '/v1/responses', body, check: 'stream', gapsOf: 'event: response.output_text.delta' };
}

function bothGroups(port: number): Group[] {
  const body = responsesBody({ stream: false, store: true });
  return [pacedGroup(port, true), { ...background, port, path: '/v1/responses', body, check: 'json' }];
}

type Locked = { readonly job: Ran; readonly heldMs: number };

/** Takes the database's write lock in the middle of `during`. */
async function withLock(holder: Started, during: () => Promise<Ran>): Promise<Locked> {
  const held = new Promise<number>((resolve) => {
    holder.child.once('message', (message) => resolve((message as { heldMs: number }).heldMs));
  });
  setTimeout(() => holder.child.send({ holdMs: lockHoldMs }), warmupMs + measureMs / 3);
  const job = await during();
  return { job, heldMs: await held };
}

/** Without these the figures would look good and mean nothing. */
function wrongLock({ job, heldMs }: Locked): string[] {
  const longest = job.result.groups[1]?.latencyMs.max ?? 0;
  const felt = heldMs >= lockHoldMs * 0.95 && longest >= lockHoldMs * 0.8;
  return felt
    ? []
    : [`the lock was held for ${figure(heldMs)} ms, but no stored request took longer than ${figure(longest)} ms`];
}

function wrongShim(syncs: number, job: Ran): string[] {
  const p50 = job.result.groups[1]?.latencyMs.p50 ?? 0;
  const isFelt = syncs > 0 && p50 >= syncDelayMs;
  return isFelt ? [] : [`the slow disk had no effect: ${syncs} fsyncs, stored requests in ${figure(p50)} ms`];
}

function rowOf(name: string, { result }: Ran, syncs: number | undefined): Row {
  const [paced, stored] = result.groups;
  if (paced === undefined) throw new Error('no streams');
  return {
    name,
    paced,
    stored,
    syncs,
    foreign: result.foreignCpuMs / result.seconds / 10,
    ownStallMs: result.ownStallMs,
  };
}

function describe(rows: readonly Row[]): string {
  const head = [
    '',
    'gap p50 ms',
    'p99 ms',
    'max ms',
    'client stalled ms',
    'to `completed` p50 ms',
    'stored/s',
    'p50 ms',
    'max ms',
    'fsyncs/s',
  ];
  const lines = rows.map(({ name, paced, stored, syncs, ownStallMs }) => [
    name,
    figure(paced.gapsMs.p50),
    figure(paced.gapsMs.p99),
    figure(paced.gapsMs.max),
    figure(ownStallMs),
    figure(paced.endingMs.p50),
    stored === undefined ? '' : figure(stored.answers / (measureMs / 1000)),
    stored === undefined ? '' : figure(stored.latencyMs.p50),
    stored === undefined ? '' : figure(stored.latencyMs.max),
    syncs === undefined ? '' : figure(syncs / ((measureMs + warmupMs) / 1000)),
  ]);
  const worst = Math.max(...rows.slice(1).map(({ paced }) => paced.gapsMs.p99));
  const verdict = worst <= targetGapMs ? 'met' : 'MISSED';
  return [
    '### Streams while the disk is slow or the database locked',
    '',
    table(head, lines),
    '',
    `${streams} stored streams with a chunk every ${pacedGapMs} ms, and ${background.perSecond} stored JSON requests per second on ${background.connections} connections beside them, for ${measureMs / 1000} s.`,
    `Gap: between two pieces of text at the client; "client stalled" is the longest that the measuring process itself was held up. Target: p99 of at most ${targetGapMs} ms: ${verdict} (${figure(worst)} ms). ${disturbance(rows.map((each) => each.foreign))}`,
  ].join('\n');
}
