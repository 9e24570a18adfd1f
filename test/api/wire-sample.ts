import type { Json, WireEvent } from '../support/harness.ts';

const logprob = {
  token: 'Hi',
  logprob: -0.5,
  bytes: [72, 105],
  top_logprobs: [{ token: 'Hi', logprob: -0.5, bytes: [72, 105] }],
};
export const message = {
  id: 'msg_1',
  type: 'message',
  status: 'completed',
  role: 'assistant',
  content: [
    { type: 'output_text', text: 'Hi there', annotations: [], logprobs: [logprob] },
    { type: 'refusal', refusal: 'No.' },
  ],
};
export const reasoning = { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: 'Let me see' }] };
const call = (n: number, text: string) => ({
  id: `fc_${n}`,
  type: 'function_call',
  status: 'completed',
  call_id: `call_${n}`,
  name: `f${n}`,
  arguments: text,
});
export const calls = [call(1, '{"a":1}'), call(2, '{}')];

export const begun = {
  id: 'resp_1',
  object: 'response',
  created_at: 1_700_000_000,
  background: false,
  conversation: { id: 'conv_1' },
  instructions: null,
  max_output_tokens: null,
  max_tool_calls: null,
  metadata: { a: 'b' },
  parallel_tool_calls: true,
  presence_penalty: 0,
  frequency_penalty: 0,
  previous_response_id: null,
  prompt_cache_key: null,
  reasoning: { effort: null, summary: 'auto' },
  safety_identifier: null,
  service_tier: 'default',
  store: true,
  temperature: 1,
  text: { format: { type: 'text' }, verbosity: 'medium' },
  tool_choice: 'auto',
  tools: [{ type: 'function', name: 'f1', description: null, parameters: { type: 'object' }, strict: true }],
  top_logprobs: 0,
  top_p: 1,
  truncation: 'disabled',
  status: 'in_progress',
  completed_at: null,
  error: null,
  incomplete_details: null,
  model: 'm',
  usage: null,
  output: [],
};
export const done = {
  ...begun,
  status: 'completed',
  completed_at: 1_700_000_001,
  usage: {
    input_tokens: 3,
    input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
    output_tokens: 9,
    output_tokens_details: { reasoning_tokens: 2 },
    total_tokens: 12,
  },
  output: [reasoning, message, ...calls],
};

export function numbered(events: readonly Json[]): WireEvent[] {
  return events.map((data, at) => ({ event: data.type, data: { ...structuredClone(data), sequence_number: at } }));
}

const inReasoning = { item_id: 'rs_1', output_index: 0, summary_index: 0 };
const inText = { item_id: 'msg_1', output_index: 1, content_index: 0 };
const inRefusal = { ...inText, content_index: 1 };
const [inFirst, inSecond] = [
  { item_id: 'fc_1', output_index: 2 },
  { item_id: 'fc_2', output_index: 3 },
];

/** A stream with everything in it, written down by hand. */
export const beginning: readonly Json[] = [
  { type: 'response.created', response: begun },
  { type: 'response.in_progress', response: begun },
];
export const body: readonly Json[] = [
  { type: 'response.output_item.added', output_index: 0, item: { ...reasoning, summary: [] } },
  { type: 'response.reasoning_summary_part.added', ...inReasoning, part: { type: 'summary_text', text: '' } },
  { type: 'response.reasoning_summary_text.delta', ...inReasoning, delta: 'Let me' },
  { type: 'response.reasoning_summary_text.delta', ...inReasoning, delta: ' see', obfuscation: 'xyz' },
  { type: 'response.reasoning_summary_text.done', ...inReasoning, text: 'Let me see' },
  { type: 'response.reasoning_summary_part.done', ...inReasoning, part: reasoning.summary[0] },
  { type: 'response.output_item.done', output_index: 0, item: reasoning },
  { type: 'response.output_item.added', output_index: 1, item: { ...message, status: 'in_progress', content: [] } },
  {
    type: 'response.content_part.added',
    ...inText,
    part: { type: 'output_text', text: '', annotations: [], logprobs: [] },
  },
  { type: 'response.output_text.delta', ...inText, delta: 'Hi', logprobs: [logprob] },
  { type: 'response.output_text.delta', ...inText, delta: ' there', logprobs: [] },
  { type: 'response.output_text.done', ...inText, text: 'Hi there', logprobs: [logprob] },
  { type: 'response.content_part.done', ...inText, part: message.content[0] },
  { type: 'response.content_part.added', ...inRefusal, part: { type: 'refusal', refusal: '' } },
  { type: 'response.refusal.delta', ...inRefusal, delta: 'No.' },
  { type: 'response.refusal.done', ...inRefusal, refusal: 'No.' },
  { type: 'response.content_part.done', ...inRefusal, part: message.content[1] },
  { type: 'response.output_item.done', output_index: 1, item: message },
  { type: 'response.output_item.added', output_index: 2, item: { ...calls[0], status: 'in_progress', arguments: '' } },
  { type: 'response.function_call_arguments.delta', ...inFirst, delta: '{"a"' },
  { type: 'response.output_item.added', output_index: 3, item: { ...calls[1], status: 'in_progress', arguments: '' } },
  { type: 'response.function_call_arguments.delta', ...inSecond, delta: '{}' },
  { type: 'response.function_call_arguments.delta', ...inFirst, delta: ':1}' },
  { type: 'response.function_call_arguments.done', ...inFirst, arguments: '{"a":1}', name: 'f1' },
  { type: 'response.output_item.done', output_index: 2, item: calls[0] },
  { type: 'response.function_call_arguments.done', ...inSecond, arguments: '{}', name: 'f2' },
  { type: 'response.output_item.done', output_index: 3, item: calls[1] },
];
export const whole: readonly Json[] = [...beginning, ...body, { type: 'response.completed', response: done }];

export const failure = { message: 'It broke.', code: null, param: null };
export const failed: readonly Json[] = [
  ...beginning,
  ...body.slice(0, 10),
  { type: 'error', ...failure, error: { ...failure, type: 'server_error' } },
  {
    type: 'response.failed',
    response: {
      ...begun,
      status: 'failed',
      error: { code: 'server_error', message: 'It broke.' },
      output: [reasoning, { ...message, status: 'incomplete', content: [{ ...message.content[0], text: 'Hi' }] }],
    },
  },
];

/** Paths into a value, as `a.b.0`. */
export function set(target: Json, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  const owner = keys.reduce((at, key) => at[key], target);
  if (value === undefined) delete owner[last];
  else owner[last] = value;
}
