import { tmpdir } from 'node:os';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ConfigError, loadConfig } from '../../src/config.ts';
import { refuseOpenSpending } from '../../src/exposure.ts';
import { CredentialBook } from '../../src/models/credentials.ts';
import type { Provider } from '../../src/models/providers.ts';
import type { KeyCheck } from '../../src/models/upstream/key-check.ts';
import { start } from '../support/harness.ts';
import { bearer, errorOf, serveOpen, serveVendor, startVendor, vendor } from '../support/open-server.ts';
import { answerStatus, answerText, cutAtOnce, type Handler, refusedUrl, startUpstream } from '../support/upstream.ts';

const open = { 'server.host': '0.0.0.0', 'default-provider': 'up' };
const item = { role: 'user', content: 'x' };

/** An upstream whose list of models is answered by one handler, and its calls by another. */
function withList(list: Handler, call: Handler): Handler {
  return (reply, request) => (request.path.startsWith('/v1/models') ? list : call)(reply, request);
}

function providerOf(parts: Partial<Provider>): Provider {
  return { name: 'up', isConfigured: true, ignoresKeys: false, hasOwnKey: false, ...parts } as Provider;
}

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

  it('a provider that takes any key, whichever it is', async () => {
    const closed = await startVendor({ keys: ['good'] });
    const everybody = await startVendor({ keys: 'any' });
    const said = await refusal({
      ...open,
      'providers.up.base-url': closed.url,
      'providers.local.base-url': everybody.url,
    });
    expect(said).toContain("provider 'local' answers without a key");
    expect(everybody.requests.map(({ method, path, raw }) => `${method} ${path} ${raw}`)).toEqual([
      'GET /v1/models ',
      'POST /v1/chat/completions {}',
    ]);
    expect(closed.requests).toHaveLength(1);
    const openai = await refusal({ 'server.host': '0.0.0.0' }, { OPENAI_BASE_URL: everybody.url });
    expect(openai).toContain("provider 'openai' answers without a key");
  });

  it.each<[string, Handler, number]>([
    ['has no list of models', answerStatus(404), 400],
    ['has no such method', answerStatus(405), 422],
    ['has a list that is broken', answerStatus(500), 500],
    ['has a list that is none', answerText('no list'), 404],
    ['wants something else for its list', answerStatus(400, { error: { message: 'no version' } }), 400],
    ['does not answer for its list', cutAtOnce, 400],
    ['does whatever it is asked', answerStatus(404), 200],
  ])('a provider that takes any key and %s', async (_, list, status) => {
    const upstream = await startUpstream(withList(list, answerStatus(status, {})));
    onTestFinished(() => upstream.close());
    const said = await refusal({ ...open, 'providers.up.base-url': upstream.url });
    expect(said).toContain("provider 'up' answers without a key");
  });

  it.each(['::', '0.0.0.0'])('on %s alike', async (host) => {
    expect(await refusal({ 'server.host': host, 'demo.enabled': 'true' })).toContain(`listens on ${host}`);
  });

  it.each<[string, Record<string, string>]>([
    ['on loopback', { 'server.host': '127.0.0.1' }],
    ['on localhost', { 'server.host': 'localhost' }],
    ['with auth.mode=none', { 'auth.mode': 'none' }],
  ])('the same settings start %s', async (_, way) => {
    const everybody = await startVendor({ keys: 'any' });
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

  it.each<[string, Handler, Handler]>([
    ['its list is public', answerStatus(200, { data: [] }), answerStatus(401)],
    ['it has no list', answerStatus(404), answerStatus(403)],
    [
      'it says so as Google does',
      answerStatus(400, [{ error: { message: 'API key not valid.', status: 'INVALID_ARGUMENT' } }]),
      answerStatus(400),
    ],
    ['it is overloaded', answerStatus(429), answerStatus(429)],
    ['it is not there behind its proxy', answerStatus(502), answerStatus(503)],
    ['it never answers', cutAtOnce, cutAtOnce],
  ])('starts where a provider asks for a key, or does not say so: %s', async (_, list, call) => {
    const upstream = await startUpstream(withList(list, call));
    onTestFinished(() => upstream.close());
    await serveOpen({ ...open, 'providers.up.base-url': upstream.url });
  });

  it('warns of a provider that did not say so', async () => {
    const warnings: object[] = [];
    const providers = new Map(
      (['strict', 'unknown'] as const).map((word) => [word, providerOf({ name: word, checkKeys: async () => word })]),
    );
    const config = loadConfig({ argv: ['--server.host=0.0.0.0'], env: {}, cwd: tmpdir() });
    const logger = { warn: (fields: object) => void warnings.push(fields) };
    const book = new CredentialBook(Date.now);
    await refuseOpenSpending({ config, providers, isDemoOn: false, book, logger });
    expect(warnings).toEqual([{ provider: 'unknown' }]);
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

  it('a vendor that lists its models to anybody and checks the keys of calls vouches by its calls', async () => {
    const { server, rows } = await serveVendor({ keys: ['good'], list: 'all' });
    const before = rows();
    const stored = { model: 'm', input: 'x', store: true };
    expect(errorOf(await server.post('/v1/responses', stored, bearer('invented')))).toBe('401 invalid_api_key');
    expect(errorOf(await server.post('/v1/conversations', {}, bearer('good')))).toBe('401 invalid_api_key');
    expect(rows()).toBe(before);
    const { id } = await server.respond(stored, bearer('good'));
    expect((await server.get(`/v1/responses/${id}`, bearer('good'))).status).toBe(200);
    expect((await server.post('/v1/conversations', {}, bearer('good'))).status).toBe(200);
  });

  it.each(['all', 'good'] as const)(
    'a provider that was down at the start and takes any key vouches for nobody: %s',
    async (list) => {
      const { server, rows, upstream } = await serveVendor({ keys: [] }, {}, cutAtOnce);
      const takesAny = vendor({ keys: 'any' });
      upstream.use(list === 'all' ? takesAny : withList(answerStatus(404), takesAny));
      const before = rows();
      const stored = { model: 'm', input: 'x', store: true };
      for (let round = 0; round < 2; round++) {
        expect(errorOf(await server.post('/v1/responses', stored, bearer('invented')))).toBe('401 invalid_api_key');
        const open = await server.open(stored, bearer('invented'));
        expect((await open.rest()).at(-1)?.event).toBe('response.failed');
        expect((await server.post('/v1/conversations', {}, bearer('invented'))).status).toBeGreaterThan(400);
      }
      expect(rows()).toBe(before);
      // Asked once, and remembered.
      expect(upstream.requests.filter(({ raw }) => raw === '{}')).toHaveLength(2);
    },
  );

  it('a provider that was down at the start and checks keys is asked again, and vouches', async () => {
    const { server, upstream } = await serveVendor({ keys: [] }, {}, cutAtOnce);
    const keyed = vendor({ keys: ['good'] });
    upstream.use((reply, request) => {
      // As long as it only answers calls, nobody knows.
      const isCall = request.body?.model !== undefined;
      return isCall ? keyed(reply, request) : cutAtOnce(reply, request);
    });
    const stored = { model: 'm', input: 'x', store: true };
    expect(errorOf(await server.post('/v1/responses', stored, bearer('good')))).toBe('401 invalid_api_key');
    upstream.use(keyed);
    const { id } = await server.respond(stored, bearer('good'));
    expect((await server.get(`/v1/responses/${id}`, bearer('good'))).status).toBe(200);
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

  function setUp(answer: (credential: string | undefined) => number, word: () => KeyCheck = () => 'strict') {
    const clock = { nowMs: 1_000_000 };
    const asked: (string | undefined)[] = [];
    const checks: KeyCheck[] = [];
    const provider = providerOf({
      listModels: async (credential) => {
        asked.push(credential);
        return { status: answer(credential), ids: [] };
      },
      checkKeys: async () => {
        checks.push(word());
        return word();
      },
    });
    return { clock, asked, checks, provider, book: new CredentialBook(() => clock.nowMs) };
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

  it('a call that succeeds prolongs it', async () => {
    const { clock, provider, book } = setUp(() => 401);
    expect(await book.vouch('t1', provider)).toBe(true);
    clock.nowMs += hourMs - 1;
    expect(await book.vouch('t1', provider)).toBe(true);
    clock.nowMs += hourMs - 1;
    expect(book.isAccepted('t1')).toBe(true);
  });

  it.each(['strict', 'open'] as const)(
    'that a provider is %s, for an hour; many who ask are one question',
    async (word) => {
      const { clock, checks, provider, book } = setUp(
        () => 401,
        () => word,
      );
      const many = await Promise.all(Array.from({ length: 10 }, (_, at) => book.vouch(`t${at}`, provider)));
      expect(many).toEqual(Array(10).fill(word === 'strict'));
      clock.nowMs += hourMs - 1;
      await book.vouch('t', provider);
      expect(checks).toHaveLength(1);
      clock.nowMs += 1;
      await book.vouch('t', provider);
      expect(checks).toHaveLength(2);
    },
  );

  it('not that a provider did not say', async () => {
    let word: KeyCheck = 'unknown';
    const { checks, provider, book } = setUp(
      () => 401,
      () => word,
    );
    expect(await book.vouch('t1', provider)).toBe(false);
    word = 'strict';
    expect(await book.vouch('t1', provider)).toBe(true);
    expect(checks).toEqual(['unknown', 'strict']);
  });

  it('a key that another provider has accepted stays accepted, whoever else answers it', async () => {
    const { provider, book } = setUp(() => 401);
    const other = providerOf({ name: 'open', checkKeys: async () => 'open' });
    expect(await book.vouch('t1', other)).toBe(false);
    await book.vouch('t1', provider);
    expect(await book.vouch('t1', other)).toBe(true);
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
