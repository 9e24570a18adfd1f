import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Client } from 'pg';
import { onTestFinished } from 'vitest';
import type { Store } from '../../src/store.ts';
import { StoreUnavailable } from '../../src/store.ts';
import { createPostgresStore, type PostgresStoreOptions } from '../../src/stores/postgres/store.ts';
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
  const target = new URL(uri);
  const behind = { host: target.hostname, port: Number(target.port) };
  let trips = 0;
  const port = await listen((near) => {
    const far = connect(behind);
    const read = messageReader((type) => {
      if (type === 'S' || type === 'Q') trips += 1;
    });
    near.on('data', read);
    far.on('error', () => near.destroy());
    near.on('close', () => far.destroy());
    near.pipe(far).pipe(near);
  });
  target.hostname = '127.0.0.1';
  target.port = String(port);
  return { uri: target.href, count: () => trips };
}

/** The type of each message of a client, after the first, which has none. */
function messageReader(onMessage: (type: string) => void): (bytes: Buffer) => void {
  let rest = Buffer.alloc(0);
  let headerBytes = 0;
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= headerBytes + 4) {
      const length = headerBytes + rest.readUInt32BE(headerBytes);
      if (rest.length < length) return;
      if (headerBytes === 1) onMessage(String.fromCharCode(rest[0] ?? 0));
      rest = rest.subarray(length);
      headerBytes = 1;
    }
  };
}
