import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it, onTestFinished } from 'vitest';
import { environmentName } from '../../src/settings.ts';
import { describeMongo, describePostgres } from '../support/databases.ts';
import { type StoreType, storeSettings } from '../support/harness.ts';
import { bearer, startVendor } from '../support/open-server.ts';
import { readCompose, type Service, selected, type Variables } from './compose-file.ts';
import { parseStages, readDockerfile } from './dockerfile.ts';
import { HandmadeImage, type Running } from './image.ts';

// The machine that runs the tests has no container engine. So the Dockerfile's own commands are carried out in folders,
// and what they make is started as the Compose service says. Both are read from the files; nothing is said twice.

const stages = parseStages(readDockerfile());
const stopSignal = stages.at(-1)?.instructions.find(({ keyword }) => keyword === 'STOPSIGNAL')?.text as NodeJS.Signals;
/** A machine that does much else may need longer than the runner's default. */
const timeout = 60_000;
/** Two installations, perhaps from an empty npm cache. */
const wholeBuildMs = 600_000;
const running = new Set<Running>();
let image: HandmadeImage;

beforeAll(async () => {
  image = await HandmadeImage.build(stages);
  image.makeReadOnly(serviceOf('sqlite').volumes.map((volume) => volume.split(':')[1] ?? ''));
}, wholeBuildMs);
afterEach(async () => {
  for (const { child, ended } of running) {
    child.kill('SIGKILL');
    await ended;
  }
  running.clear();
});
afterAll(() => image?.remove(), wholeBuildMs);

/** The server that runs with a profile. */
function serviceOf(profile: string): Service {
  const found = Object.values(selected(readCompose(), [profile])).find(({ build }) => build !== undefined);
  if (found === undefined) throw new Error(`there is no server for ${profile}`);
  return found;
}

/** Starts the service and waits until it says that it runs. */
async function start(environment: Variables): Promise<Running> {
  const container = image.start(environment);
  running.add(container);
  await container.printed(/Address +http:\S+\/v1\n/);
  return container;
}

/** The environment of the service, with a port that is free on this machine. */
async function adapted(profile: string, more: Variables = {}): Promise<{ url: string; environment: Variables }> {
  const port = await freePort();
  const environment = { ...serviceOf(profile).environment, OPEN_RESPONSES_SERVER_PORT: String(port), ...more };
  return { url: `http://127.0.0.1:${port}`, environment };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** One turn that is stored. */
function respond(url: string, headers: Record<string, string>): Promise<Response> {
  return fetch(`${url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'm', input: 'Say hello.', store: true }),
  });
}

it('the image holds the program, its dependencies, and neither tools nor sources nor another Node.js', () => {
  const app = join(image.root, 'app');
  expect(readdirSync(app).sort()).toEqual(['LICENSE', 'bin', 'dist', 'node_modules', 'package.json']);
  const { dependencies } = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8')) as { dependencies: object };
  for (const name of Object.keys(dependencies)) expect(existsSync(join(app, 'node_modules', name)), name).toBe(true);
  for (const name of ['typescript', 'vitest', '.bin/tsc', '.bin/node', '@open-responses']) {
    expect(existsSync(join(app, 'node_modules', name)), name).toBe(false);
  }
  expect(readdirSync(join(app, 'node_modules')).filter((name) => /^node-(?:bin|linux)/.test(name))).toEqual([]);
  expect(readdirSync(join(image.root, 'data'))).toEqual([]);
});

/** The service of a profile answers, and what it stored is there in its next container. */
async function keepsOver(profile: string, store: Variables): Promise<void> {
  const vendor = await startVendor({ keys: ['good-key'] });
  const { url, environment } = await adapted(profile, { OPENAI_BASE_URL: vendor.url, ...store });
  const first = await start(environment);
  expect(first.output()).toContain(`Store          ${profile}`);

  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect(await image.checkHealth(environment)).toBe(0);
  expect((await respond(url, {})).status).toBe(401);
  expect((await respond(url, bearer('another-key'))).status).toBe(401);
  const answer = await respond(url, bearer('good-key'));
  const response = (await answer.json()) as { id: string; status: string; output: unknown };
  expect(answer.status, JSON.stringify(response)).toBe(200);
  expect(response.status).toBe('completed');
  expect(JSON.stringify(response.output)).toContain('Hello there');

  first.child.kill(stopSignal);
  expect(await first.ended, first.output()).toBe(0);
  expect(await image.checkHealth(environment)).toBe(1);

  await start(environment);
  const kept = await fetch(`${url}/v1/responses/${response.id}`, { headers: bearer('good-key') });
  expect(kept.status).toBe(200);
  expect(((await kept.json()) as { output: unknown }).output).toEqual(response.output);
}

/** A database of this machine in place of the one of the Compose file. */
async function instead(type: StoreType): Promise<Variables> {
  const { 'store.type': _, ...place } = await storeSettings(type);
  return Object.fromEntries(Object.entries(place).map(([key, value]) => [environmentName(key), value]));
}

it('the service keeps what it stored in /data, over a new container', { timeout }, async () => {
  await keepsOver('sqlite', {});
  const files = readdirSync(join(image.root, 'data'));
  expect(files.filter((name) => !/^open-responses\.sqlite(?:-wal|-shm)?$/.test(name))).toEqual([]);
  expect(files).toContain('open-responses.sqlite');
});

describeMongo('with the profile mongodb', () => {
  it('the service keeps what it stored in MongoDB', { timeout }, async () => {
    await keepsOver('mongodb', await instead('mongodb'));
  });
});

describePostgres('with the profile postgres', () => {
  it('the service keeps what it stored in PostgreSQL', { timeout }, async () => {
    await keepsOver('postgres', await instead('postgres'));
  });
});

it('the user of the image can write to /data, and not to what it runs', async () => {
  const write = (path: string) => image.execute(['node', '-e', `fs.writeFileSync(process.argv[1], '')`, path]);
  expect(await write('/data/written')).toBe(0);
  expect(await write('/app/written')).toBe(1);
  expect(await write('/app/dist/main.js')).toBe(1);
  expect(await write('/app/node_modules/written')).toBe(1);
});

it('with a key of its own it does not start', async () => {
  const { environment } = await adapted('sqlite', { OPENAI_API_KEY: 'sk-of-the-server' });
  const container = image.start(environment);
  running.add(container);
  expect(await container.ended).toBe(2);
  expect(container.output()).toContain('open-responses.auth.mode');
  expect(container.output()).not.toContain('sk-of-the-server');
});

it('the health check tells a server that is not ready, and one that is not there', async () => {
  const { url, environment } = await adapted('sqlite');
  expect(await image.checkHealth(environment)).toBe(1);
  const paths: (string | undefined)[] = [];
  const server = createServer((request, reply) => {
    paths.push(request.url);
    reply.writeHead(503).end();
  }).listen(Number(new URL(url).port), '127.0.0.1');
  onTestFinished(() => {
    server.close();
  });
  await once(server, 'listening');
  expect(await image.checkHealth(environment)).toBe(1);
  expect(paths).toEqual(['/readyz']);
});
