import { expect, it, onTestFinished, vi } from 'vitest';
import type { Store } from '../../src/store.ts';
import { StoreUnavailable } from '../../src/store.ts';
import { describeMongo, describeOwnMongo, mongoUriOf, startMongo } from '../support/databases.ts';
import type { FaultProxy } from '../support/fault-proxy.ts';
import {
  conversationIds,
  conversationTurn,
  findItems,
  follow,
  headOfConversation,
  headOfResponse,
  items,
  makeConversation,
  message,
  record,
  responseContextIds,
  turn,
} from '../support/store-fixtures.ts';
import { behindProxy, everything, lookInto, openMongo, refusal, tenant } from './mongodb-support.ts';

/** How a command begins on the wire. */
const commands = { insert: '\u0002insert\0', update: '\u0002update\0', remove: '\u0002delete\0', find: '\u0002find\0' };

const large = 'x'.repeat(1_500_000);

type Lost = {
  readonly name: string;
  readonly answersOf: keyof typeof commands;
  prepare?(store: Store): Promise<unknown>;
  /** Does it, and checks what it was told. */
  act(store: Store): Promise<void>;
  /** What must be there afterwards, once. */
  check(store: Store): Promise<void>;
};

const lost: readonly Lost[] = [
  {
    name: 'a turn that begins a chain',
    answersOf: 'insert',
    async act(store) {
      expect(await store.appendTurn(tenant, turn('r1'))).toBe('appended');
    },
    async check(store) {
      expect(await responseContextIds(store, tenant, 'r1')).toEqual(['in-r1', 'out-r1']);
    },
  },
  {
    name: 'a turn that continues a chain',
    answersOf: 'insert',
    prepare: (store) => follow(store, tenant, 'r1'),
    async act(store) {
      const base = await headOfResponse(store, tenant, 'r1');
      expect(await store.appendTurn(tenant, turn('r2', base))).toBe('appended');
    },
    async check(store) {
      expect((await headOfResponse(store, tenant, 'r2')).position).toBe(1);
      expect(await responseContextIds(store, tenant, 'r2')).toEqual(['in-r1', 'out-r1', 'in-r2', 'out-r2']);
    },
  },
  {
    name: 'a large turn',
    answersOf: 'insert',
    async act(store) {
      const input = [message('i1', large)];
      expect(await store.appendTurn(tenant, turn('r1', undefined, { input }))).toBe('appended');
    },
    async check(store) {
      expect(await responseContextIds(store, tenant, 'r1')).toEqual(['i1', 'out-r1']);
    },
  },
  ...(['insert', 'update'] as const).map((answersOf) => ({
    name: `a turn of a conversation, answers to ${answersOf}`,
    answersOf,
    async prepare(store: Store) {
      await makeConversation(store, tenant, 'conv', ['a']);
      await store.acquireLease(tenant, 'conv', 'run', 1_000);
    },
    async act(store: Store) {
      const base = await headOfConversation(store, tenant, 'conv');
      expect(await store.appendTurn(tenant, conversationTurn('r1', base, { holder: 'run' }))).toBe('appended');
    },
    async check(store: Store) {
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'in-r1', 'out-r1']);
      expect(await store.acquireLease(tenant, 'conv', 'next', 1_000)).toBe('acquired');
    },
  })),
  ...(['insert', 'update'] as const).map((answersOf) => ({
    name: `posted items, answers to ${answersOf}`,
    answersOf,
    prepare: (store: Store) => makeConversation(store, tenant, 'conv', ['a']),
    async act(store: Store) {
      expect(await store.appendItems(tenant, 'conv', items(message('b')))).toEqual({ outcome: 'appended' });
    },
    async check(store: Store) {
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'b']);
    },
  })),
  ...(['insert', 'update'] as const).map((answersOf) => ({
    name: `a new conversation, answers to ${answersOf}`,
    answersOf,
    act: (store: Store) => makeConversation(store, tenant, 'conv', ['a']),
    async check(store: Store) {
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
    },
  })),
  ...(['update', 'remove'] as const).map((answersOf) => ({
    name: `the deletion of a conversation, answers to ${answersOf}`,
    answersOf,
    prepare: (store: Store) => makeConversation(store, tenant, 'conv', ['a']),
    async act(store: Store) {
      expect(await store.deleteConversation(tenant, 'conv')).toBe(true);
    },
    async check(store: Store) {
      expect(await store.deleteConversation(tenant, 'conv')).toBe(false);
      expect(await findItems(store, tenant, ['a'])).toEqual(new Map());
    },
  })),
  ...(['update', 'remove'] as const).map((answersOf) => ({
    name: `the deletion of a response, answers to ${answersOf}`,
    answersOf,
    prepare: (store: Store) => follow(store, tenant, 'r1'),
    async act(store: Store) {
      expect(await store.deleteResponse(tenant, 'r1')).toBe(true);
    },
    async check(store: Store) {
      expect(await store.deleteResponse(tenant, 'r1')).toBe(false);
    },
  })),
  {
    name: 'the deletion of an item',
    answersOf: 'update',
    prepare: (store) => makeConversation(store, tenant, 'conv', ['a', 'b']),
    async act(store) {
      expect(await store.deleteItem(tenant, 'conv', 'a')).toBe('deleted');
    },
    async check(store) {
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['b']);
      expect(await store.deleteItem(tenant, 'conv', 'a')).toBe('missing');
    },
  },
  {
    name: 'a lease',
    answersOf: 'update',
    prepare: (store) => makeConversation(store, tenant, 'conv'),
    async act(store) {
      expect(await store.acquireLease(tenant, 'conv', 'run', 1_000)).toBe('acquired');
    },
    async check(store) {
      expect(await store.acquireLease(tenant, 'conv', 'other', 1_000)).toBe('busy');
      expect(await store.renewLease(tenant, 'conv', 'run', 1_000)).toBe(true);
    },
  },
  {
    name: 'a question',
    answersOf: 'find',
    prepare: (store) => follow(store, tenant, 'r1'),
    async act(store) {
      expect((await store.getResponse(tenant, 'r1'))?.status).toBe('completed');
    },
    async check(store) {
      await store.ping();
    },
  },
];

describeMongo('MongoDB behind a network that fails', () => {
  it.each(lost)('where answers are lost, it finds out what happened: $name', async (each) => {
    const { proxy, uri, direct } = await behindProxy();
    const store = await openMongo(uri);
    const other = await openMongo(direct);
    await each.prepare?.(store);
    proxy.dropAnswers(2, { containing: commands[each.answersOf] });
    await each.act(store);
    expect(proxy.counts.swallowed).toBeGreaterThan(0);
    proxy.dropAnswers(0);
    await each.check(other);
    const places = (await everything(await lookInto(direct)))
      .filter(({ position }) => position >= 0)
      .map(({ thread, position }) => `${thread} ${position}`);
    expect(new Set(places).size).toBe(places.length);
  });

  it('connections that died idle are found out without failing a request', async () => {
    const { proxy, uri } = await behindProxy();
    const store = await openMongo(uri);
    await follow(store, tenant, 'r0');
    for (let index = 1; index <= 3; index += 1) {
      proxy.cutAll();
      expect(await store.appendTurn(tenant, turn(`r${index}`))).toBe('appended');
      proxy.cutAll();
      expect((await store.getResponse(tenant, `r${index}`))?.status).toBe('completed');
    }
  });

  it('while nobody can be reached everything is refused in time, and the next request after that works', async () => {
    const { proxy, uri, direct } = await behindProxy();
    const store = await openMongo(uri, { timeoutMs: 700 });
    await makeConversation(store, tenant, 'conv', ['a']);
    for (const harm of ['refuse', 'blackhole'] as const) {
      proxy[harm](true);
      if (harm === 'refuse') proxy.cutAll();
      const refused = await Promise.all([
        refusal(store.appendTurn(tenant, turn('r1'))),
        refusal(store.appendItems(tenant, 'conv', items(message('b')))),
        refusal(store.getResponse(tenant, 'r1')),
        refusal(store.acquireLease(tenant, 'conv', 'run', 1_000)),
        refusal(store.ping()),
      ]);
      for (const { message: text } of refused) expect(text).toMatch(/^The MongoDB database can't serve now: /);
      proxy[harm](false);
      if (harm === 'blackhole') proxy.cutAll();
      const again = await openMongo(direct);
      await again.ping();
      await untilServed(store);
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
    }
  });

  it('more than 10,000 operations at once are refused at once', async () => {
    const { proxy, uri } = await behindProxy();
    const store = await openMongo(uri, { timeoutMs: 3_000 });
    proxy.blackhole(true);
    const waiting = Array.from({ length: 10_000 }, () => refusal(store.releaseLease(tenant, 'conv', 'run')));
    const more = await Promise.all([refusal(store.ping()), refusal(store.getResponse(tenant, 'r1'))]);
    for (const { message: text } of more) expect(text).toContain('too many operations wait for it');
    proxy.blackhole(false);
    proxy.cutAll();
    await Promise.allSettled(waiting);
  });

  it('closing ends what was accepted, and refuses what comes later', async () => {
    const { proxy, uri, direct } = await behindProxy();
    const store = await openMongo(uri);
    proxy.delay(50);
    const accepted = Array.from({ length: 50 }, (_, index) => store.appendTurn(tenant, turn(`r${index}`)));
    const closed = store.close();
    await expect(store.appendTurn(tenant, turn('late'))).rejects.toBeInstanceOf(StoreUnavailable);
    await expect(store.getResponse(tenant, 'r1')).rejects.toBeInstanceOf(StoreUnavailable);
    await expect(store.ping()).rejects.toBeInstanceOf(StoreUnavailable);
    proxy.delay(0);
    await closed;
    expect(new Set(await Promise.all(accepted))).toEqual(new Set(['appended']));
    await vi.waitFor(() => expect(proxy.connections).toBe(0));
    const other = await openMongo(direct);
    expect(await other.getResponse(tenant, 'r49')).toBeDefined();
    expect(await other.getResponse(tenant, 'late')).toBeUndefined();
  });

  it('an append whose fate is unknown and a record of the same response are never both there', async () => {
    const { proxy, uri, direct } = await behindProxy();
    const store = await openMongo(uri, { timeoutMs: 600 });
    const other = await openMongo(direct);
    await makeConversation(other, tenant, 'conv', ['a']);
    const base = await headOfConversation(other, tenant, 'conv');
    const late = { status: 'failed', responseJson: '{"late":true}', conversationId: 'conv' };
    // It is done, and nobody is told.
    proxy.dropAnswers(1_000, { containing: commands.insert });
    await refusal(store.appendTurn(tenant, conversationTurn('done', base)));
    proxy.dropAnswers(0);
    await untilServed(store);
    expect(await store.appendTurn(tenant, record('done', base, late))).toBe('lost');
    expect((await other.getResponse(tenant, 'done'))?.status).toBe('completed');
    // It is not done, and its place is taken before the record is written.
    const next = await headOfConversation(other, tenant, 'conv');
    await heldBack(proxy, () => refusal(store.appendTurn(tenant, conversationTurn('held', next))));
    await untilServed(store);
    expect(await store.appendTurn(tenant, record('held', next, late))).toBe('appended');
    expect(await other.appendTurn(tenant, conversationTurn('held', next))).toBe('lost');
    expect((await other.getResponse(tenant, 'held'))?.status).toBe('failed');
    expect(await conversationIds(other, tenant, 'conv')).toEqual(['a', 'in-done', 'out-done']);
  });
});

/** While nothing gets through. */
async function heldBack(proxy: FaultProxy, work: () => Promise<unknown>): Promise<void> {
  proxy.blackhole(true);
  await work();
  proxy.blackhole(false);
  proxy.cutAll();
}

/** The driver looks for its server every half a second. */
async function untilServed(store: Store): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    if (
      await store.ping().then(
        () => true,
        () => false,
      )
    )
      return;
  }
  await store.ping();
}

describeOwnMongo('a MongoDB of its own', () => {
  it('may stop and come back: what was stored is there, and no restart is needed', async () => {
    const server = await startMongo({ persistent: true });
    if (server === undefined) throw new Error('no server');
    const store = await openMongo(mongoUriOf(server.uri, 'state'), { timeoutMs: 2_000 });
    await makeConversation(store, tenant, 'conv', ['a']);
    await server.stop();
    await refusal(store.appendItems(tenant, 'conv', items(message('b'))));
    await refusal(store.ping());
    await server.start();
    await untilServed(store);
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
    expect(await store.appendItems(tenant, 'conv', items(message('c')))).toEqual({ outcome: 'appended' });
    await server.kill();
    await refusal(store.getConversation(tenant, 'conv'));
  });

  it('may be halted: requests end in time, and what was held back is done once or not at all', async () => {
    const server = await startMongo();
    if (server === undefined) throw new Error('no server');
    const store = await openMongo(mongoUriOf(server.uri, 'state'), { timeoutMs: 1_000 });
    await makeConversation(store, tenant, 'conv', ['a']);
    const base = await headOfConversation(store, tenant, 'conv');
    await server.pause();
    onTestFinished(() => server.resume());
    await refusal(store.appendTurn(tenant, conversationTurn('r1', base)));
    await refusal(store.ping());
    await server.resume();
    await untilServed(store);
    const late = { status: 'failed', responseJson: '{"late":true}', conversationId: 'conv' };
    const outcome = await store.appendTurn(tenant, record('r1', base, late));
    const client = await lookInto(mongoUriOf(server.uri, 'state'));
    const stored = (await everything(client)).filter(({ responseId }) => responseId === 'r1');
    expect(stored.map(({ status }) => status)).toEqual([outcome === 'appended' ? 'failed' : 'completed']);
  });
});
