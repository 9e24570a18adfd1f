import type { LogProb } from '../../api/parts.ts';
import { isObject, type Loose, objectsIn } from '../upstream/loose.ts';

/** The log probabilities of a choice, as full entries. */
export function toLogprobs(value: unknown): LogProb[] {
  return objectsIn(isObject(value) ? value['content'] : undefined).map((entry) => {
    return { ...toLogprob(entry), top_logprobs: objectsIn(entry['top_logprobs']).map(toLogprob) };
  });
}

/** Both lists are always there: clients require full entries (docs/wire.md §6). */
function toLogprob(entry: Loose) {
  const { token, logprob, bytes } = entry;
  return {
    token: typeof token === 'string' ? token : '',
    logprob: typeof logprob === 'number' ? logprob : 0,
    bytes: Array.isArray(bytes) ? bytes.filter((byte) => typeof byte === 'number') : [],
  };
}
