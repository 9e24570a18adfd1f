import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import type { ClientConfig } from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { requestCancel } from '../../src/stores/postgres/cancel.ts';
import { listen } from './postgres-support.ts';

const key = { processID: 4711, secretKey: -42 };
const cancelRequest = '0000001004d2162e00001267ffffffd6';
const sslRequest = '0000000804d2162f';
const longMs = 20_000;

/** Keys that both sides know: TLS without certificates. */
const shared = { ciphers: 'PSK', psk: Buffer.alloc(32, 7) };

function encrypted(socket: Socket): TLSSocket {
  const { ciphers, psk } = shared;
  const options = { isServer: true, ciphers, pskCallback: () => psk, ALPNProtocols: ['postgresql'] };
  const tls = new TLSSocket(socket, options);
  tls.on('error', () => undefined);
  return tls;
}

/** What `pg` makes of an address with TLS, but for the keys. */
function encryptedTo(port: number, changes: Record<string, unknown> = {}): ClientConfig {
  const ssl = {
    ciphers: shared.ciphers,
    pskCallback: () => ({ psk: shared.psk, identity: 'me' }),
    checkServerIdentity: () => undefined,
  };
  return { host: '127.0.0.1', port, ssl, ...changes } as ClientConfig;
}

/** Notes the first message that the client sends in the open, or behind the encryption. */
function noted(stream: Socket, messages: string[], next: () => void): void {
  stream.once('data', (bytes: Buffer) => {
    messages.push(bytes.toString('hex'));
    next();
  });
}

test('a cancel request is one message, and over when the server has closed its connection', async () => {
  const messages: string[] = [];
  const port = await listen((socket) => noted(socket, messages, () => socket.end()));
  await requestCancel({ connectionString: `postgres://me:secret@127.0.0.1:${port}/db` }, key, longMs);
  expect(messages).toEqual([cancelRequest]);
});

test('it takes the same socket file as the connection that it is about', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cancel-'));
  const messages: string[] = [];
  const server = createServer((socket) => noted(socket, messages, () => socket.end()));
  await new Promise<void>((resolve) => server.listen(join(folder, '.s.PGSQL.5433'), resolve));
  onTestFinished(async () => {
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true });
  });
  await requestCancel({ host: folder, port: 5433 }, key, longMs);
  expect(messages).toEqual([cancelRequest]);
});

test('where connections are encrypted, it is too', async () => {
  const messages: string[] = [];
  const port = await listen((socket) => {
    noted(socket, messages, () => {
      socket.write('S');
      const tls = encrypted(socket);
      noted(tls, messages, () => tls.end());
    });
  });
  await requestCancel(encryptedTo(port), key, longMs);
  expect(messages).toEqual([sslRequest, cancelRequest]);
});

test('where encryption begins at once, so does its own', async () => {
  const messages: string[] = [];
  const port = await listen((socket) => {
    const tls = encrypted(socket);
    noted(tls, messages, () => tls.end());
  });
  await requestCancel(encryptedTo(port, { sslnegotiation: 'direct' }), key, longMs);
  expect(messages).toEqual([cancelRequest]);
});

test('a server without encryption is not told the key in the open', async () => {
  const messages: string[] = [];
  const port = await listen((socket) => {
    noted(socket, messages, () => socket.write('N'));
    socket.on('data', (bytes: Buffer) => messages.push(bytes.toString('hex')));
  });
  await requestCancel(encryptedTo(port), key, longMs);
  expect([...new Set(messages)]).toEqual([sslRequest]);
});

test.each(['nothing', 'encryption'])('a server that answers with %s for ever is left', async (answer) => {
  const gone = Promise.withResolvers<void>();
  const port = await listen((socket) => {
    socket.on('close', () => gone.resolve());
    socket.once('data', () => answer === 'encryption' && socket.write('S'));
    socket.resume();
  });
  await requestCancel(answer === 'encryption' ? encryptedTo(port) : { host: '127.0.0.1', port }, key, 300);
  await gone.promise;
});

test('where nobody listens, or a file that the address names is gone, nothing happens', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  await requestCancel({ host: '127.0.0.1', port: address.port }, key, longMs);
  const connectionString = 'postgres://127.0.0.1:1/db?sslmode=verify-full&sslrootcert=/nowhere/ca.pem';
  await requestCancel({ connectionString }, key, longMs);
});
