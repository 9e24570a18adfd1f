import { DatabaseSync } from 'node:sqlite';
import { expect, it, onTestFinished, vi } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { openStore, openStoreAdmin } from '../../src/open-store.ts';
import type { Store } from '../../src/store.ts';
import type { StoreAdmin } from '../../src/store-admin.ts';
import { openForWriting } from '../../src/stores/sqlite/connection.ts';
import { GroupCommit } from '../../src/stores/sqlite/group-commit.ts';
import { describeMongo, describePostgres, freshMongoDatabase, freshPostgresSchema } from '../support/databases.ts';
import { type StoreType, sharedStoreTypes, storeSettings } from '../support/harness.ts';
import { conversationIds, makeConversation, message, turn } from '../support/store-fixtures.ts';
import { lookInto, openMongo, refusal } from './mongodb-support.ts';
import { askDirectly, openPostgres, openSession } from './postgres-support.ts';

const tenant = 'tenant';

type Settings = Readonly<Record<string, string>>;

function configOf(settings: Settings) {
  return loadConfig({ argv: Object.entries(settings).map(([name, value]) => `--${name}=${value}`), env: {} });
}

async function open(settings: Settings): Promise<Store> {
  const store = await openStore(configOf(settings));
  onTestFinished(() => store.close());
  return store;
}

async function operatorOf(settings: Settings): Promise<StoreAdmin> {
  const admin = await openStoreAdmin(configOf(settings));
  onTestFinished(() => admin.close());
  return admin;
}

it.each(sharedStoreTypes)('servers that start at once on a new database share one secret (%s)', async (type) => {
  const settings = await storeSettings(type);
  const servers = await Promise.all(Array.from({ length: 5 }, () => open(settings)));
  const operator = await operatorOf(settings);
  const { records } = await operator.stats();
  const proposals = Array.from({ length: 20 }, (_, index) => `secret-${index}`);
  const told = await Promise.all(
    proposals.map((proposed, index) => (servers[index % servers.length] ?? servers[0])?.keptSecret(proposed)),
  );
  expect(new Set(told).size).toBe(1);
  expect(proposals).toContain(told[0]);
  expect(await (await open({ ...settings, 'store.auto-migrate': 'false' })).keptSecret('a later one')).toBe(told[0]);
  // It is no record of anybody's, and leaves nothing to migrate.
  expect((await operator.stats()).records).toEqual(records);
  expect((await operator.stats()).foreign.filter((line) => line.includes('secret'))).toEqual([]);
  expect((await operator.schema()).pending).toEqual([]);
});

/** Takes away what came after the first version. */
async function backToVersion1(type: StoreType, settings: Settings): Promise<void> {
  if (type === 'sqlite') {
    const database = new DatabaseSync(settings['sqlite.path'] ?? '');
    database.exec('DROP TABLE named_values; PRAGMA user_version = 1');
    database.close();
    return;
  }
  const schema = settings['postgres.schema'];
  await askDirectly(
    settings['postgres.uri'] ?? '',
    `DROP TABLE ${schema}.named_values; DELETE FROM ${schema}.open_responses_migrations WHERE version > 1`,
  );
}

it.each(sharedStoreTypes.filter((type) => type !== 'mongodb'))(
  'a database of version 1 gets its table for the secret, and keeps what it holds (%s)',
  async (type) => {
    const settings = await storeSettings(type);
    const earlier = await openStore(configOf(settings));
    await makeConversation(earlier, tenant, 'conv', ['a', 'b']);
    await earlier.close();
    await backToVersion1(type, settings);
    const operator = await operatorOf(settings);
    const before = await operator.schema();
    expect(before).toEqual({ version: 1, needed: 2, pending: ['create the table named_values'] });
    const { records } = await operator.stats();
    expect(records).toContainEqual(expect.objectContaining({ kind: 'items', count: 2 }));
    const patient = { ...settings, 'store.auto-migrate': 'false' };
    await expect(open(patient)).rejects.toThrow(/version 1 and this release needs 2.*open-responses migrate/);
    expect(await operator.schema()).toEqual(before);
    expect(await operator.migrate()).toEqual({ version: 2, needed: 2, pending: [] });
    expect((await operator.stats()).records).toEqual(records);
    const store = await open(patient);
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'b']);
    const kept = await store.keptSecret('kept');
    expect(kept).toBe('kept');
    // A server that migrates finds it done.
    expect(await (await open(settings)).keptSecret('a later one')).toBe(kept);
  },
);

it('an SQLite file whose version an older server has written once more is migrated again (sqlite)', async () => {
  const settings = await storeSettings('sqlite');
  const earlier = await openStore(configOf(settings));
  expect(await earlier.keptSecret('kept')).toBe('kept');
  await earlier.close();
  const database = new DatabaseSync(settings['sqlite.path'] ?? '');
  database.exec('PRAGMA user_version = 1');
  database.close();
  expect(await (await open(settings)).keptSecret('a later one')).toBe('kept');
});

it('an SQLite server whose disk was full leaves the version of a newer release as it is', async () => {
  const path = (await storeSettings('sqlite'))['sqlite.path'] ?? '';
  const database = openForWriting({ path, synchronous: 'full', busyTimeoutMs: 100 });
  onTestFinished(() => database.close());
  const group = new GroupCommit(database, 'full');
  const pages = Number(database.prepare('PRAGMA page_count').get()?.['page_count']);
  database.exec(`PRAGMA max_page_count = ${pages + 20}`);
  const huge = turn('huge', undefined, { input: [message('i', 'x'.repeat(1_000_000))] });
  const [full] = group.commit([{ number: 1, operation: { kind: 'append_turn', tenant, turn: huge } }]);
  expect(full?.outcome.kind).toBe('unavailable');
  database.exec('PRAGMA user_version = 1234');
  const [next] = group.commit([{ number: 2, operation: { kind: 'ping' } }]);
  expect(next?.outcome.kind).toBe('done');
  expect(database.prepare('PRAGMA user_version').get()).toEqual({ user_version: 1234 });
});

describePostgres('the secret in PostgreSQL', () => {
  it('is told by a database that can only be read, once it is kept', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    const uri = new URL(at.uri);
    const options = uri.searchParams.get('options') ?? '';
    uri.searchParams.set('options', `${options} -c default_transaction_read_only=on`.trim());
    const reading = await openPostgres({ ...at, uri: uri.href });
    const error = await refusal(reading.keptSecret('not this one'));
    expect(error.message).toContain('read-only');
    expect(error.message).not.toContain('not this one');
    expect(await store.keptSecret('kept')).toBe('kept');
    expect(await reading.keptSecret('not this one')).toBe('kept');
  });

  it('waits for the one that is about to be kept', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    const other = await openSession(at.uri);
    const say = (text: string) => other.ask({ name: '', text }, [], performance.now() + 5_000);
    await say('BEGIN');
    await say(`INSERT INTO ${at.schema}.named_values VALUES ('secret', 'first')`);
    const told = store.keptSecret('second');
    const waiting = `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%${at.schema}%'`;
    await vi.waitFor(async () => expect(await askDirectly(at.uri, waiting)).toHaveLength(1), { timeout: 4_000 });
    await say('COMMIT');
    expect(await told).toBe('first');
  });

  it('needs the rights to its table, which a server asks for when it starts', async () => {
    const at = await freshPostgresSchema();
    await openPostgres(at);
    const role = `role_${at.schema}`;
    await askDirectly(
      at.uri,
      `CREATE ROLE ${role} LOGIN; GRANT USAGE ON SCHEMA ${at.schema} TO ${role};
      GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${at.schema} TO ${role};
      REVOKE INSERT ON ${at.schema}.named_values FROM ${role}`,
    );
    onTestFinished(async () => void (await askDirectly(at.uri, `DROP OWNED BY ${role}; DROP ROLE ${role}`)));
    const uri = new URL(at.uri);
    uri.username = role;
    await expect(openPostgres({ ...at, uri: uri.href })).rejects.toThrow('lacks rights');
    await askDirectly(at.uri, `GRANT INSERT ON ${at.schema}.named_values TO ${role}`);
    expect(await (await openPostgres({ ...at, uri: uri.href })).keptSecret('kept')).toBe('kept');
  });
});

describeMongo('the secret in a MongoDB database that is dropped under running servers', () => {
  async function dropped(autoMigrate: boolean) {
    const { uri } = await freshMongoDatabase();
    const db = (await lookInto(uri)).db();
    await openMongo(uri);
    const store = await openMongo(uri, { autoMigrate });
    expect(await store.keptSecret('kept')).toBe('kept');
    await db.dropDatabase();
    return { uri, db, store };
  }

  it('is put back by one that looks, so that those that start later share it', async () => {
    const { uri, db, store } = await dropped(true);
    await store.ping();
    const meta = await db.collection('openresponses_meta').find().sort({ _id: 1 }).toArray();
    expect(meta.map(({ _id }) => _id)).toEqual(['schema', 'secret']);
    expect(await (await openMongo(uri)).keptSecret('a later one')).toBe('kept');
  });

  it('is put back by one that may not migrate, once somebody has', async () => {
    const { uri, store } = await dropped(false);
    await refusal(store.ping());
    const migrating = await openMongo(uri);
    await store.ping();
    expect(await migrating.keptSecret('a later one')).toBe('kept');
  });

  it('is no reason to take the database for somebody else’s, where it comes before the mark', async () => {
    const { uri, db, store } = await dropped(true);
    expect(await store.keptSecret('a new one')).toBe('a new one');
    expect(
      await db
        .collection('openresponses_meta')
        .find({ _id: { $ne: 'secret' } as never })
        .toArray(),
    ).toEqual([]);
    const next = await openMongo(uri);
    expect(await next.keptSecret('a later one')).toBe('a new one');
    await store.ping();
    expect(await store.keptSecret('a later one')).toBe('a new one');
  });

  it('a document of somebody else’s under that name is left alone', async () => {
    const { uri, db } = await dropped(true);
    const theirs = { _id: 'secret', value: 'theirs' };
    await db.collection<{ _id: string }>('openresponses_meta').insertOne(theirs);
    await expect(openMongo(uri)).rejects.toThrow('openresponses_meta');
    expect(await db.collection('openresponses_meta').find().toArray()).toEqual([theirs]);
  });
});
