import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { treeOf } from './process-tree.ts';

const here = dirname(fileURLToPath(import.meta.url));
/** The checkout. */
export const root = dirname(here);

/** The server or the floor has one core for itself, whoever plays the rest of the world has the other. */
export const cores = { measured: 0, world: 1 } as const;

const startTimeoutMs = 20_000;
const stopTimeoutMs = 10_000;

export type Started = {
  readonly pid: number;
  readonly port: number;
  readonly child: ChildProcess;
  /** Ends the process by its pid, in order first, then for certain. */
  stop(): Promise<void>;
};

const running = new Set<ChildProcess>();

/** Whatever happens to the bench, none of its processes stays. Call once. */
export function endProcessesWithBench(): void {
  process.on('exit', () => {
    for (const child of running) child.kill('SIGKILL');
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
}

function has(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

const pinner = 'taskset';
const canPin = availableParallelism() > 1 && has(pinner);
const canTie = has('setpriv');

export function describePinning(): string {
  if (canPin)
    return `pinned: what is measured on core ${cores.measured}, load, upstream and databases of the bench on core ${cores.world}`;
  return 'NOT pinned to cores (one core only, or no `taskset`): load and server disturb each other';
}

/** Moves a process that runs already, and what it started, to a core. */
export function pin(pid: number, core: number): void {
  if (!canPin) return;
  for (const each of treeOf([pid])) spawnSync(pinner, ['-a', '-c', '-p', String(core), String(each)]);
}

export type StartOptions = {
  /** `undefined`: wherever the system likes. */
  readonly core: number | undefined;
  readonly nodeFlags?: readonly string[];
  /** The file that is started instead of `src/main.ts`. */
  readonly entry?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Where its stderr goes; without it, to ours. */
  readonly stderrFile?: string;
};

/** A script of the benches, which reports its port, or just that it is there, by a message. */
export function startScript(
  name: string,
  args: readonly string[],
  core: number,
  env: Readonly<Record<string, string>> = {},
): Promise<Started> {
  const child = launch([join(here, name), ...args], { core, env }, true);
  return ready(child, name, (found) => {
    child.once('message', (message) => found((message as { port?: number }).port ?? 0));
  });
}

/** The server itself, as its command starts it. Resolves as soon as it says where it listens. */
export function startServer(flags: readonly string[], options: StartOptions): Promise<Started> {
  const child = launch(
    [...(options.nodeFlags ?? []), options.entry ?? join(root, 'src', 'main.ts'), ...flags],
    options,
    false,
  );
  return ready(
    child,
    'the server',
    (found) => {
      let text = '';
      child.stdout?.on('data', (piece: Buffer) => {
        text += piece.toString();
        const port = /http:\/\/127\.0\.0\.1:(\d+)\/v1/.exec(text)?.[1];
        if (port !== undefined) found(Number(port));
      });
    },
    options.stderrFile,
  );
}

function launch(args: readonly string[], options: StartOptions, speaks: boolean): ChildProcess {
  const command = [process.execPath, ...args];
  // Both replace themselves by what they start, so the pid stays.
  if (canPin && options.core !== undefined) command.unshift(pinner, '-c', String(options.core));
  if (canTie) command.unshift('setpriv', '--pdeathsig', 'KILL');
  const stderr = options.stderrFile === undefined ? 'inherit' : openSync(options.stderrFile, 'w');
  const child = spawn(command[0] ?? '', command.slice(1), {
    cwd: options.cwd ?? here,
    env: { ...cleanEnvironment(), ...options.env },
    stdio: ['ignore', 'pipe', stderr, ...(speaks ? ['ipc' as const] : [])],
  });
  if (typeof stderr === 'number') closeSync(stderr);
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

/** Settings and proxies of whoever runs the bench must not change what it measures. */
export function cleanEnvironment(): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(OPEN_?RESPONSES|OPENAI|NODE_OPTIONS|NODE_COMPILE_CACHE)|_proxy$/i.test(name),
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, value ?? '']));
}

async function ready(
  child: ChildProcess,
  name: string,
  listen: (found: (port: number) => void) => void,
  stderrFile?: string,
): Promise<Started> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const said = (): string => (stderrFile === undefined ? '' : `: ${readFileSync(stderrFile, 'utf8').slice(-2_000)}`);
  const timer = setTimeout(() => reject(new Error(`${name} did not start in time${said()}`)), startTimeoutMs);
  child.once('error', reject);
  child.once('exit', (code) => reject(new Error(`${name} ended with ${code} before it was ready${said()}`)));
  listen(resolve);
  try {
    const port = await promise;
    if (child.pid === undefined) throw new Error(`${name} has no pid`);
    return { pid: child.pid, port, child, stop: () => stop(child) };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
  child.kill('SIGTERM');
  return ended.finally(() => clearTimeout(timer));
}

/** Runs `use` with the processes that `start` starts, and ends them whatever comes of it. */
export async function withProcesses<T>(
  use: (keep: (started: Promise<Started>) => Promise<Started>) => Promise<T>,
): Promise<T> {
  const kept: Started[] = [];
  try {
    return await use(async (started) => {
      const process = await started;
      kept.push(process);
      return process;
    });
  } finally {
    await Promise.all(kept.map((each) => each.stop()));
  }
}

/** What every server of the benches is started with, besides what is being measured. */
export function serverFlags(upstreamPort: number, more: readonly string[] = []): string[] {
  return [
    '--server.port=0',
    `--providers.bench.base-url=http://127.0.0.1:${upstreamPort}/v1`,
    '--default-provider=bench',
    '--demo.enabled=false',
    ...(more.some((flag) => flag.startsWith('--log.level')) ? [] : ['--log.level=warn']),
    ...more,
  ];
}
