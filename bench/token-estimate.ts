import { countTokens as countCl100k } from 'gpt-tokenizer/encoding/cl100k_base';
import { countTokens as countO200k } from 'gpt-tokenizer/encoding/o200k_base';
import { estimateTokens } from '../src/engine/token-estimate.ts';
import { corpus } from './token-corpus.ts';

/*
 * How far the estimate of input tokens is from the tokenizer, for each kind of text: `node bench/token-estimate.ts`
 * prints the table of docs/tokens.md. The texts are not those that the estimate was fitted to. `chars / 4`: the usual
 * rule of thumb, for comparison.
 */

const percent = (estimate: number, tokens: number) => {
  const error = (estimate / tokens - 1) * 100;
  return `${error < 0 ? '−' : '+'}${Math.abs(error).toFixed(1)} %`;
};

console.log('| text | characters | tokens (o200k_base) | error | of `chars / 4` | error against cl100k_base |');
console.log('|---|--:|--:|--:|--:|--:|');
for (const { kind, measured } of corpus()) {
  const [tokens, estimate] = [countO200k(measured), estimateTokens([measured])];
  const errors = [
    percent(estimate, tokens),
    percent(measured.length / 4, tokens),
    percent(estimate, countCl100k(measured)),
  ];
  console.log(`| ${kind} | ${measured.length} | ${tokens} | ${errors.join(' | ')} |`);
}
