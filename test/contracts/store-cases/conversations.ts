import { expect } from 'vitest';
import {
  conversationContextIds,
  conversationIds,
  conversationTurn,
  findItem,
  headOfConversation,
  items,
  makeConversation,
  message,
} from '../../support/store-fixtures.ts';
import type { StoreCase } from '../store.ts';

export const conversationCases: readonly StoreCase[] = [
  {
    title: 'a conversation is found as it was created',
    async run({ store, tenant }) {
      const metadata = { topic: 'tea', empty: '' };
      await store.createConversation(tenant, { id: 'conv_1', metadata, createdAt: 1_234_567_890_123 });
      expect(await store.getConversation(tenant, 'conv_1')).toEqual({
        id: 'conv_1',
        metadata,
        createdAt: 1_234_567_890_123,
      });
      expect(await store.getConversation(tenant, 'conv_2')).toBeUndefined();
    },
  },
  {
    title: 'a conversation begins empty, or with its first items in order',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'empty');
      await makeConversation(store, tenant, 'full', ['a', 'b', 'c']);
      expect(await conversationIds(store, tenant, 'empty')).toEqual([]);
      expect(await conversationIds(store, tenant, 'full')).toEqual(['a', 'b', 'c']);
      expect(await headOfConversation(store, tenant, 'empty')).toEqual({ threadId: 'empty', position: -1 });
      expect(await headOfConversation(store, tenant, 'full')).toEqual({ threadId: 'full', position: 0 });
    },
  },
  {
    title: 'a conversation of a taken id is refused, and the first one is left alone',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      await expect(makeConversation(store, tenant, 'conv', ['b'])).rejects.toThrow();
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
      expect(await findItem(store, tenant, 'b')).toBeUndefined();
    },
  },
  {
    title: 'a failing change takes none of those down that were asked for at the same time',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'taken');
      const ids = Array.from({ length: 20 }, (_, index) => (index === 10 ? 'taken' : `conv-${index}`));
      const outcomes = await Promise.allSettled(ids.map((id) => makeConversation(store, tenant, id, [`item-${id}`])));
      expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(1);
      expect(outcomes[10]?.status).toBe('rejected');
      for (const id of ids)
        if (id !== 'taken') expect(await conversationIds(store, tenant, id)).toEqual([`item-${id}`]);
    },
  },
  {
    title: 'metadata is replaced, not merged',
    async run({ store, tenant }) {
      await store.createConversation(tenant, { id: 'conv', metadata: { a: '1', b: '2' }, createdAt: 7 });
      const changed = { id: 'conv', metadata: { b: '3' }, createdAt: 7 };
      expect(await store.updateConversation(tenant, 'conv', { b: '3' })).toEqual(changed);
      expect(await store.getConversation(tenant, 'conv')).toEqual(changed);
      expect(await store.updateConversation(tenant, 'gone', {})).toBeUndefined();
    },
  },
  {
    title: 'R12 metadata can be changed while a run holds the lease',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      await store.acquireLease(tenant, 'conv', 'run', 1_000);
      expect((await store.updateConversation(tenant, 'conv', { a: '1' }))?.metadata).toEqual({ a: '1' });
    },
  },
  {
    title: 'items are added behind the newest entry',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      expect(await store.appendItems(tenant, 'conv', items(message('b'), message('c')))).toEqual({
        outcome: 'appended',
      });
      expect(await store.appendItems(tenant, 'conv', items(message('d')))).toEqual({ outcome: 'appended' });
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'b', 'c', 'd']);
      expect(await conversationContextIds(store, tenant, 'conv')).toEqual(['a', 'b', 'c', 'd']);
    },
  },
  {
    title: 'items for a conversation that does not exist go nowhere',
    async run({ store, tenant }) {
      expect(await store.appendItems(tenant, 'gone', items(message('a')))).toEqual({ outcome: 'missing' });
      expect(await findItem(store, tenant, 'a')).toBeUndefined();
      expect(await store.getConversation(tenant, 'gone')).toBeUndefined();
    },
  },
  {
    title: 'the context of a conversation tells turns from posted items, and where each lies',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      expect(await store.appendTurn(tenant, conversationTurn('r1', base))).toBe('appended');
      await store.appendItems(tenant, 'conv', items(message('b')));
      const context = await store.readContext(tenant, { kind: 'conversation', id: 'conv' }, 1_000_000);
      expect(context).toMatchObject({
        head: { threadId: 'conv', position: 2 },
        status: undefined,
        entries: [
          { isTurn: false, place: { threadId: 'conv', position: 0 }, items: [{ id: 'a' }] },
          { isTurn: true, place: { threadId: 'conv', position: 1 }, items: [{ id: 'in-r1' }, { id: 'out-r1' }] },
          { isTurn: false, place: { threadId: 'conv', position: 2 }, items: [{ id: 'b' }] },
        ],
      });
    },
  },
  {
    title: 'the context of a conversation that does not exist is missing',
    async run({ store, tenant }) {
      expect(await store.readContext(tenant, { kind: 'conversation', id: 'gone' }, 1_000)).toBe('missing');
      expect(await store.readContext(tenant, { kind: 'response', id: 'gone' }, 1_000)).toBe('missing');
    },
  },
  {
    title: 'neither a response nor a chain is taken for a conversation',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      const base = await headOfConversation(store, tenant, 'conv');
      await store.appendTurn(tenant, conversationTurn('r1', base, { kind: 'chain', conversationId: undefined }));
      const { threadId } = (await findItem(store, tenant, 'in-r1'))?.place ?? { threadId: '' };
      for (const id of ['r1', threadId]) {
        expect(await store.getConversation(tenant, id)).toBeUndefined();
        expect(await store.updateConversation(tenant, id, {})).toBeUndefined();
        expect(await store.deleteConversation(tenant, id)).toBe(false);
        expect(await store.appendItems(tenant, id, items(message('x')))).toEqual({ outcome: 'missing' });
        expect(await store.getItem(tenant, id, 'in-r1')).toBeUndefined();
        expect(await store.deleteItem(tenant, id, 'in-r1')).toBe('missing');
        expect(await store.acquireLease(tenant, id, 'run', 1_000)).toBe('missing');
        expect(await store.listItems(tenant, { kind: 'conversation', id }, { limit: 1, order: 'asc' })).toBe('missing');
        expect(await store.readContext(tenant, { kind: 'conversation', id }, 1_000)).toBe('missing');
      }
      expect(await store.getResponse(tenant, 'conv')).toBeUndefined();
      expect(await store.deleteResponse(tenant, 'conv')).toBe(false);
      expect(await conversationIds(store, tenant, 'conv')).toEqual([]);
    },
  },
  {
    title: 'a turn of a conversation loses where its place is taken, or was never there',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      await store.appendItems(tenant, 'conv', items(message('b')));
      expect(await store.appendTurn(tenant, conversationTurn('r1', base))).toBe('lost');
      expect(await store.appendTurn(tenant, conversationTurn('r2', { threadId: 'conv', position: 7 }))).toBe('lost');
      expect(await store.appendTurn(tenant, conversationTurn('r3', { threadId: 'gone', position: 0 }))).toBe('lost');
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'b']);
      for (const id of ['r1', 'r2', 'r3']) {
        expect(await store.getResponse(tenant, id)).toBeUndefined();
        expect(await findItem(store, tenant, `in-${id}`)).toBeUndefined();
      }
    },
  },
];
