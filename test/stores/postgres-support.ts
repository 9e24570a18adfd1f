import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Client } from 'pg';
import { onTestFinished } from 'vitest';
import type { Store } from '../../src/store.ts';
import { StoreUnavailable } from '../../src/store.ts';
import { sessionSetup } from '../../src/stores/postgres/connect.ts';
import { Session } from '../../src/stores/postgres/session.ts';
import { createPostgresStore, type PostgresStoreOptions } from '../../src/stores/postgres/store.ts';
import { freshPostgresSchema, type PostgresSchema } from '../support/databases.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { withPostgres } from '../support/postgres-server.ts';

export const tenant = 'tenant';

/** A store that is closed with its test. */
export async function openPostgres(
  at: { readonly uri: string; readonly schema?: string },
  changes: Partial<PostgresStoreOptions> = {},
): Promise<Store> {
  const store = await createPostgresStore({
    ...{ uri: at.uri, schema: at.schema ?? 'open_responses', poolSize: 4, timeoutMs: 10_000 },
    ...{ autoMigrate: true, now: () => 1_000 },
    ...changes,
  });
  onTestFinished(() => store.close());
  return store;
}

/** Asks past the store. */
export function askDirectly(uri: string, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  return withPostgres(uri, async (client: Client) => (await client.query(text, values)).rows);
}

/** A connection with the store's settings, past the store. */
export async function openSession(uri: string): Promise<Session> {
  const session = await Session.open(sessionSetup({ uri, timeoutMs: 20_000 }), performance.now() + 5_000);
  onTestFinished(() => session.end());
  return session;
}

/** A store whose connections can be broken, and one past the proxy, over the same schema. */
export async function behindProxy(timeoutMs: number) {
  const at = await freshPostgresSchema();
  const { hostname, port } = new URL(at.uri);
  const proxy = await startFaultProxy({ host: hostname, port: Number(port) });
  const named = new URL(proxy.uri(at.uri));
  // Other tests use the same server at the same time.
  named.searchParams.set('application_name', at.schema);
  const shaky = await openPostgres({ ...at, uri: named.href }, { timeoutMs });
  onTestFinished(() => proxy.close());
  return { proxy, shaky, direct: await openPostgres(at), uri: at.uri, schema: at.schema };
}

/** Keeps the thread's row locked until the returned function is called. */
export async function lockThread({ uri, schema }: PostgresSchema, id: string): Promise<() => Promise<void>> {
  const holder = await openSession(uri);
  const say = (text: string) => holder.ask({ name: '', text }, [], performance.now() + 5_000);
  await say('BEGIN');
  await say(`SELECT 1 FROM ${schema}.threads WHERE id = '${id}' FOR UPDATE`);
  return async () => void (await say('ROLLBACK'));
}

export async function thrownBy(outcome: Promise<unknown>): Promise<Error> {
  const error = await outcome.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof Error) return error;
  throw new Error('Nothing was thrown');
}

export async function refusal(outcome: Promise<unknown>): Promise<StoreUnavailable> {
  const error = await thrownBy(outcome);
  if (error instanceof StoreUnavailable) return error;
  throw new Error('It was not refused as unavailable', { cause: error });
}

/** All that an error would put into a log. */
export function everythingIn(error: Error): string {
  const parts = [error.name, error.message, error.stack ?? '', JSON.stringify(error)];
  if (error.cause instanceof Error) parts.push(everythingIn(error.cause));
  else parts.push(String(error.cause));
  return parts.join('\n');
}

/** A server of this test's own, on loopback. */
export async function listen(onSocket: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** How a server ends a connection. */
export function fatalError(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeUInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

/** Passes everything on and counts round trips: the messages that ask the server to answer for all that came before. */
export async function countRoundTrips(uri: string): Promise<{ readonly uri: string; readonly count: () => number }> {
  let trips = 0;
  const proxied = await readMessages(uri, (type) => {
    if (type === 'S' || type === 'Q') trips += 1;
  });
  return { uri: proxied, count: () => trips };
}

/** Passes everything on, and tells of each message of a client; resolves with the URI to connect to. */
export async function readMessages(uri: string, onMessage: (type: string, body: string) => void): Promise<string> {
  const target = new URL(uri);
  const behind = { host: target.hostname, port: Number(target.port) };
  const port = await listen((near) => {
    const far = connect(behind);
    near.on('data', messageReader(onMessage));
    far.on('error', () => near.destroy());
    near.on('close', () => far.destroy());
    near.pipe(far).pipe(near);
  });
  target.hostname = '127.0.0.1';
  target.port = String(port);
  return target.href;
}

/** Every entry that is added tells what was set when it was. */
export async function noteSettings({
  uri,
  schema,
}: Omit<PostgresSchema, 'drop'>): Promise<() => Promise<NotedSettings[]>> {
  await askDirectly(
    uri,
    `CREATE TABLE ${schema}.noted (id TEXT, commits TEXT, statement TEXT, lock TEXT, idle TEXT, isolation TEXT);
    CREATE FUNCTION ${schema}.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO ${schema}.noted VALUES (COALESCE(NEW.response_id, 'posted'), current_setting('synchronous_commit'),
        current_setting('statement_timeout'), current_setting('lock_timeout'),
        current_setting('idle_in_transaction_session_timeout'), current_setting('transaction_isolation'));
      RETURN NEW;
    END $$;
    CREATE TRIGGER note AFTER INSERT ON ${schema}.entries FOR EACH ROW EXECUTE FUNCTION ${schema}.note()`,
  );
  return async () => (await askDirectly(uri, `SELECT * FROM ${schema}.noted ORDER BY id`)) as NotedSettings[];
}

type NotedSettings = Readonly<Record<'id' | 'commits' | 'statement' | 'lock' | 'idle' | 'isolation', string>>;

/** The type and the content of each message of a client, after the first, which has no type. */
function messageReader(onMessage: (type: string, body: string) => void): (bytes: Buffer) => void {
  let rest = Buffer.alloc(0);
  let headerBytes = 0;
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= headerBytes + 4) {
      const length = headerBytes + rest.readUInt32BE(headerBytes);
      if (rest.length < length) return;
      if (headerBytes === 1) onMessage(String.fromCharCode(rest[0] ?? 0), rest.toString('latin1', 5, length));
      rest = rest.subarray(length);
      headerBytes = 1;
    }
  };
}
