import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import type { RunningServer } from '../../src/server.ts';
import { serve, start, storeSettings, storeTypes, TestServer, textOf } from '../support/harness.ts';
import { errorOf } from '../support/open-server.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { chunk, hangAfter, type Reply, startUpstream, textChunks, type Upstream } from '../support/upstream.ts';

const ask = { model: 'm', input: 'x', store: true };
const post = 'POST /v1/responses HTTP/1.1';
const local = 'host: localhost';
const json = 'content-type: application/json';

type Held = { readonly server: TestServer; readonly upstream: Upstream; readonly replies: Reply[]; finish: () => void };

/** A server whose upstream has begun an answer and goes on when it is told to. */
async function serveHeld(settings: Record<string, string> = {}): Promise<Held> {
  const replies: Reply[] = [];
  const upstream = await startUpstream((reply, request) => {
    replies.push(reply);
    if (request.body?.stream !== true) return;
    reply.open();
    reply.event(chunk({ role: 'assistant', content: 'half ' }));
  });
  onTestFinished(() => upstream.close());
  const server = await serve({ 'providers.up.base-url': upstream.url, 'default-provider': 'up', ...settings });
  const finish = () => {
    for (const reply of replies) {
      for (const each of textChunks('and whole').slice(1)) reply.event(each);
      reply.event('[DONE]');
      reply.end();
    }
  };
  return { server, upstream, replies, finish };
}

async function expectFree(running: RunningServer): Promise<void> {
  const port = Number(new URL(running.url).port);
  const other = createServer().listen(port, '127.0.0.1');
  await once(other, 'listening');
  other.close();
  await once(other, 'close');
}

it('while a stream is open, whoever comes is told to come back, and the stream finishes', async () => {
  const { server, finish } = await serveHeld();
  const before = await RawSocket.open(server.url);
  before.write('GET /v1/mod');
  const open = await server.open(ask);
  await open.until('response.output_text.delta');
  const closing = server.running.close();
  before.write('els HTTP/1.1\r\nhost: localhost\r\n\r\n');
  const late = await before.answer();
  expect(errorOf(late)).toBe('503 null');
  expect(late.headers).toMatchObject({ connection: 'close', 'retry-after': '1', 'retry-after-ms': '1000' });
  await before.closed;
  for (const [method, path, body] of [
    ['POST', '/v1/responses', ask],
    ['POST', '/v1/responses', { ...ask, stream: true }],
    ['GET', '/v1/models', undefined],
    ['POST', '/v1/conversations', {}],
    ['GET', '/v1/nothing', undefined],
  ] as const) {
    const answer = await server.send(method, path, body);
    expect(errorOf(answer), path).toBe('503 null');
    expect(answer.body.error).toMatchObject({ type: 'server_error', message: 'The server is stopping.' });
    expect(answer.headers.get('x-should-retry')).toBe('true');
    expect(answer.headers.get('retry-after')).toBe('1');
    expect(answer.headers.get('x-request-id')).toMatch(/^req_/);
  }
  expect(await server.get('/healthz')).toMatchObject({ status: 200, body: { status: 'ok' } });
  const ready = await server.get('/readyz');
  expect(ready).toMatchObject({ status: 503, body: { status: 'stopping' } });
  expect(ready.headers.get('retry-after')).toBe('1');
  finish();
  const events = await open.rest();
  expect(events.at(-1)?.event).toBe('response.completed');
  expect(textOf(events.at(-1)?.data.response)).toBe('half and whole');
  await closing;
  await expect(server.get('/healthz')).rejects.toThrow();
  await expectFree(server.running);
});

it('a response that is no stream is answered too', async () => {
  const { server, upstream, replies } = await serveHeld();
  const asked = server.respond(ask);
  await upstream.request(0);
  const closing = server.running.close();
  expect((await server.get('/readyz')).status).toBe(503);
  const reply = replies[0];
  if (upstream.requests[0]?.body.stream === true) {
    for (const each of textChunks('done').slice(1)) reply?.event(each);
    reply?.end();
  } else {
    reply?.json({ choices: [{ index: 0, message: { role: 'assistant', content: 'done' }, finish_reason: 'stop' }] });
  }
  expect(textOf(await asked)).toContain('done');
  await closing;
});

it.each(storeTypes)('force ends a stream with an error and a failed response, which is kept (%s)', async (store) => {
  const settings = await storeSettings(store);
  const { server, upstream } = await serveHeld(settings);
  const open = await server.open(ask);
  const { response } = await open.until('response.created');
  await open.until('response.output_text.delta');
  const gentle = server.running.close();
  const forced = server.running.close({ force: true });
  const events = await open.rest();
  expect(events.slice(-2).map((each) => each.event)).toEqual(['error', 'response.failed']);
  expect(events.map((each) => each.event)).not.toContain('response.completed');
  expect(events.at(-2)?.data).toMatchObject({ type: 'error', message: 'The server is stopping.' });
  expect(events.at(-1)?.data.response).toMatchObject({ status: 'failed', error: { code: 'server_error' } });
  await Promise.all([gentle, forced]);
  await upstream.requests[0]?.gone;
  await expectFree(server.running);
  if (store === 'in-memory') return;
  const again = await serve(settings);
  const kept = await again.get(`/v1/responses/${response.id}`);
  expect(kept.body).toMatchObject({ status: 'failed', output: [{ status: 'incomplete' }] });
});

it('force before an upstream has answered is an error that can be tried again', async () => {
  const { server, upstream } = await serveHeld();
  upstream.use(() => {});
  const asked = [server.post('/v1/responses', ask), server.post('/v1/responses', { ...ask, stream: true })];
  await upstream.request(1);
  await server.running.close({ force: true });
  for (const answer of await Promise.all(asked)) {
    expect(errorOf(answer)).toBe('503 null');
    expect(answer.headers.get('retry-after')).toBe('1');
  }
});

it('what runs longer than the shutdown may take is ended', async () => {
  const { server } = await serveHeld({ 'server.shutdown-timeout': '20ms' });
  const open = await server.open(ask);
  await open.until('response.output_text.delta');
  const closing = server.running.close();
  expect((await open.rest()).at(-1)?.event).toBe('response.failed');
  await closing;
});

it('a connection on which nothing happens is closed at once, while a stream goes on', async () => {
  const { server, finish } = await serveHeld();
  const idle = await RawSocket.open(server.url);
  idle.send('GET /healthz HTTP/1.1', [local]);
  expect((await idle.answer()).headers['connection']).toBe('keep-alive');
  const open = await server.open(ask);
  await open.until('response.output_text.delta');
  const closing = server.running.close();
  await idle.closed;
  finish();
  expect((await open.rest()).at(-1)?.event).toBe('response.completed');
  await closing;
});

it('a request whose body comes too late starts nothing', async () => {
  const { server, upstream, finish } = await serveHeld();
  const body = JSON.stringify(ask);
  const slow = await RawSocket.open(server.url);
  slow.write(`${post}\r\n${local}\r\n${json}\r\nexpect: 100-continue\r\ncontent-length: ${body.length}\r\n\r\n`);
  expect((await slow.answer()).status).toBe(100);
  const open = await server.open(ask);
  await open.until('response.output_text.delta');
  const closing = server.running.close();
  slow.write(body);
  expect(errorOf(await slow.answer())).toBe('503 null');
  expect(upstream.requests).toHaveLength(1);
  finish();
  await open.rest();
  await closing;
});

it('the same where no run is left, and the server only waits for that body', async () => {
  const { server, upstream } = await serveHeld();
  const body = JSON.stringify(ask);
  const slow = await RawSocket.open(server.url);
  slow.write(`${post}\r\n${local}\r\n${json}\r\nexpect: 100-continue\r\ncontent-length: ${body.length}\r\n\r\n`);
  expect((await slow.answer()).status).toBe(100);
  const closing = server.running.close();
  slow.write(body);
  expect(errorOf(await slow.answer())).toBe('503 null');
  slow.send('GET /v1/models HTTP/1.1', [local]);
  await slow.closed;
  await closing;
  expect(upstream.requests).toEqual([]);
});

it('a client that never sends anything, or never the rest, does not keep the server', async () => {
  const { server } = await serveHeld();
  const mute = await RawSocket.open(server.url);
  const half = await RawSocket.open(server.url);
  half.write(`${post}\r\n${local}\r\n${json}\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n`);
  expect((await half.answer()).status).toBe(100);
  await server.running.close();
  await Promise.all([mute.closed, half.closed]);
});

it('a client that does not read does not keep the server either', async () => {
  const { server, upstream } = await serveHeld();
  upstream.use((reply) => {
    reply.open();
    return reply.endless(chunk({ content: 'again and again '.repeat(64) }));
  });
  const socket = await RawSocket.open(server.url);
  socket.socket.pause();
  socket.send(post, [local, json], JSON.stringify({ model: 'm', input: 'x', stream: true }));
  const request = await upstream.request(0);
  await server.running.close({ force: true });
  await request.gone;
});

it('can be closed twice, at the same time and later, gently and by force', async () => {
  const upstream = await startUpstream(hangAfter([]));
  onTestFinished(() => upstream.close());
  for (const store of storeTypes) {
    const running = await start(await storeSettings(store));
    await Promise.all([running.close(), running.close(), running.close({ force: true })]);
    await running.close();
    await running.close({ force: true });
    await expectFree(running);
  }
});

it('a file that was written is whole and free afterwards', async () => {
  const settings = await storeSettings('sqlite');
  const first = new TestServer(await start(settings));
  const { id } = await first.respond({ model: 'demo', input: 'x', store: true });
  await first.running.close();
  const second = await serve(settings);
  expect((await second.get(`/v1/responses/${id}`)).status).toBe(200);
});

it('a server that can not listen leaves nothing open', async () => {
  const server = await serve();
  const { port } = new URL(server.url);
  const settings = { 'server.port': port, ...(await storeSettings('sqlite')) };
  await expect(start(settings)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await server.running.close();
  await (await start(settings)).close();
});
