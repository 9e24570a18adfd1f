import { wrongWith } from './checks.ts';
import type { Group, Job, JobResult } from './load.ts';
import type { Started } from './processes.ts';

/** Gives the load a job and waits for what it measured. @throws Error where it does not answer in time. */
export async function measure(load: Started, job: Job): Promise<JobResult> {
  const limitMs = job.warmupMs + job.measureMs + 20_000;
  const { promise, resolve, reject } = Promise.withResolvers<JobResult>();
  const onExit = (): void => reject(new Error('the load ended'));
  const onMessage = (message: unknown): void => resolve(message as JobResult);
  const timer = setTimeout(() => reject(new Error(`the load did not answer within ${limitMs} ms`)), limitMs);
  load.child.once('exit', onExit);
  load.child.once('message', onMessage);
  load.child.send(job);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    load.child.off('exit', onExit);
    load.child.off('message', onMessage);
  }
}

/** What was wrong in a job, one line per group that had anything wrong, or no answer at all. */
export function complaints(name: string, result: JobResult, groups: readonly Group[]): string[] {
  return result.groups.flatMap((each, at) => {
    const where = `${name}, ${groups[at]?.check ?? ''}`;
    if (each.wrong > 0) return [`${where}: ${each.wrong} wrong answers, the first: ${each.firstWrong?.slice(0, 600)}`];
    return each.answers === 0 ? [`${where}: no answers`] : [];
  });
}

/** Whether a response that was given out can be read back, or can not, as it should be. Empty: all is well. */
export async function wronglyKept(name: string, port: number, result: JobResult, isStored: boolean): Promise<string[]> {
  const id = result.groups[0]?.lastId ?? '';
  const headers = { authorization: 'Bearer bench-key' };
  const signal = AbortSignal.timeout(10_000);
  const answer = await fetch(`http://127.0.0.1:${port}/v1/responses/${id}`, { headers, signal });
  const body = await answer.text();
  if (!isStored) return answer.status === 404 ? [] : [`${name}: ${id} was kept: status ${answer.status}`];
  const wrong = wrongWith('json', { status: answer.status, body: JSON.stringify(JSON.parse(body)) }, 0);
  return wrong === undefined ? [] : [`${name}: ${id} was not kept: ${wrong}`];
}

/** What a bench gives back. */
export type BenchResult = {
  readonly markdown: string;
  /** Why the answers, or what was stored, were wrong. Empty where all is well. */
  readonly wrong: readonly string[];
};

export type BenchOptions = {
  readonly rounds: number;
  readonly seconds: number;
  /** A folder on a disk, which is removed afterwards. */
  readonly folder: string;
};

export type Bench = (options: BenchOptions) => Promise<BenchResult>;
