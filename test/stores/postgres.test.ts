import type { Store } from '../../src/store.ts';
import { createPostgresStore } from '../../src/stores/postgres/store.ts';
import { conversationOracle } from '../contracts/conversation-oracle.ts';
import type { StoreHarness } from '../contracts/store.ts';
import { storeContract } from '../contracts/store.ts';
import { describePostgres, freshPostgresSchema } from '../support/databases.ts';

async function harness(options = ''): Promise<StoreHarness> {
  const { uri, schema, drop } = await freshPostgresSchema();
  let nowMs = 1_000_000;
  const open = (): Promise<Store> =>
    createPostgresStore({
      uri: `${uri}${options}`,
      schema,
      poolSize: 8,
      timeoutMs: 10_000,
      autoMigrate: true,
      now: () => nowMs,
    });
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

describePostgres('a store in PostgreSQL', () => {
  storeContract('PostgreSQL', () => harness());
  storeContract('PostgreSQL without prepared statements', () => harness('&pgbouncer=true'));
  conversationOracle('PostgreSQL', () => harness());
});
