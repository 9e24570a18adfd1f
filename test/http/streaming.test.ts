import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { eventsOf, serve } from '../support/harness.ts';
import { serveScripted } from '../support/scripted-server.ts';
import {
  answerStatus,
  answerText,
  chunk,
  hang,
  hangAfter,
  type Reply,
  sseText,
  textChunks,
} from '../support/upstream.ts';

const model = 'm';

it('an SSE answer has the headers that keep proxies from buffering it, and ends with [DONE]', async () => {
  const { server } = await serveScripted();
  const answer = await fetch(`${server.url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, input: 'x', stream: true }),
  });
  expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  expect(answer.headers.get('cache-control')).toBe('no-cache');
  expect(answer.headers.get('x-accel-buffering')).toBe('no');
  expect(answer.headers.get('x-request-id')).toMatch(/^req_/);
  const text = await answer.text();
  expect(text.endsWith('\n\ndata: [DONE]\n\n')).toBe(true);
  expect(text).not.toMatch(/^id:|\r/m);
});

it('[DONE] can be turned off', async () => {
  const { server } = await serveScripted(undefined, { 'stream.done': 'false' });
  const { text } = await server.stream({ model, input: 'x' });
  expect(text).not.toContain('[DONE]');
});

it('a quiet stream sends comments', async () => {
  const opened = Promise.withResolvers<Reply>();
  const { server } = await serveScripted(
    (reply) => {
      reply.open();
      opened.resolve(reply);
    },
    { 'stream.keep-alive': '20ms' },
  );
  const answer = await fetch(`${server.url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, input: 'x', stream: true }),
  });
  const reply = await opened.promise;
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of answer.body ?? []) {
    text += decoder.decode(bytes, { stream: true });
    if (reply.response.writableEnded || (text.match(/^: ka$/gm)?.length ?? 0) < 2) continue;
    for (const each of textChunks('late')) reply.event(each);
    reply.end();
  }
  expect(eventsOf(text).at(-1)?.event).toBe('response.completed');
});

it('R13 after a while without an answer the stream begins, and a later failure is told by events', async () => {
  let answer: () => void = () => {};
  const { server } = await serveScripted(
    (reply, request) => {
      answer = () => void answerStatus(500, { error: { message: 'boom' } })(reply, request);
    },
    { 'stream.open-after': '30ms', 'stream.keep-alive': '10ms' },
  );
  const open = await server.open({ model, input: 'x', store: true });
  expect(open.status).toBe(200);
  const { response } = await open.until('response.in_progress');
  answer();
  const events = await open.rest();
  expect(events.map((each) => each.event)).toEqual([
    'response.created',
    'response.in_progress',
    'error',
    'response.failed',
  ]);
  expect((await server.get(`/v1/responses/${response.id}`)).body).toMatchObject({ status: 'failed', output: [] });
});

it('R11 a client that leaves before the first event ends the upstream call', async () => {
  const { server, upstream } = await serveScripted(hang);
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  const body = JSON.stringify({ model, input: 'x', stream: true, store: true });
  socket.write(
    `POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  const request = await upstream.request(0);
  socket.destroy();
  await request.gone;
});

it('R11 a client that leaves after the finish reason changes nothing: the response is completed', async () => {
  const { server, upstream } = await serveScripted((reply) => {
    reply.open();
    for (const each of textChunks('done')) reply.event(each);
    reply.event('[DONE]');
    reply.end();
  });
  const { body: conversation } = await server.post('/v1/conversations', {});
  const open = await server.open({ model, input: 'x', conversation: conversation.id });
  await open.until('response.output_item.done');
  open.leave();
  const path = `/v1/conversations/${conversation.id}/items`;
  upstream.use(answerText('next'));
  // The lock goes with the commit, so the next turn sees it.
  for (;;) {
    const next = await server.post('/v1/responses', { model, input: 'y', conversation: conversation.id });
    if (next.status === 200) break;
    expect(next.body.error.code).toBe('conversation_locked');
  }
  expect((await server.get(path)).body.data).toHaveLength(4);
});

it('R11 between the finish reason and the end of the connection, a client may leave as well', async () => {
  const opened = Promise.withResolvers<Reply>();
  const { server, upstream } = await serveScripted((reply) => {
    reply.open();
    reply.event(chunk({ content: 'said' }));
    reply.event(chunk({}, 'stop'));
    reply.event(chunk({ content: '' }));
    opened.resolve(reply);
  });
  const { body: conversation } = await server.post('/v1/conversations', {});
  const open = await server.open({ model, input: 'x', conversation: conversation.id });
  await open.until('response.output_text.delta');
  // The finish reason is behind the delta, and the upstream lingers.
  const reply = await opened.promise;
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  open.leave();
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  reply.end();
  upstream.use(answerText('next'));
  for (;;) {
    const next = await server.post('/v1/responses', { model, input: 'y', conversation: conversation.id });
    if (next.status === 200) break;
    expect(next.body.error.code).toBe('conversation_locked');
  }
  const items = await server.get(`/v1/conversations/${conversation.id}/items?order=asc`);
  expect(items.body.data.map((item: { content: { text: string }[] }) => item.content[0]?.text)).toEqual([
    'x',
    'said',
    'y',
    'next',
  ]);
});

it('R8 what a run builds on is not evicted while it runs', async () => {
  const { server, upstream } = await serveScripted(answerText('first'), { 'memory.max-threads': '4' });
  const first = await server.respond({ model, input: 'one', store: true });
  const opened = Promise.withResolvers<Reply>();
  upstream.use([
    (reply) => {
      reply.open();
      reply.event(chunk({ content: 'slow' }));
      opened.resolve(reply);
    },
    answerText('other'),
  ]);
  const open = await server.open({ model, input: 'two', previous_response_id: first.id, store: true });
  await open.until('response.output_text.delta');
  for (let turn = 0; turn < 12; turn++) await server.respond({ model, input: `other ${turn}`, store: true });
  const reply = await opened.promise;
  reply.event(chunk({}, 'stop'));
  reply.event('[DONE]');
  reply.end();
  const { response } = (await open.rest()).at(-1)?.data ?? {};
  expect(response.status).toBe('completed');
  const input = await server.get(`/v1/responses/${response.id}/input_items?order=asc`);
  expect(input.body.data.map((item: { content: { text: string }[] }) => item.content[0]?.text)).toEqual([
    'one',
    'first',
    'two',
  ]);
});

it('a client that does not read stops the upstream', async () => {
  const opened = Promise.withResolvers<Reply>();
  const { server } = await serveScripted(
    (reply) => {
      reply.open();
      opened.resolve(reply);
      return reply.endless(chunk({ content: 'again and again '.repeat(64) }));
    },
    { 'upstream.max-response': '1GiB' },
  );
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  const body = JSON.stringify({ model, input: 'x', stream: true });
  socket.pause();
  socket.write(
    `POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  const reply = await opened.promise;
  // Everything between the two is full once the upstream's socket has taken nothing for many turns in a row.
  let written = -1;
  for (let quiet = 0; quiet < 500; quiet++) {
    if (reply.written !== written) quiet = 0;
    written = reply.written;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(written).toBeLessThan(64 * 1024 * 1024);
  socket.destroy();
  await reply.request.gone;
});

/** Asks for a stream and reads nothing of it. */
function askUnread(url: string, body: object): Socket {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  const json = JSON.stringify({ ...body, stream: true });
  socket.pause();
  socket.write(
    `POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${json.length}\r\n\r\n${json}`,
  );
  return socket;
}

it('R11 R12 a client that reads nothing for long is gone: its call ends, and its conversation is free', async () => {
  const { server, upstream } = await serveScripted(
    (reply) => {
      reply.open();
      return reply.endless(chunk({ content: 'again and again '.repeat(64) }));
    },
    { 'upstream.max-response': '1GiB', 'http.write-timeout': '100ms' },
  );
  const conversation = (await server.post('/v1/conversations', {})).body.id;
  const socket = askUnread(server.url, { model, input: 'x', conversation });
  const request = await upstream.request(0);
  await request.gone;
  upstream.use(answerText('next'));
  // The lock goes soon after the call.
  for (;;) {
    const next = await server.post('/v1/responses', { model, input: 'y', conversation });
    if (next.status === 200) break;
    expect(next.body.error.code).toBe('conversation_locked');
  }
  socket.destroy();
});

it('a client that reads nothing of a large answer is cut off too', async () => {
  const server = await serve({ 'http.write-timeout': '100ms' });
  const content = [{ type: 'input_text', text: 'x'.repeat(8 * 1024 * 1024) }];
  const { id } = (await server.post('/v1/conversations', { items: [{ type: 'message', role: 'user', content }] })).body;
  for (let more = 0; more < 2; more += 1) {
    await server.post(`/v1/conversations/${id}/items`, { items: [{ type: 'message', role: 'user', content }] });
  }
  const started = Promise.withResolvers<{ readonly socket: Socket; readonly response: ServerResponse }>();
  const onStart = (message: unknown): void => started.resolve(message as Awaited<typeof started.promise>);
  subscribe('http.server.request.start', onStart);
  onTestFinished(() => void unsubscribe('http.server.request.start', onStart));
  const client = connect(Number(new URL(server.url).port), '127.0.0.1');
  onTestFinished(() => void client.destroy());
  client.pause();
  client.write(`GET /v1/conversations/${id}/items HTTP/1.1\r\nhost: localhost\r\n\r\n`);
  const { socket, response } = await started.promise;
  await once(socket, 'close');
  expect(response.writableFinished).toBe(false);
});

it('two streams of one server do not mix', async () => {
  const server = await serve();
  const texts = ['alpha', 'beta', 'gamma', 'delta'].map((word) => `${word} `.repeat(50).trim());
  const answers = await Promise.all(
    texts.map((text) => server.streamed({ model: 'demo', input: `Say exactly: ${text}` })),
  );
  expect(answers.map((answer) => answer.output[0].content[0].text)).toEqual(texts);
});

it('an upstream that says half and is silent leaves the stream open until the client goes', async () => {
  const { server, upstream } = await serveScripted(hangAfter([chunk({ content: 'half' })]));
  const open = await server.open({ model, input: 'x' });
  await open.until('response.output_text.delta');
  open.leave();
  await upstream.requests[0]?.gone;
});

it.each([true, false])(
  'pieces of text that come at the same moment leave together, unless told not to (%s)',
  async (joined) => {
    const pieces = ['one ', 'two ', 'three ', 'four'];
    const { server } = await serveScripted(
      (reply) => {
        const chunks = [...pieces.map((content) => chunk({ content })), chunk({}, 'stop')];
        reply.open();
        // In one packet.
        reply.response.write(sseText(chunks));
        reply.end();
      },
      { 'stream.join-deltas': String(joined) },
    );
    const { events } = await server.stream({ model, input: 'x' });
    const deltas = events
      .filter(({ event }) => event === 'response.output_text.delta')
      .map(({ data }) => data['delta']);
    expect(deltas).toEqual(joined ? [pieces.join('')] : pieces);
    expect(events.at(-1)?.data.response.output[0].content[0].text).toBe(pieces.join(''));
  },
);
