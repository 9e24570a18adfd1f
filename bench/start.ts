import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Bench } from './client.ts';
import { type MemoryUse, memoryOf } from './machine.ts';
import { cleanEnvironment, cores, root, type Started, startScript, startServer } from './processes.ts';
import { helloText } from './script.ts';
import { figure, median, spread, table } from './stats.ts';
import { atMost, type Target } from './targets.ts';

const targets: { readonly seconds: Target; readonly idleMb: Target } = {
  seconds: { least: 0.8, towards: 0.4 },
  idleMb: { least: 130, towards: 90 },
};
/** After the first answer, before the memory is read. */
const settleMs = 1_500;
const answerLimitMs = 20_000;
const buildLimitMs = 180_000;

const demoBody = JSON.stringify({ model: 'demo', input: 'Say hello.', store: false });

type Kind = { readonly name: string; readonly isServer: boolean; readonly start: () => Promise<Started> };
/** What `npm start` runs. Its first start keeps what Node.js made of the sources; that one is not counted. */
const command = fileURLToPath(new URL('../bin/open-responses.js', import.meta.url));

type Round = { readonly seconds: number; readonly firstMs: number; readonly memory: MemoryUse };
type Row = { readonly kind: Kind; readonly rounds: Round[] };

/** How long it takes from nothing to the first answer, and what an idle server takes of memory. */
export const startBench: Bench = async ({ rounds, folder }) => {
  const wrong: string[] = [];
  const built = buildPackage(folder);
  const serve = (entry?: string) => () => {
    // Nothing is set but a free port, as for `npm start`.
    const options = { core: cores.measured, cwd: folder, stderrFile: join(folder, 'server-start.log') };
    return startServer(['--server.port=0'], { ...options, ...(entry !== undefined && { entry }) });
  };
  const kinds: Kind[] = [
    {
      name: 'hello: `node:http` alone',
      isServer: false,
      start: () => startScript('hello.ts', [helloText], cores.measured),
    },
    { name: '`npm start`: `node bin/open-responses.js`', isServer: true, start: serve(command) },
  ];
  if (built.entry !== undefined) {
    kinds.push({ name: 'as a package: `open-responses`', isServer: true, start: serve(built.entry) });
  }
  const rows = kinds.map((kind): Row => ({ kind, rounds: [] }));
  // Once without measuring: then the files are in the system's cache, for all of them.
  for (const { kind } of rows) await takeRound(kind, wrong);
  for (let round = 0; round < rounds; round += 1) {
    for (const each of round % 2 === 0 ? rows : rows.toReversed()) each.rounds.push(await takeRound(each.kind, wrong));
  }
  return { markdown: [describe(rows), ...built.notes].join('\n\n'), wrong };
};

async function takeRound(kind: Kind, wrong: string[]): Promise<Round> {
  const startedAt = performance.now();
  const started = await kind.start();
  try {
    const readyAt = performance.now();
    const answer = await post(started.port);
    const seconds = (performance.now() - startedAt) / 1000;
    const firstMs = performance.now() - readyAt;
    const isRight = answer.status === 200 && (!kind.isServer || answer.body.includes('"status":"completed"'));
    if (!isRight) wrong.push(`${kind.name}: status ${answer.status}: ${answer.body.slice(0, 300)}`);
    await sleep(settleMs);
    return { seconds, firstMs, memory: memoryOf(started.pid) };
  } finally {
    await started.stop();
  }
}

/** The cheapest client there is, so that none of its own time is in the figure. */
function post(port: number): Promise<{ readonly status: number; readonly body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(demoBody) };
  const signal = AbortSignal.timeout(answerLimitMs);
  const call = request({
    port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/v1/responses',
    headers,
    agent: false,
    signal,
  });
  call.on('response', (response) => {
    let body = '';
    response.setEncoding('utf8');
    response.on('data', (piece: string) => {
      body += piece;
    });
    response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    response.on('error', reject);
  });
  call.on('error', reject);
  call.end(demoBody);
  return promise;
}

const left: ReadonlySet<string> = new Set(['node_modules', 'dist', '.git', 'test', 'bench', 'docs']);

/** What `npm run build` makes of a copy of the checkout: the checkout itself stays as it is. */
function buildPackage(folder: string): { readonly entry: string | undefined; readonly notes: readonly string[] } {
  const place = join(folder, 'package');
  mkdirSync(place);
  for (const name of readdirSync(root)) {
    if (!left.has(name)) cpSync(join(root, name), join(place, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(place, 'node_modules'));
  const options = { cwd: place, env: cleanEnvironment(), encoding: 'utf8', timeout: buildLimitMs } as const;
  const { status, stdout, error } = spawnSync('npm', ['run', '--silent', 'build'], options);
  if (status === 0) return { entry: join(place, 'bin', 'open-responses.js'), notes: [] };
  const why = error?.message ?? (stdout ?? '').split('\n')[0] ?? '';
  return { entry: undefined, notes: [`The package was **not measured**: \`npm run build\` failed: ${why}`] };
}

const megabyte = 1_000_000;

function describe(rows: readonly Row[]): string {
  const hello = rows[0]?.rounds ?? [];
  const head = [
    ...['', 's to the first answer', 'added to hello', 'target s', 'of it the first request ms'],
    ...['idle RSS MB', 'added to hello', 'target MB', 'idle PSS MB'],
  ];
  const lines = rows.map(({ kind, rounds }) => {
    const rss = rounds.map(({ memory }) => memory.rss / megabyte);
    const added = (of: (round: Round) => number): string =>
      kind.isServer
        ? spread(rounds.flatMap((each, at) => hello.slice(at, at + 1).map((base) => of(each) - of(base))))
        : '';
    return [
      kind.name,
      spread(rounds.map(({ seconds }) => seconds)),
      added(({ seconds }) => seconds),
      kind.isServer ? atMost(median(rounds.map(({ seconds }) => seconds)), targets.seconds) : '',
      figure(median(rounds.map(({ firstMs }) => firstMs))),
      spread(rss),
      added(({ memory }) => memory.rss / megabyte),
      kind.isServer ? atMost(median(rss), targets.idleMb) : '',
      figure(median(rounds.map(({ memory }) => memory.pss / megabyte))),
    ];
  });
  return [
    '### Start to first answer, and idle',
    '',
    table(head, lines),
    '',
    `From the spawn of the process to the whole answer of the \`demo\` model to a first \`POST /v1/responses\`; memory ${settleMs / 1000} s after it. ${hello.length} interleaved rounds after one that is not counted: median (lowest–highest). MB are 1,000,000 bytes.`,
  ].join('\n');
}
