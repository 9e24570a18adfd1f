import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { BSON } from 'mongodb';
import { expect, it, onTestFinished } from 'vitest';
import { StoreUnavailable } from '../../src/store.ts';
import { UnusableDatabase } from '../../src/store-admin.ts';
import { openMongoAdmin } from '../../src/stores/mongodb/admin.ts';
import { indexes } from '../../src/stores/mongodb/schema.ts';
import { createMongoStore } from '../../src/stores/mongodb/store.ts';
import { describeMongo, freshMongoDatabase } from '../support/databases.ts';
import {
  conversationIds,
  follow,
  headOfConversation,
  makeConversation,
  record,
  responseContextIds,
} from '../support/store-fixtures.ts';
import { everything, lookInto, openMongo, tenant } from './mongodb-support.ts';

const source = new URL('../../src/stores/', import.meta.url).href;

async function failure(outcome: Promise<unknown>): Promise<Error> {
  const error = await outcome.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof Error) return error;
  throw new Error('It did not fail');
}

async function admin(uri: string) {
  const opened = await openMongoAdmin({ uri, database: undefined, timeoutMs: 5_000 });
  onTestFinished(() => opened.close());
  return opened;
}

/** Runs a script in a process of its own, which is given the URI. */
async function child(uri: string, script: string): Promise<{ code: number | null; signal: string | null }> {
  const folder = await mkdtemp(join(tmpdir(), 'open-responses-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'script.mts');
  const options = '{ uri: process.argv[2], database: undefined, timeoutMs: 5000, autoMigrate: true, now: Date.now }';
  const head = `
    import { createMongoStore } from '${source}mongodb/store.ts';
    import { setFaultHandler } from '${source}fault-points.ts';
    const dieAt = (name) => setFaultHandler((point) => { if (point === name) process.kill(process.pid, 'SIGKILL'); });
    const open = () => createMongoStore(${options});
    const turn = { kind: 'conversation', base: { threadId: 'conv', position: 0 }, conversationId: 'conv', holder: undefined,
      responseId: 'r1', status: 'completed', responseJson: '{}', input: [], output: [{ id: 'o1', json:
      '{"id":"o1","type":"message"}' }], textBytes: 1, user: undefined, createdAt: 1 };`;
  await writeFile(file, `${head}\n${script}`);
  const process = fork(file, [uri], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  process.disconnect();
  const [code, signal] = await once(process, 'exit');
  return { code, signal };
}

describeMongo('starting on MongoDB', () => {
  it('ten servers that start at once on a new database all serve', async () => {
    const { uri } = await freshMongoDatabase();
    const stores = await Promise.all(Array.from({ length: 10 }, () => openMongo(uri)));
    await Promise.all(stores.map((store, index) => makeConversation(store, tenant, `conv-${index}`, [`i${index}`])));
    for (const index of stores.keys()) {
      expect(await conversationIds(stores[9 - index] ?? stores[0]!, tenant, `conv-${index}`)).toEqual([`i${index}`]);
    }
    const marks = await (await lookInto(uri)).db().collection('openresponses_meta').find().toArray();
    expect(marks).toEqual([{ _id: 'schema', product: 'open-responses', version: 1 }]);
  });

  it('a schema that is behind is refused where it is not to be migrated, and looking changes nothing', async () => {
    const { uri } = await freshMongoDatabase();
    const refused = await failure(openMongo(uri, { autoMigrate: false }));
    expect(refused).toBeInstanceOf(UnusableDatabase);
    expect(refused.message).toContain('open-responses migrate');
    const operator = await admin(uri);
    expect(await operator.schema()).toMatchObject({ version: 0, needed: 1, pending: [expect.stringContaining('7')] });
    expect(await operator.stats()).toEqual({ records: [], diskBytes: undefined, foreign: [] });
    expect(await everything(await lookInto(uri))).toEqual([]);
    expect(await operator.migrate()).toEqual({ version: 1, needed: 1, pending: [] });
    expect(await operator.migrate()).toEqual({ version: 1, needed: 1, pending: [] });
    await openMongo(uri, { autoMigrate: false });
  });

  it('a newer schema is refused and left alone', async () => {
    const { uri } = await freshMongoDatabase();
    const meta = (await lookInto(uri)).db().collection<{ _id: string }>('openresponses_meta');
    const mark = { _id: 'schema', product: 'open-responses', version: 2 };
    await meta.insertOne(mark);
    const operator = await admin(uri);
    const attempts = [openMongo(uri), operator.schema(), operator.migrate(), operator.stats()];
    for (const refused of await Promise.all(attempts.map(failure))) {
      expect(refused).toBeInstanceOf(UnusableDatabase);
      expect(refused.message).toMatch(/newer release: its schema has version 2, this release knows 1/);
    }
    expect(await everything(await lookInto(uri))).toEqual([mark]);
  });

  it.each(['openresponses_entries', 'openresponses_meta'])('a foreign %s is refused and left alone', async (name) => {
    const { uri } = await freshMongoDatabase();
    const client = await lookInto(uri);
    await client.db().collection<{ _id: number }>(name).insertOne({ _id: 1 });
    const refused = await failure(openMongo(uri));
    expect(refused).toBeInstanceOf(UnusableDatabase);
    expect(refused.message).toContain(name);
    const { foreign, records } = await (await admin(uri)).stats();
    expect({ foreign, records }).toEqual({ foreign: [expect.stringContaining(name)], records: [] });
    expect(await everything(client)).toEqual([{ _id: 1 }]);
  });

  it('what others have in the same database is left alone and named', async () => {
    const { uri } = await freshMongoDatabase();
    const client = await lookInto(uri);
    await client.db().collection<{ _id: number }>('responses').insertOne({ _id: 1 });
    await client.db().collection<{ _id: number }>('customers').insertOne({ _id: 2 });
    const store = await openMongo(uri);
    await makeConversation(store, tenant, 'conv', ['a']);
    await store.deleteConversation(tenant, 'conv');
    const { foreign } = await (await admin(uri)).stats();
    expect(foreign).toEqual([expect.stringContaining('responses')]);
    expect(await client.db().collection('responses').find().toArray()).toEqual([{ _id: 1 }]);
    expect(await client.db().collection('customers').find().toArray()).toEqual([{ _id: 2 }]);
  });

  it('the database is the one that is named, else the one of the URI, else openresponses', async () => {
    const { uri, database } = await freshMongoDatabase();
    await openMongo(uri);
    const client = await lookInto(uri);
    expect((await client.db(database).listCollections().toArray()).length).toBe(3);
    const second = `${database}_b`;
    onTestFinished(async () => void (await client.db(second).dropDatabase()));
    await openMongo(uri, { database: second });
    expect((await client.db(second).listCollections().toArray()).length).toBe(3);
  });

  it('counts what is stored', async () => {
    const { uri } = await freshMongoDatabase();
    const store = await openMongo(uri);
    await makeConversation(store, tenant, 'conv', ['a', 'b']);
    await store.acquireLease(tenant, 'conv', 'run', 1_000);
    await follow(store, tenant, 'r1');
    await follow(store, tenant, 'r2', 'r1');
    const base = await headOfConversation(store, tenant, 'conv');
    await store.appendTurn(tenant, record('failed', base, { conversationId: 'conv', createdAt: 5_000 }));
    await makeConversation(store, tenant, 'deleted', ['x']);
    await store.deleteConversation(tenant, 'deleted');
    const { records } = await (await admin(uri)).stats();
    const counts = Object.fromEntries(records.map(({ kind, count }) => [kind, count]));
    expect(counts).toEqual({ conversations: 1, chains: 1, records: 1, responses: 3, items: 8, leases: 1 });
    const responses = records.find(({ kind }) => kind === 'responses');
    expect(responses).toMatchObject({ oldestAt: 1_000, newestAt: 5_000 });
    expect(responses?.bytes).toBe(['r1', 'r2', 'failed'].join('').length + 3 * '{"id":"","object":"response"}'.length);
    expect(records.find(({ kind }) => kind === 'items')?.bytes).toBeGreaterThan(500);
  });

  it('a store that is closed keeps no process alive', async () => {
    const { uri } = await freshMongoDatabase();
    const script = `
      const store = await open();
      await store.createConversation('tenant', { id: 'c', metadata: {}, createdAt: 1 });
      await store.close();`;
    expect(await child(uri, script)).toEqual({ code: 0, signal: null });
    expect(await (await openMongo(uri)).getConversation(tenant, 'c')).toBeDefined();
  });

  it('killed while it migrates, it leaves what the next one finishes', async () => {
    const { uri } = await freshMongoDatabase();
    expect(await child(uri, "dieAt('during_migration'); await open();")).toEqual({ code: null, signal: 'SIGKILL' });
    expect((await (await admin(uri)).schema()).version).toBe(0);
    const store = await openMongo(uri);
    await makeConversation(store, tenant, 'conv', ['a']);
    expect((await (await admin(uri)).schema()).version).toBe(1);
  });

  it.each([
    ['before_append', ['a']],
    ['after_append', ['a', 'o1']],
  ])('killed %s, a turn is there whole or not at all, and the conversation goes on', async (point, expected) => {
    const { uri } = await freshMongoDatabase();
    const store = await openMongo(uri);
    await makeConversation(store, tenant, 'conv', ['a']);
    const script = `const store = await open(); dieAt('${point}'); await store.appendTurn('tenant', turn);`;
    expect(await child(uri, script)).toEqual({ code: null, signal: 'SIGKILL' });
    expect(await conversationIds(store, tenant, 'conv')).toEqual(expected);
    expect((await store.getResponse(tenant, 'r1'))?.status).toBe(expected.length === 2 ? 'completed' : undefined);
    await follow(store, tenant, 'r2');
    expect(await responseContextIds(store, tenant, 'r2')).toEqual(['in-r2', 'out-r2']);
  });
});

it.each([
  'mongodb://user:hush-hush@',
  'mongodb://user:hush-hush@127.0.0.1:1/?nonsense=1',
  'mongodb://user:hush-hush@127.0.0.1:1/?w=0',
  'mongodb://user:hush-hush@127.0.0.1:1/?readConcernLevel=available',
  'mongodb://user:hush-hush@127.0.0.1:1/?readConcernLevel=snapshot',
  'mongodb://user:hush-hush@127.0.0.1:1/?readConcernLevel=majority&w=2',
  'mongodb://user:hush%hush-hush@127.0.0.1:1/',
  'http://user:hush-hush@127.0.0.1:1/',
])('an address that will never do is unusable, and is not told: %s', async (uri) => {
  const error = await failure(
    createMongoStore({ uri, database: undefined, timeoutMs: 500, autoMigrate: true, now: Date.now }),
  );
  expect(error).toBeInstanceOf(UnusableDatabase);
  expect(error.message).not.toContain('\n');
  expect(inspect(error, { depth: 20, showHidden: true })).not.toContain('hush-hush');
});

it('where nobody listens it is unavailable, in time, and the password is not told', async () => {
  const uri = 'mongodb://user:hush-hush@127.0.0.1:1/state';
  const options = { uri, database: undefined, timeoutMs: 500, autoMigrate: true, now: Date.now };
  for (const opening of [createMongoStore(options), openMongoAdmin(options)]) {
    const error = await failure(opening);
    expect(error).toBeInstanceOf(StoreUnavailable);
    expect(error.message).toContain('no server can be reached');
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain('hush-hush');
  }
});

/** Answers every command with what `answer` makes of it. */
async function fakeServer(answer: (command: Record<string, unknown>) => Record<string, unknown>): Promise<number> {
  const server = createServer((socket) => {
    let rest: Buffer = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes]);
      while (rest.length >= 4 && rest.length >= rest.readInt32LE(0)) {
        const size = rest.readInt32LE(0);
        reply(socket, rest.subarray(0, size), answer);
        rest = rest.subarray(size);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function reply(socket: Socket, request: Buffer, answer: (command: Record<string, unknown>) => object): void {
  const [id, code] = [request.readInt32LE(4), request.readInt32LE(12)];
  const isQuery = code === 2004;
  // The greeting may come in the oldest form of a question: flags, a name, two numbers, the document.
  const from = isQuery ? request.indexOf(0, 20) + 9 : 21;
  const body = BSON.serialize(answer(BSON.deserialize(request.subarray(from))));
  const head = Buffer.alloc(16);
  const middle = isQuery ? Buffer.alloc(20) : Buffer.alloc(5);
  if (isQuery) middle.writeInt32LE(1, 16);
  head.writeInt32LE(16 + middle.length + body.length, 0);
  head.writeInt32LE(id, 8);
  head.writeInt32LE(isQuery ? 1 : 2013, 12);
  socket.write(Buffer.concat([head, middle, body]));
}

const greeting = { ok: 1, isWritablePrimary: true, ismaster: true, maxWireVersion: 17, minWireVersion: 0 };

it('a wrong password is unusable, and told without it', async () => {
  const port = await fakeServer((command) => {
    if (isGreeting(command)) return greeting;
    return { ok: 0, code: 18, codeName: 'AuthenticationFailed', errmsg: 'Authentication failed.' };
  });
  const error = await failure(openMongo(`mongodb://user:hush-hush@127.0.0.1:${port}/state`, { timeoutMs: 3_000 }));
  expect(error).toBeInstanceOf(UnusableDatabase);
  expect(error.message).toBe("The MongoDB database can't be used: it does not accept the user or the password");
  expect(inspect(error, { depth: 20, showHidden: true })).not.toContain('hush-hush');
});

function isGreeting(command: Record<string, unknown>): boolean {
  return ['hello', 'ismaster', 'isMaster', 'ping'].some((name) => name in command);
}

function listed(firstBatch: readonly unknown[]): Record<string, unknown> {
  return { ok: 1, cursor: { id: 0, ns: 'x', firstBatch } };
}

/** A server with our schema, whose writes are answered as told. */
function withSchema(answerToWrites: () => Record<string, unknown>, see?: (command: Record<string, unknown>) => void) {
  return fakeServer((command) => {
    see?.(command);
    if (isGreeting(command)) return greeting;
    if ('listCollections' in command) return listed(Object.keys(indexes).map((name) => ({ name })));
    if ('listIndexes' in command) return listed(indexes[String(command['listIndexes'])] ?? []);
    const mark = { _id: 'schema', product: 'open-responses', version: 1 };
    if ('find' in command) return listed([mark]);
    return answerToWrites();
  });
}

it.each([
  ['', 'majority', 'majority'],
  ['w=majority&readConcernLevel=majority', 'majority', 'majority'],
  ['readConcernLevel=local', 'majority', 'local'],
  ['readConcernLevel=linearizable', 'majority', 'linearizable'],
  ['w=3', 3, 'local'],
  ['w=1&readConcernLevel=linearizable', 1, 'linearizable'],
  ['w=dc', 'dc', 'local'],
])('a URI with "%s" writes with w=%s and reads at %s', async (options, w, level) => {
  const writes = new Set<unknown>();
  const reads = new Set<unknown>();
  const port = await withSchema(
    () => ({ ok: 1, n: 1 }),
    ({ find, update, readConcern, writeConcern }) => {
      if (find !== undefined) reads.add((readConcern as { level: unknown }).level);
      if (update !== undefined) writes.add((writeConcern as { w: unknown }).w);
      if (writeConcern !== undefined) expect(writeConcern).toMatchObject({ j: true });
    },
  );
  await openMongo(`mongodb://127.0.0.1:${port}/state?${options}`);
  expect({ writes: [...writes], reads: [...reads] }).toEqual({ writes: [w], reads: [level] });
});

it('a majority that does not confirm in time is unavailable', async () => {
  let writes = 0;
  const port = await withSchema(() => {
    writes += 1;
    return { ok: 1, n: 1, writeConcernError: { code: 64, codeName: 'WriteConcernFailed', errmsg: 'timed out' } };
  });
  const error = await failure(openMongo(`mongodb://127.0.0.1:${port}/state`, { timeoutMs: 1_000 }));
  expect(error).toBeInstanceOf(StoreUnavailable);
  expect(writes).toBeGreaterThan(0);
});

it('while a primary is elected requests wait, and then they are served', async () => {
  const answers = [
    { ok: 0, code: 10107, codeName: 'NotWritablePrimary', errmsg: 'not primary' },
    { ok: 0, code: 11602, codeName: 'InterruptedDueToReplStateChange', errmsg: 'interrupted' },
    { ok: 0, code: 189, codeName: 'PrimarySteppedDown', errmsg: 'stepped down' },
  ];
  const port = await withSchema(() => answers.shift() ?? { ok: 1, n: 1 });
  const store = await openMongo(`mongodb://127.0.0.1:${port}/state`);
  expect(answers).toEqual([]);
  await store.ping();
  answers.push({ ok: 0, code: 91, codeName: 'ShutdownInProgress', errmsg: 'in shutdown' });
  expect(await store.renewLease(tenant, 'conv', 'run', 1_000)).toBe(true);
  expect(answers).toEqual([]);
});

it('rights that are missing are unusable', async () => {
  const port = await fakeServer((command) => {
    if (isGreeting(command)) return greeting;
    return { ok: 0, code: 13, codeName: 'Unauthorized', errmsg: 'not authorized on state to execute command' };
  });
  const error = await failure(openMongo(`mongodb://127.0.0.1:${port}/state`, { timeoutMs: 3_000 }));
  expect(error).toBeInstanceOf(UnusableDatabase);
  expect(error.message).toContain('the user may not do that');
});

it('a server that is no primary is unavailable, and so is one whose disk is full', async () => {
  for (const code of [10107, 14031]) {
    const port = await fakeServer((command) => {
      if (isGreeting(command)) return greeting;
      return { ok: 0, code, errmsg: 'no' };
    });
    const error = await failure(openMongo(`mongodb://127.0.0.1:${port}/state`, { timeoutMs: 1_000 }));
    expect(error).toBeInstanceOf(StoreUnavailable);
  }
});
