import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { EncodedItem, EntryPlace, NewTurn, StorableItem, Store } from '../../src/store.ts';
import { StoreUnavailable } from '../../src/store.ts';
import { createMemoryStore } from '../../src/stores/memory/store.ts';
import { createMongoStore } from '../../src/stores/mongodb/store.ts';
import { createPostgresStore } from '../../src/stores/postgres/store.ts';
import { createSqliteStore } from '../../src/stores/sqlite/store.ts';
import { describeMongo, describePostgres, freshMongoDatabase, freshPostgresSchema } from '../support/databases.ts';
import { type FaultProxy, seededRandom, startFaultProxy } from '../support/fault-proxy.ts';
import { withMongo } from '../support/mongo-server.ts';
import { withPostgres } from '../support/postgres-server.ts';
import { answer, conversationTurn, items, message, record, turn, wholeContext } from '../support/store-fixtures.ts';

/**
 * Random sequences of all operations of `Store`, told to the store in memory and to another one: every answer has to be
 * the same, also where the network of the other one breaks. Then several clients at once, held to what must always hold.
 */
type Clock = { nowMs: number };
/** `left`: rows or documents that are still there. `proxy`: what `shaky` goes through. */
type Subject = {
  readonly store: Store;
  readonly shaky: Store;
  readonly proxy: FaultProxy | undefined;
  left(): Promise<number>;
};
type Kind = 'sqlite' | 'postgres' | 'mongodb';

const seeds = [1, 2];
/** The driver of MongoDB waits for half a second after a connection broke. */
const steps = { sqlite: [800, 0], postgres: [400, 150], mongodb: [150, 12] } as const;
const timeoutMs = 8_000;
const tenants = ['tenant', 'other\u0000{"$ne":1}'] as const;

async function sqlite(clock: Clock): Promise<Subject> {
  const folder = await mkdtemp(join(tmpdir(), 'open-responses-'));
  const path = join(folder, 'fuzz.sqlite');
  const store = await createSqliteStore({ path, synchronous: 'normal', now: () => clock.nowMs });
  onTestFinished(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const left = async (): Promise<number> => {
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(path, { readOnly: true });
    const counts = ['threads', 'entries', 'items'].map((table) =>
      database.prepare(`SELECT count(*) n FROM ${table}`).get(),
    );
    database.close();
    return counts.reduce((sum, row) => sum + Number(row?.['n']), 0);
  };
  return { store, shaky: store, proxy: undefined, left };
}

async function proxyTo(uri: string): Promise<FaultProxy> {
  const [, host = '', port = ''] = /^\w+:\/\/(?:[^@/]*@)?([^:/]+):(\d+)/.exec(uri) ?? [];
  return startFaultProxy({ host, port: Number(port) });
}

async function postgres(clock: Clock): Promise<Subject> {
  const { uri, schema } = await freshPostgresSchema();
  const proxy = await proxyTo(uri);
  const options = { schema, poolSize: 4, timeoutMs, autoMigrate: true, now: () => clock.nowMs };
  const store = await createPostgresStore({ ...options, uri });
  const shaky = await createPostgresStore({ ...options, uri: proxy.uri(uri) });
  onTestFinished(() => closeAll(proxy, store, shaky));
  const left = (): Promise<number> =>
    withPostgres(uri, async (client) => {
      const count = (table: string): string => `(SELECT count(*) FROM ${schema}.${table})`;
      const { rows } = await client.query(`SELECT ${['threads', 'entries', 'items'].map(count).join(' + ')} AS n`);
      return Number(rows[0].n);
    });
  return { store, shaky, proxy, left };
}

async function mongodb(clock: Clock): Promise<Subject> {
  const { uri, database } = await freshMongoDatabase();
  const proxy = await proxyTo(uri);
  const options = { database, timeoutMs, autoMigrate: true, now: () => clock.nowMs };
  const store = await createMongoStore({ ...options, uri });
  const through = proxy.uri(uri);
  const direct = `${through}${through.includes('?') ? '&' : '?'}directConnection=true`;
  const shaky = await createMongoStore({ ...options, uri: direct });
  onTestFinished(() => closeAll(proxy, store, shaky));
  const left = (): Promise<number> =>
    withMongo(uri, async (client) => {
      const db = client.db(database);
      // The marks of deleted conversations stay for an hour: ids and times only.
      const mark = { position: -1, deletedAt: { $exists: true }, 'root.metadata': { $exists: false } };
      const marks = await db.collection('openresponses_entries').countDocuments(mark);
      const all = await db.collection('openresponses_entries').countDocuments();
      return all - marks + (await db.collection('openresponses_chunks').countDocuments());
    });
  return { store, shaky, proxy, left };
}

async function closeAll(proxy: FaultProxy, ...stores: readonly Store[]): Promise<void> {
  await proxy.close();
  for (const store of stores) await store.close();
}

const makers = { sqlite, postgres, mongodb } satisfies Record<Kind, (clock: Clock) => Promise<Subject>>;

/** One operation, made once and told to several stores. */
type Operation = { readonly name: string; readonly tenant: string; readonly ask: (store: Store) => Promise<unknown> };

/** Random operations over few names, so that they meet; what is stored is asked of the oracle. */
class Script {
  readonly #random: () => number;
  readonly #oracle: Store;
  readonly #clock: Clock;
  readonly #turns = new Map<string, NewTurn>();
  #count = 0;
  readonly conversations: string[] = [];
  readonly responses: string[] = [];
  readonly itemIds: string[] = [];

  constructor(seed: number, oracle: Store, clock: Clock) {
    this.#random = seededRandom(seed);
    this.#oracle = oracle;
    this.#clock = clock;
  }

  async next(): Promise<Operation> {
    const tenant = this.#random() < 0.9 ? tenants[0] : tenants[1];
    const dice = this.#random();
    this.#clock.nowMs += Math.floor(this.#random() * 20);
    if (dice < 0.06 || this.conversations.length === 0) return this.#create(tenant);
    if (dice < 0.4) return this.#append(tenant);
    if (dice < 0.5) return this.#post(tenant);
    if (dice < 0.6) return this.#remove(tenant);
    if (dice < 0.72) return this.#lease(tenant);
    return this.#read(tenant);
  }

  #pick<T>(list: readonly T[]): T | undefined {
    // The newest ones more often, so that things grow.
    const at = Math.floor(this.#random() ** 2 * list.length);
    return list.at(-1 - at);
  }

  #id(prefix: string): string {
    this.#count += 1;
    const odd = this.#count % 7 === 0 ? '\u0000\u0001$.é😀' : '';
    // Only a client names something as long as that, and only items have names of clients.
    const long = prefix === 'msg' && this.#count % 11 === 0 ? 'x'.repeat(700) : '';
    return `${prefix}${this.#count}${odd}${long}`;
  }

  #conversation = (): string => this.#pick(this.conversations) ?? 'conv_none';
  #response = (): string => this.#pick(this.responses) ?? 'resp_none';
  #item = (): string => this.#pick(this.itemIds) ?? 'msg_none';

  async #storable(tenant: string): Promise<StorableItem[]> {
    const list: StorableItem[] = [];
    for (let left = 1 + Math.floor(this.#random() * 3); left > 0; left -= 1) {
      const [dice, known] = [this.#random(), this.#item()];
      const found = dice < 0.25 && (await this.#oracle.findItems(tenant, [known], wholeContext));
      const target = found instanceof Map ? found.get(known)?.place : undefined;
      if (target !== undefined) list.push({ id: known, target });
      else if (dice > 0.93) list.push(message(known));
      else list.push(this.#fresh(message));
    }
    return list.filter(({ id }, index) => list.findIndex((each) => each.id === id) === index);
  }

  #fresh(make: (id: string, text: string) => EncodedItem): EncodedItem {
    const id = this.#id('msg');
    this.itemIds.push(id);
    const size = this.#random() < 0.02 ? 600_000 : 10;
    return make(id, 'é'.repeat(size));
  }

  async #create(tenant: string): Promise<Operation> {
    const id = this.#id('conv');
    this.conversations.push(id);
    const createdAt = this.#clock.nowMs;
    const entry = this.#random() < 0.5 ? {} : { entry: { ...items(...(await this.#storable(tenant))), createdAt } };
    const conversation = { id, metadata: { key: id }, createdAt, ...entry };
    return { name: 'create', tenant, ask: (store) => store.createConversation(tenant, conversation) };
  }

  async #post(tenant: string): Promise<Operation> {
    const id = this.#conversation();
    const entry = { ...items(...(await this.#storable(tenant))), createdAt: this.#clock.nowMs };
    return { name: 'post', tenant, ask: (store) => store.appendItems(tenant, id, entry) };
  }

  async #append(tenant: string): Promise<Operation> {
    const again = this.#random() < 0.1 ? this.#turns.get(this.#response()) : undefined;
    const made = again ?? (await this.#turn(tenant));
    if (again === undefined) this.responses.push(made.responseId);
    const end = this.#random() < 0.04 ? { ...made, ...otherEnd } : made;
    this.#turns.set(made.responseId, made);
    return { name: `append ${end.kind}`, tenant, ask: (store) => store.appendTurn(tenant, end) };
  }

  async #turn(tenant: string): Promise<NewTurn> {
    const id = this.#id('resp');
    const createdAt = this.#clock.nowMs;
    const output = this.#random() < 0.9 ? [this.#fresh(answer)] : [];
    const changes = { input: await this.#storable(tenant), output, createdAt, user: 'user\u0000' };
    const dice = this.#random();
    const conversation = this.#conversation();
    const inside = await this.#head(tenant, { kind: 'conversation', id: conversation });
    if (dice < 0.4 && inside !== undefined) {
      // Sometimes what it had seen is not the newest any more.
      const position = this.#random() < 0.15 ? Math.max(-1, inside.position - 1) : inside.position;
      return conversationTurn(id, { ...inside, position }, { ...changes, holder: this.#holder() });
    }
    const before = await this.#head(tenant, { kind: 'response', id: this.#response() });
    if (dice < 0.48) return record(id, before, changes);
    if (dice < 0.55) return record(id, inside, { ...changes, conversationId: conversation });
    return turn(id, dice < 0.65 ? undefined : before, changes);
  }

  #holder = (): string => (this.#random() < 0.5 ? 'run_1' : 'run_2\u0000');

  async #head(tenant: string, from: Parameters<Store['readContext']>[1]): Promise<EntryPlace | undefined> {
    const context = await this.#oracle.readContext(tenant, from, wholeContext);
    return typeof context === 'string' ? undefined : context.head;
  }

  #remove(tenant: string): Operation {
    const dice = this.#random();
    const [conversation, response, item] = [this.#conversation(), this.#response(), this.#item()];
    if (dice < 0.15) {
      return { name: 'delete conversation', tenant, ask: (store) => store.deleteConversation(tenant, conversation) };
    }
    if (dice < 0.65) {
      return { name: 'delete response', tenant, ask: (store) => store.deleteResponse(tenant, response) };
    }
    return { name: 'delete item', tenant, ask: (store) => store.deleteItem(tenant, conversation, item) };
  }

  #lease(tenant: string): Operation {
    const [id, holder, dice] = [this.#conversation(), this.#holder(), this.#random()];
    const metadata = { round: String(this.#count) };
    if (dice < 0.35) return { name: 'acquire', tenant, ask: (store) => store.acquireLease(tenant, id, holder, 40) };
    if (dice < 0.55) return { name: 'renew', tenant, ask: (store) => store.renewLease(tenant, id, holder, 40) };
    if (dice < 0.75) return { name: 'release', tenant, ask: (store) => store.releaseLease(tenant, id, holder) };
    return { name: 'metadata', tenant, ask: (store) => store.updateConversation(tenant, id, metadata) };
  }

  #read(tenant: string): Operation {
    const order = this.#random() < 0.5 ? ('asc' as const) : ('desc' as const);
    const after = this.#random() < 0.5 ? this.#item() : undefined;
    const limit = 1 + Math.floor(this.#random() * 6);
    return this.#reading(tenant, Math.floor(this.#random() * 7), { order, limit, after });
  }

  #reading(tenant: string, which: number, page: Parameters<Store['listItems']>[2]): Operation {
    const [id, response, item] = [this.#conversation(), this.#response(), this.#item()];
    const readings: readonly Operation['ask'][] = [
      (store) => store.getConversation(tenant, id),
      (store) => store.getItem(tenant, id, item),
      (store) => store.findItems(tenant, [item, id, response], wholeContext),
      (store) => store.listItems(tenant, { kind: 'conversation', id }, page),
      (store) => store.listItems(tenant, { kind: 'input_of', responseId: response }, page),
      (store) => store.readContext(tenant, { kind: 'response', id: response }, page.limit * 100_000),
      (store) => store.getResponse(tenant, response),
    ];
    const ask = readings[which % readings.length] ?? ((store) => store.ping());
    return { name: `read ${which}`, tenant, ask };
  }
}

const otherEnd = { kind: 'record', status: 'failed', responseJson: '{"status":"failed"}' } as const;

/** In a form that can be compared. Of a defect only that it is one. */
async function answerOf(operation: Operation, store: Store): Promise<unknown> {
  try {
    const given = await operation.ask(store);
    return given instanceof Map ? [...given].sort(([one], [other]) => (one < other ? -1 : 1)) : (given ?? null);
  } catch (error) {
    if (error instanceof StoreUnavailable) throw error;
    return { defect: error instanceof Error ? error.message : String(error) };
  }
}

/** As a client that is told to come again; whether it was. */
async function insist(
  operation: Operation,
  store: Store,
): Promise<{ readonly given: unknown; readonly isAgain: boolean }> {
  for (let refusals = 0; refusals < 20; refusals += 1) {
    try {
      return { given: await answerOf(operation, store), isAgain: refusals > 0 };
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
    }
  }
  throw new Error('refused 20 times');
}

/** Everything that can be read, of every tenant. */
async function everythingIn(store: Store, script: Script): Promise<Record<string, unknown>> {
  const all: Record<string, unknown> = {};
  const page = { order: 'asc', limit: 100 } as const;
  for (const tenant of tenants) {
    const put = async (name: string, ask: Operation['ask']): Promise<void> => {
      all[`${tenant} ${name}`] = await answerOf({ name, tenant, ask }, store);
    };
    for (const id of script.conversations) {
      await put(`conversation ${id}`, (each) => each.getConversation(tenant, id));
      await put(`items of ${id}`, (each) => each.listItems(tenant, { kind: 'conversation', id }, page));
      await put(`context of ${id}`, (each) => each.readContext(tenant, { kind: 'conversation', id }, wholeContext));
    }
    for (const id of script.responses) {
      await put(`response ${id}`, (each) => each.getResponse(tenant, id));
      await put(`input of ${id}`, (each) => each.listItems(tenant, { kind: 'input_of', responseId: id }, page));
      await put(`context of ${id}`, (each) => each.readContext(tenant, { kind: 'response', id }, wholeContext));
    }
    await put('items', (each) => each.findItems(tenant, script.itemIds, wholeContext));
  }
  return all;
}

async function removeEverything(store: Store, script: Script): Promise<void> {
  for (const tenant of tenants) {
    for (const id of script.responses) await store.deleteResponse(tenant, id);
    for (const id of script.conversations) await store.deleteConversation(tenant, id);
  }
}

function oracleAt(clock: Clock): Store {
  const oracle = createMemoryStore({ maxThreads: 100_000, maxBytes: 1e9, now: () => clock.nowMs });
  onTestFinished(() => oracle.close());
  return oracle;
}

/** What a network may do before one operation. */
function harm(proxy: FaultProxy, random: () => number): void {
  const dice = random();
  if (dice < 0.35)
    void proxy.cutAfter({ bytes: Math.floor(random() ** 2 * 4_000), direction: dice < 0.2 ? 'up' : 'down' });
  else if (dice < 0.65) proxy.dropAnswers(1);
  else if (dice < 0.7) proxy.halfClose(dice < 0.67 ? 'up' : 'down');
}

async function compare(kind: Kind, seed: number, hasFaults: boolean): Promise<void> {
  const clock = { nowMs: 1_000_000 };
  const subject = await makers[kind](clock);
  const oracle = oracleAt(clock);
  const script = new Script(seed, oracle, clock);
  const random = seededRandom(seed + 1_000);
  for (let step = 0; step < steps[kind][hasFaults ? 1 : 0]; step += 1) {
    const operation = await script.next();
    const expected = [await answerOf(operation, oracle)];
    if (hasFaults && subject.proxy !== undefined) harm(subject.proxy, random);
    const { given, isAgain } = await insist(operation, hasFaults ? subject.shaky : subject.store);
    // Who comes again after a refusal may find what the refused try has done.
    if (isAgain) expected.push(await answerOf(operation, oracle));
    const where = `seed ${seed}, step ${step}: ${operation.name} of ${JSON.stringify(operation.tenant)}`;
    if (expected.length === 1) expect(given, where).toEqual(expected[0]);
    else expect(expected, where).toContainEqual(given);
  }
  expect(await everythingIn(subject.store, script)).toEqual(await everythingIn(oracle, script));
  await removeEverything(subject.store, script);
  await removeEverything(oracle, script);
  expect(await everythingIn(subject.store, script)).toEqual(await everythingIn(oracle, script));
  expect(await subject.left(), 'rows or documents in an emptied database').toBe(0);
}

/** What several clients at once were told; `gone` and `deleted` also where the answer was a refusal. */
type Told = {
  readonly appended: Map<string, NewTurn>;
  readonly lost: Set<string>;
  readonly gone: Set<string>;
  readonly deleted: Set<string>;
};

const clients = 5;
const rounds = { sqlite: 14, postgres: 14, mongodb: 6 } as const;
const shared = ['conv_a', 'conv_b', 'conv_c'] as const;
const tenant = tenants[0];

/** One client: where it asks, what it was told, how it decides. */
type Client = { readonly store: Store; readonly told: Told; readonly random: () => number };

async function runClient(each: Client, name: string, length: number, mayHarm: () => void): Promise<void> {
  const { store, told, random } = each;
  for (let round = 0; round < length; round += 1) {
    mayHarm();
    const id = `${name}_${round}`;
    const conversation = shared[Math.floor(random() * shared.length)] ?? shared[0];
    const dice = random();
    try {
      if (dice < 0.6) await appendOnce(each, id, dice < 0.35 ? conversation : undefined);
      else if (dice < 0.75) await store.appendItems(tenant, conversation, items(message(`post_${id}`)));
      else if (dice < 0.85) await deleteOne(each, conversation);
      else if (dice < 0.88 && conversation === 'conv_c') {
        told.gone.add(conversation);
        await store.deleteConversation(tenant, conversation);
      } else if ((await store.acquireLease(tenant, conversation, id, 1_000)) === 'acquired') {
        await store.releaseLease(tenant, conversation, id);
      }
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
    }
  }
}

async function appendOnce({ store, told, random }: Client, id: string, conversation: string | undefined) {
  const older = [...told.appended.values()].filter((each) => each.kind === 'chain');
  const after = older[Math.floor(random() * older.length)]?.responseId;
  const kind = conversation === undefined ? 'response' : 'conversation';
  const context = await store.readContext(tenant, { kind, id: conversation ?? after ?? 'resp_none' }, wholeContext);
  const head = typeof context === 'string' ? undefined : context.head;
  if (conversation !== undefined && head === undefined) return;
  const made = conversation === undefined || head === undefined ? turn(id, head) : conversationTurn(id, head);
  try {
    if ((await store.appendTurn(tenant, made)) === 'appended') told.appended.set(id, made);
    else told.lost.add(id);
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error;
    // As a run does: what is told as failed is kept as failed, unless it was stored after all.
    await store.appendTurn(tenant, { ...made, ...otherEnd, conversationId: conversation });
  }
}

async function deleteOne({ store, told, random }: Client, conversation: string): Promise<void> {
  const ids = [...told.appended.keys()];
  const id = ids[Math.floor(random() * ids.length)];
  if (id === undefined) return;
  const isResponse = random() < 0.5;
  told.deleted.add(isResponse ? `resp ${id}` : `in-${id}`);
  if (isResponse) await store.deleteResponse(tenant, id);
  else await store.deleteItem(tenant, conversation, `in-${id}`);
}

async function viewOf(store: Store, id: string): Promise<string[]> {
  const page = await store.listItems(tenant, { kind: 'conversation', id }, { limit: 1_000, order: 'asc' });
  return typeof page === 'string' ? [] : page.items.map((item) => item.id);
}

async function race(kind: Kind, seed: number): Promise<void> {
  const { store, shaky, proxy, left } = await makers[kind]({ nowMs: 1_000_000 });
  for (const id of shared) await store.createConversation(tenant, { id, metadata: {}, createdAt: 1 });
  const told: Told = { appended: new Map(), lost: new Set(), gone: new Set(), deleted: new Set() };
  const random = seededRandom(seed);
  const mayHarm = (): void => (proxy === undefined || random() < 0.6 ? undefined : harm(proxy, random));
  const runs = Array.from({ length: clients }, (_, index) =>
    runClient(
      { store: index % 2 === 0 ? store : shaky, told, random: seededRandom(seed * 100 + index) },
      `c${index}`,
      rounds[kind],
      mayHarm,
    ),
  );
  await Promise.all(runs);
  await checkTold(store, told);
  const names = runs.flatMap((_, index) => Array.from({ length: rounds[kind] }, (_, round) => `c${index}_${round}`));
  for (const id of names) await store.deleteResponse(tenant, id);
  for (const id of shared) await store.deleteConversation(tenant, id);
  for (const id of names) {
    expect(await store.getResponse(tenant, id)).toBeUndefined();
    expect(await store.findItems(tenant, [`in-${id}`, `out-${id}`, `post_${id}`], 0), id).toEqual(new Map());
  }
  expect(await left(), 'rows or documents in an emptied database').toBe(0);
}

/** Every turn that was told as appended is there once and whole, in its place; nothing of what was told as lost is. */
async function checkTold(store: Store, told: Told): Promise<void> {
  const views = new Map<string, string[]>();
  for (const id of shared) {
    const ids = await viewOf(store, id);
    expect(new Set(ids).size, `${id}: ${ids}`).toBe(ids.length);
    views.set(id, ids);
  }
  for (const [id, { conversationId }] of told.appended) {
    const isGone = conversationId !== undefined && told.gone.has(conversationId);
    const stored = await store.getResponse(tenant, id);
    if (!isGone && !told.deleted.has(`resp ${id}`)) expect(stored?.status, id).toBe('completed');
    if (conversationId === undefined || isGone) continue;
    const ids = views.get(conversationId) ?? [];
    const at = ids.indexOf(`out-${id}`);
    expect(at, `out-${id} of ${ids}`).toBeGreaterThanOrEqual(0);
    if (!told.deleted.has(`in-${id}`)) expect(ids[at - 1]).toBe(`in-${id}`);
  }
  for (const id of told.lost) {
    expect(await store.getResponse(tenant, id)).toBeUndefined();
    expect(await store.findItems(tenant, [`in-${id}`, `out-${id}`], 0)).toEqual(new Map());
  }
}

function fuzz(kind: Kind): void {
  const options = { timeout: 60_000 };
  it.each(seeds)('answers like the store in memory (seed %i)', options, (seed) => compare(kind, seed, false));
  if (kind !== 'sqlite') {
    it.each(seeds)('answers like it over a bad network (seed %i)', options, (seed) => compare(kind, seed, true));
  }
  it.each(seeds)('keeps what it told several clients at once (seed %i)', options, (seed) => race(kind, seed));
}

describe('random operations on SQLite', () => fuzz('sqlite'));
describePostgres('random operations on PostgreSQL', () => fuzz('postgres'));
describeMongo('random operations on MongoDB', () => fuzz('mongodb'));
