import { expect, it } from 'vitest';
import { eventsOf, serve, type TestServer, textOf } from '../support/harness.ts';
import { errorOf } from '../support/open-server.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { serveScripted } from '../support/scripted-server.ts';
import { answerText, chunk, hang, hangAfter, type Reply } from '../support/upstream.ts';

const post = 'POST /v1/responses HTTP/1.1';
const local = 'host: localhost';
const json = 'content-type: application/json';
const body = JSON.stringify({ model: 'demo', input: 'Say exactly: hello' });

async function works(server: TestServer): Promise<void> {
  expect(textOf(await server.respond({ model: 'demo', input: 'Say exactly: hello' }))).toBe('hello');
}

it.each([
  'hello\r\n\r\n',
  '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'GET /v1/models\r\n\r\n',
  'GET /v1/models HTTP/9.9\r\n\r\n',
  'FETCH /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n',
  'GET /v1/models HTTP/1.1\r\nhost localhost\r\n\r\n',
  'GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n',
  'GET /v1/models HTTP/1.1\r\nhost : localhost\r\n\r\n',
  `${post}\r\n${local}\r\n${json}\r\ncontent-length: -1\r\n\r\n`,
  `${post}\r\n${local}\r\n${json}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n`,
  `${post}\r\n${local}\r\n${json}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
  `${post}\r\n${local}\r\n${json}\r\ntransfer-encoding: chunked\r\n\r\nnot a size\r\n`,
])('what is no HTTP gets an error of the API, and the connection ends: %j', async (text) => {
  const server = await serve();
  const socket = await RawSocket.open(server.url);
  socket.write(Buffer.from(text, 'latin1'));
  const answer = await socket.answer();
  expect(errorOf(answer)).toBe('400 null');
  expect(answer.headers['connection']).toBe('close');
  expect(answer.headers['x-request-id']).toMatch(/^req_/);
  await socket.closed;
  expect(socket.rest).toBe('');
  await works(server);
});

it('headers that are too large get 431', async () => {
  const server = await serve();
  for (const [line, headers] of [
    ['GET /v1/models HTTP/1.1', [local, `x-large: ${'x'.repeat(20_000)}`]],
    [`GET /v1/models/${'x'.repeat(20_000)} HTTP/1.1`, [local]],
  ] as const) {
    const socket = await RawSocket.open(server.url);
    socket.send(line, headers);
    const answer = await socket.answer();
    expect(errorOf(answer)).toBe('431 null');
    expect(answer.headers['x-request-id']).toMatch(/^req_/);
    await socket.closed;
  }
  await works(server);
});

it.each<[string, (socket: RawSocket) => void]>([
  ['a request line', (socket) => socket.write('GET /v1/mod')],
  ['headers', (socket) => socket.write(`${post}\r\n${local}\r\n`)],
  ['a body', (socket) => socket.write(`${post}\r\n${local}\r\n${json}\r\ncontent-length: 100\r\n\r\n{"model"`)],
  [
    'a chunked body',
    (socket) => socket.write(`${post}\r\n${local}\r\n${json}\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"a`),
  ],
  [
    'a compressed body',
    (socket) =>
      socket.write(`${post}\r\n${local}\r\n${json}\r\ncontent-encoding: gzip\r\ncontent-length: 100\r\n\r\n\x1f`),
  ],
])('a client that is slow with %s gets 408', async (_, begin) => {
  const server = await serve({ 'http.headers-timeout': '50ms', 'http.body-timeout': '100ms' });
  const socket = await RawSocket.open(server.url);
  begin(socket);
  const answer = await socket.answer();
  expect(errorOf(answer)).toBe('408 null');
  expect(answer.headers['x-request-id']).toMatch(/^req_/);
  await socket.closed;
  await works(server);
});

it('a body may take less time than the headers are allowed', async () => {
  await works(await serve({ 'http.headers-timeout': '60s', 'http.body-timeout': '1s' }));
});

it('a client that goes in the middle of its body leaves nothing behind', async () => {
  const { server, upstream } = await serveScripted();
  for (const encoding of ['identity', 'gzip']) {
    for (const framing of [
      'content-length: 100\r\n\r\n{"model":',
      'transfer-encoding: chunked\r\n\r\n9\r\n{"model":\r\n',
    ]) {
      const socket = await RawSocket.open(server.url);
      socket.write(
        `${post}\r\n${local}\r\n${json}\r\ncontent-encoding: ${encoding}\r\nexpect: 100-continue\r\n${framing}`,
      );
      expect((await socket.answer()).status).toBe(100);
      socket.socket.resetAndDestroy();
      await socket.closed;
    }
  }
  expect(upstream.requests).toEqual([]);
  await works(server);
});

it('Expect: 100-continue is continued; another expectation is ignored', async () => {
  const server = await serve();
  const socket = await RawSocket.open(server.url);
  socket.write(`${post}\r\n${local}\r\n${json}\r\nexpect: 100-continue\r\ncontent-length: ${body.length}\r\n\r\n`);
  expect((await socket.answer()).status).toBe(100);
  socket.write(body);
  const answer = await socket.answer();
  expect(textOf(answer.body)).toBe('hello');
  socket.send(post, [local, json, 'expect: a miracle'], body);
  expect(textOf((await socket.answer()).body)).toBe('hello');
});

it('pipelined requests are answered in their order, also behind a stream', async () => {
  const server = await serve({ 'demo.chunk-delay': '1ms' });
  const socket = await RawSocket.open(server.url);
  const say = (text: string, stream: boolean) =>
    JSON.stringify({ model: 'demo', input: `Say exactly: ${text}`, stream });
  socket.send(post, [local, json], say('one', true));
  socket.send(post, [local, json], say('two', false));
  socket.send('GET /v1/nothing HTTP/1.1', [local]);
  socket.send(post, [local, json], say('three', true));
  socket.send('GET /healthz HTTP/1.1', [local]);
  socket.send(post, [local, json], '{');
  expect(textOf(eventsOf((await socket.answer()).text).at(-1)?.data.response)).toBe('one');
  expect(textOf((await socket.answer()).body)).toBe('two');
  expect(errorOf(await socket.answer())).toBe('404 unknown_url');
  expect(textOf(eventsOf((await socket.answer()).text).at(-1)?.data.response)).toBe('three');
  expect((await socket.answer()).status).toBe(200);
  expect(errorOf(await socket.answer())).toBe('400 invalid_json');
});

it('garbage behind a request whose answer has begun ends the connection without a word into that answer', async () => {
  const { server, upstream } = await serveScripted(hangAfter([chunk({ content: 'half' })]));
  const socket = await RawSocket.open(server.url);
  const seen = new Promise<void>((resolve) => {
    socket.socket.on('data', () => {
      if (socket.rest.includes('"delta":"half"')) resolve();
    });
  });
  socket.send(post, [local, json], JSON.stringify({ model: 'm', input: 'x', stream: true }));
  await seen;
  socket.write('garbage\r\n\r\n');
  await socket.closed;
  expect(socket.rest.match(/HTTP\/1\.1/g)).toHaveLength(1);
  expect(socket.rest).not.toContain('not valid HTTP');
  await upstream.requests[0]?.gone;
  await works(server);
});

it('a client that breaks the connection behind its request ends the upstream call', async () => {
  const { server, upstream } = await serveScripted(hang);
  const socket = await RawSocket.open(server.url);
  socket.send(post, [local, json], JSON.stringify({ model: 'm', input: 'x' }));
  const request = await upstream.request(0);
  socket.socket.destroy();
  await request.gone;
  await works(server);
});

it('a connection is used again after an error, and after a stream', async () => {
  const { server } = await serveScripted(answerText('hello'));
  const socket = await RawSocket.open(server.url);
  for (let round = 0; round < 3; round++) {
    socket.send(post, [local, json], '{"model": 1}');
    expect(errorOf(await socket.answer())).toBe('400 invalid_type');
    socket.send(post, [local, json], JSON.stringify({ model: 'm', input: 'x', stream: true }));
    expect((await socket.answer()).text).toContain('response.completed');
    socket.send('GET /v1/responses/resp_1 HTTP/1.1', [local]);
    expect(errorOf(await socket.answer())).toBe('404 null');
  }
});

it('HTTP/1.0 is answered, a stream too', async () => {
  const server = await serve();
  const socket = await RawSocket.open(server.url);
  const stream = JSON.stringify({ model: 'demo', input: 'Say exactly: hello', stream: true });
  socket.send('POST /v1/responses HTTP/1.0', [local, json], stream);
  await socket.closed;
  const { text } = await socket.answer();
  expect(textOf(eventsOf(text).at(-1)?.data.response)).toBe('hello');
});

it('an upgrade that nobody offers is an ordinary request', async () => {
  const server = await serve();
  const socket = await RawSocket.open(server.url);
  socket.send('GET /v1/responses HTTP/1.1', [local, 'connection: upgrade', 'upgrade: websocket']);
  expect(errorOf(await socket.answer())).toBe('404 unknown_url');
  const tunnel = await RawSocket.open(server.url);
  tunnel.send('CONNECT example.com:443 HTTP/1.1', ['host: example.com:443']);
  await tunnel.closed;
  expect(tunnel.rest).not.toContain('200');
  await works(server);
});

it('what the upstream still says to a client that is gone harms nobody', async () => {
  const opened = Promise.withResolvers<Reply>();
  const { server } = await serveScripted((reply) => {
    reply.open();
    opened.resolve(reply);
  });
  const open = await server.open({ model: 'm', input: 'x' });
  const reply = await opened.promise;
  open.leave();
  for (let at = 0; at < 100; at++) reply.event(chunk({ content: 'word ' }));
  await reply.request.gone;
  await works(server);
});
