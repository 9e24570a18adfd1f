import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const mainFile = join(root, 'src', 'main.ts');
const launcher = join(root, 'bin', 'open-responses.js');
const home = mkdtempSync(join(tmpdir(), 'open-responses-command-'));
const started = new Set<ChildProcess>();
/** What Node and its libraries say on their own behalf is not what is tested here. */
const quiet = ['--no-warnings'];

afterEach(() => {
  for (const child of started) child.kill('SIGKILL');
  started.clear();
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

type Env = Readonly<Record<string, string>>;
type Ended = {
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
};

/** Starts Node in an empty directory, with nothing of this machine's environment. */
function start(args: readonly string[], env: Env = {}) {
  const child = spawn(process.execPath, [...quiet, ...args], { cwd: home, env, stdio: ['ignore', 'pipe', 'pipe'] });
  started.add(child);
  const text = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text.out += piece;
  });
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    text.err += piece;
  });
  const ended = once(child, 'close').then(([code, signal]): Ended => ({ code, signal, ...text }));
  return { child, text, ended };
}

function run(args: readonly string[], env?: Env): Promise<Ended> {
  return start([mainFile, ...args], env).ended;
}

/** Starts a server on a free port and waits for its banner. */
async function serve(args: readonly string[], node: readonly string[] = [mainFile]) {
  const process = start([...node, '--server.port=0', '--log.level=error', ...args]);
  const address = /Address +(http:\S+\/v1)\n/;
  const url = await Promise.race([
    until(() => address.exec(process.text.out)?.[1]),
    process.ended.then((ended) => Promise.reject(new Error(`It did not start: ${JSON.stringify(ended)}`))),
  ]);
  return { ...process, url };
}

async function until<T>(read: () => T | undefined): Promise<T> {
  for (;;) {
    const value = read();
    if (value !== undefined) return value;
    await pause(20);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function ask(url: string): Promise<Response> {
  return fetch(`${url}/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo', input: 'Say something.', stream: true }),
  });
}

describe('without a server', () => {
  it.each([[['--help']], [['serve', '--help']], [['--bogus', '-h']]])('%j prints the usage', async (args) => {
    const { code, out, err } = await run(args);
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toMatch(/^Usage: open-responses \[serve\] \[options\]\n/);
    expect(out).toContain('--store.default[=true|false]');
  });

  it.each([[mainFile], [launcher]])('%s --version prints the version of the package', async (file) => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(await start([file, '--version']).ended).toMatchObject({ code: 0, out: `${version}\n`, err: '' });
  });

  it.each<[readonly string[], Env, string]>([
    [['--server.prot', '1'], {}, '--server.prot (flag) is unknown. Did you mean --server.port?'],
    [['serve', '--server.port=99999'], {}, '--server.port (flag) is "99999": it must be a whole number from 0 to'],
    [['start'], {}, 'Unknown command start'],
    [['--config', 'nowhere.properties'], {}, 'nowhere.properties (--config) does not exist'],
    [[], { OPEN_RESPONSES_STORE_TYPE: 'mongo' }, 'OPEN_RESPONSES_STORE_TYPE (environment variable) is "mongo"'],
    [[], { OPENAI_API_KEY: 'sk-Secret Secret' }, 'OPENAI_API_KEY (environment variable) has a value'],
    [['--default-provider=nobody'], {}, 'nobody'],
    [['--models.x=nobody/y'], {}, 'nobody/y'],
  ])('%j %j ends with exit code 2 and one line', async (args, env, message) => {
    const { code, out, err } = await run(args, env);
    expect(err).toContain(message);
    expect(err).toMatch(/^open-responses: [^\n]+\n$/);
    expect(err).not.toContain('Secret');
    expect(out).toBe('');
    expect(code).toBe(2);
  });

  it('reads the properties file of the working directory', async () => {
    const file = join(home, 'open-responses.properties');
    writeFileSync(file, '# mine\nopen-responses.server.port=many\n');
    const { code, err } = await run([]);
    rmSync(file);
    expect(err).toContain('open-responses.server.port (open-responses.properties:2) is "many"');
    expect(code).toBe(2);
  });

  it('tells an old Node.js apart before it loads anything', async () => {
    const old = 'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.19.2" } })';
    const { code, out, err } = await start(['--import', `data:text/javascript,${old}`, launcher]).ended;
    expect(err).toMatch(/^open-responses needs Node\.js 24 or newer: this is v\d+\.\d+\.\d+\.\n$/);
    expect(out).toBe('');
    expect(code).toBe(2);
  });
});

describe('a server', () => {
  it.each([['SIGTERM'], ['SIGINT']] as const)('ends in order on %s', async (signal) => {
    const { child, ended, url } = await serve([]);
    expect((await fetch(`${url}/models`)).status).toBe(200);
    child.kill(signal);
    expect(await ended).toMatchObject({ code: 0, signal: null, err: '' });
  });

  it('starts by the launcher too', async () => {
    const { child, ended, url } = await serve(['--no-stream.done'], [launcher]);
    expect((await fetch(`${url}/models`)).status).toBe(200);
    child.kill('SIGTERM');
    expect((await ended).code).toBe(0);
  });

  it('lets an open stream finish, also when the signal comes twice at once', async () => {
    const { child, ended, url } = await serve(['--demo.chunk-delay=50ms']);
    const response = await ask(url);
    child.kill('SIGTERM');
    child.kill('SIGTERM');
    expect(await response.text()).toContain('event: response.completed');
    expect((await ended).code).toBe(0);
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('ends at once on a second %s', async (signal, code) => {
    const { child, ended, url } = await serve(['--demo.chunk-delay=10m', '--server.shutdown-timeout=10m']);
    const response = await ask(url);
    const body = response.text().catch(() => 'cut off');
    child.kill(signal);
    await pause(500);
    expect(child.exitCode).toBeNull();
    child.kill(signal);
    expect((await ended).code).toBe(code);
    expect(await body).not.toContain('event: response.completed');
  });

  it('says in one line that its port is in use', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { code, out, err } = await run([`--server.port=${port}`, '--log.level=silent']);
    other.close();
    expect(err).toBe(
      `open-responses: Port ${port} on 127.0.0.1 is already in use. Stop what uses it, or choose another with --server.port.\n`,
    );
    expect(out).toBe('');
    expect(code).toBe(1);
  });

  it('logs what nothing caught, and goes on', async () => {
    const script = `
      const { main } = await import(${JSON.stringify(pathToFileURL(mainFile).href)});
      await main(process.argv.slice(1));
      setTimeout(() => { throw new Error('thrown', { cause: new Error('its cause') }); }, 10);
      Promise.reject(new Error('rejected'));`;
    const { child, ended, text, url } = await serve([], ['--input-type=module', '-e', script, '--']);
    await until(() => (text.err.includes('thrown') && text.err.includes('rejected') ? true : undefined));
    expect((await fetch(`${url}/models`)).status).toBe(200);
    const lines = text.err.trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { level: number }).level)).toEqual([50, 50]);
    expect(text.err).toContain('its cause');
    child.kill('SIGTERM');
    expect((await ended).code).toBe(0);
  });

  it('survives readers of its output that go away', async () => {
    const { child, ended, url } = await serve([]);
    child.stdout?.destroy();
    child.stderr?.destroy();
    expect((await fetch(`${url}/nowhere`)).status).toBe(404);
    child.kill('SIGTERM');
    expect((await ended).code).toBe(0);
  });

  it('keeps SQLite where the path says, and tells so', async () => {
    const { child, ended, text } = await serve(['--store.type=sqlite', '--sqlite.path=kept.sqlite', '--store.default']);
    expect(text.out).toContain('sqlite: durable, in kept.sqlite');
    expect(text.out).toContain('is stored, as at OpenAI');
    expect(existsSync(join(home, 'kept.sqlite'))).toBe(true);
    child.kill('SIGTERM');
    expect((await ended).code).toBe(0);
  });
});

it.each(['/etc/hostname/x.sqlite', '/nowhere/at/all/x.sqlite', mainFile])(
  'a path that can be no database of ours is a wrong configuration: %s',
  async (path) => {
    const flags = ['--server.port=0', '--store.type=sqlite', `--sqlite.path=${path}`];
    const { code, out, err } = await start([mainFile, ...flags]).ended;
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(err).toContain('open-responses.sqlite.path');
  },
);
