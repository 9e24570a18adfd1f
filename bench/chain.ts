import { join } from 'node:path';
import { type BackendKind, type Backends, describeBackends, type Place, withBackends } from './backends.ts';
import { measureReads } from './chain-reads.ts';
import { type Bench, type BenchOptions, complaints, measure } from './client.ts';
import { disturbance } from './contest.ts';
import type { Group, JobResult } from './load.ts';
import { cores, type Started, serverFlags, startScript, startServer, withProcesses } from './processes.ts';
import { answerText, models, question } from './script.ts';
import { figure, spread, table } from './stats.ts';

const turns = 200;
const measuredAt = [50, 100, 150, 200];
/** Several at once, so that a database's pages weigh less; what is printed is per chain. */
const chains = 8;
/** How far one stretch of turns may grow more or less than the mean of all. */
const linearTolerance = 0.15;
const targetRatio = 1.3;
const firstWarmupMs = 4_000;
const warmupMs = 200;

/** Where the next turn is measured by id and without it. The databases' own share is measured by reading alone. */
const compared: ReadonlySet<BackendKind | undefined> = new Set(['sqlite', undefined]);

type Sizes = Map<number, number>;
type Item = Record<string, unknown>;
/** A chain as its client sees it: what an application without `store` would send again every time. */
type Chain = { lastId: string; readonly items: Item[] };
type Body = Record<string, unknown>;
type ResponseLike = { id: string; status: string; output: { content: { text: string }[] }[] };

/** What a long chain costs: on disk, in the time of its next turn, and to read. */
export const chainBench: Bench = (options) =>
  withBackends(options.folder, ['sqlite', 'postgres', 'mongodb'], (backends) =>
    withProcesses(async (keep) => {
      const upstream = await keep(startScript('upstream.ts', [], cores.world));
      const load = await keep(startScript('load.ts', [], cores.world));
      const wrong: string[] = [];
      const growth: string[][] = [];
      const rows: string[][] = [];
      const foreign: number[] = [];
      for (const backend of [...backends.list, undefined]) {
        const name = backend?.name ?? 'in-memory';
        const place = backend?.place();
        const stderrFile = join(options.folder, `server-chain-${backend?.kind ?? 'memory'}.log`);
        const processOptions = { core: cores.measured, cwd: options.folder, stderrFile, env: place?.env ?? {} };
        const server = await keep(startServer(serverFlags(upstream.port, place?.flags), processOptions));
        const { chain, sizes } = await grow(server, place);
        if (place !== undefined) {
          growth.push(...growthRows(name, sizes));
          wrong.push(...wrongGrowth(sizes).map((each) => `${name}: ${each}`));
        }
        wrong.push(...(await differences(server, chain)).map((each) => `${name}: ${each}`));
        if (compared.has(backend?.kind)) {
          const pair = await compare(load, server, upstream, chain, options);
          wrong.push(...pair.wrong.map((each) => `${name}: ${each}`));
          rows.push(...describePair(name, pair));
          foreign.push(...[...pair.continued, ...pair.stateless].map((each) => each.foreignCpuMs / each.seconds / 10));
        }
        await server.stop();
        await place?.drop();
      }
      const reads = await measureReads(backends);
      wrong.push(...reads.wrong);
      const head = ['turn 200', 'CPU ms', 'of stateless', 'p50 ms', 'p99 ms'];
      const note = `One connection; ${options.rounds} interleaved rounds of ${options.seconds} s each: median (lowest–highest); target: at most ${targetRatio.toFixed(2)}.`;
      const parts = [
        ...['### A chain of 200 turns', describeBackends(backends), describeGrowth(growth, backends)],
        ...[table(head, rows), `${note} ${disturbance(foreign)}`, '### A chain of 1,000 turns', reads.markdown],
      ];
      return { markdown: parts.join('\n\n'), wrong };
    }),
  );

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
async function grow(server: Started, place: Place | undefined): Promise<{ chain: Chain; sizes: Sizes }> {
  const all = Array.from({ length: chains }, (): Chain => ({ lastId: '', items: [] }));
  const sizes: Sizes = new Map([[0, (await place?.weigh()) ?? 0]]);
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
    if (place !== undefined && measuredAt.includes(turn)) sizes.set(turn, await place.weigh());
  }
  if (handedOut === undefined) throw new Error('no chain');
  return { chain: handedOut, sizes };
}

function steps(sizes: Sizes): number[] {
  return measuredAt.map(
    (turn, at) => (sizes.get(turn) ?? Number.NaN) - (sizes.get(measuredAt[at - 1] ?? 0) ?? Number.NaN),
  );
}

function growthRows(name: string, sizes: Sizes): string[][] {
  const kib = (bytes: number): string => figure(bytes / chains / 1024);
  const start = sizes.get(0) ?? 0;
  return [
    [`${name}: KiB per chain`, ...measuredAt.map((turn) => kib((sizes.get(turn) ?? Number.NaN) - start))],
    [`${name}: bytes per turn of the last 50`, ...steps(sizes).map((bytes) => figure(bytes / chains / 50))],
  ];
}

function describeGrowth(rows: readonly string[][], { list }: Backends): string {
  const text = userItem(1)['content'] as string;
  const counted = list.map((each) => `${each.name}: ${each.counted}`).join('; ');
  const note = `${chains} chains at once. A turn's texts have ${text.length + answerText.length} bytes. Counted is, for ${counted}.`;
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
