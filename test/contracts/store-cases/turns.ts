import { expect } from 'vitest';
import {
  answer,
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
  makeConversation,
  message,
  record,
  responseContextIds,
  turn,
} from '../../support/store-fixtures.ts';
import type { StoreCase } from '../store.ts';

export const turnCases: readonly StoreCase[] = [
  {
    title: 'a response is found as it was stored, with its output apart',
    async run({ store, tenant }) {
      const responseJson = '{"id":"r1","nested":{"a":[1,2.5,null]},"text":"\\u0000 \\ud800 ☕"}';
      const output = [answer('o1'), answer('o2')];
      await store.appendTurn(tenant, turn('r1', undefined, { responseJson, output, status: 'incomplete' }));
      expect(await store.getResponse(tenant, 'r1')).toEqual({
        responseJson,
        status: 'incomplete',
        output: output.map(({ json }) => JSON.parse(json)),
      });
      expect(await store.getResponse(tenant, 'r2')).toBeUndefined();
    },
  },
  {
    title: 'a chain is read in order, from any of its responses',
    async run({ store, tenant }) {
      await follow(store, tenant, 'r1');
      await follow(store, tenant, 'r2', 'r1');
      await follow(store, tenant, 'r3', 'r2');
      expect(await responseContextIds(store, tenant, 'r1')).toEqual(['in-r1', 'out-r1']);
      expect(await responseContextIds(store, tenant, 'r3')).toEqual([
        ...['in-r1', 'out-r1', 'in-r2', 'out-r2'],
        ...['in-r3', 'out-r3'],
      ]);
    },
  },
  {
    title: 'a response that continues the newest entry of a chain lies behind it',
    async run({ store, tenant }) {
      const first = await follow(store, tenant, 'r1');
      const second = await follow(store, tenant, 'r2', 'r1');
      expect(first.position).toBe(0);
      expect(second).toEqual({ threadId: first.threadId, position: 1 });
    },
  },
  {
    title: 'a turn may have neither input nor output',
    async run({ store, tenant }) {
      await store.appendTurn(tenant, turn('r1', undefined, { input: [], output: [] }));
      await follow(store, tenant, 'r2', 'r1');
      expect((await store.getResponse(tenant, 'r1'))?.output).toEqual([]);
      expect(await responseContextIds(store, tenant, 'r2')).toEqual(['in-r2', 'out-r2']);
      expect(await inputIds(store, tenant, 'r1')).toEqual([]);
      expect(await store.deleteResponse(tenant, 'r1')).toBe(true);
    },
  },
  {
    title: 'the context tells the status that a response ended with',
    async run({ store, tenant }) {
      for (const status of ['completed', 'incomplete']) {
        await store.appendTurn(tenant, turn(status, undefined, { status }));
        expect((await contextOf(store, tenant, { kind: 'response', id: status })).status).toBe(status);
      }
    },
  },
  {
    title: 'a context over its limit is refused, one at its limit is not',
    async run({ store, tenant }) {
      await store.appendTurn(tenant, turn('r1', undefined, { textBytes: 600 }));
      const base = await headOfResponse(store, tenant, 'r1');
      await store.appendTurn(tenant, turn('r2', base, { textBytes: 400 }));
      const from = { kind: 'response', id: 'r2' } as const;
      expect(await store.readContext(tenant, from, 999)).toBe('too_large');
      expect(await store.readContext(tenant, from, 1_000)).toMatchObject({ status: 'completed' });
      expect(await store.readContext(tenant, { kind: 'response', id: 'r1' }, 600)).toMatchObject({ head: base });
    },
  },
  {
    title: 'the same turn again is stored once, another of its id is refused',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      const base = await headOfConversation(store, tenant, 'conv');
      const inConversation = conversationTurn('r1', base);
      const inChain = turn('r2');
      for (const again of [inConversation, inConversation, inChain, inChain]) {
        expect(await store.appendTurn(tenant, again)).toBe('appended');
      }
      const late = { status: 'cancelled', responseJson: '{"late":true}' };
      expect(await store.appendTurn(tenant, record('r1', undefined, late))).toBe('lost');
      expect(await store.appendTurn(tenant, record('r2', undefined, late))).toBe('lost');
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['in-r1', 'out-r1']);
      expect((await store.getResponse(tenant, 'r2'))?.status).toBe('completed');
    },
  },
  {
    title: 'whatever comes first is the end of a response: another kind, status or text of it is refused',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      const inConversation = conversationTurn('r1', base);
      expect(await store.appendTurn(tenant, record('r1', base, { conversationId: 'conv' }))).toBe('appended');
      expect(await store.appendTurn(tenant, inConversation)).toBe('lost');
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
      expect(await store.appendTurn(tenant, record('r2'))).toBe('appended');
      expect(await store.appendTurn(tenant, turn('r2'))).toBe('lost');
      const first = await follow(store, tenant, 'r3');
      expect(await store.appendTurn(tenant, turn('r4', first))).toBe('appended');
      for (const other of [
        turn('r4', first, { responseJson: '{"id":"r4","other":true}' }),
        turn('r4', first, { status: 'incomplete' }),
        record('r4', first),
      ]) {
        expect(await store.appendTurn(tenant, other)).toBe('lost');
      }
      for (const id of ['r1', 'r2', 'r4']) {
        expect(await store.deleteResponse(tenant, id)).toBe(true);
        expect(await store.getResponse(tenant, id)).toBeUndefined();
      }
    },
  },
  {
    title: 'R2 only a turn of the conversation is added to it: continuing one of its responses forks',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      await store.appendTurn(tenant, conversationTurn('r1', await headOfConversation(store, tenant, 'conv')));
      const newest = await headOfResponse(store, tenant, 'r1');
      expect(newest).toEqual(await headOfConversation(store, tenant, 'conv'));
      const place = await follow(store, tenant, 'r2', 'r1');
      expect(place).toMatchObject({ position: 0 });
      expect(place.threadId).not.toBe('conv');
      const seen = ['a', 'in-r1', 'out-r1'];
      expect(await conversationIds(store, tenant, 'conv')).toEqual(seen);
      expect(await conversationContextIds(store, tenant, 'conv')).toEqual(seen);
      expect(await responseContextIds(store, tenant, 'r2')).toEqual([...seen, 'in-r2', 'out-r2']);
      expect(await headOfConversation(store, tenant, 'conv')).toEqual(newest);
    },
  },
  {
    title: 'R2 a fork of an empty conversation is a chain of its own',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      const base = await headOfConversation(store, tenant, 'conv');
      expect(await store.appendTurn(tenant, turn('r1', base))).toBe('appended');
      expect(await responseContextIds(store, tenant, 'r1')).toEqual(['in-r1', 'out-r1']);
      expect(await conversationIds(store, tenant, 'conv')).toEqual([]);
    },
  },
  {
    title: 'R3 a failed or cancelled response is found by its id and takes no place',
    async run({ store, tenant }) {
      await follow(store, tenant, 'r1');
      const base = await headOfResponse(store, tenant, 'r1');
      for (const status of ['failed', 'cancelled']) {
        expect(await store.appendTurn(tenant, record(status, base, { status }))).toBe('appended');
        const stored = await store.getResponse(tenant, status);
        expect(stored?.status).toBe(status);
        expect(idsOf(stored?.output ?? [])).toEqual([`out-${status}`]);
        expect(await inputIds(store, tenant, status)).toEqual(['in-r1', 'out-r1', `in-${status}`]);
        expect((await contextOf(store, tenant, { kind: 'response', id: status })).status).toBe(status);
      }
      expect(await follow(store, tenant, 'r2', 'r1')).toEqual({ ...base, position: base.position + 1 });
      expect(await responseContextIds(store, tenant, 'r2')).toEqual(['in-r1', 'out-r1', 'in-r2', 'out-r2']);
    },
  },
  {
    title: 'R3 a record of a conversation is not among its items',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      expect(await store.appendTurn(tenant, record('r1', base, { conversationId: 'conv' }))).toBe('appended');
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
      expect(await conversationContextIds(store, tenant, 'conv')).toEqual(['a']);
      expect(await inputIds(store, tenant, 'r1')).toEqual(['a', 'in-r1']);
      expect(await headOfConversation(store, tenant, 'conv')).toEqual(base);
      expect(await store.getItem(tenant, 'conv', 'in-r1')).toBeUndefined();
    },
  },
  {
    title: 'R3 nothing is ever added behind a record',
    async run({ store, tenant }) {
      await store.appendTurn(tenant, record('r1'));
      const place = await headOfResponse(store, tenant, 'r1');
      expect(await store.appendTurn(tenant, turn('r2', place))).toBe('appended');
      expect((await headOfResponse(store, tenant, 'r2')).threadId).not.toBe(place.threadId);
      expect(await responseContextIds(store, tenant, 'r1')).toEqual(['in-r1', 'out-r1']);
    },
  },
  {
    title: 'R5 a record of a conversation that is gone is not written',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      await store.deleteConversation(tenant, 'conv');
      expect(await store.appendTurn(tenant, record('r1', base, { conversationId: 'conv' }))).toBe('lost');
      expect(await store.appendTurn(tenant, record('r2', undefined, { conversationId: 'conv' }))).toBe('lost');
      expect(await store.getResponse(tenant, 'r1')).toBeUndefined();
      expect(await findItem(store, tenant, 'in-r2')).toBeUndefined();
    },
  },
  {
    title: 'a large turn of many items is read back whole',
    async run({ store, tenant }) {
      const input = Array.from({ length: 2_000 }, (_, index) => message(`m${index}`));
      const big = message('big', 'x'.repeat(3_000_000));
      await store.appendTurn(tenant, turn('r1', undefined, { input: [...input, big] }));
      const ids = [...input.map(({ id }) => id), 'big', 'out-r1'];
      expect(await responseContextIds(store, tenant, 'r1')).toEqual(ids);
      expect((await findItem(store, tenant, 'big'))?.item).toEqual(JSON.parse(big.json));
    },
  },
];
