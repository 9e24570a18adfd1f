import { type Document, MongoClient } from 'mongodb';
import { onTestFinished } from 'vitest';
import type { Store } from '../../src/store.ts';
import { StoreUnavailable } from '../../src/store.ts';
import { Call, type Values } from '../../src/stores/mongodb/call.ts';
import { AppendsInDoubt } from '../../src/stores/mongodb/in-doubt.ts';
import { KeyedQueue } from '../../src/stores/mongodb/keyed-queue.ts';
import { RootFacts } from '../../src/stores/mongodb/root-facts.ts';
import { MongoReadRows } from '../../src/stores/mongodb/rows.ts';
import { createMongoStore, type MongoStoreOptions } from '../../src/stores/mongodb/store.ts';
import type { Work } from '../../src/stores/mongodb/work.ts';
import { freshMongoDatabase } from '../support/databases.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';

export const tenant = 'tenant';

/** A store that is closed with its test. */
export async function openMongo(uri: string, changes: Partial<MongoStoreOptions> = {}): Promise<Store> {
  const store = await createMongoStore({
    ...{ uri, database: undefined, timeoutMs: 10_000, autoMigrate: true, now: () => 1_000 },
    ...changes,
  });
  onTestFinished(() => store.close());
  return store;
}

/** What is in a database, past the store. */
export async function lookInto(uri: string): Promise<MongoClient> {
  const client = new MongoClient(uri);
  onTestFinished(() => client.close());
  return client;
}

/** What becomes of a command on its way. `send` does it. */
export type Pass = (command: Values, send: () => Promise<Values>) => Promise<Values>;

/** An operation on a database whose commands go through a hand that sees them, and may do as a server would. */
export function callThrough(client: MongoClient | undefined, pass: Pass): Call {
  const command = (values: Document): Promise<Values> =>
    pass(values, async () => (await client?.db().command(values)) ?? {});
  const db = { command } as never;
  return new Call(() => ({ db, writeConcern: {}, readConcern: {} }), 5_000, new AbortController().signal);
}

export function workOf(call: Call): Work {
  const facts = new RootFacts();
  const rows = new MongoReadRows(call, facts);
  return { call, rows, facts, inDoubt: new AppendsInDoubt(), turns: new KeyedQueue() };
}

/** Every document of every collection. */
export async function everything(client: MongoClient): Promise<Document[]> {
  const documents: Document[] = [];
  for (const { name } of await client.db().listCollections().toArray()) {
    documents.push(...(await client.db().collection(name).find().toArray()));
  }
  return documents;
}

/** A database that is reached through a proxy, and past it. */
export async function behindProxy(): Promise<{ proxy: FaultProxy; uri: string; direct: string }> {
  const { uri: direct } = await freshMongoDatabase();
  const [, host = '', port = ''] = /^mongodb:\/\/(?:[^@/]*@)?([^:/]+):(\d+)/.exec(direct) ?? [];
  const proxy = await startFaultProxy({ host, port: Number(port) });
  onTestFinished(() => proxy.close());
  const uri = proxy.uri(direct);
  return { proxy, uri: `${uri}${uri.includes('?') ? '&' : '?'}directConnection=true`, direct };
}

export async function refusal(outcome: Promise<unknown>): Promise<StoreUnavailable> {
  const error = await outcome.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof StoreUnavailable) return error;
  throw new Error('It was not refused as unavailable', { cause: error });
}
