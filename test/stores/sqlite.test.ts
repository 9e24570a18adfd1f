import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Store } from '../../src/store.ts';
import { createSqliteStore } from '../../src/stores/sqlite/store.ts';
import { conversationOracle } from '../contracts/conversation-oracle.ts';
import type { StoreHarness } from '../contracts/store.ts';
import { storeContract } from '../contracts/store.ts';

async function harness(synchronous: 'full' | 'normal'): Promise<StoreHarness> {
  const folder = await mkdtemp(join(tmpdir(), 'open-responses-'));
  let nowMs = 1_000_000;
  const open = (): Promise<Store> =>
    createSqliteStore({ path: join(folder, 'state.db'), synchronous, now: () => nowMs });
  let store = await open();
  return {
    get store() {
      return store;
    },
    advance(ms) {
      nowMs += ms;
    },
    async reopen() {
      await store.close();
      store = await open();
      return store;
    },
    async close() {
      await store.close();
      await rm(folder, { recursive: true });
    },
  };
}

storeContract('SQLite', () => harness('full'));
storeContract('SQLite, synchronous=normal', () => harness('normal'));
conversationOracle('SQLite', () => harness('normal'));
