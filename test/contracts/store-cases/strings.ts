import { expect } from 'vitest';
import type { Item } from '../../../src/api/items.ts';
import type { EncodedItem } from '../../../src/store.ts';
import {
  conversationIds,
  conversationTurn,
  findItem,
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

/** Strings that some database, or some careless code, has been known to mistake for something else. */
const oddStrings: readonly string[] = [
  '{"$ne":1}',
  "'; DROP TABLE entries;--",
  '__proto__',
  'constructor',
  'toString',
  'a\0b',
  'a\0c',
  '\0',
  '%',
  '_',
  '*',
  '0',
  '-1',
  '1e3',
  'null',
  ' a',
  'a ',
  'A',
  'a',
  // The same letter, composed and decomposed: two ids.
  '\u00e4',
  'a\u0308',
  '☕',
  '🫖',
  '\u202e',
  '\u2028',
  'x'.repeat(20_000),
  `${'x'.repeat(20_000)}y`,
];

function textOf(item: Item): string | undefined {
  const part = item.type === 'message' ? item.content[0] : undefined;
  return part !== undefined && 'text' in part ? part.text : undefined;
}

export const stringCases: readonly StoreCase[] = [
  {
    title: 'every string is an id like any other: of conversations',
    async run({ store, tenant }) {
      for (const id of oddStrings) await makeConversation(store, tenant, id, [`item of ${id}`]);
      for (const id of oddStrings) {
        expect((await store.getConversation(tenant, id))?.id).toBe(id);
        expect(await conversationIds(store, tenant, id)).toEqual([`item of ${id}`]);
      }
      for (const id of oddStrings) expect(await store.deleteConversation(tenant, id)).toBe(true);
      for (const id of oddStrings) expect(await store.getConversation(tenant, id)).toBeUndefined();
    },
  },
  {
    title: 'every string is an id like any other: of items and of responses',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      for (const id of oddStrings) {
        expect(await store.appendItems(tenant, 'conv', items(message(id)))).toEqual({ outcome: 'appended' });
        await store.appendTurn(tenant, turn(id));
      }
      expect(await conversationIds(store, tenant, 'conv')).toEqual(oddStrings);
      for (const [index, id] of oddStrings.entries()) {
        expect((await store.getItem(tenant, 'conv', id))?.id).toBe(id);
        expect((await findItem(store, tenant, id))?.place).toEqual({ threadId: 'conv', position: index });
        expect(await responseContextIds(store, tenant, id)).toEqual([`in-${id}`, `out-${id}`]);
        const view = { kind: 'conversation', id: 'conv' } as const;
        const next = await page(store, tenant, view, { limit: 1, order: 'asc', after: id });
        expect(idsOf(next.items)).toEqual(oddStrings.slice(index + 1, index + 2));
      }
      for (const id of oddStrings) expect(await store.deleteItem(tenant, 'conv', id)).toBe('deleted');
      for (const id of oddStrings) expect(await store.deleteResponse(tenant, id)).toBe(true);
      expect(await conversationIds(store, tenant, 'conv')).toEqual([]);
    },
  },
  {
    title: 'every string is a holder like any other',
    async run({ store, tenant }) {
      await makeConversation(store, tenant, 'conv');
      for (const [index, holder] of oddStrings.entries()) {
        expect(await store.acquireLease(tenant, 'conv', holder, 1_000)).toBe('acquired');
        const other = oddStrings[(index + 1) % oddStrings.length] ?? '';
        expect(await store.acquireLease(tenant, 'conv', other, 1_000)).toBe('busy');
        await store.releaseLease(tenant, 'conv', holder);
      }
    },
  },
  {
    title: 'every string is a tenant like any other',
    async run({ store, tenant }) {
      const tenants = oddStrings.map((odd) => `${tenant}${odd}`);
      for (const one of tenants) await makeConversation(store, one, 'conv', [`item of ${one}`]);
      for (const one of tenants) expect(await conversationIds(store, one, 'conv')).toEqual([`item of ${one}`]);
    },
  },
  {
    title: 'metadata comes back as it was given, whatever its keys and values',
    async run({ store, tenant }) {
      const pairs = oddStrings.map((odd) => `${JSON.stringify(odd)}:${JSON.stringify(`value ${odd}`)}`);
      const text = `{${pairs.join(',')}}`;
      await store.createConversation(tenant, { id: 'conv', metadata: JSON.parse(text), createdAt: 1 });
      const expected = Object.entries(JSON.parse(text));
      expect(Object.entries((await store.getConversation(tenant, 'conv'))?.metadata ?? {})).toEqual(expected);
      const changed = await store.updateConversation(tenant, 'conv', JSON.parse(text));
      expect(Object.entries(changed?.metadata ?? {})).toEqual(expected);
      expect(Object.keys(changed?.metadata ?? {})).toContain('__proto__');
      expect(({} as Record<string, unknown>)['value __proto__']).toBeUndefined();
    },
  },
  {
    title: 'texts come back as they were given; half a surrogate pair may become U+FFFD',
    async run({ store, tenant }) {
      const half = 'half \ud83e of a pair';
      const texts = [...oddStrings, half, '\ufeff', '\u0000\u0001\u001f', '"\\/'];
      const input = texts.map((text, index) => message(`i${index}`, text));
      await store.appendTurn(tenant, turn('r1', undefined, { input }));
      const context = await store.readContext(tenant, { kind: 'response', id: 'r1' }, 100_000_000);
      if (typeof context === 'string') throw new Error(context);
      const found = context.entries.flatMap((entry) => entry.items).slice(0, -1);
      const stored = found.map((item) => textOf(item));
      expect(stored.map((text) => text?.toWellFormed())).toEqual(texts.map((text) => text.toWellFormed()));
    },
  },
  {
    title: 'half a surrogate pair in an id or a text that is not escaped is looked up as it was stored',
    async run({ store, tenant }) {
      const odd = 'odd \udc00 id';
      const raw: EncodedItem = { id: odd, json: `{"id":"${odd}","type":"message","role":"user","content":"${odd}"}` };
      await store.createConversation(tenant, { id: odd, metadata: { [odd]: odd }, createdAt: 1, entry: items(raw) });
      expect((await store.getItem(tenant, odd, odd))?.id.toWellFormed()).toBe(odd.toWellFormed());
      const base = await headOfConversation(store, tenant, odd);
      const responseJson = `{"text":"${odd}"}`;
      const mine = conversationTurn(odd, base, { responseJson, holder: odd, input: [message(`in-${odd}`)] });
      expect(await store.acquireLease(tenant, odd, odd, 1_000)).toBe('acquired');
      expect(await store.appendTurn(tenant, mine)).toBe('appended');
      expect(await store.appendTurn(tenant, mine)).toBe('appended');
      expect((await store.getResponse(tenant, odd))?.responseJson).toBe(responseJson.toWellFormed());
      expect(await inputIds(store, tenant, odd)).toHaveLength(2);
      expect(await store.deleteItem(tenant, odd, odd)).toBe('deleted');
      expect(await store.deleteItem(tenant, odd, `in-${odd}`)).toBe('deleted');
      expect(await findItem(store, tenant, odd)).toBeUndefined();
      expect(await store.deleteConversation(tenant, odd)).toBe(true);
    },
  },
  {
    title: 'keys of an item are data',
    async run({ store, tenant }) {
      const json = '{"id":"i","type":"message","__proto__":{"polluted":true},"constructor":1,"reference":{"a":1}}';
      await makeConversation(store, tenant, 'conv');
      await store.appendItems(tenant, 'conv', items({ id: 'i', json }, message('j')));
      await store.deleteItem(tenant, 'conv', 'j');
      expect(JSON.stringify(await store.getItem(tenant, 'conv', 'i'))).toBe(json);
      expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    },
  },
];
