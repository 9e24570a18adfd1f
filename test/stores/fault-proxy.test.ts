import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { type FaultProxy, seededRandom, startFaultProxy } from '../support/fault-proxy.ts';

/** A client's or the server's end of a connection, and what came through it. */
class End {
  readonly socket: Socket;
  /** Resolves with the code of the error that the connection ended with, or with `closed`. */
  readonly gone: Promise<string>;
  readonly ended: Promise<void>;
  #text = '';
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    let code = 'closed';
    socket.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code ?? 'unknown';
    });
    socket.on('data', (bytes: Buffer) => {
      this.#text += bytes.toString('latin1');
      this.#wake();
    });
    this.ended = new Promise((resolve) => socket.once('end', () => resolve()));
    this.gone = new Promise((resolve) => socket.once('close', () => resolve(code)));
  }

  get text(): string {
    return this.#text;
  }

  /** Resolves when so many characters have come. */
  async has(length: number): Promise<string> {
    while (this.#text.length < length) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#text;
  }
}

type Scene = {
  readonly proxy: FaultProxy;
  /** The server's ends, in the order of their arrival. */
  readonly served: readonly End[];
  open(): Promise<End>;
};

/** A proxy before an echo server that answers every piece with itself. */
async function scene(): Promise<Scene> {
  const served: End[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    served.push(new End(socket));
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await startFaultProxy({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  const clients: Socket[] = [];
  onTestFinished(async () => {
    await proxy.close();
    expect(proxy.connections).toBe(0);
    for (const socket of [...clients, ...served.map((end) => end.socket)]) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  const open = async () => {
    const socket = connect({ host: '127.0.0.1', port: proxy.port, allowHalfOpen: true });
    clients.push(socket);
    const end = new End(socket);
    await once(socket, 'connect');
    return end;
  };
  return { proxy, served, open };
}

/** Sends a text through and waits for its echo. */
async function roundTrip(client: End, text: string): Promise<void> {
  const before = client.text;
  client.socket.write(text);
  expect(await client.has(before.length + text.length)).toBe(before + text);
}

it('passes bytes and ends on, both ways', async () => {
  const { proxy, served, open } = await scene();
  const client = await open();
  const large = 'abcdefgh'.repeat(100_000);
  await roundTrip(client, large);
  expect(proxy.counts).toMatchObject({ accepted: 1, up: large.length, down: large.length, held: 0, swallowed: 0 });
  client.socket.end();
  expect(await client.gone).toBe('closed');
  expect(await served[0]?.gone).toBe('closed');
  await vi.waitFor(() => expect(proxy.connections).toBe(0));
});

it('cuts after exactly so many bytes in one direction, once', async () => {
  const { proxy, served, open } = await scene();
  const random = seededRandom(7);
  for (let round = 0; round < 50; round += 1) {
    const bytes = Math.floor(random() * 3_000);
    const direction = random() < 0.5 ? 'up' : 'down';
    const client = await open();
    await roundTrip(client, 'before');
    const cut = proxy.cutAfter({ bytes, direction });
    for (const size of [1, 999, 2_000, 500]) client.socket.write('x'.repeat(size));
    expect(await cut).toBe(true);
    expect(await client.gone).toBe('ECONNRESET');
    expect(await served.at(-1)?.gone).toBe('ECONNRESET');
    const receiver = direction === 'up' ? served.at(-1) : client;
    expect(receiver?.text).toBe(`before${'x'.repeat(bytes)}`);
  }
  expect(proxy.connections).toBe(0);
  await roundTrip(await open(), 'as before');
});

it('lets one connection have a cut, and leaves the others alone', async () => {
  const { proxy, open } = await scene();
  const [one, other] = [await open(), await open()];
  const cut = proxy.cutAfter({ bytes: 5, direction: 'up' });
  await roundTrip(one, 'abc');
  await roundTrip(other, 'something long');
  one.socket.write('defg');
  expect(await cut).toBe(true);
  expect(await one.gone).toBe('ECONNRESET');
  await roundTrip(other, ' and more');
});

it('counts from the first piece that holds a text', async () => {
  const { proxy, served, open } = await scene();
  const client = await open();
  const cut = proxy.cutAfter({ bytes: 3, direction: 'up', containing: 'COMMIT' });
  await roundTrip(client, 'INSERT INTO entries');
  client.socket.write('COMMIT');
  expect(await cut).toBe(true);
  await served[0]?.gone;
  expect(served[0]?.text).toBe('INSERT INTO entriesCOM');
});

it('says when the cut of a connection can no longer happen', async () => {
  const { proxy, open } = await scene();
  const client = await open();
  const cut = proxy.cutAfter({ bytes: 100, direction: 'up' });
  const unclaimed = proxy.cutAfter({ bytes: 0, direction: 'up', containing: 'never' });
  await roundTrip(client, 'abc');
  proxy.cutAll();
  expect(await cut).toBe(false);
  await proxy.close();
  expect(await unclaimed).toBe(false);
});

it('cuts every open connection, and takes new ones', async () => {
  const { proxy, served, open } = await scene();
  const clients = [await open(), await open(), await open()];
  for (const client of clients) await roundTrip(client, 'hello');
  expect(proxy.connections).toBe(3);
  proxy.cutAll();
  expect(await Promise.all(clients.map((client) => client.gone))).toEqual(Array(3).fill('ECONNRESET'));
  expect(await Promise.all(served.map((end) => end.gone))).toEqual(Array(3).fill('ECONNRESET'));
  await vi.waitFor(() => expect(proxy.connections).toBe(0));
  await roundTrip(await open(), 'hello again');
});

it('holds bytes back in their order, and lets them go when the delay is taken away', async () => {
  const { proxy, served, open } = await scene();
  const client = await open();
  await roundTrip(client, 'x');
  proxy.delay(600_000);
  client.socket.write('abc');
  await vi.waitFor(() => expect(proxy.counts.held).toBe(3));
  client.socket.end('def');
  await vi.waitFor(() => expect(proxy.counts.held).toBe(6));
  expect(served[0]?.text).toBe('x');
  proxy.delay(0);
  expect(await client.has(7)).toBe('xabcdef');
  await Promise.all([served[0]?.ended, client.ended]);
  expect(await client.gone).toBe('closed');
});

it('delays every piece and keeps their order', async () => {
  const { proxy, open } = await scene();
  const client = await open();
  proxy.delay(5);
  let sent = '';
  for (let index = 0; index < 200; index += 1) {
    sent += `${index},`;
    client.socket.write(`${index},`);
    if (index % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await client.has(sent.length)).toBe(sent);
});

it('holds no more than its bound: the sender waits', async () => {
  const { proxy, open } = await scene();
  const client = await open();
  await roundTrip(client, 'x');
  proxy.delay(600_000);
  const megabyte = 1024 * 1024;
  client.socket.write(Buffer.alloc(32 * megabyte));
  await vi.waitFor(() => expect(proxy.counts.held).toBeGreaterThan(megabyte));
  // Turns enough to read all of it, were it not for the bound.
  for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(proxy.counts.held).toBeLessThan(2 * megabyte);
  proxy.delay(0);
  await client.has(32 * megabyte + 1);
});

it('waits for a receiver that does not read', async () => {
  const { proxy, served, open } = await scene();
  const client = await open();
  await roundTrip(client, 'x');
  served[0]?.socket.unpipe();
  served[0]?.socket.pause();
  const megabyte = 1024 * 1024;
  const total = 64 * megabyte;
  client.socket.write(Buffer.alloc(total));
  let before = -1;
  await vi.waitFor(() => {
    const { up } = proxy.counts;
    const isStill = up === before;
    before = up;
    expect(isStill).toBe(true);
  });
  expect(proxy.counts.up).toBeLessThan(total);
  expect(proxy.counts.held).toBeLessThan(2 * megabyte);
  served[0]?.socket.resume();
  await served[0]?.has(total + 1);
});

it('ends one direction and lets the other go on', async () => {
  for (const direction of ['down', 'up'] as const) {
    const { proxy, served, open } = await scene();
    const client = await open();
    await roundTrip(client, 'abc');
    const [server] = served;
    proxy.halfClose(direction);
    await (direction === 'down' ? client : server)?.ended;
    if (direction === 'down') {
      client.socket.write('def');
      await server?.has(6);
      await vi.waitFor(() => expect(proxy.counts.swallowed).toBe(3));
      expect(client.text).toBe('abc');
    } else {
      client.socket.write('lost');
      await vi.waitFor(() => expect(proxy.counts.swallowed).toBe(4));
      expect(server?.text).toBe('abc');
    }
  }
});

it('swallows everything and keeps connections open, also when a side goes', async () => {
  const { proxy, served, open } = await scene();
  const [client, leaving, resetting] = [await open(), await open(), await open()];
  for (const each of [client, leaving, resetting]) await roundTrip(each, 'abc');
  proxy.blackhole(true);
  client.socket.write('lost');
  served[0]?.socket.write('lost too');
  leaving.socket.end('bye');
  resetting.socket.resetAndDestroy();
  const late = await open();
  late.socket.write('nobody hears');
  await vi.waitFor(() => expect(proxy.counts.swallowed).toBe('lostlost toobyenobody hears'.length));
  await resetting.gone;
  expect(proxy.connections).toBe(4);
  expect(client.text).toBe('abc');
  expect(served.map((end) => [end.text, end.socket.readableEnded, end.socket.closed])).toEqual([
    ['abc', false, false],
    ['abc', false, false],
    ['abc', false, false],
    ['', false, false],
  ]);
  proxy.blackhole(false);
  await served[1]?.ended;
  expect(await served[2]?.gone).toBe('ECONNRESET');
  await roundTrip(client, 'def');
  expect(served[0]?.text).toBe('abcdef');
});

it('refuses new connections and keeps the open ones', async () => {
  const { proxy, served, open } = await scene();
  const client = await open();
  await roundTrip(client, 'abc');
  proxy.refuse(true);
  const refused = new End(connect(proxy.port, '127.0.0.1'));
  expect(await refused.gone).toBe('ECONNRESET');
  await roundTrip(client, 'def');
  expect(served).toHaveLength(1);
  proxy.refuse(false);
  await roundTrip(await open(), 'ghi');
});

it('lets a request through and drops its answer', async () => {
  const { proxy, served, open } = await scene();
  const [one, other] = [await open(), await open()];
  for (const client of [one, other]) await roundTrip(client, 'abc');
  proxy.dropAnswers(1);
  one.socket.write('COMMIT');
  expect(await one.gone).toBe('ECONNRESET');
  expect(one.text).toBe('abc');
  expect(served[0]?.text).toBe('abcCOMMIT');
  expect(await served[0]?.gone).toBe('ECONNRESET');
  await roundTrip(other, 'def');
});

it('drops the answers to the requests that hold a text, as many as were asked for', async () => {
  const { proxy, open } = await scene();
  proxy.dropAnswers(2, { containing: 'COMMIT' });
  for (const dropped of [true, true, false]) {
    const client = await open();
    await roundTrip(client, 'BEGIN');
    await roundTrip(client, 'INSERT');
    if (dropped) {
      client.socket.write('COMMIT');
      expect(await client.gone).toBe('ECONNRESET');
      expect(client.text).toBe('BEGININSERT');
    } else {
      await roundTrip(client, 'COMMIT');
    }
  }
  proxy.dropAnswers(1);
  proxy.dropAnswers(0);
  await roundTrip(await open(), 'as before');
});

it('tells a client that the server is not there', async () => {
  const { port } = await (async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    return address;
  })();
  const proxy = await startFaultProxy({ host: '127.0.0.1', port });
  onTestFinished(() => proxy.close());
  expect(await new End(connect(proxy.port, '127.0.0.1')).gone).toBe('ECONNRESET');
  await vi.waitFor(() => expect(proxy.connections).toBe(0));
});

it('closes whatever is open, in whatever state, and twice', async () => {
  const { proxy, served, open } = await scene();
  const clients = [await open(), await open()];
  for (const client of clients) await roundTrip(client, 'abc');
  proxy.delay(600_000);
  proxy.blackhole(true);
  for (const client of clients) client.socket.write('held');
  await vi.waitFor(() => expect(proxy.counts.held).toBe(8));
  await Promise.all([proxy.close(), proxy.close()]);
  expect(proxy.connections).toBe(0);
  for (const end of [...clients, ...served]) expect(await end.gone).toBe('ECONNRESET');
  expect(await new End(connect(proxy.port, '127.0.0.1')).gone).toBe('ECONNREFUSED');
});

it('puts itself into the URIs of databases', async () => {
  const { proxy } = await scene();
  const here = `127.0.0.1:${proxy.port}`;
  const cases = [
    ['postgres://db.example', `postgres://${here}`],
    ['postgresql://user:p%40ss@[::1]:5432/db?sslmode=disable', `postgresql://user:p%40ss@${here}/db?sslmode=disable`],
    ['mongodb://a.example:27017,b.example:27018/db?w=1', `mongodb://${here}/db?w=1`],
    ['mongodb://u:p@h/?directConnection=true', `mongodb://u:p@${here}/?directConnection=true`],
  ];
  for (const [of = '', expected] of cases) expect(proxy.uri(of)).toBe(expected);
  for (const of of ['mongodb+srv://h/db', 'postgres:///db?host=/tmp', 'postgres://h/db?host=other', 'http://h/'])
    expect(() => proxy.uri(of)).toThrow('URIs');
});

it('refuses what makes no sense', async () => {
  const { proxy } = await scene();
  for (const bytes of [-1, 0.5, Number.NaN]) expect(() => proxy.cutAfter({ bytes, direction: 'up' })).toThrow('bytes');
  for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY]) expect(() => proxy.delay(ms)).toThrow('ms');
  for (const count of [-1, 0.5]) expect(() => proxy.dropAnswers(count)).toThrow('count');
});

it('draws the same numbers from the same seed', () => {
  const draw = (seed: number) => Array.from({ length: 1_000 }, seededRandom(seed));
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
  expect(draw(1).every((number) => number >= 0 && number < 1)).toBe(true);
  // Known values of mulberry32.
  expect(draw(0).slice(0, 2)).toEqual([0.26642920868471265, 0.0003297457005828619]);
});
