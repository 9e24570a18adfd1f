import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Of the fields in /proc, on every Linux that Node runs on. */
const tickMs = 10;

type Row = { readonly pid: number; readonly parent: number; readonly cpuMs: number };

/** These processes and all that descend from them and still live. Empty where the system does not tell. */
export function treeOf(roots: readonly number[]): number[] {
  return rowsOf(roots).map(({ pid }) => pid);
}

/**
 * CPU time that some processes, what they started, and their threads have used so far; NaN where one of `roots` is gone.
 * Children that ended are counted by whoever waited for them.
 */
export function treeCpuMs(roots: readonly number[]): number {
  const rows = rowsOf(roots);
  const isWhole = roots.every((root) => rows.some(({ pid }) => pid === root));
  return isWhole ? rows.reduce((sum, { cpuMs }) => sum + cpuMs, 0) : Number.NaN;
}

function rowsOf(roots: readonly number[]): Row[] {
  const byPid = new Map(readAll().map((row) => [row.pid, row]));
  const belongs = (row: Row): boolean => {
    let next: Row | undefined = row;
    for (let depth = 0; next !== undefined && depth < 64; depth += 1) {
      if (roots.includes(next.pid)) return true;
      next = byPid.get(next.parent);
    }
    return false;
  };
  return [...byPid.values()].filter(belongs);
}

function readAll(): Row[] {
  return namesIn('/proc').flatMap((name) => (/^\d+$/.test(name) ? (readRow(Number(name)) ?? []) : []));
}

function readRow(pid: number): Row | undefined {
  const stat = textOf(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The name may hold spaces and brackets: count from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return { pid, parent: Number(fields[1]), cpuMs: ticks * tickMs };
}

/** The process of this machine that listens on a port: the first one, where it handed the port to its children. */
export function listenerOn(port: number): number | undefined {
  const inodes = new Set([...listeningInodes('/proc/net/tcp', port), ...listeningInodes('/proc/net/tcp6', port)]);
  if (inodes.size === 0) return undefined;
  const holders = readAll().filter(({ pid }) => namesIn(`/proc/${pid}/fd`).some((fd) => inodes.has(linkOf(pid, fd))));
  return holders.find(({ parent }) => !holders.some(({ pid }) => pid === parent))?.pid;
}

const listening = '0A';

function listeningInodes(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return (textOf(table) ?? '').split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    return local.endsWith(suffix) && state === listening ? [`socket:[${inode}]`] : [];
  });
}

function linkOf(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return '';
  }
}

/** Processes end, and others' are closed to us: both look empty. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
