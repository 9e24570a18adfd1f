import { expect } from 'vitest';
import {
  contextOf,
  conversationContextIds,
  conversationIds,
  conversationTurn,
  findItem,
  follow,
  headOfConversation,
  headOfResponse,
  idsOf,
  inputIds,
  items,
  makeConversation,
  message,
  record,
  responseContextIds,
  turn,
} from '../../support/store-fixtures.ts';
import type { StoreCase } from '../store.ts';

export const deletionCases: readonly StoreCase[] = [
  {
    title: 'R4 deleting a response of a chain takes its items, and later turns stay usable',
    async run({ store, tenant }) {
      await follow(store, tenant, 'r1');
      await follow(store, tenant, 'r2', 'r1');
      await follow(store, tenant, 'r3', 'r2');
      expect(await store.deleteResponse(tenant, 'r2')).toBe(true);
      expect(await store.deleteResponse(tenant, 'r2')).toBe(false);
      expect(await store.getResponse(tenant, 'r2')).toBeUndefined();
      expect(await store.readContext(tenant, { kind: 'response', id: 'r2' }, 9_999)).toBe('missing');
      for (const id of ['in-r2', 'out-r2']) expect(await findItem(store, tenant, id)).toBeUndefined();
      expect(await follow(store, tenant, 'r4', 'r3')).toMatchObject({ position: 3 });
      expect(await responseContextIds(store, tenant, 'r4')).toEqual([
        ...['in-r1', 'out-r1', 'in-r3', 'out-r3'],
        ...['in-r4', 'out-r4'],
      ]);
    },
  },
  {
    title: 'R4 a deleted response no longer counts against the limit of a context',
    async run({ store, tenant }) {
      await store.appendTurn(tenant, turn('r1', undefined, { textBytes: 500 }));
      await store.appendTurn(tenant, turn('r2', await headOfResponse(store, tenant, 'r1'), { textBytes: 500 }));
      await store.deleteResponse(tenant, 'r1');
      expect(await store.readContext(tenant, { kind: 'response', id: 'r2' }, 500)).toMatchObject({ entries: [{}] });
    },
  },
  {
    title: 'R4 the newest response of a chain keeps its place when it is deleted',
    async run({ store, tenant }) {
      const first = await follow(store, tenant, 'r1');
      await follow(store, tenant, 'r2', 'r1');
      await store.deleteResponse(tenant, 'r2');
      const place = await follow(store, tenant, 'r3', 'r1');
      expect(place.threadId).not.toBe(first.threadId);
      expect(await responseContextIds(store, tenant, 'r3')).toEqual(['in-r1', 'out-r1', 'in-r3', 'out-r3']);
    },
  },
  {
    title: 'R4 deleting a response in a conversation leaves its items, as a turn',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      await store.appendTurn(tenant, conversationTurn('r1', await headOfConversation(store, tenant, 'conv')));
      expect(await store.deleteResponse(tenant, 'r1')).toBe(true);
      expect(await store.getResponse(tenant, 'r1')).toBeUndefined();
      expect(await store.deleteResponse(tenant, 'r1')).toBe(false);
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'in-r1', 'out-r1']);
      expect((await findItem(store, tenant, 'out-r1'))?.place).toEqual({ threadId: 'conv', position: 1 });
      const context = await contextOf(store, tenant, { kind: 'conversation', id: 'conv' });
      expect(context.entries.map(({ isTurn }) => isTurn)).toEqual([false, true]);
      const base = await headOfConversation(store, tenant, 'conv');
      expect(await store.appendTurn(tenant, conversationTurn('r2', base))).toBe('appended');
      expect(base.position).toBe(1);
    },
  },
  {
    title: 'R4 deleting a record takes its items, and leaves its conversation as it is',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      await store.appendTurn(tenant, record('r1', base, { conversationId: 'conv' }));
      expect(await store.deleteResponse(tenant, 'r1')).toBe(true);
      expect(await findItem(store, tenant, 'in-r1')).toBeUndefined();
      expect(await store.getResponse(tenant, 'r1')).toBeUndefined();
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
    },
  },
  {
    title: 'R4 a response that was deleted does not come back',
    async run({ store, tenant }) {
      await store.appendTurn(tenant, turn('r1'));
      const place = await follow(store, tenant, 'r2', 'r1');
      await store.deleteResponse(tenant, 'r1');
      expect(await store.appendTurn(tenant, turn('r1'))).toBe('lost');
      expect(await store.getResponse(tenant, 'r1')).toBeUndefined();
      expect(await headOfResponse(store, tenant, 'r2')).toEqual(place);
    },
  },
  {
    title: 'R6 deleting an item removes it from every list, context, output and input',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a', 'b']);
      await store.appendTurn(tenant, conversationTurn('r1', await headOfConversation(store, tenant, 'conv')));
      await store.appendTurn(tenant, conversationTurn('r2', await headOfConversation(store, tenant, 'conv')));
      await follow(store, tenant, 'fork', 'r2');
      for (const id of ['a', 'in-r1', 'out-r1']) expect(await store.deleteItem(tenant, 'conv', id)).toBe('deleted');
      const left = ['b', 'in-r2', 'out-r2'];
      expect(await conversationIds(store, tenant, 'conv')).toEqual(left);
      expect(await conversationContextIds(store, tenant, 'conv')).toEqual(left);
      expect(await responseContextIds(store, tenant, 'fork')).toEqual([...left, 'in-fork', 'out-fork']);
      expect((await store.getResponse(tenant, 'r1'))?.output).toEqual([]);
      expect(idsOf((await store.getResponse(tenant, 'r2'))?.output ?? [])).toEqual(['out-r2']);
      expect(await inputIds(store, tenant, 'r2')).toEqual(['b', 'in-r2']);
      for (const id of ['a', 'out-r1']) {
        expect(await store.getItem(tenant, 'conv', id)).toBeUndefined();
        expect(await findItem(store, tenant, id)).toBeUndefined();
        expect(await store.deleteItem(tenant, 'conv', id)).toBe('missing');
      }
    },
  },
  {
    title: 'R6 output stays output when input before it is deleted',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      const input = [message('a'), message('b'), message('c')];
      const base = await headOfConversation(store, tenant, 'conv');
      await store.appendTurn(tenant, conversationTurn('r1', base, { input }));
      await store.deleteItem(tenant, 'conv', 'b');
      expect(await inputIds(store, tenant, 'r1')).toEqual(['a', 'c']);
      expect(idsOf((await store.getResponse(tenant, 'r1'))?.output ?? [])).toEqual(['out-r1']);
      await store.deleteItem(tenant, 'conv', 'a');
      await store.deleteItem(tenant, 'conv', 'c');
      expect(await inputIds(store, tenant, 'r1')).toEqual([]);
      expect(idsOf((await store.getResponse(tenant, 'r1'))?.output ?? [])).toEqual(['out-r1']);
    },
  },
  {
    title: 'R6 deleted items no longer count against the limit of a context',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      await store.appendItems(tenant, 'conv', items(message('a', 'x'.repeat(5_000)), message('b')));
      const from = { kind: 'conversation', id: 'conv' } as const;
      expect(await store.readContext(tenant, from, 1_000)).toBe('too_large');
      await store.deleteItem(tenant, 'conv', 'a');
      expect(await store.readContext(tenant, from, 1_000)).toMatchObject({ entries: [{ items: [{ id: 'b' }] }] });
      await store.deleteItem(tenant, 'conv', 'b');
      expect(await store.readContext(tenant, from, 0)).toMatchObject({ entries: [], head: { position: 0 } });
    },
  },
  {
    title: 'R7 the newest turn of a conversation is still that when all its items are deleted',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      await store.appendTurn(tenant, conversationTurn('r1', await headOfConversation(store, tenant, 'conv')));
      await store.appendTurn(tenant, conversationTurn('r2', await headOfConversation(store, tenant, 'conv')));
      for (const id of ['in-r2', 'out-r2']) await store.deleteItem(tenant, 'conv', id);
      await store.deleteResponse(tenant, 'r2');
      const { entries, head } = await contextOf(store, tenant, { kind: 'conversation', id: 'conv' });
      expect(entries.at(-1)).toEqual({ isTurn: true, items: [], place: head });
    },
  },
  {
    title: 'an item of an emptied entry does not free its place',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      await store.appendItems(tenant, 'conv', items(message('b')));
      await store.deleteItem(tenant, 'conv', 'b');
      expect(await headOfConversation(store, tenant, 'conv')).toEqual({ threadId: 'conv', position: 1 });
      expect(await store.appendTurn(tenant, conversationTurn('late', base))).toBe('lost');
      await store.appendItems(tenant, 'conv', items(message('c')));
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'c']);
    },
  },
  {
    title: 'R5 deleting a conversation takes its items, its responses and their records',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      await store.appendTurn(tenant, conversationTurn('r1', base));
      await store.appendTurn(tenant, record('failed', base, { conversationId: 'conv' }));
      await store.appendTurn(tenant, record('cancelled', undefined, { conversationId: 'conv', status: 'cancelled' }));
      expect(await store.deleteConversation(tenant, 'conv')).toBe(true);
      expect(await store.deleteConversation(tenant, 'conv')).toBe(false);
      expect(await store.getConversation(tenant, 'conv')).toBeUndefined();
      for (const id of ['r1', 'failed', 'cancelled']) {
        expect(await store.getResponse(tenant, id)).toBeUndefined();
        expect(await findItem(store, tenant, `in-${id}`)).toBeUndefined();
        expect(await store.deleteResponse(tenant, id)).toBe(false);
      }
      expect(await findItem(store, tenant, 'a')).toBeUndefined();
      expect(await store.readContext(tenant, { kind: 'conversation', id: 'conv' }, 9_999)).toBe('missing');
    },
  },
  {
    title: 'R5 forks of a deleted conversation live on without its items',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      await store.appendTurn(tenant, conversationTurn('r1', await headOfConversation(store, tenant, 'conv')));
      await follow(store, tenant, 'f1', 'r1');
      await follow(store, tenant, 'f2', 'f1');
      await store.deleteConversation(tenant, 'conv');
      expect(await responseContextIds(store, tenant, 'f2')).toEqual(['in-f1', 'out-f1', 'in-f2', 'out-f2']);
      expect(await inputIds(store, tenant, 'f2')).toEqual(['in-f1', 'out-f1', 'in-f2']);
      await follow(store, tenant, 'f3', 'f2');
      await follow(store, tenant, 'g2', 'f1');
      expect(await responseContextIds(store, tenant, 'g2')).toEqual(['in-f1', 'out-f1', 'in-g2', 'out-g2']);
      for (const id of ['f1', 'f2', 'f3', 'g2']) expect(await store.deleteResponse(tenant, id)).toBe(true);
      expect(await findItem(store, tenant, 'in-f1')).toBeUndefined();
    },
  },
  {
    title: 'R5 a run on a conversation that was deleted meanwhile appends nothing',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      await store.acquireLease(tenant, 'conv', 'run', 1_000);
      expect(await store.deleteConversation(tenant, 'conv')).toBe(true);
      expect(await store.appendTurn(tenant, conversationTurn('r1', base, { holder: 'run' }))).toBe('lost');
      expect(await store.renewLease(tenant, 'conv', 'run', 1_000)).toBe(false);
      expect(await store.getResponse(tenant, 'r1')).toBeUndefined();
      expect(await findItem(store, tenant, 'in-r1')).toBeUndefined();
    },
  },
];
