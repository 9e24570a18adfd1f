import { randomBytes } from 'node:crypto';
import { describe, inject, onTestFinished, TestRunner } from 'vitest';
import { type MongoInstallation, type MongoOptions, runMongo, withMongo } from './mongo-server.ts';
import { type PostgresInstallation, type PostgresOptions, runPostgres, withPostgres } from './postgres-server.ts';
import type { OwnServer } from './server-process.ts';

/** A kind of database that the stores are tested with. */
export type Backend = 'postgres' | 'mongodb';

/** Why the tests of a database, or some of them, can't run. */
export type DatabaseProblem = {
  readonly backend: Backend;
  /** Names what is skipped, and the commands that help. */
  readonly notice: string;
  /** Set where a database was found, or named, and does not work. What is merely missing is no failure by itself. */
  readonly isFailure: boolean;
};

/** What database-setup.ts found and started for this run. */
export type Databases = {
  readonly postgres: { readonly uri?: string; readonly installation?: PostgresInstallation };
  readonly mongodb: { readonly uri?: string; readonly installation?: MongoInstallation };
  readonly problems: readonly DatabaseProblem[];
  /** Set by TEST_REQUIRE_DATABASES=1: what is missing is a failure too. */
  readonly isRequired: boolean;
};

declare module 'vitest' {
  interface ProvidedContext {
    databases: Databases;
  }
  interface TaskMeta {
    /** The database that a test needs: where it is missing, the test is skipped and the run says so. */
    backend?: Backend;
  }
}

/** A schema of a test's own. `uri` leads into it: names without a schema are its own. */
export type PostgresSchema = { readonly uri: string; readonly schema: string; drop(): Promise<void> };

/** A database of a test's own, named in `uri`. It exists once something is written to it. */
export type MongoDatabase = { readonly uri: string; readonly database: string; drop(): Promise<void> };

/** The PostgreSQL that all tests of this run share. */
export function postgresUri(): string | undefined {
  return inject('databases').postgres.uri;
}

/** The server of the MongoDB protocol that all tests of this run share. */
export function mongoUri(): string | undefined {
  return inject('databases').mongodb.uri;
}

/** A group of tests that need `postgresUri()`, skipped without it. */
export function describePostgres(name: string, body: () => void): void {
  describe(name, { skip: postgresUri() === undefined, meta: { backend: 'postgres' } }, body);
}

/** A group of tests that need `mongoUri()`, skipped without it. */
export function describeMongo(name: string, body: () => void): void {
  describe(name, { skip: mongoUri() === undefined, meta: { backend: 'mongodb' } }, body);
}

/** A group of tests that need `startPostgres()`, skipped without it. */
export function describeOwnPostgres(name: string, body: () => void): void {
  const isMissing = inject('databases').postgres.installation === undefined;
  describe(name, { skip: isMissing, meta: { backend: 'postgres' } }, body);
}

/** A group of tests that need `startMongo()`, skipped without it. */
export function describeOwnMongo(name: string, body: () => void): void {
  const isMissing = inject('databases').mongodb.installation === undefined;
  describe(name, { skip: isMissing, meta: { backend: 'mongodb' } }, body);
}

/** An empty schema in the shared server. Dropped with the test; what is made in `beforeAll` is dropped by its maker. */
export async function freshPostgresSchema(): Promise<PostgresSchema> {
  const shared = postgresUri();
  if (shared === undefined) throw new Error('There is no PostgreSQL: this test belongs into describePostgres().');
  const schema = randomName();
  await withPostgres(shared, (client) => client.query(`create schema ${schema}`));
  const uri = new URL(shared);
  const options = uri.searchParams.get('options');
  uri.searchParams.set('options', `${options === null ? '' : `${options} `}-csearch_path=${schema}`);
  const drop = once(() =>
    withPostgres(shared, async (client) => {
      // Whoever still holds a lock there is named by an error, rather than by a test that never ends.
      await client.query(`set lock_timeout = '10s'`);
      await client.query(`drop schema if exists ${schema} cascade`);
    }),
  );
  dropWithTest(drop);
  return { uri: uri.href, schema, drop };
}

/** A database in the shared server. Dropped with the test; what is made in `beforeAll` is dropped by its maker. */
export async function freshMongoDatabase(): Promise<MongoDatabase> {
  const shared = mongoUri();
  if (shared === undefined) throw new Error('There is no MongoDB: this test belongs into describeMongo().');
  const database = randomName();
  const drop = once(async () => {
    await withMongo(shared, (client) => client.db(database).dropDatabase());
  });
  dropWithTest(drop);
  return { uri: mongoUriOf(shared, database), database, drop };
}

/** A PostgreSQL of this test's own, closed with it; undefined where there are no programs to start one. */
export async function startPostgres(options: PostgresOptions = {}): Promise<OwnServer | undefined> {
  const { installation } = inject('databases').postgres;
  return installation === undefined ? undefined : closedWithTest(await runPostgres(installation, options));
}

/** A server of the MongoDB protocol of this test's own, closed with it; undefined where there is none to start. */
export async function startMongo(options: MongoOptions = {}): Promise<OwnServer | undefined> {
  const { installation } = inject('databases').mongodb;
  return installation === undefined ? undefined : closedWithTest(await runMongo(installation, options));
}

/** The same server's URI with another database. A user keeps proving who they are in the database that was named. */
export function mongoUriOf(uri: string, database: string): string {
  const [, server = '', named = '', query = ''] = /^([^/]*\/\/[^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/.exec(uri) ?? [];
  const options = query === '' ? [] : query.split('&');
  if (server.includes('@') && !options.some((option) => /^authSource=/i.test(option))) {
    options.push(`authSource=${named === '' ? 'admin' : named}`);
  }
  return `${server}/${database}${options.length === 0 ? '' : `?${options.join('&')}`}`;
}

function randomName(): string {
  return `test_${randomBytes(8).toString('hex')}`;
}

function once(work: () => Promise<unknown>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => {
    done ??= work().then(() => undefined);
    return done;
  };
}

function closedWithTest(server: OwnServer): OwnServer {
  dropWithTest(() => server.close());
  return server;
}

function dropWithTest(drop: () => Promise<void>): void {
  if (TestRunner.getCurrentTest() !== undefined) onTestFinished(drop);
}
