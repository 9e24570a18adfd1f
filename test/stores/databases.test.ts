import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MongoClient } from 'mongodb';
import { Client } from 'pg';
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import {
  describeMongo,
  describeOwnMongo,
  describeOwnPostgres,
  describePostgres,
  freshMongoDatabase,
  freshPostgresSchema,
  mongoUri,
  mongoUriOf,
  postgresUri,
  startMongo,
  startPostgres,
} from '../support/databases.ts';
import { withMongo } from '../support/mongo-server.ts';
import { runPostgres, withPostgres } from '../support/postgres-server.ts';
import { isHalted } from '../support/process-table.ts';
import type { OwnServer } from '../support/server-process.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Who is halted does not answer, however long it takes. */
const silenceMs = 300;

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('skipped where there is none');
  return value;
}

/** The rows of a query over a connection of its own, the first column of each. */
async function rows(uri: string, sql: string): Promise<unknown[]> {
  const { rows } = await withPostgres(uri, (client) => client.query({ text: sql, rowMode: 'array' }));
  return rows.map(([first]) => first);
}

/** Tells whether a promise has settled by now. */
function watched(promise: Promise<unknown>): () => boolean {
  let isSettled = false;
  const settle = (): void => {
    isSettled = true;
  };
  promise.then(settle, settle);
  return () => isSettled;
}

/** Nobody listens there. */
async function expectRefused(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  await expect(once(socket, 'connect')).rejects.toThrow('ECONNREFUSED');
}

type Traces = { readonly folder: string; readonly pid: number; readonly sharedMemory: string };

/** What a PostgreSQL has on the machine. */
async function tracesOf({ uri }: Pick<OwnServer, 'uri'>): Promise<Traces> {
  const [data] = await rows(uri, 'show data_directory');
  const lines = readFileSync(join(String(data), 'postmaster.pid'), 'utf8').split('\n');
  const sharedMemory = lines[6]?.trim().split(/\s+/)[1] ?? '';
  return { folder: dirname(String(data)), pid: Number(lines[0]), sharedMemory };
}

/** The numbers of all segments of shared memory, where the system tells them. */
function sharedSegments(): (string | undefined)[] {
  const table = '/proc/sysvipc/shm';
  if (!existsSync(table)) return [];
  return readFileSync(table, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/)[1]);
}

function expectNothingLeft({ folder, pid, sharedMemory }: Traces): void {
  expect(existsSync(folder)).toBe(false);
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  expect(sharedMemory).toMatch(/^\d+$/);
  expect(sharedSegments()).not.toContain(sharedMemory);
}

describePostgres('the shared PostgreSQL', () => {
  it('answers, and has room for many connections', async () => {
    const uri = present(postgresUri());
    expect(await rows(uri, 'select 41 + 1')).toEqual([42]);
    expect(Number((await rows(uri, 'show max_connections'))[0])).toBeGreaterThanOrEqual(100);
  });

  it('gives every test a schema of its own', async () => {
    const [one, other] = [await freshPostgresSchema(), await freshPostgresSchema()];
    await rows(one.uri, 'create table things as select 1 as thing');
    await expect(rows(other.uri, 'select thing from things')).rejects.toThrow('does not exist');
    await rows(other.uri, 'create table things as select 2 as thing');
    expect(await rows(one.uri, 'select thing from things')).toEqual([1]);
    expect(await rows(one.uri, `select thing from ${other.schema}.things`)).toEqual([2]);

    await one.drop();
    await one.drop();
    const left = `select nspname from pg_namespace where nspname in ('${one.schema}', '${other.schema}')`;
    expect(await rows(present(postgresUri()), left)).toEqual([other.schema]);
    expect(await rows(other.uri, 'select thing from things')).toEqual([2]);
  });
});

describe('a schema that nobody drops', () => {
  const made: string[] = [];

  describePostgres('in PostgreSQL', () => {
    it('is made by one test', async () => {
      const { uri, schema } = await freshPostgresSchema();
      await rows(uri, 'create table things (thing int)');
      made.push(schema);
    });

    it('is gone after it', async () => {
      expect(made).toHaveLength(1);
      expect(await rows(present(postgresUri()), `select 1 from pg_namespace where nspname = '${made[0]}'`)).toEqual([]);
    });
  });
});

describeOwnPostgres('a PostgreSQL of its own', () => {
  it('keeps what was acknowledged when it is killed, and leaves nothing behind', async () => {
    const server = present(await startPostgres());
    expect(await rows(server.uri, 'show fsync')).toEqual(['off']);
    expect(await rows(server.uri, 'show synchronous_commit')).toEqual(['on']);
    await rows(server.uri, 'create table things as select 1 as thing');
    const client = new Client({ connectionString: server.uri });
    await client.connect();
    const broken = once(client, 'error');
    await client.query('insert into things values (2)');

    await server.kill();
    await broken;
    await expectRefused(server.port);
    await expect(server.kill()).rejects.toThrow('does not run');

    await server.start();
    expect(server.log()).toContain('was not properly shut down');
    expect(await rows(server.uri, 'select thing from things order by thing')).toEqual([1, 2]);
    await expect(server.start()).rejects.toThrow('runs already');

    const traces = await tracesOf(server);
    await server.kill();
    expect(existsSync(traces.folder)).toBe(true);
    // What a killed server leaves behind is there, so that it can be missed below.
    if (process.platform === 'linux') expect(sharedSegments()).toContain(traces.sharedMemory);
    await server.close();
    await server.close();
    expectNothingLeft(traces);
    await expect(server.start()).rejects.toThrow('was removed');
  });

  it('answers nobody while it is halted, stops in an orderly way, and starts again', async () => {
    const server = present(await startPostgres({ durable: true }));
    expect(await rows(server.uri, 'show fsync')).toEqual(['on']);
    await rows(server.uri, 'create table things as select 1 as thing');
    const before = await tracesOf(server);

    const early = new Client({ connectionString: server.uri });
    await early.connect();
    await server.pause();
    expect(isHalted(before.pid)).toBe(true);
    const answer = early.query('select 1');
    const isAnswered = watched(answer);
    const late = new Client({ connectionString: server.uri, connectionTimeoutMillis: silenceMs });
    await expect(late.connect()).rejects.toThrow('timeout');
    expect(isAnswered()).toBe(false);
    await server.resume();
    await answer;
    await early.end();
    expect(await rows(server.uri, 'select thing from things')).toEqual([1]);

    await server.pause();
    await server.stop();
    await expectRefused(server.port);
    await server.start();
    expect(server.log()).not.toContain('was not properly shut down');
    expect(await rows(server.uri, 'select thing from things')).toEqual([1]);

    const traces = await tracesOf(server);
    expect(traces.folder).toBe(before.folder);
    await server.pause();
    await server.close();
    expectNothingLeft(traces);
  });

  it('shows its log when it does not start', async () => {
    const server = present(await startPostgres());
    const traces = await tracesOf(server);
    await server.stop();
    await rm(join(traces.folder, 'data', 'global', 'pg_control'));
    await expect(server.start()).rejects.toThrow(/could not be started: it ended.*pg_control/s);
    await server.close();
    expectNothingLeft(traces);
  });

  it('shows why its data could not be made', async () => {
    const installation = present(inject('databases').postgres.installation);
    const { initdb: _, template: __, ...rest } = { ...installation };
    await expect(runPostgres({ ...rest, initdb: installation.postgres })).rejects.toThrow(/failed:\n.*invalid option/s);
  });

  it('ends when the process that started it is killed, even while it is halted', { timeout: 60_000 }, async () => {
    const installation = present(inject('databases').postgres.installation);
    const module = new URL('../support/postgres-server.ts', import.meta.url);
    const code = `
      import { runPostgres } from ${JSON.stringify(module.href)};
      const server = await runPostgres(${JSON.stringify(installation)});
      process.on('message', async () => {
        await server.pause();
        process.send('halted');
      });
      process.send(server.uri);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [uri] = await once(child, 'message');
    const traces = await tracesOf({ uri });
    const halted = once(child, 'message');
    child.send('halt');
    await halted;
    expect(isHalted(traces.pid)).toBe(true);

    child.kill('SIGKILL');
    await once(child, 'exit');
    // Its guard is nobody's child by now, so that nobody is told of its end.
    await vi.waitFor(() => expectNothingLeft(traces), { timeout: 30_000, interval: 20 });
  });
});

describeMongo('the shared MongoDB', () => {
  it('answers, and gives every test a database of its own', async () => {
    const [one, other] = [await freshMongoDatabase(), await freshMongoDatabase()];
    await withMongo(one.uri, async (client) => {
      await client.db().collection('things').insertOne({ thing: 1 });
      expect(await client.db(other.database).collection('things').countDocuments()).toBe(0);
      await client.db(other.database).collection('things').insertOne({ thing: 2 });
    });
    await one.drop();
    await one.drop();
    await withMongo(present(mongoUri()), async (client) => {
      const { databases } = await client.db().admin().listDatabases();
      const names = databases.map(({ name }) => name);
      expect(names).toContain(other.database);
      expect(names).not.toContain(one.database);
    });
  });

  it('refuses a second document with the same unique key', async () => {
    const { uri } = await freshMongoDatabase();
    await withMongo(uri, async (client) => {
      const things = client.db().collection('things');
      await things.createIndex({ thread: 1, position: 1 }, { unique: true });
      const racers = Array.from({ length: 20 }, () => things.insertOne({ thread: 'a', position: 1 }));
      const outcomes = await Promise.allSettled(racers);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });
  });
});

describeOwnMongo('a MongoDB of its own', () => {
  async function things(uri: string): Promise<unknown[]> {
    const found = withMongo(uri, (client) => client.db('test').collection('things').find().toArray());
    return (await found).map(({ thing }) => thing);
  }

  async function add(uri: string, thing: number): Promise<void> {
    await withMongo(uri, (client) => client.db('test').collection('things').insertOne({ thing }));
  }

  it('can be killed, started again and halted', async () => {
    const server = present(await startMongo());
    await add(server.uri, 1);
    await server.kill();
    await expectRefused(server.port);

    await server.start();
    await add(server.uri, 2);
    expect(await things(server.uri)).toContain(2);

    await withMongo(server.uri, async (early) => {
      await early.connect();
      await server.pause();
      const answer = early.db().command({ ping: 1 });
      const isAnswered = watched(answer);
      const late = new MongoClient(server.uri, { serverSelectionTimeoutMS: silenceMs });
      await expect(late.connect()).rejects.toThrow('timed out');
      expect(isAnswered()).toBe(false);
      await server.resume();
      await answer;
    });
    expect(await things(server.uri)).toContain(2);
    await server.pause();
    await server.close();
    await expectRefused(server.port);
  });

  it('keeps its data over an orderly restart where it is asked to', async () => {
    const server = present(await startMongo({ persistent: true }));
    await add(server.uri, 1);
    await server.stop();
    await expectRefused(server.port);
    await server.start();
    expect(await things(server.uri)).toEqual([1]);
  });
});

it.each([
  ['mongodb://h:1', 'mongodb://h:1/d'],
  ['mongodb://h:1/', 'mongodb://h:1/d'],
  ['mongodb://h:1,i:2/other?replicaSet=r', 'mongodb://h:1,i:2/d?replicaSet=r'],
  ['mongodb+srv://u:p@h/?retryWrites=true', 'mongodb+srv://u:p@h/d?retryWrites=true&authSource=admin'],
  ['mongodb://u:p@h/other', 'mongodb://u:p@h/d?authSource=other'],
  ['mongodb://u:p@h/other?authSource=x', 'mongodb://u:p@h/d?authSource=x'],
])('%s leads to a database of its own', (uri, expected) => {
  expect(mongoUriOf(uri, 'd')).toBe(expected);
});

it('the guard leaves folders that are not of the tests alone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'somebody-elses-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const { status } = spawnSync(join(root, 'tools/databases/guard.sh'), [folder, 'KILL'], { input: '' });
  expect(status).toBe(2);
  expect(existsSync(folder)).toBe(true);
});

describePostgres('a run without MongoDB', () => {
  const suite = `
    import { describeMongo } from ${JSON.stringify(join(root, 'test/support/databases.ts'))};
    import { it } from 'vitest';
    describeMongo('MongoDB', () => { it('is there', () => {}); });
    it('needs nothing', () => {});`;

  /** Runs `suite` without mongo-java-server, in a folder below the checkout, where packages are found. */
  async function run(env: NodeJS.ProcessEnv): Promise<{ code: number; out: string; err: string }> {
    await mkdir(join(root, '.vitest'), { recursive: true });
    const folder = await mkdtemp(join(root, '.vitest', 'nested-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, 'nested.test.ts'), suite);
    const config = {
      root: folder,
      test: {
        include: ['nested.test.ts'],
        globalSetup: [join(root, 'test/support/database-setup.ts')],
        reporters: [join(root, 'test/support/reporter.ts')],
      },
    };
    await writeFile(join(folder, 'vitest.config.ts'), `export default ${JSON.stringify(config)};`);
    const vitest = join(root, 'node_modules/vitest/vitest.mjs');
    const child = spawn(process.execPath, [vitest, 'run', '--config', join(folder, 'vitest.config.ts')], {
      cwd: folder,
      env: { PATH: dirname(process.execPath), HOME: process.env['HOME'], TEST_MONGODB_JARS: folder, ...env },
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [out, err] = [child.stdout, child.stderr].map((stream) => stream.setEncoding('utf8').toArray());
    const [code] = await once(child, 'close');
    return { code, out: (await out)?.join('') ?? '', err: (await err)?.join('') ?? '' };
  }

  const lastLine = (out: string): string | undefined => out.trimEnd().split('\n').at(-1);

  it('says what is skipped and how to get it, and fails where databases are required or named', {
    timeout: 60_000,
  }, async () => {
    const given = { TEST_POSTGRES_URI: present(postgresUri()) };
    const [missing, required, named] = await Promise.all([
      run(given),
      run({ ...given, TEST_REQUIRE_DATABASES: '1' }),
      // Nobody listens there.
      run({ TEST_POSTGRES_URI: 'postgres://127.0.0.1:1/nowhere' }),
    ]);
    expect(missing.err.match(/MongoDB: ITS TESTS ARE SKIPPED/g)).toHaveLength(2);
    expect(missing.err).toContain('tools/databases/install.sh');
    expect(missing.err).toContain('TEST_MONGODB_URI=mongodb://');
    expect(missing.err).toContain('1 TESTS WERE SKIPPED');
    expect(lastLine(missing.out)).toBe('1 passed, 0 failed');
    expect(missing.code, missing.out + missing.err).toBe(0);

    // The database, the test that was skipped, and what would be needed to start a PostgreSQL where there is none.
    const others = inject('databases').postgres.installation === undefined ? 1 : 0;
    expect(lastLine(required.out)).toBe(`1 passed, ${2 + others} failed`);
    expect(required.code).toBe(1);

    expect(named.err).toContain('PostgreSQL: NO ANSWER AT TEST_POSTGRES_URI');
    expect(lastLine(named.out)).toBe('1 passed, 1 failed');
    expect(named.code).toBe(1);
  });
});
