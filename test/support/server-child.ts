import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { FaultPoint } from '../../src/stores/fault-points.ts';

const file = fileURLToPath(new URL('./fault-child.ts', import.meta.url));

export type ServerChild = {
  readonly url: string;
  readonly child: ChildProcess;
  /** Resolves when the process has ended, however it did. */
  readonly ended: Promise<unknown>;
};

/** When a process of its own dies: at the `times`-th time that it gets to a point. */
export type Death = { readonly point: FaultPoint; readonly times: number };

const never: Death = { point: 'before_append', times: 0 };

/** A server in a process of its own, ended with the test if it still lives. */
export async function serverChild(settings: Record<string, string>, death: Death = never): Promise<ServerChild> {
  const given = { 'server.port': '0', 'log.level': 'error', 'demo.chunk-delay': '0', ...settings };
  const child = launch(given, death);
  const ended = once(child, 'exit');
  const [url] = await Promise.race([once(child, 'message'), ended.then(() => [undefined])]);
  if (typeof url !== 'string') throw new Error('the server ended before it served');
  return { url, child, ended };
}

/** Runs the migration in a process of its own. The version that it got to; undefined where it died. */
export async function migrationChild(settings: Record<string, string>, times = 0): Promise<number | undefined> {
  const child = launch(settings, { point: 'during_migration', times });
  let version: number | undefined;
  child.once('message', (message) => {
    version = Number(message);
  });
  await once(child, 'exit');
  return version;
}

function launch(settings: Record<string, string>, { point, times }: Death): ChildProcess {
  const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  const child = fork(file, [point, String(times), ...flags], { cwd: tmpdir(), execArgv: [] });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}
