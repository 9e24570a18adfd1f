import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { Json } from './harness.ts';
import { signal } from './process-table.ts';

const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const maxTextChars = 4_000_000;

export type Ended = { readonly code: number | null; readonly signal: string | null };

export type CommandOptions = {
  readonly env?: Readonly<Record<string, string>>;
  /** In a process group of its own, which can be signalled like one that a terminal started. */
  readonly isGroup?: boolean;
};

/** A folder of a test's own, which goes with it. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'open-responses-command-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * The command as a process, in a folder of its own and with nothing of this machine's environment. It ends with the
 * test, and so do all processes that wrote a line to its log.
 */
export class Command {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Resolves when the process and all that share its output are gone. */
  readonly ended: Promise<Ended>;
  out = '';
  err = '';
  readonly #wakes = new Set<() => void>();
  #isEnded = false;

  constructor(folder: string, args: readonly string[], { env = {}, isGroup = false }: CommandOptions = {}) {
    // What Node says on its own behalf is not what is tested.
    const line = ['--no-warnings', mainFile, ...args];
    const child = spawn(process.execPath, line, { cwd: folder, env, detached: isGroup, stdio: 'pipe' });
    this.child = child;
    if (child.pid === undefined) throw new Error('the command could not be started');
    this.pid = child.pid;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.out = (this.out + text).slice(-maxTextChars);
      this.#wake();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.err = (this.err + text).slice(-maxTextChars);
      this.#wake();
    });
    this.ended = once(child, 'close').then(([code, signalName]) => {
      this.#isEnded = true;
      this.#wake();
      return { code, signal: signalName };
    });
    onTestFinished(async () => {
      if (!this.#isEnded) for (const pid of this.#living()) signal(pid, 'SIGKILL');
      await this.ended;
    });
  }

  /** The log as far as it is written. */
  lines(): Json[] {
    const whole = this.err.slice(0, this.err.lastIndexOf('\n') + 1).split('\n');
    return whole.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  }

  /** The lines of the log with this message. */
  logged(message: string): Json[] {
    return this.lines().filter(({ msg }) => msg === message);
  }

  /** Resolves once `read` finds something in what the command wrote. Rejects where it ends before. */
  async until<T>(read: (command: Command) => T | undefined): Promise<T> {
    for (;;) {
      const found = read(this);
      if (found !== undefined) return found;
      if (this.#isEnded) throw new Error(`the command ended: ${this.out}\n${this.err}`);
      await new Promise<void>((resolve) => {
        this.#wakes.add(resolve);
      });
    }
  }

  /** Resolves once the log has so many lines with this message, with all of them. */
  untilLogged(message: string, count = 1): Promise<Json[]> {
    return this.until(() => {
      const found = this.logged(message);
      return found.length >= count ? found : undefined;
    });
  }

  /** The address that the banner names, once it is there. */
  url(): Promise<string> {
    return this.until(({ out }) => /Address +(http:\S+)\/v1\n[\s\S]*\n\n$/.exec(out)?.[1]);
  }

  /** Those that wrote to the log, less those whose death is told there: their numbers may be others' by now. */
  #living(): Set<number> {
    const lines = this.lines();
    const living = new Set<number>([this.pid, ...lines.map(({ pid }) => pid)]);
    for (const { worker, code } of lines) if (code !== undefined) living.delete(worker);
    if (this.child.exitCode !== null || this.child.signalCode !== null) living.delete(this.pid);
    return living;
  }

  #wake(): void {
    for (const wake of this.#wakes) wake();
    this.#wakes.clear();
  }
}
