import { describe, expect, test } from 'vitest';
import { StoreUnavailable } from '../../src/store.ts';
import { createMemoryStore } from '../../src/stores/memory/store.ts';
import { conversationOracle } from '../contracts/conversation-oracle.ts';
import { storeContract } from '../contracts/store.ts';

const roomy = { maxThreads: 100_000, maxBytes: 1_000_000_000 };

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
describe('x', () => {
  test('closed', async () => {
    const store = createMemoryStore({ ...roomy, now: () => 0 });
    await store.close();
    await expect(store.getConversation('t', 'c')).rejects.toBeInstanceOf(StoreUnavailable);
  });
});
