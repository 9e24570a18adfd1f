import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { Command, temporaryFolder } from '../support/command.ts';
import type { Json } from '../support/harness.ts';
import { childrenOf, signal } from '../support/process-table.ts';
import { RawSocket } from '../support/raw-socket.ts';
import {
  ask,
  died,
  get,
  oneEach,
  present,
  type Running,
  serve,
  servedBy,
  serveIn,
  two,
  untilListening,
  workersOf,
} from '../support/workers.ts';

// Every test starts several processes.
vi.setConfig({ testTimeout: 60_000 });

async function isRefused(url: string): Promise<boolean> {
  return RawSocket.open(url).then(
    () => false,
    () => true,
  );
}

/** A stream that takes a while, begun on a connection; `rest` is its end, or what came of it. */
async function beginStream(socket: RawSocket): Promise<{ readonly rest: Promise<string> }> {
  const headers = ['host: localhost', 'content-type: application/json', 'connection: close'];
  const body = { model: 'demo', input: `Say exactly: ${'again '.repeat(8)}`, stream: true, store: true };
  const begun = new Promise<void>((resolve) => {
    socket.socket.on('data', () => {
      if (socket.rest.includes('output_text.delta')) resolve();
    });
  });
  socket.send('POST /v1/responses HTTP/1.1', headers, JSON.stringify(body));
  await begun;
  return { rest: socket.closed.then(() => socket.rest) };
}

describe('serving', () => {
  it('has one address, one banner and one state', async () => {
    const running = await serve();
    const { command } = running;
    expect(command.out.match(/OpenResponses/g)).toHaveLength(1);
    expect(command.out).toContain('Workers        2 processes');
    const workers = workersOf(command);
    expect(new Set(workers).size).toBe(2);
    expect(workers).not.toContain(command.pid);
    expect(new Set(command.lines().map(({ msg }) => msg))).toEqual(new Set([`Server listening at ${running.url}`]));
    const sockets = [...(await oneEach(running)).values()];
    const one = present(sockets[0]);
    const other = present(sockets[1]);
    const { id } = (await ask(one, {}, '/v1/conversations')).body;
    const expected: string[] = [];
    const pids: number[] = [];
    let past: string | null = null;
    for (let turn = 0; turn < 10; turn += 1) {
      const [writer, reader] = turn % 2 === 0 ? [one, other] : [other, one];
      const told = await ask(writer, { model: 'demo', input: `Say exactly: ${turn}`, conversation: id });
      expect(told.status).toBe(200);
      pids.push(await servedBy(running, told));
      expected.push(`Say exactly: ${turn}`, `${turn}`);
      const items = await get(reader, `/v1/conversations/${id}/items?order=asc&limit=100`);
      expect(items.body.data.map((item: Json) => item.content[0].text)).toEqual(expected);
      const link = await ask(reader, { model: 'demo', input: 'x', previous_response_id: past, store: true });
      expect(link.status).toBe(200);
      past = link.body.id;
    }
    expect(pids.every((pid, at) => pid === pids[at % 2])).toBe(true);
    expect([...pids.slice(0, 2)].sort()).toEqual([...workers].sort());
    command.child.kill('SIGTERM');
    expect(await command.ended).toEqual({ code: 0, signal: null });
    expect(command.lines().every(({ level }) => level === 30)).toBe(true);
  });

  it('hands connections out in turn, whatever the environment says of that', async () => {
    // For Node's cluster: leave it to the system, which spreads connections unevenly.
    const running = await serve([], { env: { NODE_CLUSTER_SCHED_POLICY: 'none' } });
    const served: number[] = [];
    for (let count = 0; count < 24; count += 1) {
      const socket = await RawSocket.open(running.url);
      served.push(await servedBy(running, await get(socket, '/healthz')));
    }
    const [one = 0, other = 0] = served;
    expect([one, other].sort()).toEqual(workersOf(running.command).sort());
    expect(served).toEqual(served.map((_, at) => (at % 2 === 0 ? one : other)));
  });

  it('with one worker is one process', async () => {
    const folder = await temporaryFolder();
    const command = new Command(folder, ['--workers=1', '--server.port=0']);
    await command.url();
    expect(await untilListening(command, 1)).toEqual([command.pid]);
    expect(childrenOf(command.pid)).toEqual([]);
    expect(command.out).not.toContain('Workers');
    command.child.kill('SIGTERM');
    expect((await command.ended).code).toBe(0);
  });

  it('tells its workers no secret by their arguments or environment', async () => {
    const folder = await temporaryFolder();
    writeFileSync(join(folder, 'key'), 'sk-of-the-file');
    const settings = 'open-responses.providers.x.headers=X-Secret=of-the-properties\n';
    writeFileSync(join(folder, 'open-responses.properties'), settings);
    const flags = [
      ...['--providers.x.base-url=http://127.0.0.1:9/v1', '--providers.x.api-key-file=key'],
      ...['--providers.y.base-url=http://127.0.0.1:9/v1', '--providers.y.api-key=sk-of-the-flag'],
    ];
    const { command } = await serveIn(folder, flags);
    const told = workersOf(command).flatMap((pid) =>
      ['cmdline', 'environ'].map((file) => `/proc/${pid}/${file}`).filter((path) => existsSync(path)),
    );
    const texts = told.map((path) => readFileSync(path, 'utf8'));
    expect(texts.filter((text) => /\bmain\.ts\0worker\b/.test(text))).toHaveLength(told.length / 2);
    expect(texts.filter((text) => /of-the-(?:file|properties|flag)/.test(text))).toEqual([]);
  });
});

describe('stopping', () => {
  const slow = ['--demo.chunk-delay=100ms', '--server.shutdown-timeout=10m'];
  const endless = ['--demo.chunk-delay=10m', '--server.shutdown-timeout=10m'];

  async function streams(running: Running) {
    const sockets = [...(await oneEach(running)).values()];
    return Promise.all(sockets.map((socket) => beginStream(socket)));
  }

  /** New work is refused by whoever takes the connection. */
  async function untilStopping({ url }: Running): Promise<void> {
    for (;;) {
      // A connection that a stopping server finds without a request is closed.
      const answer = await get(await RawSocket.open(url), '/readyz').catch(() => undefined);
      if (answer?.status === 503) return;
    }
  }

  it.each(['the primary', 'the whole group'] as const)('lets streams finish: a signal to %s', async (whom) => {
    const running = await serve(slow, { isGroup: true });
    const { command, url } = running;
    const open = await streams(running);
    process.kill(whom === 'the primary' ? command.pid : -command.pid, 'SIGINT');
    await untilStopping(running);
    const texts = await Promise.all(open.map(({ rest }) => rest));
    expect(texts.map((text) => text.includes('event: response.completed'))).toEqual([true, true]);
    expect(await command.ended).toEqual({ code: 0, signal: null });
    expect(workersOf(command)).toHaveLength(2);
    expect(command.logged(died)).toEqual([]);
    expect(await isRefused(url)).toBe(true);
  });

  it('a second signal ends them at once, to the group too', async () => {
    const running = await serve(endless, { isGroup: true });
    const { command } = running;
    const open = await streams(running);
    process.kill(-command.pid, 'SIGINT');
    await untilStopping(running);
    // Another signal than the first can't be taken for its echo.
    process.kill(-command.pid, 'SIGTERM');
    expect(await command.ended).toEqual({ code: 143, signal: null });
    const texts = await Promise.all(open.map(({ rest }) => rest));
    expect(texts.filter((text) => text.includes('event: response.completed'))).toEqual([]);
    expect(command.lines().filter(({ level }) => level > 30)).toEqual([]);
  });

  it('a signal to a worker is no order: the primary gives them', async () => {
    const running = await serve();
    const sockets = await oneEach(running);
    for (const pid of sockets.keys()) {
      signal(pid, 'SIGTERM');
      signal(pid, 'SIGINT');
    }
    for (const [pid, socket] of sockets) {
      expect(await servedBy(running, await get(socket, '/readyz'))).toBe(pid);
    }
    expect(running.command.logged(died)).toEqual([]);
  });

  it('a worker that does not end is ended', async () => {
    const { command } = await serve(['--server.shutdown-timeout=0']);
    const [halted] = workersOf(command);
    signal(present(halted), 'SIGSTOP');
    command.child.kill('SIGTERM');
    expect(await command.ended).toEqual({ code: 1, signal: null });
    const late = command.logged('a worker did not end in order');
    expect(late).toMatchObject([{ worker: halted, signal: 'SIGKILL' }]);
  });

  it('when the primary is killed, streams finish and the workers end', async () => {
    const running = await serve(slow);
    const { command, url } = running;
    const open = await streams(running);
    command.child.kill('SIGKILL');
    await once(command.child, 'exit');
    // Nobody is left who would take a connection.
    expect(await isRefused(url)).toBe(true);
    const texts = await Promise.all(open.map(({ rest }) => rest));
    expect(texts.map((text) => text.includes('event: response.completed'))).toEqual([true, true]);
    expect(await command.ended).toEqual({ code: null, signal: 'SIGKILL' });
    const pids = workersOf(command);
    expect(pids).toHaveLength(2);
  });

  it('workers without a primary serve nothing new, and a signal ends them at once', async () => {
    const running = await serve(endless);
    const { command } = running;
    const open = await streams(running);
    const idle = await oneEach(running);
    command.child.kill('SIGKILL');
    await once(command.child, 'exit');
    await Promise.all([...idle.values()].map(({ closed }) => closed));
    for (const pid of workersOf(command)) signal(pid, 'SIGTERM');
    await command.ended;
    const texts = await Promise.all(open.map(({ rest }) => rest));
    expect(texts.filter((text) => text.includes('event: response.completed'))).toEqual([]);
  });
});

describe('starting', () => {
  async function failure(args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
    const command = new Command(await temporaryFolder(), args);
    const { code } = await command.ended;
    return { code, out: command.out, err: command.err };
  }

  it.each([[['--workers=2']], [['--server.workers=3', '--store.type=in-memory']]])(
    'refuses a store that can not be shared: %j',
    async (args) => {
      const { code, out, err } = await failure([...args, '--server.port=0']);
      expect(err).toMatch(/^open-responses: [^\n]*in-memory[^\n]*sqlite[^\n]*\n$/);
      expect(out).toBe('');
      expect(code).toBe(2);
    },
  );

  it('says once that the port is in use', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { code, out, err } = await failure(['--workers=3', '--store.type=sqlite', `--server.port=${port}`]);
    other.close();
    expect(err).toBe(
      `open-responses: Port ${port} on 127.0.0.1 is already in use. Stop what uses it, or choose another with --server.port.\n`,
    );
    expect(out).toBe('');
    expect(code).toBe(1);
  });

  it('says once that the store can not be used', async () => {
    const flags = ['--workers=3', '--store.type=sqlite', '--sqlite.path=/nowhere/at/all/x.sqlite', '--server.port=0'];
    const { code, out, err } = await failure(flags);
    expect(err).toMatch(/^open-responses: open-responses\.sqlite\.path: [^\n]+\n$/);
    expect(out).toBe('');
    expect(code).toBe(2);
  });

  it('refuses a wrong configuration before it starts anything', async () => {
    const { code, out, err } = await failure(['--workers=257', '--store.type=sqlite']);
    expect(err).toMatch(/^open-responses: --workers \(flag\) is "257": [^\n]+\n$/);
    expect(out).toBe('');
    expect(code).toBe(2);
  });

  it('ends where a worker dies before all of them serve, and says so once', async () => {
    const command = new Command(await temporaryFolder(), two);
    const [first] = await untilListening(command, 1);
    signal(present(first), 'SIGKILL');
    expect((await command.ended).code).toBe(1);
    expect(command.out).toBe('');
    expect(command.err.match(/open-responses: [^\n]*/g)).toEqual([
      "open-responses: The server can't start: a worker ended before it could serve (SIGKILL).",
    ]);
  });

  it('is given up by a signal, and nothing stays', async () => {
    const command = new Command(await temporaryFolder(), two);
    await untilListening(command, 1);
    command.child.kill('SIGTERM');
    expect(await command.ended).toEqual({ code: 143, signal: null });
    expect(command.out).toBe('');
    expect(command.err).not.toContain('open-responses: ');
  });

  it('is no command that somebody could type', async () => {
    const { code, err } = await failure(['worker', '--workers=2']);
    expect(err).toContain('Unknown command worker');
    expect(code).toBe(2);
  });
});
