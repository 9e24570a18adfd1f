import type { DatabaseSync } from 'node:sqlite';
import { UnusableDatabase } from '../../store-admin.ts';
import { reach } from '../fault-points.ts';

/** Marks the file as ours, "OpRs": another application's database is never written to. */
const applicationId = 0x4f705273;

type Migration = { readonly title: string; readonly sql: string };

/** Each runs once, in order; what was released is never changed, only added to. */
const migrations: readonly Migration[] = [
  {
    title: 'create the tables threads, entries, items and leases',
    sql: `
  CREATE TABLE threads (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    tree TEXT NOT NULL,
    ancestors TEXT NOT NULL,
    continues TEXT,
    conversation_id TEXT,
    metadata TEXT,
    user TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (tenant, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX threads_by_tree ON threads (tenant, tree);
  CREATE INDEX threads_by_conversation ON threads (tenant, conversation_id) WHERE conversation_id IS NOT NULL;

  CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    thread TEXT NOT NULL,
    position INTEGER NOT NULL,
    tree TEXT NOT NULL,
    is_turn INTEGER NOT NULL,
    response_id TEXT,
    status TEXT,
    input_count INTEGER NOT NULL,
    text_bytes INTEGER NOT NULL,
    has_references INTEGER NOT NULL,
    user TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    response TEXT,
    items TEXT,
    UNIQUE (tenant, thread, position)
  ) STRICT;
  CREATE UNIQUE INDEX entries_by_response ON entries (tenant, response_id) WHERE response_id IS NOT NULL;
  CREATE INDEX entries_with_items ON entries (tenant, tree, thread, position) WHERE items IS NOT NULL;

  CREATE TABLE items (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    thread TEXT NOT NULL,
    position INTEGER NOT NULL,
    is_reference INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (tenant, id, thread, position, is_reference)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX items_newest ON items (tenant, id, sequence DESC) WHERE is_reference = 0;

  CREATE TABLE leases (
    tenant TEXT NOT NULL,
    thread TEXT NOT NULL,
    holder TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, thread)
  ) STRICT, WITHOUT ROWID;
  `,
  },
  {
    title: 'create the table named_values',
    // It may be there: a server that knows version 1 alone writes that again after its disk was full.
    sql: `
  CREATE TABLE IF NOT EXISTS named_values (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  },
];

export const schemaVersion = migrations.length;

/** What a schema of that version still lacks, in words for an operator. */
export function pendingAfter(version: number): readonly string[] {
  return migrations.slice(version).map(({ title }) => title);
}

/** The version of the schema, 0 in an empty file. @throws UnusableDatabase where it is not for this release. */
export function inspect(database: DatabaseSync, path: string): number {
  const version = pragma(database, 'user_version');
  if (version > schemaVersion) {
    throw new UnusableDatabase(
      `${path} was written by a newer release: its schema has version ${version}, this release knows ${schemaVersion}`,
    );
  }
  const tables = database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()?.['count'];
  const isOurs = pragma(database, 'application_id') === applicationId;
  if (!isOurs && (version > 0 || tables !== 0)) {
    throw new UnusableDatabase(`${path} is the database of another application`);
  }
  return version;
}

/** @throws UnusableDatabase where there is something to migrate. */
export function requireCurrent(database: DatabaseSync, path: string): void {
  const version = inspect(database, path);
  if (version === schemaVersion) return;
  throw new UnusableDatabase(
    `the schema of ${path} has version ${version} and this release needs ${schemaVersion}: run \`open-responses migrate\` first`,
  );
}

/** Brings the schema up to date. Processes that start at once wait for each other, and all but one find it done. */
export function migrate(database: DatabaseSync, path: string): void {
  database.exec('BEGIN IMMEDIATE');
  try {
    const version = inspect(database, path);
    for (const { sql } of migrations.slice(version)) {
      database.exec(sql);
      reach('during_migration');
    }
    if (version < schemaVersion) {
      database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schemaVersion}`);
    }
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

/** A change that changes nothing: the version that is there, which is that of a newer release where one has come meanwhile. */
export function rewriteVersion(database: DatabaseSync): void {
  database.exec(`PRAGMA user_version = ${pragma(database, 'user_version')}`);
}

function pragma(database: DatabaseSync, name: string): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name]);
}
