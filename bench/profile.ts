import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, complaints, measure } from './client.ts';
import type { Group } from './load.ts';
import { cores, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { responsesBody } from './script.ts';
import { table } from './stats.ts';

const connections = 32;
const intervalUs = 400;
const topCount = 25;
/** Of the whole; what has less is summed up. */
const leastShare = 0.01;
/** What is compiled by then is what a server runs for the rest of its life. */
const warmupMs = 7_000;

type Frame = { readonly functionName: string; readonly url: string; readonly lineNumber: number };
type Profile = {
  readonly startTime: number;
  readonly endTime: number;
  readonly nodes: readonly { readonly id: number; readonly callFrame: Frame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

const kinds = [
  { name: 'JSON, unstored', stream: false, store: false },
  { name: 'stream, unstored', stream: true, store: false },
  { name: 'JSON, stored in SQLite', stream: false, store: true },
] as const;

/** Where the server's time goes, by V8's own sampling. Not part of a run without names. */
export const profileBench: Bench = ({ folder, seconds }) =>
  withProcesses(async (keep) => {
    const upstream = await keep(startScript('upstream.ts', [], cores.world));
    const load = await keep(startScript('load.ts', [], cores.world));
    const wrong: string[] = [];
    const parts: string[] = [];
    for (const [at, { name, stream, store }] of kinds.entries()) {
      const profiles = join(folder, `profile-${at}`);
      mkdirSync(profiles);
      const flags = store ? ['--store.type=sqlite', `--sqlite.path=${join(profiles, 'profile.sqlite')}`] : [];
      const nodeFlags = ['--cpu-prof', `--cpu-prof-dir=${profiles}`, `--cpu-prof-interval=${intervalUs}`];
      const stderrFile = join(folder, `server-profile-${at}.log`);
      const options = { core: cores.measured, cwd: folder, nodeFlags, stderrFile };
      const startedAt = performance.now();
      const server = await keep(startServer(serverFlags(upstream.port, flags), options));
      const body = responsesBody({ stream, store });
      const group: Group = {
        port: server.port,
        path: '/v1/responses',
        body,
        connections,
        check: stream ? 'stream' : 'json',
      };
      const times = { warmupMs, measureMs: Math.max(seconds, 5) * 1000 };
      const fromMs = performance.now() - startedAt + warmupMs;
      const result = await measure(load, { groups: [group], ...times, pid: server.pid, otherPids: [upstream.pid] });
      wrong.push(...complaints(name, result, [group]));
      await server.stop();
      parts.push(`### Profile: ${name}`, ...readProfiles(profiles, { fromMs, toMs: fromMs + times.measureMs }));
    }
    return { markdown: parts.join('\n\n'), wrong };
  });

type Window = { readonly fromMs: number; readonly toMs: number };

function readProfiles(folder: string, window: Window): string[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
  const profiles = files.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Profile);
  // The main thread's profile has most to show; the other, if any, is the writer's.
  const start = Math.min(...profiles.map((profile) => profile.startTime));
  const all = profiles.map((profile) => selfTimes(profile, start, window)).sort((one, other) => sum(other) - sum(one));
  return all.map((times, at) => {
    const title = at === 0 ? 'Main thread' : 'Another thread';
    const busy = Math.round((sum(times) / ((window.toMs - window.fromMs) * 1000)) * 100);
    return `${title}, ${busy} % of the time not idle:\n\n${describe(times)}`;
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

function describe(times: readonly SelfTime[]): string {
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
  return `${table(['where', 'self time'], byOwner)}\n\n${table(['function', 'self time'], byFunction)}`;
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
