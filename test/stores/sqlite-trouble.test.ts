import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Store } from '../../src/store.ts';
import { StoreUnavailable } from '../../src/store.ts';
import { createSqliteStore } from '../../src/stores/sqlite/store.ts';
import { serve, textOf } from '../support/harness.ts';
import { serveScripted } from '../support/scripted-server.ts';
import { makeConversation, turn } from '../support/store-fixtures.ts';

const script = fileURLToPath(new URL('../support/store-child.ts', import.meta.url));
const tenant = 'tenant';
let folder = '';
let path = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'open-responses-'));
  path = join(folder, 'state.db');
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
});

async function open(): Promise<Store> {
  const store = await createSqliteStore({ path, synchronous: 'full', now: () => 1_000 });
  onTestFinished(() => store.close());
  return store;
}

async function expectRefused(outcome: Promise<unknown>): Promise<void> {
  const error = await outcome.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StoreUnavailable);
  expect(String(error)).toContain(`${path} was deleted or replaced while it was in use; restart the server`);
}

const ways: readonly (readonly [string, () => Promise<void>])[] = [
  ['deleted', () => rm(path)],
  ['deleted with its folder', () => rm(folder, { recursive: true })],
  ['moved away', () => rename(path, `${path}.old`)],
  [
    'replaced by a copy',
    async () => {
      await copyFile(path, `${path}.copy`);
      await rename(`${path}.copy`, path);
    },
  ],
];

test.each(ways)('a file that was %s takes no more changes', async (_, happen) => {
  const store = await open();
  await makeConversation(store, tenant, 'conv', ['a']);
  await store.ping();
  await happen();
  await expectRefused(store.appendTurn(tenant, turn('r1')));
  await expectRefused(store.acquireLease(tenant, 'conv', 'run', 1_000));
  await expectRefused(store.ping());
});

test('a new writer does not make a new file either', async () => {
  const started: Worker[] = [];
  const note = (worker: Worker): void => void started.push(worker);
  process.on('worker', note);
  onTestFinished(() => void process.off('worker', note));
  const store = await open();
  await rm(path);
  await started[0]?.terminate();
  await expectRefused(store.appendTurn(tenant, turn('r1')));
  await expectRefused(store.ping());
  expect(started.length).toBeGreaterThan(1);
});

test('where the file was deleted, what should be stored is a 503, /readyz tells, and a restart begins anew', async () => {
  const settings = { 'store.type': 'sqlite', 'sqlite.path': path };
  const server = await serve(settings);
  const ask = { model: 'demo', input: 'Say exactly: hello', store: true };
  await server.respond(ask);
  await rm(path);
  const answer = await server.post('/v1/responses', ask);
  expect(answer.status).toBe(503);
  expect(answer.body.error.type).toBe('server_error');
  expect(await server.get('/readyz')).toMatchObject({ status: 503, body: { status: 'store unavailable' } });
  expect(textOf(await server.respond({ ...ask, store: false }))).toBe('hello');
  await server.running.close();
  const again = await serve(settings);
  const { id } = await again.respond(ask);
  expect((await again.get(`/v1/responses/${id}`)).status).toBe(200);
  expect((await again.get('/readyz')).status).toBe(200);
});

test('/readyz answers before a change has waited for the lock of another process', async () => {
  const { server } = await serveScripted(undefined, { 'store.type': 'sqlite', 'sqlite.path': path });
  const child = fork(script, ['lock', path]);
  await once(child, 'message');
  const order: string[] = [];
  const stream = await server.open({ model: 'm', input: 'x', store: true });
  await stream.until('response.output_item.done');
  const ended = stream.rest().then((events) => {
    order.push('change');
    return events;
  });
  const questions = await Promise.all([server.get('/readyz'), server.get('/readyz')]);
  order.push('readyz');
  for (const answer of questions) {
    expect(answer).toMatchObject({ status: 503, body: { status: 'store unavailable' } });
    expect(answer.headers.get('retry-after')).toBe('1');
  }
  child.send('let go');
  await once(child, 'exit');
  expect((await ended).at(-1)?.event).toBe('response.completed');
  expect(order).toEqual(['readyz', 'change']);
  expect((await server.get('/readyz')).status).toBe(200);
});

/** The script in a process whose files can't grow beyond some KiB. */
function onFullDisk(mode: string): ChildProcess {
  const command = `ulimit -f 400; exec "$0" "$@"`;
  return spawn('sh', ['-c', command, process.execPath, script, mode, path], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

test('while the disk is full a ping is refused, and no longer', async () => {
  const child = onFullDisk('fill');
  const told: unknown[] = [];
  child.on('message', (message) => void told.push(message));
  const [code] = await once(child, 'exit');
  expect(code).toBe(0);
  expect(told).toEqual(['change refused', 'ping refused', 'ping answered', 'change done']);
});
