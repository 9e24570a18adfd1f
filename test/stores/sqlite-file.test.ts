import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { EntryPlace, Store } from '../../src/store.ts';
import { StoreUnavailable } from '../../src/store.ts';
import { UnusableDatabase } from '../../src/store-admin.ts';
import { openForWriting } from '../../src/stores/sqlite/connection.ts';
import { GroupCommit } from '../../src/stores/sqlite/group-commit.ts';
import { SqliteReadRows } from '../../src/stores/sqlite/rows.ts';
import { schemaVersion } from '../../src/stores/sqlite/schema.ts';
import { createSqliteStore } from '../../src/stores/sqlite/store.ts';
import {
  conversationIds,
  follow,
  headOfResponse,
  items,
  makeConversation,
  message,
  responseContextIds,
  turn,
} from '../support/store-fixtures.ts';

const script = fileURLToPath(new URL('../support/store-child.ts', import.meta.url));
const tenant = 'tenant';
let folder = '';
let path = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'open-responses-'));
  path = join(folder, 'state.db');
});
afterEach(() => rm(folder, { recursive: true }));

function open(changes: { busyTimeoutMs?: number } = {}): Promise<Store> {
  return createSqliteStore({ path, synchronous: 'full', now: () => 1_000, ...changes });
}

async function withStore<T>(use: (store: Store) => Promise<T>): Promise<T> {
  const store = await open();
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

test('what was stored is there after closing and opening again, and a second close is harmless', async () => {
  const store = await open();
  await makeConversation(store, tenant, 'conv', ['a']);
  const unanswered = [follow(store, tenant, 'r1'), store.appendItems(tenant, 'conv', items(message('b')))];
  await Promise.all(unanswered);
  await Promise.all([store.close(), store.close()]);
  await withStore(async (again) => {
    expect(await conversationIds(again, tenant, 'conv')).toEqual(['a', 'b']);
    expect(await responseContextIds(again, tenant, 'r1')).toEqual(['in-r1', 'out-r1']);
  });
});

test('R10 the newest item of an id is found by an index, however often the id occurs', async () => {
  await withStore(async () => undefined);
  const database = new DatabaseSync(path, { readOnly: true });
  const prepare = vi.spyOn(database, 'prepare');
  expect(new SqliteReadRows(database).newest(tenant, ['same'])).toEqual(new Map());
  const texts = prepare.mock.calls.map(([text]) => text);
  const plans = texts.map((text) => database.prepare(`EXPLAIN QUERY PLAN ${text}`).all('', ''));
  database.close();
  const detail = 'SEARCH items USING COVERING INDEX items_newest (tenant=? AND id=?)';
  expect(plans).toEqual([[expect.objectContaining({ detail })]]);
});

test('closing writes what was accepted, and refuses what comes later', async () => {
  const store = await open();
  const accepted = Array.from({ length: 300 }, (_, index) => store.appendTurn(tenant, turn(`r${index}`)));
  const closed = store.close();
  await expect(store.appendTurn(tenant, turn('late'))).rejects.toBeInstanceOf(StoreUnavailable);
  await expect(store.getResponse(tenant, 'r1')).rejects.toBeInstanceOf(StoreUnavailable);
  await expect(store.ping()).rejects.toBeInstanceOf(StoreUnavailable);
  await closed;
  expect(new Set(await Promise.all(accepted))).toEqual(new Set(['appended']));
  await withStore(async (again) => {
    expect(await again.getResponse(tenant, 'r299')).toBeDefined();
    expect(await again.getResponse(tenant, 'late')).toBeUndefined();
  });
});

test.each(['/proc/x/state.db', '/nowhere/at/all/state.db'])(
  'a file that can not be made is a clear error: %s',
  async (where) => {
    const made = createSqliteStore({ path: where, synchronous: 'full', now: () => 0 });
    await expect(made).rejects.toThrow("The SQLite database can't be created");
  },
);

test('the file is made with its folder, for its owner only', async () => {
  path = join(folder, 'a', 'state.db');
  await withStore(async (store) => {
    await store.ping();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(`${path}-wal`)).mode & 0o777).toBe(0o600);
  });
});

test('two processes that write to one file at once lose nothing', async () => {
  await withStore(async (store) => {
    await makeConversation(store, tenant, 'shared');
    const names = ['one', 'two'];
    const children = names.map((name) => fork(script, ['append', path, name, '60']));
    await Promise.all(children.map((child) => once(child, 'message')));
    for (const child of children) child.send('go');
    const codes = await Promise.all(children.map((child) => once(child, 'exit')));
    expect(codes.map(([code]) => code)).toEqual([0, 0]);
    const ids = await conversationIds(store, tenant, 'shared');
    expect(ids).toHaveLength(240);
    for (const name of names) {
      const own = Array.from({ length: 60 }, (_, index) => [`in-${name}-${index}`, `out-${name}-${index}`]).flat();
      expect(ids.filter((id) => id.includes(`-${name}-`))).toEqual(own);
      expect(await responseContextIds(store, tenant, `chain-${name}-59`)).toHaveLength(120);
    }
  });
});

test('what a killed process was told is stored, is stored', async () => {
  const child = fork(script, ['endless', path, 'killed']);
  const told: string[] = [];
  await new Promise<void>((resolve) => {
    child.on('message', (id) => {
      told.push(String(id));
      if (told.length === 100) resolve();
    });
  });
  child.kill('SIGKILL');
  await once(child, 'exit');
  await withStore(async (store) => {
    for (const id of told) expect((await store.getResponse(tenant, id))?.output).toHaveLength(1);
  });
});

test('several stores may open one new file at the same time', async () => {
  const stores = await Promise.all(Array.from({ length: 4 }, () => open()));
  await Promise.all(stores.map((store, index) => makeConversation(store, tenant, `conv-${index}`, [`i${index}`])));
  for (const store of stores) {
    for (const index of stores.keys()) expect(await conversationIds(store, tenant, `conv-${index}`)).toHaveLength(1);
  }
  await Promise.all(stores.map((store) => store.close()));
});

test('a file of a newer schema is refused and left alone', async () => {
  await withStore((store) => makeConversation(store, tenant, 'conv', ['a']));
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA user_version = ${schemaVersion + 1}`);
  database.close();
  const before = await readFile(path);
  await expect(open()).rejects.toThrow(UnusableDatabase);
  await expect(open()).rejects.toThrow(
    `newer release: its schema has version ${schemaVersion + 1}, this release knows ${schemaVersion}`,
  );
  expect((await readFile(path)).equals(before)).toBe(true);
});

test('the database of another application is refused and left alone', async () => {
  const database = new DatabaseSync(path);
  database.exec('CREATE TABLE customers (name TEXT)');
  database.close();
  await expect(open()).rejects.toThrow(/the database of another application/);
  const again = new DatabaseSync(path);
  const tables = again.prepare('SELECT name FROM sqlite_schema').all();
  again.close();
  expect(tables.map(({ name }) => name)).toEqual(['customers']);
});

test('a file that is no database is refused and left alone', async () => {
  const text = 'These are my notes, not a database. '.repeat(100);
  await writeFile(path, text);
  await expect(open()).rejects.toThrow(/is not an SQLite database/);
  expect(await readFile(path, 'utf8')).toBe(text);
});

test('a path that can hold no file is refused', async () => {
  for (const odd of [':memory:', '']) {
    const store = createSqliteStore({ path: odd, synchronous: 'full', now: () => 0 });
    await expect(store).rejects.toThrow(/needs a file/);
  }
  const store = createSqliteStore({ path: folder, synchronous: 'full', now: () => 0 });
  await expect(store).rejects.toBeInstanceOf(UnusableDatabase);
});

async function bytesAfter(turns: number, run: (store: Store, turns: number) => Promise<void>): Promise<number> {
  path = join(folder, `after-${turns}.db`);
  await withStore((store) => run(store, turns));
  return (await stat(path)).size;
}

test('storage grows by what a turn adds, never by the history it saw', async () => {
  const text = 'word '.repeat(400);
  const input = (index: number) => ({ input: [message(`i${index}`, text)] });
  const chain = async (store: Store, turns: number): Promise<void> => {
    for (let index = 0; index < turns; index += 1) {
      const base = index === 0 ? undefined : await headOfResponse(store, tenant, `r${index - 1}`);
      await store.appendTurn(tenant, turn(`r${index}`, base, input(index)));
    }
  };
  const regenerating = async (store: Store, turns: number): Promise<void> => {
    let base: EntryPlace | undefined;
    for (let index = 0; index < turns; index += 1) {
      await store.appendTurn(tenant, turn(`dropped-${index}`, base, input(index)));
      await store.appendTurn(tenant, turn(`r${index}`, base, input(index)));
      base = await headOfResponse(store, tenant, `r${index}`);
    }
  };
  for (const run of [chain, regenerating]) {
    const [none, half, whole] = [await bytesAfter(0, run), await bytesAfter(100, run), await bytesAfter(200, run)];
    expect(whole - half).toBeLessThanOrEqual(1.25 * (half - none));
    for (const turns of [0, 100, 200]) await rm(join(folder, `after-${turns}.db`));
  }
});

test('while another process holds the lock changes are refused, reads are served, and it recovers', async () => {
  const store = await open({ busyTimeoutMs: 200 });
  await makeConversation(store, tenant, 'conv', ['a']);
  const child = fork(script, ['lock', path]);
  await once(child, 'message');
  const refused = await Promise.allSettled([
    store.appendTurn(tenant, turn('r1')),
    store.appendItems(tenant, 'conv', items(message('b'))),
    store.acquireLease(tenant, 'conv', 'run', 1_000),
    store.ping(),
  ]);
  for (const outcome of refused) {
    expect(outcome.status === 'rejected' ? outcome.reason : outcome).toBeInstanceOf(StoreUnavailable);
  }
  expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
  child.send('let go');
  await once(child, 'exit');
  await store.ping();
  expect(await store.appendTurn(tenant, turn('r1'))).toBe('appended');
  expect(await store.appendItems(tenant, 'conv', items(message('b')))).toEqual({ outcome: 'appended' });
  await store.close();
});

test('opening a file that another process holds is refused in bounded time', async () => {
  await withStore((store) => makeConversation(store, tenant, 'conv'));
  const child = fork(script, ['lock', path]);
  await once(child, 'message');
  await expect(open({ busyTimeoutMs: 200 })).rejects.toBeInstanceOf(StoreUnavailable);
  child.send('let go');
  await once(child, 'exit');
  await withStore((store) => store.ping());
});

test('R4 R5 R6 nothing of what was deleted stays in any of the files', async () => {
  const secret = 'The-secret-of-the-tea-is-';
  const store = await open();
  await store.createConversation(tenant, { id: 'old', metadata: { topic: `${secret}topic` }, createdAt: 1 });
  await store.createConversation(tenant, { id: 'conv', metadata: {}, createdAt: 1 });
  await makeConversation(store, tenant, 'kept', ['plain']);
  for (let index = 0; index < 60; index += 1) {
    const long = `${secret}${index}`.repeat(index * 7 + 1);
    const secretTurn = { input: [message(`i${index}`, long)], responseJson: JSON.stringify({ long }), user: secret };
    await store.appendTurn(tenant, turn(`r${index}`, undefined, secretTurn));
    await store.appendItems(tenant, 'old', items(message(`o${index}`, long), message(`${secret}${index}`)));
    await store.appendItems(tenant, 'conv', items(message(`s${index}`, long), message(`p${index}`, 'plain')));
  }
  await store.updateConversation(tenant, 'conv', { topic: secret.repeat(9) });
  expect(await holding(secret)).not.toEqual([]);
  for (let index = 0; index < 60; index += 1) {
    expect(await store.deleteResponse(tenant, `r${index}`)).toBe(true);
    expect(await store.deleteItem(tenant, 'conv', `s${index}`)).toBe('deleted');
  }
  await store.updateConversation(tenant, 'conv', { topic: 'plain' });
  await store.deleteConversation(tenant, 'old');
  await vi.waitFor(async () => expect(await holding(secret)).toEqual([]), { timeout: 15_000, interval: 50 });
  expect(await conversationIds(store, tenant, 'conv')).toHaveLength(60);
  await store.close();
  expect(await holding(secret)).toEqual([]);
});

async function holding(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(folder)) if ((await readFile(join(folder, name))).includes(text)) found.push(name);
  return found;
}

test('R4 R5 no row is left of a tree in which everything is deleted', async () => {
  await withStore(async (store) => {
    await follow(store, tenant, 'r1');
    await follow(store, tenant, 'r2', 'r1');
    await follow(store, tenant, 'fork', 'r1');
    await makeConversation(store, tenant, 'conv', ['a']);
    await store.acquireLease(tenant, 'conv', 'run', 1_000);
    for (const id of ['r1', 'fork', 'r2']) await store.deleteResponse(tenant, id);
    await store.deleteConversation(tenant, 'conv');
    const database = new DatabaseSync(path);
    for (const table of ['threads', 'entries', 'items', 'leases']) {
      expect([table, database.prepare(`SELECT count(*) AS count FROM ${table}`).get()?.['count']]).toEqual([table, 0]);
    }
    database.close();
  });
});

test('a writer that dies refuses what it had not answered, and the next change has a new one', async () => {
  const started: Worker[] = [];
  const note = (worker: Worker): void => void started.push(worker);
  process.on('worker', note);
  const store = await open();
  const ids = Array.from({ length: 500 }, (_, index) => `r${index}`);
  const outcomes = Promise.allSettled(ids.map((id) => store.appendTurn(tenant, turn(id))));
  await new Promise((resolve) => setImmediate(resolve));
  await started[0]?.terminate();
  for (const [index, outcome] of (await outcomes).entries()) {
    if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(StoreUnavailable);
    else expect(await store.getResponse(tenant, ids[index] ?? '')).toBeDefined();
  }
  expect(await store.appendTurn(tenant, turn('after'))).toBe('appended');
  expect(started).toHaveLength(2);
  process.off('worker', note);
  await store.close();
});

test('no more than 10,000 changes wait at once', async () => {
  await withStore(async (store) => {
    const waiting = Array.from({ length: 10_007 }, () => store.releaseLease(tenant, 'conv', 'run'));
    const outcomes = await Promise.allSettled(waiting);
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused).toHaveLength(7);
    for (const { reason } of refused) expect(reason).toBeInstanceOf(StoreUnavailable);
    await store.ping();
  });
});

test('where the disk is full only the change that did not fit is refused', () => {
  const database = openForWriting({ path, synchronous: 'full', busyTimeoutMs: 100 });
  const pages = Number(database.prepare('PRAGMA page_count').get()?.['page_count']);
  database.exec(`PRAGMA max_page_count = ${pages + 20}`);
  const group = new GroupCommit(database, 'full');
  const submissions = ['r1', 'huge', 'r2'].map((id, number) => {
    const changes = id === 'huge' ? { input: [message('i', 'x'.repeat(1_000_000))] } : {};
    return { number, operation: { kind: 'append_turn' as const, tenant, turn: turn(id, undefined, changes) } };
  });
  const answers = group.commit(submissions);
  expect(answers.map(({ outcome }) => outcome.kind)).toEqual(['done', 'unavailable', 'done']);
  expect(answers[1]?.outcome).toMatchObject({ message: expect.stringContaining('the disk is full') });
  const stored = database.prepare('SELECT response_id AS id FROM entries ORDER BY 1').all();
  expect(stored.map(({ id }) => id)).toEqual(['r1', 'r2']);
  expect(database.prepare('PRAGMA synchronous').get()?.['synchronous']).toBe(2);
  database.close();
});

test('an open store keeps no process alive', async () => {
  const source = `
    import { createSqliteStore } from ${JSON.stringify(new URL('../../src/stores/sqlite/store.ts', import.meta.url).href)};
    const store = await createSqliteStore({ path: process.argv[1], synchronous: 'full', now: Date.now });
    await store.createConversation('t', { id: 'c', metadata: {}, createdAt: 1 });
  `;
  const file = join(folder, 'script.mts');
  await writeFile(file, source.replace('process.argv[1]', 'process.argv[2]'));
  const child = fork(file, [path], { stdio: 'ignore' });
  child.disconnect();
  expect((await once(child, 'exit'))[0]).toBe(0);
  await withStore(async (store) => expect(await store.getConversation('t', 'c')).toBeDefined());
});
