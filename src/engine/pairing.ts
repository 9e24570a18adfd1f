import { type CallItem, type CallOutputItem, type Item, isCall, isCallOutput } from '../api/items.ts';
import { invalidRequest } from '../errors.ts';

/** What a model is given: the sources in order, and where among the history the newest turn stands. */
export type PairingInput = {
  readonly history: readonly Item[];
  /** Index in `history` where the newest turn begins, and where what it added ends. Equal where there is none. */
  readonly newestTurn: { readonly start: number; readonly end: number };
  readonly input: readonly Item[];
};

export type Paired = {
  /** For the model: the calls of a turn together, directly followed by their outputs. */
  readonly items: readonly Item[];
  /** Halves left out because the other half is gone (R7). */
  readonly leftOut: number;
};

type Call = {
  readonly item: CallItem;
  output: CallOutputItem | undefined;
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
  if (!history.some(isHalf) && !input.some(isHalf)) {
    return { items: [...history, ...input], leftOut: 0 };
  }
  const calls = new Map<Item, Call>();
  const byCallId = new Map<string, Call[]>();
  let leftOut = 0;

  const visit = (item: Item, mustBeAnswered: boolean, isInput: boolean): void => {
    if (isCall(item)) {
      if (item.status === 'incomplete') {
        leftOut += 1;
        return;
      }
      const call: Call = { item, output: undefined, mustBeAnswered };
      calls.set(item, call);
      const same = byCallId.get(item.call_id);
      if (same === undefined) byCallId.set(item.call_id, [call]);
      else same.push(call);
    } else if (isCallOutput(item)) {
      const call = byCallId.get(item.call_id)?.findLast((each) => each.output === undefined && fits(each.item, item));
      if (call !== undefined) {
        call.output = item;
      } else if (isInput) {
        throw invalidRequest(`No tool call found for ${nameOf(item)} with call_id ${item.call_id}.`, 'input');
      } else {
        leftOut += 1;
      }
    }
  };
  for (const [index, item] of history.entries()) {
    visit(item, index >= newestTurn.start && index < newestTurn.end, false);
  }
  for (const item of input) visit(item, true, true);

  for (const call of calls.values()) {
    if (call.output !== undefined) continue;
    if (call.mustBeAnswered) {
      const what = call.item.type === 'function_call' ? 'function call' : 'custom tool call';
      throw invalidRequest(`No tool output found for ${what} ${call.item.call_id}.`, 'input');
    }
    leftOut += 1;
  }
  return { items: inOrder([...history, ...input], calls), leftOut };
}

/**
 * Upstreams want the outputs right behind the message that holds their calls, so a run of calls is followed by its
 * outputs. Reasoning between the calls of one turn does not end a run: it belongs to the call that follows.
 */
function inOrder(items: readonly Item[], calls: ReadonlyMap<Item, Call>): Item[] {
  const ordered: Item[] = [];
  let pending: CallOutputItem[] = [];
  const flush = () => {
    ordered.push(...pending);
    pending = [];
  };
  for (const item of items) {
    if (isCall(item)) {
      const output = calls.get(item)?.output;
      if (output === undefined) continue;
      ordered.push(item);
      pending.push(output);
    } else if (isCallOutput(item)) {
      flush();
    } else {
      if (item.type !== 'reasoning') flush();
      ordered.push(item);
    }
  }
  flush();
  return ordered;
}

function isHalf(item: Item): boolean {
  return isCall(item) || isCallOutput(item);
}

function fits(call: CallItem, output: CallOutputItem): boolean {
  return (call.type === 'function_call') === (output.type === 'function_call_output');
}

function nameOf(output: CallOutputItem): string {
  return output.type === 'function_call_output' ? 'function call output' : 'custom tool call output';
}
