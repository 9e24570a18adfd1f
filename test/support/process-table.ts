import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

type Row = { readonly pid: number; readonly parent: number; readonly state: string };

/** The processes that this one has started itself. */
export function childrenOf(pid: number): number[] {
  return processes()
    .filter(({ parent }) => parent === pid)
    .map((row) => row.pid);
}

/** Whether a process is stopped by a signal, or gone. */
export function isHalted(pid: number): boolean {
  const row = hasProc ? readRow(pid) : processes().find((each) => each.pid === pid);
  return row === undefined || /^[TZX]/.test(row.state);
}

/** Sends a signal to a process, which may be gone by now. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

const hasProc = existsSync('/proc/self/stat');

function processes(): Row[] {
  if (hasProc) {
    return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (readRow(Number(name)) ?? []) : []));
  }
  const { stdout } = spawnSync('ps', ['-axo', 'pid=,ppid=,state='], { encoding: 'utf8' });
  return stdout.split('\n').flatMap((line) => {
    const [pid, parent, state] = line.trim().split(/\s+/);
    return state === undefined ? [] : [{ pid: Number(pid), parent: Number(parent), state }];
  });
}

function readRow(pid: number): Row | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The name, in parentheses, may hold anything.
  const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { pid, parent: Number(parent), state: state ?? '' };
}
