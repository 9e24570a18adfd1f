import { expect } from 'vitest';
import type { EntryPlace } from '../../../src/store.ts';
import {
  contextOf,
  conversationTurn,
  follow,
  headOfConversation,
  headOfResponse,
  inputIds,
  makeConversation,
  responseContextIds,
  turn,
  viewIds,
} from '../../support/store-fixtures.ts';
import type { StoreCase } from '../store.ts';

export const forkCases: readonly StoreCase[] = [
  {
    title: 'R2 continuing an older response forks, and neither branch sees the other',
    async run({ store, tenant }) {
      await follow(store, tenant, 'r1');
      await follow(store, tenant, 'r2', 'r1');
      await follow(store, tenant, 'left', 'r2');
      const right = await follow(store, tenant, 'right', 'r2');
      await follow(store, tenant, 'right-2', 'right');
      const common = ['in-r1', 'out-r1', 'in-r2', 'out-r2'];
      expect(right.position).toBe(0);
      expect(await responseContextIds(store, tenant, 'left')).toEqual([...common, 'in-left', 'out-left']);
      expect(await responseContextIds(store, tenant, 'right-2')).toEqual([
        ...common,
        ...['in-right', 'out-right', 'in-right-2', 'out-right-2'],
      ]);
    },
  },
  {
    title: 'a place in the middle of a chain forks, even one that is long since empty',
    async run({ store, tenant }) {
      const place = await follow(store, tenant, 'r1');
      await follow(store, tenant, 'r2', 'r1');
      await follow(store, tenant, 'r3', 'r2');
      await store.deleteResponse(tenant, 'r2');
      expect(await store.appendTurn(tenant, turn('fork', place))).toBe('appended');
      expect((await headOfResponse(store, tenant, 'fork')).threadId).not.toBe(place.threadId);
      expect(await responseContextIds(store, tenant, 'fork')).toEqual(['in-r1', 'out-r1', 'in-fork', 'out-fork']);
      expect(await responseContextIds(store, tenant, 'r3')).toEqual(['in-r1', 'out-r1', 'in-r3', 'out-r3']);
    },
  },
  {
    title: 'a run whose base was deleted meanwhile still ends, without what is gone',
    async run({ store, tenant }) {
      await follow(store, tenant, 'r1');
      const place = await follow(store, tenant, 'r2', 'r1');
      await store.deleteResponse(tenant, 'r2');
      expect(await store.appendTurn(tenant, turn('r3', place))).toBe('appended');
      expect(await responseContextIds(store, tenant, 'r3')).toEqual(['in-r1', 'out-r1', 'in-r3', 'out-r3']);
    },
  },
  {
    title: 'a run whose whole thread was deleted meanwhile still ends, alone',
    async run({ store, tenant }) {
      const place = await follow(store, tenant, 'r1');
      await store.deleteResponse(tenant, 'r1');
      expect(await store.appendTurn(tenant, turn('r2', place))).toBe('appended');
      expect(await responseContextIds(store, tenant, 'r2')).toEqual(['in-r2', 'out-r2']);
      const second = await follow(store, tenant, 'r3', 'r2');
      expect(second.position).toBe(1);
    },
  },
  {
    title: 'a fork of a fork of a conversation sees all three',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      await store.appendTurn(tenant, conversationTurn('r1', await headOfConversation(store, tenant, 'conv')));
      await store.appendTurn(tenant, conversationTurn('r2', await headOfConversation(store, tenant, 'conv')));
      await follow(store, tenant, 'f1', 'r1');
      await follow(store, tenant, 'f2', 'f1');
      await follow(store, tenant, 'g1', 'f1');
      const common = ['a', 'in-r1', 'out-r1', 'in-f1', 'out-f1'];
      expect(await responseContextIds(store, tenant, 'g1')).toEqual([...common, 'in-g1', 'out-g1']);
      expect(await inputIds(store, tenant, 'g1')).toEqual([...common, 'in-g1']);
      expect(await inputIds(store, tenant, 'r2')).toEqual(['a', 'in-r1', 'out-r1', 'in-r2']);
    },
  },
  {
    title: 'a client that regenerates 200 times sees its whole history, page by page both ways',
    async run({ store, tenant }) {
      const expected: string[] = [];
      let base: EntryPlace | undefined;
      for (let index = 0; index < 200; index += 1) {
        await store.appendTurn(tenant, turn(`dropped-${index}`, base));
        await store.appendTurn(tenant, turn(`kept-${index}`, base));
        base = await headOfResponse(store, tenant, `kept-${index}`);
        expected.push(`in-kept-${index}`, `out-kept-${index}`);
      }
      expect(await responseContextIds(store, tenant, 'kept-199')).toEqual(expected);
      expect(await responseContextIds(store, tenant, 'dropped-199')).toEqual([
        ...expected.slice(0, -2),
        ...['in-dropped-199', 'out-dropped-199'],
      ]);
      const view = { kind: 'input_of', responseId: 'kept-199' } as const;
      const input = expected.slice(0, -1);
      expect(await viewIds(store, tenant, view, 'asc', 7)).toEqual(input);
      expect(await viewIds(store, tenant, view, 'desc', 7)).toEqual(input.toReversed());
      const context = await contextOf(store, tenant, { kind: 'response', id: 'kept-199' });
      expect(new Set(context.entries.map(({ place }) => place.threadId)).size).toBe(200);
    },
  },
  {
    title: 'R4 deleting in the middle of 200 forks leaves the rest of the history in order',
    async run({ store, tenant }) {
      let base: EntryPlace | undefined;
      for (let index = 0; index < 200; index += 1) {
        await store.appendTurn(tenant, turn(`dropped-${index}`, base));
        await store.appendTurn(tenant, turn(`r${index}`, base));
        base = await headOfResponse(store, tenant, `r${index}`);
      }
      const gone = [0, 1, 63, 64, 65, 127, 128, 129, 190];
      for (const index of gone) expect(await store.deleteResponse(tenant, `r${index}`)).toBe(true);
      const left = Array.from({ length: 200 }, (_, index) => index).filter((index) => !gone.includes(index));
      const expected = left.flatMap((index) => [`in-r${index}`, `out-r${index}`]);
      expect(await responseContextIds(store, tenant, 'r199')).toEqual(expected);
    },
  },
];
