import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Store } from '../../src/store.ts';
import { conversationTurn, headOfConversation, idsOf, items, message } from '../support/store-fixtures.ts';
import type { StoreHarness } from './store.ts';

type Step =
  | { readonly kind: 'post'; readonly count: number }
  | { readonly kind: 'turn'; readonly input: number; readonly output: number }
  | { readonly kind: 'delete'; readonly at: number }
  | { readonly kind: 'delete_response'; readonly at: number }
  | { readonly kind: 'page'; readonly limit: number; readonly order: 'asc' | 'desc'; readonly at: number | undefined }
  | { readonly kind: 'read' };

const at = fc.nat({ max: 10_000 });
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('post' as const), count: fc.integer({ min: 1, max: 6 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('turn' as const),
      input: fc.integer({ min: 0, max: 4 }),
      output: fc.integer({ min: 0, max: 4 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('delete' as const), at }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete_response' as const), at }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('page' as const),
      limit: fc.integer({ min: 1, max: 12 }),
      order: fc.constantFrom('asc' as const, 'desc' as const),
      at: fc.option(at, { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('read' as const) }) },
);

/** A conversation as a plain array of ids. */
class Oracle {
  readonly #store: Store;
  readonly #tenant: string;
  readonly #id = 'conv';
  readonly #deleted: string[] = [];
  readonly #responses: string[] = [];
  #ids: string[] = [];
  #minted = 0;

  constructor(store: Store, tenant: string) {
    this.#store = store;
    this.#tenant = tenant;
  }

  async start(): Promise<void> {
    await this.#store.createConversation(this.#tenant, { id: this.#id, metadata: {}, createdAt: 1 });
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'post':
        return this.#post(step.count);
      case 'turn':
        return this.#turn(step.input, step.output);
      case 'delete':
        return this.#delete(step.at);
      case 'delete_response':
        return this.#deleteResponse(step.at);
      case 'page':
        return this.#page(step.limit, step.order, step.at);
      case 'read':
        return this.#read();
    }
  }

  #mint(count: number) {
    return Array.from({ length: count }, () => {
      this.#minted += 1;
      return message(`i${this.#minted}`);
    });
  }

  async #post(count: number): Promise<void> {
    const posted = this.#mint(count);
    expect(await this.#store.appendItems(this.#tenant, this.#id, items(...posted))).toEqual({ outcome: 'appended' });
    this.#ids.push(...posted.map(({ id }) => id));
  }

  async #turn(inputs: number, outputs: number): Promise<void> {
    const [input, output] = [this.#mint(inputs), this.#mint(outputs)];
    this.#minted += 1;
    const id = `r${this.#minted}`;
    const base = await headOfConversation(this.#store, this.#tenant, this.#id);
    const turn = conversationTurn(id, base, { input, output });
    expect(await this.#store.appendTurn(this.#tenant, turn)).toBe('appended');
    const view = { kind: 'input_of', responseId: id } as const;
    const newest = await this.#store.listItems(this.#tenant, view, { limit: 1_000, order: 'asc' });
    this.#ids.push(...input.map((item) => item.id));
    expect(typeof newest === 'string' ? newest : idsOf(newest.items)).toEqual(this.#ids.slice(0, 1_000));
    this.#ids.push(...output.map((item) => item.id));
    this.#responses.push(id);
  }

  async #delete(at: number): Promise<void> {
    const id = this.#ids[at % Math.max(1, this.#ids.length)];
    if (id === undefined) return;
    expect(await this.#store.deleteItem(this.#tenant, this.#id, id)).toBe('deleted');
    this.#ids = this.#ids.filter((other) => other !== id);
    this.#deleted.push(id);
  }

  async #deleteResponse(at: number): Promise<void> {
    const [id] = this.#responses.splice(at % Math.max(1, this.#responses.length), 1);
    if (id !== undefined) expect(await this.#store.deleteResponse(this.#tenant, id)).toBe(true);
  }

  async #page(limit: number, order: 'asc' | 'desc', at: number | undefined): Promise<void> {
    // Now and then the cursor is an item that was deleted.
    const known = [...this.#ids, ...this.#deleted];
    const after = at === undefined ? undefined : known[at % Math.max(1, known.length)];
    const view = { kind: 'conversation', id: this.#id } as const;
    const found = await this.#store.listItems(this.#tenant, view, { limit, order, after });
    if (after !== undefined && !this.#ids.includes(after)) {
      expect(found).toBe('unknown_cursor');
      return;
    }
    const all = order === 'asc' ? this.#ids : this.#ids.toReversed();
    const rest = after === undefined ? all : all.slice(all.indexOf(after) + 1);
    const expected = { ids: rest.slice(0, limit), hasMore: rest.length > limit };
    expect(typeof found === 'string' ? found : { ids: idsOf(found.items), hasMore: found.hasMore }).toEqual(expected);
  }

  async #read(): Promise<void> {
    const context = await this.#store.readContext(this.#tenant, { kind: 'conversation', id: this.#id }, 100_000_000);
    if (typeof context === 'string') throw new Error(context);
    expect(context.entries.flatMap((entry) => idsOf(entry.items))).toEqual(this.#ids);
    for (const id of this.#ids.slice(-3)) {
      expect((await this.#store.getItem(this.#tenant, this.#id, id))?.id).toBe(id);
    }
  }
}

/** Random sequences of changes and pages of a conversation, compared with an array. */
export function conversationOracle(name: string, factory: () => Promise<StoreHarness>): void {
  describe(`a conversation against an array, ${name}`, () => {
    let harness: StoreHarness;
    let runs = 0;
    beforeAll(async () => {
      harness = await factory();
    });
    afterAll(() => harness.close());

    test('any sequence of posts, turns, deletions and pages', async () => {
      const property = fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 60 }), async (sequence) => {
        runs += 1;
        const oracle = new Oracle(harness.store, `run-${runs}`);
        await oracle.start();
        for (const step of sequence) await oracle.take(step);
      });
      await fc.assert(property, { numRuns: 100 });
    });
  });
}
