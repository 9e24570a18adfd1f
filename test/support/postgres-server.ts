import { spawnSync } from 'node:child_process';
import { chown, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Client } from 'pg';
import {
  findCommand,
  GuardedFolder,
  type OwnServer,
  pathFolders,
  runToEnd,
  type SystemUser,
  startServer,
} from './server-process.ts';

/** The programs of a PostgreSQL that was found on this machine. */
export type PostgresInstallation = {
  readonly initdb: string;
  readonly postgres: string;
  /** PostgreSQL does not run as root. */
  readonly user: SystemUser | undefined;
  /** The data of an empty server, which are copied sooner than made. */
  readonly template?: string;
};

/** How a server of a test's own is started. */
export type PostgresOptions = {
  /** Commits wait for the disk, as in production. Without it they survive a killed server, but not a power cut. */
  readonly durable?: boolean;
};

const maxConnections = 300;
const connectLimitMs = 10_000;
const debianFolder = '/usr/lib/postgresql';

/** PostgreSQL from the PATH, or else the newest of Debian's. A text says what is missing. */
export async function findPostgres(): Promise<PostgresInstallation | string> {
  const folders = [...pathFolders(), ...(await debianFolders())];
  const initdb = await findCommand('initdb', folders);
  const postgres = initdb === undefined ? undefined : await findCommand('postgres', [dirname(initdb)]);
  if (initdb === undefined || postgres === undefined) {
    return `There is no initdb and postgres on the PATH or in ${debianFolder}.`;
  }
  if (process.getuid?.() !== 0) return { initdb, postgres, user: undefined };
  const user = systemUser('postgres');
  if (user === undefined) return 'PostgreSQL does not run as root, and there is no user named postgres.';
  return { initdb, postgres, user };
}

/** Makes the data of an empty server, in a folder of their own that ends with this process at the latest. */
export async function makePostgresData(found: PostgresInstallation): Promise<GuardedFolder> {
  const folder = await GuardedFolder.make('QUIT');
  const data = dataOf(folder);
  const locale = process.platform === 'darwin' ? 'C' : 'C.UTF-8';
  const flags = ['-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8', `--locale=${locale}`];
  try {
    if (found.user !== undefined) await chown(folder.path, found.user.uid, found.user.gid);
    const { template } = found;
    const command =
      template === undefined
        ? ([found.initdb, '-D', data, ...flags] as const)
        : (['/bin/cp', '-R', template, data] as const);
    await runToEnd(folder, command, found.user);
  } catch (error) {
    await folder.remove();
    throw error;
  }
  return folder;
}

/** The data in a folder of `makePostgresData`. */
export function dataOf(folder: GuardedFolder): string {
  return join(folder.path, 'data');
}

/** Starts an empty server on loopback, with no password. It ends with this process at the latest. */
export async function runPostgres(found: PostgresInstallation, options: PostgresOptions = {}): Promise<OwnServer> {
  const folder = await makePostgresData(found);
  const data = dataOf(folder);
  const settings = settingsOf(options).flatMap((setting) => ['-c', setting]);
  return startServer(folder, {
    name: 'PostgreSQL',
    command: (port) => [found.postgres, '-D', data, '-p', String(port), ...settings],
    user: found.user,
    readyLine: /database system is ready to accept connections/,
    uri: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
    ask: async (uri) => {
      await withPostgres(uri, (client) => client.query('select 1'));
    },
    orderlyEnd: 'SIGINT',
  });
}

/** Connects, lets `work` use the connection, and closes it. */
export async function withPostgres<T>(uri: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: uri, connectionTimeoutMillis: connectLimitMs });
  // A connection that breaks while nothing is asked has no other place to say so.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
  }
}

function settingsOf({ durable = false }: PostgresOptions): string[] {
  return [
    'listen_addresses=127.0.0.1',
    // The path of a socket has little room, and nobody uses it.
    'unix_socket_directories=',
    `max_connections=${maxConnections}`,
    // In the data folder, where nothing stays behind after a kill.
    'dynamic_shared_memory_type=mmap',
    `fsync=${durable ? 'on' : 'off'}`,
    `full_page_writes=${durable ? 'on' : 'off'}`,
    // Statements that are meant to fail would fill the log, which is read for the server's own messages.
    'log_min_messages=log',
    'lc_messages=C',
  ];
}

async function debianFolders(): Promise<string[]> {
  const versions = await readdir(debianFolder).catch(() => []);
  return versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debianFolder, version, 'bin'));
}

function systemUser(name: string): SystemUser | undefined {
  const [uid, gid] = ['-u', '-g'].map((flag) => {
    const { status, stdout } = spawnSync('/usr/bin/id', [flag, name], { encoding: 'utf8' });
    return status === 0 ? Number(stdout) : undefined;
  });
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}
