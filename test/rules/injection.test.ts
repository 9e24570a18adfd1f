import { describe, expect, it } from 'vitest';
import { routes } from '../../src/http/app.ts';
import { type Json, serve, storeTypes } from '../support/harness.ts';
import {
  brokenSegments,
  fitsHeader,
  nearMisses,
  oddKeys,
  oddObjects,
  oddQueries,
  oddStrings,
} from '../support/injection-corpus.ts';
import {
  idFields,
  leavesOf,
  mayBeId,
  objectsOf,
  oddMetadata,
  oddRequest,
  openFields,
  otherForms,
  put,
  shown,
  specimen,
  stringFieldsOf,
  stringsFrom,
  withProperty,
} from '../support/injection-fields.ts';
import {
  attackerKey,
  canaryKey,
  expectSame,
  hello,
  InjectionScene,
  wellFormedIds,
} from '../support/injection-scene.ts';
import { answerCalls } from '../support/upstream.ts';
import { checkConversation, checkResponse } from '../support/wire-schemas.ts';

/** Fields of a request that its response repeats. */
const echoed = [
  ...['instructions', 'metadata', 'user', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention'],
  ...['prompt_cache_options', 'text', 'tools', 'tool_choice', 'service_tier'],
];

/** What can be a segment of a path, once encoded: text, and no longer than the router takes. */
const segments = oddStrings.filter((each) => each.isWellFormed() && encodeURIComponent(each).length <= 512);
/** Others, as they are written. */
const rawSegments = ['%2e', '%2e%2e', '%252e%252e', '..%2f..%2fconversations', '%2f', '%00', '%7B%22$ne%22:1%7D'];

/** All that a query may hold, by the description. */
const queryNames = ['limit', 'order', 'after', 'include', 'stream', 'starting_after', 'include_obfuscation'];

/** Headers that clients and proxies send, and that change nothing here. */
const ignoredHeaders = [
  ...['accept', 'accept-language', 'user-agent', 'cookie', 'referer', 'range', 'if-none-match', 'expect'],
  ...['openai-organization', 'openai-project', 'openai-beta', 'idempotency-key', 'x-request-id', 'traceparent'],
  ...['x-forwarded-for', 'x-forwarded-host', 'x-stainless-lang', 'x-api-key', 'x-tenant'],
];

type Ids = { readonly conversation: string; readonly response: string; readonly item: string };

const ownItem = { role: 'user', content: 'own' };

/** A conversation with one item, and a response, of the attacker's own. */
async function ownIds(scene: InjectionScene): Promise<Ids> {
  const conversation = (await scene.post('/v1/conversations', { items: [ownItem] })).id;
  const item = (await scene.get(`/v1/conversations/${conversation}/items`)).data[0].id;
  const response = (await scene.post('/v1/responses', { model: 'm', input: 'own', store: true })).id;
  return { conversation, response, item };
}

/** Where ids stand in paths: every route that has one, once for each of its ids. */
const idRoutes = routes.flatMap(({ method, path }) =>
  [...path.matchAll(/:(response|conversation|item)_id|\*/g)].map((match) => ({
    method,
    path,
    hole: match[0],
    kind: (match[1] ?? 'model') as keyof Ids | 'model',
    body: method === 'POST' ? bodyOf(path) : undefined,
  })),
);

function bodyOf(path: string): Json {
  return path.endsWith('/items') ? { items: [ownItem] } : { metadata: { a: 'b' } };
}

function pathOf(route: (typeof idRoutes)[number], ids: Ids, segment: string): string {
  const { conversation, response, item } = ids;
  return route.path
    .replace(route.hole, () => segment)
    .replace(':conversation_id', conversation)
    .replace(':response_id', response)
    .replace(':item_id', item);
}

it('the corpus is large, holds every string once, and has one for every field of a request', () => {
  expect(oddStrings.length).toBeGreaterThanOrEqual(60);
  expect(new Set(oddStrings).size).toBe(oddStrings.length);
  expect(openFields.length).toBeLessThan(oddStrings.length);
  expect(wellFormedIds.length).toBeGreaterThan(20);
  expect(segments.length).toBeGreaterThan(100);
});

it('every string in the description of a request is among the fields', async () => {
  const server = await serve();
  const { body: document } = await server.get('/openapi.json');
  const fields = stringFieldsOf(document.components.schemas, 'CreateResponse');
  const tried = [
    ...leavesOf(specimen()),
    ...otherForms.flatMap(({ field }) => field.paths),
    ...idFields.map(({ path }) => path),
  ];
  const known = new Set(tried.map((path) => path.replaceAll(/\d+/g, '')));
  expect(fields.filter((path) => !known.has(path))).toEqual([]);
  expect(fields.length).toBeGreaterThan(50);
  for (const name of ['CreateConversation', 'CreateItems']) {
    const inner = stringFieldsOf(document.components.schemas, name).map((path) => path.replace('items[]', 'input[]'));
    expect(inner.filter((path) => !known.has(path))).toEqual([]);
  }
  const parameters = Object.values<Json>(document.components.parameters);
  const operations = Object.values<Json>(document.paths).flatMap((path) => Object.values<Json>(path));
  const inline = operations.flatMap((operation) => operation.parameters ?? []);
  const names = [...parameters, ...inline].filter((each) => each.in === 'query' || each.in === 'header');
  const triedParameters = new Set([...queryNames, 'x-model-provider']);
  expect(names.map((each) => each.name).filter((name) => !triedParameters.has(name))).toEqual([]);
});

describe.each(storeTypes)('odd strings on %s', { timeout: 60_000 }, (store) => {
  it('what a field takes comes back as it was sent: from the answer, the store and the conversation', async () => {
    const scene = await InjectionScene.open(store);
    for (let round = 0; round < oddStrings.length; round += 1) {
      const body = oddRequest(round);
      const items = body.input.map(shown);
      const answer = await scene.post('/v1/responses', body);
      checkResponse(answer);
      for (const key of echoed) expectSame(answer[key], body[key], key);
      expectSame(await scene.get(`/v1/responses/${answer.id}`), answer);
      expectSame((await scene.get(`/v1/responses/${answer.id}/input_items?limit=100&order=asc`)).data, items);
      const sent = scene.upstream.requests.at(-1)?.body;
      expectSame(sent.model, body.model);
      expectSame(sent.tools[0].function.parameters, body.tools[0].parameters);
      expectSame(sent.response_format.json_schema.schema, body.text.format.schema);

      // A conversation is made with the items of one round, and gets those of the next one.
      if (round % 2 === 1) continue;
      const made = await scene.post('/v1/conversations', { metadata: body.metadata, items: body.input });
      checkConversation(made);
      expectSame(made.metadata, body.metadata);
      const path = `/v1/conversations/${made.id}`;
      expectSame(await scene.get(path), made);
      expectSame((await scene.get(`${path}/items?order=asc`)).data, items);
      const metadata = oddMetadata(round + 8);
      expectSame((await scene.post(path, { metadata })).metadata, metadata);
      expectSame((await scene.get(path)).metadata, metadata);
      const more = oddRequest(round + 1).input.map((item: Json, index: number) => ({ ...item, id: `more_${index}` }));
      expectSame((await scene.post(`${path}/items`, { items: more })).data, more.map(shown));
      expectSame((await scene.get(`${path}/items?order=asc&limit=100`)).data, [...items, ...more.map(shown)]);
    }
    await scene.unharmed();
  });

  it('an input that is one odd text comes back, and its response can be continued', async () => {
    const scene = await InjectionScene.open(store);
    let previous: string | undefined;
    for (const input of oddStrings) {
      const answer = await scene.post('/v1/responses', {
        model: 'm',
        input,
        store: true,
        previous_response_id: previous,
      });
      const page = await scene.get(`/v1/responses/${answer.id}/input_items?limit=1`);
      expectSame(page.data[0].content, [{ type: 'input_text', text: input }]);
      previous = answer.id;
    }
    const seen = scene.upstream.requests.at(-1)?.body.messages.filter((each: Json) => each.role === 'user');
    expectSame(
      seen.map((each: Json) => each.content),
      oddStrings,
    );
    await scene.unharmed();
  });

  it('a property named __proto__ in an entry that may hold any is kept, like all others', async () => {
    const scene = await InjectionScene.open(store);
    const entry = JSON.parse(
      '{"type":"note","__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":1}}}',
    );
    const content = [{ type: 'output_text', text: 'x', annotations: [entry], logprobs: [] }];
    const { id } = await scene.post('/v1/conversations', { items: [{ role: 'assistant', content }] });
    expectSame((await scene.get(`/v1/conversations/${id}/items`)).data[0].content, content);
    await scene.unharmed();
  });

  it('what a field does not take is refused, by the name of the field', async () => {
    const scene = await InjectionScene.open(store);
    const refuse = async (path: string, body: Json, at: string, what: string) => {
      const reply = await scene.ask('POST', path, body);
      const named = String(reply.body.error?.param);
      expect(reply.status, `${what}: ${reply.text}`).toBe(400);
      expect(at.startsWith(named) || named.startsWith(at), `${what}: ${reply.text}`).toBe(true);
    };
    const refused = (body: Json, path: string, value: unknown) =>
      refuse('/v1/responses', put(body, path, value), path, `${path} = ${JSON.stringify(value).slice(0, 100)}`);
    // The control: all that is put into it below is put into a request that works.
    await scene.post('/v1/responses', specimen());
    const calls = scene.upstream.requests.length;
    const open = new Map(openFields.flatMap(({ paths, takes }) => paths.map((path) => [path, takes] as const)));
    for (const [index, path] of leavesOf(specimen()).entries()) {
      const takes = open.get(path) ?? (() => false);
      const texts = stringsFrom(index * 7, 4, (each) => !takes(each));
      const mayBeList = /(?:content|output)$/.test(path);
      const objects = [0, index + 1, index + 4, index + 7].map((each) => oddObjects[each % oddObjects.length]);
      for (const value of [...texts, ...objects.filter((each) => !(mayBeList && isEmptyList(each)))]) {
        await refused(specimen(), path, value);
      }
    }
    for (const [index, { body, field }] of otherForms.entries()) {
      const [path = ''] = field.paths;
      const texts = stringsFrom(index * 25, 25, (each) => !field.takes(each));
      for (const value of [...texts, ...oddObjects]) await refused(structuredClone(body), path, value);
    }
    for (const path of objectsOf(specimen())) {
      for (const key of oddKeys) {
        const at = path === '' ? key : `${path}.${key}`;
        await refuse('/v1/responses', withProperty(specimen(), path, key, { $ne: 1 }), at, at);
      }
    }
    expect(scene.upstream.requests).toHaveLength(calls);
    await scene.unharmed();
  });

  it('conversations refuse the same', async () => {
    const scene = await InjectionScene.open(store);
    const { conversation } = await ownIds(scene);
    const path = `/v1/conversations/${conversation}`;
    const refused = async (to: string, body: Json) =>
      expect((await scene.ask('POST', to, body)).status, `${to} ${JSON.stringify(body)}`).toBe(400);
    const before = await scene.get(`${path}/items`);
    for (const leaf of leavesOf(specimen()).filter((each) => each.startsWith('input['))) {
      const { input: items } = put(specimen(), leaf, { $ne: 1 });
      await refused('/v1/conversations', { items });
      await refused(`${path}/items`, { items });
    }
    for (const value of oddObjects) {
      for (const metadata of [{ a: value }, { $set: value }, [value], JSON.stringify(value)]) {
        await refused(path, { metadata });
        await refused('/v1/conversations', { metadata });
        await refused('/v1/responses', { model: 'm', input: 'x', metadata });
      }
      await refused(`${path}/items`, { items: { $each: value } });
    }
    for (const key of oddKeys) {
      await refused(path, withProperty({ metadata: {} }, '', key, 1));
      await refused('/v1/conversations', withProperty({}, '', key, 1));
      await refused(`${path}/items`, withProperty({ items: [] }, '', key, 1));
    }
    expect(await scene.get(`${path}/items`)).toEqual(before);
    expect((await scene.get(path)).metadata).toEqual({});
    await scene.unharmed();
  });

  it('an odd id in a path, or one that is nearly right, finds nothing', async () => {
    const scene = await InjectionScene.open(store);
    const own = await ownIds(scene);
    const reals = { ...own, model: 'm' };
    const reads = idRoutes.filter(({ method }) => method === 'GET').map((each) => pathOf(each, own, reals[each.kind]));
    const before = await Promise.all(reads.map((path) => scene.get(path)));
    for (const route of idRoutes) {
      const { method, kind, body } = route;
      // Each route has half of them, and each kind of id, which has several routes, all.
      const at = idRoutes.filter((each) => each.kind === kind).indexOf(route);
      const odd = kind === 'model' ? segments : segments.filter((_, index) => index % 2 === at % 2);
      const near = kind === 'model' ? [] : [...nearMisses(own[kind]), scene.theirs[kind]];
      for (const segment of [...odd, ...near].map(encodeURIComponent).concat(rawSegments)) {
        const path = pathOf(route, own, segment);
        expect((await scene.ask(method, path, body)).status, `${method} ${path}`).toBe(404);
      }
      for (const segment of brokenSegments) {
        const path = pathOf(route, own, segment);
        expect(await scene.outcome(method, path, body), path).toBe('400 null');
      }
    }
    expect(await Promise.all(reads.map((path) => scene.get(path)))).toEqual(before);
    // The control: the same requests with the real ids do what they say.
    const byRoute = new Map(idRoutes.map((each) => [`${each.method} ${each.path}`, each]));
    for (const [name, route] of [...byRoute].toSorted(([, one], [, other]) => rank(one) - rank(other))) {
      const path = pathOf(route, own, reals[route.kind]);
      expect((await scene.ask(route.method, path, route.body)).status, name).toBe(200);
    }
    expect(await scene.outcome('GET', `/v1/conversations/${own.conversation}`)).toBe('404 null');
    await scene.unharmed();
  });

  it('an odd id in a body, or one that is nearly right, finds nothing', async () => {
    const scene = await InjectionScene.open(store);
    const own = await ownIds(scene);
    const calls = scene.upstream.requests.length;
    for (const { path, kind, notFound } of idFields) {
      const input = kind === 'item' ? [{ type: 'item_reference' }] : 'x';
      for (const id of [...oddStrings, ...nearMisses(own[kind]), scene.theirs[kind], ...oddObjects]) {
        const body = put(structuredClone({ model: 'm', input }), path, id);
        const expected = typeof id === 'string' && mayBeId(path, id) ? notFound : expect.stringMatching(/^400 /);
        const what = `${path} = ${JSON.stringify(id).slice(0, 100)}`;
        expect(await scene.outcome('POST', '/v1/responses', body), what).toEqual(expected);
        if (kind !== 'item') continue;
        const items = `/v1/conversations/${own.conversation}/items`;
        expect(await scene.outcome('POST', items, { items: body.input }), what).toEqual(expected);
      }
    }
    expect(scene.upstream.requests).toHaveLength(calls);
    for (const { path, kind } of idFields) {
      const input = kind === 'item' ? [{ type: 'item_reference' }] : 'x';
      await scene.post('/v1/responses', put({ model: 'm', input, store: false }, path, own[kind]));
      expect(scene.upstream.requests.at(-1)?.body.messages[0].content, path).toBe('own');
    }
    expect((await scene.get(`/v1/conversations/${own.conversation}/items`)).data).toHaveLength(1);
    await scene.unharmed();
  });

  it('an odd id of an item names that item alone', async () => {
    const scene = await InjectionScene.open(store);
    for (let first = 0; first < wellFormedIds.length; first += 20) {
      const ids = wellFormedIds.slice(first, first + 20);
      const items = ids.map((id) => ({ id, role: 'user', content: `text of ${id}` }));
      const path = `/v1/conversations/${(await scene.post('/v1/conversations', { items })).id}/items`;
      // Somebody else's of the same ids, and newer.
      const others = items.map((item) => ({ ...item, content: 'of somebody else' }));
      await scene.post('/v1/conversations', { items: others }, 'another-key');
      for (const [index, id] of ids.entries()) {
        expect((await scene.get(`${path}/${id}`)).content[0].text).toBe(`text of ${id}`);
        const next = await scene.get(`${path}?order=asc&limit=1&after=${encodeURIComponent(id)}`);
        expect(next.data.map((each: Json) => each.id)).toEqual(ids.slice(index + 1, index + 2));
        await scene.post('/v1/responses', { model: 'm', input: [{ type: 'item_reference', id }] });
        expect(scene.upstream.requests.at(-1)?.body.messages).toEqual([{ role: 'user', content: `text of ${id}` }]);
      }
      for (const [index, id] of ids.entries()) {
        expect(await scene.outcome('DELETE', `${path}/${id}`)).toBe('200 undefined');
        const rest = await scene.get(`${path}?order=asc&limit=100`);
        expect(rest.data.map((each: Json) => each.id)).toEqual(ids.slice(index + 1));
        expect(await scene.outcome('GET', `${path}/${id}`)).toBe('404 null');
      }
    }
    await scene.unharmed();
  });

  it('a query asks for what is documented, or for nothing', async () => {
    const scene = await InjectionScene.open(store);
    const own = await ownIds(scene);
    const lists = [`/v1/conversations/${own.conversation}/items`, `/v1/responses/${own.response}/input_items`];
    const expectStatus = async (path: string, status: number) =>
      expect((await scene.ask('GET', path)).status, path).toBe(status);
    for (const [at, path] of [...lists, `/v1/responses/${own.response}`].entries()) {
      const isList = lists.includes(path);
      for (const query of oddQueries) await expectStatus(`${path}?${query}`, 400);
      for (const [index, text] of segments.entries()) {
        const value = encodeURIComponent(text);
        if (isList) await expectStatus(`${path}?after=${value}`, text.length <= 256 ? 404 : 400);
        // What is refused whatever it says does not need to say everything.
        if (index % 3 !== at) continue;
        await expectStatus(`${path}?${value}=1`, 400);
        await expectStatus(`${path}?include=${value}`, 400);
        await expectStatus(`${path}?include[]=${value}`, 400);
        if (isList) {
          await expectStatus(`${path}?limit=${value}`, 400);
          await expectStatus(`${path}?order=${value}`, 400);
        } else {
          await expectStatus(`${path}?stream=${value}`, 400);
          await expectStatus(`${path}?starting_after=${value}`, text === '0' ? 200 : 400);
          await expectStatus(`${path}?include_obfuscation=${value}`, text === 'true' ? 200 : 400);
        }
      }
      await expectStatus(`${path}?include[]=message.output_text.logprobs`, 200);
    }
    const [path = ''] = lists;
    for (const cursor of [...nearMisses(own.item), scene.theirs.item]) {
      await expectStatus(`${path}?after=${encodeURIComponent(cursor)}`, 404);
    }
    await expectStatus(`${path}?after={"$gt":""}`, 404);
    const page = await scene.get(`${path}?after=${own.item}&limit=1&order=asc`);
    expect(page).toEqual({ object: 'list', data: [], first_id: null, last_id: null, has_more: false });
    await scene.unharmed();
  });

  it('an odd token is a tenant like any other', async () => {
    const scene = await InjectionScene.open(store);
    const tokens = [...oddStrings, ...nearMisses(canaryKey)].filter((each) => fitsHeader(each) && each === each.trim());
    let last = { token: 'nobody', id: 'conv_0' };
    for (const token of tokens.filter((each) => each !== '')) {
      const read = (id: string, key: string) =>
        scene.raw(`GET /v1/conversations/${id}`, { authorization: `Bearer ${key}` });
      const authorization = `Bearer ${token}`;
      const metadata = { token: token.slice(0, 500) };
      const { status, body } = await scene.raw('POST /v1/conversations', { authorization }, { metadata });
      expect(status, token).toBe(200);
      expectSame((await read(body.id, token)).body.metadata, metadata);
      expect((await read(scene.theirs.conversation, token)).status, token).toBe(404);
      expect((await read(body.id, last.token)).status, token).toBe(404);
      expect((await read(last.id, token)).status, token).toBe(404);
      const asked = await scene.raw('POST /v1/responses', { authorization }, { model: 'm', input: 'x' });
      expect(asked.status, token).toBe(200);
      expect(scene.upstream.requests.at(-1)?.headers.authorization).toBe(Buffer.from(authorization).toString('latin1'));
      last = { token, id: body.id };
    }
    await scene.unharmed();
  });

  it('an odd header is refused, or changes neither who asks nor what is answered', async () => {
    const scene = await InjectionScene.open(store);
    const { conversation } = await ownIds(scene);
    const body = { model: 'm', input: 'x', conversation, store: false };
    // A line break can't be in a header: it would end it.
    for (const value of oddStrings.filter((each) => !/[\r\n]/.test(each))) {
      const expectStatus = async (headers: Record<string, string>, status: number) => {
        const isTooLong = Buffer.byteLength(Object.values(headers).join()) > 15_500;
        const expected = !fitsHeader(value) ? 400 : isTooLong ? 431 : status;
        const reply = await scene.raw(
          'POST /v1/responses',
          { authorization: `Bearer ${attackerKey}`, ...headers },
          body,
        );
        expect(reply.status, JSON.stringify(headers).slice(0, 200)).toBe(expected);
      };
      const isBlank = /^[ \t]*$/.test(value);
      await expectStatus(Object.fromEntries(ignoredHeaders.map((name) => [name, value])), 200);
      await expectStatus({ 'x-model-provider': value }, isBlank ? 200 : 400);
      await expectStatus({ 'x-open-responses-via': value }, 200);
      // Without a token the caller is somebody else, who has no such conversation.
      await expectStatus({ authorization: value }, isBlank ? 404 : 401);
      await expectStatus({ origin: value }, 403);
      await expectStatus({ host: value }, 403);
      await expectStatus({ 'content-type': value }, 415);
      await expectStatus({ 'content-encoding': value }, isBlank ? 200 : 415);
    }
    await scene.unharmed();
  });

  it('what a model says is data too', async () => {
    const scene = await InjectionScene.open(store);
    for (const [index, said] of oddStrings.entries()) {
      const name = said.length <= 128 ? said : 'f';
      const args = JSON.stringify({ [said]: said });
      scene.upstream.use([answerCalls([{ id: said, name, arguments: args }], said), hello]);
      const request = { model: 'm', input: 'x', store: true, tools: [{ type: 'function', name: 'f' }] };
      const answer = index % 2 === 0 ? await scene.post('/v1/responses', request) : await scene.stream(request);
      checkResponse(answer);
      const [message, call] = answer.output;
      expectSame(message.content[0].text, said);
      expectSame([call.name, call.arguments], [name, args]);
      if (said.length <= 64) expectSame(call.call_id, said);
      else expect(call.call_id).toMatch(/^call_\w+$/);
      const read = await scene.get(`/v1/responses/${answer.id}`);
      expectSame(read, answer);
      const input = [{ type: 'function_call_output', call_id: read.output[1].call_id, output: said }];
      await scene.post('/v1/responses', { model: 'm', input, previous_response_id: answer.id });
      const result = scene.upstream.requests.at(-1)?.body.messages.at(-1);
      expectSame(result, { role: 'tool', tool_call_id: call.call_id, content: said });
    }
    await scene.unharmed();
  });
});

function isEmptyList(value: Json): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** The last to be asked is what takes most away. */
function rank({ method, path }: { readonly method: string; readonly path: string }): number {
  if (method !== 'DELETE') return 0;
  return path.endsWith(':item_id') ? 1 : 2;
}
