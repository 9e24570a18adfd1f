import { join } from 'node:path';
import { type Backend, describeBackends, type Place, withBackends } from './backends.ts';
import { type Bench, complaints, measure, wronglyKept } from './client.ts';
import { disturbance } from './contest.ts';
import type { Follow } from './course.ts';
import type { Group, JobResult } from './load.ts';
import { cores, type Started, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { profileOwners } from './profile.ts';
import { responsesBody } from './script.ts';
import { figure, median, spread, table, verdict } from './stats.ts';

const connections = 32;
const turnsPerThread = 8;
const targetRatio = 0.5;
/** More than any store takes: what each connection has as conversations must last for the whole round. */
const mostPerSecond = { indexed: 6_000, unindexed: 300 };
const firstWarmupMs = 7_000;
/** Where the server is warm, but not for this kind of turn. */
const nextWarmupMs = 2_000;
const warmupMs = 250;

type TurnKind = 'new' | 'chain' | 'conversation';

const titles: Readonly<Record<TurnKind, string>> = {
  new: 'Whole answers (JSON), each a new chain',
  chain: `Whole answers (JSON), chains of ${turnsPerThread} turns by \`previous_response_id\``,
  conversation: `Whole answers (JSON), ${turnsPerThread} turns in each conversation`,
};

type Contestant = {
  readonly name: string;
  /** Undefined: nothing is stored. */
  readonly backend: Backend | undefined;
  readonly place: Place | undefined;
  readonly started: Started;
  readonly rounds: Readonly<Record<TurnKind, JobResult[]>>;
};

/** What storing a turn costs, store by store. */
export const storesBench: Bench = ({ rounds, seconds, folder }) =>
  withBackends(folder, ['sqlite', 'postgres', 'mongodb'], (backends) =>
    withProcesses(async (keep) => {
      const upstream = await keep(startScript('upstream.ts', [], cores.world));
      const load = await keep(startScript('load.ts', [], cores.world));
      const contestants: Contestant[] = [];
      for (const backend of [undefined, ...backends.list]) {
        const place = backend?.place();
        const stderrFile = join(folder, `server-stores-${backend?.kind ?? 'none'}.log`);
        const flags = serverFlags(upstream.port, place?.flags);
        const options = { core: cores.measured, cwd: folder, stderrFile, env: place?.env ?? {} };
        const started = await keep(startServer(flags, options));
        const name = backend?.name ?? 'unstored';
        contestants.push({ name, backend, place, started, rounds: { new: [], chain: [], conversation: [] } });
      }
      const wrong: string[] = [];
      const once = async (each: Contestant, kind: TurnKind, warmMs: number, measureMs: number): Promise<JobResult> => {
        await each.place?.empty?.();
        const group = groupOf(each, kind, (warmMs + measureMs) / 1000);
        const result = await measure(load, {
          ...{ groups: [group], warmupMs: warmMs, measureMs, pid: each.started.pid, otherPids: [upstream.pid] },
          ...{ databasePid: each.backend?.pid, worldCore: cores.world },
        });
        const where = `${each.name}, ${kind}`;
        wrong.push(...complaints(where, result, [group]));
        wrong.push(...(await wronglyKept(where, each.started.port, result, each.backend !== undefined)));
        return result;
      };
      const parts = ['### What storing costs', describeBackends(backends)];
      for (const kind of ['new', 'chain', 'conversation'] as const) {
        const taking = contestants.filter(({ backend }) => kind === 'new' || backend !== undefined);
        for (const each of taking) await once(each, kind, 0, kind === 'new' ? firstWarmupMs : nextWarmupMs);
        for (let round = 0; round < rounds; round += 1) {
          for (const each of round % 2 === 0 ? taking : taking.toReversed()) {
            each.rounds[kind].push(await once(each, kind, warmupMs, seconds * 1000));
          }
        }
        parts.push(`#### ${titles[kind]}`, describe(taking, kind));
      }
      parts.push(noteOf(contestants, { rounds, seconds }));
      await Promise.all(contestants.map(({ started }) => started.stop()));
      parts.push(...(await profiles(backends.list, { folder, upstream, load, wrong })));
      return { markdown: parts.join('\n\n'), wrong };
    }),
  );

function groupOf({ backend, started }: Contestant, kind: TurnKind, seconds: number): Group {
  const body = responsesBody({ stream: false, store: backend !== undefined });
  const perSecond = mostPerSecond[backend?.hasIndexes === false ? 'unindexed' : 'indexed'];
  const conversations = Math.ceil((seconds * perSecond) / connections / turnsPerThread);
  const follows: Readonly<Record<TurnKind, Follow | undefined>> = {
    new: undefined,
    chain: { kind, turns: turnsPerThread } as Follow,
    conversation: { kind, turns: turnsPerThread, conversations } as Follow,
  };
  const follow = follows[kind];
  const common = { port: started.port, path: '/v1/responses', body, connections, check: 'json' } as const;
  return follow === undefined ? common : { ...common, follow };
}

const answersOf = (result: JobResult): number => result.groups[0]?.answers ?? 0;
const rateOf = (result: JobResult): number => answersOf(result) / result.seconds;
const cpuOf = (result: JobResult): number => result.cpuMs / answersOf(result);
const databaseCpuOf = (result: JobResult): number => result.databaseCpuMs / answersOf(result);

function describe(contestants: readonly Contestant[], kind: TurnKind): string {
  const base = contestants.find(({ backend }) => backend?.kind === 'sqlite')?.rounds[kind] ?? [];
  const ratios = (rounds: readonly JobResult[], of: (result: JobResult) => number): number =>
    median(rounds.map((each, at) => of(each) / of(base[at] ?? each)));
  const head = [
    ...['', 'requests/s', '× SQLite', 'CPU ms/request', '× SQLite', "of the database's processes"],
    ...['p50 ms', 'p99 ms', 'core busy', 'other core busy'],
  ];
  const rows = contestants.map(({ name, backend, rounds: { [kind]: rounds } }) => {
    const percent = (of: (result: JobResult) => number): string =>
      `${Math.round(median(rounds.map((each) => of(each) / each.seconds / 10)))} %`;
    return [
      name,
      spread(rounds.map(rateOf)),
      ratios(rounds, rateOf).toFixed(2),
      spread(rounds.map(cpuOf)),
      ratios(rounds, cpuOf).toFixed(2),
      backend?.pid === undefined ? '' : spread(rounds.map(databaseCpuOf)),
      figure(median(rounds.map((each) => each.groups[0]?.latencyMs.p50 ?? Number.NaN))),
      figure(median(rounds.map((each) => each.groups[0]?.latencyMs.p99 ?? Number.NaN))),
      percent(({ cpuMs }) => cpuMs),
      percent(({ worldBusyMs }) => worldBusyMs),
    ];
  });
  const rounds = contestants.find(({ backend }) => backend?.kind === 'postgres')?.rounds[kind];
  const ratio = rounds === undefined ? Number.NaN : ratios(rounds, rateOf);
  const aim = `Target: PostgreSQL at least ${targetRatio.toFixed(2)} × SQLite`;
  return `${table(head, rows)}\n\n${aim}: ${rounds === undefined ? 'not measured' : `${verdict(ratio >= targetRatio)} (${ratio.toFixed(2)})`}.`;
}

function noteOf(contestants: readonly Contestant[], { rounds, seconds }: { rounds: number; seconds: number }): string {
  const all = contestants.flatMap((each) => Object.values(each.rounds).flat());
  const foreign = all.map((each) => each.foreignCpuMs / each.seconds / 10);
  return [
    `${connections} connections; ${rounds} interleaved rounds of ${seconds} s each: median (lowest–highest).`,
    'The server has one core for itself; **the databases share the other one with load and upstream**: where that one is busy all of the time, it is what bounds the rate.',
    disturbance(foreign),
  ].join(' ');
}

type Around = {
  readonly folder: string;
  readonly upstream: Started;
  readonly load: Started;
  readonly wrong: string[];
};

/** Where our process spends its time with each database, by package. */
async function profiles(backends: readonly Backend[], around: Around): Promise<string[]> {
  const parts: string[] = [];
  for (const backend of backends.filter(({ kind }) => kind === 'mongodb')) {
    const place = backend.place();
    const { markdown, wrong } = await profileOwners(`JSON, stored in ${backend.name}`, place, around);
    around.wrong.push(...wrong);
    parts.push(`#### Where our process spends its time: JSON, each a new chain, ${backend.name}`, markdown);
    await place.drop();
  }
  return parts;
}
