import { expect, test } from 'vitest';
import type { Store } from '../../src/store.ts';
import { StoreUnavailable, TooLargeForStore } from '../../src/store.ts';
import { createMemoryStore } from '../../src/stores/memory/store.ts';
import { conversationOracle } from '../contracts/conversation-oracle.ts';
import { storeContract } from '../contracts/store.ts';
import {
  conversationIds,
  findItem,
  follow,
  headOfResponse,
  items,
  makeConversation,
  message,
  responseContextIds,
  turn,
} from '../support/store-fixtures.ts';

const roomy = { maxThreads: 100_000, maxBytes: 1_000_000_000 };
const tenant = 'tenant';

storeContract('in memory', async () => {
  let nowMs = 1_000_000;
  const store = createMemoryStore({ ...roomy, now: () => nowMs });
  const advance = (ms: number): void => {
    nowMs += ms;
  };
  return { store, advance, close: () => store.close() };
});

conversationOracle('in memory', async () => {
  const store = createMemoryStore({ ...roomy, now: () => 0 });
  return { store, advance: () => undefined, close: () => store.close() };
});

function small(limits: { maxThreads?: number; maxBytes?: number }, now: () => number = () => 0): Store {
  return createMemoryStore({ ...roomy, ...limits, now });
}

async function left(store: Store, ids: readonly string[]): Promise<string[]> {
  // By an item's id: that is no use of the tree unless it is found, and then it is the last look.
  const found = await Promise.all(ids.map((id) => findItem(store, tenant, `in-${id}`)));
  return ids.filter((_, index) => found[index] !== undefined);
}

test('R8 the least recently used tree goes first', async () => {
  const store = small({ maxThreads: 3 });
  for (const id of ['r1', 'r2', 'r3', 'r4']) await store.appendTurn(tenant, turn(id));
  expect(await left(store, ['r1', 'r2', 'r3', 'r4'])).toEqual(['r2', 'r3', 'r4']);
  await store.getResponse(tenant, 'r2');
  await store.appendTurn(tenant, turn('r5'));
  expect(await store.getResponse(tenant, 'r3')).toBeUndefined();
  expect(await store.getResponse(tenant, 'r2')).toBeDefined();
});

test('R8 reading or appending in any fork keeps the whole tree', async () => {
  const store = small({ maxThreads: 4 });
  await follow(store, tenant, 'r1');
  await follow(store, tenant, 'r2', 'r1');
  await follow(store, tenant, 'fork', 'r1');
  await store.appendTurn(tenant, turn('other'));
  const uses = [
    () => store.readContext(tenant, { kind: 'response', id: 'fork' }, 99_999),
    () => store.listItems(tenant, { kind: 'input_of', responseId: 'fork' }, { limit: 1, order: 'asc' }),
    () => store.getResponse(tenant, 'fork'),
    () => follow(store, tenant, 'fork-2', 'fork'),
  ];
  for (const [index, use] of uses.entries()) {
    await use();
    await store.appendTurn(tenant, turn(`new-${index}-1`));
    await store.appendTurn(tenant, turn(`new-${index}-2`));
    await use().catch(() => undefined);
    expect(await store.getResponse(tenant, 'r2')).toBeDefined();
  }
});

test('R8 a tree goes whole: no fork is left without its root', async () => {
  const store = small({ maxThreads: 4 });
  await follow(store, tenant, 'r1');
  await follow(store, tenant, 'r2', 'r1');
  await follow(store, tenant, 'fork', 'r1');
  for (const id of ['a', 'b', 'c']) await store.appendTurn(tenant, turn(id));
  expect(await left(store, ['r1', 'r2', 'fork', 'a', 'b', 'c'])).toEqual(['a', 'b', 'c']);
});

test('R8 a tree that is held is not evicted, and once let go it may be', async () => {
  const store = small({ maxThreads: 2 });
  const place = await follow(store, tenant, 'held');
  const release = [store.hold(tenant, place.threadId), store.hold(tenant, place.threadId)];
  for (let index = 0; index < 5; index += 1) await store.appendTurn(tenant, turn(`r${index}`));
  expect(await store.getResponse(tenant, 'held')).toBeDefined();
  release[0]?.();
  release[0]?.();
  for (let index = 5; index < 9; index += 1) await store.appendTurn(tenant, turn(`r${index}`));
  expect(await store.getResponse(tenant, 'held')).toBeDefined();
  release[1]?.();
  for (let index = 9; index < 12; index += 1) await store.appendTurn(tenant, turn(`r${index}`));
  expect(await store.getResponse(tenant, 'held')).toBeUndefined();
});

test('R8 a conversation with a live lease is not evicted', async () => {
  let nowMs = 0;
  const store = small({ maxThreads: 2 }, () => nowMs);
  await makeConversation(store, tenant, 'conv', ['a']);
  await store.acquireLease(tenant, 'conv', 'run', 1_000);
  for (let index = 0; index < 4; index += 1) await store.appendTurn(tenant, turn(`r${index}`));
  expect(await store.getConversation(tenant, 'conv')).toBeDefined();
  nowMs = 1_000;
  for (let index = 4; index < 8; index += 1) await store.appendTurn(tenant, turn(`r${index}`));
  expect(await store.getConversation(tenant, 'conv')).toBeUndefined();
  expect(await findItem(store, tenant, 'a')).toBeUndefined();
});

test('R8 where everything is in use a change is refused, and nothing of it is left', async () => {
  const store = small({ maxThreads: 2 });
  const places = [await follow(store, tenant, 'r1'), await follow(store, tenant, 'r2')];
  const releases = places.map(({ threadId }) => store.hold(tenant, threadId));
  await expect(store.appendTurn(tenant, turn('r3'))).rejects.toBeInstanceOf(StoreUnavailable);
  await expect(makeConversation(store, tenant, 'conv', ['a'])).rejects.toBeInstanceOf(StoreUnavailable);
  expect(await store.getResponse(tenant, 'r3')).toBeUndefined();
  expect(await findItem(store, tenant, 'in-r3')).toBeUndefined();
  expect(await findItem(store, tenant, 'a')).toBeUndefined();
  expect(await store.appendTurn(tenant, turn('r1-next', places[0]))).toBe('appended');
  for (const release of releases) release();
  expect(await store.appendTurn(tenant, turn('r3'))).toBe('appended');
});

test('R8 bytes are bounded as well, whatever they are spent on', async () => {
  const store = small({ maxBytes: 100_000 });
  for (let index = 0; index < 50; index += 1) {
    const input = [message(`i${index}`, '☕'.repeat(3_000))];
    await store.appendTurn(tenant, turn(`r${index}`, undefined, { input }));
  }
  const alive = await Promise.all(Array.from({ length: 50 }, (_, index) => store.getResponse(tenant, `r${index}`)));
  const count = alive.filter((response) => response !== undefined).length;
  expect(count).toBeGreaterThanOrEqual(8);
  expect(count).toBeLessThanOrEqual(11);
  expect(alive.at(-1)).toBeDefined();
  const huge = turn('huge', undefined, { responseJson: `"${'x'.repeat(100_000)}"` });
  await expect(store.appendTurn(tenant, huge)).rejects.toBeInstanceOf(TooLargeForStore);
});

test('R8 what does not fit anyway costs nobody else anything', async () => {
  const store = small({ maxBytes: 50_000 });
  for (const id of ['r1', 'r2', 'r3']) await store.appendTurn(tenant, turn(id));
  const huge = turn('huge', undefined, { responseJson: `"${'x'.repeat(50_000)}"` });
  await expect(store.appendTurn(tenant, huge)).rejects.toBeInstanceOf(TooLargeForStore);
  expect(await left(store, ['r1', 'r2', 'r3'])).toEqual(['r1', 'r2', 'r3']);
});

test('R8 one conversation that alone is over the limit is refused, not evicted', async () => {
  const store = small({ maxBytes: 50_000 });
  await makeConversation(store, tenant, 'conv', ['a']);
  const long = items(message('b', 'x'.repeat(60_000)));
  await expect(store.appendItems(tenant, 'conv', long)).rejects.toBeInstanceOf(TooLargeForStore);
  await expect(store.updateConversation(tenant, 'conv', { a: 'x'.repeat(60_000) })).rejects.toThrow(TooLargeForStore);
  expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
  expect((await store.getConversation(tenant, 'conv'))?.metadata).toEqual({});
});

test('R8 room that was deleted is free again', async () => {
  const store = small({ maxThreads: 3, maxBytes: 20_000 });
  const keeper = await follow(store, tenant, 'keeper');
  const release = store.hold(tenant, keeper.threadId);
  for (let index = 0; index < 200; index += 1) {
    const id = `conv-${index}`;
    await store.createConversation(tenant, { id, metadata: { a: 'b' }, createdAt: 1, entry: items(message('i')) });
    const unhold = store.hold(tenant, id);
    await store.appendItems(tenant, id, items(message('j', 'x'.repeat(9_000))));
    await store.deleteItem(tenant, id, 'j');
    await store.appendItems(tenant, id, items(message('k', 'x'.repeat(9_000))));
    await store.appendTurn(tenant, turn(`r${index}`, { threadId: id, position: 0 }));
    await store.deleteResponse(tenant, `r${index}`);
    await store.deleteConversation(tenant, id);
    unhold();
  }
  release();
  expect(await responseContextIds(store, tenant, 'keeper')).toHaveLength(2);
});

test('R8 a run whose base was evicted meanwhile still ends', async () => {
  const store = small({ maxThreads: 2 });
  const place = await follow(store, tenant, 'r1');
  for (const id of ['a', 'b']) await store.appendTurn(tenant, turn(id));
  expect(await store.appendTurn(tenant, turn('r2', place))).toBe('appended');
  expect((await headOfResponse(store, tenant, 'r2')).position).toBe(0);
});

test('a closed store serves nothing', async () => {
  const store = small({});
  await store.close();
  await expect(store.getConversation(tenant, 'conv')).rejects.toBeInstanceOf(StoreUnavailable);
  await expect(store.appendTurn(tenant, turn('r1'))).rejects.toBeInstanceOf(StoreUnavailable);
  await expect(store.ping()).rejects.toBeInstanceOf(StoreUnavailable);
});
