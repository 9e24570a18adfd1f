import type { Vocabulary } from '../../tokenizer.ts';

/**
 * What each function costs, from the section on functions of "How to count tokens with tiktoken" in OpenAI's cookbook
 * (a copy, read 2026-11-21), which gives it for gpt-4o, and for gpt-4 and gpt-3.5-turbo.
 */
const o200k: Vocabulary = { name: 'o200k_base', functionTokens: 7 };
const cl100k: Vocabulary = { name: 'cl100k_base', functionTokens: 10 };

/**
 * OpenAI's models by the beginnings of their names, as its tokenizer library tells them apart (github.com/openai/tiktoken,
 * tiktoken/model.py, a copy of October 2026; o200k_harmony of gpt-oss is o200k_base with more special tokens), and as
 * gpt-tokenizer 4.0.0 does for those that the former leaves out. The first that fits counts. A family that is not in here
 * is not guessed.
 */
const families: readonly (readonly [name: RegExp, vocabulary: Vocabulary])[] = [
  [/^(?:chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|gpt-oss)(?![a-z0-9])/, o200k],
  [/^o[134](?![a-z0-9])/, o200k],
  [/^(?:codex-mini|computer-use-preview)(?![a-z0-9])/, o200k],
  [/^(?:gpt-4|gpt-3\.5|gpt-35)(?![a-z0-9.])/, cl100k],
];

/** Undefined where the model's vocabulary is not known. */
export function vocabularyOf(model: string): Vocabulary | undefined {
  // Hosts of many models put the maker before the name; a fine-tuned model has more behind it.
  const name = (model.toLowerCase().split('/').at(-1) ?? '').replace(/^ft:/, '');
  return families.find(([family]) => family.test(name))?.[1];
}
