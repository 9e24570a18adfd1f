import { connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { StoreUnavailable } from '../../src/store.ts';
import { sessionSetup } from '../../src/stores/postgres/connect.ts';
import { LongWay } from '../../src/stores/postgres/long-way.ts';
import { Pool } from '../../src/stores/postgres/pool.ts';
import { statementsFor } from '../../src/stores/postgres/statements.ts';
import { describePostgres, freshPostgresSchema } from '../support/databases.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { makeConversation, turn } from '../support/store-fixtures.ts';
import { fatalError, listen, lockThread, openPostgres, refusal, tenant } from './postgres-support.ts';

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
