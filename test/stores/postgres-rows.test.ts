import { randomBytes } from 'node:crypto';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { EntryPlace, Store } from '../../src/store.ts';
import { statementsFor } from '../../src/stores/postgres/statements.ts';
import { describePostgres, freshPostgresSchema, type PostgresSchema } from '../support/databases.ts';
import { withPostgres } from '../support/postgres-server.ts';
import {
  contextOf,
  conversationIds,
  conversationTurn,
  findItem,
  findItems,
  follow,
  headOfConversation,
  headOfResponse,
  items,
  makeConversation,
  message,
  page,
  record,
  responseContextIds,
  turn,
} from '../support/store-fixtures.ts';
import { askDirectly, countRoundTrips, openPostgres, tenant } from './postgres-support.ts';

type Plan = {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly Plans?: readonly Plan[];
};

function nodesOf(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}

/** How the server would carry out each statement, whatever its values. `settings`: what is said before. */
async function plansOf({ uri, schema }: PostgresSchema, settings: string): Promise<Map<string, Plan[]>> {
  const plans = new Map<string, Plan[]>();
  await withPostgres(uri, async (client) => {
    await client.query(`SET plan_cache_mode = force_generic_plan; ${settings}`);
    for (const { name, text } of Object.values(statementsFor(schema))) {
      if (!/threads|entries|items|named_values/.test(text)) continue;
      const count = Math.max(0, ...[...text.matchAll(/\$(\d+)/g)].map((found) => Number(found[1])));
      const values = Array.from({ length: count }, () => 'NULL').join(', ');
      await client.query(`PREPARE "${name}" AS ${text}`);
      const { rows } = await client.query(`EXPLAIN (FORMAT JSON) EXECUTE "${name}"${count > 0 ? `(${values})` : ''}`);
      plans.set(name, nodesOf(rows[0]['QUERY PLAN'][0].Plan));
    }
  });
  return plans;
}

/** By the tenant alone would be by nothing: most servers have one. */
const selective: Record<string, RegExp> = {
  threads: /\b(?:id|tree|conversation_id)\)? = /,
  entries: /\b(?:thread|tree|response_id)\)? = /,
  items: /\bid\)? = /,
  named_values: /\bname\)? = /,
};

const ownSettings = 'SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off';

async function longChain(store: Store, turns: number): Promise<EntryPlace> {
  let base: EntryPlace | undefined;
  for (let index = 0; index < turns; index += 1) {
    await store.appendTurn(tenant, turn(`r${index}`, base));
    base = { threadId: base?.threadId ?? 'thr_r0', position: index };
  }
  if (base === undefined) throw new Error('no turns');
  return base;
}

async function rowCounts({ uri, schema }: PostgresSchema): Promise<Record<string, unknown>[]> {
  const count = (table: string): string => `(SELECT count(*)::int FROM ${schema}.${table}) AS ${table}`;
  return askDirectly(uri, `SELECT ${['threads', 'entries', 'items'].map(count).join(', ')}`);
}

describePostgres('rows in PostgreSQL', () => {
  test('every statement goes by indexes, in empty tables as in full ones', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    const check = async (): Promise<void> => {
      const plans = await plansOf(at, ownSettings);
      expect(plans.size).toBeGreaterThan(30);
      for (const [name, nodes] of plans) {
        const scans = nodes.filter((node) => node['Relation Name'] !== undefined && node['Node Type'].includes('Seq'));
        expect([name, scans.map((node) => node['Relation Name'])]).toEqual([name, []]);
        for (const node of nodes) {
          const column = selective[node['Relation Name'] ?? ''];
          // A plan that looks up places by what was deleted goes by the place of the row itself.
          if (column === undefined || node['Node Type'] === 'ModifyTable' || node['Node Type'] === 'Tid Scan') continue;
          const condition = node['Index Cond'] ?? node.Plans?.[0]?.['Index Cond'] ?? '';
          expect([name, node['Node Type'], condition]).toEqual([
            name,
            expect.stringMatching(/Index|Bitmap/),
            expect.stringMatching(column),
          ]);
        }
      }
      for (const name of ['stretchUp', 'stretchDown', 'stretchesUp', 'stretchesDown']) {
        const found = plans.get(name)?.find((node) => node['Relation Name'] === 'entries');
        expect(found).toMatchObject({ 'Node Type': 'Index Scan', 'Index Name': 'entries_with_items' });
        for (const column of ['tenant', 'tree', 'thread', 'position']) expect(found?.['Index Cond']).toContain(column);
      }
      const newest = plans.get('newest') ?? [];
      expect(newest.find((node) => node['Relation Name'] === 'items')).toMatchObject({
        'Node Type': 'Index Scan',
        'Index Name': 'items_newest',
      });
      expect(newest.filter((node) => node['Node Type'].includes('Sort'))).toEqual([]);
    };
    await check();
    // However often one id occurs.
    for (const text of ['same', 'other']) {
      const many = Array.from({ length: 300 }, (_, index) =>
        turn(`${text}${index}`, undefined, { input: [message(text)] }),
      );
      await Promise.all(many.map((each) => store.appendTurn(tenant, each)));
    }
    await longChain(store, 300);
    await makeConversation(store, tenant, 'conv', ['a', 'b']);
    await askDirectly(at.uri, `ANALYZE ${at.schema}.threads, ${at.schema}.entries, ${at.schema}.items`);
    await check();
  });

  test('each reading takes one or two round trips, however long the chain', async () => {
    const at = await freshPostgresSchema();
    const direct = await openPostgres(at);
    await longChain(direct, 1_000);
    await makeConversation(direct, tenant, 'conv', ['a', 'b']);
    await follow(direct, tenant, 'fork', 'r500');
    const proxy = await countRoundTrips(at.uri);
    const store = await openPostgres({ ...at, uri: proxy.uri }, { poolSize: 3 });
    const tripsOf = async (work: () => Promise<unknown>): Promise<number> => {
      const before = proxy.count();
      await work();
      return proxy.count() - before;
    };
    // The settings of a new connection are a trip of their own.
    await store.getResponse(tenant, 'r0');
    const context = contextOf(store, tenant, { kind: 'response', id: 'r999' });
    expect(await tripsOf(() => context)).toBeLessThanOrEqual(2);
    expect((await context).entries).toHaveLength(1_000);
    const at500 = { limit: 20, order: 'asc', after: 'in-r500' } as const;
    const view = { kind: 'input_of', responseId: 'r999' } as const;
    const last = { kind: 'response', id: 'fork' } as const;
    expect({
      response: await tripsOf(() => store.getResponse(tenant, 'r7')),
      fork: await tripsOf(() => contextOf(store, tenant, last)),
      page: await tripsOf(() => page(store, tenant, view, at500)),
      items: await tripsOf(() => findItems(store, tenant, ['in-r1', 'in-r2', 'in-r3', 'nothing'])),
      item: await tripsOf(() => store.getItem(tenant, 'conv', 'a')),
      conversation: await tripsOf(() => store.getConversation(tenant, 'conv')),
    }).toEqual({ response: 1, fork: 2, page: 3, items: 2, item: 1, conversation: 1 });
  });

  test('the usual changes take one round trip, and those of one moment share it', async () => {
    const at = await freshPostgresSchema();
    const proxy = await countRoundTrips(at.uri);
    const store = await openPostgres({ ...at, uri: proxy.uri }, { poolSize: 2 });
    const tripsOf = async (work: () => Promise<unknown>): Promise<number> => {
      const before = proxy.count();
      await work();
      return proxy.count() - before;
    };
    await store.ping();
    const place = { threadId: 'conv', position: -1 };
    expect({
      create: await tripsOf(() => makeConversation(store, tenant, 'conv')),
      lease: await tripsOf(() => store.acquireLease(tenant, 'conv', 'run', 1_000)),
      renew: await tripsOf(() => store.renewLease(tenant, 'conv', 'run', 1_000)),
      turn: await tripsOf(() => store.appendTurn(tenant, conversationTurn('c1', place, { holder: 'run' }))),
      post: await tripsOf(() => store.appendItems(tenant, 'conv', items(message('a')))),
      update: await tripsOf(() => store.updateConversation(tenant, 'conv', { a: 'b' })),
      chain: await tripsOf(() => store.appendTurn(tenant, turn('r0'))),
      next: await tripsOf(() => store.appendTurn(tenant, turn('r1', { threadId: 'thr_r0', position: 0 }))),
      fifty: await tripsOf(() =>
        Promise.all(Array.from({ length: 50 }, (_, index) => store.appendTurn(tenant, turn(`many${index}`)))),
      ),
    }).toEqual({ create: 1, lease: 1, renew: 1, turn: 1, post: 1, update: 1, chain: 1, next: 1, fifty: 1 });
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['in-c1', 'out-c1', 'a']);
    expect(await responseContextIds(store, tenant, 'r1')).toHaveLength(4);
  });

  test('a connection that nobody used for long is tried before it is trusted', async () => {
    const at = await freshPostgresSchema();
    const proxy = await countRoundTrips(at.uri);
    const store = await openPostgres({ ...at, uri: proxy.uri }, { poolSize: 1 });
    const read = async (): Promise<number> => {
      const before = proxy.count();
      await store.getConversation(tenant, 'conv');
      return proxy.count() - before;
    };
    await read();
    expect(await read()).toBe(1);
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 20_000);
    onTestFinished(() => void vi.restoreAllMocks());
    expect(await read()).toBe(2);
    expect(await read()).toBe(1);
  });

  test('names of any length fit into the indexes, and none is mistaken for another', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    const long = (chars: number): string =>
      Array.from({ length: chars }, () => String.fromCodePoint(0x10000 + randomBytes(2).readUInt16BE())).join('');
    for (const length of [120, 128, 129, 512, 3_000]) {
      const owner = long(length);
      const [conversation, response, one, other] = [long(length), long(length), long(length), long(length)];
      await makeConversation(store, owner, conversation, [one, other, `${one}x`]);
      const base = await headOfConversation(store, owner, conversation);
      expect(await store.acquireLease(owner, conversation, long(length), 1_000)).toBe('acquired');
      expect(await store.appendTurn(owner, conversationTurn(response, base, { user: long(length) }))).toBe('appended');
      await follow(store, owner, `${response}-2`, response);
      await follow(store, owner, `${response}-3`, `${response}-2`);
      await store.appendTurn(owner, record(`${response}-4`, base, { conversationId: conversation }));
      const ids = [one, other, `${one}x`, `in-${response}`, `out-${response}`];
      expect(await conversationIds(store, owner, conversation)).toEqual(ids);
      expect(await responseContextIds(store, owner, `${response}-3`)).toHaveLength(9);
      expect((await findItem(store, owner, other))?.item.id).toBe(other);
      expect((await store.getItem(owner, conversation, `${one}x`))?.id).toBe(`${one}x`);
      expect(await findItem(store, owner, `${other}x`)).toBeUndefined();
      expect(await store.deleteConversation(owner, conversation)).toBe(true);
      for (const end of ['-2', '-3']) expect(await store.deleteResponse(owner, `${response}${end}`)).toBe(true);
    }
    expect(await rowCounts(at)).toEqual([{ threads: 0, entries: 0, items: 0 }]);
  });

  test('R4 R5 R6 nothing of what was deleted is found in any column', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    const secret = 'The-secret-of-the-tea';
    const holding = async (): Promise<string[]> => {
      const found: string[] = [];
      for (const table of ['threads', 'entries', 'items', 'open_responses_migrations']) {
        const rows = await askDirectly(at.uri, `SELECT 1 FROM ${at.schema}.${table} t WHERE t::text LIKE '%secret%'`);
        if (rows.length > 0) found.push(table);
      }
      return found;
    };
    await store.createConversation(tenant, { id: `${secret}-old`, metadata: { topic: secret }, createdAt: 1 });
    await makeConversation(store, tenant, 'conv', ['plain']);
    await store.appendItems(tenant, `${secret}-old`, items(message(`${secret}-1`, secret), message('p1')));
    await store.appendItems(tenant, 'conv', items(message(`${secret}-2`, secret.repeat(900)), message('p2')));
    await store.updateConversation(tenant, 'conv', { topic: secret });
    await store.acquireLease(tenant, `${secret}-old`, secret, 1_000);
    const secretTurn = { input: [message(`${secret}-3`)], responseJson: JSON.stringify({ secret }), user: secret };
    await store.appendTurn(tenant, turn('r1'));
    const base = await headOfResponse(store, tenant, 'r1');
    await store.appendTurn(tenant, turn(`${secret}-r2`, base, secretTurn));
    await store.appendTurn(
      tenant,
      record(`${secret}-r3`, undefined, { ...secretTurn, conversationId: `${secret}-old` }),
    );
    expect(await holding()).toEqual(['threads', 'entries', 'items']);
    await store.updateConversation(tenant, 'conv', {});
    expect(await store.deleteItem(tenant, 'conv', `${secret}-2`)).toBe('deleted');
    expect(await store.deleteResponse(tenant, `${secret}-r2`)).toBe(true);
    expect(await store.deleteConversation(tenant, `${secret}-old`)).toBe(true);
    expect(await holding()).toEqual([]);
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['plain', 'p2']);
    expect(await responseContextIds(store, tenant, 'r1')).toHaveLength(2);
  });

  test('R4 R5 no row is left of trees in which everything is deleted at once, by two servers', async () => {
    const at = await freshPostgresSchema();
    const stores = [await openPostgres(at), await openPostgres(at)];
    const [store] = stores;
    if (store === undefined) throw new Error('no store');
    for (let round = 0; round < 6; round += 1) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      await store.appendTurn(tenant, conversationTurn('c1', base));
      await store.appendTurn(tenant, record('failed', base, { conversationId: 'conv' }));
      await follow(store, tenant, 'r1');
      await follow(store, tenant, 'r2', 'r1');
      const forks = Array.from({ length: 6 }, (_, index) => `f${index}`);
      for (const id of forks) await follow(store, tenant, id, round % 2 === 0 ? 'r1' : 'c1');
      await Promise.all([
        ...['r1', 'r2', ...forks, 'failed'].map((id, index) => stores[index % 2]?.deleteResponse(tenant, id)),
        stores[1]?.deleteConversation(tenant, 'conv'),
      ]);
      expect(await rowCounts(at)).toEqual([{ threads: 0, entries: 0, items: 0 }]);
    }
  });

  test('forks that are made while their tree is deleted are whole or gone', async () => {
    const at = await freshPostgresSchema();
    const stores = [await openPostgres(at), await openPostgres(at)];
    const [one, two] = stores;
    if (one === undefined || two === undefined) throw new Error('no store');
    for (let round = 0; round < 20; round += 1) {
      await follow(one, tenant, `r${round}`);
      const base = await headOfResponse(one, tenant, `r${round}`);
      const ids = Array.from({ length: 4 }, (_, index) => `f${round}-${index}`);
      await Promise.all([
        one.deleteResponse(tenant, `r${round}`),
        ...ids.map((id, index) => stores[index % 2]?.appendTurn(tenant, turn(id, base))),
      ]);
      for (const id of ids) {
        expect((await responseContextIds(two, tenant, id)).slice(-2)).toEqual([`in-${id}`, `out-${id}`]);
        expect(await two.deleteResponse(tenant, id)).toBe(true);
      }
    }
    expect(await rowCounts(at)).toEqual([{ threads: 0, entries: 0, items: 0 }]);
  });

  test('two servers that race for the places of one conversation lose nothing', async () => {
    const at = await freshPostgresSchema();
    const stores = [await openPostgres(at), await openPostgres(at)];
    const [store] = stores;
    if (store === undefined) throw new Error('no store');
    await makeConversation(store, tenant, 'conv');
    const winners: string[] = [];
    const race = async (own: Store, name: string): Promise<void> => {
      for (let index = 0; index < 40; index += 1) {
        const base = await headOfConversation(own, tenant, 'conv');
        const id = `${name}-${index}`;
        const lease = await own.acquireLease(tenant, 'conv', id, 1_000);
        expect(['acquired', 'busy']).toContain(lease);
        const outcome = await own.appendTurn(tenant, conversationTurn(id, base, { holder: id }));
        if (outcome === 'appended') winners.push(id);
      }
    };
    await Promise.all(stores.flatMap((own, index) => [race(own, `x${index}`), race(own, `y${index}`)]));
    const ids = await conversationIds(store, tenant, 'conv');
    expect(
      ids
        .filter((id) => id.startsWith('in-'))
        .map((id) => id.slice(3))
        .sort(),
    ).toEqual(winners.sort());
    expect((await headOfConversation(store, tenant, 'conv')).position).toBe(winners.length - 1);
    expect(winners.length).toBeGreaterThan(40);
  });

  test('a long history is read in bounded pieces, and whole', async () => {
    const at = await freshPostgresSchema();
    const store = await openPostgres(at);
    await makeConversation(store, tenant, 'conv');
    const ids = Array.from({ length: 5 }, (_, index) => `big${index}`);
    for (const id of ids) await store.appendItems(tenant, 'conv', items(message(id, 'x'.repeat(7_000_000))));
    const many = Array.from({ length: 4_200 }, (_, index) => `i${index}`);
    await Promise.all(many.map((id) => store.appendItems(tenant, 'conv', items(message(id)))));
    const context = await contextOf(store, tenant, { kind: 'conversation', id: 'conv' });
    expect(context.entries).toHaveLength(4_205);
    expect(context.entries.map(({ place }) => place.position)).toEqual(context.entries.map((_, index) => index));
  });
});
