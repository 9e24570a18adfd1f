import { connect } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { StoreUnavailable } from '../../src/store.ts';
import { sessionSetup } from '../../src/stores/postgres/connect.ts';
import { LongWay } from '../../src/stores/postgres/long-way.ts';
import { Pool } from '../../src/stores/postgres/pool.ts';
import { statementsFor } from '../../src/stores/postgres/statements.ts';
import { describePostgres, freshPostgresSchema, type PostgresSchema } from '../support/databases.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { conversationIds, follow, items, makeConversation, message, turn } from '../support/store-fixtures.ts';
import { askDirectly, fatalError, listen, lockThread, openPostgres, refusal, tenant } from './postgres-support.ts';

const readyForQuery = Buffer.from('Z\0\0\0\x05I');

/** Passes everything on; while `left` is not 0, what a new connection is answered there ends with the server's end. */
async function startStoppingServer(uri: string, where: 'login' | 'settings') {
  const target = new URL(uri);
  const behind = { host: target.hostname, port: Number(target.port) };
  const state = { left: 0, uri: '' };
  const port = await listen((near) => {
    const far = connect(behind);
    let isThere = where === 'login';
    let answer = Buffer.alloc(0);
    near.on('data', (bytes: Buffer) => {
      isThere ||= where === 'settings' && bytes.includes('SET statement_timeout');
      far.write(bytes);
    });
    far.on('data', (bytes: Buffer) => {
      answer = Buffer.concat([answer, bytes]);
      if (isThere && !answer.subarray(-readyForQuery.length).equals(readyForQuery)) return;
      const isEnd = isThere && state.left > 0;
      if (isEnd) state.left -= 1;
      near.write(isEnd ? Buffer.concat([answer, fatalError('57P01', 'stopping')]) : answer);
      answer = Buffer.alloc(0);
      isThere = false;
    });
    far.on('error', () => near.destroy());
    far.on('close', () => near.destroy());
    near.on('close', () => far.destroy());
  });
  target.hostname = '127.0.0.1';
  target.port = String(port);
  state.uri = target.href;
  return state;
}

/** Whatever is deleted from the entries waits until the gate is opened. */
async function closeGate({ uri, schema }: PostgresSchema): Promise<() => Promise<void>> {
  await askDirectly(
    uri,
    `CREATE TABLE ${schema}.gate (isClosed BOOLEAN); INSERT INTO ${schema}.gate VALUES (true);
    CREATE FUNCTION ${schema}.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      WHILE EXISTS (SELECT 1 FROM ${schema}.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;
      RETURN OLD;
    END $$;
    CREATE TRIGGER wait BEFORE DELETE ON ${schema}.entries FOR EACH ROW EXECUTE FUNCTION ${schema}.wait()`,
  );
  const open = async (): Promise<void> => void (await askDirectly(uri, `DELETE FROM ${schema}.gate`));
  onTestFinished(open);
  return open;
}

async function entryCount({ uri, schema }: PostgresSchema): Promise<unknown> {
  const rows = await askDirectly(uri, `SELECT count(*)::int AS count FROM ${schema}.entries`);
  return rows[0]?.['count'];
}

function watched(outcome: Promise<unknown>): () => boolean {
  let isSettled = false;
  const settle = (): void => {
    isSettled = true;
  };
  outcome.then(settle, settle);
  return () => isSettled;
}

describePostgres('patience with PostgreSQL', () => {
  test.each(['login', 'settings'] as const)(
    'connections that end with the answer to their %s are replaced, and closing does not wait for them',
    async (where) => {
      const at = await freshPostgresSchema();
      const server = await startStoppingServer(at.uri, where);
      const store = await openPostgres({ ...at, uri: server.uri }, { poolSize: 2, timeoutMs: 3_000 });
      server.left = 2;
      const outcomes = await Promise.all([store.appendTurn(tenant, turn('r1')), store.getResponse(tenant, 'nothing')]);
      expect(outcomes).toEqual(['appended', undefined]);
      expect(server.left).toBe(0);
      await store.close();
    },
  );

  test.each(['login', 'settings'] as const)(
    'a server that stops with the answer to the %s is not taken for one that can’t be used',
    async (where) => {
      const at = await freshPostgresSchema();
      const server = await startStoppingServer(at.uri, where);
      server.left = 1;
      await refusal(openPostgres({ ...at, uri: server.uri }));
    },
  );

  test('where nothing is answered, ping says so long before the others have to, and cuts none of them short', async () => {
    const at = await freshPostgresSchema();
    const { hostname, port } = new URL(at.uri);
    const proxy = await startFaultProxy({ host: hostname, port: Number(port) });
    const store = await openPostgres({ ...at, uri: proxy.uri(at.uri) }, { timeoutMs: 20_000 });
    onTestFinished(() => proxy.close());
    await Promise.all(Array.from({ length: 3 }, () => store.ping()));
    proxy.blackhole(true);
    const appends: Promise<unknown>[] = [];
    for (const id of ['r1', 'r2', 'r3']) {
      appends.push(store.appendTurn(tenant, turn(id)));
      // Each goes by itself, the last has to wait for the others.
      for (let turns = 0; turns < 3; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    const appended = Promise.all(appends);
    const hasSettled = watched(appended);
    await refusal(store.ping());
    expect(hasSettled()).toBe(false);
    proxy.cutAll();
    proxy.blackhole(false);
    expect(await appended).toEqual(['appended', 'appended', 'appended']);
  });

  test('while the only connection is busy, ping is refused and a change waits on', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at, { poolSize: 1, timeoutMs: 20_000 });
    await makeConversation(store, tenant, 'held', ['a']);
    const unlock = await lockThread(at, 'held');
    const deleted = store.deleteConversation(tenant, 'held');
    const outcomes = [store.ping(), store.appendTurn(tenant, turn('r1'))] as const;
    const hasSettled = watched(outcomes[1]);
    await refusal(outcomes[0]);
    expect(hasSettled()).toBe(false);
    await unlock();
    expect(await outcomes[1]).toBe('appended');
    expect(await deleted).toBe(true);
  });

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
    // A server notices that a client has gone when its statement is over.
    const outcomes = await vi.waitFor(deleteAll);
    expect(outcomes).toHaveLength(4);
    expect(await entryCount(at)).toBe(0);
  });

  test('closing gives up a deletion that goes on, and nothing of it has happened', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at, { timeoutMs: 1_500 });
    await makeConversation(store, tenant, 'conv', ['a', 'b']);
    const open = await closeGate(at);
    await refusal(store.deleteConversation(tenant, 'conv'));
    await store.close();
    await open();
    const again = await openPostgres(at);
    expect(await conversationIds(again, tenant, 'conv')).toEqual(['a', 'b']);
    expect(await again.deleteConversation(tenant, 'conv')).toBe(true);
    expect(await entryCount(at)).toBe(0);
  });

  test('what takes the long way is bounded in bytes', async () => {
    const port = await listen(() => undefined);
    const setup = sessionSetup({ uri: `postgres://me@127.0.0.1:${port}/db`, timeoutMs: 300 });
    const pool = new Pool({ ...setup, size: 1, connectTimeoutMs: 300 });
    onTestFinished(() => pool.close());
    const way = new LongWay({ pool, statements: statementsFor('open_responses'), preamble: [] });
    const large = turn('r1', undefined, { responseJson: 'x'.repeat(100 * 1024 * 1024) });
    const go = () => refusal(way.go({ kind: 'append_turn', tenant, turn: large }, performance.now() + 300, false));
    const messages = (await Promise.all([go(), go(), go()])).map(({ message: text }) => text);
    expect(messages.map((text) => text.includes('too much is waiting'))).toEqual([false, false, true]);
    expect((await go()).message).not.toContain('too much is waiting');
    expect(await go()).toBeInstanceOf(StoreUnavailable);
  });
});
