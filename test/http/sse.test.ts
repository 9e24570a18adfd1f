import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { SseStream } from '../../src/http/sse.ts';

type Opened = {
  readonly client: Socket;
  readonly raw: ServerResponse;
  readonly sse: SseStream;
  readonly full: boolean[];
};

const large = JSON.stringify('x'.repeat(32 * 1024 * 1024));

/** A stream over a socket of its own, whose client does not read yet. */
async function openStream(options: { keepAliveMs?: number; writeTimeoutMs?: number } = {}): Promise<Opened> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  onTestFinished(() => {
    client.destroy();
    server.close();
    server.closeAllConnections();
  });
  client.pause();
  client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  const [, raw] = (await once(server, 'request')) as [unknown, ServerResponse];
  const full: boolean[] = [];
  const onPressure = (isFull: boolean): void => void full.push(isFull);
  const defaults = { keepAliveMs: 60_000, writeTimeoutMs: 20, done: true, onPressure };
  return { client, raw, sse: new SseStream(raw, {}, { ...defaults, ...options }), full };
}

/** Reads until this text has come. */
async function readUntil(client: Socket, text: string): Promise<void> {
  let tail = '';
  for await (const bytes of client.iterator({ destroyOnReturn: false })) {
    tail = (tail + String(bytes)).slice(-1000);
    if (tail.includes(text)) return;
  }
  throw new Error(`the connection ended after: ${tail}`);
}

it('a client that takes nothing of what waits for it is cut off', async () => {
  const { raw, sse, full } = await openStream();
  sse.event('a', large);
  await once(raw, 'close');
  expect(full).toEqual([true]);
  expect(raw.writableFinished).toBe(false);
});

it('the same where it never takes the end', async () => {
  const { raw, sse } = await openStream();
  sse.event('a', large);
  sse.end();
  await once(raw, 'close');
  expect(raw.writableFinished).toBe(false);
});

it('a client that has taken everything may wait for as long as nothing comes', async () => {
  const { client, raw, sse, full } = await openStream({ keepAliveMs: 1_500, writeTimeoutMs: 500 });
  sse.event('a', large);
  await readUntil(client, ': ka');
  expect(full).toEqual([true, false]);
  sse.event('b', '"after"');
  sse.end();
  await readUntil(client, 'data: [DONE]');
  expect(raw.writableEnded).toBe(true);
});

it('after the end the connection has its own time again', async () => {
  const { client, raw, sse } = await openStream({ writeTimeoutMs: 500 });
  const socket = raw.socket;
  sse.event('a', large);
  sse.end();
  await readUntil(client, 'data: [DONE]');
  if (!raw.writableFinished) await once(raw, 'finish');
  expect(socket?.timeout).toBeGreaterThan(1_000);
});
