/**
 * What other servers of conversations are known to call their tables and collections. None is a name of ours, and none
 * is so common that it would tell nothing.
 */
export const namesOfOthers: readonly string[] = [
  'responses',
  'conversations',
  'conversation_items',
  'response_items',
  'input_items',
  'openai_responses',
];

/** In words for an operator. `what` says what it is and where: `the table public.responses`. */
export function perhapsOfOthers(what: string): string {
  return `${what}, perhaps of another server of conversations`;
}
