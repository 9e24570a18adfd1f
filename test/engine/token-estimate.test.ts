import fc from 'fast-check';
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, it } from 'vitest';
import { corpus } from '../../bench/token-corpus.ts';
import { estimateTokens } from '../../src/engine/token-estimate.ts';

describe('the estimate', () => {
  it.each(corpus())('is near for $kind', ({ measured }) => {
    const error = estimateTokens([measured]) / countTokens(measured) - 1;
    // docs/tokens.md has the errors themselves.
    expect(Math.abs(error)).toBeLessThan(0.2);
  });

  it('is a whole number for anything, and no less for more', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 40 })), (texts) => {
        const tokens = estimateTokens(texts);
        expect(Number.isSafeInteger(tokens)).toBe(true);
        expect(tokens).toBeGreaterThanOrEqual(0);
        expect(estimateTokens([...texts, ' one more word'])).toBeGreaterThanOrEqual(tokens);
      }),
    );
    expect(estimateTokens([])).toBe(0);
    expect(estimateTokens(['', ''])).toBe(0);
  });

  it('of much is that of a part of it, wherever it stands', () => {
    const text = 'Every queue needs a bound, and a test that shows it. ';
    const few = estimateTokens([text.repeat(100)]);
    for (const texts of [[text.repeat(100_000)], Array.from({ length: 10_000 }, () => text.repeat(10))]) {
      expect(Math.abs(estimateTokens(texts) / (few * 1_000) - 1)).toBeLessThan(0.05);
    }
    const half = estimateTokens([`${text.repeat(50_000)}${' '.repeat(text.length * 50_000)}`]);
    expect(Math.abs(half / (few * 500) - 1)).toBeLessThan(0.1);
  });

  it('takes what looks random for base64, once', () => {
    expect(estimateTokens(['aB3'.repeat(3_000_000)])).toBeGreaterThan(5_000_000);
    expect(estimateTokens(['ab1'.repeat(3_000_000)])).toBeGreaterThan(1_000_000);
  });
});
