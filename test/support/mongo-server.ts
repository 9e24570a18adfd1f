import { createHash } from 'node:crypto';
import { access, mkdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MongoClient } from 'mongodb';
import { findCommand, GuardedFolder, type OwnServer, type ServerProgram, startServer } from './server-process.ts';

/** A server of the MongoDB protocol that was found on this machine. */
export type MongoInstallation =
  | { readonly kind: 'mongod'; readonly command: string }
  /** mongo-java-server; the launcher is a class below `classes`, or else a source file that Java compiles itself. */
  | { readonly kind: 'java'; readonly command: string; readonly classPath: string; readonly launcher: string };

/** How a server of a test's own is started. */
export type MongoOptions = {
  /**
   * Keeps its data in a file, so that `start` finds it after `stop`. mongo-java-server keeps nothing otherwise, and even
   * so a `kill` costs it the writes of its last second. `mongod` always keeps its data.
   */
  readonly persistent?: boolean;
};

const tools = fileURLToPath(new URL('../../tools/databases/', import.meta.url));
const answerLimitMs = 10_000;
const javaFlags = [
  '-Xmx1g',
  // What counts is a quick start.
  '-XX:TieredStopAtLevel=1',
  '-XX:+UseSerialGC',
  // Its file in the temporary folder would stay behind after a kill.
  '-XX:-UsePerfData',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
];

/** Where install.sh puts mongo-java-server. */
export function mongoJarFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return process.env['TEST_MONGODB_JARS'] || join(cache, 'open-responses', 'mongo-java-server-1.47.0');
}

/** mongod from the PATH, or else mongo-java-server. A text says what is missing. */
export async function findMongo(): Promise<MongoInstallation | string> {
  const mongod = await findCommand('mongod');
  if (mongod !== undefined) return { kind: 'mongod', command: mongod };
  const java = await findCommand('java');
  if (java === undefined) return 'There is neither mongod nor java on the PATH.';
  const folder = mongoJarFolder();
  const jars = [...(await readFile(join(tools, 'SHA256SUMS'), 'utf8')).matchAll(/\S+\.jar$/gm)].map(([name]) =>
    join(folder, 'jars', name),
  );
  if (!(await allExist(jars))) return `There is no mongod on the PATH, and no mongo-java-server in ${folder}.`;
  const source = join(tools, 'Launcher.java');
  const version = createHash('sha256')
    .update(await readFile(source))
    .digest('hex')
    .slice(0, 12);
  const classes = join(folder, `launcher-${version}`);
  const isCompiled = await allExist([join(classes, 'Launcher.class')]);
  return {
    kind: 'java',
    command: java,
    classPath: [...(isCompiled ? [classes] : []), ...jars].join(delimiter),
    launcher: isCompiled ? 'Launcher' : source,
  };
}

/** Starts an empty server on loopback, with no password. It ends with this process at the latest. */
export async function runMongo(found: MongoInstallation, options: MongoOptions = {}): Promise<OwnServer> {
  const folder = await GuardedFolder.make('KILL');
  const data = join(folder.path, 'data');
  await mkdir(data);
  return startServer(folder, {
    ...programOf(found, data, options.persistent === true),
    uri: (port) => `mongodb://127.0.0.1:${port}/`,
    ask: async (uri) => {
      await withMongo(uri, (client) => client.db('admin').command({ ping: 1 }));
    },
  });
}

/** Connects, lets `work` use the client, and closes it. */
export async function withMongo<T>(uri: string, work: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(uri, { serverSelectionTimeoutMS: answerLimitMs, socketTimeoutMS: answerLimitMs });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

function programOf(
  found: MongoInstallation,
  data: string,
  isPersistent: boolean,
): Pick<ServerProgram, 'name' | 'command' | 'readyLine' | 'orderlyEnd'> {
  switch (found.kind) {
    case 'mongod':
      return {
        name: 'mongod',
        command: (port) => [
          found.command,
          ...['--dbpath', data, '--port', String(port), '--bind_ip', '127.0.0.1', '--nounixsocket'],
        ],
        readyLine: /waiting for connections/i,
        orderlyEnd: 'SIGTERM',
      };
    case 'java':
      return {
        name: 'mongo-java-server',
        command: (port) => [
          found.command,
          ...javaFlags,
          // Names the folder, by which the guard knows the process, also where no data is kept in it.
          `-Djava.io.tmpdir=${data}`,
          ...['-cp', found.classPath, found.launcher, String(port)],
          ...(isPersistent ? [join(data, 'store.mv')] : []),
        ],
        readyLine: /listening on port \d+/,
        orderlyEnd: 'end of input',
      };
    default:
      return found satisfies never;
  }
}

async function allExist(files: readonly string[]): Promise<boolean> {
  const found = await Promise.allSettled(files.map((file) => access(file)));
  return found.every(({ status }) => status === 'fulfilled');
}
