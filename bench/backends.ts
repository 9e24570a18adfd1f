import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { BSON, type Document, type MongoClient } from 'mongodb';
import { findMongo, type MongoInstallation, runMongo, withMongo } from '../test/support/mongo-server.ts';
import { findPostgres, type PostgresInstallation, runPostgres, withPostgres } from '../test/support/postgres-server.ts';
import { listenerOn } from './process-tree.ts';
import { cores, pin } from './processes.ts';

/** A kind of database that the benches know. */
export type BackendKind = 'sqlite' | 'postgres' | 'mongodb';

/** What a process is started with that is to use a place. */
export type Access = {
  readonly flags: readonly string[];
  /** What a list of processes must not show. */
  readonly env: Readonly<Record<string, string>>;
};

/** Where one server keeps what it stores: a file, a schema or a database of its own, empty at first. */
export type Place = Access & {
  /** The same place, reached through this port of loopback; undefined where there is no network in between. */
  readonly through: ((port: number) => Access) | undefined;
  /** Bytes of what is stored; see the backend's `counted`. */
  weigh(): Promise<number>;
  /** Removes what was stored so far, under a running server; undefined where nothing gets slower by it. */
  readonly empty?: () => Promise<void>;
  drop(): Promise<void>;
};

export type Backend = {
  readonly kind: BackendKind;
  readonly name: string;
  /** What a reader has to know besides, for example whether a commit waits for the disk. */
  readonly about: string;
  /** What `weigh` counts. */
  readonly counted: string;
  /** The database's first process, where it has one of its own that is on this machine. */
  readonly pid: number | undefined;
  /** False: it looks through everything where a query has no unique index, and gets slower with each document. */
  readonly hasIndexes: boolean;
  /** It was there before the bench, and stays. */
  readonly isExternal: boolean;
  /** Where the database listens, if at one place. */
  readonly address: { readonly host: string; readonly port: number } | undefined;
  place(): Place;
};

/** Those that could be had, and why the others could not. */
export type Backends = { readonly list: readonly Backend[]; readonly missing: readonly string[] };

type Running = { readonly uri: string; close(): Promise<void> };

/**
 * Runs `use` with SQLite and with the databases that are named by TEST_POSTGRES_URI and TEST_MONGODB_URI, or else started
 * here for the bench, on the core of the rest of the world. What can't be had is left out, loudly.
 */
export async function withBackends<T>(
  folder: string,
  kinds: readonly BackendKind[],
  use: (backends: Backends) => Promise<T>,
): Promise<T> {
  const running: Running[] = [];
  const list: Backend[] = [];
  const left = new Set<Place>();
  const missing: string[] = [];
  // The servers make their folders there: next to ours, as it is on a disk and they may run as another user.
  process.env['TMPDIR'] = dirname(folder);
  try {
    for (const kind of kinds) {
      try {
        const backend = await makers[kind](folder, (server) => running.push(server));
        list.push({ ...backend, place: () => kept(backend.place(), left) });
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        missing.push(`**${names[kind]} is LEFT OUT**: ${why.split('\n')[0]}`);
        console.error(`!! ${names[kind]} IS LEFT OUT: ${why}`);
      }
    }
    return await use({ list, missing });
  } finally {
    for (const place of left) await place.drop();
    await Promise.all(running.map((server) => server.close()));
  }
}

/** Whoever fails before a place is dropped leaves it in `left`. */
function kept(place: Place, left: Set<Place>): Place {
  left.add(place);
  const drop = async (): Promise<void> => {
    if (left.delete(place)) await place.drop();
  };
  return { ...place, drop };
}

/** What a reader has to know about the databases, as a list. */
export function describeBackends({ list, missing }: Backends): string {
  return [...list.map(({ name, about }) => `- ${name}: ${about}`), ...missing.map((each) => `- ${each}`)].join('\n');
}

const names: Readonly<Record<BackendKind, string>> = { sqlite: 'SQLite', postgres: 'PostgreSQL', mongodb: 'MongoDB' };

type Make = (folder: string, keep: (server: Running) => void) => Promise<Backend>;

const makers: Readonly<Record<BackendKind, Make>> = {
  sqlite: async (folder) => sqlite(folder),
  postgres: (_, keep) => postgres(keep),
  mongodb: (_, keep) => mongodb(keep),
};

function randomName(): string {
  return `bench_${randomBytes(6).toString('hex')}`;
}

function sqlite(folder: string): Backend {
  return {
    kind: 'sqlite',
    name: names.sqlite,
    about: "`synchronous=full`, in the server's own process",
    counted: 'the pages in use after a checkpoint',
    pid: undefined,
    hasIndexes: true,
    isExternal: false,
    address: undefined,
    place: () => {
      const file = join(folder, `${randomName()}.sqlite`);
      return {
        flags: ['--store.type=sqlite', `--sqlite.path=${file}`],
        env: {},
        through: undefined,
        weigh: async () => pagesOf(file),
        // It goes with the folder.
        drop: async () => undefined,
      };
    },
  };
}

function pagesOf(file: string): number {
  const database = new DatabaseSync(file, { timeout: 5_000 });
  try {
    const value = (pragma: string): number =>
      Number(Object.values(database.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]);
    if (value('wal_checkpoint(TRUNCATE)') !== 0) throw new Error('the write-ahead log could not be written back');
    return (value('page_count') - value('freelist_count')) * value('page_size');
  } finally {
    database.close();
  }
}

async function postgres(keep: (server: Running) => void): Promise<Backend> {
  const own = async (): Promise<Running> => {
    const found: PostgresInstallation | string = await findPostgres();
    if (typeof found === 'string')
      throw new Error(`${found} Run tools/databases/install.sh, or set TEST_POSTGRES_URI.`);
    return runPostgres(found, { durable: true });
  };
  const { uri, ...reached } = await reach('TEST_POSTGRES_URI', 5432, own, keep);
  const facts = await withPostgres(uri, async (client) => {
    const { rows } = await client.query<{ version: string; fsync: string; commit: string }>(
      `select current_setting('server_version') as version, current_setting('fsync') as fsync,
        current_setting('synchronous_commit') as commit`,
    );
    return rows[0];
  });
  const isDurable = facts?.fsync === 'on' && facts.commit !== 'off';
  return {
    kind: 'postgres',
    name: names.postgres,
    about: `${facts?.version}, ${isDurable ? '' : '**NOT durable**: '}fsync=${facts?.fsync}, synchronous_commit=${facts?.commit}`,
    counted:
      '`pg_total_relation_size` of all tables after a vacuum: with indexes and what is kept out of line, without the write-ahead log',
    ...reached,
    hasIndexes: true,
    place: () => {
      const schema = randomName();
      const flags = ['--store.type=postgres', `--postgres.schema=${schema}`];
      const access = (at: string): Access => ({ flags, env: { OPEN_RESPONSES_POSTGRES_URI: at } });
      return {
        ...access(uri),
        through: (port) => access(throughPort(uri, port)),
        weigh: () => sizeOfSchema(uri, schema),
        drop: () =>
          withPostgres(uri, async (client) => {
            await client.query(`set lock_timeout = '10s'`);
            await client.query(`drop schema if exists ${schema} cascade`);
          }),
      };
    },
  };
}

/** `schema` is a name of ours. */
function sizeOfSchema(uri: string, schema: string): Promise<number> {
  return withPostgres(uri, async (client) => {
    const tables = await client.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = $1`,
      [schema],
    );
    for (const { name } of tables.rows) await client.query(`vacuum ${name}`);
    const sizes = await client.query<{ bytes: string }>(
      'select sum(pg_total_relation_size(name::regclass)) as bytes from unnest($1::text[]) as name',
      [tables.rows.map(({ name }) => name)],
    );
    return Number(sizes.rows[0]?.bytes);
  });
}

async function mongodb(keep: (server: Running) => void): Promise<Backend> {
  let isJava = false;
  const own = async (): Promise<Running> => {
    const found: MongoInstallation | string = await findMongo();
    if (typeof found === 'string') throw new Error(`${found} Run tools/databases/install.sh, or set TEST_MONGODB_URI.`);
    isJava = found.kind === 'java';
    return runMongo(found);
  };
  const { uri, ...reached } = await reach('TEST_MONGODB_URI', 27017, own, keep);
  const { version } = await withMongo(uri, (client) => client.db('admin').command({ buildInfo: 1 }));
  const caution =
    '**not MongoDB**: it keeps everything in memory and has no indexes but unique ones, so it looks through all documents where MongoDB would not. Its figures get worse with each document; what our own process spends is of use';
  return {
    kind: 'mongodb',
    name: isJava ? 'mongo-java-server' : names.mongodb,
    about: isJava ? caution : `calls itself ${version}`,
    counted: 'the documents as BSON, without indexes',
    ...reached,
    hasIndexes: !isJava,
    place: () => {
      const database = randomName();
      const flags = ['--store.type=mongodb', `--mongodb.database=${database}`];
      const access = (at: string): Access => ({ flags, env: { OPEN_RESPONSES_MONGODB_URI: at } });
      return {
        ...access(uri),
        through: (port) => access(throughPort(uri, port)),
        weigh: () => withMongo(uri, (client) => sizeOfDocuments(client, database)),
        ...(isJava && { empty: () => withMongo(uri, (client) => removeDocuments(client, database)) }),
        drop: () =>
          withMongo(uri, async (client) => {
            await client.db(database).dropDatabase();
          }),
      };
    },
  };
}

/** All but what tells the schema's version. */
async function removeDocuments(client: MongoClient, database: string): Promise<void> {
  const db = client.db(database);
  for (const name of ['openresponses_entries', 'openresponses_chunks'])
    await db.collection<Document>(name).deleteMany();
}

/** Counted here, as compatible servers tell other things by `dbStats`, or nothing. */
async function sizeOfDocuments(client: MongoClient, database: string): Promise<number> {
  const db = client.db(database);
  let bytes = 0;
  for (const { name } of await db.listCollections({}, { nameOnly: true }).toArray()) {
    for await (const document of db.collection<Document>(name).find()) bytes += BSON.calculateObjectSize(document);
  }
  return bytes;
}

type Reached = { readonly uri: string } & Pick<Backend, 'address' | 'pid' | 'isExternal'>;

async function reach(
  variable: string,
  defaultPort: number,
  start: () => Promise<Running>,
  keep: (server: Running) => void,
): Promise<Reached> {
  const given = process.env[variable];
  const isOurs = given === undefined || given === '';
  const uri = isOurs ? await started(start, keep) : given;
  const address = addressOf(uri, defaultPort);
  const isHere = address !== undefined && /^(?:127\.0\.0\.1|localhost|\[::1\])$/.test(address.host);
  const pid = isHere ? listenerOn(address.port) : undefined;
  if (isOurs && pid !== undefined) pin(pid, cores.world);
  return { uri, address, pid, isExternal: !isOurs };
}

async function started(start: () => Promise<Running>, keep: (server: Running) => void): Promise<string> {
  const server = await start();
  keep(server);
  return server.uri;
}

/** Undefined for several hosts, or one that has to be looked up in a special way. */
function addressOf(uri: string, defaultPort: number): Backend['address'] {
  if (!URL.canParse(uri) || uri.includes('+srv:')) return undefined;
  const { hostname, port } = new URL(uri);
  if (hostname === '' || hostname.includes(',')) return undefined;
  return { host: hostname, port: port === '' ? defaultPort : Number(port) };
}

function throughPort(uri: string, port: number): string {
  const changed = new URL(uri);
  changed.hostname = '127.0.0.1';
  changed.port = String(port);
  // Otherwise the driver goes on to the address that the server calls its own.
  if (changed.protocol === 'mongodb:') changed.searchParams.set('directConnection', 'true');
  return changed.href;
}
