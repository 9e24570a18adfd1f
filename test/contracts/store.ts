import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Store } from '../../src/store.ts';
import { conversationCases } from './store-cases/conversations.ts';
import { deletionCases } from './store-cases/deletion.ts';
import { forkCases } from './store-cases/forks.ts';
import { itemCases } from './store-cases/items.ts';
import { leaseCases } from './store-cases/leases.ts';
import { raceCases } from './store-cases/races.ts';
import { secretCases } from './store-cases/secrets.ts';
import { stringCases } from './store-cases/strings.ts';
import { tenantCases } from './store-cases/tenants.ts';
import { turnCases } from './store-cases/turns.ts';
import { viewCases } from './store-cases/views.ts';

/** A store under test. Its clock stands still unless it is advanced. */
export type StoreHarness = {
  readonly store: Store;
  advance(ms: number): void;
  /** Closes the store and opens the same data again; absent where nothing survives. */
  reopen?(): Promise<Store>;
  /** Closes and removes everything. */
  close(): Promise<void>;
};

/** A harness for a store that survives its end: `open` takes the clock of the tests, `drop` removes what is left. */
export async function reopenableHarness(
  open: (now: () => number) => Promise<Store>,
  drop: () => Promise<unknown>,
): Promise<StoreHarness> {
  let nowMs = 1_000_000;
  const now = (): number => nowMs;
  let store = await open(now);
  return {
    get store() {
      return store;
    },
    advance(ms) {
      nowMs += ms;
    },
    async reopen() {
      await store.close();
      store = await open(now);
      return store;
    },
    async close() {
      await store.close();
      await drop();
    },
  };
}

export type StoreCase = {
  /** Begins with the rule of docs/wire.md that it stands for, if any. */
  readonly title: string;
  /** `tenant` is the case's own: all cases share one store. */
  run(context: {
    readonly store: Store;
    readonly tenant: string;
    advance(ms: number): void;
    /** As that of the harness. */
    readonly reopen: (() => Promise<Store>) | undefined;
  }): Promise<void>;
};

const cases: readonly StoreCase[] = [
  // A store keeps one secret for good: these come first.
  ...secretCases,
  ...conversationCases,
  ...itemCases,
  ...turnCases,
  ...forkCases,
  ...viewCases,
  ...deletionCases,
  ...leaseCases,
  ...raceCases,
  ...stringCases,
  ...tenantCases,
];

/** Written by hand: a case that is dropped, or skipped in one store, is missed here. */
export const storeCaseCount = 101;

/** The suite that every store has to pass. */
export function storeContract(name: string, factory: () => Promise<StoreHarness>): void {
  describe(`the store contract, ${name}`, () => {
    let harness: StoreHarness;
    let passed = 0;
    beforeAll(async () => {
      harness = await factory();
    });
    afterAll(() => harness.close());

    for (const [index, { title, run }] of cases.entries()) {
      // A database on a busy machine may take a while for the longest of them.
      test(title, { timeout: 60_000 }, async () => {
        const advance = (ms: number): void => harness.advance(ms);
        await run({ store: harness.store, tenant: `tenant-${index}`, advance, reopen: harness.reopen?.bind(harness) });
        passed += 1;
      });
    }

    test(`${storeCaseCount} cases have passed`, () => {
      expect(new Set(cases.map(({ title }) => title)).size).toBe(storeCaseCount);
      expect(passed).toBe(storeCaseCount);
    });
  });
}
