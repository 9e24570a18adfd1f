import { describe, expect, it, onTestFinished } from 'vitest';
import { ConfigError } from '../../src/config.ts';
import { CredentialBook } from '../../src/models/credentials.ts';
import type { Provider } from '../../src/models/providers.ts';
import { start } from '../support/harness.ts';
import { bearer, errorOf, serveOpen, serveVendor, startVendor, vendor } from '../support/open-server.ts';
import { answerStatus, answerText, refusedUrl } from '../support/upstream.ts';

const open = { 'server.host': '0.0.0.0', 'default-provider': 'up' };
const item = { role: 'user', content: 'x' };

/** Why a server did not start. */
async function refusal(settings: Record<string, string>, env: Record<string, string> = {}): Promise<string> {
  const started = start(settings, env);
  const error = await started.then(
    async (server) => {
      await server.close({ force: true });
      return undefined;
    },
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConfigError)) throw new Error('the server started, or failed otherwise', { cause: error });
  return error.message;
}

describe('beyond loopback, passthrough does not start where anybody could spend what is the server’s', () => {
  it.each<[string, Record<string, string>, string]>([
    ['a key', { 'providers.up.api-key': 'sk-Secret-1' }, "provider 'up' has a key"],
    ['a key of another provider', { 'providers.other.api-key': 'sk-Secret-1' }, "provider 'other' has a key"],
    ['Authorization', { 'providers.up.headers': 'Authorization=Bearer sk-Secret-1' }, "'up' has a key"],
    ['X-Api-Key', { 'providers.up.headers': 'X-Api-Key=sk-Secret-1' }, "'up' has a key"],
    ['api-key', { 'providers.up.headers': 'api-key=sk-Secret-1' }, "'up' has a key"],
    ['a token', { 'providers.up.headers': 'X-Trace=1, CF-Access-Token=sk-Secret-1' }, "'up' has a key"],
    ['a cookie', { 'providers.up.headers': 'Cookie=session=sk-Secret-1' }, "'up' has a key"],
    ['the demo', { 'demo.enabled': 'true' }, "'demo' needs no key"],
  ])('%s', async (_, settings, message) => {
    const upstream = await startVendor({ keys: ['good'] });
    const other = 'providers.other.api-key' in settings ? { 'providers.other.base-url': upstream.url } : {};
    const said = await refusal({ ...open, 'providers.up.base-url': upstream.url, ...other, ...settings });
    expect(said).toContain(message);
    expect(said).toContain('open-responses.server.host=127.0.0.1');
    expect(said).toContain('open-responses.auth.mode=none');
    expect(said).not.toContain('Secret');
    expect(said).not.toMatch(/[\r\n]/);
  });

  it('OPENAI_API_KEY', async () => {
    const said = await refusal({ 'server.host': '0.0.0.0' }, { OPENAI_API_KEY: 'sk-Secret-1' });
    expect(said).toContain("provider 'openai' has a key");
    expect(said).not.toContain('Secret');
  });

  it('a server of the operator’s own that answers without a key, whichever provider it is', async () => {
    const closed = await startVendor({ keys: ['good'] });
    const everybody = await startVendor({ keys: [], list: 'all' });
    const said = await refusal({
      ...open,
      'providers.up.base-url': closed.url,
      'providers.local.base-url': everybody.url,
    });
    expect(said).toContain("provider 'local' answers without a key");
    expect(everybody.requests[0]).toMatchObject({ method: 'GET', path: '/v1/models' });
    expect(everybody.requests[0]?.headers.authorization).toBeUndefined();
    const openai = await refusal({ 'server.host': '0.0.0.0' }, { OPENAI_BASE_URL: everybody.url });
    expect(openai).toContain("provider 'openai' answers without a key");
  });

  it.each(['::', '0.0.0.0'])('on %s alike', async (host) => {
    expect(await refusal({ 'server.host': host, 'demo.enabled': 'true' })).toContain(`listens on ${host}`);
  });

  it.each<[string, Record<string, string>]>([
    ['on loopback', { 'server.host': '127.0.0.1' }],
    ['on localhost', { 'server.host': 'localhost' }],
    ['with auth.mode=none', { 'auth.mode': 'none' }],
  ])('the same settings start %s', async (_, way) => {
    const everybody = await startVendor({ keys: [], list: 'all' });
    const settings = { ...open, 'providers.up.base-url': everybody.url, 'providers.up.api-key': 'k', ...way };
    await (await start({ ...settings, 'demo.enabled': 'true' })).close();
  });

  it('starts where the provider asks for a key; then there is no demo', async () => {
    const { server, upstream } = await serveVendor({ keys: ['good'], models: ['m'] });
    const models = await server.get('/v1/models', bearer('good'));
    expect(models.body.data.map((each: { id: string }) => each.id)).toEqual(['m']);
    expect(errorOf(await server.get('/v1/models/demo', bearer('good')))).toBe('404 model_not_found');
    const named = { ...bearer('good'), 'x-model-provider': 'demo' };
    const answer = await server.post('/v1/responses', { model: 'demo', input: 'x' }, named);
    expect(errorOf(answer)).toBe('400 model_not_found');
    await server.respond({ model: 'demo', input: 'x' }, bearer('good'));
    expect(upstream.requests.at(-1)?.body.model).toBe('demo');
  });

  it('starts where the provider is down, and then can tell nobody that a key is good', async () => {
    const server = await serveOpen({ ...open, 'providers.up.base-url': await refusedUrl() });
    expect((await server.post('/v1/conversations', {}, bearer('good'))).status).toBe(503);
  });

  it('Ollama takes any key, whether it runs or not', async () => {
    const settings = { 'providers.up.profile': 'ollama', 'providers.up.base-url': await refusedUrl() };
    expect(await refusal({ ...open, ...settings })).toContain("provider 'up' answers without a key");
  });
});

describe('beyond loopback, a key creates state only once an upstream has answered it', () => {
  it('an invented key stores nothing, by no route', async () => {
    const { server, rows, asked } = await serveVendor({ keys: ['good'] });
    const mine = await server.post('/v1/conversations', {}, bearer('good'));
    expect(mine.status).toBe(200);
    const before = rows();
    const bad = bearer('invented');
    const conversation = mine.body.id;
    const tries: [string, object, string][] = [
      ['/v1/conversations', {}, '401 invalid_api_key'],
      ['/v1/conversations', { items: [item], metadata: { a: 'b' } }, '401 invalid_api_key'],
      [`/v1/conversations/${conversation}/items`, { items: [item] }, '401 invalid_api_key'],
      [`/v1/conversations/${conversation}`, { metadata: { a: 'b' } }, '404 null'],
      ['/v1/responses', { model: 'm', input: 'x', store: true }, '401 invalid_api_key'],
      ['/v1/responses', { model: 'm', input: 'x', store: true, stream: true }, '401 invalid_api_key'],
      ['/v1/responses', { model: 'm', input: 'x', conversation }, '404 null'],
      ['/v1/responses', { model: 'openai/m', input: 'x', conversation }, '404 null'],
    ];
    for (const [path, body, code] of tries) {
      const answer = await server.post(path, body, bad);
      expect(errorOf(answer), path).toBe(code);
      expect(JSON.stringify(answer.body)).not.toContain('invented');
    }
    expect(rows()).toBe(before);
    expect(asked()).toContain('GET /v1/models Bearer invented');
  });

  it('a stream that began before its upstream refused the key leaves no record', async () => {
    const { server, rows, upstream } = await serveVendor({ keys: ['good'] }, { 'stream.open-after': '20ms' });
    const before = rows();
    const answer = Promise.withResolvers<() => void>();
    upstream.use((reply, request) => answer.resolve(() => void answerStatus(401, {})(reply, request)));
    const body = { model: 'm', input: 'x', store: true };
    const open = await server.open(body, bearer('invented'));
    await open.until('response.in_progress');
    (await answer.promise)();
    expect((await open.rest()).at(-1)?.event).toBe('response.failed');
    expect(rows()).toBe(before);
  });

  it('a good key works, and is asked about once', async () => {
    const { server, asked, rows } = await serveVendor({ keys: ['good', 'better'] });
    const before = rows();
    const started = asked().length;
    for (let at = 0; at < 3; at++) {
      const { status, body } = await server.post('/v1/conversations', { items: [item] }, bearer('good'));
      expect(status).toBe(200);
      const added = await server.post(`/v1/conversations/${body.id}/items`, { items: [item] }, bearer('good'));
      expect(added.status).toBe(200);
    }
    expect(rows()).toBeGreaterThan(before);
    const questions = asked().slice(started);
    expect(questions.filter((each) => each === 'GET /v1/models Bearer good')).toHaveLength(1);
    // The other question is whether this vendor checks keys at all; it is not asked for every key.
    expect(questions).toHaveLength(2);
    expect((await server.post('/v1/conversations', {}, bearer('better'))).status).toBe(200);
    expect(asked().slice(started)).toHaveLength(3);
  });

  it('a key that has called a model needs no further question', async () => {
    const { server, asked } = await serveVendor({ keys: ['good'] });
    await server.respond({ model: 'm', input: 'x' }, bearer('good'));
    const started = asked().length;
    expect((await server.post('/v1/conversations', {}, bearer('good'))).status).toBe(200);
    expect(asked()).toHaveLength(started);
  });

  it('an upstream that lists its models to anybody proves nothing; a call of a model does', async () => {
    const { server, rows, upstream } = await serveVendor({ keys: ['good'] });
    // It was asked at the start already: this one has become careless since.
    upstream.use(vendor({ keys: ['good'], list: 'any' }));
    const before = rows();
    for (const key of ['invented', 'good']) {
      expect(errorOf(await server.post('/v1/conversations', {}, bearer(key)))).toBe('401 invalid_api_key');
    }
    expect(rows()).toBe(before);
    await server.respond({ model: 'm', input: 'x' }, bearer('good'));
    expect((await server.post('/v1/conversations', {}, bearer('good'))).status).toBe(200);
    expect(errorOf(await server.post('/v1/conversations', {}, bearer('invented')))).toBe('401 invalid_api_key');
  });

  it('an upstream that can not answer proves nothing, and is asked again', async () => {
    const { server, upstream } = await serveVendor({ keys: ['good'] });
    for (const answer of [answerStatus(500), answerStatus(429), answerStatus(404), answerText('no list')]) {
      upstream.use(answer);
      expect(errorOf(await server.post('/v1/conversations', {}, bearer('good')))).toBe('503 null');
    }
    upstream.use((reply) =>
      reply.json({ data: [] }, reply.request.headers.authorization === 'Bearer good' ? 200 : 401),
    );
    expect((await server.post('/v1/conversations', {}, bearer('good'))).status).toBe(200);
  });

  it('a key of another provider is proven by that one, where the request names it', async () => {
    const other = await startVendor({ keys: ['others'] });
    const { server } = await serveVendor({ keys: ['good'] }, { 'providers.other.base-url': other.url });
    expect(errorOf(await server.post('/v1/conversations', {}, bearer('others')))).toBe('401 invalid_api_key');
    expect(other.requests.filter((each) => each.headers.authorization?.includes('others'))).toEqual([]);
    const named = { ...bearer('others'), 'x-model-provider': 'Other' };
    expect((await server.post('/v1/conversations', {}, named)).status).toBe(200);
    const unknown = { ...bearer('good'), 'x-model-provider': 'nobody' };
    expect(errorOf(await server.post('/v1/conversations', {}, unknown))).toBe('401 invalid_api_key');
  });

  it('on loopback and with auth.mode=none nobody is asked', async () => {
    const upstream = await startVendor({ keys: ['good'] });
    const settings = { 'providers.up.base-url': upstream.url, 'default-provider': 'up' };
    const loopback = await start(settings);
    onTestFinished(() => loopback.close({ force: true }));
    const none = await serveOpen({ ...settings, 'auth.mode': 'none' });
    for (const url of [loopback.url, none.url]) {
      const answer = await fetch(`${url}/v1/conversations`, { method: 'POST', headers: bearer('invented') });
      expect(answer.status).toBe(200);
    }
    expect(upstream.requests).toEqual([]);
  });
});

describe('what is remembered of keys', () => {
  const hourMs = 60 * 60 * 1000;

  function setUp(answer: (credential: string | undefined) => number) {
    const clock = { nowMs: 1_000_000 };
    const asked: (string | undefined)[] = [];
    const provider = {
      name: 'up',
      listModels: async (credential: string | undefined) => {
        asked.push(credential);
        return { status: answer(credential), ids: [] };
      },
    } as unknown as Provider;
    return { clock, asked, provider, book: new CredentialBook(() => clock.nowMs) };
  }

  it('a proven key for an hour, by its tenant alone', async () => {
    const { clock, asked, provider, book } = setUp((key) => (key === 'good' ? 200 : 401));
    expect(book.isAccepted('t1')).toBe(false);
    expect(await book.prove('t1', 'good', provider)).toBe('accepted');
    expect(asked).toHaveLength(2);
    clock.nowMs += hourMs - 1;
    expect(book.isAccepted('t1')).toBe(true);
    expect(book.isAccepted('good')).toBe(false);
    clock.nowMs += 1;
    expect(book.isAccepted('t1')).toBe(false);
    expect(await book.prove('t1', 'good', provider)).toBe('accepted');
    expect(asked).toHaveLength(4);
  });

  it('a call that succeeds prolongs it', () => {
    const { clock, book } = setUp(() => 401);
    book.accept('t1');
    clock.nowMs += hourMs - 1;
    book.accept('t1');
    clock.nowMs += hourMs - 1;
    expect(book.isAccepted('t1')).toBe(true);
  });

  it('a refused key not at all', async () => {
    let status = 401;
    const { provider, book } = setUp((key) => (key === 'late' ? status : 401));
    expect(await book.prove('t1', 'late', provider)).toBe('refused');
    status = 200;
    expect(await book.prove('t1', 'late', provider)).toBe('accepted');
  });

  it.each([500, 429, 404])('that a vendor checks keys, only where it said so: not by a %i', async (status) => {
    let word = status;
    const { asked, provider, book } = setUp((key) => (key === 'k' ? 200 : word));
    expect(await book.prove('t1', 'k', provider)).toBe('refused');
    word = 200;
    expect(await book.prove('t1', 'k', provider)).toBe('refused');
    expect(asked).toHaveLength(4);
    expect(book.isAccepted('t1')).toBe(false);
  });
});
