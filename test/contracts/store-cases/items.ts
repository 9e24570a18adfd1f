import { expect } from 'vitest';
import type { EntryPlace, ItemReference } from '../../../src/store.ts';
import {
  conversationContextIds,
  conversationIds,
  conversationTurn,
  findItem,
  follow,
  headOfConversation,
  idsOf,
  inputIds,
  items,
  makeConversation,
  message,
  page,
  responseContextIds,
  turn,
} from '../../support/store-fixtures.ts';
import type { StoreCase } from '../store.ts';

function reference(id: string, target: EntryPlace): ItemReference {
  return { id, target };
}

export const itemCases: readonly StoreCase[] = [
  {
    title: 'an item comes back as it was given',
    async run({ store, tenant }) {
      const given = message('a', 'Tea?');
      await store.createConversation(tenant, { id: 'conv', metadata: {}, createdAt: 1, entry: items(given) });
      expect(await store.getItem(tenant, 'conv', 'a')).toEqual(JSON.parse(given.json));
      expect((await findItem(store, tenant, 'a'))?.item).toEqual(JSON.parse(given.json));
      expect(await store.getItem(tenant, 'conv', 'b')).toBeUndefined();
      expect(await store.getItem(tenant, 'gone', 'a')).toBeUndefined();
    },
  },
  {
    title: 'what a caller does to an item it was given stays with the caller',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const first = (await store.getItem(tenant, 'conv', 'a')) as { id: string };
      first.id = 'changed';
      expect((await store.getItem(tenant, 'conv', 'a'))?.id).toBe('a');
      const conversation = await store.getConversation(tenant, 'conv');
      (conversation?.metadata as Record<string, string>)['a'] = 'changed';
      expect((await store.getConversation(tenant, 'conv'))?.metadata).toEqual({});
    },
  },
  {
    title: 'R9 an id that the conversation has is refused, and nothing is added',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      await store.appendTurn(tenant, conversationTurn('r1', base));
      for (const itemId of ['a', 'in-r1', 'out-r1']) {
        const outcome = await store.appendItems(tenant, 'conv', items(message(`new-${itemId}`), message(itemId)));
        expect(outcome).toEqual({ outcome: 'duplicate', itemId });
      }
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'in-r1', 'out-r1']);
      expect(await findItem(store, tenant, 'new-a')).toBeUndefined();
    },
  },
  {
    title: 'R9 an id that is posted twice at once is refused',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      expect(await store.appendItems(tenant, 'conv', items(message('x'), message('y'), message('x')))).toEqual({
        outcome: 'duplicate',
        itemId: 'x',
      });
      expect(await conversationIds(store, tenant, 'conv')).toEqual([]);
    },
  },
  {
    title: 'R9 the id of a deleted item may be used again',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a', 'b']);
      await store.deleteItem(tenant, 'conv', 'a');
      expect(await store.appendItems(tenant, 'conv', items(message('a', 'again')))).toEqual({ outcome: 'appended' });
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['b', 'a']);
    },
  },
  {
    title: 'R9 the same id in many threads is each its own item',
    async run({ store, tenant }) {
      for (const id of ['one', 'two', 'three']) {
        const entry = items(message('same', `of ${id}`));
        await store.createConversation(tenant, { id, metadata: {}, createdAt: 1, entry });
      }
      await store.deleteItem(tenant, 'two', 'same');
      expect(await store.getItem(tenant, 'one', 'same')).toMatchObject({ content: [{ text: 'of one' }] });
      expect(await store.getItem(tenant, 'two', 'same')).toBeUndefined();
      expect(await store.getItem(tenant, 'three', 'same')).toMatchObject({ content: [{ text: 'of three' }] });
    },
  },
  {
    title: 'R9 a cursor means the item of its own view, whatever else has that id',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'one', ['x', 'same', 'y']);
      await makeConversation(store, tenant, 'two', ['same', 'p', 'q']);
      await store.appendTurn(tenant, turn('r1', undefined, { input: [message('m'), message('same'), message('n')] }));
      const after = (id: string) =>
        page(store, tenant, { kind: 'conversation', id }, { limit: 9, order: 'asc', after: 'same' });
      expect(idsOf((await after('one')).items)).toEqual(['y']);
      expect(idsOf((await after('two')).items)).toEqual(['p', 'q']);
      const view = { kind: 'input_of', responseId: 'r1' } as const;
      expect(idsOf((await page(store, tenant, view, { limit: 9, order: 'asc', after: 'same' })).items)).toEqual(['n']);
      expect(idsOf((await page(store, tenant, view, { limit: 9, order: 'desc', after: 'same' })).items)).toEqual(['m']);
    },
  },
  {
    title: 'R10 the newest live item of an id is found, anywhere',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'one', ['same']);
      await store.appendTurn(tenant, turn('r1', undefined, { input: [message('same', 'of r1')] }));
      await makeConversation(store, tenant, 'two', ['same']);
      expect((await findItem(store, tenant, 'same'))?.place).toEqual({ threadId: 'two', position: 0 });
      await store.deleteItem(tenant, 'two', 'same');
      expect((await findItem(store, tenant, 'same'))?.item).toMatchObject({ content: [{ text: 'of r1' }] });
      await store.deleteResponse(tenant, 'r1');
      expect((await findItem(store, tenant, 'same'))?.place.threadId).toBe('one');
      await store.deleteConversation(tenant, 'one');
      expect(await findItem(store, tenant, 'same')).toBeUndefined();
    },
  },
  {
    title: 'R10 what is found has a bound, and one item may exceed it',
    async run({ store, tenant }) {
      const [small, large] = [message('small', 'x'.repeat(100)), message('large', 'x'.repeat(1_000))];
      await makeConversation(store, tenant, 'conv');
      await store.appendItems(tenant, 'conv', items(small, message('other', 'x'.repeat(100))));
      await store.appendItems(tenant, 'conv', items(large));
      const find = async (ids: readonly string[], maxChars: number) => {
        const found = await store.findItems(tenant, ids, maxChars);
        return found === 'too_large' ? found : [...found.keys()];
      };
      const chars = small.json.length + large.json.length;
      expect(await find(['small', 'large', 'nothing'], chars)).toEqual(['small', 'large']);
      expect(await find(['small', 'large', 'nothing'], chars - 1)).toBe('too_large');
      expect(await find(['small', 'other'], 2 * small.json.length - 1)).toBe('too_large');
      expect(await find(['large'], 1)).toEqual(['large']);
      expect(await find(['nothing', 'large'], 1)).toEqual(['large']);
      expect(await find([], 0)).toEqual([]);
    },
  },
  {
    title: 'R10 a reference shows its target everywhere',
    async run({ store, tenant }) {
      const place = await follow(store, tenant, 'r1');
      await makeConversation(store, tenant, 'conv', ['a']);
      await store.appendItems(tenant, 'conv', items(reference('out-r1', place), message('b')));
      const base = await headOfConversation(store, tenant, 'conv');
      await store.appendTurn(tenant, conversationTurn('r2', base, { input: [reference('in-r1', place)] }));
      const all = ['a', 'out-r1', 'b', 'in-r1', 'out-r2'];
      expect(await conversationIds(store, tenant, 'conv')).toEqual(all);
      expect(await conversationContextIds(store, tenant, 'conv')).toEqual(all);
      expect(await inputIds(store, tenant, 'r2')).toEqual(all.slice(0, 4));
      expect(await store.getItem(tenant, 'conv', 'out-r1')).toMatchObject({ content: [{ text: 'text of out-r1' }] });
    },
  },
  {
    title: 'R10 a reference is gone when its target is',
    async run({ store, tenant }) {
      const place = await follow(store, tenant, 'r1');
      await makeConversation(store, tenant, 'conv', ['a']);
      await store.appendItems(tenant, 'conv', items(reference('out-r1', place), message('b')));
      await store.appendTurn(tenant, turn('r2', undefined, { input: [reference('in-r1', place), message('c')] }));
      await store.deleteResponse(tenant, 'r1');
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'b']);
      expect(await conversationContextIds(store, tenant, 'conv')).toEqual(['a', 'b']);
      expect(await responseContextIds(store, tenant, 'r2')).toEqual(['c', 'out-r2']);
      expect(await inputIds(store, tenant, 'r2')).toEqual(['c']);
      expect(await store.getItem(tenant, 'conv', 'out-r1')).toBeUndefined();
      const view = { kind: 'conversation', id: 'conv' } as const;
      const found = await store.listItems(tenant, view, { limit: 5, order: 'asc', after: 'out-r1' });
      expect(found).toBe('unknown_cursor');
    },
  },
  {
    title: 'R10 a page is filled past references whose target is gone, and says truly whether there is more',
    async run({ store, tenant }) {
      const place = await follow(store, tenant, 'r1');
      await makeConversation(store, tenant, 'conv', ['a']);
      await store.appendItems(tenant, 'conv', items(reference('in-r1', place), reference('out-r1', place)));
      await store.appendItems(tenant, 'conv', items(message('b')));
      await store.appendItems(tenant, 'conv', items(message('c')));
      await store.deleteResponse(tenant, 'r1');
      const view = { kind: 'conversation', id: 'conv' } as const;
      const first = await page(store, tenant, view, { limit: 2, order: 'asc' });
      expect([idsOf(first.items), first.hasMore]).toEqual([['a', 'b'], true]);
      const last = await page(store, tenant, view, { limit: 1, order: 'desc', after: 'b' });
      expect([idsOf(last.items), last.hasMore]).toEqual([['a'], false]);
    },
  },
  {
    title: 'R10 deleting a reference leaves its target where it is',
    async run({ store, tenant }) {
      const place = await follow(store, tenant, 'r1');
      await makeConversation(store, tenant, 'conv');
      await store.appendItems(tenant, 'conv', items(reference('out-r1', place)));
      expect(await store.deleteItem(tenant, 'conv', 'out-r1')).toBe('deleted');
      expect(await conversationIds(store, tenant, 'conv')).toEqual([]);
      expect(await responseContextIds(store, tenant, 'r1')).toEqual(['in-r1', 'out-r1']);
    },
  },
  {
    title: 'R10 a reference to a reference leads to the item itself',
    async run({ store, tenant }) {
      const place = await follow(store, tenant, 'r1');
      await makeConversation(store, tenant, 'middle');
      await store.appendItems(tenant, 'middle', items(reference('out-r1', place)));
      await makeConversation(store, tenant, 'far');
      await store.appendItems(tenant, 'far', items(reference('out-r1', { threadId: 'middle', position: 0 })));
      expect((await findItem(store, tenant, 'out-r1'))?.place).toEqual(place);
      await store.deleteConversation(tenant, 'middle');
      expect(await conversationIds(store, tenant, 'far')).toEqual(['out-r1']);
      await store.deleteResponse(tenant, 'r1');
      expect(await conversationIds(store, tenant, 'far')).toEqual([]);
    },
  },
  {
    title: 'R9 an item that is only referred to counts as being in the conversation',
    async run({ store, tenant }) {
      const place = await follow(store, tenant, 'r1');
      await makeConversation(store, tenant, 'conv');
      await store.appendItems(tenant, 'conv', items(reference('out-r1', place)));
      expect(await store.appendItems(tenant, 'conv', items(message('out-r1')))).toEqual({
        outcome: 'duplicate',
        itemId: 'out-r1',
      });
    },
  },
];
