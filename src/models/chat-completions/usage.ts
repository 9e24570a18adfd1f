import type { Usage } from '../../api/response.ts';
import { count, isObject, type Loose } from '../upstream/loose.ts';

/**
 * The usage that a chunk reports, wherever vendors put it: beside the choices, in `x_groq` (Groq), or in the choice
 * (Moonshot). Undefined: it reports none.
 */
export function usageIn(message: Loose, choice: Loose | undefined): Loose | undefined {
  const places = [message['usage'], field(message['x_groq'], 'usage'), choice?.['usage']];
  return places.find(isObject);
}

/**
 * Usage as OpenAI counts it, whatever the vendor's form. Reasoning tokens are part of the output: where a vendor counts
 * them apart (xAI, Gemini) only its total holds them.
 */
export function toUsage(usage: Loose): Usage {
  const input = count(usage['prompt_tokens']);
  const said = count(usage['completion_tokens']);
  const output = Math.max(count(usage['total_tokens']) - input, said);
  const reasoning =
    count(field(usage['completion_tokens_details'], 'reasoning_tokens')) || count(usage['reasoning_tokens']);
  const details = usage['prompt_tokens_details'];
  return {
    input_tokens: input,
    input_tokens_details: {
      // DeepSeek's name, and that of Moonshot and Together.
      cached_tokens:
        count(field(details, 'cached_tokens')) ||
        count(usage['prompt_cache_hit_tokens']) ||
        count(usage['cached_tokens']),
      cache_write_tokens: count(field(details, 'cache_write_tokens')),
    },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: Math.min(reasoning || output - said, output) },
    total_tokens: input + output,
  };
}

function field(value: unknown, name: string): unknown {
  return isObject(value) ? value[name] : undefined;
}
