import { createPostgresStore } from '../../src/stores/postgres/store.ts';
import { conversationOracle } from '../contracts/conversation-oracle.ts';
import type { StoreHarness } from '../contracts/store.ts';
import { reopenableHarness, storeContract } from '../contracts/store.ts';
import { describePostgres, freshPostgresSchema } from '../support/databases.ts';

async function harness(options = ''): Promise<StoreHarness> {
  const { uri, schema, drop } = await freshPostgresSchema();
  return reopenableHarness(
    (now) =>
      createPostgresStore({
        uri: `${uri}${options}`,
        schema,
        poolSize: 8,
        timeoutMs: 10_000,
        autoMigrate: true,
        now,
      }),
    drop,
  );
}

describePostgres('a store in PostgreSQL', () => {
  storeContract('PostgreSQL', () => harness());
  storeContract('PostgreSQL without prepared statements', () => harness('&pgbouncer=true'));
  conversationOracle('PostgreSQL', () => harness());
});
