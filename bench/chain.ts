import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Bench, type BenchOptions, complaints, measure } from './client.ts';
import type { Group, JobResult } from './load.ts';
import { cores, type Started, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { answerText, models, question } from './script.ts';
import { figure, spread, table } from './stats.ts';
import { disturbance } from './throughput.ts';

const turns = 200;
const measuredAt = [50, 100, 150, 200];
/** Several at once, so that a database's pages weigh less; what is printed is per chain. */
const chains = 8;
/** How far one stretch of turns may grow more or less than the mean of all. */
const linearTolerance = 0.15;
const targetRatio = 1.3;
const firstWarmupMs = 4_000;
const warmupMs = 200;

type Sizes = Map<number, number>;
type Item = Record<string, unknown>;
/** A chain as its client sees it: what an application without `store` would send again every time. */
type Chain = { lastId: string; readonly items: Item[] };
type Body = Record<string, unknown>;
type ResponseLike = { id: string; status: string; output: { content: { text: string }[] }[] };

/** What a long chain costs: on disk, and in the time of its next turn. */
export const chainBench: Bench = (options) =>
  withProcesses(async (keep) => {
    const upstream = await keep(startScript('upstream.ts', [], cores.world));
    const load = await keep(startScript('load.ts', [], cores.world));
    const wrong: string[] = [];
    const growth: string[] = [];
    const rows: string[][] = [];
    const foreign: number[] = [];
    for (const store of ['sqlite', 'in-memory'] as const) {
      const file = join(options.folder, 'chain.sqlite');
      const flags = serverFlags(upstream.port, [`--store.type=${store}`, `--sqlite.path=${file}`]);
      const stderrFile = join(options.folder, `server-chain-${store}.log`);
      const server = await keep(startServer(flags, { core: cores.measured, cwd: options.folder, stderrFile }));
      const { chain, sizes } = await grow(server, store === 'sqlite' ? file : undefined);
      if (store === 'sqlite') {
        growth.push(describeGrowth(sizes));
        wrong.push(...wrongGrowth(sizes));
      }
      wrong.push(...(await differences(server, chain)).map((each) => `${store}: ${each}`));
      const pair = await compare(load, server, upstream, chain, options);
      wrong.push(...pair.wrong.map((each) => `${store}: ${each}`));
      rows.push(...describePair(store, pair));
      foreign.push(...[...pair.continued, ...pair.stateless].map((each) => each.foreignCpuMs / each.seconds / 10));
      await server.stop();
    }
    const head = ['turn 200', 'CPU ms', 'of stateless', 'p50 ms', 'p99 ms'];
    const note = `One connection; ${options.rounds} interleaved rounds of ${options.seconds} s each: median (lowest–highest); target: at most ${targetRatio.toFixed(2)}.`;
    const parts = ['### A chain of 200 turns', ...growth, table(head, rows), `${note} ${disturbance(foreign)}`];
    return { markdown: parts.join('\n\n'), wrong };
  });

async function create(port: number, body: Body): Promise<ResponseLike> {
  const headers = { 'content-type': 'application/json', authorization: 'Bearer bench-key' };
  const address = `http://127.0.0.1:${port}/v1/responses`;
  const signal = AbortSignal.timeout(30_000);
  const answer = await fetch(address, { method: 'POST', headers, body: JSON.stringify(body), signal });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`status ${answer.status}: ${text.slice(0, 500)}`);
  return JSON.parse(text) as ResponseLike;
}

const textOf = (response: ResponseLike): string => response.output[0]?.content[0]?.text ?? '';
const userItem = (turn: number): Item => ({ type: 'message', role: 'user', content: `(${turn}) ${question}` });

/** Grows all chains turn by turn and weighs the database on the way. The first one is handed out, one turn short. */
async function grow(server: Started, file: string | undefined): Promise<{ chain: Chain; sizes: Sizes }> {
  const all = Array.from({ length: chains }, (): Chain => ({ lastId: '', items: [] }));
  const sizes: Sizes = new Map([[0, file === undefined ? 0 : bytesOf(file)]]);
  let handedOut: Chain | undefined;
  for (let turn = 1; turn <= turns; turn += 1) {
    if (turn === turns) handedOut = { lastId: all[0]?.lastId ?? '', items: [...(all[0]?.items ?? [])] };
    await Promise.all(
      all.map(async (chain) => {
        const item = userItem(turn);
        const before = turn === 1 ? {} : { previous_response_id: chain.lastId };
        const response = await create(server.port, { model: models.fast, ...before, input: [item], store: true });
        if (response.status !== 'completed' || textOf(response) !== answerText)
          throw new Error('a wrong answer in a chain');
        chain.lastId = response.id;
        chain.items.push(item, ...response.output);
      }),
    );
    if (file !== undefined && measuredAt.includes(turn)) sizes.set(turn, bytesOf(file));
  }
  if (handedOut === undefined) throw new Error('no chain');
  return { chain: handedOut, sizes };
}

/** Bytes of the database once its log is written back: the pages that hold something. */
function bytesOf(file: string): number {
  const database = new DatabaseSync(file, { timeout: 5_000 });
  try {
    const value = (pragma: string): number =>
      Number(Object.values(database.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]);
    if (value('wal_checkpoint(TRUNCATE)') !== 0) throw new Error('the write-ahead log could not be written back');
    return (value('page_count') - value('freelist_count')) * value('page_size');
  } finally {
    database.close();
  }
}

function steps(sizes: Sizes): number[] {
  return measuredAt.map(
    (turn, at) => (sizes.get(turn) ?? Number.NaN) - (sizes.get(measuredAt[at - 1] ?? 0) ?? Number.NaN),
  );
}

function describeGrowth(sizes: Sizes): string {
  const kib = (bytes: number): string => figure(bytes / chains / 1024);
  const start = sizes.get(0) ?? 0;
  const rows = [
    ['KiB per chain', ...measuredAt.map((turn) => kib((sizes.get(turn) ?? Number.NaN) - start))],
    ['added by the last 50 turns', ...steps(sizes).map(kib)],
    ['bytes per turn', ...steps(sizes).map((bytes) => figure(bytes / chains / 50))],
  ];
  const text = userItem(1)['content'] as string;
  const note = `SQLite after a checkpoint, ${chains} chains at once. A turn's texts have ${text.length + answerText.length} bytes.`;
  return `${table(['after turn', ...measuredAt.map(String)], rows)}\n\n${note}`;
}

function wrongGrowth(sizes: Sizes): string[] {
  const each = steps(sizes);
  const mean = each.reduce((sum, bytes) => sum + bytes, 0) / each.length;
  const isLinear = each.every((bytes) => Math.abs(bytes / mean - 1) <= linearTolerance);
  return isLinear ? [] : [`storage does not grow by the same amount every 50 turns: ${each.join(', ')} bytes`];
}

function bodies(chain: Chain, model: string): { continued: Body; stateless: Body } {
  const common = { model, store: false };
  return {
    continued: { ...common, previous_response_id: chain.lastId, input: [userItem(turns)] },
    stateless: { ...common, input: [...chain.items, userItem(turns)] },
  };
}

/** Both requests have to bring the same messages to the model. */
async function differences(server: Started, chain: Chain): Promise<string[]> {
  const { continued, stateless } = bodies(chain, models.digest);
  const [one, other] = [textOf(await create(server.port, continued)), textOf(await create(server.port, stateless))];
  return one === other && one.length === 64 ? [] : [`the model was sent other messages: ${one} and ${other}`];
}

type Pair = { readonly continued: JobResult[]; readonly stateless: JobResult[]; readonly wrong: string[] };

/** The same turn again and again: by id, so that the context is read, and with everything in `input`. Nothing is stored. */
async function compare(
  load: Started,
  server: Started,
  upstream: Started,
  chain: Chain,
  options: BenchOptions,
): Promise<Pair> {
  const pair: Pair = { continued: [], stateless: [], wrong: [] };
  const texts = bodies(chain, models.fast);
  const once = async (
    kind: 'continued' | 'stateless',
    job: { warmupMs: number; measureMs: number },
  ): Promise<JobResult> => {
    const body = JSON.stringify(texts[kind]);
    const group: Group = { port: server.port, path: '/v1/responses', body, connections: 1, check: 'json' };
    const result = await measure(load, { groups: [group], ...job, pid: server.pid, otherPids: [upstream.pid] });
    pair.wrong.push(...complaints(kind, result, [group]));
    return result;
  };
  for (const kind of ['continued', 'stateless'] as const) await once(kind, { warmupMs: 0, measureMs: firstWarmupMs });
  for (let round = 0; round < options.rounds; round += 1) {
    const order = ['continued', 'stateless'] as const;
    for (const kind of round % 2 === 0 ? order : order.toReversed()) {
      pair[kind].push(await once(kind, { warmupMs, measureMs: options.seconds * 1000 }));
    }
  }
  return pair;
}

function describePair(store: string, { continued, stateless }: Pair): string[][] {
  const cpu = (result: JobResult): number => result.cpuMs / (result.groups[0]?.answers ?? 0);
  const ratios = continued.map((each, at) => cpu(each) / cpu(stateless[at] ?? each));
  const row = (name: string, results: readonly JobResult[], ratio: string): string[] => {
    const latencies = results.map((each) => each.groups[0]?.latencyMs);
    const [p50, p99] = [latencies.map((each) => each?.p50 ?? 0), latencies.map((each) => each?.p99 ?? 0)];
    return [name, spread(results.map(cpu)), ratio, spread(p50), spread(p99)];
  };
  return [
    row(`${store}: all items in \`input\``, stateless, '1.00'),
    row(`${store}: \`previous_response_id\``, continued, spread(ratios)),
  ];
}
