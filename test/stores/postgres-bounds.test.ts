import { expect, onTestFinished, test } from 'vitest';
import { sessionSetup } from '../../src/stores/postgres/connect.ts';
import { ConnectionLost } from '../../src/stores/postgres/failures.ts';
import type { FastWay } from '../../src/stores/postgres/fast-ways.ts';
import { Pool } from '../../src/stores/postgres/pool.ts';
import { PgReadRows } from '../../src/stores/postgres/read-rows.ts';
import { Reader } from '../../src/stores/postgres/reader.ts';
import { statementsFor } from '../../src/stores/postgres/statements.ts';
import { Writer } from '../../src/stores/postgres/writer.ts';
import { describePostgres, freshPostgresSchema } from '../support/databases.ts';
import { items, makeConversation, message } from '../support/store-fixtures.ts';
import { listen, openPostgres, openSession, refusal, tenant } from './postgres-support.ts';

const statements = statementsFor('open_responses');

/** Connections to a server that never says anything. */
async function silentPool(): Promise<Pool> {
  const port = await listen(() => undefined);
  const setup = sessionSetup({ uri: `postgres://me@127.0.0.1:${port}/db`, timeoutMs: 300 });
  const pool = new Pool({ ...setup, size: 1, connectTimeoutMs: 300 });
  onTestFinished(() => pool.close());
  return pool;
}

describePostgres('bounds of the PostgreSQL store', () => {
  test('changes that wait are bounded in bytes, and make room when their time is over', async () => {
    const writer = new Writer({ pool: await silentPool(), lanes: 1, insist: [], relax: [] });
    const large = 'x'.repeat(100 * 1024 * 1024);
    const question = { statement: statements.setMetadata, values: [tenant, 'conv', large] };
    const way: FastWay = { question, outcome: () => undefined };
    const submit = async (): Promise<string> => {
      const outcome = writer.submit(way, 'update_conversation', performance.now() + 300);
      return (await refusal(outcome)).message;
    };
    const first = await Promise.all([submit(), submit(), submit()]);
    expect(first.map((text) => text.includes('too much is waiting'))).toEqual([false, false, true]);
    const second = await Promise.all([submit(), submit(), submit()]);
    expect(second.map((text) => text.includes('too much is waiting'))).toEqual([false, false, true]);
  });

  test('no more than 10,000 questions wait at once', async () => {
    const reader = new Reader(await silentPool(), 1);
    const question = { statement: statements.readThread, values: [tenant, 'conv'] };
    const deadlineMs = performance.now() + 300;
    const waiting = Array.from({ length: 10_003 }, () => refusal(reader.ask(question, deadlineMs)));
    const isTooMuch = (await Promise.all(waiting)).map((error) => error.message.includes('too much is waiting'));
    expect(isTooMuch.slice(10_000)).toEqual([true, true, true]);
    expect(isTooMuch.slice(0, 10_000)).not.toContain(true);
  });

  test('with one connection that broke, those that nobody was listening to are given up', async () => {
    const { uri } = await freshPostgresSchema();
    const pool = new Pool({ ...sessionSetup({ uri, timeoutMs: 5_000 }), size: 3, connectTimeoutMs: 5_000 });
    onTestFinished(() => pool.close());
    const soon = (): number => performance.now() + 5_000;
    const take = () => Promise.all(Array.from({ length: 3 }, () => pool.acquire(soon())));
    const before = await take();
    for (const session of before) pool.release(session);
    // What the server refused spoils none.
    pool.release(await pool.acquire(soon()), new Error('a defect'));
    expect(before.map(({ isOpen }) => isOpen)).toEqual([true, true, true]);
    pool.release(await pool.acquire(soon()), new ConnectionLost('ECONNRESET', true));
    expect(before.map(({ isOpen }) => isOpen)).toEqual([false, false, false]);
    const after = await take();
    for (const session of after) {
      expect(before).not.toContain(session);
      expect(session.isOpen).toBe(true);
      pool.release(session);
    }
  });

  test('one answer holds no more than its rows and bytes, and always something', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    const largeBytes = 7_000_000;
    await makeConversation(store, tenant, 'large');
    for (const id of ['a', 'b', 'c', 'd']) {
      await store.appendItems(tenant, 'large', items(message(id, 'x'.repeat(largeBytes))));
    }
    await makeConversation(store, tenant, 'many');
    const many = Array.from({ length: 4_200 }, (_, index) => items(message(`i${index}`)));
    await Promise.all(many.map((each) => store.appendItems(tenant, 'many', each)));
    const session = await openSession(at.uri);
    const answers: { readonly rows: number; readonly bytes: number }[] = [];
    const rows = new PgReadRows(statementsFor(at.schema), async (statement, values) => {
      const { rows: found } = await session.ask(statement, values, performance.now() + 10_000);
      const bytes = found.flat().reduce((sum, value) => sum + (value?.length ?? 0), 0);
      answers.push({ rows: found.length, bytes });
      return found;
    });
    const whole = (id: string) => ({ tree: id, threadId: id, from: 0, to: 10_000, inputOnly: false });
    for (const order of ['asc', 'desc'] as const) {
      for (const others of [[], [whole('nothing')]]) {
        const large = await rows.chunk(tenant, [whole('large'), ...others], order, 10_000);
        // The third begins within 16 MiB and ends behind.
        expect(large).toMatchObject({ isLast: false, entries: { length: 3 } });
        const small = await rows.chunk(tenant, [whole('many'), ...others], order, 10_000);
        expect(small).toMatchObject({ isLast: false, entries: { length: 4_096 } });
      }
    }
    expect(answers).toHaveLength(8);
    for (const answer of answers) {
      expect(answer.rows).toBeLessThanOrEqual(4_096);
      expect(answer.bytes).toBeLessThanOrEqual(16 * 1024 * 1024 + largeBytes + 10_000);
    }
  });
});
