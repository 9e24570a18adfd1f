import type { Access } from './backends.ts';
import { cores, type Started, startScript } from './processes.ts';
import type { StoreOutcome, StoreTask } from './store-worker.ts';

const limitMs = 180_000;

/** A store in a process of its own, on the measured core. */
export function startStore({ flags, env }: Access): Promise<Started> {
  return startScript('store-worker.ts', flags, cores.measured, env);
}

/** Gives a store something to do, and waits for it. @throws Error where it fails or does not end in time. */
export async function ask(worker: Started, task: StoreTask): Promise<StoreOutcome> {
  const { promise, resolve, reject } = Promise.withResolvers<StoreOutcome>();
  const onExit = (): void => reject(new Error('the store ended'));
  const onMessage = (message: unknown): void => resolve(message as StoreOutcome);
  const timer = setTimeout(() => reject(new Error(`${task.kind} was not done after ${limitMs} ms`)), limitMs);
  worker.child.once('exit', onExit);
  worker.child.once('message', onMessage);
  worker.child.send(task);
  try {
    const outcome = await promise;
    if (outcome.failure !== undefined) throw new Error(`${task.kind}: ${outcome.failure}`);
    return outcome;
  } finally {
    clearTimeout(timer);
    worker.child.off('exit', onExit);
    worker.child.off('message', onMessage);
  }
}
