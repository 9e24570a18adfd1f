import { describe, expect, it, onTestFinished } from 'vitest';
import { type Json, serve, type TestServer } from '../support/harness.ts';
import { bearer, errorOf, startVendor } from '../support/open-server.ts';
import { serveScripted } from '../support/scripted-server.ts';
import {
  answerBytes,
  answerStatus,
  answerText,
  type Handler,
  hang,
  refusedUrl,
  startUpstream,
  type Upstream,
} from '../support/upstream.ts';

async function upstreamOf(script: Handler = answerText('hi')): Promise<Upstream> {
  const upstream = await startUpstream(script);
  onTestFinished(() => upstream.close());
  return upstream;
}

function ids(answer: { body: Json }): string[] {
  return answer.body.data.map((each: Json) => each.id);
}

describe('which model answers', () => {
  const aliases = {
    'models.fast': 'b/small',
    'models.a/shadowed': 'b/instead',
    'models.gpt-*': 'b/*-turbo',
    'models.claude-*': 'b/fixed',
    'models.tester': 'demo/tester',
    'models.d*': 'b/never',
  };

  it.each<[string, string | undefined, string]>([
    ['plain', undefined, 'a: plain'],
    ['a/x', undefined, 'a: x'],
    ['b/x', undefined, 'b: x'],
    ['b@x', undefined, 'b: x'],
    ['b/x/y@z', undefined, 'b: x/y@z'],
    ['b@x/y', undefined, 'b: x/y'],
    ['b@a/x', undefined, 'b: a/x'],
    ['b/', undefined, 'a: b/'],
    ['/x', undefined, 'a: /x'],
    ['@x', undefined, 'a: @x'],
    ['B/x', undefined, 'a: B/x'],
    ['meta-llama/Llama-3', undefined, 'a: meta-llama/Llama-3'],
    ['constructor/x', undefined, 'a: constructor/x'],
    ['fast', undefined, 'b: small'],
    ['FAST', undefined, 'a: FAST'],
    ['a/shadowed', undefined, 'b: instead'],
    ['gpt-4o', undefined, 'b: 4o-turbo'],
    ['gpt-$&$1$$', undefined, 'b: $&$1$$-turbo'],
    ['gpt-', undefined, 'b: -turbo'],
    ['gpt-a/b', undefined, 'b: a/b-turbo'],
    ['gpt-a\nb', undefined, 'b: a\nb-turbo'],
    ['my-gpt-4o', undefined, 'a: my-gpt-4o'],
    ['claude-9', undefined, 'b: fixed'],
    ['x', 'b', 'b: x'],
    ['x', 'B', 'b: x'],
    ['fast', 'a', 'a: fast'],
    ['gpt-4o', 'a', 'a: gpt-4o'],
    ['b/x', 'a', 'a: b/x'],
    ['demo', 'a', 'a: demo'],
  ])('%j with x-model-provider %j is %s', async (model, provider, expected) => {
    const [a, b] = [await upstreamOf(), await upstreamOf()];
    const settings = { 'providers.a.base-url': a.url, 'providers.b.base-url': b.url, 'default-provider': 'a' };
    const server = await serve({ ...settings, ...aliases });
    const headers = provider === undefined ? {} : { 'x-model-provider': provider };
    const response = await server.respond({ model, input: 'x' }, headers);
    const called = [
      ...a.requests.map(({ body }) => `a: ${body.model}`),
      ...b.requests.map(({ body }) => `b: ${body.model}`),
    ];
    expect(called).toEqual([expected]);
    expect(response.model).toBeTypeOf('string');
  });

  it.each([
    ['demo', {}],
    ['demo/anything', {}],
    ['demo@x', {}],
    ['tester', {}],
    ['x', { 'x-model-provider': 'demo' }],
  ])('%j %j is the demo, and no upstream is asked', async (model, headers) => {
    const { server, upstream } = await serveScripted(undefined, aliasesFor('up'));
    expect((await server.post('/v1/responses', { model, input: 'x' }, headers)).status).toBe(200);
    expect(upstream.requests).toEqual([]);
  });

  function aliasesFor(provider: string): Record<string, string> {
    return { 'models.tester': 'demo/tester', 'models.d*': `${provider}/never` };
  }

  it.each(['nobody', 'http://evil.example', '../up', '__proto__', 'constructor', 'up, up', 'up/x'])(
    'the provider %j does not exist: nothing else answers instead',
    async (provider) => {
      const { server, upstream } = await serveScripted();
      for (const model of ['m', 'demo', 'up/m']) {
        const answer = await server.post('/v1/responses', { model, input: 'x' }, { 'x-model-provider': provider });
        expect(errorOf(answer)).toBe('400 model_not_found');
        expect(answer.body.error.param).toBe('x-model-provider');
      }
      expect(ids(await server.get('/v1/models', { 'x-model-provider': provider }))).toEqual([]);
      expect(upstream.requests).toEqual([]);
    },
  );

  it.each([
    ['base_url', 'http://evil.example'],
    ['api_base', 'http://evil.example'],
    ['api_key', 'k'],
    ['provider', 'b'],
    ['extra_headers', { authorization: 'x' }],
  ])('the field %s is unknown, and has no effect where such are ignored', async (name, value) => {
    const evil = await upstreamOf();
    const target = typeof value === 'string' ? value.replace('http://evil.example', evil.url) : value;
    const body = { model: 'm', input: 'x', [name]: target };
    const { server, upstream } = await serveScripted();
    expect(errorOf(await server.post('/v1/responses', body))).toBe('400 unknown_parameter');
    expect(upstream.requests).toEqual([]);
    const lenient = await serveScripted(undefined, { 'http.unknown-fields': 'ignore' });
    await lenient.server.respond(body);
    expect(lenient.upstream.requests[0]?.raw).not.toContain(name);
    expect(evil.requests).toEqual([]);
  });
});

describe('whose key is sent', () => {
  it('the caller’s, and no other header of theirs', async () => {
    const { server, upstream } = await serveScripted();
    const more = { cookie: 'c=1', 'x-api-key': 'mine', 'openai-organization': 'org', 'x-forwarded-for': '1.2.3.4' };
    await server.respond({ model: 'm', input: 'x' }, { ...bearer('alice'), ...more });
    const { headers } = upstream.requests[0] ?? {};
    expect(headers?.authorization).toBe('Bearer alice');
    for (const name of Object.keys(more)) expect(headers?.[name], name).toBeUndefined();
    await server.respond({ model: 'm', input: 'x' });
    expect(upstream.requests[1]?.headers.authorization).toBeUndefined();
  });

  it.each<[Record<string, string>, string, string]>([
    [{ 'providers.up.api-key': 'sk-server' }, 'authorization', 'Bearer sk-server'],
    [{ 'providers.up.headers': 'Authorization=Token sk-server' }, 'authorization', 'Token sk-server'],
    [{ 'providers.up.headers': 'X-Api-Key=sk-server' }, 'x-api-key', 'sk-server'],
    [{ 'providers.up.headers': 'api-key=sk-server' }, 'api-key', 'sk-server'],
  ])('the server’s where it has one, %j, and then never the caller’s', async (settings, header, value) => {
    const { server, upstream } = await serveScripted(undefined, settings);
    for (const headers of [{}, bearer('alice'), { ...bearer('alice'), 'x-model-provider': 'up' }]) {
      await server.respond({ model: 'm', input: 'x' }, headers);
      await server.get('/v1/models', headers);
    }
    expect(upstream.requests.map(({ method }) => method)).toContain('GET');
    for (const request of upstream.requests) {
      expect(request.headers[header]).toBe(value);
      expect(JSON.stringify(request.headers)).not.toContain('alice');
      expect(request.raw).not.toContain('alice');
    }
    upstream.use(answerStatus(401, { error: { message: 'wrong key sk-server' } }));
    const answer = await server.post('/v1/responses', { model: 'm', input: 'x' }, bearer('alice'));
    expect(answer.status).toBe(502);
    expect(JSON.stringify(answer.body)).not.toContain('sk-server');
  });

  it('a refused key of the caller’s is the caller’s 401', async () => {
    const { server } = await serveScripted(answerStatus(401, { error: { message: 'wrong key alice' } }));
    const answer = await server.post('/v1/responses', { model: 'm', input: 'x' }, bearer('alice'));
    expect(errorOf(answer)).toBe('401 invalid_api_key');
    expect(JSON.stringify(answer.body)).not.toContain('alice');
  });

  it('a list of models is asked for with the caller’s key at the provider that it is for, and at no other', async () => {
    const [a, b] = [await upstreamOf(), await upstreamOf()];
    const server = await serve({
      'providers.a.base-url': a.url,
      'providers.b.base-url': b.url,
      'default-provider': 'a',
    });
    await server.get('/v1/models', bearer('alice'));
    expect(a.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer alice']);
    expect(b.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
    await server.get('/v1/models', { ...bearer('alice'), 'x-model-provider': 'B' });
    expect(b.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, 'Bearer alice']);
    expect(a.requests).toHaveLength(1);
  });

  it('OPENAI_BASE_URL and OPENAI_API_KEY are the provider openai, by whichever name it is called', async () => {
    const upstream = await upstreamOf();
    const server = await serve({}, { OPENAI_BASE_URL: `${upstream.url}/`, OPENAI_API_KEY: 'sk-env' });
    for (const [model, headers] of [
      ['gpt-4o', {}],
      ['gpt-4o', bearer('alice')],
      ['openai/gpt-4o', {}],
      ['gpt-4o', { 'x-model-provider': 'openai' }],
    ] as const) {
      await server.respond({ model, input: 'x' }, headers);
      expect(upstream.requests.at(-1)).toMatchObject({
        path: '/v1/chat/completions',
        headers: { authorization: 'Bearer sk-env' },
        body: { model: 'gpt-4o' },
      });
    }
    const keyless = await serve({}, { OPENAI_BASE_URL: upstream.url });
    await keyless.respond({ model: 'gpt-4o', input: 'x' }, bearer('alice'));
    expect(upstream.requests.at(-1)?.headers.authorization).toBe('Bearer alice');
    await keyless.respond({ model: 'gpt-4o', input: 'x' });
    expect(upstream.requests.at(-1)?.headers.authorization).toBeUndefined();
  });

  it('openai without any key: a bare name is unknown, never the demo’s; a name with the provider asks for a key', async () => {
    const server = await serve();
    for (const model of ['gpt-4o', 'demo2', 'Demo']) {
      const answer = await server.post('/v1/responses', { model, input: 'x' });
      expect(errorOf(answer)).toBe('400 model_not_found');
      expect(answer.body.error.param).toBe('model');
    }
    for (const [model, headers] of [
      ['openai/gpt-4o', {}],
      ['openai@gpt-4o', {}],
      ['gpt-4o', { 'x-model-provider': 'openai' }],
    ] as const) {
      expect(errorOf(await server.post('/v1/responses', { model, input: 'x' }, headers))).toBe('401 invalid_api_key');
    }
    expect(ids(await server.get('/v1/models'))).toEqual(['demo']);
  });
});

describe('GET /v1/models', () => {
  const list =
    (...names: unknown[]): Handler =>
    (reply) =>
      reply.json({ object: 'list', data: names.map((id) => ({ id })) });

  async function serveLists(
    scripts: Record<string, Handler>,
    settings: Record<string, string> = {},
  ): Promise<TestServer> {
    const given: Record<string, string> = { 'default-provider': Object.keys(scripts)[0] ?? '' };
    for (const [name, script] of Object.entries(scripts))
      given[`providers.${name}.base-url`] = (await upstreamOf(script)).url;
    return serve({ ...given, ...settings });
  }

  it('lists the demo, aliases, and what providers have, with their names before it but for the default one', async () => {
    const server = await serveLists(
      { a: list('m', 'org/m2', 'demo', 'fast'), b: list('m') },
      { 'models.fast': 'b/small', 'models.gpt-*': 'b/*' },
    );
    const answer = await server.get('/v1/models');
    expect(answer.body.object).toBe('list');
    expect(ids(answer)).toEqual(['demo', 'fast', 'm', 'org/m2', 'b/m']);
    for (const model of answer.body.data) {
      expect(model).toEqual({
        id: model.id,
        object: 'model',
        created: expect.any(Number),
        owned_by: expect.any(String),
      });
      expect((await server.get(`/v1/models/${model.id}`)).body).toEqual(model);
      expect((await server.get(`/v1/models/${encodeURIComponent(model.id)}`)).body).toEqual(model);
    }
    expect(ids(await server.get('/v1/models', { 'x-model-provider': 'b' }))).toEqual(['m']);
    expect(ids(await server.get('/v1/models', { 'x-model-provider': 'demo' }))).toEqual(['demo']);
  });

  it('finds every name that a response may ask for and the provider has', async () => {
    const server = await serveLists(
      { a: list('m', 'org/m2', 'gpt-m', 'b/x'), b: list('m', 'org/m2') },
      { 'models.fast': 'b/small', 'models.tester': 'demo/tester', 'models.gpt-*': 'b/*' },
    );
    const names = ['m', 'a/m', 'a@m', 'org/m2', 'a/org/m2', 'b/m', 'b@m', 'b@org/m2', 'a/gpt-m', 'a/b/x', 'gpt-m'];
    for (const name of [...names, 'gpt-org/m2', 'fast', 'tester', 'demo', 'demo/x', 'demo@x']) {
      const { status, body } = await server.get(`/v1/models/${name}`);
      expect([name, status, body.id, body.object]).toEqual([name, 200, name, 'model']);
    }
    expect((await server.get('/v1/models/b@m')).body.owned_by).toBe('b');
    // A name that a stronger rule takes elsewhere is not listed as what it is not.
    expect((await server.get('/v1/models/gpt-m')).body.owned_by).toBe('b');
    expect(ids(await server.get('/v1/models'))).toEqual([
      ...['demo', 'fast', 'tester', 'm', 'org/m2', 'b/m', 'b/org/m2'],
    ]);
    for (const [provider, name, status] of [
      ['b', 'm', 200],
      ['B', 'org/m2', 200],
      ['b', 'b/m', 404],
      ['b', 'fast', 404],
      ['a', 'gpt-m', 200],
      ['demo', 'x', 200],
      ['nobody', 'm', 404],
    ] as const) {
      const answer = await server.get(`/v1/models/${name}`, { 'x-model-provider': provider });
      expect([provider, name, answer.status]).toEqual([provider, name, status]);
    }
  });

  it('asks the provider that the name is for with the caller’s key, and no other', async () => {
    const keyed = await startVendor({ keys: ['good'], models: ['m'] });
    const other = await upstreamOf(list('m'));
    const server = await serve({
      'providers.a.base-url': other.url,
      'providers.b.base-url': keyed.url,
      'default-provider': 'a',
    });
    expect((await server.get('/v1/models/b/m', bearer('good'))).status).toBe(200);
    expect(errorOf(await server.get('/v1/models/b/m', bearer('bad')))).toBe('404 model_not_found');
    expect(errorOf(await server.get('/v1/models/b/m'))).toBe('404 model_not_found');
    expect(other.requests).toEqual([]);
  });

  it.each([
    'gpt-4o',
    'm/',
    'b',
    'a/',
    'a/x',
    'a@x',
    'A/m',
    'b/b/m',
    'c/m',
    'openai/m',
    'gpt-%2A',
    '%00',
    'x'.repeat(5_000),
    'M',
  ])('there is no model %s', async (id) => {
    const server = await serveLists({ a: list('m'), b: list('m') }, { 'models.gpt-*': 'b/*' });
    if (id === 'm/') expect((await server.get(`/v1/models/${id}`)).status).toBe(200);
    else expect(errorOf(await server.get(`/v1/models/${id}`))).toBe('404 model_not_found');
  });

  it('a provider that does not answer, or not with a list, is left out', async () => {
    const server = await serveLists(
      {
        a: list('m'),
        failing: answerStatus(500),
        closed: answerStatus(401, { error: { message: 'no' } }),
        absent: answerStatus(404, 'nothing here'),
        page: answerBytes('<html>', { 'content-type': 'text/html' }),
        odd: (reply) => reply.json({ data: [null, 1, {}, { id: 5 }, 'x', { id: 'good' }] }),
        other: (reply) => reply.json(['m']),
        cut: (reply) => reply.cut(),
        long: (reply) => void reply.endless({ id: 'x'.repeat(1_000) }),
      },
      { 'providers.down.base-url': await refusedUrl() },
    );
    expect(ids(await server.get('/v1/models'))).toEqual(['demo', 'm', 'odd/good']);
  });

  it('a provider that never answers is waited for no longer than a while', async () => {
    const server = await serveLists({ a: list('m'), b: hang });
    expect(ids(await server.get('/v1/models'))).toEqual(['demo', 'm']);
  });

  it('one caller’s list is never shown to another', async () => {
    const script: Handler = (reply, request) => {
      const key = request.headers.authorization?.replace('Bearer ', '');
      if (key === undefined) return answerStatus(401)(reply, request);
      reply.json({ data: [{ id: `of-${key}` }] });
    };
    const server = await serveLists({ a: script });
    for (let round = 0; round < 2; round++) {
      for (const key of ['alice', 'bob']) {
        expect(ids(await server.get('/v1/models', bearer(key)))).toEqual(['demo', `of-${key}`]);
      }
      expect(ids(await server.get('/v1/models'))).toEqual(['demo']);
    }
    expect(errorOf(await server.get('/v1/models/of-alice', bearer('bob')))).toBe('404 model_not_found');
  });

  it('a list is asked for once in a while, also by many at a time', async () => {
    const upstream = await startVendor({ keys: [], list: 'all' });
    const server = await serve({ 'providers.up.base-url': upstream.url, 'default-provider': 'up' });
    await Promise.all(Array.from({ length: 10 }, () => server.get('/v1/models', bearer('alice'))));
    expect(upstream.requests).toHaveLength(1);
  });
});
