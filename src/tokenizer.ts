/** A vocabulary that text can be counted with here, and how its models frame what they are given. */
export type Vocabulary = {
  readonly name: 'o200k_base' | 'cl100k_base';
  /** Tokens that each function costs besides its texts. */
  readonly functionTokens: number;
};

/** Counts the tokens of texts with public vocabularies. */
export interface Tokenizer {
  /** The vocabulary of a model, by the name that its provider knows it by. Undefined where it is not public. */
  vocabularyOf(model: string): Vocabulary | undefined;
  /**
   * How many tokens the texts have together. Undefined where that could not be found out in time, or there is too much
   * to count at once. Never rejects, and never holds up the event loop for long. An abort drops the work.
   */
  count(vocabulary: Vocabulary, texts: readonly string[], signal: AbortSignal): Promise<number | undefined>;
}
