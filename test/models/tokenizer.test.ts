import fc from 'fast-check';
import { countTokens as countCl100k } from 'gpt-tokenizer/encoding/cl100k_base';
import { countTokens as countO200k } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, it, onTestFinished } from 'vitest';
import { corpus } from '../../bench/token-corpus.ts';
import { slicesOf } from '../../src/models/tokenizer/slices.ts';
import { ThreadedTokenizer, type TokenizerOptions } from '../../src/models/tokenizer/tokenizer.ts';
import { vocabularyOf } from '../../src/models/tokenizer/vocabularies.ts';

const plain = { disallowedSpecial: new Set<string>() };
const o200k = { name: 'o200k_base', functionTokens: 7 } as const;
const cl100k = { name: 'cl100k_base', functionTokens: 10 } as const;
const never = new AbortController().signal;

function open(options: Partial<TokenizerOptions> = {}): { tokenizer: ThreadedTokenizer; failures: Error[] } {
  const failures: Error[] = [];
  const tokenizer = new ThreadedTokenizer({
    onFailure: (error) => failures.push(error),
    timeoutMs: 15_000,
    ...options,
  });
  onTestFinished(() => tokenizer.close());
  return { tokenizer, failures };
}

/** A word of letters in an order that never comes again, which costs the most to merge. */
function longWord(chars: number): string {
  let state = 1;
  const bytes = Buffer.alloc(chars);
  for (let at = 0; at < chars; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = 97 + ((state >>> 16) % 26);
  }
  return bytes.toString('latin1');
}

describe('the vocabulary of a model', () => {
  const known = {
    o200k_base: [
      ...['gpt-4o', 'gpt-4o-mini-2024-07-18', 'chatgpt-4o-latest', 'ft:gpt-4o:acme::1', 'GPT-4o', 'openai/gpt-4o'],
      ...[
        'gpt-4.1',
        'gpt-4.1-nano',
        'gpt-4.5-preview',
        'gpt-5',
        'gpt-5-mini',
        'gpt-5.1-codex-max',
        'codex-mini-latest',
      ],
      ...['o1', 'o1-pro', 'o3-mini-2025-01-31', 'o4-mini', 'gpt-oss:20b', 'models/openai/gpt-oss-120b'],
    ],
    cl100k_base: ['gpt-4', 'gpt-4-0613', 'gpt-4-turbo', 'gpt-3.5-turbo', 'gpt-35-turbo', 'ft:gpt-3.5-turbo:acme'],
  };

  it.each(Object.entries(known))('%s', (name, models) => {
    for (const model of models) expect(vocabularyOf(model)?.name, model).toBe(name);
  });

  it('is not guessed', () => {
    const others = [
      '',
      'demo',
      'gpt-6',
      'gpt-50',
      'gpt-4.2',
      'gpt-4x',
      'o2',
      'o11',
      'o5-mini',
      'gpt2',
      'llama-4',
      'gpt-4o/x',
    ];
    for (const model of [...others, 'claude-sonnet-4', 'my-gpt-4o', 'x'.repeat(500)]) {
      expect(vocabularyOf(model), model).toBeUndefined();
    }
  });
});

describe('slices', () => {
  const parts = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.constantFrom(
      ' ',
      '  ',
      '\n',
      ' \n ',
      "'s",
      '/',
      '。',
      '，',
      '字',
      '🙂',
      '\ud83d',
      '\ude00',
      '\u00a0',
      '<|endoftext|>',
    ),
    fc.tuple(
      fc.constantFrom('a', ' ', '!', '\n/', '字', '🙂', '1', 'aB', 'é', '\u200d'),
      fc.integer({ min: 1, max: 5_000 }),
    ),
  );
  const texts = fc
    .array(parts, { maxLength: 30 })
    .map((list) => list.map((part) => (typeof part === 'string' ? part : part[0].repeat(part[1]))).join(''));

  it('are the text, none is long, and no character is split', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const slices = [...slicesOf(text)];
        expect(slices.join('')).toBe(text);
        for (const slice of slices) {
          expect(slice.length).toBeGreaterThan(0);
          // With the halves of one more character.
          expect(slice.length).toBeLessThanOrEqual(4_096 + 2);
        }
        if (text.isWellFormed()) expect(slices.every((slice) => slice.isWellFormed())).toBe(true);
      }),
    );
  });

  it.each(corpus())('of $kind count as the whole does', ({ kind, measured }) => {
    const text = measured.length < 2_000 ? measured.repeat(20) : measured;
    for (const countTokens of [countO200k, countCl100k]) {
      const whole = countTokens(text, plain);
      let tokens = 0;
      for (const slice of slicesOf(text)) tokens += countTokens(slice, plain);
      // Only where nothing tells words apart may a cut be within one.
      if (['Thai', 'base64', 'numbers'].includes(kind)) expect(Math.abs(tokens - whole) / whole).toBeLessThan(0.02);
      else expect(tokens).toBe(whole);
    }
  });
});

describe('the thread that counts', () => {
  it('counts texts together, special tokens as text, in either vocabulary', async () => {
    const { tokenizer, failures } = open();
    const texts = ['Hello there', '', 'Größe <|endoftext|>', '日本語 \ud83d', longWord(1_000)];
    const sum = (count: typeof countO200k) => texts.reduce((total, text) => total + count(text, plain), 0);
    expect(await tokenizer.count(cl100k, texts.slice(0, 4), never)).toBe(
      sum(countCl100k) - countCl100k(texts[4] ?? '', plain),
    );
    const all = await tokenizer.count(o200k, texts, never);
    expect(Math.abs((all ?? 0) - sum(countO200k))).toBeLessThan(8);
    expect(await tokenizer.count(o200k, [], never)).toBe(0);
    expect(failures).toEqual([]);
  });

  it('gives up in time, and goes on with others', async () => {
    const { tokenizer, failures } = open({ timeoutMs: 3_000 });
    expect(await tokenizer.count(o200k, ['warm'], never)).toBe(1);
    const hostile = tokenizer.count(o200k, [longWord(20_000_000)], never);
    const small = await tokenizer.count(o200k, ['Hello there'], never);
    expect(small).toBe(2);
    expect(await hostile).toBeUndefined();
    expect(await tokenizer.count(o200k, ['Hello there'], never)).toBe(2);
    expect(failures).toEqual([]);
  });

  it.each([
    ['letters', longWord(2_000_000)],
    ['one letter', 'a'.repeat(2_000_000)],
    ['blanks', ' '.repeat(2_000_000)],
    ['blanks of two kinds', '\t '.repeat(1_000_000)],
    [
      'Han',
      Array.from({ length: 1_000_000 }, (_, index) => String.fromCharCode(0x4e00 + ((index * 7919) % 20_000))).join(''),
    ],
    ['emoji and marks', '🙂!，'.repeat(400_000)],
    ['marks and line ends', '/\n'.repeat(1_000_000)],
    ['halves of characters', '\ud83d'.repeat(1_000_000)],
    ['what is after an apostrophe', "'s".repeat(1_000_000)],
  ])('is never busy for long with %s: others are answered first', async (_name, text) => {
    const { tokenizer } = open();
    expect(await tokenizer.count(o200k, ['warm'], never)).toBe(1);
    const left = new AbortController();
    const order: string[] = [];
    const long = tokenizer.count(o200k, [text.repeat(5)], left.signal).then(() => order.push('long'));
    for (let small = 0; small < 3; small += 1) {
      expect(await tokenizer.count(o200k, ['Hello there'], never)).toBe(2);
      order.push('small');
    }
    left.abort();
    await long;
    // Nothing is left to do: the thread is free at once.
    expect(await tokenizer.count(o200k, ['Hello there'], never)).toBe(2);
    expect(order.slice(0, 1)).toEqual(['small']);
  });

  it('drops what nobody waits for, and takes no more than it can hold', async () => {
    const { tokenizer } = open();
    const left = new AbortController();
    const dropped = tokenizer.count(o200k, [longWord(1_000_000)], left.signal);
    left.abort();
    expect(await dropped).toBeUndefined();
    expect(await tokenizer.count(o200k, ['x'], left.signal)).toBeUndefined();
    const much = 'word '.repeat(7_000_000);
    expect(await tokenizer.count(o200k, [much, much], never)).toBeUndefined();
    expect(await tokenizer.count(o200k, ['Hello there'], never)).toBe(2);
  });

  it('ends when idle, and starts again', async () => {
    const { tokenizer, failures } = open({ idleMs: 1 });
    for (let time = 0; time < 2; time += 1) {
      expect(await tokenizer.count(o200k, ['Hello there'], never)).toBe(2);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(failures).toEqual([]);
  });

  it('that dies is told of, and another one takes its place', async () => {
    const { tokenizer, failures } = open({ maxHeapMib: 4 });
    for (let time = 1; time <= 2; time += 1) {
      expect(await tokenizer.count(o200k, ['Hello there'], never)).toBeUndefined();
      expect(failures).toHaveLength(time);
    }
  });

  it('is not waited for when the server closes', async () => {
    const { tokenizer, failures } = open();
    const counting = tokenizer.count(o200k, [longWord(1_000_000)], never);
    await tokenizer.close();
    expect(await counting).toBeUndefined();
    expect(await tokenizer.count(o200k, ['x'], never)).toBeUndefined();
    expect(failures).toEqual([]);
  });
});
