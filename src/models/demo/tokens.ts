import type { Item } from '../../api/items.ts';
import type { Usage } from '../../api/response.ts';
import type { ModelCall } from '../../model.ts';
import { textOf } from './conversation.ts';

/** A token of the demo: up to eight letters or digits, or one other mark, each with the blank before it. */
const token = /\s?[\p{L}\p{N}_]{1,8}|\s?[^\s\p{L}\p{N}_]|\s/gu;

/** Characters counted exactly; the rest of a longer text is taken to be like its beginning. */
const maxCountedChars = 65_536;
const tokensPerImage = 85;
const tokensPerItem = 4;

export function countTokens(text: string): number {
  if (text.length <= maxCountedChars) return text.match(token)?.length ?? 0;
  const counted = text.slice(0, maxCountedChars).match(token)?.length ?? 0;
  return Math.ceil((counted * text.length) / maxCountedChars);
}

/** The first `maxTokens` tokens of a text, and how many those are; `cut` when there were more. */
export function cutToTokens(text: string, maxTokens: number): { text: string; tokens: number; cut: boolean } {
  let tokens = 0;
  for (const match of text.matchAll(token)) {
    if (tokens === maxTokens) return { text: text.slice(0, match.index), tokens, cut: true };
    tokens += 1;
  }
  return { text, tokens, cut: false };
}

/** What the call's items, instructions and tools would cost. */
export function inputTokens(call: ModelCall): number {
  let tokens = countTokens(call.instructions ?? '');
  for (const item of call.items) tokens += itemTokens(item);
  for (const tool of call.tools) tokens += countTokens(JSON.stringify([tool.name, tool.description, tool.parameters]));
  return tokens;
}

function itemTokens(item: Item): number {
  const { text, images } = textOf(item);
  return tokensPerItem + countTokens(text) + images.length * tokensPerImage;
}

export function usageOf(input: number, output: number, reasoning: number): Usage {
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: input + output,
  };
}
