import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { runCommand } from '../../src/commands.ts';
import { type Json, serve, sharedStoreTypes, start, storeSettings } from '../support/harness.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

function flagsOf(settings: Record<string, string>): string[] {
  return Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
}

async function run(words: string, settings: Record<string, string>) {
  const result = await runCommand([...words.split(' '), ...flagsOf(settings)]);
  if (result === undefined) throw new Error('no command');
  return result;
}

it.each(sharedStoreTypes)(
  'migrate does once what --check tells, and a server that may not waits for it (%s)',
  async (store) => {
    const settings = await storeSettings(store);
    const patient = { ...settings, 'store.auto-migrate': 'false' };
    const missing = await run('migrate --check', settings);
    expect(missing.exitCode).toBe(3);
    expect(missing.output).toContain('nothing of ours yet');
    await expect(start(patient)).rejects.toThrow('open-responses migrate');
    // Neither looking nor refusing has changed anything.
    expect(await run('migrate --check', settings)).toEqual(missing);
    expect((await run('store stats', settings)).output).toContain('nothing of ours yet');
    expect(await run('migrate', settings)).toMatchObject({ exitCode: 0, output: expect.stringContaining('migrated') });
    const done = { exitCode: 0, output: expect.stringContaining('up to date') };
    expect(await run('migrate', settings)).toMatchObject(done);
    expect(await run('migrate --check', settings)).toMatchObject(done);
    const server = await serve(patient);
    await server.respond({ model: 'demo', input: 'Hello', store: true });
  },
);

it.each(sharedStoreTypes)('store stats counts each kind of record, while a server runs (%s)', async (store) => {
  const settings = await storeSettings(store);
  const server = await serve({ ...settings, 'demo.chunk-delay': '20ms', 'demo.chunk-size': '1' });
  const before = Date.now();
  const { id: conversation } = (await server.post('/v1/conversations', { items: [message('one'), message('two')] }))
    .body;
  await server.post('/v1/conversations', { metadata: { a: 'b' } });
  await server.respond({ model: 'demo', input: 'Say exactly: x', conversation });
  const first = await server.respond({ model: 'demo', input: 'Say exactly: y', store: true });
  const next = { model: 'demo', previous_response_id: first.id, store: true };
  await server.respond({ ...next, input: 'Say exactly: z' });
  await server.respond({ ...next, input: 'Say exactly: a fork' });
  const open = await server.open({ ...next, input: 'Say exactly: a text that takes its time' });
  await open.until('response.output_text.delta');
  open.leave();
  // The record of the cancelled response is written a moment later.
  const stats = await statsWhen(settings, (kinds) => kinds.get('records')?.count === 1);
  const counts = Object.fromEntries([...stats.values()].map(({ kind, count }) => [kind, count]));
  expect(counts).toMatchObject({ conversations: 2, chains: 2, records: 1, responses: 5, leases: 0 });
  // Two posted, two of each of four turns, and what the cancelled one had.
  expect(counts['items']).toBeGreaterThanOrEqual(11);
  for (const { kind, bytes, oldest, newest } of stats.values()) {
    if (kind === 'leases') continue;
    // A thread of responses has hardly anything of its own.
    expect(bytes, kind).toBeGreaterThan(kind === 'chains' || kind === 'records' ? -1 : 0);
    // A response is as old as its request.
    expect(Date.parse(oldest), kind).toBeGreaterThanOrEqual(before - 1);
    expect(Date.parse(newest), kind).toBeLessThanOrEqual(Date.now());
    expect(Date.parse(oldest), kind).toBeLessThanOrEqual(Date.parse(newest));
  }
  const table = (await run('store stats', settings)).output;
  expect(table).toMatch(/^conversations +2 +\d+ +\d{4}-\d\d-\d\dT/m);
  expect(table).not.toContain('Say exactly');
});

async function statsWhen(
  settings: Record<string, string>,
  isThere: (kinds: ReadonlyMap<string, Json>) => boolean,
): Promise<ReadonlyMap<string, Json>> {
  for (let attempts = 0; attempts < 100; attempts += 1) {
    const { records } = JSON.parse((await run('store stats --json', settings)).output);
    const kinds = new Map<string, Json>(records.map((record: Json) => [record.kind, record]));
    if (isThere(kinds)) return kinds;
    await pause(20);
  }
  throw new Error('the statistics never came to it');
}

function message(text: string): Json {
  return { type: 'message', role: 'user', content: [{ type: 'input_text', text }] };
}

it.each([
  [['store'], 2, 'there is `store stats`'],
  [['store', 'purge'], 2, 'there is `store stats`'],
  [['migrate'], 2, 'in-memory'],
  [['migrate', '--chekc'], 2, 'is unknown'],
  [['migrate', '--check', 'now', '--store.type=sqlite'], 2, 'Unknown command now'],
  [['store', 'stats', '--store.type=postgres'], 2, 'open-responses.postgres.uri'],
  [['store', 'stats', '--store.type=mongodb'], 2, 'open-responses.mongodb.uri'],
  [['migrate', '--store.type=postgres', '--postgres.uri=postgres://u:hunter2@127.0.0.1:9/x'], 1, 'PostgreSQL'],
  [
    ['migrate', '--store.type=mongodb', '--mongodb.uri=mongodb://u:hunter2@127.0.0.1:9/x', '--store.timeout=1s'],
    1,
    'MongoDB',
  ],
] as const)('%j ends with %i and one line', { timeout: 30_000 }, (argv, exitCode, text) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...argv], { cwd: tmpdir(), encoding: 'utf8' });
  expect(stderr).toContain(text);
  expect(stderr).not.toContain('hunter2');
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  expect([status, stdout]).toEqual([exitCode, '']);
});
