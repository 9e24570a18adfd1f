import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { duration } from '../../src/setting-values.ts';
import { settings } from '../../src/settings.ts';
import { load } from '../config/load.ts';
import { readCompose, readDocument, type Service, selected, type Variables } from './compose-file.ts';
import { lastOf, pairsOf, parseStages, readDockerfile, type Stage } from './dockerfile.ts';

const image = parseStages(readDockerfile()).at(-1) as Stage;
const file = readCompose();
const all = Object.entries(file.services);
const servers = all.filter(([, service]) => service.build !== undefined);
const databases = all.filter(([, service]) => service.build === undefined);
/** The profile that is named, the server that then runs, and its database. */
const choices = [
  [undefined, 'open-responses', undefined, 'sqlite'],
  ['sqlite', 'open-responses', undefined, 'sqlite'],
  ['mongodb', 'open-responses-mongodb', 'mongodb', 'mongodb'],
  ['postgres', 'open-responses-postgres', 'postgres', 'postgres'],
] as const;

/** What a server's container has in its environment. */
function environmentOf(service: Service): Variables {
  return { ...pairsOf(image, 'ENV'), ...service.environment };
}

function seconds(text: string | undefined): number {
  return duration().parse(text ?? '') / 1_000;
}

describe('the schema that Compose publishes', () => {
  const schema = JSON.parse(readFileSync(new URL('compose-spec.json', import.meta.url), 'utf8')) as object;
  const validate = new Ajv2020({ strict: false, allErrors: true }).compile(schema);

  it('allows the file', () => {
    expect(validate(readDocument()), JSON.stringify(validate.errors)).toBe(true);
  });

  it.each([
    ['a key that there is not', { services: { a: { image: 'a', prots: [] } } }],
    ['a condition that there is not', { services: { a: { image: 'a', depends_on: { b: { condition: 'ready' } } } } }],
    ['a value of another type', { services: { a: { image: 'a', read_only: [] } } }],
  ])('refuses %s', (_name, document) => {
    expect(validate(document)).toBe(false);
  });
});

describe.each(choices)('with the profile %s', (profile, server, database, type) => {
  const profiles = profile === undefined ? [] : [profile];
  const started = selected(file, profiles);
  const service = started[server] as Service;

  it('one server starts, with the database that it needs and nothing else', () => {
    expect(Object.keys(started).sort()).toEqual([server, database].filter((name) => name !== undefined).sort());
    const needed = database === undefined ? {} : { [database]: { condition: 'service_healthy' } };
    expect(service.depends_on).toEqual(needed);
    expect(database === undefined || started[database]?.healthcheck !== undefined).toBe(true);
  });

  it('the server alone has a port, of loopback alone', () => {
    const published = Object.values(started).flatMap(({ ports }) => ports);
    expect(published).toEqual([`127.0.0.1:8080:${lastOf(image, 'EXPOSE')?.text}`]);
    const other = selected(readCompose({ OPEN_RESPONSES_PORT: '9000' }), profiles)[server];
    expect(other?.ports).toEqual([`127.0.0.1:9000:${lastOf(image, 'EXPOSE')?.text}`]);
  });

  it('the server understands its whole environment, and keeps its data in that store', () => {
    const config = load({ env: environmentOf(service) });
    expect(config.store.type).toBe(type);
    expect(config.server).toMatchObject({ host: '0.0.0.0', port: Number(lastOf(image, 'EXPOSE')?.text) });
  });

  it('the server has no key, and lets nobody in who has none', () => {
    const config = load({ env: environmentOf(service) });
    expect(config.auth.mode).toBe('passthrough');
    expect([...config.providers]).toEqual([]);
    expect(config.demo.enabled).toBeUndefined();
    const open = selected(readCompose({ OPEN_RESPONSES_AUTH_MODE: 'none' }), profiles)[server] as Service;
    expect(load({ env: environmentOf(open) }).auth.mode).toBe('none');
  });

  it('running responses get the time to finish', () => {
    expect(seconds(service.stop_grace_period)).toBeGreaterThanOrEqual(
      seconds(settings['server.shutdown-timeout'].default) + 10,
    );
  });
});

it('no two profiles are needed, and no profile but these does anything', () => {
  const names = all.flatMap(([, service]) => service.profiles ?? ['always']);
  expect([...new Set(names)].sort()).toEqual(['', 'mongodb', 'postgres', 'sqlite']);
});

it.each(servers)('%s can change nothing but its data', (_name, service) => {
  expect(service).toMatchObject({
    build: '.',
    read_only: true,
    cap_drop: ['ALL'],
    security_opt: ['no-new-privileges:true'],
    init: true,
  });
  expect(service.user).toBeUndefined();
  expect(service.tmpfs).toEqual([expect.stringMatching(/^\/tmp:size=\d+m$/)]);
  const path = environmentOf(service)['OPEN_RESPONSES_SQLITE_PATH'] ?? '';
  const isSqlite = environmentOf(service)['OPEN_RESPONSES_STORE_TYPE'] === 'sqlite';
  expect(service.volumes).toEqual(isSqlite ? [`sqlite-data:${dirname(path)}`] : []);
});

it.each(databases)('%s can be reached by its server alone', (name, service) => {
  expect(service.ports).toEqual([]);
  expect(service.networks).toEqual([name]);
  expect(file.networks[name]).toEqual({ internal: true });
  const others = all.filter(([other, { networks }]) => other !== name && networks.includes(name));
  expect(others.map(([other]) => other)).toEqual([`open-responses-${name}`]);
  expect(others[0]?.[1].networks).toContain('default');
});

it.each([
  [
    'mongodb',
    'MONGODB_PASSWORD',
    'OPEN_RESPONSES_MONGODB_URI',
    'MONGO_INITDB_ROOT_USERNAME',
    'MONGO_INITDB_ROOT_PASSWORD',
  ],
  ['postgres', 'POSTGRES_PASSWORD', 'OPEN_RESPONSES_POSTGRES_URI', 'POSTGRES_USER', 'POSTGRES_PASSWORD'],
])('%s and its server agree on user and password', (name, variable, uriName, userName, passwordName) => {
  for (const variables of [{}, { [variable]: 'another1' }]) {
    const { services } = readCompose(variables);
    const uri = new URL(services[`open-responses-${name}`]?.environment[uriName] ?? '');
    const own = services[name]?.environment ?? {};
    expect([uri.hostname, uri.username, uri.password]).toEqual([name, own[userName], own[passwordName]]);
    expect(uri.password).toBe(variables[variable] ?? 'open-responses');
    expect(uri.pathname.slice(1)).toBe(own['POSTGRES_DB'] ?? '');
  }
});

it.each(databases)('%s keeps its data on a volume, as a user without rights', (name, service) => {
  const places: Record<string, string> = { mongodb: '/data/db', postgres: '/var/lib/postgresql/data' };
  expect(service.volumes).toEqual([`${name}-data:${places[name]}`]);
  expect(Object.keys(file.volumes)).toContain(`${name}-data`);
  expect(service.user).toBe('999:999');
  expect(service).toMatchObject({ cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
});

it.each(databases)('%s is of a fixed version, and says itself whether it answers', (_name, service) => {
  expect(service.image).toMatch(/^(?:mongo:\d+\.\d+|postgres:\d+-[a-z]+)$/);
  expect(service.healthcheck?.test[0]).toBe('CMD');
  const { timeout, interval } = service.healthcheck ?? {};
  expect(seconds(timeout)).toBeLessThanOrEqual(seconds(interval));
});

it.each(all)('%s is bounded', (_name, service) => {
  expect(service.mem_limit).toMatch(/^\d+g$/);
  expect(service.pids_limit).toBeGreaterThan(0);
  expect(service.restart).toBe('unless-stopped');
  expect(service.logging?.options).toMatchObject({
    'max-size': expect.stringMatching(/^\d+m$/),
    'max-file': expect.stringMatching(/^\d$/),
  });
});
