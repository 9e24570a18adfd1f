import { expect, test, vi } from 'vitest';
import { StoreUnavailable } from '../../src/store.ts';
import { statementsFor } from '../../src/stores/postgres/statements.ts';
import { Transaction } from '../../src/stores/postgres/transaction.ts';
import { PgWriteRows } from '../../src/stores/postgres/write-rows.ts';
import { runSteps } from '../../src/stores/steps.ts';
import { applyWrite } from '../../src/stores/writing.ts';
import { describePostgres, freshPostgresSchema } from '../support/databases.ts';
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
import {
  askDirectly,
  behindProxy,
  everythingIn,
  lockThread,
  openPostgres,
  openSession,
  tenant,
  thrownBy,
} from './postgres-support.ts';

const soon = (): number => performance.now() + 10_000;

describePostgres('changes in doubt in PostgreSQL', () => {
  test('where the answer to a creation is lost, what somebody else made is not taken for it', async () => {
    const { proxy, shaky, direct } = await behindProxy(5_000);
    const made = { id: 'conv', metadata: { a: 'b' }, createdAt: 5 };
    await direct.createConversation(tenant, made);
    await follow(direct, tenant, 'r1');
    for (const change of [{ createdAt: 6 }, { metadata: {} }, { id: 'thr_r1' }]) {
      proxy.dropAnswers(1, { containing: '\0thread\0' });
      const error = await thrownBy(shaky.createConversation(tenant, { ...made, ...change }));
      expect(error).not.toBeInstanceOf(StoreUnavailable);
      expect(error.message).toContain('exists already');
    }
    expect(await direct.getConversation(tenant, 'conv')).toEqual(made);
    expect(await responseContextIds(direct, tenant, 'r1')).toHaveLength(2);
  });

  test('where the answer to a post is lost, the same items of an earlier time are not taken for it', async () => {
    const { proxy, shaky, direct } = await behindProxy(5_000);
    await makeConversation(direct, tenant, 'conv');
    const posted = { ...items(message('a')), createdAt: 5 };
    await direct.appendItems(tenant, 'conv', posted);
    proxy.dropAnswers(1, { containing: '\0postItems\0' });
    const again = await shaky.appendItems(tenant, 'conv', { ...posted, createdAt: 6 });
    expect(again).toEqual({ outcome: 'duplicate', itemId: 'a' });
    expect(await conversationIds(direct, tenant, 'conv')).toEqual(['a']);
  });

  test('the same turn that is on its way twice is appended for both, once', async () => {
    const at = await freshPostgresSchema();
    const stores = [await openPostgres(at), await openPostgres(at)];
    const [store = await openPostgres(at)] = stores;
    await makeConversation(store, tenant, 'conv');
    const same = conversationTurn('r1', await headOfConversation(store, tenant, 'conv'));
    const unlock = await lockThread(at, 'conv');
    const outcomes = Promise.all(stores.map((each) => each.appendTurn(tenant, same)));
    const waiting = `SELECT count(*)::int AS count FROM pg_stat_activity
      WHERE wait_event_type = 'Lock' AND query LIKE '%${at.schema}%'`;
    await vi.waitFor(async () => expect(await askDirectly(at.uri, waiting)).toEqual([{ count: 2 }]), 5_000);
    await unlock();
    expect(await outcomes).toEqual(['appended', 'appended']);
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['in-r1', 'out-r1']);
  });

  test('what is appended to a tree while the last of it is deleted stays', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    await follow(store, tenant, 'r1');
    const place = await headOfResponse(store, tenant, 'r1');
    await follow(store, tenant, 'r2', 'r1');
    await store.appendTurn(tenant, turn('fork', place));
    for (const id of ['r1', 'r2']) await store.deleteResponse(tenant, id);
    const session = await openSession(at.uri);
    let looks = 0;
    class SlowRows extends PgWriteRows {
      override async hasContent(ofTenant: string, tree: string): Promise<boolean> {
        const answer = await super.hasContent(ofTenant, tree);
        looks += 1;
        if (looks > 1) return answer;
        expect(answer).toBe(false);
        expect(await store.appendTurn(tenant, turn('late', { ...place, position: 1 }))).toBe('appended');
        return answer;
      }
    }
    const statements = statementsFor(at.schema);
    const rows = new SlowRows(statements, (questions) => session.run(questions, soon()));
    await session.ask(statements.begin, [], soon());
    expect(await runSteps(applyWrite(rows, { kind: 'delete_response', tenant, id: 'fork' }))).toBe(true);
    await session.ask(statements.commit, [], soon());
    expect(await responseContextIds(store, tenant, 'late')).toEqual(['in-late', 'out-late']);
    expect(await store.getResponse(tenant, 'fork')).toBeUndefined();
    expect(await store.deleteResponse(tenant, 'late')).toBe(true);
    expect(await askDirectly(at.uri, `SELECT 1 FROM ${at.schema}.entries`)).toEqual([]);
  });

  test('a commit that the server turns into a roll-back is not told as done', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    const statements = { ...statementsFor(at.schema), commit: { name: 'commit', text: 'ROLLBACK' } };
    const transaction = new Transaction({ statements, preamble: [] }, await openSession(at.uri), soon());
    const common = { kind: 'create_conversation', tenant, id: 'conv', metadataJson: '{}' } as const;
    const error = await thrownBy(transaction.run({ ...common, createdAt: 1, entry: undefined }, false));
    expect(error.message).toBe('A transaction ended with ROLLBACK');
    expect(await store.getConversation(tenant, 'conv')).toBeUndefined();
  });

  test('a name that is taken is not shown by what the server says of it', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    await follow(store, tenant, 'secret-id');
    const text = `INSERT INTO ${at.schema}.threads SELECT * FROM ${at.schema}.threads`;
    const session = await openSession(at.uri);
    const error = await thrownBy(session.ask({ name: 'again', text }, [], soon()));
    expect(error.message).toBe('PostgreSQL refused again: SQLSTATE 23505');
    expect(everythingIn(error)).not.toContain('secret');
  });
});
