import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { checkTurns, newTurnState, type TurnState } from '../support/crash-client.ts';
import { describeOwnMongo, describeOwnPostgres, startMongo, startPostgres } from '../support/databases.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type Json, serve, type TestServer } from '../support/harness.ts';
import { withPostgres } from '../support/postgres-server.ts';
import { childrenOf } from '../support/process-table.ts';
import type { OwnServer } from '../support/server-process.ts';

const clients = 6;
/** Longer than any answer may take: the store's own time-out is shorter, and a request asks it a few times at most. */
const patienceMs = 15_000;

type Load = {
  readonly states: readonly TurnState[];
  /** Answers that were no success, by status. */
  readonly refusals: Map<number, number>;
  stop(): Promise<void>;
  /** Resolves when every client has been told so many more turns. */
  progress(turns: number): Promise<void>;
};

/** Clients that go on as clients do: each has a chain and a conversation, and comes again after a 503. */
async function startLoad(server: TestServer): Promise<Load> {
  const states = await Promise.all(Array.from({ length: clients }, () => newTurnState(server.url)));
  const refusals = new Map<number, number>();
  const watchers: (() => void)[] = [];
  let isOver = false;
  const toldBy = (state: TurnState): number => state.chain.length + state.conversationTurns.length;
  const { promise: broken, reject: breakOff } = Promise.withResolvers<never>();
  broken.catch(() => undefined);
  const work = states.map(async (state) => {
    while (!isOver) {
      const refused = await turn(server, state);
      if (refused !== undefined) refusals.set(refused, (refusals.get(refused) ?? 0) + 1);
      for (const watch of watchers) watch();
    }
  });
  for (const each of work) {
    each.catch((error: unknown) => {
      isOver = true;
      breakOff(error);
    });
  }
  return {
    states,
    refusals,
    async stop() {
      isOver = true;
      await Promise.all(work);
    },
    progress(turns) {
      const goals = states.map((state) => toldBy(state) + turns);
      const reached = new Promise<void>((resolve) => {
        watchers.push(() => {
          if (states.every((state, index) => toldBy(state) >= (goals[index] ?? 0))) resolve();
        });
      });
      return Promise.race([reached, broken]);
    },
  };
}

/** One turn of a client; the status where it was refused. What else can happen is a failure of the test. */
async function turn(server: TestServer, state: TurnState): Promise<number | undefined> {
  const index = state.next++;
  const inConversation = index % 3 === 0;
  const where = inConversation
    ? { conversation: state.conversation }
    : { previous_response_id: state.chain.at(-1)?.id ?? null, store: true };
  const answer = await fetch(`${server.url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo', input: `Say exactly: turn ${index}`, ...where }),
    signal: AbortSignal.timeout(patienceMs),
  });
  const body: Json = await answer.json();
  if (answer.status === 200) {
    (inConversation ? state.conversationTurns : state.chain).push({ id: body.id, text: `turn ${index}`, index });
    return undefined;
  }
  const isLocked = body.error.code === 'conversation_locked';
  expect([400, 503]).toContain(answer.status);
  if (answer.status === 503) expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
  else expect(isLocked).toBe(true);
  await pause(20);
  return answer.status;
}

async function untilReadyIs(server: TestServer, status: number): Promise<void> {
  for (let attempts = 0; attempts < 500; attempts += 1) {
    const answer = await server.get('/readyz');
    if (answer.status === status) return;
    await pause(20);
  }
  throw new Error(`/readyz never answered ${status}`);
}

type Harm = { readonly name: string; do(database: OwnServer): Promise<void>; undo(database: OwnServer): Promise<void> };

const killed: Harm = { name: 'killed and started again', do: (each) => each.kill(), undo: (each) => each.start() };
const stopped: Harm = { name: 'stopped and started again', do: (each) => each.stop(), undo: (each) => each.start() };
const paused: Harm = { name: 'paused and resumed', do: (each) => each.pause(), undo: (each) => each.resume() };

function outOfReach(proxy: FaultProxy): Harm {
  return {
    name: 'out of reach',
    async do() {
      proxy.refuse(true);
      proxy.cutAll();
    },
    async undo() {
      proxy.refuse(false);
    },
  };
}

async function survives(database: OwnServer | undefined, settings: Record<string, string>, harm: Harm): Promise<void> {
  if (database === undefined) throw new Error('no database to harm');
  const server = await serve({ 'store.timeout': '1500ms', 'conversation.lease': '400ms', ...settings });
  const load = await startLoad(server);
  await load.progress(5);
  for (let times = 0; times < 2; times += 1) {
    await harm.do(database);
    await untilReadyIs(server, 503);
    expect((await server.get('/healthz')).status).toBe(200);
    // What needs no store goes on.
    expect((await server.post('/v1/responses', { model: 'demo', input: 'Hello', store: false })).status).toBe(200);
    await harm.undo(database);
    await untilReadyIs(server, 200);
    await load.progress(5);
  }
  await load.stop();
  expect(load.refusals.get(503) ?? 0).toBeGreaterThan(0);
  for (const state of load.states) await checkTurns(server.url, state);
}

/** Sets how large the files of a server of PostgreSQL may grow: all its processes, and those to come. */
async function limitFiles({ uri }: OwnServer, maxBytes: string): Promise<void> {
  const postmaster = await withPostgres(uri, async (client) => {
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
    const stat = readFileSync(`/proc/${rows[0].pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  });
  for (const pid of [postmaster, ...childrenOf(postmaster)]) {
    // One that has just ended needs no limit. Only their own user may set one everywhere.
    const owner = statSync(`/proc/${pid}`, { throwIfNoEntry: false });
    if (owner === undefined) continue;
    execFileSync('/usr/bin/prlimit', [`--pid=${pid}`, `--fsize=${maxBytes}:`], { uid: owner.uid, gid: owner.gid });
  }
}

/** For sessions to come and for those that are there. */
function setReadOnly(uri: string, on: boolean): Promise<unknown> {
  return withPostgres(uri, async (client) => {
    await client.query('SET default_transaction_read_only = off');
    await client.query(`ALTER SYSTEM SET default_transaction_read_only = ${on ? 'on' : 'off'}`);
    await client.query('SELECT pg_reload_conf()');
  });
}

describeOwnPostgres('PostgreSQL under load, and its server is not restarted', () => {
  it.each([killed, stopped, paused])(
    '$name: nothing acknowledged is lost, nothing doubled',
    { timeout: 90_000 },
    async (harm) => {
      const database = await startPostgres({ durable: true });
      await survives(database, { 'store.type': 'postgres', 'postgres.uri': database?.uri ?? '' }, harm);
    },
  );

  it('a database that has no room left refuses with 503, and goes on when it has', { timeout: 60_000 }, async () => {
    const database = await startPostgres({ durable: true });
    if (database === undefined) throw new Error('no database');
    const server = await serve({ 'store.type': 'postgres', 'postgres.uri': database.uri, 'store.timeout': '3s' });
    // No file may grow beyond a segment of the log: the tables run full first.
    await limitFiles(database, String(17 * 1024 * 1024));
    const told: string[] = [];
    const big = {
      model: 'demo',
      input: 'Say exactly: ok',
      instructions: randomBytes(500_000).toString('base64'),
      store: true,
    };
    let refused: Json;
    for (let attempts = 0; refused === undefined && attempts < 200; attempts += 1) {
      const answer = await server.post('/v1/responses', big);
      if (answer.status === 200) told.push(answer.body.id);
      else refused = answer;
    }
    expect(refused?.status).toBe(503);
    expect(refused?.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(told.length).toBeGreaterThan(3);
    for (const id of told) expect((await server.get(`/v1/responses/${id}`)).status).toBe(200);
    await limitFiles(database, 'unlimited');
    expect((await server.post('/v1/responses', big)).status).toBe(200);
    for (const id of told) expect((await server.get(`/v1/responses/${id}`)).status).toBe(200);
  });

  it('a database that only reads refuses changes, serves what is there, and says so', async () => {
    const database = await startPostgres();
    const uri = database?.uri ?? '';
    const server = await serve({ 'store.type': 'postgres', 'postgres.uri': uri });
    const first = await server.respond({ model: 'demo', input: 'Hello', store: true });
    await setReadOnly(uri, true);
    await untilReadyIs(server, 503);
    const refused = await server.post('/v1/responses', { model: 'demo', input: 'Hello', store: true });
    expect(refused.status).toBe(503);
    expect((await server.get(`/v1/responses/${first.id}`)).status).toBe(200);
    await setReadOnly(uri, false);
    await untilReadyIs(server, 200);
    await server.respond({ model: 'demo', input: 'Hello', store: true });
  });
});

describeOwnMongo('a server of the MongoDB protocol under load', () => {
  // Its backend in memory forgets everything with its process, so that it is only halted here.
  it.each([paused])('$name: nothing acknowledged is lost, nothing doubled', { timeout: 90_000 }, async (harm) => {
    const database = await startMongo();
    await survives(database, { 'store.type': 'mongodb', 'mongodb.uri': database?.uri ?? '' }, harm);
  });

  it('out of reach and back: nothing acknowledged is lost, nothing doubled', { timeout: 90_000 }, async () => {
    const database = await startMongo();
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: database?.port ?? 0 });
    onTestFinished(() => proxy.close());
    const uri = `${proxy.uri(database?.uri ?? '')}?directConnection=true`;
    await survives(database, { 'store.type': 'mongodb', 'mongodb.uri': uri }, outOfReach(proxy));
  });
});
