import type { FunctionCallItem, FunctionCallOutputItem, Item } from '../api/items.ts';
import { invalidRequest } from '../errors.ts';

/** What a model is given: the sources in order, and where among the history the newest turn stands. */
export type PairingInput = {
  readonly history: readonly Item[];
  /** Index in `history` where the newest turn begins, and where what it added ends. Equal where there is none. */
  readonly newestTurn: { readonly start: number; readonly end: number };
  readonly input: readonly Item[];
};

export type Paired = {
  /** For the model: each call directly followed, with its neighbours, by their outputs. */
  readonly items: readonly Item[];
  /** Halves left out because the other half is gone (R7). */
  readonly leftOut: number;
};

type Call = {
  readonly item: FunctionCallItem;
  output: FunctionCallOutputItem | undefined;
  readonly mustBeAnswered: boolean;
};

/**
 * Joins calls and outputs by `call_id`. An output belongs to the nearest unanswered call before it: some vendors use the
 * same ids again in every turn.
 *
 * @throws ApiError 400 where an output of the input finds no call that waits for it, or the input leaves a call of the input or of the newest turn unanswered
 * (R7). Older halves are left out instead. A call that was cut short is never sent again (R3).
 */
export function pair({ history, newestTurn, input }: PairingInput): Paired {
  if (!history.some(isCallOrOutput) && !input.some(isCallOrOutput)) {
    return { items: [...history, ...input], leftOut: 0 };
  }
  const calls = new Map<Item, Call>();
  const byCallId = new Map<string, Call[]>();
  let leftOut = 0;

  const visit = (item: Item, mustBeAnswered: boolean, isInput: boolean): void => {
    if (item.type === 'function_call' && item.status !== 'incomplete') {
      const call: Call = { item, output: undefined, mustBeAnswered };
      calls.set(item, call);
      const same = byCallId.get(item.call_id);
      if (same === undefined) byCallId.set(item.call_id, [call]);
      else same.push(call);
    } else if (item.type === 'function_call_output') {
      const call = byCallId.get(item.call_id)?.findLast((each) => each.output === undefined);
      if (call !== undefined) {
        call.output = item;
      } else if (isInput) {
        throw invalidRequest(`No tool call found for function call output with call_id ${item.call_id}.`, 'input');
      } else {
        leftOut += 1;
      }
    } else if (item.type === 'function_call') {
      leftOut += 1;
    }
  };
  for (const [index, item] of history.entries()) {
    visit(item, index >= newestTurn.start && index < newestTurn.end, false);
  }
  for (const item of input) visit(item, true, true);

  for (const call of calls.values()) {
    if (call.output !== undefined) continue;
    if (call.mustBeAnswered) {
      throw invalidRequest(`No tool output found for function call ${call.item.call_id}.`, 'input');
    }
    leftOut += 1;
  }
  return { items: inOrder([...history, ...input], calls), leftOut };
}

/** Upstreams want the outputs right behind the message that holds their calls, so a run of calls is followed by its outputs. */
function inOrder(items: readonly Item[], calls: ReadonlyMap<Item, Call>): Item[] {
  const ordered: Item[] = [];
  let pending: FunctionCallOutputItem[] = [];
  for (const item of items) {
    if (item.type === 'function_call_output') continue;
    if (item.type === 'function_call') {
      const output = calls.get(item)?.output;
      if (output === undefined) continue;
      ordered.push(item);
      pending.push(output);
      continue;
    }
    ordered.push(...pending, item);
    pending = [];
  }
  ordered.push(...pending);
  return ordered;
}

function isCallOrOutput(item: Item): boolean {
  return item.type === 'function_call' || item.type === 'function_call_output';
}
