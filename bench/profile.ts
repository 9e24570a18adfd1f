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

type Frame = { readonly functionName: string; readonly url: string; readonly lineNumber: number };
type Profile = {
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
      const server = await keep(startServer(serverFlags(upstream.port, flags), options));
      const body = responsesBody({ stream, store });
      const group: Group = {
        port: server.port,
        path: '/v1/responses',
        body,
        connections,
        check: stream ? 'stream' : 'json',
      };
      const times = { warmupMs: 1_000, measureMs: Math.max(seconds, 5) * 1000 };
      const result = await measure(load, { groups: [group], ...times, pid: server.pid, otherPids: [upstream.pid] });
      wrong.push(...complaints(name, result, [group]));
      await server.stop();
      parts.push(`### Profile: ${name}`, ...readProfiles(profiles));
    }
    return { markdown: parts.join('\n\n'), wrong };
  });

function readProfiles(folder: string): string[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
  const profiles = files.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Profile);
  // The main thread's profile has most to show; the other, if any, is the writer's.
  profiles.sort((one, other) => busyTime(other) - busyTime(one));
  return profiles.map((profile, at) => `${at === 0 ? 'Main thread' : 'Another thread'}:\n\n${describe(profile)}`);
}

/** Self time by function, in µs. */
function selfTimes(profile: Profile): Map<string, { readonly frame: Frame; us: number }> {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const times = new Map<string, { readonly frame: Frame; us: number }>();
  for (const [at, id] of profile.samples.entries()) {
    const frame = frames.get(id);
    if (frame === undefined || frame.functionName === '(idle)') continue;
    const key = `${frame.functionName} ${frame.url}:${frame.lineNumber}`;
    const known = times.get(key) ?? { frame, us: 0 };
    known.us += profile.timeDeltas[at] ?? 0;
    times.set(key, known);
  }
  return times;
}

function busyTime(profile: Profile): number {
  return [...selfTimes(profile).values()].reduce((sum, { us }) => sum + us, 0);
}

function describe(profile: Profile): string {
  const times = [...selfTimes(profile).values()].sort((one, other) => other.us - one.us);
  const total = times.reduce((sum, { us }) => sum + us, 0);
  const share = (us: number): string => `${((us / total) * 100).toFixed(1)} %`;
  const owners = new Map<string, number>();
  for (const { frame, us } of times) owners.set(ownerOf(frame), (owners.get(ownerOf(frame)) ?? 0) + us);
  const byOwner = [...owners].sort((one, other) => other[1] - one[1]).map(([owner, us]) => [owner, share(us)]);
  const top = times
    .slice(0, topCount)
    .map(({ frame, us }) => [`\`${frame.functionName || '(anonymous)'}\` ${placeOf(frame)}`, share(us)]);
  return `${table(['where', 'self time'], byOwner)}\n\n${table(['function', 'self time'], top)}`;
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
