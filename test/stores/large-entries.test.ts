import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it, onTestFinished } from 'vitest';
import type { EntryPlace, StorableItem, Store } from '../../src/store.ts';
import { MemoryRows } from '../../src/stores/memory/rows.ts';
import { RootFacts } from '../../src/stores/mongodb/root-facts.ts';
import { MongoReadRows } from '../../src/stores/mongodb/rows.ts';
import { PgReadRows } from '../../src/stores/postgres/read-rows.ts';
import { statementsFor } from '../../src/stores/postgres/statements.ts';
import { readPage } from '../../src/stores/reading.ts';
import type { ReadRows } from '../../src/stores/rows.ts';
import { SqliteReadRows } from '../../src/stores/sqlite/rows.ts';
import { createSqliteStore } from '../../src/stores/sqlite/store.ts';
import { runAtOnce } from '../../src/stores/steps.ts';
import { applyWrite } from '../../src/stores/writing.ts';
import { describeMongo, describePostgres, freshMongoDatabase, freshPostgresSchema } from '../support/databases.ts';
import { items, makeConversation, message } from '../support/store-fixtures.ts';
import { callThrough, lookInto, openMongo, tenant } from './mongodb-support.ts';
import { openPostgres, openSession } from './postgres-support.ts';

const mebi = 1024 * 1024;
const entry = (index: number, chars: number) => items(message(`i${index}`, 'x'.repeat(chars)));

/** So many entries of that size in the conversation `conv`, at the places 0, 1, 2 … */
async function fill(store: Store, count: number, chars: number): Promise<void> {
  await makeConversation(store, tenant, 'conv');
  for (let index = 0; index < count; index += 1) await store.appendItems(tenant, 'conv', entry(index, chars));
}

/** Asks until everything is answered, and tells how many places each answer was for. */
async function answers(rows: ReadRows, count: number): Promise<number[]> {
  const holes: EntryPlace[] = [
    { threadId: 'nothing', position: 0 },
    { threadId: 'conv', position: -1 },
  ];
  const own = Array.from({ length: count }, (_, position) => ({ threadId: 'conv', position }));
  const places = [...holes, ...own.slice(0, 1), { threadId: 'conv', position: count }, ...own.slice(1), ...holes];
  const found: (string | undefined)[] = [];
  const sizes: number[] = [];
  while (found.length < places.length) {
    const some = await rows.entries(tenant, places.slice(found.length));
    expect(some.length).toBeGreaterThan(0);
    sizes.push(some.length);
    found.push(
      ...some.map((each) => each && `${each.threadId} ${each.position} ${JSON.parse(each.itemsJson ?? '')[0].id}`),
    );
  }
  const expected = places.map(({ threadId, position }) =>
    threadId === 'conv' && position >= 0 && position < count ? `conv ${position} i${position}` : undefined,
  );
  expect(found).toEqual(expected);
  return sizes;
}

const title = 'entries that are asked for by their places come in bounded pieces, holes included';

it(`${title}, in memory`, async () => {
  const rows = new MemoryRows({ maxThreads: 9, maxBytes: 1_000 * mebi }, () => 0);
  const given = { tenant, id: 'conv', nowMs: 0, createdAt: 0 };
  runAtOnce(applyWrite(rows, { kind: 'create_conversation', ...given, metadataJson: '{}', entry: undefined }));
  for (let index = 0; index < 5; index += 1) {
    runAtOnce(applyWrite(rows, { kind: 'append_items', ...given, entry: entry(index, 6 * mebi) }));
  }
  expect(await answers(rows, 5)).toEqual([5, 2, 3]);
});

it(`${title}, in SQLite`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'open-responses-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'large.sqlite');
  const store = await createSqliteStore({ path, synchronous: 'normal', now: () => 0 });
  await fill(store, 5, 6 * mebi);
  await store.close();
  const database = new DatabaseSync(path);
  onTestFinished(() => database.close());
  expect(await answers(new SqliteReadRows(database), 5)).toEqual([5, 2, 3]);
});

/** A store in memory, and how much its rows were asked for by their places, in characters of JSON. */
function memory() {
  const rows = new MemoryRows({ maxThreads: 99, maxBytes: 1_000 * mebi }, () => 0);
  const asked = { chars: 0 };
  const entries = rows.entries.bind(rows);
  rows.entries = (...given) => {
    const found = entries(...given);
    for (const each of found) asked.chars += each?.itemsJson?.length ?? 0;
    return found;
  };
  const post = (id: string, ...list: readonly StorableItem[]) =>
    runAtOnce(applyWrite(rows, { kind: 'append_items', tenant, id, nowMs: 0, entry: items(...list) }));
  for (const id of ['large', 'mixed', 'references']) {
    const given = { tenant, id, metadataJson: '{}', createdAt: 0, entry: undefined };
    runAtOnce(applyWrite(rows, { kind: 'create_conversation', ...given }));
  }
  const listed = (limit: number) => {
    const page = { limit, order: 'asc' } as const;
    return runAtOnce(readPage(rows, tenant, { kind: 'conversation', id: 'references' }, page));
  };
  return { rows, asked, post, listed };
}

function referenceTo(index: number, threadId: string): StorableItem {
  return { id: `i${index}`, target: { threadId, position: index } };
}

it('a page looks up no more than it shows, and a little', () => {
  const { asked, post, listed } = memory();
  const indices = Array.from({ length: 20 }, (_, index) => index);
  for (const index of indices) post('large', message(`i${index}`, 'x'.repeat(6 * mebi)));
  post('references', ...indices.map((index) => referenceTo(index, 'large')));
  asked.chars = 0;
  expect(listed(100)).toMatchObject({ items: { length: 5 }, hasMore: true });
  expect(asked.chars).toBeLessThan(49 * mebi);
  asked.chars = 0;
  expect(listed(2)).toMatchObject({ items: { length: 2 }, hasMore: true });
  expect(asked.chars).toBeLessThan(25 * mebi);
});

it('a page is never empty where something is behind it, however large that is', () => {
  const { rows, post, listed } = memory();
  post('large', message('i0'));
  post('references', referenceTo(0, 'large'), message('a', 'x'.repeat(33 * mebi)), message('b'));
  runAtOnce(applyWrite(rows, { kind: 'delete_conversation', tenant, id: 'large' }));
  expect(listed(9)).toMatchObject({ items: [{ id: 'a' }], hasMore: true });
});

it('a page of one reference that is too large for it says that there is more', () => {
  const { post, listed } = memory();
  post('large', message('i0', 'x'.repeat(33 * mebi)));
  post('large', message('i1'));
  post('references', referenceTo(0, 'large'), referenceTo(1, 'large'));
  expect(listed(9)).toMatchObject({ items: [{ id: 'i0' }], hasMore: true });
});

it('R10 references to references among large items lead to the items themselves', () => {
  const { rows, post, listed } = memory();
  const indices = [0, 1, 2, 3, 4];
  for (const index of indices) post('large', message(`i${index}`));
  for (const index of indices) post('mixed', message(`m${index}`, 'x'.repeat(6 * mebi)), referenceTo(index, 'large'));
  post('references', ...indices.map((index) => referenceTo(index, 'mixed')));
  runAtOnce(applyWrite(rows, { kind: 'delete_conversation', tenant, id: 'mixed' }));
  expect(listed(9)).toMatchObject({ items: indices.map((index) => ({ id: `i${index}` })), hasMore: false });
});

describePostgres('large entries in PostgreSQL', () => {
  it(title, async () => {
    const at = await freshPostgresSchema();
    await fill(await openPostgres(at), 7, 6 * mebi);
    const session = await openSession(at.uri);
    const rows = new PgReadRows(statementsFor(at.schema), async (statement, values) => {
      return (await session.ask(statement, values, performance.now() + 20_000)).rows;
    });
    expect(await answers(rows, 7)).toEqual([6, 3, 3]);
  });
});

describeMongo('large entries in MongoDB', () => {
  it.each([
    ['in pieces of their own', 5, 6, [5, 2, 3]],
    ['within their documents', 20, 0.9, [12, 9, 4]],
    ['all of which one answer holds', 3, 0.9, [8]],
  ] as const)(`${title}: %s`, async (_, count, mebis, sizes) => {
    const { uri } = await freshMongoDatabase();
    await fill(await openMongo(uri), count, Math.floor(mebis * mebi));
    const client = await lookInto(uri);
    const rows = new MongoReadRows(
      callThrough(client, (_command, send) => send()),
      new RootFacts(),
    );
    expect(await answers(rows, count)).toEqual(sizes);
  });
});
