import { expect } from 'vitest';
import {
  conversationContextIds,
  conversationTurn,
  findItems,
  follow,
  headOfConversation,
  idsOf,
  inputIds,
  items,
  makeConversation,
  message,
  page,
  record,
  viewIds,
} from '../../support/store-fixtures.ts';
import type { StoreCase } from '../store.ts';

export const viewCases: readonly StoreCase[] = [
  {
    title: 'pages go both ways and end where the items end',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a', 'b', 'c']);
      await store.appendItems(tenant, 'conv', items(message('d'), message('e')));
      const view = { kind: 'conversation', id: 'conv' } as const;
      const table = [
        { query: { limit: 2, order: 'asc' }, ids: 'ab', hasMore: true },
        { query: { limit: 2, order: 'asc', after: 'b' }, ids: 'cd', hasMore: true },
        { query: { limit: 2, order: 'asc', after: 'd' }, ids: 'e', hasMore: false },
        { query: { limit: 5, order: 'asc' }, ids: 'abcde', hasMore: false },
        { query: { limit: 4, order: 'asc' }, ids: 'abcd', hasMore: true },
        { query: { limit: 2, order: 'asc', after: 'e' }, ids: '', hasMore: false },
        { query: { limit: 2, order: 'desc' }, ids: 'ed', hasMore: true },
        { query: { limit: 2, order: 'desc', after: 'd' }, ids: 'cb', hasMore: true },
        { query: { limit: 1, order: 'desc', after: 'b' }, ids: 'a', hasMore: false },
        { query: { limit: 9, order: 'desc', after: 'a' }, ids: '', hasMore: false },
      ] as const;
      for (const { query, ids, hasMore } of table) {
        const found = await page(store, tenant, view, query);
        expect([idsOf(found.items).join(''), found.hasMore], JSON.stringify(query)).toEqual([ids, hasMore]);
      }
    },
  },
  {
    title: 'a cursor that is no item of the view is refused, in both orders',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      await makeConversation(store, tenant, 'other', ['b']);
      await follow(store, tenant, 'r1');
      await follow(store, tenant, 'r2', 'r1');
      for (const order of ['asc', 'desc'] as const) {
        for (const after of ['b', 'in-r1', 'nothing', '']) {
          const view = { kind: 'conversation', id: 'conv' } as const;
          expect(await store.listItems(tenant, view, { limit: 1, order, after })).toBe('unknown_cursor');
        }
        for (const after of ['in-r2', 'out-r2', 'out-r1', 'a']) {
          const view = { kind: 'input_of', responseId: 'r1' } as const;
          expect(await store.listItems(tenant, view, { limit: 1, order, after })).toMatch(/unknown_cursor/);
        }
      }
    },
  },
  {
    title: 'a view of what does not exist is missing',
    async run({ store, tenant }) {
      const query = { limit: 1, order: 'asc' } as const;
      expect(await store.listItems(tenant, { kind: 'conversation', id: 'gone' }, query)).toBe('missing');
      expect(await store.listItems(tenant, { kind: 'input_of', responseId: 'gone' }, query)).toBe('missing');
    },
  },
  {
    title: 'R15 the input of a response is all that it was given, never its output or anything later',
    async run({ store, tenant }) {
      await follow(store, tenant, 'r1');
      await follow(store, tenant, 'r2', 'r1');
      await follow(store, tenant, 'r3', 'r2');
      await follow(store, tenant, 'fork', 'r1');
      expect(await inputIds(store, tenant, 'r1')).toEqual(['in-r1']);
      expect(await inputIds(store, tenant, 'r2')).toEqual(['in-r1', 'out-r1', 'in-r2']);
      expect(await inputIds(store, tenant, 'fork')).toEqual(['in-r1', 'out-r1', 'in-fork']);
      const view = { kind: 'input_of', responseId: 'r2' } as const;
      expect(await viewIds(store, tenant, view, 'desc', 1)).toEqual(['in-r2', 'out-r1', 'in-r1']);
    },
  },
  {
    title: 'R15 the input of a response in a conversation is what came before it, then its own',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      await store.appendTurn(tenant, conversationTurn('r1', await headOfConversation(store, tenant, 'conv')));
      await store.appendItems(tenant, 'conv', items(message('b')));
      await store.appendTurn(tenant, conversationTurn('r2', await headOfConversation(store, tenant, 'conv')));
      await store.appendItems(tenant, 'conv', items(message('c')));
      expect(await inputIds(store, tenant, 'r1')).toEqual(['a', 'in-r1']);
      expect(await inputIds(store, tenant, 'r2')).toEqual(['a', 'in-r1', 'out-r1', 'b', 'in-r2']);
    },
  },
  {
    title: 'R15 the input of a response reflects later deletions',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a', 'b']);
      const before = await headOfConversation(store, tenant, 'conv');
      await store.appendTurn(tenant, conversationTurn('r1', before));
      await store.appendTurn(tenant, record('failed', before, { conversationId: 'conv' }));
      await follow(store, tenant, 'f1', 'r1');
      await follow(store, tenant, 'f2', 'f1');
      await store.deleteItem(tenant, 'conv', 'a');
      expect(await inputIds(store, tenant, 'r1')).toEqual(['b', 'in-r1']);
      expect(await inputIds(store, tenant, 'failed')).toEqual(['b', 'in-failed']);
      await store.deleteItem(tenant, 'conv', 'in-r1');
      await store.deleteResponse(tenant, 'f1');
      expect(await inputIds(store, tenant, 'r1')).toEqual(['b']);
      expect(await inputIds(store, tenant, 'f2')).toEqual(['b', 'out-r1', 'in-f2']);
    },
  },
  {
    title: 'a page of very large items is shorter than asked for, and all pages together have everything once',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      const ids = Array.from({ length: 9 }, (_, index) => `i${index}`);
      const text = 'x'.repeat(6 * 1024 * 1024);
      for (const at of [0, 3, 6]) {
        await store.appendItems(tenant, 'conv', items(...ids.slice(at, at + 3).map((id) => message(id, text))));
      }
      const view = { kind: 'conversation', id: 'conv' } as const;
      for (const order of ['asc', 'desc'] as const) {
        const first = await page(store, tenant, view, { limit: 20, order });
        expect(first.hasMore).toBe(true);
        expect(first.items.length).toBeGreaterThan(1);
        expect(first.items.length).toBeLessThan(7);
        expect(await viewIds(store, tenant, view, order)).toEqual(order === 'asc' ? ids : ids.toReversed());
      }
    },
  },
  {
    title: 'a page of references to very large items is as short, also where one entry holds them all',
    async run({ store, tenant }) {
      const ids = Array.from({ length: 7 }, (_, index) => `i${index}`);
      const text = 'x'.repeat(6 * 1024 * 1024);
      for (const id of ['large', 'each', 'turn']) await makeConversation(store, tenant, id);
      for (const [position, id] of ids.entries()) {
        await store.appendItems(tenant, 'large', items(message(id, text)));
        await store.appendItems(tenant, 'each', items({ id, target: { threadId: 'large', position } }));
      }
      await store.deleteItem(tenant, 'large', 'i4');
      const references = ids.map((id, position) => ({ id, target: { threadId: 'each', position } }));
      const input = [message('first'), ...references, message('last')];
      const base = await headOfConversation(store, tenant, 'turn');
      await store.appendTurn(tenant, conversationTurn('r1', base, { input, output: [] }));
      const left = ids.filter((id) => id !== 'i4');
      for (const { view, order, expected } of [
        { view: { kind: 'conversation', id: 'each' }, order: 'desc', expected: left.toReversed() },
        { view: { kind: 'conversation', id: 'turn' }, order: 'asc', expected: ['first', ...left, 'last'] },
        {
          view: { kind: 'input_of', responseId: 'r1' },
          order: 'desc',
          expected: ['last', ...left.toReversed(), 'first'],
        },
      ] as const) {
        const seen: string[] = [];
        for (let isMore = true; isMore; ) {
          const some = await page(store, tenant, view, { limit: 20, order, after: seen.at(-1) });
          expect(some.items.length).toBeGreaterThan(0);
          expect(JSON.stringify(some.items).length).toBeLessThan(33 * 1024 * 1024);
          seen.push(...idsOf(some.items));
          isMore = some.hasMore;
        }
        expect(seen).toEqual(expected);
      }
      expect((await store.getItem(tenant, 'turn', 'i6'))?.id).toBe('i6');
      expect(await conversationContextIds(store, tenant, 'turn')).toEqual(['first', ...left, 'last']);
      expect([...(await findItems(store, tenant, ids)).keys()]).toEqual(left);
    },
  },
  {
    title: 'a page anywhere in a conversation of 3,000 items is right, across entries of every size',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      const ids = Array.from({ length: 3_000 }, (_, index) => `i${index}`);
      for (let at = 0, size = 1; at < ids.length; at += size, size = (size * 7) % 61) {
        const some = ids.slice(at, at + size).map((id) => message(id));
        expect(await store.appendItems(tenant, 'conv', items(...some))).toEqual({ outcome: 'appended' });
      }
      const view = { kind: 'conversation', id: 'conv' } as const;
      for (const at of [0, 1, 7, 999, 1_500, 2_998, 2_999]) {
        const up = await page(store, tenant, view, { limit: 20, order: 'asc', after: `i${at}` });
        expect(idsOf(up.items)).toEqual(ids.slice(at + 1, at + 21));
        expect(up.hasMore).toBe(at + 21 < ids.length);
        const down = await page(store, tenant, view, { limit: 20, order: 'desc', after: `i${at}` });
        expect(idsOf(down.items)).toEqual(ids.slice(Math.max(0, at - 20), at).toReversed());
        expect(down.hasMore).toBe(at > 20);
      }
    },
  },
];
