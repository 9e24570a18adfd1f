import {
  answerItems,
  customCall,
  functionCall,
  hosted,
  message,
  reasoning,
  refusal,
  type Said,
} from './responses-upstream.ts';
import { type HostedEventType, hostedEventTypes, hostedItemTypes, subjectOf } from './wire-hosted.ts';

type Fields = Readonly<Record<string, unknown>>;

const citation = { type: 'url_citation', url: 'https://example.com/a', title: 'A', start_index: 0, end_index: 4 };
const printed = { stdout: 'a.txt', stderr: '', outcome: { type: 'exit', exit_code: 0 } };
const shellAction = { max_output_length: null, timeout_ms: null };

/** What items of each type say when they are done, and where it differs, when they are announced. */
const itemFields: Partial<Record<(typeof hostedItemTypes)[number], { done: Fields; announced?: Fields }>> = {
  apply_patch_call: { done: { call_id: 'call_p', operation: { type: 'delete_file', path: 'a.txt' } } },
  apply_patch_call_output: { done: { call_id: 'call_p', output: 'gone' } },
  code_interpreter_call: {
    done: { container_id: 'cntr_1', code: '1+1', outputs: [{ type: 'logs', logs: '2' }] },
    announced: { code: '', outputs: null },
  },
  compaction: { done: { encrypted_content: 'theirs-alone' } },
  computer_call: { done: { call_id: 'call_u', action: { type: 'wait' }, pending_safety_checks: [] } },
  file_search_call: { done: { queries: ['a'], results: null } },
  image_generation_call: { done: { result: 'QUE=' }, announced: { result: null } },
  local_shell_call: { done: { call_id: 'call_l', action: { type: 'exec', command: ['ls'], env: {} } } },
  mcp_approval_request: { done: { server_label: 'a', name: 'look', arguments: '{}' } },
  mcp_call: {
    done: { server_label: 'a', name: 'look', arguments: '{"a":1}', output: 'b' },
    announced: { arguments: '' },
  },
  mcp_list_tools: { done: { server_label: 'a', tools: [] } },
  shell_call: {
    done: { call_id: 'call_s', action: { ...shellAction, commands: ['ls'] } },
    announced: { action: { ...shellAction, commands: [] } },
  },
  shell_call_output: { done: { call_id: 'call_s', output: [printed] }, announced: { output: [] } },
  web_search_call: { done: { action: { type: 'search', query: 'a', sources: [] } } },
};

const eventFields: Partial<Record<HostedEventType, Fields>> = {
  'response.code_interpreter_call_code.delta': { delta: '1+1' },
  'response.code_interpreter_call_code.done': { code: '1+1' },
  'response.image_generation_call.partial_image': { partial_image_index: 0, partial_image_b64: 'QQ==' },
  'response.mcp_call_arguments.delta': { delta: '{"a":1}' },
  'response.mcp_call_arguments.done': { arguments: '{"a":1}' },
  'response.shell_call_command.added': { command_index: 0, command: '' },
  'response.shell_call_command.delta': { command_index: 0, delta: 'ls' },
  'response.shell_call_command.done': { command_index: 0, command: 'ls' },
  'response.shell_call_output_content.delta': { command_index: 0, delta: { stdout: 'a.txt' } },
  'response.shell_call_output_content.done': { command_index: 0, output: [printed] },
};

function hostedOf(type: (typeof hostedItemTypes)[number]): Said {
  const { done = {}, announced = {} } = itemFields[type] ?? {};
  const events = hostedEventTypes.filter((each) => subjectOf(each) === type);
  return hosted(
    { id: `up_${type}`, type, status: 'completed', ...done },
    announced,
    events.map((each) => ({ type: each, ...eventFields[each] })),
  );
}

/** One of each kind of item that an upstream may say, with all the events that each can have. */
export const everyItem: readonly Said[] = [
  reasoning({ summary: ['First this.', 'Then that.'], encrypted: 'sealed-upstream' }),
  reasoning({ id: 'rs_up_2', text: 'Let me think aloud.' }),
  message('See A.', { annotations: [citation], phase: 'commentary' }),
  refusal('But not B.'),
  functionCall({ id: 'call_f', name: 'look', arguments: '{"a":1}', namespace: 'crm' }),
  customCall({ id: 'call_c', name: 'c', input: 'any text', namespace: 'crm' }),
  ...hostedItemTypes.map(hostedOf),
];

/** Answers with all of them. */
export const everyEvent = answerItems(everyItem);
