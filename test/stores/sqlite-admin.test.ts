import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it, onTestFinished, test } from 'vitest';
import { UnusableDatabase } from '../../src/store-admin.ts';
import { openSqliteAdmin } from '../../src/stores/sqlite/admin.ts';
import { createSqliteStore } from '../../src/stores/sqlite/store.ts';
import { conversationIds, items, makeConversation, message } from '../support/store-fixtures.ts';

const tenant = 'tenant';

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'open-responses-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** What is in a folder, byte for byte, and when it was changed. The index of a log is no content: readers sign in there. */
function contentOf(folder: string) {
  return readdirSync(folder).map((name) => {
    const file = join(folder, name);
    if (name.endsWith('-shm')) return { name };
    return { name, bytes: readFileSync(file).toString('base64'), changedAt: statSync(file).mtimeMs };
  });
}

async function openStore(path: string) {
  return createSqliteStore({ path, synchronous: 'normal', now: () => 1_000 });
}

test('what a migration will do is said before it is done', async () => {
  const folder = temporary();
  const operator = openSqliteAdmin({ path: join(folder, 'store.sqlite') });
  const pending = ['create the tables threads, entries, items and leases', 'create the table named_values'];
  expect(await operator.schema()).toMatchObject({ version: 0, pending });
  expect((await operator.migrate()).pending).toEqual([]);
  expect((await operator.schema()).pending).toEqual([]);
});

it.each(['store.sqlite', 'a #1%20? ü.sqlite'])('looking into %s leaves its folder as it was', async (name) => {
  const folder = temporary();
  const path = join(folder, name);
  const store = await openStore(path);
  await makeConversation(store, tenant, 'conv', ['a', 'b']);
  await store.close();
  const before = contentOf(folder);
  expect(before).toMatchObject([{ name }]);
  const operator = openSqliteAdmin({ path });
  expect((await operator.schema()).pending).toEqual([]);
  expect(contentOf(folder)).toEqual(before);
  expect((await operator.stats()).records).toContainEqual(expect.objectContaining({ kind: 'items', count: 2 }));
  expect(contentOf(folder)).toEqual(before);
  await operator.close();
  // Nor is a file made that is not there.
  renameSync(path, `${path}-elsewhere`);
  expect((await operator.schema()).version).toBe(0);
  expect(readdirSync(folder)).toEqual([`${name}-elsewhere`]);
});

test('looking leaves what a server that died has left to the next server', async () => {
  const [alive, folder] = [temporary(), temporary()];
  const store = await openStore(join(alive, 'store.sqlite'));
  onTestFinished(() => store.close());
  await makeConversation(store, tenant, 'conv', ['a', 'b']);
  // What is on the disk the moment that a process is killed.
  cpSync(alive, folder, { recursive: true });
  const before = contentOf(folder);
  expect(before.map(({ name }) => name)).toEqual(['store.sqlite', 'store.sqlite-shm', 'store.sqlite-wal']);
  const path = join(folder, 'store.sqlite');
  const operator = openSqliteAdmin({ path });
  expect((await operator.schema()).pending).toEqual([]);
  expect((await operator.stats()).records).toContainEqual(expect.objectContaining({ kind: 'items', count: 2 }));
  expect(contentOf(folder)).toEqual(before);
  const next = await openStore(path);
  expect(await conversationIds(next, tenant, 'conv')).toEqual(['a', 'b']);
  await next.close();
  expect(readdirSync(folder)).toEqual(['store.sqlite']);
});

test('looking does not disturb a server that has the file open', async () => {
  const folder = temporary();
  const path = join(folder, 'store.sqlite');
  const store = await openStore(path);
  onTestFinished(() => store.close());
  await makeConversation(store, tenant, 'conv', ['a']);
  const operator = openSqliteAdmin({ path });
  for (let count = 2; count < 6; count += 1) {
    const before = contentOf(folder);
    expect((await operator.schema()).pending).toEqual([]);
    await operator.stats();
    expect(contentOf(folder)).toEqual(before);
    await store.appendItems(tenant, 'conv', items(message(`item-${count}`)));
    expect((await operator.stats()).records).toContainEqual(expect.objectContaining({ kind: 'items', count }));
  }
  expect(await conversationIds(store, tenant, 'conv')).toHaveLength(5);
});

test("looking into another application's file changes nothing in it, whatever it has left unfinished", async () => {
  const [alive, folder] = [temporary(), temporary()];
  const database = new DatabaseSync(join(alive, 'other.sqlite'));
  onTestFinished(() => database.close());
  database.exec('CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES (1)');
  // Too much for its memory, so that half a change is in the file, and the way back in the journal.
  database.exec('PRAGMA cache_size = 2; PRAGMA cache_spill = 1; BEGIN; INSERT INTO notes VALUES (zeroblob(500000))');
  cpSync(alive, folder, { recursive: true });
  const before = contentOf(folder);
  expect(before.map(({ name }) => name)).toEqual(['other.sqlite', 'other.sqlite-journal']);
  const operator = openSqliteAdmin({ path: join(folder, 'other.sqlite') });
  for (const look of [operator.schema(), operator.stats()]) await expect(look).rejects.toThrow(/SQLite|application/);
  expect(contentOf(folder)).toEqual(before);
  database.exec('ROLLBACK');
  rmSync(join(folder, 'other.sqlite-journal'));
  cpSync(join(alive, 'other.sqlite'), join(folder, 'other.sqlite'));
  const whole = contentOf(folder);
  await expect(operator.stats()).rejects.toBeInstanceOf(UnusableDatabase);
  expect(contentOf(folder)).toEqual(whole);
});
