import type { Vocabulary } from '../../tokenizer.ts';

/** What the main thread and the thread that counts say to each other. */
export type ToCounter =
  | {
      readonly kind: 'count';
      readonly number: number;
      readonly name: Vocabulary['name'];
      readonly texts: readonly string[];
    }
  /** Nobody waits for this one any more. */
  | { readonly kind: 'drop'; readonly number: number };

export type FromCounter = { readonly number: number; readonly tokens: number };
