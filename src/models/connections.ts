import { Client, type Dispatcher } from 'undici';

/** A handler that tells when its connection is free again. */
export interface PooledHandler extends Dispatcher.DispatchHandler {
  /** Set by the pool; to be called once: with the end of the answer, or right after its failure was handled. */
  release: (() => void) | undefined;
}

/** Sends requests on connections of its own. */
export interface Dispatching {
  /** Throws where the request can't be made at all; every other failure goes to the handler. */
  dispatch(options: Dispatcher.DispatchOptions, handler: PooledHandler): void;
}

type Waiting = { readonly options: Dispatcher.DispatchOptions; readonly handler: PooledHandler };

/** The connections to one origin. */
type Origin = {
  readonly all: Set<Client>;
  /** The one used last is taken first: it is the least likely to have been closed. */
  readonly idle: Client[];
  readonly waiting: Waiting[];
};

/**
 * Connections by origin, at most so many to each, each with one request at a time; further requests wait in their order.
 * undici's own pool asks one connection after the other whether it is free, for every request: here the free ones lie on
 * a stack.
 */
export class Connections implements Dispatching {
  readonly #options: Client.Options;
  readonly #max: number;
  readonly #origins = new Map<string, Origin>();
  #isClosed = false;

  /** @param max connections to one origin. */
  constructor(options: Client.Options, max: number) {
    this.#options = options;
    this.#max = max;
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: PooledHandler): void {
    if (this.#isClosed) throw Object.assign(new Error('the server is closing'), { code: 'UND_ERR_CLOSED' });
    const name = String(options.origin);
    let origin = this.#origins.get(name);
    if (origin === undefined) {
      origin = { all: new Set(), idle: [], waiting: [] };
      this.#origins.set(name, origin);
    }
    const client = origin.idle.pop() ?? this.#another(name, origin);
    if (client === undefined) origin.waiting.push({ options, handler });
    else this.#send(origin, client, { options, handler });
  }

  async destroy(): Promise<void> {
    this.#isClosed = true;
    const origins = [...this.#origins.values()];
    this.#origins.clear();
    await Promise.all(origins.flatMap(({ all }) => [...all].map((client) => client.destroy())));
    for (const { waiting } of origins) {
      for (const { handler } of waiting.splice(0)) fail(handler);
    }
  }

  #another(name: string, origin: Origin): Client | undefined {
    if (origin.all.size >= this.#max) return undefined;
    const client = new Client(name, this.#options);
    origin.all.add(client);
    return client;
  }

  #send(origin: Origin, client: Client, { options, handler }: Waiting): void {
    const release = () => {
      if (handler.release !== release) return;
      handler.release = undefined;
      this.#free(origin, client);
    };
    handler.release = release;
    try {
      client.dispatch(options, handler);
    } catch (error) {
      handler.release?.();
      throw error;
    }
  }

  #free(origin: Origin, client: Client): void {
    const next = this.#isClosed ? undefined : origin.waiting.shift();
    if (next === undefined) {
      origin.idle.push(client);
      return;
    }
    try {
      this.#send(origin, client, next);
    } catch (error) {
      next.handler.onResponseError?.(undefined as never, error instanceof Error ? error : new Error(String(error)));
    }
  }
}

function fail(handler: PooledHandler): void {
  const error = Object.assign(new Error('the server is closing'), { code: 'UND_ERR_DESTROYED' });
  handler.onResponseError?.(undefined as never, error);
}
