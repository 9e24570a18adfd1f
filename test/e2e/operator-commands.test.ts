import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished, vi } from 'vitest';
import { runCommand } from '../../src/commands.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { type Json, type StoreType, serve, sharedStoreTypes, start, storeSettings } from '../support/harness.ts';
import { withMongo } from '../support/mongo-server.ts';
import { withPostgres } from '../support/postgres-server.ts';

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

/** The same database, reached through a proxy that knows which connections are open. */
async function throughProxy(store: StoreType) {
  const direct = await storeSettings(store);
  const name = `${store}.uri`;
  const uri = direct[name] ?? '';
  const [, host = '', port = ''] = /^\w+:\/\/(?:[^@/]*@)?([^:/]+):(\d+)/.exec(uri) ?? [];
  const proxy = await startFaultProxy({ host, port: Number(port) });
  onTestFinished(() => proxy.close());
  const led = proxy.uri(uri);
  // Otherwise the driver goes on to the address that the server names.
  const suffix = store === 'mongodb' ? `${led.includes('?') ? '&' : '?'}directConnection=true` : '';
  return { proxy, direct, settings: { ...direct, [name]: `${led}${suffix}` } };
}

/** What a newer release leaves behind. */
async function makeNewer(store: StoreType, settings: Record<string, string>): Promise<void> {
  if (store === 'postgres') {
    const uri = settings['postgres.uri'] ?? '';
    await withPostgres(uri, (client) => client.query('INSERT INTO open_responses_migrations VALUES (1000)'));
    return;
  }
  const [uri, database] = [settings['mongodb.uri'] ?? '', settings['mongodb.database']];
  await withMongo(uri, async (client) => {
    const meta = client
      .db(database)
      .collection<{ readonly _id: string; readonly version: number }>('openresponses_meta');
    const { matchedCount } = await meta.updateOne({ _id: 'schema' }, { $set: { version: 1000 } });
    expect(matchedCount).toBe(1);
  });
}

it.each(sharedStoreTypes.filter((store) => store !== 'sqlite'))(
  'every command closes its connections, also where it fails (%s)',
  async (store) => {
    const { proxy, direct, settings } = await throughProxy(store);
    const untilClosed = async (): Promise<void> => {
      await vi.waitFor(() => expect(proxy.connections).toBe(0), { timeout: 10_000, interval: 10 });
    };
    for (const words of ['migrate --check', 'migrate', 'store stats']) {
      const before = proxy.counts.accepted;
      await run(words, settings);
      expect(proxy.counts.accepted, words).toBeGreaterThan(before);
      await untilClosed();
    }
    await makeNewer(store, direct);
    for (const words of ['migrate --check', 'migrate', 'store stats']) {
      const before = proxy.counts.accepted;
      await expect(run(words, settings), words).rejects.toThrow('newer release');
      expect(proxy.counts.accepted, words).toBeGreaterThan(before);
      await untilClosed();
    }
  },
);

// Where the system tells which files a process has open.
it.each(['/proc/self/fd'].filter((folder) => existsSync(folder)))(
  'every command closes its file (%s)',
  async (folder) => {
    const settings = await storeSettings('sqlite');
    const path = settings['sqlite.path'] ?? '';
    const openFiles = (): string[] => readdirSync(folder).flatMap((fd) => targetOf(`${folder}/${fd}`));
    const ownFiles = (): string[] => openFiles().filter((file) => file.startsWith(path));
    for (const words of ['migrate --check', 'migrate', 'store stats']) {
      await run(words, settings);
      expect(ownFiles(), words).toEqual([]);
    }
    const database = new DatabaseSync(path);
    expect(ownFiles()).toContain(path);
    database.exec('PRAGMA user_version = 1000');
    database.close();
    for (const words of ['migrate --check', 'migrate', 'store stats']) {
      await expect(run(words, settings), words).rejects.toThrow('newer release');
      expect(ownFiles(), words).toEqual([]);
    }
  },
);

function targetOf(link: string): string[] {
  try {
    return [readlinkSync(link)];
  } catch {
    // The one that read the folder is gone.
    return [];
  }
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
