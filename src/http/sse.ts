import type { ServerResponse } from 'node:http';
import { expectReading } from './slow-clients.ts';

export type SseOptions = {
  /** A comment goes out when nothing else did for so long. */
  readonly keepAliveMs: number;
  /** A peer that took nothing for so long, while bytes wait for it, is gone. */
  readonly writeTimeoutMs: number;
  /** Whether the stream ends with `data: [DONE]`. */
  readonly done: boolean;
  /** The peer's buffer is full, or has room again: whoever produces should wait, or go on. */
  readonly onPressure: (isFull: boolean) => void;
};

/**
 * Writes events as Server-Sent Events (docs/wire.md §4). What one turn of the event loop brings leaves in one write:
 * writing once per event is what a stream costs most.
 */
export class SseStream {
  readonly #raw: ServerResponse;
  readonly #options: SseOptions;
  readonly #keepAlive: NodeJS.Timeout;
  #buffer = '';
  /** Sends the delta that waits, if any. */
  #held: (() => void) | undefined;
  #isScheduled = false;
  #isQuiet = true;
  #isFull = false;
  #isEnded = false;

  /** Sends the headers. `headers` are those that the answer would have had anyway. */
  constructor(raw: ServerResponse, headers: Record<string, string>, options: SseOptions) {
    this.#raw = raw;
    this.#options = options;
    raw.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    });
    raw.on('drain', () => {
      if (!this.#isFull) return;
      this.#isFull = false;
      this.#expectReading(false);
      options.onPressure(false);
    });
    raw.on('close', () => this.#stop());
    raw.on('timeout', () => raw.destroy());
    this.#keepAlive = setInterval(() => this.#beat(), options.keepAliveMs);
  }

  event(type: string, json: string): void {
    if (this.#isEnded) return;
    this.#buffer += `event: ${type}\ndata: ${json}\n\n`;
    this.#schedule();
  }

  /** A delta waits for others, until this turn ends. */
  hold(flush: () => void): void {
    if (this.#isEnded) return;
    this.#held = flush;
    this.#schedule();
  }

  end(): void {
    if (this.#isEnded) return;
    if (this.#options.done) this.#buffer += 'data: [DONE]\n\n';
    this.#stop();
    this.#raw.end(this.#buffer);
    this.#buffer = '';
    if (this.#raw.writableFinished) return;
    expectReading(this.#raw, this.#options.writeTimeoutMs);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#held?.();
    this.#held = undefined;
    this.#isScheduled = false;
    if (this.#isEnded || this.#buffer === '') return;
    this.#isQuiet = false;
    const hasRoom = this.#raw.write(this.#buffer);
    this.#buffer = '';
    if (hasRoom || this.#isFull) return;
    this.#isFull = true;
    this.#expectReading(true);
    this.#options.onPressure(true);
  }

  /** The socket's own timer: it begins anew with whatever the peer takes, be it a part of a write. */
  #expectReading(isExpected: boolean): void {
    this.#raw.socket?.setTimeout(isExpected ? this.#options.writeTimeoutMs : 0);
  }

  /** A client that reads nothing gets no comments either: they would pile up. */
  #beat(): void {
    if (this.#isQuiet && !this.#isFull) this.#raw.write(': ka\n\n');
    this.#isQuiet = true;
  }

  #stop(): void {
    this.#isEnded = true;
    clearInterval(this.#keepAlive);
  }
}
