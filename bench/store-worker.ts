/**
 * A store alone, in a process of its own, opened as the server opens it. Usage: store-worker.ts FLAG…; what is to be done
 * comes as messages, one at a time. See `stored.ts` for the other end.
 */
import { hash } from 'node:crypto';
import { loadConfig } from '../src/config.ts';
import { openStore } from '../src/open-store.ts';
import type { EncodedItem, EntryPlace, NewTurn } from '../src/store.ts';
import { answerText, itemId, question } from './script.ts';
import { type Summary, summarise } from './stats.ts';

/** What a store is asked to do. */
export type StoreTask =
  /** Grows a chain. */
  | { readonly kind: 'chain'; readonly turns: number }
  /** Reads the context behind its newest turn. */
  | { readonly kind: 'read'; readonly responseId: string; readonly warmups: number; readonly times: number }
  /** Makes a conversation, with so many entries. */
  | { readonly kind: 'fill'; readonly id: string; readonly entries: number; readonly itemsPerEntry: number }
  /** Appends turns to a conversation, the first one behind `position`. */
  | { readonly kind: 'append'; readonly id: string; readonly position: number; readonly times: number }
  | { readonly kind: 'close' };

/** What came of it. */
export type StoreOutcome = {
  readonly failure?: string;
  /** The newest response, of a chain. */
  readonly responseId?: string;
  /** What was read: turns and items. */
  readonly entries?: number;
  readonly items?: number;
  readonly ms: Summary;
  /** Of this process, in all. */
  readonly cpuMs: number;
};

type Done = Omit<StoreOutcome, 'ms' | 'cpuMs'> & { readonly times: readonly number[]; readonly cpuMs?: number };

const store = await openStore(loadConfig({ argv: process.argv.slice(2) }));
const tenant = hash('sha256', 'bench-key', 'base64url');
const createdAt = Date.now();

function message(role: 'user' | 'assistant', id: string, text: string): EncodedItem {
  const type = role === 'user' ? 'input_text' : 'output_text';
  const content = [role === 'user' ? { type, text } : { type, annotations: [], logprobs: [], text }];
  return { id, json: JSON.stringify({ id, type: 'message', status: 'completed', role, content }) };
}

/** As large as the server makes them. */
function turnOf(responseId: string, more: Pick<NewTurn, 'kind' | 'base' | 'conversationId'>): NewTurn {
  const input = [message('user', `msg_in_${responseId}`, question)];
  const output = [message('assistant', `msg_out_${responseId}`, answerText)];
  const settings = { tools: [], text: { format: { type: 'text' } }, reasoning: { effort: null, summary: null } };
  const snapshot = { id: responseId, object: 'response', status: 'completed', ...settings, filler: 'x'.repeat(700) };
  const textBytes = question.length + answerText.length;
  const common = { holder: undefined, user: undefined, status: 'completed', textBytes, createdAt };
  return { ...common, ...more, responseId, responseJson: JSON.stringify(snapshot), input, output };
}

async function timed(count: number, once: (at: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let at = 0; at < count; at += 1) {
    const start = performance.now();
    await once(at);
    times.push(performance.now() - start);
  }
  return times;
}

async function append(turn: NewTurn): Promise<void> {
  const outcome = await store.appendTurn(tenant, turn);
  if (outcome !== 'appended') throw new Error(`the turn ${turn.responseId} is ${outcome}`);
}

async function growChain(turns: number): Promise<Done> {
  const name = `resp_bench_${process.pid}`;
  let base: EntryPlace | undefined;
  const times = await timed(turns, async (at) => {
    await append(turnOf(`${name}_${at}`, { kind: 'chain', base, conversationId: undefined }));
    if (base === undefined) {
      const context = await store.readContext(tenant, { kind: 'response', id: `${name}_0` }, Number.MAX_SAFE_INTEGER);
      if (typeof context === 'string') throw new Error(`the context is ${context}`);
      base = context.head;
    } else base = { ...base, position: base.position + 1 };
  });
  return { times, responseId: `${name}_${turns - 1}` };
}

async function read(id: string, warmups: number, count: number): Promise<Done> {
  let found = { entries: 0, items: 0 };
  const once = async (): Promise<void> => {
    const context = await store.readContext(tenant, { kind: 'response', id }, Number.MAX_SAFE_INTEGER);
    if (typeof context === 'string') throw new Error(`the context is ${context}`);
    found = {
      entries: context.entries.length,
      items: context.entries.reduce((sum, each) => sum + each.items.length, 0),
    };
  };
  await timed(warmups, once);
  const before = process.cpuUsage();
  const times = await timed(count, once);
  return { ...found, times, cpuMs: cpuMsSince(before) };
}

async function fill(id: string, entries: number, itemsPerEntry: number): Promise<Done> {
  await store.createConversation(tenant, { id, metadata: {}, createdAt });
  const times = await timed(entries, async (entry) => {
    const items = Array.from({ length: itemsPerEntry }, (_, at) =>
      message('user', itemId(id, entry * itemsPerEntry + at), question.slice(0, 120)),
    );
    const { outcome } = await store.appendItems(tenant, id, { items, textBytes: 120 * itemsPerEntry, createdAt });
    if (outcome !== 'appended') throw new Error(`items are ${outcome}`);
  });
  return { times };
}

async function appendTo(conversationId: string, position: number, count: number): Promise<Done> {
  const times = await timed(count, (at) => {
    const base = { threadId: conversationId, position: position + at };
    return append(turnOf(`resp_${conversationId}_${base.position}`, { kind: 'conversation', base, conversationId }));
  });
  return { times };
}

function cpuMsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

async function work(task: StoreTask): Promise<Done> {
  switch (task.kind) {
    case 'chain':
      return growChain(task.turns);
    case 'read':
      return read(task.responseId, task.warmups, task.times);
    case 'fill':
      return fill(task.id, task.entries, task.itemsPerEntry);
    case 'append':
      return appendTo(task.id, task.position, task.times);
    case 'close':
      await store.close();
      return { times: [] };
    default:
      return task satisfies never;
  }
}

async function answer(task: StoreTask): Promise<StoreOutcome> {
  const before = process.cpuUsage();
  try {
    const { times, ...done } = await work(task);
    return { cpuMs: cpuMsSince(before), ...done, ms: summarise(times) };
  } catch (error) {
    return { failure: String(error), ms: summarise([]), cpuMs: cpuMsSince(before) };
  }
}

process.on('message', (task) => {
  void answer(task as StoreTask).then((outcome) => process.send?.(outcome));
});
process.on('disconnect', () => process.exit(0));
process.send?.({});
