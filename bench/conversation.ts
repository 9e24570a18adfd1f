import { join } from 'node:path';
import { type Backend, describeBackends, type Place, withBackends } from './backends.ts';
import { type Bench, type BenchOptions, type BenchResult, complaints, measure } from './client.ts';
import { disturbance } from './contest.ts';
import { type Appends, describeAppends, measureAppends, measurePosts, type Posts } from './conversation-appends.ts';
import type { Group, JobResult } from './load.ts';
import { cores, type Started, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { itemId } from './script.ts';
import { figure, median, table, verdict } from './stats.ts';
import { ask, startStore } from './stored.ts';

/** Without indexes the long one takes too long to make. */
const entryCounts = { indexed: 5_000, unindexed: 250 };
const itemsPerEntry = 20;
const conversationId = 'conv_bench_long';
const targetRatio = 1.5;
const firstWarmupMs = 6_000;
const warmupMs = 50;
/** There are many pages to measure: each gets a part of the usual rounds and times. */
const part = { rounds: 1 / 2, seconds: 1 / 3 };

const places = ['start', 'middle', 'end'] as const;
type PlaceName = (typeof places)[number];
type Order = 'asc' | 'desc';
type Page = { readonly limit: number; readonly order: Order; readonly place: PlaceName };
type Measured = { readonly page: Page; readonly rounds: JobResult[] };

const pages: readonly Page[] = [20, 100].flatMap((limit) =>
  (['asc', 'desc'] as const).flatMap((order) => places.map((place) => ({ limit, order, place }))),
);

/** What the length of a conversation costs: a page of it, and adding to it. */
export const conversationBench: Bench = (options) =>
  withBackends(options.folder, ['sqlite', 'postgres', 'mongodb'], (backends) =>
    withProcesses(async (keep) => {
      const load = await keep(startScript('load.ts', [], cores.world));
      const parts = ['### A long conversation', describeBackends(backends)];
      const wrong: string[] = [];
      const all: { readonly backend: Backend; readonly measured: All }[] = [];
      for (const backend of backends.list) {
        const place = backend.place();
        const measured = await measureBackend(backend, place, { load, keep, options });
        await place.drop();
        wrong.push(...measured.wrong.map((each) => `${backend.name}, ${each}`));
        all.push({ backend, measured });
      }
      const results = all.flatMap(({ measured }) => [
        ...measured.pages.flatMap(({ rounds }) => rounds),
        ...measured.posts.all,
      ]);
      const foreign = results.map((each) => each.foreignCpuMs / each.seconds / 10);
      const lengths = backends.list.map((each) => `${each.name} ${figure(entriesOf(each) * itemsPerEntry)}`);
      parts.push(describePages(all.map(({ backend, measured }) => ({ name: backend.name, pages: measured.pages }))));
      parts.push(describeAppends(all.map(({ backend, measured }) => ({ name: backend.name, ...measured }))));
      const { rounds, seconds } = partOf(options);
      parts.push(
        `Items in the long conversation: ${lengths.join(', ')}, in entries of ${itemsPerEntry}; one connection; ${rounds} interleaved rounds of ${seconds.toFixed(1)} s each: medians, ratios within a round. CPU is that of the server and of the database's processes together. ${disturbance(foreign)}`,
      );
      return { markdown: parts.join('\n\n'), wrong } satisfies BenchResult;
    }),
  );

type All = {
  readonly pages: readonly Measured[];
  readonly appends: Appends;
  readonly posts: Posts;
  readonly wrong: readonly string[];
};
type Around = {
  readonly load: Started;
  readonly keep: (started: Promise<Started>) => Promise<Started>;
  readonly options: BenchOptions;
};

function entriesOf({ hasIndexes }: Backend): number {
  return entryCounts[hasIndexes ? 'indexed' : 'unindexed'];
}

function partOf({ rounds, seconds }: BenchOptions): { rounds: number; seconds: number } {
  return { rounds: Math.ceil(rounds * part.rounds), seconds: Math.max(0.1, seconds * part.seconds) };
}

async function measureBackend(backend: Backend, place: Place, { load, keep, options }: Around): Promise<All> {
  const entries = entriesOf(backend);
  const worker = await keep(startStore(place));
  await ask(worker, { kind: 'fill', id: conversationId, entries, itemsPerEntry });
  const stderrFile = join(options.folder, `server-conversation-${backend.kind}.log`);
  const processOptions = { core: cores.measured, cwd: options.folder, stderrFile, env: place.env };
  // No model is ever called.
  const server = await keep(startServer(serverFlags(9, place.flags), processOptions));
  const wrong: string[] = [];
  const once = async (group: Group, times: { warmupMs: number; measureMs: number }): Promise<JobResult> => {
    const job = { groups: [group], ...times, pid: server.pid, otherPids: [worker.pid], databasePid: backend.pid };
    const result = await measure(load, job);
    wrong.push(...complaints(`${group.method ?? 'POST'} ${group.path}`, result, [group]));
    return result;
  };
  const { rounds, seconds } = partOf(options);
  const measured = await measurePages({ port: server.port, count: entries * itemsPerEntry }, { rounds, seconds }, once);
  // First those whose place is known from what was filled in.
  const appends = await measureAppends(worker, { id: conversationId, head: entries - 1 }, rounds);
  const posts = await measurePosts(server.port, conversationId, { rounds, seconds }, once);
  await server.stop();
  await worker.stop();
  return { pages: measured, appends, posts, wrong };
}

type Long = { readonly port: number; readonly count: number };

async function measurePages(
  long: Long,
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
  once: (group: Group, times: { warmupMs: number; measureMs: number }) => Promise<JobResult>,
): Promise<readonly Measured[]> {
  const measured = pages.map((page): Measured => ({ page, rounds: [] }));
  for (const { page } of measured) {
    await once(groupOf(long, page), { warmupMs: 0, measureMs: firstWarmupMs / pages.length });
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const each of round % 2 === 0 ? measured : measured.toReversed()) {
      each.rounds.push(await once(groupOf(long, each.page), { warmupMs, measureMs: seconds * 1000 }));
    }
  }
  return measured;
}

/** A page, and what has to be on it. */
function groupOf({ port, count }: Long, { limit, order, place }: Page): Group {
  const from = { start: 0, middle: count / 2, end: count - limit }[place];
  // Counted in the order of the list.
  const idAt = (at: number): string => itemId(conversationId, order === 'asc' ? at : count - 1 - at);
  const after = from === 0 ? '' : `&after=${idAt(from - 1)}`;
  return {
    port,
    path: `/v1/conversations/${conversationId}/items?limit=${limit}&order=${order}${after}`,
    method: 'GET',
    body: '',
    connections: 1,
    check: 'items',
    items: limit,
    expects: [
      `"first_id":"${idAt(from)}"`,
      `"last_id":"${idAt(from + limit - 1)}"`,
      `"has_more":${place === 'end' ? 'false' : 'true'}`,
    ],
  };
}

const p50Of = (result: JobResult): number => result.groups[0]?.latencyMs.p50 ?? Number.NaN;
const cpuOf = (result: JobResult): number =>
  (result.cpuMs + (Number.isNaN(result.databaseCpuMs) ? 0 : result.databaseCpuMs)) / (result.groups[0]?.answers ?? 0);

function describePages(stores: readonly { readonly name: string; readonly pages: readonly Measured[] }[]): string {
  const head = ['page', 'p50 ms at the start', '× in the middle', '× at the end'];
  head.push('CPU ms at the start', '× in the middle', '× at the end', `target ≤ ${targetRatio.toFixed(2)}`);
  const rows = stores.flatMap(({ name, pages: measured }) =>
    pages
      .filter(({ place }) => place === 'start')
      .map(({ limit, order }) => {
        const [first = [], ...others] = places.map(
          (place) =>
            measured.find(({ page }) => page.limit === limit && page.order === order && page.place === place)?.rounds ??
            [],
        );
        const ratios = (of: (result: JobResult) => number): number[] =>
          others.map((rounds) => median(rounds.map((each, at) => of(each) / of(first[at] ?? each))));
        const [times, cpu] = [ratios(p50Of), ratios(cpuOf)];
        return [
          `${name}: ${limit} items, ${order}`,
          ...[figure(median(first.map(p50Of))), ...times.map((each) => each.toFixed(2))],
          ...[figure(median(first.map(cpuOf))), ...cpu.map((each) => each.toFixed(2))],
          verdict([...times, ...cpu].every((each) => each <= targetRatio)),
        ];
      }),
  );
  return table(head, rows);
}
