import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { afterEach, expect, onTestFinished, test } from 'vitest';
import { StoreUnavailable } from '../../src/store.ts';
import { UnusableDatabase } from '../../src/store-admin.ts';
import { setFaultHandler } from '../../src/stores/fault-points.ts';
import { openPostgresAdmin } from '../../src/stores/postgres/admin.ts';
import { schemaVersion } from '../../src/stores/postgres/schema.ts';
import { describePostgres, freshPostgresSchema } from '../support/databases.ts';
import {
  conversationIds,
  conversationTurn,
  follow,
  headOfConversation,
  makeConversation,
  record,
  responseContextIds,
} from '../support/store-fixtures.ts';
import { askDirectly, everythingIn, fatalError, listen, openPostgres, tenant, thrownBy } from './postgres-support.ts';

afterEach(() => setFaultHandler(undefined));

function withParts(uri: string, parts: Partial<Pick<URL, 'username' | 'pathname'>>): string {
  return Object.assign(new URL(uri), parts).href;
}

async function tablesOf({ uri, schema }: { uri: string; schema: string }): Promise<unknown[]> {
  const rows = await askDirectly(uri, 'SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY 1', [schema]);
  return rows.map((row) => row['tablename']);
}

/** What a server says before it hangs up. */
function refuseWith(code: string, message: string): (socket: Socket) => void {
  return (socket) => socket.once('data', () => socket.end(fatalError(code, message)));
}

async function admin(at: { uri: string; schema: string }) {
  const opened = await openPostgresAdmin({ ...at, timeoutMs: 5_000 });
  onTestFinished(() => opened.close());
  return opened;
}

describePostgres('opening a store in PostgreSQL', () => {
  test('a wrong password can’t be healed by a restart, and is not shown', async () => {
    const port = await listen(refuseWith('28P01', 'password authentication failed for user "me"'));
    const error = await thrownBy(openPostgres({ uri: `postgres://me:hunter2@127.0.0.1:${port}/db` }));
    expect(error).toBeInstanceOf(UnusableDatabase);
    expect(error.message).toBe('the server refuses: password authentication failed for user "me" (SQLSTATE 28P01)');
    expect(everythingIn(error)).not.toContain('hunter2');
  });

  test.each([
    ['a role that does not exist', { username: 'nobody_of_that_name' }],
    ['a database that does not exist', { pathname: '/no_such_database' }],
  ])('%s is unusable, and said in one line', async (_, change) => {
    const { uri, schema } = await freshPostgresSchema();
    const error = await thrownBy(openPostgres({ uri: withParts(uri, change), schema }));
    expect(error).toBeInstanceOf(UnusableDatabase);
    expect(error.message).toContain('does not exist');
    expect(error.message).not.toContain('\n');
  });

  test.each(['postgres://me:hunter2@[::bad/db', 'postgres://me:hunter2@127.0.0.1:99999/db', '%%%hunter2'])(
    'a URI that is none is unusable, and its password is not shown: %s',
    async (uri) => {
      const error = await thrownBy(openPostgres({ uri }));
      expect(error).toBeInstanceOf(UnusableDatabase);
      expect(everythingIn(error)).not.toContain('hunter2');
    },
  );

  test.each(['', 'Upper', '1st', 'a"b', 'a b', 'pg_own', 'x'.repeat(64)])(
    'a schema may not be called %j',
    async (schema) => {
      const error = await thrownBy(openPostgres({ uri: 'postgres://127.0.0.1:1/db', schema }));
      expect(error).toBeInstanceOf(UnusableDatabase);
      expect(error.message).toContain('name of the schema');
    },
  );

  test('a server that is not there, is starting, or says nothing is unavailable, in bounded time', async () => {
    const starting = await listen(refuseWith('57P03', 'the database system is starting up'));
    const silent = await listen(() => undefined);
    for (const port of [1, starting, silent]) {
      const uri = `postgres://me:hunter2@127.0.0.1:${port}/db`;
      const error = await thrownBy(openPostgres({ uri }, { timeoutMs: 300 }));
      expect(error).toBeInstanceOf(StoreUnavailable);
      expect(everythingIn(error)).not.toContain('hunter2');
    }
  });

  test('a server without TLS is not spoken to where TLS is asked for', async () => {
    const port = await listen((socket) => socket.once('data', () => socket.write('N')));
    const uri = `postgres://me:hunter2@127.0.0.1:${port}/db?sslmode=verify-full`;
    const error = await thrownBy(openPostgres({ uri }));
    expect(error).toBeInstanceOf(UnusableDatabase);
    expect(error.message).toContain('does not support SSL');
  });

  test('ten servers that start at once make one schema, and all of them serve', async () => {
    const { uri, schema, drop } = await freshPostgresSchema();
    await drop();
    onTestFinished(() => askDirectly(uri, `DROP SCHEMA ${schema} CASCADE`).then(() => undefined));
    const stores = await Promise.all(Array.from({ length: 10 }, () => openPostgres({ uri, schema })));
    await Promise.all(stores.map((store, index) => makeConversation(store, tenant, `conv-${index}`, [`i${index}`])));
    for (const store of stores) {
      for (const index of stores.keys()) expect(await conversationIds(store, tenant, `conv-${index}`)).toHaveLength(1);
    }
    const versions = await askDirectly(uri, `SELECT version FROM ${schema}.open_responses_migrations`);
    expect(versions).toEqual(Array.from({ length: schemaVersion }, (_, index) => ({ version: index + 1 })));
  });

  test('a schema of a newer release is refused and left alone', async () => {
    const at = await freshPostgresSchema();
    await openPostgres(at);
    await askDirectly(at.uri, `INSERT INTO ${at.schema}.open_responses_migrations VALUES (${schemaVersion + 1})`);
    const error = await thrownBy(openPostgres(at));
    expect(error).toBeInstanceOf(UnusableDatabase);
    expect(error.message).toContain(`newer release: it has version ${schemaVersion + 1}, this release knows`);
    await expect((await admin(at)).migrate()).rejects.toBeInstanceOf(UnusableDatabase);
  });

  test('tables of others under our names are refused, named and left alone', async () => {
    const at = await freshPostgresSchema();
    await askDirectly(
      at.uri,
      `CREATE TABLE ${at.schema}.threads (title TEXT); CREATE TABLE ${at.schema}.posts (a INT)`,
    );
    const error = await thrownBy(openPostgres(at));
    expect(error).toBeInstanceOf(UnusableDatabase);
    expect(error.message).toContain('tables of another application (threads)');
    expect(await tablesOf(at)).toEqual(['posts', 'threads']);
    const { foreign, records } = await (await admin(at)).stats();
    expect(foreign).toContainEqual(`the table ${at.schema}.threads, which is not of this program`);
    expect(records).toEqual([]);
  });

  test('without automatic migration an old schema is refused, nothing is made, and the command is named', async () => {
    const at = await freshPostgresSchema();
    const error = await thrownBy(openPostgres(at, { autoMigrate: false }));
    expect(error).toBeInstanceOf(UnusableDatabase);
    expect(error.message).toContain('open-responses migrate');
    expect(await tablesOf(at)).toEqual([]);
    const operator = await admin(at);
    expect(await operator.schema()).toMatchObject({
      version: 0,
      needed: schemaVersion,
      pending: { length: schemaVersion },
    });
    expect(await tablesOf(at)).toEqual([]);
    expect(await operator.migrate()).toEqual({ version: schemaVersion, needed: schemaVersion, pending: [] });
    await makeConversation(await openPostgres(at, { autoMigrate: false }), tenant, 'conv');
  });

  test('a migration that is broken off leaves nothing behind, and the next one does it', async () => {
    const at = await freshPostgresSchema();
    let reached = 0;
    setFaultHandler((point) => {
      reached += point === 'during_migration' ? 1 : 0;
      if (reached === 4) throw new Error('broken off');
    });
    await expect(openPostgres(at)).rejects.toThrow('broken off');
    setFaultHandler(undefined);
    expect(await tablesOf(at)).toEqual([]);
    await makeConversation(await openPostgres(at), tenant, 'conv');
  });

  test('a role without the right to make anything is enough to serve, and one without rights is refused', async () => {
    const at = await freshPostgresSchema();
    await (await admin(at)).migrate();
    const role = `role_${randomBytes(6).toString('hex')}`;
    await askDirectly(at.uri, `CREATE ROLE ${role} LOGIN`);
    onTestFinished(async () => {
      await askDirectly(at.uri, `DROP OWNED BY ${role}; DROP ROLE ${role}`);
    });
    const uri = withParts(at.uri, { username: role });
    const refused = await thrownBy(openPostgres({ ...at, uri }, { autoMigrate: false }));
    expect(refused).toBeInstanceOf(UnusableDatabase);
    await askDirectly(
      at.uri,
      `GRANT USAGE ON SCHEMA ${at.schema} TO ${role};
       GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${at.schema} TO ${role}`,
    );
    for (const autoMigrate of [false, true]) {
      const store = await openPostgres({ ...at, uri }, { autoMigrate });
      await makeConversation(store, tenant, `conv-${autoMigrate}`, ['a']);
      await follow(store, tenant, `r-${autoMigrate}`);
      expect(await store.deleteResponse(tenant, `r-${autoMigrate}`)).toBe(true);
    }
    await askDirectly(at.uri, `REVOKE DELETE ON ${at.schema}.items FROM ${role}`);
    const error = await thrownBy(openPostgres({ ...at, uri }, { autoMigrate: false }));
    expect(error).toBeInstanceOf(UnusableDatabase);
    expect(error.message).toContain(`the role ${role} lacks rights`);
  });

  test('what others keep in the same database is neither used nor changed, and is reported', async () => {
    const at = await freshPostgresSchema();
    const other = await freshPostgresSchema();
    await askDirectly(
      at.uri,
      `CREATE TABLE ${other.schema}.responses (id TEXT); INSERT INTO ${other.schema}.responses
      VALUES ('old')`,
    );
    const store = await openPostgres(at);
    await follow(store, tenant, 'r1');
    expect(await askDirectly(at.uri, `SELECT id FROM ${other.schema}.responses`)).toEqual([{ id: 'old' }]);
    expect(await tablesOf(other)).toEqual(['responses']);
    const { foreign } = await (await admin(at)).stats();
    expect(foreign).toContainEqual(`the table ${other.schema}.responses, perhaps of another server of conversations`);
    expect(foreign.filter((line) => line.includes(at.schema))).toEqual([]);
  });

  test('tables of others are named wherever they lie, ours in another schema are not', async () => {
    const [at, ours, other] = [await freshPostgresSchema(), await freshPostgresSchema(), await freshPostgresSchema()];
    await openPostgres(at);
    await openPostgres(ours);
    await askDirectly(
      at.uri,
      `CREATE TABLE ${at.schema}.conversations (a INT); CREATE TABLE ${other.schema}.input_items (a INT) PARTITION BY LIST (a);
      CREATE TABLE ${other.schema}.messages (a INT); CREATE VIEW ${other.schema}.responses AS SELECT 1`,
    );
    const operator = await admin(at);
    const { foreign, records } = await operator.stats();
    const perhaps = 'perhaps of another server of conversations';
    const mine = foreign.filter((line) => [at, ours, other].some(({ schema }) => line.includes(schema)));
    expect(mine.sort()).toEqual(
      [`the table ${at.schema}.conversations, ${perhaps}`, `the table ${other.schema}.input_items, ${perhaps}`].sort(),
    );
    expect(records).toHaveLength(6);
  });

  test('the bytes on disk are those of our tables and their indexes, whatever else the database holds', async () => {
    const at = await freshPostgresSchema();
    const other = await freshPostgresSchema();
    const store = await openPostgres(at);
    await follow(store, tenant, 'r1');
    const operator = await admin(at);
    const { diskBytes: before = 0 } = await operator.stats();
    // Each table has a primary key at least.
    const [heap] = await askDirectly(
      at.uri,
      `SELECT sum(pg_table_size(oid))::int AS bytes FROM pg_class
      WHERE relkind = 'r' AND relnamespace = '${at.schema}'::regnamespace`,
    );
    expect(before).toBeGreaterThan(Number(heap?.['bytes']));
    await askDirectly(
      at.uri,
      `CREATE TABLE ${other.schema}.threads (id TEXT PRIMARY KEY, filling TEXT);
      ALTER TABLE ${other.schema}.threads ALTER COLUMN filling SET STORAGE EXTERNAL;
      INSERT INTO ${other.schema}.threads SELECT n::text, repeat('x', 100000) FROM generate_series(1, 100) n`,
    );
    const [size] = await askDirectly(at.uri, `SELECT pg_total_relation_size('${other.schema}.threads')::int AS bytes`);
    expect(size?.['bytes']).toBeGreaterThan(10_000_000);
    const { diskBytes: after, records } = await operator.stats();
    expect(after).toBe(before);
    expect(before).toBeLessThan(1_000_000);
    expect(records.find(({ kind }) => kind === 'chains')).toMatchObject({ count: 1 });
  });

  test('the figures are those of what is stored', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    const empty = await (await admin(at)).stats();
    expect(empty.records.map(({ count, bytes }) => [count, bytes])).toEqual(empty.records.map(() => [0, 0]));
    await store.createConversation(tenant, { id: 'conv', metadata: { a: 'b' }, createdAt: 5_000 });
    const base = await headOfConversation(store, tenant, 'conv');
    await store.appendTurn(tenant, conversationTurn('r1', base, { createdAt: 7_000 }));
    await store.appendTurn(tenant, record('failed', base, { conversationId: 'conv', createdAt: 8_000 }));
    await follow(store, tenant, 'c1');
    await follow(store, tenant, 'c2', 'c1');
    await store.acquireLease(tenant, 'conv', 'run', 1_000);
    const { records, diskBytes } = await (await admin(at)).stats();
    const counts = Object.fromEntries(records.map(({ kind, count }) => [kind, count]));
    expect(counts).toEqual({ conversations: 1, chains: 1, records: 1, responses: 4, items: 8, leases: 1 });
    const responses = records.find(({ kind }) => kind === 'responses');
    expect(responses).toMatchObject({ oldestAt: 1_000, newestAt: 8_000 });
    const stored = await askDirectly(at.uri, `SELECT sum(length(response))::int AS bytes FROM ${at.schema}.entries`);
    expect(responses?.bytes).toBe(stored[0]?.['bytes']);
    const [own] = await askDirectly(
      at.uri,
      `SELECT sum(pg_total_relation_size(oid))::int AS bytes FROM pg_class
      WHERE relkind = 'r' AND relnamespace = '${at.schema}'::regnamespace`,
    );
    expect(diskBytes).toBe(own?.['bytes']);
    expect(await responseContextIds(store, tenant, 'c2')).toHaveLength(4);
  });
});
