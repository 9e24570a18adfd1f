import { expect, onTestFinished, test } from 'vitest';
import { UnusableDatabase } from '../../src/store-admin.ts';
import { openPostgresAdmin } from '../../src/stores/postgres/admin.ts';
import { sessionSetup } from '../../src/stores/postgres/connect.ts';
import { schemaVersion } from '../../src/stores/postgres/schema.ts';
import { Session } from '../../src/stores/postgres/session.ts';
import { describeOwnPostgres, describePostgres, freshPostgresSchema, startPostgres } from '../support/databases.ts';
import {
  conversationIds,
  conversationTurn,
  follow,
  headOfConversation,
  headOfResponse,
  items,
  makeConversation,
  message,
  turn,
} from '../support/store-fixtures.ts';
import { askDirectly, noteSettings, openPostgres, readMessages, tenant, thrownBy } from './postgres-support.ts';

const timeoutMs = 10_000;
/** What a server is to keep to by itself, in the words of its `SHOW`. */
const limits = { statement: '9s', lock: '5s', idle: '10s' };

function pooled(uri: string): string {
  const changed = new URL(uri);
  changed.searchParams.set('pgbouncer', 'true');
  return changed.href;
}

async function ownServer(settings: string) {
  const server = await startPostgres();
  if (server === undefined) throw new Error('There is no server to start');
  await askDirectly(server.uri, settings);
  return { ...server, schema: 'open_responses' };
}

async function settingsIn(uri: string, text: string): Promise<readonly unknown[]> {
  const session = await Session.open(sessionSetup({ uri, timeoutMs }), performance.now() + 5_000);
  onTestFinished(() => session.end());
  const { rows } = await session.ask({ name: '', text }, [], performance.now() + 5_000);
  return rows.map((row) => row.join(' '));
}

/** A turn on the fast way, a fork on the long way, and a turn that shares its round trip with a lease. */
async function writeAllWays(store: Awaited<ReturnType<typeof openPostgres>>): Promise<void> {
  await follow(store, tenant, 'fast');
  const place = await headOfResponse(store, tenant, 'fast');
  await follow(store, tenant, 'fast2', 'fast');
  expect(await store.appendTurn(tenant, turn('long', place))).toBe('appended');
  await makeConversation(store, tenant, 'conv');
  const shared = [store.acquireLease(tenant, 'conv', 'run', 1_000), store.appendTurn(tenant, turn('shared'))];
  expect(await Promise.all(shared)).toEqual(['acquired', 'appended']);
}

describePostgres('settings in PostgreSQL', () => {
  test('behind a pooler nothing is set for longer than a transaction', async () => {
    const at = await freshPostgresSchema();
    const messages: [type: string, body: string][] = [];
    const uri = pooled(await readMessages(at.uri, (type, body) => messages.push([type, body])));
    const store = await openPostgres({ ...at, uri });
    await writeAllWays(store);
    const base = await headOfConversation(store, tenant, 'conv');
    await store.appendTurn(tenant, conversationTurn('turn', base, { holder: 'run' }));
    await store.appendItems(tenant, 'conv', items(message('a')));
    await store.deleteItem(tenant, 'conv', 'a');
    await store.deleteConversation(tenant, 'conv');
    const operator = await openPostgresAdmin({ ...at, uri, timeoutMs });
    onTestFinished(() => operator.close());
    await operator.migrate();
    expect((await operator.stats()).records).not.toEqual([]);
    expect(messages.length).toBeGreaterThan(50);
    expect(messages.filter(([type]) => type === 'Q')).toEqual([]);
    const parsed = messages.flatMap(([type, body]) => (type === 'P' ? [body] : []));
    expect(parsed.filter((text) => /^[^\0]*\0\s*(?:SET|RESET|DISCARD|PREPARE)\b/.test(text))).toEqual([]);
    expect(parsed.filter((text) => /set_config\([^)]*false\)/.test(text))).toEqual([]);
    // Nor is anything kept prepared: a statement's name would stand in front.
    expect(parsed.filter((text) => !text.startsWith('\0'))).toEqual([]);
    const left = `SELECT name FROM pg_settings WHERE source = 'session'`;
    expect(await settingsIn(uri, left)).toEqual([]);
    expect(await settingsIn(at.uri, left)).toContain('statement_timeout');
  });

  test('figures of a schema of a newer release are refused', async () => {
    const at = await freshPostgresSchema();
    await openPostgres(at);
    await askDirectly(at.uri, `INSERT INTO ${at.schema}.open_responses_migrations VALUES (${schemaVersion + 1})`);
    const operator = await openPostgresAdmin({ ...at, timeoutMs });
    onTestFinished(() => operator.close());
    const error = await thrownBy(operator.stats());
    expect(error).toBeInstanceOf(UnusableDatabase);
    expect(error.message).toContain('newer release');
    expect(await thrownBy(operator.schema())).toEqual(error);
  });
});

describeOwnPostgres('a PostgreSQL with settings of its own', () => {
  test.each(['directly', 'behind a pooler'])(
    '%s, every turn waits for the disk and keeps to the limits',
    async (way) => {
      const at = await ownServer('ALTER DATABASE postgres SET synchronous_commit = off');
      const store = await openPostgres({ ...at, uri: way === 'directly' ? at.uri : pooled(at.uri) }, { timeoutMs });
      const noted = await noteSettings(at);
      await writeAllWays(store);
      const found = await noted();
      expect(found.map(({ id }) => id)).toEqual(['fast', 'fast2', 'long', 'shared']);
      for (const each of found) expect(each).toMatchObject({ commits: 'on', isolation: 'read committed', ...limits });
    },
  );

  test('its own isolation and limits do not reach the store', async () => {
    const at = await ownServer(`ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
      ALTER DATABASE postgres SET statement_timeout = '1h'; ALTER DATABASE postgres SET lock_timeout = '1h'`);
    const store = await openPostgres(at, { timeoutMs });
    const noted = await noteSettings(at);
    await writeAllWays(store);
    const found = await noted();
    expect(found).toHaveLength(4);
    for (const each of found) expect(each).toMatchObject({ isolation: 'read committed', ...limits });
    // Readings too.
    const shown = `SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
      current_setting('idle_in_transaction_session_timeout'), current_setting('transaction_isolation')`;
    expect(await settingsIn(at.uri, shown)).toEqual(['9s 5s 10s read committed']);
  });

  test('behind a pooler, a role whose transactions are serializable loses nothing', async () => {
    const at = await ownServer(`ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'`);
    const store = await openPostgres({ ...at, uri: pooled(at.uri) });
    await makeConversation(store, tenant, 'conv');
    const posts = Array.from({ length: 20 }, (_, index) =>
      store.appendItems(tenant, 'conv', items(message(`i${index}`))),
    );
    expect(await Promise.all(posts)).toEqual(posts.map(() => ({ outcome: 'appended' })));
    const ids = await conversationIds(store, tenant, 'conv');
    expect(new Set(ids)).toEqual(new Set(posts.map((_, index) => `i${index}`)));
    expect(ids).toHaveLength(posts.length);
  });

  test('a migration has the time that it takes, also where a server does it that starts', async () => {
    const at = await ownServer(`CREATE TABLE seen (tag TEXT, statement TEXT, lock TEXT);
      CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.seen VALUES (tg_tag, current_setting('statement_timeout'), current_setting('lock_timeout'));
      END $$;
      CREATE EVENT TRIGGER see ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION see()`);
    await openPostgres(at, { timeoutMs: 300 });
    const text = `SELECT DISTINCT statement::interval > '50 minutes' AND lock::interval > '50 minutes' AS enough FROM seen`;
    expect(await askDirectly(at.uri, text)).toEqual([{ enough: true }]);
  });

  test('a database of another encoding is refused, and named', async () => {
    const at = await ownServer(`CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'`);
    const uri = Object.assign(new URL(at.uri), { pathname: '/ascii' }).href;
    const error = await thrownBy(openPostgres({ uri }));
    expect(error).toBeInstanceOf(UnusableDatabase);
    expect(error.message).toContain('SQL_ASCII');
    expect(error.message).toContain('UTF8');
    const made = `SELECT 1 FROM pg_namespace WHERE nspname = 'open_responses'`;
    expect(await askDirectly(uri, made)).toEqual([]);
  });
});
