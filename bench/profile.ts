import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BackendKind, describeBackends, type Place, withBackends } from './backends.ts';
import { type Bench, type BenchResult, complaints, measure } from './client.ts';
import type { Group } from './load.ts';
import { cores, type Started, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { responsesBody } from './script.ts';
import { table } from './stats.ts';

const connections = 32;
const intervalUs = 400;
const topCount = 25;
/** Of the whole; what has less is summed up. */
const leastShare = 0.01;
/** What is compiled by then is what a server runs for the rest of its life. */
const warmupMs = 7_000;
const measureMs = 5_000;

type Frame = { readonly functionName: string; readonly url: string; readonly lineNumber: number };
type Profile = {
  readonly startTime: number;
  readonly endTime: number;
  readonly nodes: readonly { readonly id: number; readonly callFrame: Frame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

type Kind = { readonly name: string; readonly stream: boolean; readonly backend: BackendKind | undefined };

const kinds: readonly Kind[] = [
  { name: 'JSON, unstored', stream: false, backend: undefined },
  { name: 'stream, unstored', stream: true, backend: undefined },
  { name: 'JSON, stored in SQLite', stream: false, backend: 'sqlite' },
  { name: 'JSON, stored in PostgreSQL', stream: false, backend: 'postgres' },
  { name: 'JSON, stored in MongoDB', stream: false, backend: 'mongodb' },
];

/** Where the server's time goes, by V8's own sampling. Not part of a run without names. */
export const profileBench: Bench = ({ folder }) =>
  withBackends(folder, ['sqlite', 'postgres', 'mongodb'], (backends) =>
    withProcesses(async (keep) => {
      const upstream = await keep(startScript('upstream.ts', [], cores.world));
      const load = await keep(startScript('load.ts', [], cores.world));
      const wrong: string[] = [];
      const parts: string[] = [describeBackends(backends)];
      for (const { name, stream, backend } of kinds) {
        const place = backends.list.find(({ kind }) => kind === backend)?.place();
        if (backend !== undefined && place === undefined) continue;
        const taken = await take({ name, stream, place }, { folder, upstream, load });
        await place?.drop();
        wrong.push(...taken.wrong);
        parts.push(
          `### Profile: ${name}`,
          ...taken.threads.map((each) => `${each.title}\n\n${each.owners}\n\n${each.functions}`),
        );
      }
      return { markdown: parts.join('\n\n'), wrong };
    }),
  );

/** What a profile needs besides the server: load and upstream, running. */
export type Around = { readonly folder: string; readonly upstream: Started; readonly load: Started };

/** Which packages the main thread spends its time in while whole answers are stored. */
export async function profileOwners(name: string, place: Place, around: Around): Promise<BenchResult> {
  const { threads, wrong } = await take({ name, stream: false, place }, around);
  return { markdown: `${threads[0]?.title}\n\n${threads[0]?.owners}`, wrong };
}

type Wanted = { readonly name: string; readonly stream: boolean; readonly place: Place | undefined };
type Taken = { readonly threads: readonly Described[]; readonly wrong: readonly string[] };

async function take({ name, stream, place }: Wanted, { folder, upstream, load }: Around): Promise<Taken> {
  const profiles = mkdtempSync(join(folder, 'profile-'));
  const nodeFlags = ['--cpu-prof', `--cpu-prof-dir=${profiles}`, `--cpu-prof-interval=${intervalUs}`];
  const stderrFile = join(profiles, 'server.log');
  const options = { core: cores.measured, cwd: folder, nodeFlags, stderrFile, env: place?.env ?? {} };
  const startedAt = performance.now();
  const server = await startServer(serverFlags(upstream.port, place?.flags), options);
  try {
    const body = responsesBody({ stream, store: place !== undefined });
    const check = stream ? 'stream' : 'json';
    const group: Group = { port: server.port, path: '/v1/responses', body, connections, check };
    const fromMs = performance.now() - startedAt + warmupMs;
    const job = { groups: [group], warmupMs, measureMs, pid: server.pid, otherPids: [upstream.pid] };
    const wrong = complaints(name, await measure(load, job), [group]);
    await server.stop();
    return { threads: readProfiles(profiles, { fromMs, toMs: fromMs + measureMs }), wrong };
  } finally {
    await server.stop();
  }
}

type Window = { readonly fromMs: number; readonly toMs: number };

/** One thread's time, as Markdown. */
type Described = { readonly title: string; readonly owners: string; readonly functions: string };

function readProfiles(folder: string, window: Window): Described[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
  const profiles = files.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Profile);
  // The main thread's profile has most to show; the other, if any, is the writer's.
  const start = Math.min(...profiles.map((profile) => profile.startTime));
  const all = profiles.map((profile) => selfTimes(profile, start, window)).sort((one, other) => sum(other) - sum(one));
  return all.map((times, at) => {
    const thread = at === 0 ? 'Main thread' : 'Another thread';
    const busy = Math.round((sum(times) / ((window.toMs - window.fromMs) * 1000)) * 100);
    return { title: `${thread}, ${busy} % of the time not idle:`, ...describe(times) };
  });
}

type SelfTime = { readonly frame: Frame; us: number };

/** Self time by function while the load was on: neither the start of the server nor its end. */
function selfTimes(profile: Profile, startUs: number, window: Window): SelfTime[] {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const times = new Map<string, SelfTime>();
  let nowUs = profile.startTime;
  for (const [at, id] of profile.samples.entries()) {
    const us = profile.timeDeltas[at] ?? 0;
    nowUs += us;
    const sinceMs = (nowUs - startUs) / 1000;
    const frame = frames.get(id);
    if (frame === undefined || frame.functionName === '(idle)') continue;
    if (sinceMs < window.fromMs || sinceMs > window.toMs) continue;
    const key = `${frame.functionName} ${frame.url}:${frame.lineNumber}`;
    const known = times.get(key) ?? { frame, us: 0 };
    known.us += us;
    times.set(key, known);
  }
  return [...times.values()];
}

function sum(times: readonly SelfTime[]): number {
  return times.reduce((total, { us }) => total + us, 0);
}

function describe(times: readonly SelfTime[]): Omit<Described, 'title'> {
  const total = sum(times);
  const share = (us: number): string => `${((us / total) * 100).toFixed(1)} %`;
  const owners = new Map<string, number>();
  for (const { frame, us } of times) owners.set(ownerOf(frame), (owners.get(ownerOf(frame)) ?? 0) + us);
  const shown = [...owners].filter(([, us]) => us >= total * leastShare).sort((one, other) => other[1] - one[1]);
  const rest = total - shown.reduce((before, [, us]) => before + us, 0);
  const byOwner = [...shown, ['everything else', rest] as const].map(([owner, us]) => [owner, share(us)]);
  const top = times.toSorted((one, other) => other.us - one.us).slice(0, topCount);
  const byFunction = top.map(({ frame, us }) => [
    `\`${frame.functionName || '(anonymous)'}\` ${placeOf(frame)}`,
    share(us),
  ]);
  return { owners: table(['where', 'self time'], byOwner), functions: table(['function', 'self time'], byFunction) };
}

function ownerOf({ functionName, url }: Frame): string {
  if (url === '') return functionName === '(garbage collector)' ? 'garbage collector' : 'native code without a script';
  if (url.startsWith('node:')) return 'Node.js';
  const dependency = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (dependency !== undefined) return dependency;
  return /\/(src\/[^/]+)/.exec(url)?.[1] ?? 'other';
}

function placeOf({ url, lineNumber }: Frame): string {
  if (url === '') return '';
  return `${url.replace(/^.*\/(?=src\/|node_modules\/)/, '').replace('node_modules/', '')}:${lineNumber + 1}`;
}
