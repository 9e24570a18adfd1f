import { expect } from 'vitest';
import { follow, makeConversation } from '../../support/store-fixtures.ts';
import type { StoreCase } from '../store.ts';

/** Any text may be one. */
const proposals = Array.from({ length: 20 }, (_, index) => `secret-${index} \0\u0001\u0001#0 'ä' \u{1f511}`);

export const secretCases: readonly StoreCase[] = [
  {
    title:
      'of 20 secrets that are proposed at once one is everybody’s, letter by letter, and later ones change nothing',
    async run({ store }) {
      const told = await Promise.all(proposals.map((proposed) => store.keptSecret(proposed)));
      expect(new Set(told).size).toBe(1);
      expect(proposals).toContain(told[0]);
      expect(await store.keptSecret('a later one')).toBe(told[0]);
    },
  },
  {
    title: 'the secret is the same whatever tenants add and delete, and nothing that they could find',
    async run({ store, tenant }) {
      const kept = await store.keptSecret('not this one');
      for (const one of [tenant, '']) {
        await makeConversation(store, one, 'secret', ['a']);
        await follow(store, one, 'r1');
        expect(await store.getItem(one, 'secret', 'secret')).toBeUndefined();
        expect(await store.keptSecret(one)).toBe(kept);
        expect(await store.deleteConversation(one, 'secret')).toBe(true);
        expect(await store.deleteResponse(one, 'r1')).toBe(true);
        expect(await store.getConversation(one, 'secret')).toBeUndefined();
      }
      expect(await store.keptSecret('nor this one')).toBe(kept);
    },
  },
  {
    title: 'the secret outlives the store that kept it, where anything does',
    async run({ store, reopen }) {
      const kept = await store.keptSecret('not this one');
      const again = await reopen?.();
      if (again !== undefined) expect(await again.keptSecret('nor this one')).toBe(kept);
    },
  },
];
