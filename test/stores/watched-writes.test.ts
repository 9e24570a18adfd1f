import { expect, it } from 'vitest';
import { type Store, StoreUnavailable } from '../../src/store.ts';
import { createMemoryStore } from '../../src/stores/memory/store.ts';
import { withWatchedWrites } from '../../src/stores/watched-writes.ts';
import { items, message, turn } from '../support/store-fixtures.ts';

let nowMs = 0;

/** A store whose changes can be made to fail; questions and `ping` never do. */
function brittle(): { readonly store: Store; fail(error: Error | undefined): void } {
  const inner = createMemoryStore({ maxThreads: 100, maxBytes: 1_000_000, now: () => nowMs });
  let failure: Error | undefined;
  const failing = new Proxy(inner, {
    get(target, name: keyof Store) {
      const changes = /^(?:create|update|delete|append|kept)/.test(name);
      return changes && failure !== undefined ? () => Promise.reject(failure) : target[name];
    },
  });
  return {
    store: withWatchedWrites(failing, () => nowMs),
    fail(error) {
      failure = error;
    },
  };
}

const full = new StoreUnavailable('the disk is full');

it('a store whose changes fail does not answer, until one succeeds', async () => {
  const { store, fail } = brittle();
  await store.ping();
  fail(full);
  await expect(store.appendTurn('t', turn('r1'))).rejects.toBe(full);
  await expect(store.ping()).rejects.toBe(full);
  expect(await store.getResponse('t', 'r1')).toBeUndefined();
  await expect(store.ping()).rejects.toBe(full);
  fail(undefined);
  await store.appendTurn('t', turn('r1'));
  await store.ping();
});

it('it is asked for changes again after a while, as it could never show that it is mended', async () => {
  const { store, fail } = brittle();
  fail(full);
  await expect(store.deleteConversation('t', 'c')).rejects.toBe(full);
  nowMs += 9_999;
  await expect(store.ping()).rejects.toBe(full);
  nowMs += 1;
  await store.ping();
});

it('a defect says nothing about the database', async () => {
  const { store, fail } = brittle();
  fail(new Error('a defect'));
  await expect(store.appendItems('t', 'c', items(message('a')))).rejects.toThrow('a defect');
  await store.ping();
});

it('the secret is passed on, and is a change like any other', async () => {
  const { store, fail } = brittle();
  fail(full);
  await expect(store.keptSecret('first')).rejects.toBe(full);
  await expect(store.ping()).rejects.toBe(full);
  fail(undefined);
  expect(await store.keptSecret('second')).toBe('second');
  await store.ping();
  expect(await store.keptSecret('third')).toBe('second');
});
