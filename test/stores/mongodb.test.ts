import type { Store } from '../../src/store.ts';
import { createMongoStore } from '../../src/stores/mongodb/store.ts';
import { conversationOracle } from '../contracts/conversation-oracle.ts';
import type { StoreHarness } from '../contracts/store.ts';
import { storeContract } from '../contracts/store.ts';
import { describeMongo, freshMongoDatabase } from '../support/databases.ts';

async function harness(): Promise<StoreHarness> {
  const { uri, drop } = await freshMongoDatabase();
  let nowMs = 1_000_000;
  const open = (): Promise<Store> =>
    createMongoStore({ uri, database: undefined, timeoutMs: 10_000, autoMigrate: true, now: () => nowMs });
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
      await drop();
    },
  };
}

describeMongo('MongoDB', () => {
  storeContract('MongoDB', harness);
  conversationOracle('MongoDB', harness);
});
