import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Connections } from '../../src/models/connections.ts';
import { Exchange } from '../../src/models/upstream/exchange.ts';

/** A server whose answers a test gives, and how many connections it saw. */
async function upstream() {
  const asked: { readonly request: IncomingMessage; readonly response: ServerResponse }[] = [];
  const sockets = new Set<Socket>();
  let wake = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    asked.push({ request, response });
    wake.resolve();
    wake = Promise.withResolvers();
  });
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const arrived = async (count: number) => {
    while (asked.length < count) await wake.promise;
    return asked;
  };
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, arrived, sockets, server };
}

function send(connections: Connections, origin: string, path: string) {
  const { promise, resolve } = Promise.withResolvers<string>();
  let text = '';
  const exchange = new Exchange({
    headers: () => {},
    data: (bytes) => {
      text += bytes.toString();
    },
    end: () => resolve(text),
    failed: (error) => resolve(`failed: ${(error as { code?: string }).code}`),
  });
  exchange.send(connections, { origin, path, method: 'GET' });
  return { exchange, result: promise };
}

function pool(max: number): Connections {
  const connections = new Connections({ pipelining: 1 }, max);
  onTestFinished(() => connections.destroy());
  return connections;
}

test('a connection serves one request at a time, and then the next', async () => {
  const { origin, arrived, sockets } = await upstream();
  const connections = pool(10);
  for (const path of ['/a', '/b', '/c']) {
    const { result } = send(connections, origin, path);
    (await arrived(path.charCodeAt(1) - 96)).at(-1)?.response.end(path);
    expect(await result).toBe(path);
  }
  expect(sockets.size).toBe(1);
});

test('there are at most so many, and who comes later waits in order', async () => {
  const { origin, arrived, sockets } = await upstream();
  const connections = pool(2);
  const sent = ['/a', '/b', '/c', '/d'].map((path) => send(connections, origin, path));
  const asked = await arrived(2);
  expect(asked.map(({ request }) => request.url).toSorted()).toEqual(['/a', '/b']);
  for (const { request, response } of asked.slice(0, 2)) response.end(request.url);
  await arrived(4);
  expect(
    asked
      .slice(2)
      .map(({ request }) => request.url)
      .toSorted(),
  ).toEqual(['/c', '/d']);
  for (const { request, response } of asked.slice(2)) response.end(request.url);
  expect(await Promise.all(sent.map(({ result }) => result))).toEqual(['/a', '/b', '/c', '/d']);
  expect(sockets.size).toBe(2);
});

test('a connection that breaks, or whose request is aborted, makes room for who waits', async () => {
  const { origin, arrived, sockets } = await upstream();
  const connections = pool(1);
  const first = send(connections, origin, '/a');
  const second = send(connections, origin, '/b');
  const third = send(connections, origin, '/c');
  (await arrived(1))[0]?.response.destroy();
  expect(await first.result).toBe('failed: UND_ERR_SOCKET');
  await arrived(2);
  second.exchange.abort();
  const asked = await arrived(3);
  asked[2]?.response.end('/c');
  expect(await third.result).toBe('/c');
  expect(asked.map(({ request }) => request.url)).toEqual(['/a', '/b', '/c']);
  expect(sockets.size).toBe(3);
});

test('a request that was aborted while it waited is never sent', async () => {
  const { origin, arrived } = await upstream();
  const connections = pool(1);
  const first = send(connections, origin, '/a');
  send(connections, origin, '/b').exchange.abort();
  const third = send(connections, origin, '/c');
  (await arrived(1))[0]?.response.end('/a');
  expect(await first.result).toBe('/a');
  const asked = await arrived(2);
  asked[1]?.response.end('/c');
  expect(await third.result).toBe('/c');
  expect(asked.map(({ request }) => request.url)).toEqual(['/a', '/c']);
});

test('a server that is not there fails each request, and is found when it is back', async () => {
  const { origin, arrived, server } = await upstream();
  const { port } = server.address() as AddressInfo;
  const connections = pool(1);
  server.close();
  await once(server, 'close');
  const sent = [send(connections, origin, '/a'), send(connections, origin, '/b')];
  expect(await Promise.all(sent.map(({ result }) => result))).toEqual(['failed: ECONNREFUSED', 'failed: ECONNREFUSED']);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const { result } = send(connections, origin, '/c');
  (await arrived(1))[0]?.response.end('/c');
  expect(await result).toBe('/c');
});

test('closing fails what is under way, what waits, and what comes later', async () => {
  const { origin, arrived } = await upstream();
  const connections = pool(1);
  const sent = [send(connections, origin, '/a'), send(connections, origin, '/b')];
  await arrived(1);
  await connections.destroy();
  sent.push(send(connections, origin, '/c'));
  expect(await Promise.all(sent.map(({ result }) => result))).toEqual([
    'failed: UND_ERR_DESTROYED',
    'failed: UND_ERR_DESTROYED',
    'failed: UND_ERR_CLOSED',
  ]);
});
