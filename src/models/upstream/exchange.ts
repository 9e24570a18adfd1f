import type { Dispatcher } from 'undici';
import type { Dispatching, PooledHandler } from '../connections.ts';

export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Who listens to one HTTP exchange. `headers` comes once, then `data`, then `end`; `failed` may come instead of any. */
export interface ExchangeListener {
  headers(status: number, headers: ResponseHeaders): void;
  data(bytes: Buffer): void;
  end(): void;
  failed(error: Error): void;
}

/**
 * One HTTP request, by undici's callbacks: no promise per piece (the hot path). After `abort` the listener hears
 * nothing more, whether or not the request had reached a connection.
 */
export class Exchange implements PooledHandler {
  release: (() => void) | undefined;
  #listener: ExchangeListener | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #paused = false;

  constructor(listener: ExchangeListener) {
    this.#listener = listener;
  }

  send(dispatcher: Dispatching, options: Dispatcher.DispatchOptions): void {
    try {
      dispatcher.dispatch(options, this);
    } catch (error) {
      this.onResponseError(undefined, error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Closes the connection at once. */
  abort(): void {
    if (this.#listener === undefined) return;
    this.#listener = undefined;
    this.#controller?.abort(new Error('aborted'));
  }

  pause(): void {
    this.#paused = true;
    this.#controller?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#controller?.resume();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // Aborted while it waited for a connection.
    if (this.#listener === undefined) controller.abort(new Error('aborted'));
    else if (this.#paused) controller.pause();
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ResponseHeaders): void {
    // 1xx: the answer is still to come.
    if (status >= 200) this.#listener?.headers(status, headers);
  }

  onResponseData(_controller: Dispatcher.DispatchController, bytes: Buffer): void {
    this.#listener?.data(bytes);
  }

  onResponseEnd(): void {
    const listener = this.#listener;
    this.#listener = undefined;
    this.release?.();
    listener?.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    const listener = this.#listener;
    this.#listener = undefined;
    // Not before undici is done with the failure: until then its client takes no request.
    if (this.release !== undefined) queueMicrotask(this.release);
    listener?.failed(error);
  }
}

/** The one value of a header. */
export function headerOf(headers: ResponseHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}
