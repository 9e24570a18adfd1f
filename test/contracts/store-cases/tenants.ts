import { expect } from 'vitest';
import type { Store } from '../../../src/store.ts';
import {
  conversationIds,
  conversationTurn,
  findItem,
  follow,
  headOfConversation,
  inputIds,
  items,
  makeConversation,
  message,
  record,
  responseContextIds,
  turn,
} from '../../support/store-fixtures.ts';
import type { StoreCase } from '../store.ts';

/** What one tenant has, seen from outside, so that two looks can be compared. */
async function everything(store: Store, tenant: string): Promise<unknown> {
  return {
    conversation: await store.getConversation(tenant, 'conv'),
    items: await conversationIds(store, tenant, 'conv'),
    inConversation: await store.getResponse(tenant, 'r1'),
    inChain: await store.getResponse(tenant, 'r2'),
    record: await store.getResponse(tenant, 'r3'),
    context: await responseContextIds(store, tenant, 'r2'),
    input: await inputIds(store, tenant, 'r1'),
    found: await findItem(store, tenant, 'a'),
  };
}

async function fill(store: Store, tenant: string): Promise<void> {
  await makeConversation(store, tenant, 'conv', ['a']);
  await store.appendTurn(tenant, conversationTurn('r1', await headOfConversation(store, tenant, 'conv')));
  await follow(store, tenant, 'r2', 'r1');
  await store.appendTurn(tenant, record('r3', undefined, { conversationId: 'conv' }));
}

export const tenantCases: readonly StoreCase[] = [
  {
    title: 'another tenant finds nothing, by any method',
    async run({ store, tenant }) {
      const other = `${tenant}-other`;
      await fill(store, tenant);
      expect(await store.getConversation(other, 'conv')).toBeUndefined();
      expect(await store.getItem(other, 'conv', 'a')).toBeUndefined();
      for (const id of ['r1', 'r2', 'r3']) {
        expect(await store.getResponse(other, id)).toBeUndefined();
        expect(await store.readContext(other, { kind: 'response', id }, 9_999)).toBe('missing');
        const view = { kind: 'input_of', responseId: id } as const;
        expect(await store.listItems(other, view, { limit: 9, order: 'asc' })).toBe('missing');
        expect(await findItem(store, other, `in-${id}`)).toBeUndefined();
      }
      expect(await store.readContext(other, { kind: 'conversation', id: 'conv' }, 9_999)).toBe('missing');
      const view = { kind: 'conversation', id: 'conv' } as const;
      expect(await store.listItems(other, view, { limit: 9, order: 'asc' })).toBe('missing');
      expect(await store.listItems(other, view, { limit: 9, order: 'asc', after: 'a' })).toBe('missing');
    },
  },
  {
    title: 'another tenant changes nothing, by any method',
    async run({ store, tenant }) {
      const other = `${tenant}-other`;
      await fill(store, tenant);
      await store.acquireLease(tenant, 'conv', 'run', 1_000);
      const before = await everything(store, tenant);
      expect(await store.updateConversation(other, 'conv', { a: '1' })).toBeUndefined();
      expect(await store.deleteConversation(other, 'conv')).toBe(false);
      expect(await store.appendItems(other, 'conv', items(message('b')))).toEqual({ outcome: 'missing' });
      expect(await store.deleteItem(other, 'conv', 'a')).toBe('missing');
      expect(await store.acquireLease(other, 'conv', 'run', 1_000)).toBe('missing');
      expect(await store.renewLease(other, 'conv', 'run', 1_000)).toBe(false);
      await store.releaseLease(other, 'conv', 'run');
      for (const id of ['r1', 'r2', 'r3']) expect(await store.deleteResponse(other, id)).toBe(false);
      store.hold(other, 'conv')();
      const theirs = { threadId: 'conv', position: 1 };
      expect(await store.appendTurn(other, conversationTurn('x1', theirs))).toBe('lost');
      expect(await store.appendTurn(other, record('x2', theirs, { conversationId: 'conv' }))).toBe('lost');
      expect(await everything(store, tenant)).toEqual(before);
      expect(await store.acquireLease(tenant, 'conv', 'second', 1_000)).toBe('busy');
    },
  },
  {
    title: 'a base, a reference or a cursor of another tenant leads nowhere',
    async run({ store, tenant }) {
      const other = `${tenant}-other`;
      await fill(store, tenant);
      const theirs = await follow(store, tenant, 'r9', 'r2');
      expect(await store.appendTurn(other, turn('x1', theirs))).toBe('appended');
      expect(await responseContextIds(store, other, 'x1')).toEqual(['in-x1', 'out-x1']);
      const input = [{ id: 'a', target: { threadId: 'conv', position: 0 } }, message('own')];
      await store.appendTurn(other, turn('x2', undefined, { input }));
      expect(await responseContextIds(store, other, 'x2')).toEqual(['own', 'out-x2']);
      await makeConversation(store, other, 'mine', ['b']);
      const view = { kind: 'conversation', id: 'mine' } as const;
      expect(await store.listItems(other, view, { limit: 9, order: 'asc', after: 'a' })).toBe('unknown_cursor');
      expect(await responseContextIds(store, tenant, 'r9')).toHaveLength(7);
    },
  },
  {
    title: 'two tenants may use the same ids for everything, and delete without the other noticing',
    async run({ store, tenant }) {
      const other = `${tenant}-other`;
      await fill(store, tenant);
      await fill(store, other);
      const before = await everything(store, tenant);
      await makeConversation(store, other, 'later', ['a']);
      expect((await findItem(store, other, 'a'))?.place.threadId).toBe('later');
      expect(await everything(store, tenant)).toEqual(before);
      for (const id of ['r1', 'r2', 'r3']) expect(await store.deleteResponse(other, id)).toBe(true);
      expect(await store.deleteItem(other, 'conv', 'a')).toBe('deleted');
      expect((await store.updateConversation(other, 'conv', { mine: 'no' }))?.metadata).toEqual({ mine: 'no' });
      for (const one of [tenant, other]) expect(await store.acquireLease(one, 'conv', 'run', 1_000)).toBe('acquired');
      await store.releaseLease(other, 'conv', 'run');
      expect(await store.acquireLease(tenant, 'conv', 'second', 1_000)).toBe('busy');
      expect(await everything(store, tenant)).toEqual(before);
      expect(await store.deleteConversation(other, 'conv')).toBe(true);
      expect(await everything(store, tenant)).toEqual(before);
      expect(await store.acquireLease(tenant, 'conv', 'run', 1_000)).toBe('acquired');
    },
  },
];
