import { join } from 'node:path';
import type { Bench } from './client.ts';
import {
  against,
  answersOf,
  type Contestant,
  contest,
  disturbanceOf,
  type Entry,
  openArena,
  rateOf,
} from './contest.ts';
import type { Group } from './load.ts';
import { withProcesses } from './processes.ts';
import { helloText, responsesBody } from './script.ts';
import { figure, median, spread, table } from './stats.ts';
import { atLeast, type Target } from './targets.ts';

const connections = 32;
const warmupMs = 250;
/** Asked for in turn, so that no answer can be kept for the next one. */
const responses = 1_000;
const creators = 16;

const target: Target = { least: 0.35, towards: 0.5 };

const entries: readonly Entry[] = [
  {
    name: 'hello: `node:http` alone, a tiny answer',
    kind: 'hello',
    says: helloText,
    group: (port) => ({ port, connections, path: '/v1/responses', method: 'GET', body: '', check: 'hello' }),
  },
  { name: 'in memory', kind: 'server', group: readGroup },
  {
    name: 'SQLite',
    kind: 'server',
    flags: (folder) => ['--store.type=sqlite', `--sqlite.path=${join(folder, 'get.sqlite')}`],
    group: readGroup,
  },
];

/** Responses that are read back by their ids, against a server that says hello. */
export const getBench: Bench = (options) =>
  withProcesses(async (keep) => {
    const arena = await openArena(keep, options);
    const contestants = await contest(arena, 'get', entries, { warmupMs, measureMs: options.seconds * 1000 });
    return { markdown: describe(contestants, options.seconds), wrong: arena.wrong };
  });

/** Makes the responses first. */
async function readGroup(port: number): Promise<Group> {
  const ids: string[] = [];
  const create = async (): Promise<void> => {
    for (let at = 0; at < Math.ceil(responses / creators); at += 1) ids.push(await createResponse(port));
  };
  await Promise.all(Array.from({ length: creators }, create));
  return { port, connections, path: '/v1/responses', method: 'GET', body: '', check: 'json', readIds: ids };
}

/** @throws Error where it was not made. */
async function createResponse(port: number): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/responses`, {
    method: 'POST',
    headers: { authorization: 'Bearer bench-key', 'content-type': 'application/json' },
    body: responsesBody({ stream: false, store: true }),
    signal: AbortSignal.timeout(10_000),
  });
  const { id } = (await answer.json()) as { id?: unknown };
  if (answer.status !== 200 || typeof id !== 'string') throw new Error(`a response was not made: ${answer.status}`);
  return id;
}

function describe(contestants: readonly Contestant[], seconds: number): string {
  const [hello] = contestants;
  const head = ['', 'requests/s', '× hello', 'target × hello', 'CPU ms/request', 'p50 ms', 'p99 ms', 'core busy'];
  const rows = contestants.map((each) => {
    const { entry, rounds } = each;
    const shares = against(each, hello, (one, other) => rateOf(one) / rateOf(other));
    return [
      entry.name,
      spread(rounds.map(rateOf)),
      each === hello ? '1.00' : spread(shares),
      entry.name === 'in memory' ? atLeast(median(shares), target) : '',
      spread(rounds.map((one) => one.cpuMs / answersOf(one))),
      figure(median(rounds.map((one) => one.groups[0]?.latencyMs.p50 ?? Number.NaN))),
      figure(median(rounds.map((one) => one.groups[0]?.latencyMs.p99 ?? Number.NaN))),
      `${Math.round(median(rounds.map((one) => one.cpuMs / one.seconds / 10)))} %`,
    ];
  });
  return [
    '### Reading a response by its id',
    '',
    table(head, rows),
    '',
    `\`GET /v1/responses/{id}\`, ${responses} ids in turn; ${connections} connections; ${hello?.rounds.length ?? 0} interleaved rounds of ${seconds} s each: median (lowest–highest). ${disturbanceOf(contestants)}`,
  ].join('\n');
}
