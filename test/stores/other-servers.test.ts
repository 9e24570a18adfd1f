import { expect, onTestFinished, test } from 'vitest';
import type { StoreAdmin } from '../../src/store-admin.ts';
import { openMongoAdmin } from '../../src/stores/mongodb/admin.ts';
import { namesOfOthers } from '../../src/stores/other-servers.ts';
import { openPostgresAdmin } from '../../src/stores/postgres/admin.ts';
import { describeMongo, describePostgres, freshMongoDatabase, freshPostgresSchema } from '../support/databases.ts';
import { lookInto } from './mongodb-support.ts';
import { askDirectly } from './postgres-support.ts';

const timeoutMs = 10_000;
/** The first two are not ours, but say nothing of what they are for; the others differ from a known name. */
const unremarkable = ['messages', 'users', 'responses_2', 'my_responses'];

/** What an operator is told that has to do with this place. */
async function toldOf(admin: StoreAdmin, place = ''): Promise<readonly string[]> {
  onTestFinished(() => admin.close());
  return (await admin.stats()).foreign.filter((line) => line.includes(place)).toSorted();
}

function expected(nameOf: (name: string) => string): readonly string[] {
  return namesOfOthers.map((name) => `${nameOf(name)}, perhaps of another server of conversations`).toSorted();
}

describePostgres('other servers in the same PostgreSQL', () => {
  test('each of their tables is named', async () => {
    const at = await freshPostgresSchema();
    const other = await freshPostgresSchema();
    const tables = [...namesOfOthers, ...unremarkable].map((name) => `CREATE TABLE ${other.schema}.${name} (a INT)`);
    await askDirectly(at.uri, tables.join(';'));
    const told = await toldOf(await openPostgresAdmin({ ...at, timeoutMs }), other.schema);
    expect(told).toEqual(expected((name) => `the table ${other.schema}.${name}`));
  });
});

describeMongo('other servers in the same MongoDB', () => {
  test('each of their collections is named, in the same words', async () => {
    const { uri } = await freshMongoDatabase();
    const client = await lookInto(uri);
    for (const name of [...namesOfOthers, ...unremarkable]) await client.db().collection(name).insertOne({ a: 1 });
    const told = await toldOf(await openMongoAdmin({ uri, database: undefined, timeoutMs }));
    expect(told).toEqual(expected((name) => `the collection ${name}`));
  });
});
