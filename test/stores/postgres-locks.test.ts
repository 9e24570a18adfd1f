import { Client } from 'pg';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { NewTurn } from '../../src/store.ts';
import { fastWayOf } from '../../src/stores/postgres/fast-ways.ts';
import { statementsFor } from '../../src/stores/postgres/statements.ts';
import type { WriteOperation } from '../../src/stores/writing.ts';
import { describePostgres, freshPostgresSchema, type PostgresSchema } from '../support/databases.ts';
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
import { askDirectly, lockThread, openPostgres, openSession, tenant } from './postgres-support.ts';

/** Longer than any test: what waits for a lock is seen to hang, and not to come back after a while. */
const foreverMs = 600_000;

/** A client of this test's own, in a transaction that ends with the test at the latest. */
async function ownTransaction({ uri, schema }: PostgresSchema) {
  const client = new Client({ connectionString: uri });
  await client.connect();
  onTestFinished(() => client.end());
  await client.query('BEGIN');
  const [own] = (await client.query('SELECT pg_backend_pid() AS pid')).rows;
  return {
    pid: Number(own.pid),
    /** Rejects at once where somebody else has it. */
    async lock(id: string): Promise<void> {
      await client.query(`SELECT 1 FROM ${schema}.threads WHERE id = $1 FOR UPDATE NOWAIT`, [id]);
    },
    async rollback(): Promise<void> {
      await client.query('ROLLBACK');
    },
  };
}

/** Resolves once somebody waits for what that process of the server holds. */
async function untilWaitedFor({ uri }: PostgresSchema, pid: number): Promise<void> {
  const text = 'SELECT count(*)::int AS count FROM pg_stat_activity WHERE $1::int = ANY (pg_blocking_pids(pid))';
  await vi.waitFor(async () => expect(await askDirectly(uri, text, [pid])).toEqual([{ count: 1 }]), {
    timeout: 10_000,
    interval: 10,
  });
}

describePostgres('locks in PostgreSQL', () => {
  test('no change waits on the fast way for a thread that somebody else has locked', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    await makeConversation(store, tenant, 'conv', ['a']);
    const base = await headOfConversation(store, tenant, 'conv');
    await store.acquireLease(tenant, 'conv', 'run', 1_000);
    const chain = await follow(store, tenant, 'r1');
    const append = (made: NewTurn): WriteOperation => ({ kind: 'append_turn', tenant, turn: made });
    const lease = { tenant, id: 'conv', holder: 'run', ttlMs: 1_000, nowMs: 1_000 };
    const operations: readonly WriteOperation[] = [
      append(turn('r2', chain)),
      append(conversationTurn('c1', base, { holder: 'run' })),
      { kind: 'append_items', tenant, id: 'conv', entry: items(message('b')), nowMs: 100_000 },
      { kind: 'update_conversation', tenant, id: 'conv', metadataJson: '{"a":"b"}' },
      { kind: 'acquire_lease', ...lease },
      { kind: 'renew_lease', ...lease },
      { kind: 'release_lease', tenant, id: 'conv', holder: 'run' },
    ];
    const session = await openSession(at.uri);
    const outcomesOf = async (): Promise<unknown[]> => {
      const outcomes: unknown[] = [];
      for (const operation of operations) {
        const way = fastWayOf(statementsFor(at.schema), operation);
        if (way === undefined) throw new Error(`there is no fast way to ${operation.kind}`);
        const { statement, values } = way.question;
        outcomes.push(way.outcome(await session.ask(statement, values, performance.now() + 10_000)));
      }
      return outcomes;
    };
    // One that waits is refused after a moment, rather than passed over.
    await session.ask({ name: '', text: 'SET lock_timeout = 200' }, [], performance.now() + 5_000);
    const unlock = [await lockThread(at, 'conv'), await lockThread(at, chain.threadId)];
    expect(await outcomesOf()).toEqual(operations.map(() => undefined));
    await Promise.all(unlock.map((end) => end()));
    // The very same apply where nobody is in the way.
    const results = ['appended', 'appended', { outcome: 'appended' }, 1_000, 'acquired', true, undefined];
    expect(await outcomesOf()).toEqual(results.map((result) => ({ result })));
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'in-c1', 'out-c1', 'b']);
  });

  test('changes that go with those of locked threads are made all the same', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at, { poolSize: 6, timeoutMs: foreverMs });
    const held = ['held-1', 'held-2', 'held-3'];
    for (const id of [...held, 'free']) await makeConversation(store, tenant, id, [`${id}-a`]);
    const unlock = await Promise.all(held.map((id) => lockThread(at, id)));
    const post = (id: string, itemId: string) => store.appendItems(tenant, id, items(message(itemId)));
    let settled = 0;
    const waiting = held.map((id) => post(id, `${id}-b`).finally(() => (settled += 1)));
    // In one group with them, and behind them.
    expect(await post('free', 'free-b')).toEqual({ outcome: 'appended' });
    expect(await post('free', 'free-c')).toEqual({ outcome: 'appended' });
    expect(await store.appendTurn(tenant, turn('r1'))).toBe('appended');
    expect(settled).toBe(0);
    await Promise.all(unlock.map((end) => end()));
    expect(await Promise.all(waiting)).toEqual(held.map(() => ({ outcome: 'appended' })));
    expect(await conversationIds(store, tenant, 'free')).toEqual(['free-a', 'free-b', 'free-c']);
    for (const id of held) expect(await conversationIds(store, tenant, id)).toEqual([`${id}-a`, `${id}-b`]);
  });

  test('a deletion locks the threads of a tree in the order of their ids, and holds none while it waits for one before', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at, { timeoutMs: 20_000 });
    await follow(store, tenant, 'root');
    await follow(store, tenant, 'next', 'root');
    // Made in another order than the one of their ids.
    for (const id of ['fork-b', 'fork-c', 'fork-a']) await follow(store, tenant, id, 'root');
    const forks = ['fork-a', 'fork-b', 'fork-c'];
    const threads = await Promise.all(forks.map(async (id) => (await headOfResponse(store, tenant, id)).threadId));
    expect(threads).toEqual([...threads].sort());
    for (const id of [...forks, 'next']) expect(await store.deleteResponse(tenant, id)).toBe(true);
    const other = await ownTransaction(at);
    const [first = '', ...later] = threads;
    await other.lock(first);
    const deleted = store.deleteResponse(tenant, 'root');
    await untilWaitedFor(at, other.pid);
    // Whoever keeps to the order goes on: the two would wait for each other otherwise.
    for (const id of later) await other.lock(id);
    await other.rollback();
    expect(await deleted).toBe(true);
    const left = await askDirectly(at.uri, `SELECT id FROM ${at.schema}.threads`);
    expect(left).toEqual([]);
  });
});
