import { closeSync, fdatasyncSync, mkdtempSync, openSync, readFileSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { figure, summarise } from './stats.ts';

/** Of the fields in /proc, on every Linux that Node runs on. */
const tickMs = 10;

/** CPU time that all processors together, or the one of this number, have spent on anything so far. */
export function busyMs(core?: number): number {
  try {
    const name = core === undefined ? 'cpu' : `cpu${core}`;
    const line = readFileSync('/proc/stat', 'utf8')
      .split('\n')
      .find((each) => each.startsWith(`${name} `));
    const fields = line?.trim().split(/\s+/).slice(1).map(Number) ?? [Number.NaN];
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields;
    return (user + nice + system + irq + softirq + steal) * tickMs;
  } catch {
    return Number.NaN;
  }
}

/** What a process has in memory: all of it, and with its share of what others have mapped too. In bytes. */
export type MemoryUse = { readonly rss: number; readonly pss: number };

/** NaN where the system does not tell. */
export function memoryOf(pid: number): MemoryUse {
  const text = textOf(`/proc/${pid}/smaps_rollup`);
  return { rss: fieldOf(text, 'Rss'), pss: fieldOf(text, 'Pss') };
}

/** The first of them alone, which costs the process nothing to tell. */
export function rssOf(pid: number): number {
  return fieldOf(textOf(`/proc/${pid}/status`), 'VmRSS');
}

function fieldOf(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? Number.NaN) * 1024;
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

const tmpfsTypes: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);

/** A fresh folder on a disk: a database in memory would say nothing about commits. */
export function makeWorkFolder(wanted: string | undefined): string {
  const places = wanted === undefined ? [tmpdir(), '/var/tmp', process.cwd()] : [wanted];
  const place = places.find((path) => !tmpfsTypes.has(statfsSync(path).type));
  if (place === undefined) throw new Error(`${places.join(', ')} is in memory: name a folder on a disk with --dir`);
  return mkdtempSync(join(place, 'open-responses-bench-'));
}

export function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

/** How long the disk takes to make 4 KiB durable. */
export function syncMs(folder: string): { p50: number; p99: number } {
  const file = join(folder, 'sync');
  const handle = openSync(file, 'w');
  const times: number[] = [];
  const bytes = Buffer.alloc(4096, 1);
  for (let at = 0; at < 100; at += 1) {
    writeSync(handle, bytes);
    const start = performance.now();
    fdatasyncSync(handle);
    times.push(performance.now() - start);
  }
  closeSync(handle);
  rmSync(file);
  return summarise(times);
}

/** What a reader has to know to compare. */
export function machineFacts(folder: string, pinning: string): string {
  const sync = syncMs(folder);
  return [
    `- ${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown'}; Linux ${release()}; Node.js ${process.version}`,
    `- ${pinning}`,
    `- disk: fdatasync of 4 KiB in ${figure(sync.p50)} ms (p99 ${figure(sync.p99)} ms)`,
    `- load average before the run: ${loadavg()
      .map((each) => each.toFixed(2))
      .join(' ')}`,
  ].join('\n');
}
