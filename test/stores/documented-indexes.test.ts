import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it, onTestFinished } from 'vitest';
import { openMongoAdmin } from '../../src/stores/mongodb/admin.ts';
import { openPostgresAdmin } from '../../src/stores/postgres/admin.ts';
import { openSqliteAdmin } from '../../src/stores/sqlite/admin.ts';
import { temporaryFolder } from '../support/command.ts';
import { describeMongo, describePostgres, freshMongoDatabase, freshPostgresSchema } from '../support/databases.ts';
import { lookInto } from './mongodb-support.ts';
import { askDirectly } from './postgres-support.ts';

const doc = readFileSync(new URL('../../docs/stores.md', import.meta.url), 'utf8');

/** One index, in words that the documentation uses too. */
type Index = {
  readonly table: string;
  /** Undefined where the database has named it. */
  readonly name: string | undefined;
  readonly fields: readonly string[];
  readonly notes: readonly (string | undefined)[];
};

function told({ table, name, fields, notes }: Index): string {
  const such = notes.filter((each) => each !== undefined && each !== '');
  return [table, name ?? '(unnamed)', fields.join(', '), such.join(', ')].join(' | ');
}

function quotedIn(cell: string): string | undefined {
  return /^`(.*)`$/.exec(cell)?.[1];
}

/** The table of a database in docs/stores.md, line by line. */
function documented(database: string): string[] {
  const part = doc.split(/^## Indexes$/m)[1]?.split(/^## /m)[0];
  const lines =
    part
      ?.split(`\n### ${database}\n`)[1]
      ?.split('\n### ')[0]
      ?.match(/^\|.*\|$/gm) ?? [];
  const [, , ...rows] = lines.map((line) => line.slice(1, -1).split('|'));
  return rows
    .map(([table = '', name = '', fields = '', notes = '']) =>
      told({
        table: quotedIn(table.trim()) ?? '?',
        name: quotedIn(name.trim()),
        fields: [fields.trim()],
        notes: [notes.trim().replaceAll('`', '')],
      }),
    )
    .toSorted();
}

function whereOf(sql: unknown): string | undefined {
  return typeof sql === 'string' ? `where ${sql.replace(/^\((.*)\)$/s, '$1')}` : undefined;
}

function sqliteIndexes(file: string): string[] {
  const database = new DatabaseSync(file, { readOnly: true });
  onTestFinished(() => database.close());
  const indexes = database
    .prepare(
      `SELECT t.name AS tab, i.name, i.origin, i."unique" AS isUnique, s.sql FROM sqlite_schema AS t
        JOIN pragma_index_list(t.name) AS i LEFT JOIN sqlite_schema AS s ON s.type = 'index' AND s.name = i.name
        WHERE t.type = 'table'`,
    )
    .all();
  return indexes
    .map(({ tab, name, origin, isUnique, sql }) => {
      const fields = database
        .prepare('SELECT name, "desc" AS falls FROM pragma_index_xinfo(?) WHERE key')
        .all(name ?? '');
      return told({
        table: String(tab),
        name: origin === 'c' ? String(name) : undefined,
        fields: fields.map((field) => `${field['name']}${field['falls'] === 1 ? ' descending' : ''}`),
        notes: [
          origin === 'pk' ? 'primary' : isUnique === 1 ? 'unique' : undefined,
          whereOf(/\bWHERE (.*)$/s.exec(String(sql))?.[1]),
        ],
      });
    })
    .toSorted();
}

async function postgresIndexes(uri: string, schema: string): Promise<string[]> {
  const rows = await askDirectly(
    uri,
    `SELECT t.relname AS table, c.relname AS name, i.indisprimary, i.indisunique,
        pg_get_expr(i.indpred, i.indrelid) AS predicate,
        array(SELECT pg_get_indexdef(i.indexrelid, n, true)
          || CASE WHEN i.indoption[n - 1] & 1 = 1 THEN ' descending' ELSE '' END
          FROM generate_series(1, i.indnatts) AS n) AS fields
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
      JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = $1`,
    [schema],
  );
  return rows
    .map(({ table, name, indisprimary, indisunique, predicate, fields }) =>
      told({
        table: String(table),
        name: indisprimary === true ? undefined : String(name),
        fields: (fields as string[]).map((field) => field.replaceAll('"', '')),
        notes: [indisprimary === true ? 'primary' : indisunique === true ? 'unique' : undefined, whereOf(predicate)],
      }),
    )
    .toSorted();
}

async function mongoIndexes(uri: string): Promise<string[]> {
  const db = (await lookInto(uri)).db();
  const found: string[] = [];
  for (const { name: table } of await db.listCollections().toArray()) {
    for (const { name, key, unique, sparse } of await db.collection(table).indexes()) {
      if (name === '_id_') continue;
      const fields = Object.entries(key).map(([field, order]) => `${field}${order === -1 ? ' descending' : ''}`);
      const notes = [unique === true ? 'unique' : undefined, sparse === true ? 'sparse' : undefined];
      found.push(told({ table, name, fields, notes }));
    }
  }
  return found.toSorted();
}

it('docs/stores.md lists the indexes of SQLite', async () => {
  const path = join(await temporaryFolder(), 'store.sqlite');
  await openSqliteAdmin({ path }).migrate();
  const found = sqliteIndexes(path);
  expect(found.length).toBeGreaterThan(5);
  expect(documented('SQLite')).toEqual(found);
});

describePostgres('in PostgreSQL', () => {
  it('docs/stores.md lists the indexes', async () => {
    const { uri, schema } = await freshPostgresSchema();
    const admin = await openPostgresAdmin({ uri, schema, timeoutMs: 5_000 });
    onTestFinished(() => admin.close());
    await admin.migrate();
    const found = await postgresIndexes(uri, schema);
    expect(found.length).toBeGreaterThan(5);
    expect(documented('PostgreSQL')).toEqual(found);
  });
});

describeMongo('in MongoDB', () => {
  it('docs/stores.md lists the indexes', async () => {
    const { uri } = await freshMongoDatabase();
    const admin = await openMongoAdmin({ uri, database: undefined, timeoutMs: 5_000 });
    onTestFinished(() => admin.close());
    await admin.migrate();
    const found = await mongoIndexes(uri);
    expect(found.length).toBeGreaterThan(5);
    expect(documented('MongoDB')).toEqual(found);
  });
});
