import { Worker } from 'node:worker_threads';
import type { Tokenizer, Vocabulary } from '../../tokenizer.ts';
import type { FromCounter, ToCounter } from './messages.ts';
import { vocabularyOf } from './vocabularies.ts';

export type TokenizerOptions = {
  /** The thread that counts ended by itself: what it was asked is not known. */
  readonly onFailure: (error: Error) => void;
  /** How long a count may take, the start of the thread included. */
  readonly timeoutMs?: number;
  /** How long an idle thread keeps its vocabularies in memory. */
  readonly idleMs?: number;
  /** Memory for vocabularies and for texts that wait. Beyond it the thread ends, and not the server. */
  readonly maxHeapMib?: number;
};

/** Characters that may wait to be counted; whoever comes beyond is not counted exactly. */
const maxWaitingChars = 64 * 1024 * 1024;

const counterUrl = new URL(import.meta.url.endsWith('.ts') ? './counter.ts' : './counter.js', import.meta.url);

type Waiting = { readonly chars: number; readonly settle: (tokens: number | undefined) => void };

/**
 * Counts in a thread of its own, which starts when it is first asked and ends when nobody has asked for a while: a
 * server that is never asked pays nothing, and texts of megabytes hold up nobody.
 */
export class ThreadedTokenizer implements Tokenizer {
  readonly #options: Required<TokenizerOptions>;
  readonly #waiting = new Map<number, Waiting>();
  #counter: Worker | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
  #waitingChars = 0;
  #lastNumber = 0;
  #isClosed = false;

  constructor(options: TokenizerOptions) {
    this.#options = { timeoutMs: 5_000, idleMs: 60_000, maxHeapMib: 640, ...options };
  }

  vocabularyOf(model: string): Vocabulary | undefined {
    return vocabularyOf(model);
  }

  count(vocabulary: Vocabulary, texts: readonly string[], signal: AbortSignal): Promise<number | undefined> {
    const chars = texts.reduce((sum, text) => sum + text.length, 0);
    if (this.#isClosed || signal.aborted || this.#waitingChars + chars > maxWaitingChars) {
      return Promise.resolve(undefined);
    }
    const counter = this.#start();
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    return new Promise((resolve) => {
      const drop = () => {
        counter.postMessage({ kind: 'drop', number } satisfies ToCounter);
        this.#settle(number, undefined);
      };
      const timer = setTimeout(drop, this.#options.timeoutMs);
      signal.addEventListener('abort', drop, { once: true });
      this.#waitingChars += chars;
      this.#waiting.set(number, {
        chars,
        settle: (tokens) => {
          clearTimeout(timer);
          signal.removeEventListener('abort', drop);
          resolve(tokens);
        },
      });
      counter.postMessage({ kind: 'count', number, name: vocabulary.name, texts } satisfies ToCounter);
    });
  }

  /** Ends the thread; what waits is not counted. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#stop();
  }

  #start(): Worker {
    clearTimeout(this.#idleTimer);
    if (this.#counter !== undefined) return this.#counter;
    const counter = new Worker(counterUrl, {
      // It needs nothing of what the server was started with.
      env: {},
      argv: [],
      resourceLimits: { maxOldGenerationSizeMb: this.#options.maxHeapMib },
    });
    counter.unref();
    counter.on('message', ({ number, tokens }: FromCounter) => this.#settle(number, tokens));
    counter.on('error', (error: Error) => this.#options.onFailure(error));
    counter.on('exit', () => {
      if (this.#counter === counter) this.#forget();
    });
    this.#counter = counter;
    return counter;
  }

  async #stop(): Promise<void> {
    const counter = this.#counter;
    this.#forget();
    await counter?.terminate();
  }

  /** The thread has ended, or is about to. */
  #forget(): void {
    clearTimeout(this.#idleTimer);
    this.#counter = undefined;
    for (const number of [...this.#waiting.keys()]) this.#settle(number, undefined);
  }

  #settle(number: number, tokens: number | undefined): void {
    const waiting = this.#waiting.get(number);
    if (waiting === undefined) return;
    this.#waiting.delete(number);
    this.#waitingChars -= waiting.chars;
    waiting.settle(tokens);
    if (this.#waiting.size > 0 || this.#counter === undefined) return;
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => void this.#stop(), this.#options.idleMs);
    this.#idleTimer.unref();
  }
}
