import { createMongoStore } from '../../src/stores/mongodb/store.ts';
import { conversationOracle } from '../contracts/conversation-oracle.ts';
import type { StoreHarness } from '../contracts/store.ts';
import { reopenableHarness, storeContract } from '../contracts/store.ts';
import { describeMongo, freshMongoDatabase } from '../support/databases.ts';

async function harness(): Promise<StoreHarness> {
  const { uri, drop } = await freshMongoDatabase();
  return reopenableHarness(
    (now) => createMongoStore({ uri, database: undefined, timeoutMs: 10_000, autoMigrate: true, now }),
    drop,
  );
}

describeMongo('MongoDB', () => {
  storeContract('MongoDB', harness);
  conversationOracle('MongoDB', harness);
});
