import type { Db } from 'mongodb';
import { expect, it, vi } from 'vitest';
import { UnusableDatabase } from '../../src/store-admin.ts';
import { openMongoAdmin } from '../../src/stores/mongodb/admin.ts';
import { describeMongo, freshMongoDatabase } from '../support/databases.ts';
import {
  conversationContextIds,
  conversationIds,
  conversationTurn,
  follow,
  items,
  makeConversation,
  message,
} from '../support/store-fixtures.ts';
import { everything, lookInto, openMongo, refusal, tenant } from './mongodb-support.ts';

const mark = { _id: 'schema', product: 'open-responses', version: 1 };

/** As operators read of them: the fields in order, `-` before those that descend, then what is special. */
const expectedIndexes = [
  'chunks: _id',
  'chunks: createdAt',
  'chunks: tenant thread owner part, unique',
  'entries: _id',
  'entries: chunks.owner, sparse',
  'entries: deletedAt, sparse',
  'entries: tenant ids -sequence',
  'entries: tenant responseId',
  'entries: tenant thread ids position',
  'entries: tenant thread position, unique',
  'entries: tenant tree hasItems thread position',
];

async function indexesOf(db: Db): Promise<string[]> {
  const told: string[] = [];
  for (const name of ['chunks', 'entries']) {
    for (const { key, unique, sparse } of await db.collection(`openresponses_${name}`).indexes()) {
      const fields = Object.entries(key).map(([field, order]) => (order === -1 ? `-${field}` : field));
      const isUnique = unique === true && fields[0] !== '_id';
      told.push(`${name}: ${fields.join(' ')}${isUnique ? ', unique' : ''}${sparse === true ? ', sparse' : ''}`);
    }
  }
  return told.toSorted();
}

async function fresh() {
  const { uri } = await freshMongoDatabase();
  const db = (await lookInto(uri)).db();
  return { uri, db, entries: db.collection('openresponses_entries') };
}

async function pendingOf(uri: string): Promise<readonly string[]> {
  const admin = await openMongoAdmin({ uri, database: undefined, timeoutMs: 5_000 });
  const { pending } = await admin.schema();
  await admin.close();
  return pending;
}

describeMongo('a MongoDB database that is dropped under running servers', () => {
  it('gives each place away once, and is made again as soon as somebody looks', async () => {
    const { uri, db } = await fresh();
    const stores = [await openMongo(uri), await openMongo(uri)] as const;
    await db.dropDatabase();
    await makeConversation(stores[0], tenant, 'conv');
    const base = { threadId: 'conv', position: -1 };
    const turns = stores.map((store, index) => store.appendTurn(tenant, conversationTurn(`r${index}`, base)));
    expect((await Promise.all(turns)).toSorted()).toEqual(['appended', 'lost']);
    const posts = stores.flatMap((store, server) =>
      Array.from({ length: 20 }, (_, index) => store.appendItems(tenant, 'conv', items(message(`${server}-${index}`)))),
    );
    expect(new Set((await Promise.all(posts)).map(({ outcome }) => outcome))).toEqual(new Set(['appended']));
    const ids = await conversationContextIds(stores[1], tenant, 'conv');
    expect([ids.length, new Set(ids).size]).toEqual([42, 42]);
    await Promise.all(stores.map((store) => store.ping()));
    expect(await indexesOf(db)).toEqual(expectedIndexes);
    expect(await db.collection('openresponses_meta').find().toArray()).toEqual([mark]);
    await openMongo(uri, { autoMigrate: false });
  });

  it('is taken for ours by a server that starts before anybody looked', async () => {
    const { uri, db } = await fresh();
    const store = await openMongo(uri);
    await db.dropDatabase();
    await makeConversation(store, tenant, 'conv', ['a']);
    await follow(store, tenant, 'large', undefined);
    expect(await pendingOf(uri)).toEqual([expect.stringContaining('migration 1')]);
    const second = await openMongo(uri);
    expect(await conversationIds(second, tenant, 'conv')).toEqual(['a']);
    expect(await indexesOf(db)).toEqual(expectedIndexes);
    await store.ping();
  });

  it('is not made again by a server that may not migrate, which says what to do, and goes on then', async () => {
    const { uri, db } = await fresh();
    await openMongo(uri);
    const store = await openMongo(uri, { autoMigrate: false });
    await db.dropDatabase();
    expect((await refusal(store.ping())).message).toContain('open-responses migrate');
    expect(await everything(await lookInto(uri))).toEqual([]);
    await openMongo(uri);
    await store.ping();
  });

  it('is left alone where somebody else has made it meanwhile', async () => {
    const { uri, db } = await fresh();
    const store = await openMongo(uri);
    await db.dropDatabase();
    await db.collection<{ _id: number }>('openresponses_entries').insertOne({ _id: 1 });
    expect((await refusal(store.ping())).message).toContain('openresponses_entries');
    expect(await everything(await lookInto(uri))).toEqual([{ _id: 1 }]);
  });
});

describeMongo('the indexes in MongoDB', () => {
  it('are these, and no others', async () => {
    const { uri, db } = await fresh();
    await openMongo(uri);
    expect(await indexesOf(db)).toEqual(expectedIndexes);
    expect(await pendingOf(uri)).toEqual([]);
  });

  it('are made by a start where some are missing, whatever the mark says', async () => {
    const { uri, db, entries } = await fresh();
    await openMongo(uri);
    await entries.dropIndex('place');
    await entries.dropIndex('response');
    expect(await pendingOf(uri)).toEqual([expect.stringContaining('place'), expect.stringContaining('response')]);
    await openMongo(uri);
    expect(await indexesOf(db)).toEqual(expectedIndexes);
  });

  it('are not made by a server that may not: it refuses without a unique one, and warns without another', async () => {
    const { uri, db, entries } = await fresh();
    await openMongo(uri);
    await entries.dropIndex('response');
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue();
    await openMongo(uri, { autoMigrate: false });
    expect(warn.mock.calls).toEqual([[expect.stringMatching(/response of .*open-responses migrate/)]]);
    warn.mockRestore();
    await entries.dropIndex('place');
    const refused = openMongo(uri, { autoMigrate: false });
    await expect(refused).rejects.toBeInstanceOf(UnusableDatabase);
    await expect(refused).rejects.toThrow(/place of .*open-responses migrate/);
    expect(await indexesOf(db)).toHaveLength(expectedIndexes.length - 2);
  });

  it('may have another name; one in the way of ours is told', async () => {
    const { uri, entries } = await fresh();
    await openMongo(uri);
    await entries.dropIndex('response');
    await entries.createIndex({ tenant: 1, responseId: 1 }, { name: 'by_hand' });
    await openMongo(uri);
    expect(await pendingOf(uri)).toEqual([]);
    await entries.dropIndex('by_hand');
    await entries.createIndex({ tenant: 1, responseId: 1 }, { name: 'by_hand', sparse: true });
    await expect(openMongo(uri)).rejects.toBeInstanceOf(UnusableDatabase);
    await expect(openMongo(uri)).rejects.toThrow(/by_hand.*drop it/);
  });
});
