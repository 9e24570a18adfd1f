import { DatabaseSync } from 'node:sqlite';
import { UnusableDatabase } from '../../store-admin.ts';
import { isBusy } from './failures.ts';
import { migrate, requireCurrent } from './schema.ts';

export type Synchronous = 'full' | 'normal';

/** A read waits only where another process recovers the file after a crash; it holds up the whole process. */
const readBusyTimeoutMs = 250;
/** What the write-ahead log may keep on disk when it is not in use. */
const maxIdleLogBytes = 64 * 1024 * 1024;

export type WriterSetup = {
  readonly path: string;
  readonly synchronous: Synchronous;
  /** How long a change waits for another process that is writing. */
  readonly busyTimeoutMs: number;
  /** Off: a file whose schema is behind is refused. */
  readonly autoMigrate?: boolean;
};

export function openForWriting({ path, synchronous, busyTimeoutMs, autoMigrate = true }: WriterSetup): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyTimeoutMs });
  try {
    database.exec('PRAGMA secure_delete = ON');
    useWriteAheadLog(database, busyTimeoutMs);
    database.exec(`PRAGMA synchronous = ${synchronous}; PRAGMA journal_size_limit = ${maxIdleLogBytes}`);
    database.exec('PRAGMA cache_size = -16000');
    if (autoMigrate) migrate(database, path);
    else requireCurrent(database, path);
    return database;
  } catch (error) {
    database.close();
    if (isNotADatabase(error)) throw new UnusableDatabase(`${path} is not an SQLite database`, { cause: error });
    throw error;
  }
}

export function openForReading(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: readBusyTimeoutMs });
  database.exec('PRAGMA query_only = ON; PRAGMA cache_size = -16000');
  return database;
}

/** SQLite does not wait for others while it changes the journal's mode: processes that start at once need to try again. */
function useWriteAheadLog(database: DatabaseSync, busyTimeoutMs: number): void {
  const pauseMs = 20;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let attempts = busyTimeoutMs / pauseMs; ; attempts -= 1) {
    try {
      const mode = database.prepare('PRAGMA journal_mode = WAL').get()?.['journal_mode'];
      if (mode === 'wal') return;
      throw new UnusableDatabase(`The database can't use a write-ahead log, only "${mode}"; is it on a network drive?`);
    } catch (error) {
      if (!isBusy(error) || attempts <= 0) throw error;
      Atomics.wait(pause, 0, 0, pauseMs);
    }
  }
}

function isNotADatabase(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 26;
}
