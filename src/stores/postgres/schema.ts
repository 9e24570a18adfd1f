import { type SchemaState, UnusableDatabase } from '../../store-admin.ts';
import { reach } from '../fault-points.ts';
import type { Row, Session } from './session.ts';
import { quoted } from './statements.ts';

/** Our mark: a schema without this table is not ours, whatever else is in it. */
const versions = 'open_responses_migrations';
const ownTables = ['threads', 'entries', 'items', 'named_values'] as const;
/** What makes processes that start at once go one after the other: any constant, the same in every release. */
const migrationLock = '5719361002465812';
const oldestServer = 130_000;
/**
 * For a command and for a server that starts alike: a migration may rewrite what is there, and if it were broken off it
 * would begin anew at every start. Servers that start at once wait for the first that long.
 */
export const migrationTimeoutMs = 60 * 60_000;

type Migration = { readonly title: string; readonly steps: (schema: string, server: Server) => readonly string[] };
type Server = { readonly hasLz4: boolean };

/** Each runs once, in order, in a transaction of its own; what was released is never changed, only added to. */
const migrations: readonly Migration[] = [
  {
    title: 'create the tables threads, entries and items',
    steps: (schema, { hasLz4 }) => [
      `CREATE TABLE ${schema}.threads (
        tenant TEXT COLLATE "C" NOT NULL,
        id TEXT COLLATE "C" NOT NULL,
        kind TEXT COLLATE "C" NOT NULL,
        tree TEXT COLLATE "C" NOT NULL,
        ancestors TEXT COLLATE "C" NOT NULL,
        continues TEXT COLLATE "C",
        conversation_id TEXT COLLATE "C",
        metadata TEXT COLLATE "C",
        end_user TEXT COLLATE "C",
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        lease_holder TEXT COLLATE "C",
        lease_expires_at BIGINT,
        PRIMARY KEY (tenant, id)
      ) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05)`,
      `CREATE INDEX threads_by_tree ON ${schema}.threads (tenant, tree, id) WHERE tree <> id`,
      `CREATE INDEX threads_by_conversation ON ${schema}.threads (tenant, conversation_id)
        WHERE conversation_id IS NOT NULL`,
      `CREATE TABLE ${schema}.entries (
        tenant TEXT COLLATE "C" NOT NULL,
        thread TEXT COLLATE "C" NOT NULL,
        position INTEGER NOT NULL,
        tree TEXT COLLATE "C" NOT NULL,
        sequence BIGINT GENERATED ALWAYS AS IDENTITY,
        is_turn BOOLEAN NOT NULL,
        response_id TEXT COLLATE "C",
        status TEXT COLLATE "C",
        input_count INTEGER NOT NULL,
        text_bytes BIGINT NOT NULL,
        has_references BOOLEAN NOT NULL,
        end_user TEXT COLLATE "C",
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        item_ids TEXT[] COLLATE "C" NOT NULL,
        items TEXT COLLATE "C",
        response TEXT COLLATE "C",
        PRIMARY KEY (tenant, thread, position)
      ) WITH (autovacuum_vacuum_scale_factor = 0.05)`,
      `CREATE UNIQUE INDEX entries_by_response ON ${schema}.entries (tenant, response_id)
        WHERE response_id IS NOT NULL`,
      `CREATE INDEX entries_with_items ON ${schema}.entries (tenant, tree, thread, position)
        WHERE items IS NOT NULL`,
      `CREATE TABLE ${schema}.items (
        tenant TEXT COLLATE "C" NOT NULL,
        id TEXT COLLATE "C" NOT NULL,
        thread TEXT COLLATE "C" NOT NULL,
        position INTEGER NOT NULL,
        is_reference BOOLEAN NOT NULL,
        sequence BIGINT NOT NULL,
        PRIMARY KEY (tenant, id, thread, position, is_reference)
      ) WITH (autovacuum_vacuum_scale_factor = 0.05)`,
      // A client may give one id to any number of items: the newest of them is the first here.
      `CREATE INDEX items_newest ON ${schema}.items (tenant, id, sequence DESC) WHERE NOT is_reference`,
      // Where the server was built with it: a fraction of the work of the older way.
      ...(hasLz4
        ? [
            `ALTER TABLE ${schema}.entries ALTER COLUMN items SET COMPRESSION lz4,
              ALTER COLUMN response SET COMPRESSION lz4`,
          ]
        : []),
    ],
  },
  {
    title: 'create the table named_values',
    steps: (schema) => [
      `CREATE TABLE ${schema}.named_values (name TEXT COLLATE "C" PRIMARY KEY, value TEXT COLLATE "C" NOT NULL)`,
    ],
  },
];

export const schemaVersion = migrations.length;

/** What is in the database, without changing it. */
export type Found = SchemaState & { readonly hasSchema: boolean };

/** @throws UnusableDatabase where the database is not for this release, or the schema not ours. */
export async function findSchema(session: Session, schema: string, deadlineMs: number): Promise<Found> {
  const ask = (text: string, ...values: string[]): Promise<readonly Row[]> => run(session, text, values, deadlineMs);
  const [server] = await ask(`SELECT current_setting('server_version_num'), current_setting('server_encoding')`);
  if (Number(server?.[0]) < oldestServer) throw new UnusableDatabase('PostgreSQL 13 or newer is needed');
  if (server?.[1] !== 'UTF8') {
    throw new UnusableDatabase(`the database's encoding is ${server?.[1]}; create one with ENCODING 'UTF8'`);
  }
  const { names, isOurs, hasSchema } = await findTables(session, schema, deadlineMs);
  if (!isOurs) {
    if (names.length > 0) throw new UnusableDatabase(foreignTables(schema, names));
    return stateOf(0, hasSchema);
  }
  const [row] = await ask(`SELECT COALESCE(max(version), 0) FROM ${quoted(schema)}.${versions}`);
  const version = Number(row?.[0]);
  if (version > schemaVersion) {
    throw new UnusableDatabase(
      `the schema ${schema} was written by a newer release: it has version ${version}, this release knows ${schemaVersion}`,
    );
  }
  return stateOf(version, true);
}

/** The tables of our names in the schema, and whether our mark is among them. */
export async function findTables(session: Session, schema: string, deadlineMs: number) {
  const tables = await run(
    session,
    `SELECT c.relname, array_agg(a.attname::text) @> '{version,applied_at}' FROM pg_namespace n
      LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = ANY ($2::text[])
      LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
      WHERE n.nspname = $1::text GROUP BY c.relname`,
    [schema, `{${[versions, ...ownTables].join(',')}}`],
    deadlineMs,
  );
  const names = tables.flatMap(([name]) => (name == null ? [] : [name]));
  const isOurs = tables.some(([name, hasColumns]) => name === versions && hasColumns === 't');
  return { names, isOurs, hasSchema: tables.length > 0 };
}

function stateOf(version: number, hasSchema: boolean): Found {
  return { version, needed: schemaVersion, pending: migrations.slice(version).map(({ title }) => title), hasSchema };
}

function foreignTables(schema: string, names: readonly string[]): string {
  return `the schema ${schema} holds tables of another application (${names.join(', ')}); choose another schema`;
}

/**
 * Brings the schema up to date. Processes that do it at once wait for each other, and each step is done or not: one that
 * is killed in between leaves nothing half done.
 */
export async function migrate(session: Session, schema: string, deadlineMs: number): Promise<Found> {
  for (;;) {
    const found = await findSchema(session, schema, deadlineMs);
    if (found.pending.length === 0) return found;
    await inTransaction(session, deadlineMs, async () => {
      // Others may have to wait for it, and it takes the time that it takes.
      const limit = String(Math.max(1, Math.floor(deadlineMs - performance.now())));
      const limits = `set_config('lock_timeout', $1::text, true), set_config('statement_timeout', $1::text, true)`;
      await run(session, `SELECT ${limits}`, [limit], deadlineMs);
      await run(session, `SELECT pg_advisory_xact_lock(${migrationLock})`, [], deadlineMs);
      // Another process may have done it meanwhile.
      await migrateOnce(session, schema, await findSchema(session, schema, deadlineMs), deadlineMs);
    });
    reach('during_migration');
  }
}

async function migrateOnce(session: Session, schema: string, found: Found, deadlineMs: number): Promise<void> {
  const next = migrations[found.version];
  if (next === undefined) return;
  const home = quoted(schema);
  if (!found.hasSchema) await run(session, `CREATE SCHEMA ${home}`, [], deadlineMs);
  if (found.version === 0) {
    const columns = 'version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now()';
    await run(session, `CREATE TABLE IF NOT EXISTS ${home}.${versions} (${columns})`, [], deadlineMs);
  }
  const [lz4] = await run(
    session,
    `SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'`,
    [],
    deadlineMs,
  );
  const server = { hasLz4: lz4?.[0] === 't' };
  for (const step of next.steps(home, server)) {
    reach('during_migration');
    await run(session, step, [], deadlineMs);
  }
  await run(
    session,
    `INSERT INTO ${home}.${versions} (version) VALUES ($1::int)`,
    [String(found.version + 1)],
    deadlineMs,
  );
}

/** A server that starts with too few rights should say so, not its first client. */
export async function requireRights(session: Session, schema: string, deadlineMs: number): Promise<void> {
  const [row] = await run(
    session,
    `SELECT current_user, has_schema_privilege($1::text, 'USAGE'), bool_and(has_table_privilege(c.oid, 'SELECT')
        AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
        AND has_table_privilege(c.oid, 'DELETE')), count(*)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1::text AND c.relname = ANY ($2::text[])`,
    [schema, `{${ownTables.join(',')}}`],
    deadlineMs,
  );
  const [user, mayUse, mayWrite, count] = row ?? [];
  if (Number(count) !== ownTables.length) {
    throw new UnusableDatabase(`of the tables ${ownTables.join(', ')} in the schema ${schema} some are missing`);
  }
  if (mayUse !== 't' || mayWrite !== 't') {
    const rights = `USAGE on the schema ${schema}, and SELECT, INSERT, UPDATE and DELETE on its tables`;
    throw new UnusableDatabase(`the role ${user} lacks rights; it needs ${rights}`);
  }
}

async function inTransaction(session: Session, deadlineMs: number, work: () => Promise<void>): Promise<void> {
  // What another process has done has to be seen once the lock is there, whatever the role's own level is.
  await run(session, 'BEGIN ISOLATION LEVEL READ COMMITTED', [], deadlineMs);
  try {
    await work();
    await run(session, 'COMMIT', [], deadlineMs);
  } catch (error) {
    if (session.isOpen) await run(session, 'ROLLBACK', [], deadlineMs).catch(() => session.destroy());
    throw error;
  }
}

/** Asked once in the life of a process, so not worth keeping prepared. */
async function run(
  session: Session,
  text: string,
  values: readonly string[],
  deadlineMs: number,
): Promise<readonly Row[]> {
  return (await session.ask({ name: '', text }, values, deadlineMs)).rows;
}
