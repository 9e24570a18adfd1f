import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, mkdtemp, realpath, writeFile } from 'node:fs/promises';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { childrenOf, isHalted, signal } from './process-table.ts';

const guardScript = fileURLToPath(new URL('../../tools/databases/guard.sh', import.meta.url));
const startLimitMs = 45_000;
const endLimitMs = 20_000;
const haltLimitMs = 5_000;
const maxLogChars = 16_384;
const maxPortTries = 5;

/** Who a server runs as, where that is not whoever runs the tests. */
export type SystemUser = { readonly uid: number; readonly gid: number };

/** A kind of server, and how it is started, asked and ended. */
export type ServerProgram = {
  /** For messages. */
  readonly name: string;
  /** The command that serves on `port`. Its line names the server's folder, by which the guard knows it. */
  command(port: number): readonly [file: string, ...args: string[]];
  readonly user?: SystemUser | undefined;
  /** What the server writes once it takes connections. */
  readonly readyLine: RegExp;
  uri(port: number): string;
  /** Asks one query over a connection of its own. */
  ask(uri: string): Promise<void>;
  /** How it is told to end in an orderly way. */
  readonly orderlyEnd: 'SIGINT' | 'SIGTERM' | 'end of input';
};

/** A database server of a test's own, which may be harmed. */
export type OwnServer = {
  readonly uri: string;
  readonly port: number;
  /** The newest of what the server has written. */
  log(): string;
  /** Ends it in an orderly way; what it keeps on disk is there for `start`. */
  stop(): Promise<void>;
  /** Kills all its processes at once, as a crash does. */
  kill(): Promise<void>;
  /** Starts it again after `stop` or `kill`, on the same port and data. */
  start(): Promise<void>;
  /** Halts all its processes: connections stay open, and nobody answers. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Ends it, whatever its state, and removes its data. May be called again. */
  close(): Promise<void>;
};

/** The first file of this name that can be run from a folder of the PATH. */
export async function findCommand(name: string, folders = pathFolders()): Promise<string | undefined> {
  for (const folder of folders) {
    const file = join(folder, name);
    if (await canRun(file)) return file;
  }
  return undefined;
}

async function canRun(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The folders of the PATH. */
export function pathFolders(): string[] {
  return (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
}

/** A folder below the system's temporary one that is removed, and whose server is ended, when this process ends. */
export class GuardedFolder {
  readonly path: string;
  readonly #guard: ChildProcess;
  readonly #removed: Promise<unknown>;

  private constructor(path: string, guard: ChildProcess) {
    this.path = path;
    this.#guard = guard;
    this.#removed = once(guard, 'exit');
  }

  /** `endSignal` ends the server that is at work in the folder. */
  static async make(endSignal: 'QUIT' | 'KILL'): Promise<GuardedFolder> {
    const path = await mkdtemp(join(await realpath(tmpdir()), 'open-responses-database-'));
    // In a session of its own, so that Ctrl-C in the terminal does not reach it.
    const guard = spawn('/bin/sh', [guardScript, path, endSignal], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    await once(guard, 'spawn');
    release(guard);
    return new GuardedFolder(path, guard);
  }

  /** Names the process that the guard has to end. */
  async watch(pid: number | undefined): Promise<void> {
    await writeFile(join(this.path, 'server.pid'), `${pid ?? ''}`);
  }

  /** Ends the server, if it still runs, and removes the folder. */
  async remove(): Promise<void> {
    this.#guard.stdin?.end();
    await within(endLimitMs, this.#removed, () => `${this.path} could not be removed`);
    if (this.#guard.exitCode !== 0) throw new Error(`${this.path} could not be removed`);
  }
}

/** Runs a command that prepares a server's folder. @throws Error with what it wrote, where it fails. */
export async function runToEnd(
  folder: GuardedFolder,
  [file, ...args]: readonly [string, ...string[]],
  user?: SystemUser,
): Promise<void> {
  const child = spawnIn(folder, file, args, user);
  const log = new LogTail(child);
  const closed = once(child, 'close');
  await folder.watch(child.pid);
  await within(startLimitMs, closed, () => `${file} does not end:\n${log.text}`).catch((error: unknown) => {
    child.kill('SIGKILL');
    throw error;
  });
  if (child.exitCode !== 0) throw new Error(`${file} failed:\n${log.text}`);
}

/** Starts a server on a free port. The folder is removed with it, and also when it can't be started. */
export async function startServer(folder: GuardedFolder, program: ServerProgram): Promise<OwnServer> {
  for (let tries = 1; ; tries += 1) {
    const server = new ServerProcess(folder, program, await freePort());
    try {
      await server.start();
      return server;
    } catch (error) {
      // Another process may have taken the port meanwhile.
      if (tries < maxPortTries && /in use/i.test(server.log())) continue;
      await folder.remove();
      throw error;
    }
  }
}

class ServerProcess implements OwnServer {
  readonly uri: string;
  readonly port: number;
  readonly #folder: GuardedFolder;
  readonly #program: ServerProgram;
  #child: ChildProcess | undefined;
  /** Settles when all processes that hold the server's output are gone. */
  #closed: Promise<unknown> = Promise.resolve();
  #log: LogTail | undefined;
  #isRemoved = false;

  constructor(folder: GuardedFolder, program: ServerProgram, port: number) {
    this.#folder = folder;
    this.#program = program;
    this.port = port;
    this.uri = program.uri(port);
  }

  log(): string {
    return this.#log?.text ?? '';
  }

  async start(): Promise<void> {
    const { name, readyLine } = this.#program;
    if (this.#child !== undefined || this.#isRemoved) throw new Error(`${name} runs already, or was removed`);
    const [file, ...args] = this.#program.command(this.port);
    const child = spawnIn(this.#folder, file, args, this.#program.user);
    const log = new LogTail(child);
    const closed = once(child, 'close');
    // Whoever waits for the end hears of a command that could not be run.
    closed.catch(() => undefined);
    this.#child = child;
    this.#closed = closed;
    this.#log = log;
    try {
      await this.#folder.watch(child.pid);
      const ended = closed.then(() => Promise.reject(new Error('it ended')));
      const ready = log.seen(readyLine).then(() => this.#program.ask(this.uri));
      await within(startLimitMs, Promise.race([ready, ended]), () => 'it took too long');
    } catch (error) {
      await this.kill().catch(() => undefined);
      throw new Error(`${name} could not be started: ${messageOf(error)}. Its log:\n${log.text}`, { cause: error });
    }
    release(child);
  }

  async stop(): Promise<void> {
    const child = this.#running();
    await this.resume();
    const { name, orderlyEnd } = this.#program;
    if (orderlyEnd === 'end of input') child.stdin?.end();
    else child.kill(orderlyEnd);
    await within(endLimitMs, this.#closed, () => `${name} does not stop:\n${this.log()}`);
    this.#child = undefined;
    if (child.exitCode !== 0)
      throw new Error(`${name} ended with ${child.exitCode ?? child.signalCode}:\n${this.log()}`);
  }

  async kill(): Promise<void> {
    const child = this.#running();
    // Halted first, so that none sees another one die.
    for (const pid of await this.#halt()) signal(pid, 'SIGKILL');
    await within(endLimitMs, this.#closed, () => `${this.#program.name} can't be killed`);
    if (this.#child === child) this.#child = undefined;
  }

  async pause(): Promise<void> {
    this.#running();
    await this.#halt();
  }

  async resume(): Promise<void> {
    const pid = this.#pid();
    if (pid === undefined) return;
    for (const each of [...childrenOf(pid), pid]) signal(each, 'SIGCONT');
  }

  async close(): Promise<void> {
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    if (this.#child !== undefined) await this.resume();
    await this.#folder.remove();
    await within(endLimitMs, this.#closed, () => `${this.#program.name} does not end`);
    this.#child = undefined;
  }

  #running(): ChildProcess {
    if (this.#child === undefined) throw new Error(`${this.#program.name} does not run`);
    return this.#child;
  }

  /** Undefined once the process has ended, and its pid may be another's. */
  #pid(): number | undefined {
    const { pid, exitCode, signalCode } = this.#running();
    return exitCode === null && signalCode === null ? pid : undefined;
  }

  async #halt(): Promise<number[]> {
    const pid = this.#pid();
    if (pid === undefined) return [];
    // The first one starts the others: once it is halted, their number is final.
    await halt([pid]);
    const others = childrenOf(pid);
    await halt(others);
    return [...others, pid];
  }
}

async function halt(pids: readonly number[]): Promise<void> {
  for (const pid of pids) signal(pid, 'SIGSTOP');
  const givenUpAt = performance.now() + haltLimitMs;
  // The system tells nobody but a parent that a process has halted.
  while (!pids.every(isHalted)) {
    if (performance.now() > givenUpAt) throw new Error(`Some of the processes ${pids.join(', ')} did not halt.`);
    await delay(2);
  }
}

function spawnIn(
  folder: GuardedFolder,
  file: string,
  args: readonly string[],
  user: SystemUser | undefined,
): ChildProcess {
  return spawn(file, args, {
    cwd: folder.path,
    // What is set for the tests' own clients must not reach the server.
    env: { PATH: process.env['PATH'], LANG: 'C.UTF-8' },
    // In a session of its own, so that Ctrl-C in the terminal does not reach it.
    detached: true,
    stdio: 'pipe',
    ...user,
  });
}

/** A server that is forgotten must not hold up the end of this process; its guard ends it then. */
function release(child: ChildProcess): void {
  child.unref();
  for (const stream of child.stdio) if (stream instanceof Socket) stream.unref();
}

/** The newest part of what a process writes. */
class LogTail {
  text = '';
  #onText: (() => void) | undefined;

  constructor(child: {
    readonly stdout: Readable | null;
    readonly stderr: Readable | null;
    readonly stdin: Writable | null;
  }) {
    // A process that has died takes no input, which is no news.
    child.stdin?.on('error', () => undefined);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.text = (this.text + text).slice(-maxLogChars);
        this.#onText?.();
      });
    }
  }

  /** Resolves once a line like this was written. */
  seen(line: RegExp): Promise<void> {
    return new Promise((resolve) => {
      this.#onText = () => {
        if (!line.test(this.text)) return;
        this.#onText = undefined;
        resolve();
      };
      this.#onText();
    });
  }
}

/**
 * A port of loopback that nobody uses. It is below those that systems give to outgoing connections, so that it is still
 * free when a server that was killed starts again.
 */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
  throw new Error('No port is free.');
}

async function within<T>(limitMs: number, work: Promise<T>, message: () => string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(message())), limitMs);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
