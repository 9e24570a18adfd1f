import type { Group, JobResult } from './load.ts';
import type { Started } from './processes.ts';
import { question } from './script.ts';
import { figure, median, table, verdict } from './stats.ts';
import type { StoreOutcome } from './store-worker.ts';
import { ask } from './stored.ts';

const targetRatio = 1.2;
const turnsPerRound = 100;
const warmupTurns = 300;
const warmupMs = 50;
const firstWarmupMs = 1_500;

/** What adding to the long conversation cost, and to one that was empty at the round's begin. */
type Pair<T> = { readonly long: readonly T[]; readonly short: readonly T[] };
export type Appends = Pair<StoreOutcome>;
export type Posts = Pair<JobResult> & { readonly all: readonly JobResult[] };

/** Appends turns through the store itself. `head`: the newest position of the long conversation. */
export async function measureAppends(
  worker: Started,
  { id, head }: { readonly id: string; readonly head: number },
  rounds: number,
): Promise<Appends> {
  const appends = { long: [] as StoreOutcome[], short: [] as StoreOutcome[] };
  let position = head;
  const toLong = async (times: number): Promise<StoreOutcome> => {
    const outcome = await ask(worker, { kind: 'append', id, position, times });
    position += times;
    return outcome;
  };
  const toShort = async (name: string, times: number): Promise<StoreOutcome> => {
    const short = `conv_bench_${name}`;
    await ask(worker, { kind: 'fill', id: short, entries: 0, itemsPerEntry: 0 });
    return ask(worker, { kind: 'append', id: short, position: -1, times });
  };
  await toLong(warmupTurns);
  await toShort('warmup', warmupTurns);
  for (let round = 0; round < rounds; round += 1) {
    if (round % 2 === 1) appends.long.push(await toLong(turnsPerRound));
    appends.short.push(await toShort(String(round), turnsPerRound));
    if (round % 2 === 0) appends.long.push(await toLong(turnsPerRound));
  }
  return appends;
}

/** Posts single items over HTTP. */
export async function measurePosts(
  port: number,
  longId: string,
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
  once: (group: Group, times: { warmupMs: number; measureMs: number }) => Promise<JobResult>,
): Promise<Posts> {
  const posts = { long: [] as JobResult[], short: [] as JobResult[] };
  const body = JSON.stringify({ items: [{ type: 'message', role: 'user', content: question.slice(0, 120) }] });
  const groupOf = (id: string): Group => {
    const path = `/v1/conversations/${id}/items`;
    return { port, path, body, connections: 1, check: 'items', items: 1, expects: ['"has_more":false'] };
  };
  await once(groupOf(longId), { warmupMs: 0, measureMs: firstWarmupMs });
  for (let round = 0; round < rounds; round += 1) {
    const order = ['long', 'short'] as const;
    for (const which of round % 2 === 0 ? order : order.toReversed()) {
      const id = which === 'long' ? longId : await createConversation(port);
      posts[which].push(await once(groupOf(id), { warmupMs, measureMs: seconds * 1000 }));
    }
  }
  return { ...posts, all: [...posts.long, ...posts.short] };
}

async function createConversation(port: number): Promise<string> {
  const headers = { 'content-type': 'application/json', authorization: 'Bearer bench-key' };
  const address = `http://127.0.0.1:${port}/v1/conversations`;
  const answer = await fetch(address, { method: 'POST', headers, body: '{}', signal: AbortSignal.timeout(10_000) });
  const { id } = (await answer.json()) as { id?: unknown };
  if (typeof id !== 'string') throw new Error(`no conversation: status ${answer.status}`);
  return id;
}

type Named = { readonly name: string; readonly appends: Appends; readonly posts: Posts };

/** A row for each store and way of adding. */
export function describeAppends(stores: readonly Named[]): string {
  const head = ['', 'p50 ms, empty', '× in the long one', 'CPU ms, empty', '× in the long one'];
  head.push(`target ≤ ${targetRatio.toFixed(2)}`);
  const row = <T>(name: string, { long, short }: Pair<T>, p50: (of: T) => number, cpu: (of: T) => number): string[] => {
    const ratio = (of: (one: T) => number): number => median(long.map((each, at) => of(each) / of(short[at] ?? each)));
    const [times, spent] = [ratio(p50), ratio(cpu)];
    return [
      ...[name, figure(median(short.map(p50))), times.toFixed(2)],
      ...[figure(median(short.map(cpu))), spent.toFixed(2)],
      verdict(times <= targetRatio && spent <= targetRatio),
    ];
  };
  const rows = stores.flatMap(({ name, appends, posts }) => [
    row(`${name}: posting an item`, posts, p50OfPost, cpuOfPost),
    row(`${name}: \`appendTurn\` of the store alone`, appends, p50OfAppend, cpuOfAppend),
  ]);
  const note = `\`appendTurn\`: ${turnsPerRound} turns per round, in a process of its own whose CPU this is, without that of the database.`;
  return `${table(head, rows)}\n\n${note}`;
}

function p50OfPost({ groups }: JobResult): number {
  return groups[0]?.latencyMs.p50 ?? Number.NaN;
}

function cpuOfPost({ groups, cpuMs, databaseCpuMs }: JobResult): number {
  return (cpuMs + (Number.isNaN(databaseCpuMs) ? 0 : databaseCpuMs)) / (groups[0]?.answers ?? 0);
}

function p50OfAppend({ ms }: StoreOutcome): number {
  return ms.p50;
}

function cpuOfAppend({ cpuMs }: StoreOutcome): number {
  return cpuMs / turnsPerRound;
}
