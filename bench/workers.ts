import { join } from 'node:path';
import { type Backend, describeBackends, withBackends } from './backends.ts';
import { type Bench, complaints, measure, wronglyKept } from './client.ts';
import { disturbance } from './contest.ts';
import type { Group, JobResult } from './load.ts';
import { cores, type Started, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { responsesBody } from './script.ts';
import { figure, median, spread, table, verdict } from './stats.ts';

/** Of each process: with as many in all, each would do less at a time, and pay more for it. */
const connectionsEach = 32;
const workerCount = 2;
const targetRatio = 1.15;
/** Each process compiles for itself what is hot. */
const firstWarmupMs = 5_000;
const warmupMs = 250;

/**
 * One process; a primary and its workers; or as many servers that know nothing of each other: what they cost more than
 * one process is what processes take from each other on one core, and nothing that workers could save.
 */
type Form = 'alone' | 'workers' | 'apart';
const forms: readonly Form[] = ['alone', 'workers', 'apart'];
const formNames: Readonly<Record<Form, string>> = {
  alone: 'one process',
  workers: `a primary and ${workerCount} workers`,
  apart: `${workerCount} servers of one process each`,
};

type Contestant = {
  readonly name: string;
  readonly store: boolean;
  readonly form: Form;
  /** More than one where they are apart. */
  readonly started: readonly [Started, ...Started[]];
  readonly databasePid: number | undefined;
  readonly rounds: JobResult[];
};

/** What several processes cost that share one address, against one process. */
export const workersBench: Bench = ({ rounds, seconds, folder }) =>
  withBackends(folder, ['sqlite', 'postgres'], (backends) =>
    withProcesses(async (keep) => {
      const upstream = await keep(startScript('upstream.ts', [], cores.world));
      const load = await keep(startScript('load.ts', [], cores.world));
      const contestants: Contestant[] = [];
      const begin = async ({ name, kind, pid, place: makePlace }: Backend, form: Form, store: boolean) => {
        const place = makePlace();
        const workers = form === 'workers' ? workerCount : 1;
        const flags = serverFlags(upstream.port, [...place.flags, `--server.workers=${workers}`]);
        const stderrFile = join(folder, `server-workers-${kind}-${form}-${store}.log`);
        // All on one core: what is compared is the work, not how the cores are shared with the load.
        const start = () => keep(startServer(flags, { core: cores.measured, cwd: folder, stderrFile, env: place.env }));
        const started: [Started, ...Started[]] = [await start()];
        if (form === 'apart') while (started.length < workerCount) started.push(await start());
        contestants.push({ name: store ? name : 'unstored', store, form, started, databasePid: pid, rounds: [] });
      };
      for (const [at, backend] of backends.list.entries()) {
        for (const store of at === 0 ? [false, true] : [true]) {
          for (const form of forms) await begin(backend, form, store);
        }
      }
      const wrong: string[] = [];
      const once = async (each: Contestant, times: { warmupMs: number; measureMs: number }): Promise<JobResult> => {
        const { started, databasePid, name, form, store } = each;
        const body = responsesBody({ stream: false, store });
        const connections = form === 'workers' ? connectionsEach * workerCount : connectionsEach;
        const path = '/v1/responses';
        const groups = started.map(({ port }): Group => ({ port, path, body, connections, check: 'json' }));
        const [{ pid }, ...twins] = started;
        const twinPids = twins.map((twin) => twin.pid);
        const job = { groups, ...times, pid, twinPids, otherPids: [upstream.pid], databasePid };
        const result = await measure(load, job);
        const where = `${name}, ${formNames[form]}`;
        wrong.push(...complaints(where, result, groups));
        wrong.push(...(await wronglyKept(where, started[0].port, result, store)));
        return result;
      };
      for (const each of contestants)
        await once(each, { warmupMs: 0, measureMs: firstWarmupMs * (each.form === 'alone' ? 1 : workerCount) });
      for (let round = 0; round < rounds; round += 1) {
        for (const each of round % 2 === 0 ? contestants : contestants.toReversed()) {
          each.rounds.push(await once(each, { warmupMs, measureMs: seconds * 1000 }));
        }
      }
      await Promise.all(contestants.flatMap(({ started }) => started.map((each) => each.stop())));
      const note = `${connectionsEach} keep-alive connections for each process; ${rounds} interleaved rounds of ${seconds} s each: median (lowest–highest). All processes of a server share one core, so that a rate is not what two cores would give.`;
      const parts = [`### ${workerCount} worker processes against one process`, describeBackends(backends)];
      const foreign = contestants.flatMap((each) => each.rounds.map((one) => one.foreignCpuMs / one.seconds / 10));
      parts.push(describe(contestants), `${note} ${disturbance(foreign)}`);
      return { markdown: parts.join('\n\n'), wrong };
    }),
  );

const answersOf = (result: JobResult): number => result.groups.reduce((sum, { answers }) => sum + answers, 0);
const cpuOf = (result: JobResult): number => result.cpuMs / answersOf(result);
const databaseCpuOf = (result: JobResult): number => result.databaseCpuMs / answersOf(result);

function describe(contestants: readonly Contestant[]): string {
  const head = [
    ...['', 'CPU ms/request of all processes', '× one process', 'target'],
    ...["of the database's processes", 'requests/s', 'p50 ms', 'p99 ms'],
  ];
  const rows = contestants.map(({ name, form, databasePid, rounds }) => {
    const alone = contestants.find((each) => each.name === name && each.form === 'alone')?.rounds ?? [];
    const ratios = rounds.map((each, at) => cpuOf(each) / cpuOf(alone[at] ?? each));
    return [
      `${name}, ${formNames[form]}`,
      spread(rounds.map(cpuOf)),
      form === 'alone' ? '1.00' : spread(ratios),
      form !== 'workers' ? '' : `≤ ${targetRatio.toFixed(2)}: ${verdict(median(ratios) <= targetRatio)}`,
      databasePid === undefined ? '' : spread(rounds.map(databaseCpuOf)),
      figure(median(rounds.map((each) => answersOf(each) / each.seconds))),
      figure(median(rounds.map((each) => each.groups[0]?.latencyMs.p50 ?? Number.NaN))),
      figure(median(rounds.map((each) => each.groups[0]?.latencyMs.p99 ?? Number.NaN))),
    ];
  });
  return table(head, rows);
}
