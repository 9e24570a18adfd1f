import type { TestProject } from 'vitest/node';
import type { Backend, DatabaseProblem } from './databases.ts';
import { findMongo, type MongoInstallation, runMongo, withMongo } from './mongo-server.ts';
import {
  dataOf,
  findPostgres,
  makePostgresData,
  type PostgresInstallation,
  runPostgres,
  withPostgres,
} from './postgres-server.ts';
import type { OwnServer } from './server-process.ts';

/** What ends with the run. */
const ends: (() => Promise<void>)[] = [];

/** Finds or starts the databases that all tests share, before the first test. */
export async function setup(project: TestProject): Promise<void> {
  const isRequired = process.env['TEST_REQUIRE_DATABASES'] === '1';
  const [postgres, mongodb] = await Promise.all([sharedPostgres(), sharedMongo()]);
  const problems = [...postgres.problems, ...mongodb.problems];
  project.provide('databases', { postgres: postgres.found, mongodb: mongodb.found, problems, isRequired });
  for (const { notice } of problems) process.stderr.write(`\n${notice}\n`);
}

/** Ends what `setup` started. Where this is never called, the servers' guards do the same. */
export async function teardown(): Promise<void> {
  await Promise.all(ends.splice(0).map((end) => end()));
}

/** The parts that differ between the databases. */
type Kind<Installation> = {
  readonly backend: Backend;
  readonly name: string;
  readonly variable: string;
  readonly exampleUri: string;
  /** How to get it without install.sh. */
  readonly byHand: string;
  find(): Promise<Installation | string>;
  /** What makes later starts quicker. */
  prepare(found: Installation): Promise<Installation>;
  run(found: Installation): Promise<OwnServer>;
  ask(uri: string): Promise<unknown>;
};

type Outcome<Installation> = {
  readonly found: { readonly uri?: string; readonly installation?: Installation };
  readonly problems: DatabaseProblem[];
};

function sharedPostgres(): Promise<Outcome<PostgresInstallation>> {
  return share({
    backend: 'postgres',
    name: 'PostgreSQL',
    variable: 'TEST_POSTGRES_URI',
    exampleUri: 'postgres://USER:PASSWORD@HOST:5432/DATABASE',
    byHand: 'initdb and postgres on the PATH',
    find: findPostgres,
    prepare: async (found) => {
      const folder = await makePostgresData(found);
      ends.push(() => folder.remove());
      return { ...found, template: dataOf(folder) };
    },
    run: (found) => runPostgres(found),
    ask: (uri) => withPostgres(uri, (client) => client.query('select 1')),
  });
}

function sharedMongo(): Promise<Outcome<MongoInstallation>> {
  return share({
    backend: 'mongodb',
    name: 'MongoDB',
    variable: 'TEST_MONGODB_URI',
    exampleUri: 'mongodb://HOST:27017',
    byHand: 'mongod on the PATH, or Java 17 and mongo-java-server, see tools/databases/install.sh',
    find: findMongo,
    prepare: async (found) => found,
    run: (found) => runMongo(found),
    ask: (uri) => withMongo(uri, (client) => client.db('admin').command({ ping: 1 })),
  });
}

async function share<Installation extends object>(kind: Kind<Installation>): Promise<Outcome<Installation>> {
  const { backend, name, variable } = kind;
  const problems: DatabaseProblem[] = [];
  const report = (isFailure: boolean, ...lines: string[]): void => {
    problems.push({ backend, isFailure, notice: lines.map((line) => `!! ${line}`).join('\n') });
  };
  const uri = process.env[variable] || undefined;
  const found = await kind.find();
  try {
    if (uri !== undefined) await kind.ask(uri);
  } catch (error) {
    // The URI may hold a password, so it is not shown.
    report(true, `${name}: NO ANSWER AT ${variable}, ITS TESTS ARE SKIPPED`, String(error));
    return { found: typeof found === 'string' ? {} : { installation: found }, problems };
  }
  if (typeof found === 'string') {
    const what = uri === undefined ? 'ITS TESTS ARE SKIPPED' : 'THE TESTS THAT HARM A SERVER ARE SKIPPED';
    report(false, `${name}: ${what}`, found, ...remediesOf(kind));
    return { found: uri === undefined ? {} : { uri }, problems };
  }
  if (uri !== undefined) return { found: { uri, installation: found }, problems };
  try {
    const installation = await kind.prepare(found);
    const server = await kind.run(installation);
    ends.push(() => server.close());
    return { found: { uri: server.uri, installation }, problems };
  } catch (error) {
    report(true, `${name}: COULD NOT BE STARTED, ITS TESTS ARE SKIPPED`, String(error));
    return { found: {}, problems };
  }
}

function remediesOf(kind: Pick<Kind<object>, 'variable' | 'exampleUri' | 'byHand'>): string[] {
  return [
    'To run them, on Debian:    tools/databases/install.sh && npm test',
    `With a server elsewhere:   ${kind.variable}=${kind.exampleUri} npm test`,
    `On other systems:          ${kind.byHand}`,
  ];
}
