import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { type Json, storeSettings, TestServer } from '../support/harness.ts';
import { bearer } from '../support/open-server.ts';
import { RawSocket } from '../support/raw-socket.ts';
import {
  answerStatus,
  answerText,
  chunk,
  cutAfter,
  type Handler,
  hang,
  startUpstream,
  type Upstream,
} from '../support/upstream.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const secrets = {
  key: 'sk-server-Secret-1',
  token: 'caller-Secret-2',
  asked: 'Secret-3 of the question',
  said: 'Secret-4 of the answer',
  note: 'Secret-5 of the metadata',
};

type Logged = {
  readonly server: TestServer;
  readonly upstream: Upstream;
  /** Everything on stderr so far. */
  readonly text: () => string;
  /** The line of a request, as soon as it is there. */
  readonly line: (requestId: string) => Promise<Json>;
  readonly stop: () => Promise<Json[]>;
};

/** The real command over a scripted upstream. */
async function command(
  settings: Record<string, string> = {},
  script: Handler = answerText(secrets.said),
): Promise<Logged> {
  const upstream = await startUpstream(script);
  onTestFinished(() => upstream.close());
  const given = {
    'server.port': '0',
    'log.level': 'info',
    'providers.up.base-url': upstream.url,
    'default-provider': 'up',
    'upstream.max-retries': '0',
    ...settings,
  };
  const args = Object.entries(given).map(([name, value]) => `--${name}=${value}`);
  const env = { OPEN_RESPONSES_PROVIDERS_UP_API_KEY: secrets.key };
  const child: ChildProcess = spawn(process.execPath, ['--no-warnings', main, ...args], {
    env,
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const text = { out: '', err: '' };
  let wake: () => void = () => {};
  for (const [stream, name] of [
    [child.stdout, 'out'],
    [child.stderr, 'err'],
  ] as const) {
    stream?.setEncoding('utf8').on('data', (piece: string) => {
      text[name] += piece;
      wake();
    });
  }
  const ended = once(child, 'close');
  void ended.then(() => wake());
  const until = async <T>(find: () => T | undefined): Promise<T> => {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      if (child.exitCode !== null) throw new Error(`it ended: ${text.err}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const url = await until(() => /Address +(http:\S+)\/v1\n/.exec(text.out)?.[1]);
  // Of a running command, tests need to know no more than where it is.
  const server = new TestServer({ url } as TestServer['running']);
  const lines = () =>
    text.err
      .split('\n')
      .slice(0, -1)
      .map((line): Json => JSON.parse(line));
  return {
    server,
    upstream,
    text: () => text.err,
    line: (id) => until(() => lines().find((line) => line.reqId === id && line.msg === 'request')),
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
      expect(text.err === '' || text.err.endsWith('\n')).toBe(true);
      return lines();
    },
  };
}

const body = {
  model: 'm',
  input: secrets.asked,
  instructions: secrets.asked,
  metadata: { note: secrets.note },
  store: true,
};

function expectNoSecret(text: string): void {
  for (const [name, secret] of Object.entries(secrets)) expect(text.includes(secret), name).toBe(false);
  expect(text).not.toMatch(/Secret/);
}

it('one line per request, with its id and what became of it, and nothing that was said', async () => {
  const { server, line, stop } = await command();
  const asked = [
    ['POST', '/v1/responses', body, 200],
    ['POST', '/v1/responses', { ...body, stream: true }, 200],
    ['POST', '/v1/conversations', { items: [{ role: 'user', content: secrets.asked }] }, 200],
    ['GET', `/v1/models?api_key=${secrets.token}`, undefined, 200],
    ['GET', `/v1/responses/resp_1?token=${secrets.token}`, undefined, 400],
    ['POST', '/v1/responses', `{"input": "${secrets.asked}`, 400],
    ['POST', '/v1/responses', { ...body, [secrets.asked]: 1 }, 400],
    ['GET', '/v1/nothing', undefined, 404],
    ['PUT', '/v1/responses', undefined, 405],
    ['GET', '/v1/responses/%', undefined, 400],
    ['GET', `/v1/responses/${'x'.repeat(1_000)}`, undefined, 404],
    ['GET', '/healthz', undefined, 200],
  ] as const;
  const seen: string[] = [];
  for (const [method, path, sent, status] of asked) {
    const answer = await server.send(method, path, sent, bearer(secrets.token));
    expect(answer.status, path).toBe(status);
    const id = answer.headers.get('x-request-id') ?? '';
    seen.push(id);
    const logged = await line(id);
    expect(logged).toMatchObject({ level: 30, method, path: path.split('?')[0], status, ip: '127.0.0.1' });
    expect(logged.ms).toBeTypeOf('number');
    expect(logged.left).toBeUndefined();
  }
  const wrong = await server.get('/v1/models', { authorization: `Basic ${secrets.token}` });
  await line(wrong.headers.get('x-request-id') ?? '');
  const lines = await stop();
  expectNoSecret(JSON.stringify(lines));
  expect(new Set(seen).size).toBe(seen.length);
  const requests = lines.filter((each) => each.msg === 'request').map((each) => each.reqId);
  expect(requests).toEqual([...seen, wrong.headers.get('x-request-id')]);
});

it('a client that leaves has its line too', async () => {
  const { server, upstream, stop, text } = await command({}, hang);
  const socket = await RawSocket.open(server.url);
  socket.send(
    'POST /v1/responses HTTP/1.1',
    ['host: localhost', 'content-type: application/json'],
    JSON.stringify(body),
  );
  const request = await upstream.request(0);
  socket.socket.destroy();
  await request.gone;
  const lines = await stop();
  expect(lines.filter((each) => each.msg === 'request')).toMatchObject([{ path: '/v1/responses', left: true }]);
  expect(lines.find((each) => each.msg === 'request')).not.toHaveProperty('status');
  expectNoSecret(text());
});

it('failures of an upstream that quotes keys and messages say nothing of them', async () => {
  const { server, upstream, line, stop, text } = await command();
  const quoted = { error: { message: `${Object.values(secrets).join(' ')} is wrong`, code: 'x' } };
  const failures: Handler[] = [
    ...[400, 401, 403, 404, 408, 422, 429, 500, 502, 503].map((status) => answerStatus(status, quoted)),
    answerStatus(500, `plain ${secrets.said}`),
    (reply) => reply.json(quoted),
    (reply) => reply.json({ choices: secrets.said }),
    (reply) => reply.cut(),
    cutAfter([chunk({ content: secrets.said })]),
    (reply) => {
      reply.open();
      reply.event(`{"choices": ${secrets.said}`);
      reply.event(quoted);
      reply.end();
    },
    (reply) => void reply.response.socket?.end(`no HTTP: ${secrets.said}\r\n\r\n`),
  ];
  for (const failure of failures) {
    upstream.use(failure);
    for (const stream of [false, true]) {
      const answer = await server.post('/v1/responses', { ...body, stream }, bearer(secrets.token));
      await line(answer.headers.get('x-request-id') ?? '');
      expect(JSON.stringify(answer.body)).not.toContain(secrets.key);
    }
    await server.get('/v1/models', bearer(secrets.token));
  }
  await stop();
  expectNoSecret(text());
});

it('with log.content what was said is there, and still no key', async () => {
  const { server, stop, text } = await command({ 'log.content': 'true' });
  const answer = await server.post('/v1/responses', body, bearer(secrets.token));
  const lines = await stop();
  expect(text()).toContain(secrets.asked);
  expect(text()).toContain(secrets.said);
  expect(text()).not.toContain(secrets.key);
  expect(text()).not.toContain(secrets.token);
  const ours = lines.filter((each) => each.reqId === answer.headers.get('x-request-id'));
  expect(ours.map((each) => each.msg)).toEqual(['request body', 'response body', 'request']);
});

it('what fails within the server is logged with its cause, and answered without', async () => {
  const settings = await storeSettings('sqlite');
  const { server, stop, text } = await command({ ...settings, 'log.level': 'error' });
  const { body: conversation } = await server.post('/v1/conversations', {});
  const database = new DatabaseSync(settings['sqlite.path'] ?? '');
  database.exec('PRAGMA foreign_keys = OFF');
  for (const { name } of database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all()) {
    database.exec(`DROP TABLE IF EXISTS "${name}"`);
  }
  database.close();
  const answer = await server.get(`/v1/conversations/${conversation.id}`, bearer(secrets.token));
  const lines = await stop();
  expect(answer.status).toBe(500);
  expect(answer.body.error).toEqual({
    message: 'The server had an error while processing your request.',
    type: 'server_error',
    param: null,
    code: null,
  });
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({ level: 50, reqId: answer.headers.get('x-request-id') });
  expect(lines[0].err.message).toContain('no such table');
  expect(lines[0].err.stack).toContain('.ts:');
  expectNoSecret(text());
});

it.each(['warn', 'error', 'silent'])('with log.level=%s requests have no lines', async (level) => {
  const { server, stop } = await command({ 'log.level': level });
  expect((await server.get('/v1/models')).status).toBe(200);
  expect(await stop()).toEqual([]);
});
