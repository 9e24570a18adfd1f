import cluster, { type Worker } from 'node:cluster';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { ConfigError } from './config-error.ts';
import { settings } from './settings.ts';

/**
 * Several processes that serve one address. The first one, the primary, serves nothing itself: it holds the address,
 * hands each new connection to the next worker, replaces workers that die, and ends them. Workers share nothing but the
 * store.
 */

/** What a server tells about itself once it listens, and how it is ended. */
export type Served = {
  readonly url: string;
  readonly models: readonly string[];
  close(options?: { readonly force?: boolean }): Promise<void>;
};

/** Why a server can't start, in words for the operator. */
export type StartFailure = {
  readonly message: string;
  /** It is the configuration that is wrong. */
  readonly isMisuse: boolean;
};

/** A worker could not start; its message is the one that a server of one process would end with. */
export class WorkerFailed extends Error {
  override readonly name = 'WorkerFailed';
}

/** What the primary tells a worker. */
type Order = { readonly kind: 'serve'; readonly config: Config } | { readonly kind: 'stop'; readonly force: boolean };

/** What a worker tells the primary. */
type Report =
  | ({ readonly kind: 'serving' } & Pick<Served, 'url' | 'models'>)
  | ({ readonly kind: 'failed' } & StartFailure);

/** The first argument of a worker. Nobody types it: without a primary it means nothing. */
const workerCommand = 'worker';
/** A worker that dies is replaced after this time, and after twice the time when it dies again. */
const firstPauseMs = 100;
const longestPauseMs = 10_000;
/** Who lived so long did not die of its start. */
const settledMs = 60_000;
/** How much longer than `server.shutdown-timeout` a worker may take to end. */
const lastGraceMs = 5_000;
/** The longest time that Node's timers can wait. */
const longestTimerMs = 2_147_483_647;

/** Whether this process was started by `startWorkers`. */
export function isWorker(argv: readonly string[]): boolean {
  return cluster.isWorker && argv[0] === workerCommand;
}

/** What workers are made of. */
export type WorkersOptions = {
  /** Every worker gets it as it was read once: a file that is edited later must not tear the workers apart. */
  readonly config: Config;
  /** The file that a worker runs; it finds `isWorker` true and calls `runWorker`. */
  readonly file: string;
  readonly logger: Logger;
};

/**
 * Starts the workers and resolves when all of them listen.
 * @throws ConfigError where the store can't be shared, or where a worker found the configuration wrong; WorkerFailed
 * where one could not start. The others die with this process.
 */
export async function startWorkers(options: WorkersOptions): Promise<Served> {
  const { config, file } = options;
  if (cluster.isWorker) {
    throw new ConfigError(
      'open-responses.server.workers is more than 1, but this process is itself a worker of a cluster. Set it to 1.',
    );
  }
  refuseUnshared(config);
  // By name, as a variable of the environment could choose otherwise: the system spreads connections unevenly.
  cluster.schedulingPolicy = cluster.SCHED_RR;
  // Without the command's own arguments, which may hold a password. Unlike JSON this carries the maps of the configuration.
  cluster.setupPrimary({ exec: file, args: [workerCommand], serialization: 'advanced' });
  const pool = new Pool(options);
  await pool.start();
  return pool;
}

function refuseUnshared({ server, store }: Config): void {
  if (store.type !== 'in-memory') return;
  const shared = settings['store.type'].kind.allowed.split(/, | or /).filter((type) => type !== 'in-memory');
  throw new ConfigError(
    `open-responses.server.workers is ${server.workers}, but each process would have an in-memory store of its own. Stores that can be shared are: ${shared.join(', ')} (open-responses.store.type).`,
  );
}

/** Where a worker runs, and after it the one that replaces it. */
type Place = {
  worker: Worker | undefined;
  isServing: boolean;
  failure: StartFailure | undefined;
  startedAtMs: number;
  /** How long after the next death it stays empty. */
  pauseMs: number;
  timer: NodeJS.Timeout | undefined;
};

class Pool implements Served {
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #places: readonly Place[];
  readonly #started = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #isStarted = false;
  #isForced = false;
  #stopping: Promise<void> | undefined;
  #port: number;
  #badEnds = 0;
  url = '';
  models: readonly string[] = [];

  constructor({ config, logger }: WorkersOptions) {
    this.#config = config;
    this.#logger = logger;
    this.#port = config.server.port;
    this.#places = Array.from({ length: config.server.workers }, newPlace);
  }

  /** The first worker goes ahead: what keeps it from starting keeps all of them, and it makes the tables for all. */
  start(): Promise<void> {
    // Whatever ends this process in order ends its workers too.
    process.on('exit', () => this.#kill());
    for (const first of this.#places.slice(0, 1)) this.#fork(first);
    return this.#started.promise;
  }

  close({ force = false }: { readonly force?: boolean } = {}): Promise<void> {
    this.#isForced ||= force;
    this.#stopping ??= this.#stop();
    for (const place of this.#places) {
      clearTimeout(place.timer);
      if (place.worker !== undefined) tell(place.worker, { kind: 'stop', force });
    }
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const timer = setTimeout(() => this.#kill(), lastMomentMs(this.#config));
    if (this.#places.every(({ worker }) => worker === undefined)) this.#ended.resolve();
    await this.#ended.promise;
    clearTimeout(timer);
    if (this.#badEnds > 0 && !this.#isForced) throw new Error(`${this.#badEnds} of the workers did not end in order`);
  }

  #kill(): void {
    for (const { worker } of this.#places) worker?.process.kill('SIGKILL');
  }

  #fork(place: Place): void {
    Object.assign(place, { isServing: false, failure: undefined, startedAtMs: performance.now() });
    let worker: Worker;
    try {
      worker = cluster.fork();
    } catch (error) {
      this.#bury(place, { err: error });
      return;
    }
    place.worker = worker;
    worker.on('message', (report: Report) => this.#hear(place, worker, report));
    worker.on('error', (error) => {
      if (worker.process.pid === undefined) this.#bury(place, { err: error });
      // Said to one that was dying: its end follows.
      else this.#logger.debug({ err: error, worker: worker.process.pid }, 'a worker can not be reached');
    });
    closeForgotten(worker);
    // Unlike `exit` it comes after the worker's last message.
    worker.process.once('close', (code: number | null, signal: string | null) => {
      if (place.worker === worker) this.#bury(place, { worker: worker.process.pid, code, signal });
    });
    const { server } = this.#config;
    tell(worker, { kind: 'serve', config: { ...this.#config, server: { ...server, port: this.#port } } });
  }

  #hear(place: Place, worker: Worker, report: Report): void {
    switch (report.kind) {
      case 'serving':
        this.#serves(place, worker, report);
        break;
      case 'failed':
        place.failure = report;
        break;
      default:
        report satisfies never;
    }
  }

  #serves(place: Place, worker: Worker, { url, models }: Pick<Served, 'url' | 'models'>): void {
    if (this.url !== '' && this.url !== url) {
      // It asked for any port, and all who held the one of before died while it started.
      worker.process.kill('SIGKILL');
      return;
    }
    place.isServing = true;
    if (this.#isStarted) {
      this.#logger.info({ worker: worker.process.pid }, 'a worker serves in place of another');
      return;
    }
    if (this.url === '') {
      this.url = url;
      this.models = models;
      for (const other of this.#places.slice(1)) this.#fork(other);
    }
    if (this.#places.every(({ isServing }) => isServing)) {
      this.#isStarted = true;
      this.#started.resolve();
    }
  }

  /** `how` it ended, for the log. */
  #bury(place: Place, how: Ending): void {
    const { failure, isServing } = place;
    Object.assign(place, { worker: undefined, isServing: false });
    if (this.#stopping !== undefined) {
      // One that was only starting had nothing to bring to an end.
      if (isServing && how.code !== 0) {
        this.#badEnds += 1;
        if (!this.#isForced) this.#logger.error(how, 'a worker did not end in order');
      }
      if (this.#places.every(({ worker }) => worker === undefined)) this.#ended.resolve();
      return;
    }
    if (!this.#isStarted) {
      this.#started.reject(startError(failure, how));
      return;
    }
    // Nobody holds the port any more, and a worker that asks for any would get another.
    if (this.#places.every((each) => !each.isServing)) this.#port = Number(new URL(this.url).port);
    const { pauseMs, nextPauseMs } = pausesAfter(performance.now() - place.startedAtMs, place.pauseMs);
    place.pauseMs = nextPauseMs;
    place.timer = setTimeout(() => this.#fork(place), pauseMs);
    const reason = failure === undefined ? {} : { reason: failure.message };
    this.#logger.error({ ...how, ...reason, replacedInMs: pauseMs }, 'a worker ended and will be replaced');
  }
}

/**
 * How long a place stays empty now that its worker has died, and how long after the next death. `plannedMs` is what the
 * death before this one had planned.
 */
export function pausesAfter(
  livedMs: number,
  plannedMs: number,
): { readonly pauseMs: number; readonly nextPauseMs: number } {
  const pauseMs = livedMs < settledMs ? plannedMs : firstPauseMs;
  return { pauseMs, nextPauseMs: Math.min(pauseMs * 2, longestPauseMs) };
}

/** How a worker ended, or why it could not be made. */
type Ending = {
  readonly worker?: number | undefined;
  readonly code?: number | null;
  readonly signal?: string | null;
  readonly err?: unknown;
};

function newPlace(): Place {
  return {
    worker: undefined,
    isServing: false,
    failure: undefined,
    startedAtMs: 0,
    pauseMs: firstPauseMs,
    timer: undefined,
  };
}

function startError(failure: StartFailure | undefined, { code, signal, err }: Ending): Error {
  if (failure !== undefined) return new (failure.isMisuse ? ConfigError : WorkerFailed)(failure.message);
  const how = err instanceof Error ? err.message : (signal ?? `exit code ${code}`);
  return new WorkerFailed(`The server can't start: a worker ended before it could serve (${how}).`);
}

/** A connection as Node's cluster hands it on. */
type Handed = { readonly close: () => void };

/**
 * Node forgets the connection that a worker was being handed when it died: nobody serves it, nobody closes it, and its
 * client waits for as long as it can. It is closed here, like the connections that the worker had.
 */
function closeForgotten({ process: child }: Worker): void {
  const handed = new Map<unknown, Handed>();
  const send = child.send.bind(child) as (...all: readonly unknown[]) => boolean;
  child.send = (message: unknown, handle?: unknown, ...others: readonly unknown[]): boolean => {
    const { act, seq } = message as { readonly act?: unknown; readonly seq?: unknown };
    if (act === 'newconn') handed.set(seq, handle as Handed);
    return send(message, handle, ...others);
  };
  child.on('internalMessage', (message: { readonly ack?: unknown }) => handed.delete(message.ack));
  child.once('close', () => {
    for (const connection of handed.values()) connection.close();
  });
}

/** Nobody waits for what a worker that just died does not hear. */
function tell(worker: Worker, order: Order): void {
  if (worker.isConnected()) worker.send(order, () => {});
}

/** Starts a server of this process alone. What it throws or rejects with keeps the worker from starting. */
export type ServeAlone = (config: Config) => { readonly logger: Logger; readonly served: Promise<Served> };

/** A worker's life: it waits for its configuration, serves, and ends when the primary says so or is gone. */
export function runWorker(serveAlone: ServeAlone, explain: (error: unknown) => StartFailure): void {
  let end = (_force: boolean): void => process.exit(0);
  let isOrphan = false;
  let limitMs = 0;
  process.on('message', async (message) => {
    const order = message as Order;
    switch (order.kind) {
      case 'serve':
        limitMs = lastMomentMs(order.config);
        end = (await serveOrTell(order.config, serveAlone, explain)) ?? end;
        break;
      case 'stop':
        end(order.force);
        break;
      default:
        order satisfies never;
    }
  });
  cluster.worker?.once('disconnect', () => {
    // Otherwise Node ends this process at once, with everything that is under way.
    if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;
    isOrphan = true;
    setTimeout(() => process.exit(1), limitMs);
    end(false);
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // A terminal, and whoever ends a whole group, signals every process of it. The primary decides what that means.
    process.on(signal, () => {
      if (isOrphan) end(true);
    });
  }
}

/** Resolves with how the server is ended; with undefined where it did not start, and the process is about to end. */
async function serveOrTell(
  config: Config,
  serveAlone: ServeAlone,
  explain: (error: unknown) => StartFailure,
): Promise<((force: boolean) => void) | undefined> {
  try {
    const { logger, served } = serveAlone(config);
    const server = await served;
    report({ kind: 'serving', url: server.url, models: server.models });
    return (force) => {
      server.close({ force }).then(
        () => process.exit(0),
        (error: unknown) => {
          logger.error({ err: error }, 'the server could not be closed in order');
          process.exit(1);
        },
      );
    };
  } catch (error) {
    report({ kind: 'failed', ...explain(error) }, () => process.exit(1));
    return undefined;
  }
}

function report(what: Report, then: () => void = () => {}): void {
  process.send?.(what, undefined, undefined, then);
}

/** How long after the first signal a worker is still there. */
function lastMomentMs({ server }: Config): number {
  return Math.min(server.shutdownTimeoutMs + lastGraceMs, longestTimerMs);
}
