import { type Item, isCall, isCallOutput } from '../api/items.ts';
import { textBytesOf } from './input-items.ts';

/** How much of the text stays each time that an upstream says it is still too much. */
const keptShare = 0.7;

/**
 * `truncation: auto`: the items without the oldest, as OpenAI's API drops them from the beginning. Nobody tells how long a
 * model's context is, so that less is offered until it fits: 0.7 times the text each time. Calls stay together with their
 * outputs and with the reasoning before them, and the newest item always stays. Undefined where nothing can go.
 */
export function shortened(items: readonly Item[]): readonly Item[] | undefined {
  const units = unitsOf(items);
  const sizes = units.map((unit) => unit.reduce((sum, item) => sum + textBytesOf(item), 0));
  const limit = sizes.reduce((sum, size) => sum + size, 0) * keptShare;
  let kept = 0;
  let first = units.length;
  while (first > 0) {
    const size = sizes[first - 1] ?? 0;
    if (first < units.length && kept + size > limit) break;
    kept += size;
    first -= 1;
  }
  if (first === 0) return undefined;
  return units.slice(first).flat();
}

/** What can only go together: a message; reasoning with what follows it; calls with their outputs. */
function unitsOf(items: readonly Item[]): Item[][] {
  const units: Item[][] = [];
  let before: Item | undefined;
  for (const item of items) {
    const continues =
      before !== undefined &&
      (before.type === 'reasoning' || isCallOutput(item) || (isCall(item) && (isCall(before) || isSaid(before))));
    const last = units.at(-1);
    if (continues && last !== undefined) last.push(item);
    else units.push([item]);
    before = item;
  }
  return units;
}

/** A message that the model said before it called belongs to the call: some upstreams take the two as one. */
function isSaid(item: Item): boolean {
  return item.type === 'message' && item.role === 'assistant';
}
