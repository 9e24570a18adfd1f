import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import type { RecordKind, RecordStats, SchemaState, StoreAdmin, StoreStats } from '../../store-admin.ts';
import { openForWriting } from './connection.ts';
import { asUnavailable } from './failures.ts';
import { createFile } from './file-identity.ts';
import { inspect, pendingAfter, schemaVersion } from './schema.ts';

type Columns = Record<string, SQLOutputValue>;

/** How long a command waits for a server that is writing. */
const busyTimeoutMs = 5_000;

/** An operator's look at a file, which need not be there yet. Nothing is opened until it is asked for. */
export function openSqliteAdmin({ path }: { readonly path: string }): StoreAdmin {
  const file = resolve(path);
  return {
    async schema() {
      return withDatabase(file, (database) => stateOf(inspect(database, file)), stateOf(0));
    },
    async migrate() {
      return guarded(() => {
        createFile(file);
        openForWriting({ path: file, synchronous: 'full', busyTimeoutMs }).close();
        return stateOf(schemaVersion);
      });
    },
    async stats() {
      return withDatabase(
        file,
        (database) => (inspect(database, file) === 0 ? noStats : statsOf(database, file)),
        noStats,
      );
    },
    async close() {},
  };
}

const noStats: StoreStats = { records: [], diskBytes: 0, foreign: [] };

function stateOf(version: number): SchemaState {
  return { version, needed: schemaVersion, pending: pendingAfter(version) };
}

function withDatabase<T>(path: string, look: (database: DatabaseSync) => T, ifMissing: T): T {
  if (!existsSync(path) || statSync(path).size === 0) return ifMissing;
  return guarded(() => {
    const database = openToLook(path);
    try {
      database.exec('PRAGMA query_only = ON');
      return look(database);
    } finally {
      database.close();
    }
  });
}

/**
 * Who reads a file makes a log beside it, and the last one to close removes the log: but only who may write. Where there is
 * one already, a server has the file open, or died over it: it is left as it is.
 */
function openToLook(path: string): DatabaseSync {
  const isInUse = ['-wal', '-journal'].some((suffix) => existsSync(`${path}${suffix}`));
  if (isInUse) return new DatabaseSync(path, { readOnly: true, timeout: busyTimeoutMs });
  const address = pathToFileURL(path);
  // A file that has gone meanwhile is not made again; one that may not be written to is opened for reading.
  address.searchParams.set('mode', 'rw');
  return new DatabaseSync(address, { timeout: busyTimeoutMs });
}

function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asUnavailable(error);
  }
}

function statsOf(database: DatabaseSync, path: string): StoreStats {
  database.exec('BEGIN');
  const threads = database
    .prepare(
      `SELECT kind, count(*) AS count, sum(coalesce(octet_length(metadata), 0) + octet_length(ancestors)) AS bytes,
        min(created_at) AS oldest, max(created_at) AS newest FROM threads GROUP BY kind`,
    )
    .all();
  const one = (sql: string): Columns | undefined => database.prepare(sql).get();
  const responses = one(`SELECT count(*) AS count, sum(octet_length(response)) AS bytes, min(created_at) AS oldest,
    max(created_at) AS newest FROM entries WHERE response IS NOT NULL`);
  const entries = one(`SELECT sum(octet_length(items)) AS bytes, min(created_at) AS oldest, max(created_at) AS newest
    FROM entries WHERE items IS NOT NULL AND items <> '[]'`);
  const items = one('SELECT count(*) AS count FROM items');
  const leases = one('SELECT count(*) AS count, 0 AS bytes FROM leases');
  const size = one('SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()');
  database.exec('COMMIT');
  const ofKind = (kind: string): Columns | undefined => threads.find((columns) => columns['kind'] === kind);
  const logBytes = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  return {
    records: [
      record('conversations', ofKind('conversation')),
      record('chains', ofKind('chain')),
      record('records', ofKind('record')),
      record('responses', responses),
      record('items', { ...entries, ...items }),
      record('leases', leases),
    ],
    diskBytes: Number(size?.['bytes'] ?? 0) + logBytes,
    foreign: [],
  };
}

function record(kind: RecordKind, columns: Columns | undefined): RecordStats {
  const time = (name: string): number | undefined => {
    const value = columns?.[name];
    return value === null || value === undefined ? undefined : Number(value);
  };
  return {
    kind,
    count: Number(columns?.['count'] ?? 0),
    bytes: Number(columns?.['bytes'] ?? 0),
    oldestAt: time('oldest'),
    newestAt: time('newest'),
  };
}
