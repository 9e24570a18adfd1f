import { expect } from 'vitest';
import {
  conversationIds,
  conversationTurn,
  findItem,
  follow,
  headOfConversation,
  headOfResponse,
  items,
  makeConversation,
  message,
  responseContextIds,
  turn,
} from '../../support/store-fixtures.ts';
import type { StoreCase } from '../store.ts';

const racers = Array.from({ length: 50 }, (_, index) => `r${index}`);

export const raceCases: readonly StoreCase[] = [
  {
    title: 'of 50 turns that race for one place of a chain one gets it, and the others fork',
    async run({ store, tenant }) {
      const base = await follow(store, tenant, 'first');
      const outcomes = await Promise.all(racers.map((id) => store.appendTurn(tenant, turn(id, base))));
      expect(new Set(outcomes)).toEqual(new Set(['appended']));
      const places = await Promise.all(racers.map((id) => headOfResponse(store, tenant, id)));
      expect(places.filter(({ threadId }) => threadId === base.threadId)).toHaveLength(1);
      expect(new Set(places.map(({ threadId, position }) => `${threadId} ${position}`)).size).toBe(50);
      for (const id of racers) {
        const expected = ['in-first', 'out-first', `in-${id}`, `out-${id}`];
        expect(await responseContextIds(store, tenant, id)).toEqual(expected);
      }
    },
  },
  {
    title: 'of 50 turns that race for one place of a conversation one gets it, and nothing is left of the others',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      const base = await headOfConversation(store, tenant, 'conv');
      const outcomes = await Promise.all(racers.map((id) => store.appendTurn(tenant, conversationTurn(id, base))));
      expect(outcomes.filter((outcome) => outcome === 'appended')).toHaveLength(1);
      expect(outcomes.filter((outcome) => outcome === 'lost')).toHaveLength(49);
      for (const [index, id] of racers.entries()) {
        const isWinner = outcomes[index] === 'appended';
        expect((await store.getResponse(tenant, id)) !== undefined).toBe(isWinner);
        expect((await findItem(store, tenant, `in-${id}`)) !== undefined).toBe(isWinner);
      }
      const winner = racers[outcomes.indexOf('appended')];
      expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', `in-${winner}`, `out-${winner}`]);
    },
  },
  {
    title: 'R12 of 50 that race for a lease one gets it',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      const outcomes = await Promise.all(racers.map((id) => store.acquireLease(tenant, 'conv', id, 1_000)));
      expect(outcomes.filter((outcome) => outcome === 'acquired')).toHaveLength(1);
      expect(outcomes.filter((outcome) => outcome === 'busy')).toHaveLength(49);
    },
  },
  {
    title: 'R9 of 50 that post the same id at once one succeeds',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      const posts = racers.map((id) => store.appendItems(tenant, 'conv', items(message(`own-${id}`), message('same'))));
      const outcomes = (await Promise.all(posts)).map(({ outcome }) => outcome);
      expect(outcomes.filter((outcome) => outcome === 'appended')).toHaveLength(1);
      expect(outcomes.filter((outcome) => outcome === 'duplicate')).toHaveLength(49);
      expect(await conversationIds(store, tenant, 'conv')).toHaveLength(2);
    },
  },
  {
    title: '50 posts at once are all there, each entry together',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      await Promise.all(
        racers.map((id) => store.appendItems(tenant, 'conv', items(message(`${id}-1`), message(`${id}-2`)))),
      );
      const ids = await conversationIds(store, tenant, 'conv');
      expect(new Set(ids).size).toBe(100);
      for (const id of racers) expect(ids.indexOf(`${id}-2`)).toBe(ids.indexOf(`${id}-1`) + 1);
    },
  },
  {
    title: 'of 50 that delete one thing at once one did it',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv', ['a']);
      await follow(store, tenant, 'response');
      const found = await Promise.all(racers.map(() => store.deleteItem(tenant, 'conv', 'a')));
      expect(found.filter((outcome) => outcome === 'deleted')).toHaveLength(1);
      for (const all of [
        await Promise.all(racers.map(() => store.deleteResponse(tenant, 'response'))),
        await Promise.all(racers.map(() => store.deleteConversation(tenant, 'conv'))),
      ]) {
        expect(all.filter((did) => did)).toHaveLength(1);
      }
    },
  },
  {
    title: 'R5 a turn that races with the deletion of its conversation is lost or deleted with it',
    async run({ store, tenant }) {
      for (const id of racers) {
        await makeConversation(store, tenant, `conv-${id}`);
        const base = await headOfConversation(store, tenant, `conv-${id}`);
        await Promise.all([
          store.appendTurn(tenant, conversationTurn(id, base)),
          store.deleteConversation(tenant, `conv-${id}`),
        ]);
        expect(await store.getResponse(tenant, id)).toBeUndefined();
        expect(await findItem(store, tenant, `in-${id}`)).toBeUndefined();
      }
    },
  },
  {
    title: 'what was answered is read at once',
    async run({ store, tenant }) {
      await Promise.all(
        racers.map(async (id) => {
          await store.appendTurn(tenant, turn(id));
          expect(await store.getResponse(tenant, id)).toMatchObject({ status: 'completed' });
          await store.deleteResponse(tenant, id);
          expect(await store.getResponse(tenant, id)).toBeUndefined();
        }),
      );
    },
  },
];
