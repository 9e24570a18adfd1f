import { EventChecker } from './wire-events.ts';
import {
  type CheckedResponse,
  conform,
  conversationSchema,
  errorSchema,
  insist,
  itemListSchema,
  itemSchema,
  responseSchema,
} from './wire-shapes.ts';

function distinct(values: readonly string[]): boolean {
  return new Set(values).size === values.length;
}

/** A response as it may leave the server: every key, its nullability, and what the keys say about each other. */
export function checkResponse(json: unknown): CheckedResponse {
  const response = conform('response', responseSchema, json);
  const { status, output } = response;
  insist(`completed_at of a response that is ${status}`, (response.completed_at !== null) === (status === 'completed'));
  insist(
    'completed before it was created',
    response.completed_at === null || response.completed_at >= response.created_at,
  );
  insist(`error of a response that is ${status}`, (response.error !== null) === (status === 'failed'));
  insist(
    `incomplete_details of a response that is ${status}`,
    (response.incomplete_details !== null) === (status === 'incomplete'),
  );
  insist('previous_response_id and conversation', !(response.previous_response_id !== null && response.conversation));
  insist('two items of one id', distinct(output.map((item) => item.id)));
  insist(
    'two calls of one call_id',
    distinct(output.flatMap((item) => ('call_id' in item ? [`${kindOf(item)} ${item.call_id}`] : []))),
  );
  checkStatuses(response);
  return response;
}

/** An output of the upstream's own tools stands beside the call that it answers. */
function kindOf({ type }: { readonly type: string }): string {
  return type === 'function_call' || type === 'custom_tool_call' ? 'call' : type;
}

function checkStatuses({ status, output }: CheckedResponse): void {
  for (const [index, { status: own }] of output.entries()) {
    insist(`output[${index}] is in progress in a response that is ${status}`, own !== 'in_progress');
    insist(`output[${index}] is incomplete in a completed response`, status !== 'completed' || own !== 'incomplete');
  }
  insist('a response in progress shows output', status !== 'in_progress' || output.length === 0);
}

/** One item as a list or a conversation shows it. */
export function checkItem(json: unknown): void {
  conform('item', itemSchema, json);
}

/** A page of items (docs/wire.md §1). */
export function checkItemList(json: unknown): void {
  const list = conform('list', itemListSchema, json);
  insist('first_id', list.first_id === (list.data[0]?.id ?? null));
  insist('last_id', list.last_id === (list.data.at(-1)?.id ?? null));
  insist('an empty page with more behind it', list.data.length > 0 || !list.has_more);
  insist('two items of one id', distinct(list.data.map((item) => item.id)));
}

export function checkConversation(json: unknown): void {
  conform('conversation', conversationSchema, json);
}

const statuses = [400, 401, 403, 404, 405, 408, 413, 415, 429, 431, 500, 502, 503, 504, 508];

/** An error body (docs/wire.md §5) that belongs to its status and shows nothing of the inside. */
export function checkError(status: number, json: unknown): void {
  const { error } = conform('error', errorSchema, json);
  insist(`no error has status ${status}`, statuses.includes(status));
  const expected = status === 429 ? 'requests' : status >= 500 ? 'server_error' : 'invalid_request_error';
  insist(`type ${error.type} with status ${status}`, error.type === expected);
  insist(`message: ${error.message}`, !/\[object \w+\]|\n\s+at |node_modules|file:\/\//.test(error.message));
  // A parser quotes what it was given, whatever that was.
  insist(`message: ${error.message}`, error.code === 'invalid_json' || !/\b(?:undefined|NaN)\b/.test(error.message));
}

/** A whole stream: its events in order, their numbers, ids and texts, and the snapshots (docs/wire.md §4). */
export function checkEvents(events: readonly { readonly event: string; readonly data: object }[]): void {
  const checker = new EventChecker(checkResponse);
  for (const { event, data } of events) checker.take(event, data);
  checker.end();
}
