import { expect } from 'vitest';
import {
  conversationIds,
  conversationTurn,
  headOfConversation,
  items,
  makeConversation,
  message,
} from '../../support/store-fixtures.ts';
import type { StoreCase } from '../store.ts';

export const leaseCases: readonly StoreCase[] = [
  {
    title: 'R12 a lease is one holder’s at a time',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      expect(await store.acquireLease(tenant, 'gone', 'one', 1_000)).toBe('missing');
      expect(await store.acquireLease(tenant, 'conv', 'one', 1_000)).toBe('acquired');
      expect(await store.acquireLease(tenant, 'conv', 'two', 1_000)).toBe('busy');
      await store.releaseLease(tenant, 'conv', 'two');
      expect(await store.acquireLease(tenant, 'conv', 'two', 1_000)).toBe('busy');
      await store.releaseLease(tenant, 'conv', 'one');
      await store.releaseLease(tenant, 'conv', 'one');
      expect(await store.acquireLease(tenant, 'conv', 'two', 1_000)).toBe('acquired');
    },
  },
  {
    title: 'R12 a lease past its time is free, and its holder finds it lost',
    async run({ store, tenant, advance }) {
      await makeConversation(store, tenant, 'conv');
      await store.acquireLease(tenant, 'conv', 'one', 1_000);
      advance(999);
      expect(await store.acquireLease(tenant, 'conv', 'two', 1_000)).toBe('busy');
      advance(1);
      expect(await store.renewLease(tenant, 'conv', 'one', 1_000)).toBe(false);
      expect(await store.acquireLease(tenant, 'conv', 'two', 1_000)).toBe('acquired');
      expect(await store.renewLease(tenant, 'conv', 'one', 1_000)).toBe(false);
      await store.releaseLease(tenant, 'conv', 'one');
      expect(await store.acquireLease(tenant, 'conv', 'three', 1_000)).toBe('busy');
    },
  },
  {
    title: 'R12 a renewed lease lives from then on',
    async run({ store, tenant, advance }) {
      await makeConversation(store, tenant, 'conv');
      await store.acquireLease(tenant, 'conv', 'one', 1_000);
      for (let times = 0; times < 5; times += 1) {
        advance(800);
        expect(await store.renewLease(tenant, 'conv', 'one', 1_000)).toBe(true);
        expect(await store.acquireLease(tenant, 'conv', 'two', 1_000)).toBe('busy');
      }
      expect(await store.renewLease(tenant, 'conv', 'two', 1_000)).toBe(false);
    },
  },
  {
    title: 'R12 posting and deleting items is refused while a run holds the lease, and reading is not',
    async run({ store, tenant, advance }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      await store.acquireLease(tenant, 'conv', 'run', 1_000);
      expect(await store.appendItems(tenant, 'conv', items(message('b')))).toEqual({ outcome: 'locked' });
      expect(await store.deleteItem(tenant, 'conv', 'a')).toBe('locked');
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
      advance(1_000);
      expect(await store.appendItems(tenant, 'conv', items(message('b')))).toEqual({ outcome: 'appended' });
      expect(await store.deleteItem(tenant, 'conv', 'a')).toBe('deleted');
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['b']);
    },
  },
  {
    title: 'R12 a turn frees its holder’s lease with the same commit, and nobody else’s',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      await store.acquireLease(tenant, 'conv', 'one', 1_000);
      const base = await headOfConversation(store, tenant, 'conv');
      expect(await store.appendTurn(tenant, conversationTurn('r1', base, { holder: 'one' }))).toBe('appended');
      expect(await store.appendItems(tenant, 'conv', items(message('a')))).toEqual({ outcome: 'appended' });
      await store.acquireLease(tenant, 'conv', 'two', 1_000);
      const next = await headOfConversation(store, tenant, 'conv');
      expect(await store.appendTurn(tenant, conversationTurn('r2', next, { holder: 'one' }))).toBe('appended');
      expect(await store.acquireLease(tenant, 'conv', 'three', 1_000)).toBe('busy');
      expect(await store.appendTurn(tenant, conversationTurn('r3', next, { holder: 'two' }))).toBe('lost');
      expect(await store.acquireLease(tenant, 'conv', 'three', 1_000)).toBe('busy');
    },
  },
  {
    title: 'R12 a paused run that wakes up without its lease cannot write over what came meanwhile',
    async run({ store, tenant, advance }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      await store.acquireLease(tenant, 'conv', 'slow', 1_000);
      advance(1_001);
      await store.acquireLease(tenant, 'conv', 'quick', 1_000);
      expect(await store.appendTurn(tenant, conversationTurn('quick', base, { holder: 'quick' }))).toBe('appended');
      expect(await store.appendTurn(tenant, conversationTurn('slow', base, { holder: 'slow' }))).toBe('lost');
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'in-quick', 'out-quick']);
    },
  },
];
