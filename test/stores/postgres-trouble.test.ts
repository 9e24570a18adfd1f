import { expect, onTestFinished, test } from 'vitest';
import { type Store, StoreUnavailable } from '../../src/store.ts';
import { sessionSetup } from '../../src/stores/postgres/connect.ts';
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
  responseContextIds,
  turn,
} from '../support/store-fixtures.ts';
import { askDirectly, behindProxy, everythingIn, openPostgres, refusal, tenant, thrownBy } from './postgres-support.ts';

async function ownServer() {
  const server = await startPostgres();
  if (server === undefined) throw new Error('There is no server to start');
  return server;
}

/** Ends every connection of that name, as an operator or a failover does. */
function endConnections(uri: string, name = 'open-responses'): Promise<unknown> {
  const text = 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1';
  return askDirectly(uri, text, [name]);
}

/** Says it until it is answered. */
async function insist<T>(change: () => Promise<T>): Promise<T> {
  for (let refusals = 0; refusals < 200; refusals += 1) {
    try {
      return await change();
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
    }
  }
  throw new Error('refused 200 times');
}

/** Turns one after the other in some chains, until told to stop; what was acknowledged, and what was asked in all. */
function keepAppending(store: Store, chains: number) {
  const acknowledged = new Set<string>();
  const refused: Error[] = [];
  let isOver = false;
  const run = async (name: string): Promise<void> => {
    let base: Awaited<ReturnType<typeof headOfResponse>> | undefined;
    for (let index = 0; !isOver; index += 1) {
      const id = `${name}-${index}`;
      try {
        if ((await store.appendTurn(tenant, turn(id, base))) !== 'appended') throw new Error(`${id} was lost`);
        acknowledged.add(id);
        base = await headOfResponse(store, tenant, id);
      } catch (error) {
        refused.push(error as Error);
        base = undefined;
      }
    }
  };
  const done = Promise.all(Array.from({ length: chains }, (_, index) => run(`chain${index}`)));
  return {
    acknowledged,
    refused,
    async stop() {
      isOver = true;
      await done;
    },
    async until(count: number) {
      while (acknowledged.size < count) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

describeOwnPostgres('a PostgreSQL in trouble', () => {
  test('killed under load: nothing acknowledged is lost, nothing is there twice, and it serves again', {
    timeout: 60_000,
  }, async () => {
    const server = await ownServer();
    const store = await openPostgres(server, { timeoutMs: 3_000 });
    const load = keepAppending(store, 12);
    await load.until(200);
    for (let round = 1; round <= 2; round += 1) {
      await server.kill();
      await refusal(store.ping());
      await server.start();
      await insist(() => store.ping());
      await load.until(load.acknowledged.size + 200);
    }
    await load.stop();
    for (const error of load.refused) expect(error).toBeInstanceOf(StoreUnavailable);
    for (const id of load.acknowledged) expect((await store.getResponse(tenant, id))?.output).toHaveLength(1);
    const twice = 'SELECT response_id FROM open_responses.entries GROUP BY response_id HAVING count(*) > 1';
    expect(await askDirectly(server.uri, twice)).toEqual([]);
    const orphans = `SELECT count(*)::int AS count FROM open_responses.items i WHERE NOT EXISTS
      (SELECT 1 FROM open_responses.entries e WHERE e.thread = i.thread AND e.position = i.position)`;
    expect(await askDirectly(server.uri, orphans)).toEqual([{ count: 0 }]);
  });

  test('stopped and started between two operations, it is not noticed', async () => {
    const server = await ownServer();
    const store = await openPostgres(server);
    await makeConversation(store, tenant, 'conv', ['a']);
    await server.stop();
    await server.start();
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
    await server.kill();
    await server.start();
    expect(await store.appendItems(tenant, 'conv', items(message('b')))).toEqual({ outcome: 'appended' });
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'b']);
  });

  test('paused, it is refused in bounded time, whatever is asked, and serves when it goes on', async () => {
    const server = await ownServer();
    const store = await openPostgres(server, { timeoutMs: 400 });
    await makeConversation(store, tenant, 'conv', ['a']);
    await follow(store, tenant, 'r1');
    const base = await headOfConversation(store, tenant, 'conv');
    await server.pause();
    const outcomes = [
      store.appendTurn(tenant, conversationTurn('r2', base)),
      store.appendItems(tenant, 'conv', items(message('b'))),
      store.getResponse(tenant, 'r1'),
      store.deleteResponse(tenant, 'r1'),
      store.acquireLease(tenant, 'conv', 'run', 1_000),
      store.ping(),
    ];
    await Promise.all(outcomes.map(refusal));
    await refusal(store.getConversation(tenant, 'conv'));
    await server.resume();
    await insist(() => store.ping());
    // What was refused may have been done, wholly.
    const ids = await insist(() => conversationIds(store, tenant, 'conv'));
    const possible = [[], ['b'], ['in-r2', 'out-r2'], ['in-r2', 'out-r2', 'b'], ['b', 'in-r2', 'out-r2']];
    expect(possible.map((some) => ['a', ...some])).toContainEqual(ids);
    expect(await insist(() => store.appendTurn(tenant, turn('r3')))).toBe('appended');
  });

  test('a server that turned read-only is noticed by ping and by changes, and served again afterwards', async () => {
    const server = await ownServer();
    const store = await openPostgres(server);
    await makeConversation(store, tenant, 'conv', ['a']);
    await askDirectly(server.uri, 'ALTER DATABASE postgres SET default_transaction_read_only = on');
    await endConnections(server.uri);
    expect((await refusal(store.ping())).message).toContain('read-only');
    expect((await refusal(store.appendTurn(tenant, turn('r1')))).message).toContain('read-only');
    await refusal(store.deleteConversation(tenant, 'conv'));
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
    await askDirectly(
      server.uri,
      'SET TRANSACTION READ WRITE; ALTER DATABASE postgres RESET default_transaction_read_only',
    );
    await store.ping();
    expect(await store.appendTurn(tenant, turn('r1'))).toBe('appended');
  });

  test('a database that is told not to wait for the disk does so all the same', async () => {
    const server = await ownServer();
    const setup = sessionSetup({ uri: server.uri, timeoutMs: 5_000 });
    const settingOf = async (before: string): Promise<unknown> => {
      await askDirectly(server.uri, `ALTER DATABASE postgres SET synchronous_commit = ${before}`);
      const session = await Session.open(setup, performance.now() + 5_000);
      const statement = { name: '', text: `SELECT current_setting('synchronous_commit')` };
      const { rows } = await session.ask(statement, [], performance.now() + 5_000);
      await session.end();
      return rows[0]?.[0];
    };
    for (const weaker of ['off', 'local', 'remote_write']) expect(await settingOf(weaker)).toBe('on');
    expect(await settingOf('remote_apply')).toBe('remote_apply');
  });
});

describePostgres('connections to PostgreSQL in trouble', () => {
  test('connections that were ended while idle are replaced without failing anything', async () => {
    const { uri, schema, shaky, proxy } = await behindProxy(5_000);
    const ended: unknown[] = [];
    await makeConversation(shaky, tenant, 'conv', ['a']);
    const base = await headOfConversation(shaky, tenant, 'conv');
    const endAll = async (): Promise<void> => void ended.push(...((await endConnections(uri, schema)) as unknown[]));
    for (const end of [endAll, async () => proxy.cutAll()]) {
      await Promise.all(Array.from({ length: 8 }, () => shaky.getConversation(tenant, 'conv')));
      await end();
      await Promise.all(Array.from({ length: 8 }, () => shaky.getConversation(tenant, 'conv')));
      await end();
      expect(await shaky.acquireLease(tenant, 'conv', 'run', 1_000)).toBe('acquired');
      await end();
      await shaky.ping();
    }
    expect(ended.length).toBeGreaterThanOrEqual(3);
    expect(await shaky.appendTurn(tenant, conversationTurn('r1', base))).toBe('appended');
  });

  test('where the answer to a change is lost, it finds out what became of it', async () => {
    const { proxy, shaky, direct } = await behindProxy(5_000);
    const lose = <T>(change: () => Promise<T>): Promise<T> => {
      proxy.dropAnswers(1);
      return change();
    };
    await lose(() => shaky.createConversation(tenant, { id: 'conv', metadata: { a: 'b' }, createdAt: 5 }));
    expect(await lose(() => shaky.appendItems(tenant, 'conv', items(message('a'), message('b'))))).toEqual({
      outcome: 'appended',
    });
    expect(await lose(() => shaky.appendItems(tenant, 'conv', items(message('a'), message('c'))))).toEqual({
      outcome: 'duplicate',
      itemId: 'a',
    });
    expect(await lose(() => shaky.acquireLease(tenant, 'conv', 'run', 1_000))).toBe('acquired');
    const base = await headOfConversation(direct, tenant, 'conv');
    expect(await lose(() => shaky.appendTurn(tenant, conversationTurn('r1', base, { holder: 'run' })))).toBe(
      'appended',
    );
    expect(await lose(() => shaky.appendTurn(tenant, turn('c1')))).toBe('appended');
    const place = await headOfResponse(direct, tenant, 'c1');
    expect(await lose(() => shaky.appendTurn(tenant, turn('c2', place)))).toBe('appended');
    expect(await headOfResponse(direct, tenant, 'c2')).toEqual({ ...place, position: 1 });
    expect(await lose(() => shaky.appendTurn(tenant, turn('fork', place)))).toBe('appended');
    expect(await conversationIds(direct, tenant, 'conv')).toEqual(['a', 'b', 'in-r1', 'out-r1']);
    expect(await responseContextIds(direct, tenant, 'fork')).toEqual(['in-c1', 'out-c1', 'in-fork', 'out-fork']);
    expect(
      await thrownBy(shaky.createConversation(tenant, { id: 'conv', metadata: {}, createdAt: 6 })),
    ).not.toBeInstanceOf(StoreUnavailable);
  });

  test('where the answer to a deletion’s commit is lost, it is told as done', async () => {
    const { proxy, shaky, direct } = await behindProxy(5_000);
    await makeConversation(direct, tenant, 'conv', ['a', 'b']);
    await follow(direct, tenant, 'r1');
    const lose = <T>(change: () => Promise<T>): Promise<T> => {
      proxy.dropAnswers(1, { containing: '\0commit\0' });
      return change();
    };
    expect(await lose(() => shaky.deleteItem(tenant, 'conv', 'a'))).toBe('deleted');
    expect(await lose(() => shaky.deleteResponse(tenant, 'r1'))).toBe(true);
    expect(await lose(() => shaky.deleteConversation(tenant, 'conv'))).toBe(true);
    expect(await shaky.deleteConversation(tenant, 'conv')).toBe(false);
  });

  test('no more than 10,000 changes wait at once, and none of them for longer than its time', async () => {
    const { proxy, shaky } = await behindProxy(1_000);
    proxy.blackhole(true);
    const waiting = Array.from({ length: 10_500 }, () => shaky.releaseLease(tenant, 'conv', 'run'));
    const outcomes = await Promise.allSettled(waiting);
    for (const outcome of outcomes) {
      expect(outcome.status === 'rejected' && outcome.reason).toBeInstanceOf(StoreUnavailable);
    }
    const reasons = outcomes.map((outcome) => String(outcome.status === 'rejected' ? outcome.reason : ''));
    expect(reasons.filter((reason) => reason.includes('too much is waiting')).length).toBeGreaterThanOrEqual(500);
    proxy.blackhole(false);
    await insist(() => shaky.ping());
  });

  test('a lock that somebody else holds keeps only its own thread waiting', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at, { timeoutMs: 1_000 });
    await makeConversation(store, tenant, 'held', ['a']);
    await makeConversation(store, tenant, 'free', ['b']);
    const setup = sessionSetup({ uri: at.uri, timeoutMs: 10_000 });
    const holder = await Session.open(setup, performance.now() + 5_000);
    onTestFinished(() => holder.end());
    const say = (text: string) => holder.ask({ name: '', text }, [], performance.now() + 5_000);
    await say('BEGIN');
    await say(`SELECT 1 FROM ${at.schema}.threads WHERE id = 'held' FOR UPDATE`);
    const held = refusal(store.appendItems(tenant, 'held', items(message('x'))));
    for (let index = 0; index < 20; index += 1) {
      const posted = await store.appendItems(tenant, 'free', items(message(`i${index}`)));
      expect(posted).toEqual({ outcome: 'appended' });
    }
    await held;
    await say('ROLLBACK');
    expect(await store.appendItems(tenant, 'held', items(message('x')))).toEqual({ outcome: 'appended' });
    expect(await conversationIds(store, tenant, 'held')).toEqual(['a', 'x']);
  });

  test('closing writes what was accepted and refuses what comes later', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    const accepted = Array.from({ length: 300 }, (_, index) => store.appendTurn(tenant, turn(`r${index}`)));
    const closed = store.close();
    await refusal(store.appendTurn(tenant, turn('late')));
    await refusal(store.getResponse(tenant, 'r1'));
    await refusal(store.ping());
    await Promise.all([closed, store.close()]);
    expect(new Set(await Promise.all(accepted))).toEqual(new Set(['appended']));
    const again = await openPostgres(at);
    expect(await again.getResponse(tenant, 'r299')).toBeDefined();
    expect(await again.getResponse(tenant, 'late')).toBeUndefined();
    const own = `SELECT count(*)::int AS count FROM pg_stat_activity
      WHERE application_name = 'open-responses' AND query LIKE '%${at.schema}%'`;
    await again.close();
    expect(await askDirectly(at.uri, own)).toEqual([{ count: 0 }]);
  });

  test('a defect says nothing of the values that it met', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    const odd = turn('secret-id', undefined, { textBytes: Number.NaN, user: 'secret-user' });
    const error = await thrownBy(store.appendTurn(tenant, odd));
    expect(error).not.toBeInstanceOf(StoreUnavailable);
    expect(everythingIn(error)).not.toContain('secret');
    expect(error.message).toContain('22P02');
  });
});
