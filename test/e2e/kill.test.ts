import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { runTurns, type TurnState } from '../support/crash-client.ts';
import type { Json } from '../support/harness.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const turns = 200;

type Process = { readonly child: ChildProcess; readonly url: string };

async function boot(path: string): Promise<Process> {
  const args = [
    '--server.port=0',
    '--store.type=sqlite',
    `--sqlite.path=${path}`,
    '--demo.chunk-delay=0',
    '--log.level=error',
    '--conversation.lease=300ms',
  ];
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'], cwd: tmpdir() });
  onTestFinished(() => void child.kill('SIGKILL'));
  let shown = '';
  for await (const chunk of child.stdout) {
    shown += chunk;
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(shown)?.[0];
    if (url !== undefined) return { child, url };
  }
  throw new Error(`the server ended: ${shown}`);
}

async function json(url: string, path: string, init?: RequestInit): Promise<Json> {
  const answer = await fetch(`${url}${path}`, init);
  expect(answer.status, path).toBe(200);
  return answer.json();
}

async function itemTexts(url: string, path: string): Promise<string[]> {
  const texts: string[] = [];
  let after = '';
  for (;;) {
    const page = await json(url, `${path}?order=asc&limit=100${after}`);
    texts.push(...page.data.map((item: Json) => item.content[0].text));
    if (!page.has_more) return texts;
    after = `&after=${page.last_id}`;
  }
}

it('SIGKILL at random moments loses nothing acknowledged, doubles nothing, tears nothing', {
  timeout: 120_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'open-responses-kill-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'test.sqlite');
  const state: TurnState = { next: 0, conversation: undefined, chain: [], conversationTurns: [] };
  let running = await boot(path);
  const created = await json(running.url, '/v1/conversations', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  state.conversation = created.id;
  let kills = 0;
  while (state.next < turns) {
    const work = runTurns(running.url, state, turns - state.next);
    // The moment is random on purpose: within a turn, its commit or its answer.
    const killer = setTimeout(() => running.child.kill('SIGKILL'), 20 + Math.random() * 250);
    await work;
    clearTimeout(killer);
    if (state.next >= turns) break;
    if (running.child.exitCode === null && running.child.signalCode === null) await once(running.child, 'exit');
    kills += 1;
    running = await boot(path);
  }
  running.child.kill('SIGKILL');
  await once(running.child, 'exit');
  const { url } = await boot(path);
  expect(kills).toBeGreaterThan(2);
  expect(state.chain.length).toBeGreaterThan(80);
  for (const { id, text } of [...state.chain, ...state.conversationTurns]) {
    const response = await json(url, `/v1/responses/${id}`);
    expect(response).toMatchObject({ id, status: 'completed' });
    expect(response.output.map((item: Json) => item.content[0].text)).toEqual([text]);
  }
  const newest = state.chain.at(-1);
  const chain = await itemTexts(url, `/v1/responses/${newest?.id}/input_items`);
  const expected = state.chain.flatMap(({ text }) => [`Say exactly: ${text}`, text]).slice(0, -1);
  expect(chain).toEqual(expected);

  const items = await itemTexts(url, `/v1/conversations/${state.conversation}/items`);
  expect(new Set(items).size).toBe(items.length);
  for (const { text } of state.conversationTurns) {
    const at = items.indexOf(text);
    expect(items[at - 1]).toBe(`Say exactly: ${text}`);
  }
  // What was committed and not acknowledged may be there, but whole.
  expect(items.length % 2).toBe(0);
});
