import { type HostedItemContent, hostedItemTypes, type MessagePhase } from '../../api/items.ts';
import type { LogProb } from '../../api/parts.ts';
import type { JsonObject } from '../../api/primitives.ts';
import type { Usage } from '../../api/response.ts';
import { count, isObject, type Loose, objectsIn } from '../upstream/loose.ts';

/** An item of a tool that runs upstream; undefined for any other. */
export function toHostedItem(item: Loose): HostedItemContent | undefined {
  const type = hostedItemTypes.find((each) => each === item['type']);
  return type === undefined ? undefined : { ...item, type };
}

/** Fields of an event that are ours to say, or nobody's. */
const ownFields: ReadonlySet<string> = new Set([
  'type',
  'item_id',
  'output_index',
  'sequence_number',
  'obfuscation',
  'event_id',
]);

/** What an event of a hosted item says for itself. */
export function toHostedFields(event: Loose): JsonObject {
  return Object.fromEntries(Object.entries(event).filter(([name]) => !ownFields.has(name)));
}

export function toPhase(value: unknown): MessagePhase | undefined {
  return value === 'commentary' || value === 'final_answer' ? value : undefined;
}

export function toAnnotation(value: unknown): JsonObject | undefined {
  return isObject(value) && typeof value['type'] === 'string' ? value : undefined;
}

export function toLogprobs(value: unknown): LogProb[] {
  return objectsIn(value).map((entry) => {
    return { ...toLogprob(entry), top_logprobs: objectsIn(entry['top_logprobs']).map(toLogprob) };
  });
}

/** Entries are full, as clients require (docs/wire.md §6): deltas come without the bytes. */
function toLogprob({ token, logprob, bytes }: Loose) {
  const text = typeof token === 'string' ? token : '';
  return {
    token: text,
    logprob: typeof logprob === 'number' ? logprob : 0,
    bytes: Array.isArray(bytes) ? bytes.filter((byte) => typeof byte === 'number') : [...Buffer.from(text)],
  };
}

export function toUsage(usage: Loose): Usage {
  const input = count(usage['input_tokens']);
  const output = count(usage['output_tokens']);
  const inputDetails = isObject(usage['input_tokens_details']) ? usage['input_tokens_details'] : {};
  const outputDetails = isObject(usage['output_tokens_details']) ? usage['output_tokens_details'] : {};
  return {
    input_tokens: input,
    input_tokens_details: {
      cached_tokens: count(inputDetails['cached_tokens']),
      cache_write_tokens: count(inputDetails['cache_write_tokens']),
    },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: count(outputDetails['reasoning_tokens']) },
    total_tokens: count(usage['total_tokens']) || input + output,
  };
}
