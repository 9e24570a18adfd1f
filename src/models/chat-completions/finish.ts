/** How an answer ended, by its finish reason. `failed`: it said so itself. `unavailable`: the upstream gave up on it. */
export type Finish = 'stop' | 'max_output_tokens' | 'content_filter' | 'failed' | 'unavailable';

const reasons: ReadonlyMap<string, Finish> = new Map([
  ['length', 'max_output_tokens'],
  ['max_tokens', 'max_output_tokens'],
  ['max_output_tokens', 'max_output_tokens'],
  // Mistral: the model's own limit.
  ['model_length', 'max_output_tokens'],
  ['content_filter', 'content_filter'],
  // Gemini's own words, which its compatible endpoint and gateways let through.
  ['safety', 'content_filter'],
  ['recitation', 'content_filter'],
  ['prohibited_content', 'content_filter'],
  ['blocklist', 'content_filter'],
  ['spii', 'content_filter'],
  ['image_safety', 'content_filter'],
  ['language', 'content_filter'],
  // Anthropic's.
  ['refusal', 'content_filter'],
  ['error', 'failed'],
  ['malformed_function_call', 'failed'],
  // DeepSeek; SGLang.
  ['insufficient_system_resource', 'unavailable'],
  ['aborted', 'unavailable'],
  ['abort', 'unavailable'],
]);

/** Any other reason (`stop`, `tool_calls`, `function_call`, `eos`, …) is an end of the model's own. */
export function finishOf(reason: string): Finish {
  // Gemini: `content_filter: RECITATION`.
  const [word = ''] = reason.toLowerCase().split(':');
  return reasons.get(word.trim()) ?? 'stop';
}
