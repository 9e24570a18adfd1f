import { type CallItem, type CallOutputItem, type Item, isCall, isCallOutput } from '../api/items.ts';

/**
 * Which output belongs to which call: the newest call of that id before it. By item, not by id: some vendors number
 * the calls of every turn from the same start.
 */
export function outputsByCall(items: readonly Item[]): Map<CallItem, CallOutputItem> {
  const open = new Map<string, CallItem>();
  const outputs = new Map<CallItem, CallOutputItem>();
  for (const item of items) {
    if (isCall(item)) open.set(item.call_id, item);
    if (!isCallOutput(item)) continue;
    const call = open.get(item.call_id);
    if (call === undefined) continue;
    outputs.set(call, item);
    open.delete(item.call_id);
  }
  return outputs;
}
