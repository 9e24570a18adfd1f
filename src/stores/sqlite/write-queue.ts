import { Worker } from 'node:worker_threads';
import { StoreUnavailable } from '../../store.ts';
import { UnusableDatabase } from '../../store-admin.ts';
import { waitingBytes } from '../waiting-bytes.ts';
import type { WriteResult } from '../writing.ts';
import type { Answer, FromWriter, Submission, ToWriter, WriterData, WriterOperation } from './messages.ts';

export type QueueLimits = { readonly maxOperations: number; readonly maxBytes: number };

type Pending = {
  readonly bytes: number;
  readonly resolve: (result: WriteResult) => void;
  readonly reject: (error: Error) => void;
};

const writerUrl = new URL(import.meta.url.endsWith('.ts') ? './writer.ts' : './writer.js', import.meta.url);

/** The main thread's end of the writer: bounded, one message per turn of the event loop, a new thread where one died. */
export class WriteQueue {
  readonly #setup: WriterData;
  readonly #limits: QueueLimits;
  readonly #pending = new Map<number, Pending>();
  #outbox: Submission[] = [];
  #writer: Worker | undefined;
  #lastNumber = 0;
  #wasOpen = false;
  #bytes = 0;
  #closed: Promise<void> | undefined;

  constructor(setup: WriterData, limits: QueueLimits) {
    this.#setup = setup;
    this.#limits = limits;
  }

  submit(operation: WriterOperation): Promise<WriteResult> {
    if (this.#closed !== undefined) return Promise.reject(new StoreUnavailable('The store is closed'));
    const bytes = operation.kind === 'ping' ? 0 : waitingBytes(operation);
    if (this.#pending.size >= this.#limits.maxOperations || this.#bytes + bytes > this.#limits.maxBytes) {
      return Promise.reject(new StoreUnavailable('Too much is waiting to be written'));
    }
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    if (this.#outbox.length === 0) setImmediate(() => this.#flush());
    this.#outbox.push({ number, operation });
    this.#bytes += bytes;
    return new Promise((resolve, reject) => this.#pending.set(number, { bytes, resolve, reject }));
  }

  /** Writes what was accepted, then ends the thread. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    this.#flush();
    const writer = this.#writer;
    if (writer === undefined) return;
    const ended = new Promise((resolve) => writer.once('exit', resolve));
    writer.ref();
    writer.postMessage({ kind: 'close' } satisfies ToWriter);
    await ended;
  }

  #flush(): void {
    const submissions = this.#outbox;
    if (submissions.length === 0) return;
    this.#outbox = [];
    try {
      this.#writer ??= this.#start();
      this.#writer.ref();
      this.#writer.postMessage({ kind: 'submit', submissions } satisfies ToWriter);
    } catch (cause) {
      const error = new StoreUnavailable("The store's writer could not be reached", { cause });
      for (const { number } of submissions) this.#settle(number)?.reject(error);
    }
  }

  #start(): Worker {
    const writer = new Worker(writerUrl, { workerData: this.#setup });
    let reason: Error = new StoreUnavailable("The store's writer ended unexpectedly");
    writer.on('message', (message: FromWriter) => {
      switch (message.kind) {
        case 'open':
          this.#wasOpen = true;
          return;
        case 'answers':
          return this.#answer(writer, message.answers);
        case 'unusable':
          // Later on, it is a matter for the operator, not for those who want to write: the store can't serve.
          reason = new (this.#wasOpen ? StoreUnavailable : UnusableDatabase)(message.message);
          return;
        case 'unavailable':
          reason = new StoreUnavailable(message.message);
          return;
      }
    });
    writer.on('error', (cause) => {
      reason = new StoreUnavailable("The store's writer failed", { cause });
    });
    writer.on('exit', () => this.#ended(writer, reason));
    return writer;
  }

  #answer(writer: Worker, answers: readonly Answer[]): void {
    for (const { number, outcome } of answers) {
      const pending = this.#settle(number);
      if (outcome.kind === 'done') pending?.resolve(outcome.result);
      else if (outcome.kind === 'unavailable') pending?.reject(new StoreUnavailable(outcome.message));
      else pending?.reject(new Error(`A change of the database failed: ${outcome.message}`));
    }
    // An idle writer keeps no process alive.
    if (this.#pending.size === 0) writer.unref();
  }

  /** What it had not answered may or may not be written, but never half. */
  #ended(writer: Worker, reason: Error): void {
    if (this.#writer === writer) this.#writer = undefined;
    const waiting = new Set(this.#outbox.map(({ number }) => number));
    for (const number of [...this.#pending.keys()]) {
      if (!waiting.has(number)) this.#settle(number)?.reject(reason);
    }
  }

  #settle(number: number): Pending | undefined {
    const pending = this.#pending.get(number);
    if (pending === undefined) return undefined;
    this.#pending.delete(number);
    this.#bytes -= pending.bytes;
    return pending;
  }
}
