import type { Usage } from '../../api/response.ts';
import { isCallable, type ModelCall } from '../../model.ts';
import type { Budget } from './budget.ts';
import { textOf } from './conversation.ts';
import { safeEnd } from './words.ts';

/** A token of the demo: up to eight letters or digits, or one other mark, each with the blank before it. */
const token = /\s?[\p{L}\p{N}_]{1,8}|\s?[^\s\p{L}\p{N}_]|\s/gu;

/** Characters counted exactly; the rest of a longer text is taken to be like its beginning. */
const maxCountedChars = 65_536;
/** The same for all inputs of a call together, and what a token is thought to be where none was counted. */
const maxCountedInput = 65_536;
const usualTokenChars = 4;
/** Values that are looked at to learn how long the tools are. */
const maxMeasuredValues = 20_000;
const tokensPerImage = 85;
const tokensPerItem = 4;

export function countTokens(text: string): number {
  if (text.length <= maxCountedChars) return text.match(token)?.length ?? 0;
  const counted = text.slice(0, maxCountedChars).match(token)?.length ?? 0;
  return Math.ceil((counted * text.length) / maxCountedChars);
}

/** The first `maxTokens` tokens of a text, and how many those are; `cut` when there were more. */
export function cutToTokens(text: string, maxTokens: number): { text: string; tokens: number; cut: boolean } {
  const total = countTokens(text);
  if (total <= maxTokens) return { text, tokens: total, cut: false };
  let tokens = 0;
  for (const match of text.slice(0, maxCountedChars).matchAll(token)) {
    if (tokens === maxTokens) return { text: text.slice(0, match.index), tokens, cut: true };
    tokens += 1;
  }
  const end = safeEnd(text, Math.max(maxCountedChars, Math.floor((text.length * maxTokens) / total)));
  return { text: text.slice(0, end), tokens: maxTokens, cut: true };
}

/** What the call's items, instructions and tools would cost. */
export function inputTokens(call: ModelCall, budget: Budget): number {
  const counter = new InputCounter(budget);
  counter.add(call.instructions ?? '');
  for (const item of call.items) {
    const { text, images } = textOf(item);
    counter.add(text);
    counter.tokens += tokensPerItem + images.length * tokensPerImage;
  }
  for (const tool of call.tools) {
    if (!isCallable(tool)) counter.addValue(tool);
    else counter.addValue([tool.name, tool.description, tool.type === 'function' ? tool.parameters : tool.format]);
  }
  return counter.tokens;
}

/** Counts the first characters of all inputs, and takes the rest to be like them. */
class InputCounter {
  tokens = 0;
  #countedChars = 0;
  #countedTokens = 0;
  #values = maxMeasuredValues;
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  add(text: string): void {
    const part = text.slice(0, Math.max(0, maxCountedInput - this.#countedChars));
    const counted = part === '' ? 0 : countTokens(part);
    this.#countedChars += part.length;
    this.#countedTokens += counted;
    this.tokens += counted;
    this.#estimate(text.length - part.length);
  }

  addValue(value: unknown): void {
    const chars = this.#charsOf(value);
    if (this.#values > 0 && this.#countedChars + chars <= maxCountedInput) this.add(JSON.stringify(value));
    else this.#estimate(chars);
  }

  #estimate(chars: number): void {
    const tokenChars = this.#countedTokens === 0 ? usualTokenChars : this.#countedChars / this.#countedTokens;
    this.tokens += Math.ceil(chars / tokenChars);
  }

  /** About how long a value is as JSON; what is beyond the bound is not seen. */
  #charsOf(value: unknown): number {
    this.#values -= 1;
    if (typeof value === 'string') return value.length + 2;
    if (typeof value !== 'object' || value === null) return 4;
    let chars = 2;
    const keys = Array.isArray(value) ? undefined : this.#budget.keysOf(value);
    const parts: ArrayLike<unknown> = keys ?? (Array.isArray(value) ? value : []);
    for (let index = 0; index < parts.length && this.#values > 0; index += 1) {
      const key = keys?.[index];
      chars += key === undefined ? 1 + this.#charsOf(parts[index]) : key.length + 4;
      if (key !== undefined) chars += this.#charsOf(Reflect.get(value, key));
    }
    return chars;
  }
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
