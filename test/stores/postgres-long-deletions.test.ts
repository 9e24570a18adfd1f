import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { sessionSetup } from '../../src/stores/postgres/connect.ts';
import { LongWay } from '../../src/stores/postgres/long-way.ts';
import { Pool } from '../../src/stores/postgres/pool.ts';
import { statementsFor } from '../../src/stores/postgres/statements.ts';
import type { WriteOperation } from '../../src/stores/writing.ts';
import { describePostgres, freshPostgresSchema, type PostgresSchema } from '../support/databases.ts';
import { conversationIds, follow, items, makeConversation, message, turn } from '../support/store-fixtures.ts';
import { askDirectly, listen, openPostgres, refusal, tenant } from './postgres-support.ts';

type Place = Pick<PostgresSchema, 'uri' | 'schema'>;

const cancelRequestCode = 80877102;
/** More than a server waits that is to be told what becomes of its connections. */
const patience = { timeout: 10_000 };

/** A schema whose connections can be told from those of other tests. */
async function namedSchema(): Promise<PostgresSchema & { readonly namedUri: string }> {
  const at = await freshPostgresSchema();
  const named = new URL(at.uri);
  named.searchParams.set('application_name', at.schema);
  return { ...at, namedUri: named.href };
}

type GateAt = 'entries' | 'threads' | 'commit';

/** Whatever is deleted waits until the gate is opened: with its entries, with its thread, which is last, or at the commit. */
async function closeGate({ uri, schema }: Place, where: GateAt = 'entries'): Promise<() => Promise<void>> {
  const trigger =
    where === 'commit'
      ? `CREATE CONSTRAINT TRIGGER wait AFTER DELETE ON ${schema}.entries DEFERRABLE INITIALLY DEFERRED`
      : `CREATE TRIGGER wait BEFORE DELETE ON ${schema}.${where}`;
  await askDirectly(
    uri,
    `CREATE TABLE ${schema}.gate (isClosed BOOLEAN); INSERT INTO ${schema}.gate VALUES (true);
    CREATE FUNCTION ${schema}.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      WHILE EXISTS (SELECT 1 FROM ${schema}.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;
      RETURN OLD;
    END $$;
    ${trigger} FOR EACH ROW EXECUTE FUNCTION ${schema}.wait()`,
  );
  const open = async (): Promise<void> => void (await askDirectly(uri, `DELETE FROM ${schema}.gate`));
  onTestFinished(open);
  return open;
}

async function entryCount({ uri, schema }: Place): Promise<unknown> {
  const rows = await askDirectly(uri, `SELECT count(*)::int AS count FROM ${schema}.entries`);
  return rows[0]?.['count'];
}

/** What the server does for connections that are named after the schema. */
async function atWork({ uri, schema }: Place) {
  const [row] = await askDirectly(
    uri,
    `SELECT count(*)::int AS connections, count(*) FILTER (WHERE state = 'active')::int AS active,
      count(*) FILTER (WHERE wait_event_type = 'Lock')::int AS locked,
      count(*) FILTER (WHERE state = 'active' AND query = 'COMMIT')::int AS commits
    FROM pg_stat_activity WHERE application_name = $1`,
    [schema],
  );
  return row as Readonly<Record<'connections' | 'active' | 'locked' | 'commits', number>>;
}

/** Passes everything on, but cancel requests as `onCancel` says. */
async function startCancelRelay(uri: string) {
  const target = new URL(uri);
  const behind = { host: target.hostname, port: Number(target.port) };
  const onCancel = (pass: () => void, _near: Socket): void => pass();
  const relay = { uri: '', logins: 0, cancels: 0, hasRolledBack: false, onCancel };
  const port = await listen((near) => {
    near.on('data', (bytes) => {
      relay.hasRolledBack ||= bytes.includes('ROLLBACK');
    });
    near.once('data', (first: Buffer) => {
      const pass = (): void => {
        const far = connect(behind, () => far.write(first));
        far.on('error', () => near.destroy());
        near.on('close', () => far.destroy());
        near.pipe(far).pipe(near);
      };
      const isCancel = first.length === 16 && first.readInt32BE(4) === cancelRequestCode;
      if (isCancel) relay.cancels += 1;
      else relay.logins += 1;
      if (isCancel) relay.onCancel(pass, near);
      else pass();
    });
  });
  target.hostname = '127.0.0.1';
  target.port = String(port);
  relay.uri = target.href;
  return relay;
}

/** One connection besides those that others keep for long: whatever is not done in time is broken off. */
async function narrowWay(where: GateAt = 'entries') {
  const at = await namedSchema();
  const store = await openPostgres(at);
  await makeConversation(store, tenant, 'conv', ['a']);
  const open = await closeGate(at, where);
  const relay = await startCancelRelay(at.namedUri);
  const timeoutMs = 1_000;
  const pool = new Pool({ ...sessionSetup({ uri: relay.uri, timeoutMs: 20_000 }), size: 1, connectTimeoutMs: 5_000 });
  for (let count = 0; count < 2; count += 1) {
    const session = await pool.acquire(performance.now() + 5_000);
    expect(pool.lend(session, () => session.destroy())).toBe(true);
  }
  const way = new LongWay({ pool, statements: statementsFor(at.schema), preamble: [] });
  onTestFinished(() => pool.close());
  const operation: WriteOperation = { kind: 'delete_conversation', tenant, id: 'conv' };
  const deadlineMs = performance.now() + timeoutMs;
  const deleted = way.go(operation, deadlineMs, false);
  deleted.catch(() => undefined);
  return { at, pool, relay, deleted, open, deadlineMs };
}

describePostgres('long deletions from PostgreSQL', () => {
  test('a deletion that takes longer than anybody waits is told so in time, goes on, and is found done', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at, { poolSize: 1, timeoutMs: 1_500 });
    await makeConversation(store, tenant, 'conv', ['a', 'b']);
    await follow(store, tenant, 'r1');
    const open = await closeGate(at);
    expect((await refusal(store.deleteConversation(tenant, 'conv'))).message).toContain('in time');
    expect((await refusal(store.deleteConversation(tenant, 'conv'))).message).toContain('being deleted');
    expect((await refusal(store.appendItems(tenant, 'conv', items(message('c'))))).message).toContain('being deleted');
    // Whole until it is gone, and others are served meanwhile.
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'b']);
    for (const id of ['r2', 'r3']) expect(await store.appendTurn(tenant, turn(id))).toBe('appended');
    await open();
    await vi.waitFor(async () => expect(await entryCount(at)).toBe(3));
    await vi.waitFor(async () => expect(await store.deleteConversation(tenant, 'conv')).toBe(false));
    await store.close();
  });

  test('only a few deletions go on at once; what is broken off is whole, and may be deleted later', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at, { timeoutMs: 1_500 });
    const ids = ['r1', 'r2', 'r3', 'r4'];
    for (const id of ids) await store.appendTurn(tenant, turn(id));
    const open = await closeGate(at);
    await Promise.all(ids.map((id) => refusal(store.deleteResponse(tenant, id))));
    const messages = await Promise.all(
      ids.map(async (id) => (await refusal(store.deleteResponse(tenant, id))).message),
    );
    expect(messages.filter((text) => text.includes('being deleted'))).toHaveLength(2);
    await open();
    await vi.waitFor(async () => expect(await entryCount(at)).toBe(2));
    const deleteAll = async (): Promise<boolean[]> => {
      return Promise.all(ids.map((id) => store.deleteResponse(tenant, id)));
    };
    // The store may hear of what is done a little later than we do.
    const outcomes = await vi.waitFor(deleteAll);
    expect(outcomes).toHaveLength(4);
    expect(await entryCount(at)).toBe(0);
  });

  test('closing gives up a deletion that goes on, and nothing of it has happened', async () => {
    const at = await namedSchema();
    const store = await openPostgres({ ...at, uri: at.namedUri }, { timeoutMs: 1_500 });
    await makeConversation(store, tenant, 'conv', ['a', 'b']);
    const open = await closeGate(at);
    await refusal(store.deleteConversation(tenant, 'conv'));
    expect((await atWork(at)).active).toBe(1);
    await store.close();
    await vi.waitFor(async () => expect((await atWork(at)).connections).toBe(0), patience);
    await open();
    const again = await openPostgres(at);
    expect(await conversationIds(again, tenant, 'conv')).toEqual(['a', 'b']);
    expect(await again.deleteConversation(tenant, 'conv')).toBe(true);
    expect(await entryCount(at)).toBe(0);
  });

  test('one of the same that began before ends without a trace: who comes afterwards is still told at once', async () => {
    const at = await namedSchema();
    const store = await openPostgres({ ...at, uri: at.namedUri }, { timeoutMs: 1_500 });
    await makeConversation(store, tenant, 'conv', ['a']);
    const open = await closeGate(at);
    const first = refusal(store.deleteConversation(tenant, 'conv'));
    await vi.waitFor(async () => expect(await atWork(at)).toMatchObject({ active: 1, locked: 0 }), patience);
    const second = refusal(store.deleteConversation(tenant, 'conv'));
    await Promise.all([first, second]);
    await vi.waitFor(async () => expect(await atWork(at)).toMatchObject({ active: 1, locked: 0 }), patience);
    for (let times = 0; times < 2; times += 1) {
      expect((await refusal(store.deleteConversation(tenant, 'conv'))).message).toContain('being deleted');
    }
    expect((await refusal(store.appendItems(tenant, 'conv', items(message('b'))))).message).toContain('being deleted');
    await open();
    await vi.waitFor(async () => expect(await entryCount(at)).toBe(0), patience);
    await vi.waitFor(async () => expect(await store.deleteConversation(tenant, 'conv')).toBe(false), patience);
  });

  test('what is broken off ends at the server too: however many come, two go on beside the pool', async () => {
    const at = await namedSchema();
    const poolSize = 3;
    const store = await openPostgres({ ...at, uri: at.namedUri }, { poolSize, timeoutMs: 800 });
    const ids = ['r1', 'r2', 'r3', 'r4', 'r5', 'r6'];
    for (const id of ids) await store.appendTurn(tenant, turn(id));
    const open = await closeGate(at);
    for (const [index, id] of ids.entries()) {
      // Twice, as by a client that comes again.
      const twice = [1, 2].map(() => refusal(store.deleteResponse(tenant, id)));
      // Whose it was to stop the statement, the server can't tell.
      for (const { message: text } of await Promise.all(twice)) expect(text).not.toContain('57014');
      const active = Math.min(index + 1, 2);
      await vi.waitFor(async () => expect(await atWork(at)).toMatchObject({ active, locked: 0 }), patience);
      expect((await atWork(at)).connections).toBeLessThanOrEqual(poolSize + 2);
    }
    expect(await store.appendTurn(tenant, turn('r7'))).toBe('appended');
    await open();
    await vi.waitFor(async () => expect(await entryCount(at)).toBe(5), patience);
    await vi.waitFor(async () => expect((await atWork(at)).active).toBe(0), patience);
    expect(await entryCount(at)).toBe(5);
  });

  test('a connection counts until its server has let go of it, and is not used again', async () => {
    const { at, pool, relay, deleted, open } = await narrowWay();
    const held = Promise.withResolvers<() => void>();
    relay.onCancel = (pass) => held.resolve(pass);
    const cancel = await held.promise;
    await refusal(pool.acquire(performance.now() + 200));
    expect(relay.logins).toBe(3);
    expect(await atWork(at)).toEqual({ connections: 3, active: 1, locked: 0, commits: 0 });
    relay.onCancel = (pass) => pass();
    cancel();
    expect((await refusal(deleted)).message).toContain('in time');
    const session = await pool.acquire(performance.now() + 5_000);
    expect(relay.logins).toBe(4);
    pool.release(session);
    expect(await atWork(at)).toEqual({ connections: 3, active: 0, locked: 0, commits: 0 });
    await open();
    expect(await entryCount(at)).toBe(1);
  });

  test.each(['entries', 'threads'] as const)(
    'broken off while its %s are removed, it is not committed after all, and leaves nothing that a late request could meet',
    async (where) => {
      const { at, relay, deleted, open } = await narrowWay(where);
      const held = Promise.withResolvers<void>();
      relay.onCancel = () => held.resolve();
      await held.promise;
      await open();
      expect((await refusal(deleted)).message).toContain('in time');
      await vi.waitFor(async () => expect((await atWork(at)).connections).toBe(2), patience);
      expect(await entryCount(at)).toBe(1);
      // Behind a pooler, the end of a transaction gives its connection at the server to somebody else.
      expect(relay.hasRolledBack).toBe(false);
    },
  );

  test('a connection that was kept for long is not used again, and makes room for another to be kept', async () => {
    const { uri } = await freshPostgresSchema();
    const pool = new Pool({ ...sessionSetup({ uri, timeoutMs: 5_000 }), size: 1, connectTimeoutMs: 5_000 });
    onTestFinished(() => pool.close());
    const keep = async () => {
      const session = await pool.acquire(performance.now() + 5_000);
      return { session, isKept: pool.lend(session, () => session.destroy()) };
    };
    const [first, second, third] = [await keep(), await keep(), await keep()];
    expect([first, second, third].map(({ isKept }) => isKept)).toEqual([true, true, false]);
    pool.release(first.session);
    expect(first.session.isOpen).toBe(false);
    await vi.waitFor(() => expect(pool.lend(third.session, () => third.session.destroy())).toBe(true), patience);
    pool.release(third.session);
    pool.release(second.session);
  });

  test('closing the pool waits for the end of what it asks others to give up', async () => {
    const { uri } = await freshPostgresSchema();
    const pool = new Pool({ ...sessionSetup({ uri, timeoutMs: 5_000 }), size: 1, connectTimeoutMs: 5_000 });
    const session = await pool.acquire(performance.now() + 5_000);
    const events: string[] = [];
    const giveUp = (): void => {
      setTimeout(() => {
        events.push('given up');
        session.destroy();
      }, 50);
    };
    expect(pool.lend(session, giveUp)).toBe(true);
    await pool.close();
    events.push('closed');
    expect(events).toEqual(['given up', 'closed']);
  });

  test('a cancel request that has no effect is followed by others', async () => {
    const { at, relay, deleted } = await narrowWay();
    relay.onCancel = (_pass, near) => {
      near.destroy();
      relay.onCancel = (pass) => pass();
    };
    await refusal(deleted);
    expect(relay.cancels).toBeGreaterThanOrEqual(2);
    await vi.waitFor(async () => expect(await atWork(at)).toMatchObject({ connections: 2, active: 0 }), patience);
    expect(await entryCount(at)).toBe(1);
  });

  test('where cancel requests have no effect, others get a connection after a bounded time', async () => {
    const { at, pool, relay, deleted, open } = await narrowWay();
    relay.onCancel = (_pass, near) => near.destroy();
    const session = await pool.acquire(performance.now() + 20_000);
    await refusal(deleted);
    expect(relay.cancels).toBeGreaterThan(1);
    expect(relay.logins).toBe(4);
    expect((await atWork(at)).active).toBe(1);
    pool.release(session);
    await open();
    // Nobody was there to commit it.
    await vi.waitFor(async () => expect((await atWork(at)).connections).toBe(3), patience);
    expect(await entryCount(at)).toBe(1);
  });

  test('a commit is not cancelled: its answer is waited for, and given', async () => {
    const { at, pool, relay, deleted, open, deadlineMs } = await narrowWay('commit');
    await vi.waitFor(async () => expect(await atWork(at)).toMatchObject({ active: 1, commits: 1 }), patience);
    // Past its deadline, it still has the connection.
    await refusal(pool.acquire(deadlineMs + 500));
    expect(await atWork(at)).toMatchObject({ active: 1, commits: 1 });
    await open();
    expect(await deleted).toBe(true);
    expect(relay.cancels).toBe(0);
    expect(await entryCount(at)).toBe(0);
    // It was done in order, and so serves on.
    pool.release(await pool.acquire(performance.now() + 5_000));
    expect(relay.logins).toBe(3);
  });
});
