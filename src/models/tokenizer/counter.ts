import { parentPort } from 'node:worker_threads';
import type { Vocabulary } from '../../tokenizer.ts';
import type { FromCounter, ToCounter } from './messages.ts';
import { slicesOf } from './slices.ts';

/**
 * The thread that counts. A vocabulary is loaded with the first text that needs it. Counts take turns, so that a short
 * one does not wait for a long one.
 */

/** How long one count goes on before others, and messages, get their turn. */
const turnMs = 10;
/** Words that are remembered; the library's default takes tens of megabytes more. */
const maxRememberedWords = 5_000;
/** What looks like a special token in a text is text. */
const plain = { disallowedSpecial: new Set<string>() };

type Encoding = {
  countTokens(text: string, options: typeof plain): number;
  setMergeCacheSize(words: number): void;
};

const port = parentPort;
if (port === null) throw new Error('The counter runs as a worker thread only');

const encodings = new Map<Vocabulary['name'], Promise<Encoding>>();
const dropped = new Set<number>();
const running = new Set<number>();

function encodingOf(name: Vocabulary['name']): Promise<Encoding> {
  let encoding = encodings.get(name);
  if (encoding === undefined) {
    encoding = load(name);
    encodings.set(name, encoding);
  }
  return encoding;
}

async function load(name: Vocabulary['name']): Promise<Encoding> {
  const encoding: Encoding =
    name === 'o200k_base'
      ? await import('gpt-tokenizer/encoding/o200k_base')
      : await import('gpt-tokenizer/encoding/cl100k_base');
  encoding.setMergeCacheSize(maxRememberedWords);
  return encoding;
}

async function count(number: number, name: Vocabulary['name'], texts: readonly string[]): Promise<void> {
  const encoding = await encodingOf(name);
  let tokens = 0;
  let turnEnd = performance.now() + turnMs;
  for (const text of texts) {
    for (const slice of slicesOf(text)) {
      tokens += encoding.countTokens(slice, plain);
      if (performance.now() < turnEnd) continue;
      await new Promise((resolve) => setImmediate(resolve));
      if (dropped.has(number)) return;
      turnEnd = performance.now() + turnMs;
    }
  }
  port?.postMessage({ number, tokens } satisfies FromCounter);
}

port.on('message', (message: ToCounter) => {
  if (message.kind === 'drop') {
    if (running.has(message.number)) dropped.add(message.number);
    return;
  }
  const { number, name, texts } = message;
  running.add(number);
  // What fails here ends the thread, and with it all that wait: they are told by its end.
  void count(number, name, texts).finally(() => {
    running.delete(number);
    dropped.delete(number);
  });
});
