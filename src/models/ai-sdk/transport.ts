import type { Dispatcher } from 'undici';
import type { UpstreamConfig } from '../../config.ts';
import { ApiError } from '../../errors.ts';
import { viaHeader } from '../../model.ts';
import type { Dispatching } from '../connections.ts';
import { answerKind } from '../upstream/answer.ts';
import type { Logger, Schedule } from '../upstream/call.ts';
import { Exchange, type ExchangeListener, type ResponseHeaders } from '../upstream/exchange.ts';
import {
  type FailureContext,
  isPassing,
  isPassingStatus,
  refusalError,
  retryAfter,
  transportError,
} from '../upstream/failures.ts';

/** Bytes of an error's body that are read. */
const maxErrorBytes = 65_536;
/** How long the rest of an error's body may take. */
const graceMs = 5_000;
/** Bytes of an answer that wait to be read, before its connection is paused. */
const maxWaitingBytes = 65_536;
const firstBackoffMs = 250;
/** The longest pause before another try. A longer `Retry-After` is the client's to wait for. */
const maxBackoffMs = 2_000;

/** What packages are given where there is no key: without one they would look into the environment. Never sent. */
export const noKey = 'open-responses-has-no-key';

export type TransportSettings = {
  readonly provider: string;
  readonly baseUrl: string;
  /** The operator's own headers, stronger than those of the package. */
  readonly headers: Readonly<Record<string, string>>;
  readonly upstream: UpstreamConfig;
  readonly dispatcher: Dispatching;
  readonly logger: Logger;
  readonly schedule: Schedule;
  readonly now: () => number;
  readonly random: () => number;
};

type Answered = { readonly status: number; readonly headers: ResponseHeaders };

/**
 * The `fetch` of one call, which its package is given: through our connections, with our time-outs, tries and bounds, to
 * the provider's own address only. It remembers why it failed, whatever the package makes of that.
 */
export class CallTransport {
  readonly #settings: TransportSettings;
  readonly #context: FailureContext;
  readonly #via: readonly string[];
  readonly #origin: string;
  #bytes = 0;
  #failure: ApiError | undefined;

  constructor(settings: TransportSettings, context: FailureContext, via: readonly string[]) {
    this.#settings = settings;
    this.#context = context;
    this.#via = via;
    this.#origin = new URL(settings.baseUrl).origin;
  }

  /** Why the last request failed, for the client. */
  get failure(): ApiError | undefined {
    return this.#failure;
  }

  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const { body = null, method = 'GET', signal } = init;
    const isPlain = body === null || typeof body === 'string' || body instanceof Uint8Array;
    if (input instanceof Request || !isPlain) throw this.#failed('could not be called like this');
    const url = new URL(input);
    // A key must not leave for anywhere else, and nobody outside may choose what is fetched from inside.
    if (url.origin !== this.#origin) throw this.#failed('was to be called at another address');
    const { upstream } = this.#settings;
    const options: Dispatcher.DispatchOptions = {
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: method as Dispatcher.HttpMethod,
      headers: this.#headers(init.headers),
      body,
      headersTimeout: upstream.headersTimeoutMs,
      bodyTimeout: upstream.idleTimeoutMs,
    };
    for (let tries = 1; ; tries += 1) {
      const response = await this.#try(options, tries, signal ?? undefined);
      if (response !== undefined) return response;
    }
  };

  #headers(given: RequestInit['headers']): Record<string, string> {
    const headers: Record<string, string> = {};
    for (const [name, value] of new Headers(given)) if (!value.includes(noKey)) headers[name] = value;
    // What undici counts itself.
    delete headers['content-length'];
    // Compressed answers can't be told from bombs before they are read.
    delete headers['accept-encoding'];
    for (const [name, value] of Object.entries(this.#settings.headers)) headers[name.toLowerCase()] = value;
    if (this.#via.length > 0) headers[viaHeader] = this.#via.join(',');
    return headers;
  }

  /** Undefined: the request failed in passing, and is to be sent again. */
  async #try(
    options: Dispatcher.DispatchOptions,
    tries: number,
    signal: AbortSignal | undefined,
  ): Promise<Response | undefined> {
    signal?.throwIfAborted();
    this.#failure = undefined;
    const { dispatcher, provider } = this.#settings;
    const body = new AnswerBody(signal, {
      onBytes: (count) => this.#count(count),
      onBroken: (error) => {
        this.#failure ??= transportError(provider, error, true);
      },
    });
    let answered: Answered;
    try {
      answered = await body.send(dispatcher, options);
    } catch (error) {
      if (signal?.aborted === true || !(error instanceof Error)) throw error;
      if (isPassing(error) && (await this.#waits(tries, undefined, error.message, signal))) return undefined;
      this.#failure = transportError(provider, error, false);
      throw error;
    }
    const { status, headers } = answered;
    if (status >= 300) return this.#refused(answered, body, tries, signal);
    const kind = answerKind(headers);
    if (kind === 'html' || kind === 'compressed') {
      body.close();
      throw this.#failed(`answered with ${kind === 'html' ? 'a web page' : 'a compressed body'}`);
    }
    return responseOf(answered, body.stream());
  }

  async #refused(
    answered: Answered,
    body: AnswerBody,
    tries: number,
    signal: AbortSignal | undefined,
  ): Promise<Response | undefined> {
    const { status, headers } = answered;
    const text = await body.text(maxErrorBytes, graceMs, this.#settings.schedule);
    signal?.throwIfAborted();
    const afterMs = retryAfter(headers, this.#settings.now());
    if (isPassingStatus(status, headers) && (await this.#waits(tries, afterMs, status, signal))) return undefined;
    this.#failure = refusalError(this.#context, status, text, afterMs);
    return responseOf(answered, text);
  }

  /** Waits for another try, with exponential backoff and jitter. False: this was the last, or the wait would be too long. */
  async #waits(
    tries: number,
    afterMs: number | undefined,
    reason: string | number,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    const { upstream, schedule, random, logger, provider } = this.#settings;
    if (tries > upstream.maxRetries) return false;
    if (afterMs !== undefined && afterMs > maxBackoffMs) return false;
    const backoffMs = Math.min(firstBackoffMs * 2 ** (tries - 1), maxBackoffMs);
    const delayMs = afterMs ?? Math.round(backoffMs * (0.5 + random() / 2));
    logger.warn({ provider, reason, tries, delayMs }, 'an upstream call failed and is tried again');
    await new Promise<void>((resolve) => {
      const cancel = schedule(delayMs, resolve);
      signal?.addEventListener('abort', () => {
        cancel();
        resolve();
      });
    });
    return true;
  }

  #count(count: number): Error | undefined {
    this.#bytes += count;
    const { maxResponseBytes } = this.#settings.upstream;
    if (this.#bytes <= maxResponseBytes) return undefined;
    return this.#failed(`answered with more than ${maxResponseBytes} bytes`);
  }

  #failed(what: string): Error {
    this.#failure = new ApiError('upstream_failed', `Provider \`${this.#settings.provider}\` ${what}.`);
    return this.#failure;
  }
}

function responseOf({ status, headers }: Answered, body: string | ReadableStream<Uint8Array>): Response {
  const fields = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    for (const each of [value ?? []].flat()) fields.append(name, each);
  }
  // Those may have no body.
  const isEmpty = status === 204 || status === 205 || status === 304;
  return new Response(isEmpty ? null : body, { status, headers: fields });
}

type BodyListener = {
  /** An error: no more is taken. */
  readonly onBytes: (count: number) => Error | undefined;
  /** The answer has begun, and will not end. */
  readonly onBroken: (error: Error) => void;
};

/** One exchange, and its answer as a stream that pauses the connection while nobody reads it. */
class AnswerBody implements ExchangeListener {
  readonly #exchange = new Exchange(this);
  readonly #signal: AbortSignal | undefined;
  readonly #listener: BodyListener;
  readonly #answered = Promise.withResolvers<Answered>();
  readonly #stream: ReadableStream<Uint8Array>;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #hasBegun = false;
  #isOver = false;

  constructor(signal: AbortSignal | undefined, listener: BodyListener) {
    this.#signal = signal;
    this.#listener = listener;
    this.#stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#exchange.resume(),
        cancel: () => this.close(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: maxWaitingBytes }),
    );
  }

  /** Resolves with the head of the answer. */
  send(dispatcher: Dispatching, options: Dispatcher.DispatchOptions): Promise<Answered> {
    this.#signal?.addEventListener('abort', this.#abort);
    this.#exchange.send(dispatcher, options);
    return this.#answered.promise;
  }

  stream(): ReadableStream<Uint8Array> {
    return this.#stream;
  }

  /** As much as comes in time, and as may be long. */
  async text(maxBytes: number, withinMs: number, schedule: Schedule): Promise<string> {
    const cancel = schedule(withinMs, () => this.#end());
    const reader = this.#stream.getReader();
    const pieces: Uint8Array[] = [];
    let size = 0;
    try {
      for (let read = await reader.read(); !read.done; read = await reader.read()) {
        pieces.push(read.value.subarray(0, maxBytes - size));
        size += read.value.length;
        if (size >= maxBytes) break;
      }
    } catch {
      // What came has to do.
    }
    cancel();
    this.#end();
    return Buffer.concat(pieces).toString();
  }

  close(): void {
    this.#over();
    this.#exchange.abort();
  }

  headers(status: number, headers: ResponseHeaders): void {
    this.#hasBegun = true;
    this.#answered.resolve({ status, headers });
  }

  data(bytes: Buffer): void {
    if (this.#isOver) return;
    const trouble = this.#listener.onBytes(bytes.length);
    if (trouble !== undefined) {
      this.close();
      this.#controller?.error(trouble);
      return;
    }
    this.#controller?.enqueue(bytes);
    if ((this.#controller?.desiredSize ?? 0) <= 0) this.#exchange.pause();
  }

  end(): void {
    if (this.#isOver) return;
    this.#over();
    this.#controller?.close();
  }

  failed(error: Error): void {
    if (this.#isOver) return;
    this.#over();
    if (this.#hasBegun) this.#listener.onBroken(error);
    this.#answered.reject(error);
    this.#controller?.error(error);
  }

  #end(): void {
    if (this.#isOver) return;
    this.close();
    this.#controller?.close();
  }

  readonly #abort = (): void => {
    if (this.#isOver) return;
    this.close();
    const reason: unknown = this.#signal?.reason;
    this.#answered.reject(reason);
    this.#controller?.error(reason);
  };

  #over(): void {
    this.#isOver = true;
    this.#signal?.removeEventListener('abort', this.#abort);
  }
}
