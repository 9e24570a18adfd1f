import type { RecordKind, RecordStats, SchemaState, StoreAdmin, StoreStats } from '../../store-admin.ts';
import { namesOfOthers, perhapsOfOthers } from '../other-servers.ts';
import { adminSettings, openingError, sessionSetup } from './connect.ts';
import { asStoreError, Refusal } from './failures.ts';
import { textArray } from './names.ts';
import { findSchema, findTables, migrate, migrationTimeoutMs } from './schema.ts';
import { type Row, Session } from './session.ts';
import { quoted } from './statements.ts';
import { type PostgresStoreOptions, requireSchemaName } from './store.ts';

export type PostgresAdminOptions = Pick<PostgresStoreOptions, 'uri' | 'schema' | 'timeoutMs'>;

/** Counting reads everything. */
const countingTimeoutMs = 60 * 60_000;
const maxForeign = 50;

/** Rejects with `UnusableDatabase` or `StoreUnavailable`, as the store does. Changes nothing. */
export async function openPostgresAdmin(options: PostgresAdminOptions): Promise<StoreAdmin> {
  requireSchemaName(options.schema);
  const setup = sessionSetup(options, adminSettings);
  try {
    return adminOver(await Session.open(setup, performance.now() + options.timeoutMs), options);
  } catch (error) {
    throw openingError(error);
  }
}

function adminOver(session: Session, { schema, timeoutMs }: PostgresAdminOptions): StoreAdmin {
  const soon = (): number => performance.now() + timeoutMs;
  const explained = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw error instanceof Refusal ? openingError(error) : asStoreError(error);
    }
  };
  const stateOf = async (find: Promise<SchemaState>): Promise<SchemaState> => {
    const { version, needed, pending } = await find;
    return { version, needed, pending };
  };
  return {
    schema: () => explained(() => stateOf(findSchema(session, schema, soon()))),
    migrate: () => explained(() => stateOf(migrate(session, schema, performance.now() + migrationTimeoutMs))),
    stats: () => explained(() => stats(session, schema, performance.now() + countingTimeoutMs)),
    close: () => session.end(),
  };
}

async function stats(session: Session, schema: string, deadlineMs: number): Promise<StoreStats> {
  const { isOurs, names } = await findTables(session, schema, deadlineMs);
  const unmarked = isOurs ? [] : names.map((name) => `the table ${schema}.${name}, which is not of this program`);
  const foreign = [...unmarked, ...(await tablesOfOthers(session, deadlineMs))];
  // Refuses what a newer release wrote: its tables may mean something else.
  const version = isOurs ? (await findSchema(session, schema, deadlineMs)).version : 0;
  if (version === 0) return { records: [], diskBytes: undefined, foreign };
  const home = quoted(schema);
  const ask = async (text: string): Promise<readonly Row[]> => {
    // One transaction: behind a pooler the next would be on another connection, and this one somebody else's.
    const patience = { statement: { name: '', text: `SELECT set_config('statement_timeout', '0', true)` }, values: [] };
    const question = { statement: { name: '', text }, values: [] };
    return (await session.run([patience, question], deadlineMs))[1]?.rows ?? [];
  };
  const rows = await ask(countingText(home));
  const [size] = await ask(
    `SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = '${schema}' AND c.relkind = 'r'`,
  );
  const records = rows.map(([kind, count, bytes, oldest, newest]): RecordStats => {
    return {
      kind: kind as RecordKind,
      count: Number(count),
      bytes: Number(bytes ?? 0),
      oldestAt: oldest == null ? undefined : Number(oldest),
      newestAt: newest == null ? undefined : Number(newest),
    };
  });
  return { records, diskBytes: size?.[0] == null ? undefined : Number(size[0]), foreign };
}

/** The schema's name was checked, and is quoted. */
function countingText(home: string): string {
  const times = 'min(created_at), max(created_at)';
  const threads = (name: RecordKind, kind: string): string => `SELECT '${name}', count(*),
    sum(octet_length(COALESCE(metadata, '')) + octet_length(ancestors)), ${times}
    FROM ${home}.threads WHERE kind = '${kind}'`;
  return [
    threads('conversations', 'conversation'),
    threads('chains', 'chain'),
    threads('records', 'record'),
    `SELECT 'responses', count(*), sum(octet_length(response)), ${times} FROM ${home}.entries
      WHERE response_id IS NOT NULL`,
    `SELECT 'items', (SELECT count(*) FROM ${home}.items), sum(octet_length(items)), ${times} FROM ${home}.entries
      WHERE cardinality(item_ids) > 0`,
    `SELECT 'leases', count(*), sum(octet_length(lease_holder)), ${times} FROM ${home}.threads
      WHERE lease_holder IS NOT NULL`,
  ].join(' UNION ALL ');
}

/** In every schema of the database: others need not keep to one of their own. */
async function tablesOfOthers(session: Session, deadlineMs: number): Promise<string[]> {
  const text = `SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relname = ANY ($1::text[])
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2 LIMIT ${maxForeign}`;
  const { rows } = await session.ask({ name: '', text }, [textArray(namesOfOthers)], deadlineMs);
  return rows.map(([schema, table]) => perhapsOfOthers(`the table ${schema}.${table}`));
}
