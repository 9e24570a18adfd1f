import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { request } from 'undici';
import { describe, expect, it } from 'vitest';
import { type Json, serve, storeTypes, type TestServer, textOf } from '../support/harness.ts';
import { errorOf } from '../support/open-server.ts';
import { serveScripted } from '../support/scripted-server.ts';

const path = '/v1/responses';
const good = { model: 'demo', input: 'Say exactly: hello' };
const goodJson = JSON.stringify(good);
const kib = 1024;

/** Sends these bytes and expects this refusal; then the server must still serve. */
async function refused(
  server: TestServer,
  body: string | Uint8Array | undefined,
  code: string,
  headers: Record<string, string> = {},
): Promise<Json> {
  const answer = await server.send('POST', path, body, headers);
  expect(errorOf(answer)).toBe(code);
  expect(answer.headers.get('x-request-id')).toMatch(/^req_/);
  expect(answer.body.error.type).toBe('invalid_request_error');
  await works(server);
  return answer;
}

async function works(server: TestServer): Promise<void> {
  expect(textOf(await server.respond(good))).toBe('hello');
}

/** A body without a known length. */
function chunked(bytes: Uint8Array): RequestInit {
  const stream = new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 1000) controller.enqueue(bytes.subarray(at, at + 1000));
      controller.close();
    },
  });
  return {
    method: 'POST',
    body: stream,
    duplex: 'half',
    headers: { 'content-type': 'application/json' },
  } as RequestInit;
}

describe('what is no JSON object', () => {
  it.each<[string, string | Uint8Array, string]>([
    ['an open brace', '{', '400 invalid_json'],
    ['a word', 'hello', '400 invalid_json'],
    ['single quotes', "{'model':'demo'}", '400 invalid_json'],
    ['a trailing comma', '{"model":"demo",}', '400 invalid_json'],
    ['a comment', '{"model":"demo"/*x*/}', '400 invalid_json'],
    ['two values', `${goodJson}${goodJson}`, '400 invalid_json'],
    ['NaN', '{"model":"demo","input":"x","temperature":NaN}', '400 invalid_json'],
    ['a raw line break in a string', '{"model":"demo","input":"a\nb"}', '400 invalid_json'],
    ['a raw NUL', '{"model":"demo","input":"a\0b"}', '400 invalid_json'],
    ['a bad escape', '{"model":"demo","input":"\\x41"}', '400 invalid_json'],
    ['an open string', '{"model":"demo","input":"x', '400 invalid_json'],
    ['a string that ends in a backslash', '{"model":"demo","input":"x\\"}', '400 invalid_json'],
    ['closing brackets', ']]]]', '400 invalid_json'],
    ['a form', 'model=demo&input=x', '400 invalid_json'],
    ['white space', ' \r\n\t ', '400 invalid_json'],
    ['bytes that are not UTF-8', Buffer.from('{"model":"demo","input":"\xff"}', 'latin1'), '400 invalid_json'],
    ['UTF-16', Buffer.from(goodJson, 'utf16le'), '400 invalid_json'],
    ['an overlong escape of UTF-8', Buffer.from([0x22, 0xc0, 0xaf, 0x22]), '400 invalid_json'],
    ['a surrogate in UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), '400 invalid_json'],
    ['gzip without saying so', gzipSync(goodJson), '400 invalid_json'],
    ['nothing', '', '400 null'],
    ['null', 'null', '400 invalid_type'],
    ['a number', '1', '400 invalid_type'],
    ['a string', '"hello"', '400 invalid_type'],
    ['a list', '[]', '400 invalid_type'],
    ['true', 'true', '400 invalid_type'],
  ])('%s', async (_, body, code) => {
    await refused(await serve(), body, code);
  });

  it('a conversation needs no body; one that is null is not none', async () => {
    const server = await serve();
    for (const body of [undefined, '', '{}']) expect((await server.post('/v1/conversations', body)).status).toBe(200);
    for (const body of ['null', '[]', '0', '""', 'false']) {
      expect(errorOf(await server.post('/v1/conversations', body)), body).toBe('400 invalid_type');
    }
  });

  it('a message about it quotes no more than a little of it', async () => {
    const answer = await refused(await serve(), `{"model": ${'secret '.repeat(1000)}`, '400 invalid_json');
    expect(answer.body.error.message.length).toBeLessThan(200);
  });

  it('a byte order mark is no part of it, once', async () => {
    const server = await serve();
    expect((await server.post(path, `\ufeff${goodJson}`)).status).toBe(200);
    await refused(server, `\ufeff\ufeff${goodJson}`, '400 invalid_json');
  });
});

describe('content types', () => {
  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonp',
    'application/json5',
    'application/ld+json',
    'text/json',
    'application/json; charset=latin1',
    'application/json; charset="utf-16"',
    'json',
    'application / json',
    ',',
  ])('%s is refused', async (type) => {
    await refused(await serve(), goodJson, '415 null', { 'content-type': type });
  });

  it.each([
    'application/json',
    'Application/JSON',
    'application/json;charset=UTF-8',
    'application/json; charset="utf8"',
  ])('%s is read', async (type) => {
    expect((await (await serve()).post(path, goodJson, { 'content-type': type })).status).toBe(200);
  });

  it('none is refused, with a length and without', async () => {
    const server = await serve();
    await refused(server, Buffer.from(goodJson), '415 null', { 'content-type': '' });
    const init = chunked(Buffer.from(goodJson));
    const answer = await fetch(`${server.url}${path}`, { ...init, headers: {} });
    expect(errorOf({ status: answer.status, body: await answer.json() })).toBe('415 null');
    await works(server);
  });

  it('a conversation needs no body at all, but what comes must be JSON', async () => {
    const server = await serve();
    expect((await server.send('POST', '/v1/conversations')).status).toBe(200);
    expect((await server.send('POST', '/v1/conversations', '')).status).toBe(200);
    for (const body of ['1', '[]', '"x"']) {
      expect((await server.send('POST', '/v1/conversations', body)).status, body).toBe(400);
    }
    expect((await server.send('POST', '/v1/conversations', 'x', { 'content-type': 'text/plain' })).status).toBe(415);
  });

  it.each(['GET', 'DELETE'])('a body on %s is not looked at', async (method) => {
    const server = await serve();
    for (const [body, type] of [
      ['{broken', 'application/json'],
      ['text', 'text/plain'],
    ] as const) {
      const { statusCode } = await withBody(server, method, '/v1/responses/resp_1', body, type);
      expect(statusCode).toBe(404);
    }
    await works(server);
  });
});

/** fetch refuses to send a body with GET. */
async function withBody(server: TestServer, method: string, target: string, body: string, type: string) {
  const answer = await request(`${server.url}${target}`, {
    method: method as 'GET',
    body,
    headers: { 'content-type': type },
  });
  await answer.body.dump();
  return answer;
}

describe('size and encoding', () => {
  const limits = { 'http.max-body': '64KiB' };
  const large = Buffer.from(JSON.stringify({ model: 'demo', input: 'x'.repeat(65 * kib) }));
  const bomb = Buffer.from(JSON.stringify({ model: 'demo', input: 'x'.repeat(32 * kib * kib) }));
  const fits = Buffer.from(JSON.stringify({ model: 'demo', input: `Say exactly: ${'x'.repeat(63 * kib)}` }));

  it('a body may be as large as the limit and no larger, whether its length is given or not', async () => {
    const server = await serve(limits);
    expect((await server.post(path, fits)).status).toBe(200);
    await refused(server, large, '413 request_too_large');
    const answer = await fetch(`${server.url}${path}`, chunked(large));
    expect(errorOf({ status: answer.status, body: await answer.json() })).toBe('413 request_too_large');
    expect((await fetch(`${server.url}${path}`, chunked(fits))).status).toBe(200);
  });

  it('a body that exceeds the limit by far is refused all the same', async () => {
    await refused(await serve(limits), bomb, '413 request_too_large');
  });

  const encodings = [
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['GZIP', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
    ['identity', (bytes: Buffer) => bytes],
  ] as const;

  it.each(encodings)('%s: read; bounded by what it unpacks to', async (encoding, pack) => {
    const server = await serve(limits);
    const headers = { 'content-encoding': encoding };
    expect((await server.post(path, pack(fits), headers)).status).toBe(200);
    await refused(server, pack(large), '413 request_too_large', headers);
    await refused(server, pack(bomb), '413 request_too_large', headers);
  });

  it.each(encodings.slice(0, 6))('%s: corrupt, truncated, or nothing at all', async (encoding, pack) => {
    const server = await serve();
    const headers = { 'content-encoding': encoding };
    const whole = pack(Buffer.from(goodJson));
    await refused(server, whole.subarray(0, whole.length - 6), '400 invalid_json', headers);
    await refused(server, Buffer.from('this was never compressed'), '400 invalid_json', headers);
    const torn = Buffer.from(pack(Buffer.from(JSON.stringify({ ...good, input: 'abc'.repeat(50_000) }))));
    torn.fill(0xa5, 8, torn.length - 4);
    await refused(server, torn, '400 invalid_json', headers);
  });

  it.each(['compress', 'gzip, gzip', 'gzip;q=1', 'rot13', '*'])('%s is refused by name', async (encoding) => {
    const answer = await refused(await serve(), goodJson, '415 null', { 'content-encoding': encoding });
    expect(answer.body.error.message).toContain('gzip, deflate, br, zstd');
  });

  it('raw deflate, which some clients call deflate, is refused and not misread', async () => {
    await refused(await serve(), deflateRawSync(goodJson), '400 invalid_json', { 'content-encoding': 'deflate' });
  });
});

describe('depth', () => {
  it.each([
    ['lists', `${'['.repeat(100_000)}`],
    ['lists that are closed', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    ['objects', '{"a":'.repeat(100_000)],
    ['257 levels', `{"model":"demo","input":${'['.repeat(256)}${']'.repeat(256)}}`],
    ['after a string with an escaped quote', `{"model":"a\\"","input":${'['.repeat(300)}`],
    ['after a string that ends in a backslash', `{"model":"a\\\\","input":${'['.repeat(300)}`],
  ])('%s are refused', async (_, body) => {
    const answer = await refused(await serve(), body, '400 null');
    expect(answer.body.error.message).toContain('256 levels');
  });

  it.each(['['.repeat(5000), '{"a":'.repeat(5000), '\\"['.repeat(3000), '"]}\\'.repeat(3000)])(
    'brackets within strings are text',
    async (text) => {
      const server = await serve();
      const { id } = await server.respond({ model: 'demo', input: text, store: true });
      const items = await server.get(`/v1/responses/${id}/input_items`);
      expect(items.body.data[0].content[0].text).toBe(text);
    },
  );

  it('a schema may nest as deep as the limit allows', async () => {
    const { server, upstream } = await serveScripted();
    let schema: Json = { type: 'string' };
    for (let depth = 0; depth < 100; depth++) schema = { type: 'object', properties: { a: schema } };
    const tools = [{ type: 'function', name: 'f', parameters: schema }];
    await server.respond({ model: 'm', input: 'x', tools });
    expect(upstream.requests[0]?.body.tools[0].function.parameters).toEqual(schema);
  });
});

describe('what would take long to parse is refused before it is', () => {
  const list = (each: string, count: number) => `[${Array(count).fill(each).join()}]`;
  const input = (value: string) => `{"model":"demo","input":${value}}`;
  const names = (count: number, name: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => `${JSON.stringify(name(index))}:0`).join();
  const permuted = (index: number) => {
    const all = [...'abcdefghijklmnopqrstuvwxyz'];
    for (let at = 0, rest = index; at < 12; at++, rest = Math.trunc(rest / 2)) {
      if (rest % 2 === 1) all.push(...all.splice(at, 1));
    }
    return `{${all.map((letter) => `"${letter}":0`).join()}}`;
  };

  it.each<[string, () => string, string]>([
    ['many numbers', () => input(list('0', 1_000_001)), '1000000 values'],
    ['many empty objects', () => input(list('{}', 500_001)), '1000000 values'],
    ['many empty lists', () => input(list('[]', 500_001)), '1000000 values'],
    ['items with many parts', () => input(list(`{"content":${list('{}', 100)}}`, 50_000)), '1000000 values'],
    ['many names in one object', () => `{${names(60_000, (index) => `k${index}`)}}`, '50000 different properties'],
    [
      'many long names',
      () => `{${names(60_000, (index) => `${'k'.repeat(70)}${index}`)}}`,
      '50000 different properties',
    ],
    [
      'names of escapes',
      () => `{${names(60_000, (index) => index.toString(2).replace(/0/g, '\n').replace(/1/g, '\t'))}}`,
      '50000 different properties',
    ],
    [
      'many objects of a few names each',
      () =>
        input(`[${Array.from({ length: 9_000 }, (_, index) => `{${names(10, (at) => `k${index}-${at}`)}}`).join()}]`),
      '50000 different properties',
    ],
    [
      'the same names in many orders',
      () => input(`[${Array.from({ length: 4_096 }, (_, index) => permuted(index)).join()}]`),
      '50000 different properties',
    ],
  ])('%s', async (_, make, limit) => {
    const answer = await refused(await serve(), make(), '400 null');
    expect(answer.body.error.message).toBe(`The body of your request has more than ${limit}.`);
  });

  it('the largest input that is allowed is read, and one item or part more is refused by its own limit', async () => {
    const { server, upstream } = await serveScripted();
    const part = '{"type":"input_text","text":"x, {y} [z]: \\"quoted\\""}';
    const message = `{"type":"message","role":"user","content":${list(part, 2)}}`;
    expect((await server.post(path, input(list(message, 50_000)).replace('demo', 'm'))).status).toBe(200);
    expect(upstream.requests[0]?.body.messages).toHaveLength(50_000);
    const more = `{"type":"message","role":"user","content":${list(part, 3)}}`;
    const parts = await server.post(path, input(list(more, 50_000)));
    expect(parts.body.error).toMatchObject({ code: 'array_above_max_length', param: 'input' });
    expect((await server.post(path, input(list(message, 50_001)))).body.error.code).toBe('array_above_max_length');
  });

  it('images up to the limit of a body are read, and text full of quotes and commas', async () => {
    const { server } = await serveScripted();
    const image = (size: number) => ({ type: 'input_image', image_url: `data:image/png;base64,${'A'.repeat(size)}` });
    const text = { type: 'input_text', text: '"{[,:]}" \\'.repeat(200_000) };
    const content = [image(20_000_000), image(20_000_000), text];
    const { status } = await server.post(path, { model: 'm', input: [{ role: 'user', content }] });
    expect(status).toBe(200);
  });

  it('a thousand tools of the same form are few properties', async () => {
    const { server } = await serveScripted();
    const properties = Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => [`property_${index}`, { type: 'string', description: 'x'.repeat(50) }]),
    );
    const tools = Array.from({ length: 512 }, (_, index) => ({
      ...{ type: 'function', name: `f${index}` },
      parameters: { type: 'object', properties: { [`own_${index}`]: { type: 'string' }, ...properties } },
    }));
    expect((await server.post(path, { model: 'm', input: 'x', tools })).status).toBe(200);
  });
});

describe.each(storeTypes)('odd values on %s', (store) => {
  const odd = [
    'a\0b',
    '\ud800',
    'x\udc00y',
    '\u2028\u2029',
    '\ufeff',
    '😀',
    '\u001b[31m',
    '</script>',
    '\\u0000',
    '𝒳\r\n',
  ];

  it('text goes through unchanged: to the model, into the store, and out again', async () => {
    const { server, upstream } = await serveScripted(undefined, {}, store);
    for (const text of odd) {
      const metadata = { [text]: text };
      const answer = await server.respond({ model: 'm', input: text, instructions: text, store: true, metadata });
      expect(upstream.requests.at(-1)?.body.messages.map((each: Json) => each.content)).toEqual([text, text]);
      const stored = (await server.get(`${path}/${answer.id}`)).body;
      expect(stored).toMatchObject({ instructions: text, metadata });
      expect((await server.get(`${path}/${answer.id}/input_items`)).body.data[0].content[0].text).toBe(text);
      const { body } = await server.post('/v1/conversations', { metadata, items: [{ role: 'user', content: text }] });
      expect((await server.get(`/v1/conversations/${body.id}`)).body.metadata).toEqual(metadata);
      const items = (await server.get(`/v1/conversations/${body.id}/items`)).body.data;
      expect(items[0].content[0].text).toBe(text);
    }
  });

  it('the names of what every object inherits are plain keys', async () => {
    const { server } = await serveScripted(undefined, {}, store);
    const metadata = '{"__proto__":"a","constructor":"b","toString":"c","hasOwnProperty":"d"}';
    const answer = await server.post(path, `{"model":"m","input":"x","store":true,"metadata":${metadata}}`);
    expect(answer.status).toBe(200);
    const { body } = await server.get(`${path}/${answer.body.id}`);
    expect(JSON.stringify(body.metadata)).toBe(metadata);
    const conversation = await server.post('/v1/conversations', `{"metadata":${metadata}}`);
    const read = await server.get(`/v1/conversations/${conversation.body.id}`);
    expect(JSON.stringify(read.body.metadata)).toBe(metadata);
    expect(({} as Json).a).toBeUndefined();
  });
});

describe('fields', () => {
  it.each([
    ['__proto__', '{"model":"demo","input":"x","__proto__":{"store":true}}'],
    ['constructor', '{"model":"demo","input":"x","constructor":{"prototype":{"a":1}}}'],
    ['toString', '{"model":"demo","input":"x","toString":1}'],
  ])('%s is an unknown parameter', async (name, body) => {
    const answer = await refused(await serve(), body, '400 unknown_parameter');
    expect(answer.body.error.param).toBe(name);
  });

  it('of a field that is given twice the last counts, for us and for the model', async () => {
    const { server, upstream } = await serveScripted();
    await server.post(path, '{"model":"a","input":"x","model":"b","input":"y"}');
    expect(upstream.requests[0]?.body).toMatchObject({ model: 'b', messages: [{ content: 'y' }] });
    expect(upstream.requests[0]?.raw).not.toContain('"x"');
  });

  it.each(['1e999', '-1e999'])('the number %s is refused', async (number) => {
    const answer = await refused(
      await serve(),
      `{"model":"demo","input":"x","temperature":${number}}`,
      '400 invalid_type',
    );
    expect(answer.body.error.param).toBe('temperature');
  });
});
