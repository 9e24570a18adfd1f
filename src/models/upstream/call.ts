import type { UpstreamConfig } from '../../config.ts';
import { ApiError } from '../../errors.ts';
import type { ModelCall, ModelEvent, ModelSink, ModelStream } from '../../model.ts';
import type { Dispatching } from '../connections.ts';
import { AnswerReader, answerKind } from './answer.ts';
import { type Endpoint, requestHeaders } from './endpoint.ts';
import { Exchange, type ExchangeListener, type ResponseHeaders } from './exchange.ts';
import {
  type FailureContext,
  isMendable,
  isPassing,
  isPassingStatus,
  refusalError,
  reportedError,
  reportIn,
  retryAfter,
  transportError,
} from './failures.ts';
import type { AnswerDecoder, Protocol } from './protocol.ts';

/** Bytes of an error's body that are read. */
const maxErrorBytes = 65_536;
/** One event of a stream; a whole call with large arguments may come in one. */
const maxEventChars = 16 * 1024 * 1024;
/** How long an upstream may take for what is no longer needed: usage after the finish reason, the rest of an error. */
const graceMs = 5_000;
/** Bytes that may follow the end, so that the connection can serve again. */
const maxTrailingBytes = 65_536;
const firstBackoffMs = 250;
/** The longest pause before another try. A longer `Retry-After` is the client's to wait for. */
const maxBackoffMs = 2_000;

export type Logger = { warn(fields: object, message: string): void };

/** Runs something later; returns how to call that off. */
export type Schedule = (delayMs: number, run: () => void) => () => void;

export type CallSettings = {
  readonly provider: string;
  readonly endpoint: Endpoint;
  readonly protocol: Protocol;
  readonly upstream: UpstreamConfig;
  readonly dispatcher: Dispatching;
  readonly logger: Logger;
  readonly schedule: Schedule;
  /** Wall clock in ms, for a `Retry-After` that is a date. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
};

/**
 * One call under way. `waiting` for headers (or for another try), then either `refused` (reading an error's body) or
 * `answering`; `draining` after `end`, until the connection is free; `over` when nothing can happen any more.
 */
export class UpstreamCall implements ModelStream, ExchangeListener {
  readonly #settings: CallSettings;
  /** As it is sent: without what the upstream has refused, where that could be mended. */
  #call: ModelCall;
  readonly #sink: ModelSink;
  readonly #context: FailureContext;
  #phase: 'waiting' | 'refused' | 'answering' | 'draining' | 'over' = 'waiting';
  /** The request's body, kept for another try until the upstream has accepted the call. */
  #body: string;
  #tries = 0;
  #mended = false;
  /** `stream()` has returned, so that events may be delivered. */
  #returned = false;
  #silent = false;
  #paused = false;
  #exchange: Exchange | undefined;
  #decoder: AnswerDecoder | undefined;
  #reader: AnswerReader | undefined;
  #bytes = 0;
  #refusal: { readonly status: number; readonly headers: ResponseHeaders; readonly body: Buffer[] } | undefined;
  #cancelDeadline: (() => void) | undefined;
  #cancelGrace: (() => void) | undefined;
  #cancelBackoff: (() => void) | undefined;

  constructor(settings: CallSettings, call: ModelCall, sink: ModelSink) {
    this.#settings = settings;
    this.#call = call;
    this.#sink = sink;
    this.#context = {
      provider: settings.provider,
      facts: settings.protocol.failures,
      model: call.model,
      clientCredential: !settings.endpoint.ownCredential && call.credential !== undefined,
      secrets: settings.endpoint.secrets,
    };
    this.#body = JSON.stringify(settings.protocol.body(call));
  }

  begin(): void {
    const { timeoutMs } = this.#settings.upstream;
    if (timeoutMs > 0) this.#cancelDeadline = this.#settings.schedule(timeoutMs, () => this.#timedOut());
    this.#try();
    this.#returned = true;
  }

  abort(): void {
    this.#silent = true;
    // After the end, what is left of the connection may still serve another call.
    if (this.#phase !== 'draining') this.#close();
  }

  pause(): void {
    this.#paused = true;
    if (this.#phase === 'answering') this.#exchange?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#exchange?.resume();
  }

  headers(status: number, headers: ResponseHeaders): void {
    if (status >= 300) {
      this.#phase = 'refused';
      this.#refusal = { status, headers, body: [] };
      this.#startGrace();
      return;
    }
    const kind = answerKind(headers);
    if (kind === 'html' || kind === 'compressed') {
      this.#fail(this.#unreadable(kind === 'html' ? 'a web page' : 'a compressed body'));
      return;
    }
    this.#phase = 'answering';
    this.#body = '';
    const { protocol, provider } = this.#settings;
    const context = {
      provider,
      call: this.#call,
      reportedError: (error: unknown) => reportedError(this.#context, error),
    };
    this.#decoder = protocol.decoder(context, (event) => this.#emit(event));
    this.#reader = new AnswerReader(kind, this.#decoder, maxEventChars);
    if (this.#paused) this.#exchange?.pause();
    this.#emit({ type: 'start' });
  }

  data(bytes: Buffer): void {
    this.#bytes += bytes.length;
    if (this.#phase === 'answering') this.#answer(bytes);
    else if (this.#phase === 'refused') this.#collectRefusal(bytes);
    else if (this.#phase === 'draining' && this.#bytes > maxTrailingBytes) this.#close();
  }

  end(): void {
    if (this.#phase === 'refused') this.#settleRefusal();
    else if (this.#phase === 'draining') this.#close();
    else if (this.#phase === 'answering') {
      this.#reader?.end();
      this.#finish();
      this.#close();
    }
  }

  failed(error: Error): void {
    if (this.#phase === 'refused') this.#settleRefusal();
    else if (this.#phase === 'draining') this.#close();
    else if (this.#phase === 'answering') {
      // What comes after the finish reason is dispensable (R11).
      if (this.#decoder?.finished) this.#finish();
      else this.#fail(transportError(this.#settings.provider, error, true));
      this.#close();
    } else if (this.#phase === 'waiting') {
      if (isPassing(error) && this.#tryAgain(undefined, error.message)) return;
      this.#fail(transportError(this.#settings.provider, error, false));
    }
  }

  #try(): void {
    const { endpoint, dispatcher, upstream, protocol } = this.#settings;
    const headers = requestHeaders(endpoint, this.#call.credential, this.#call.via);
    headers['content-type'] = 'application/json';
    if (this.#call.streamed) headers['accept'] = 'text/event-stream, application/json';
    this.#tries += 1;
    this.#exchange = new Exchange(this);
    this.#exchange.send(dispatcher, {
      origin: endpoint.origin,
      path: endpoint.path(protocol.resource),
      method: 'POST',
      headers,
      body: this.#body,
      headersTimeout: upstream.headersTimeoutMs,
      bodyTimeout: upstream.idleTimeoutMs,
    });
  }

  /** Plans another try, with exponential backoff and jitter. False: this was the last, or the wait would be too long. */
  #tryAgain(afterMs: number | undefined, reason: string | number): boolean {
    const { upstream, schedule, random, logger, provider } = this.#settings;
    if (this.#tries > upstream.maxRetries) return false;
    if (afterMs !== undefined && afterMs > maxBackoffMs) return false;
    const backoffMs = Math.min(firstBackoffMs * 2 ** (this.#tries - 1), maxBackoffMs);
    const delayMs = afterMs ?? Math.round(backoffMs * (0.5 + random() / 2));
    logger.warn({ provider, reason, tries: this.#tries, delayMs }, 'an upstream call failed and is tried again');
    this.#phase = 'waiting';
    this.#exchange = undefined;
    this.#bytes = 0;
    this.#cancelBackoff = schedule(delayMs, () => {
      this.#cancelBackoff = undefined;
      this.#try();
    });
    return true;
  }

  #answer(bytes: Buffer): void {
    const { maxResponseBytes } = this.#settings.upstream;
    if (this.#bytes > maxResponseBytes) {
      this.#fail(this.#unreadable(`more than ${maxResponseBytes} bytes`));
      return;
    }
    const trouble = this.#reader?.feed(bytes);
    if (this.#phase !== 'answering') return;
    if (trouble !== undefined) {
      this.#fail(
        this.#unreadable(trouble === 'html' ? 'a web page' : `an event of more than ${maxEventChars} characters`),
      );
    } else if (this.#decoder?.settled) {
      this.#finish();
    } else if (this.#decoder?.finished) {
      this.#startGrace();
    }
  }

  #collectRefusal(bytes: Buffer): void {
    const room = maxErrorBytes - (this.#bytes - bytes.length);
    this.#refusal?.body.push(bytes.subarray(0, Math.max(room, 0)));
    if (this.#bytes >= maxErrorBytes) this.#settleRefusal();
  }

  #settleRefusal(): void {
    const refusal = this.#refusal;
    if (refusal === undefined) return;
    this.#refusal = undefined;
    this.#stopGrace();
    // Closes the connection where the body has not ended.
    this.#exchange?.abort();
    const { status, headers } = refusal;
    const afterMs = retryAfter(headers, this.#settings.now());
    if (isPassingStatus(status, headers) && this.#tryAgain(afterMs, status)) return;
    const body = Buffer.concat(refusal.body).toString();
    if (isMendable(status) && this.#tryMended(body)) return;
    this.#fail(refusalError(this.#context, status, body, afterMs));
  }

  /** Sends the call once more, without what the upstream refuses. False: there is nothing that could be mended. */
  #tryMended(refusal: string): boolean {
    if (this.#mended) return false;
    const { protocol, logger, provider } = this.#settings;
    const report = reportIn(refusal);
    const call = protocol.mend?.(this.#call, report);
    if (call === undefined) return false;
    this.#mended = true;
    this.#call = call;
    this.#body = JSON.stringify(protocol.body(call));
    logger.warn(
      { provider, reason: String(report.code ?? report.param).slice(0, 64) },
      'an upstream refused a part of a call, and is asked without it',
    );
    this.#phase = 'waiting';
    this.#bytes = 0;
    this.#tries = 0;
    this.#try();
    return true;
  }

  /** The answer has ended, in one way or another. */
  #finish(): void {
    const decoder = this.#decoder;
    if (decoder === undefined || this.#phase !== 'answering') return;
    const end = decoder.close();
    // `close` may have emitted, and the sink have aborted.
    if (this.#phase !== 'answering') return;
    if (end.reason === 'error') {
      this.#fail(end.error);
      return;
    }
    this.#phase = 'draining';
    this.#bytes = 0;
    this.#cancelDeadline?.();
    this.#startGrace();
    this.#exchange?.resume();
    this.#deliver(end);
  }

  #fail(error: ApiError): void {
    this.#close();
    this.#deliver({ type: 'end', reason: 'error', error });
  }

  #timedOut(): void {
    if (this.#phase === 'answering' && this.#decoder?.finished) {
      this.#finish();
      return;
    }
    const { provider, upstream } = this.#settings;
    const message = `Provider \`${provider}\` did not finish within ${upstream.timeoutMs} ms.`;
    this.#fail(new ApiError('upstream_timeout', message));
  }

  #startGrace(): void {
    this.#cancelGrace ??= this.#settings.schedule(graceMs, () => {
      this.#cancelGrace = undefined;
      if (this.#phase === 'answering') this.#finish();
      else if (this.#phase === 'refused') this.#settleRefusal();
      // Whatever is left of the body comes too late.
      if (this.#phase === 'draining') this.#close();
    });
  }

  #stopGrace(): void {
    this.#cancelGrace?.();
    this.#cancelGrace = undefined;
  }

  #close(): void {
    this.#phase = 'over';
    this.#body = '';
    this.#decoder?.stop();
    this.#cancelDeadline?.();
    this.#stopGrace();
    this.#cancelBackoff?.();
    this.#exchange?.abort();
  }

  #unreadable(what: string): ApiError {
    return new ApiError('upstream_failed', `Provider \`${this.#settings.provider}\` answered with ${what}.`);
  }

  #emit(event: ModelEvent): void {
    if (this.#phase === 'answering') this.#deliver(event);
  }

  #deliver(event: ModelEvent): void {
    if (!this.#returned) {
      queueMicrotask(() => this.#deliver(event));
      return;
    }
    if (this.#silent) return;
    try {
      this.#sink(event);
    } catch (error) {
      // undici would swallow it, and a timer would end the process: so it is logged, and the call is over.
      this.#close();
      this.#settings.logger.warn({ err: error, provider: this.#settings.provider }, 'the sink of a model call threw');
    }
  }
}
