import type { Item } from '../../src/api/items.ts';
import type { ModelCall } from '../../src/model.ts';
import { modelCall, userSays } from '../contracts/model.ts';
import { fixtureCall } from './fixture-files.ts';

const says = (id: string, role: 'assistant' | 'developer' | 'system', text: string): Item => {
  const content =
    role === 'assistant'
      ? ([{ type: 'output_text', text, annotations: [], logprobs: [] }] as const)
      : ([{ type: 'input_text', text }] as const);
  return { id, type: 'message', status: 'completed', role, content };
};
const thought = (id: string, text: string): Item => {
  return { id, type: 'reasoning', summary: text === '' ? [] : [{ type: 'summary_text', text }] };
};
const called = (callId: string, name: string, args: string, namespace?: string): Item => {
  const more = namespace === undefined ? {} : { namespace };
  return {
    id: `fc_${callId}`,
    type: 'function_call',
    status: 'completed',
    call_id: callId,
    name,
    arguments: args,
    ...more,
  };
};
const answered = (callId: string, output: string): Item => {
  return { id: `fco_${callId}`, type: 'function_call_output', status: 'completed', call_id: callId, output };
};

/** An id that is too long for OpenAI, and not of Mistral's form. */
const longId = `call_${'x'.repeat(50)}`;

/** A tool loop behind an older turn: thoughts of this provider and of another, calls of every kind, a web search. */
const history: ModelCall = modelCall({
  ...fixtureCall,
  instructions: 'Be brief.',
  items: [
    userSays('Weather?'),
    thought('rs_old', 'An old thought.'),
    says('msg_2', 'assistant', 'Which city?'),
    says('msg_3', 'developer', 'Use metric units.'),
    userSays('Bern, and customer 7.'),
    { id: 'ws_1', type: 'web_search_call', status: 'completed' },
    thought('rs_foreign', "Somebody else's thought."),
    thought('rs_1', 'Ask for both.'),
    says('msg_5', 'assistant', 'One moment.'),
    thought('rs_2', ''),
    called(longId, 'get_weather', '{"city":"Bern"}'),
    called('call_2', 'lookup', '{"id":7}', 'crm'),
    answered(longId, 'Rain'),
    {
      id: 'fco_2',
      type: 'function_call_output',
      status: 'completed',
      call_id: 'call_2',
      output: [
        { type: 'input_text', text: 'Ada' },
        { type: 'input_image', image_url: 'data:image/png;base64,iVBO', detail: 'low' },
      ],
    },
    { id: 'ctc_1', type: 'custom_tool_call', status: 'completed', call_id: 'call_3', name: 'patch', input: 'a "b"\n' },
    { id: 'cto_1', type: 'custom_tool_call_output', status: 'completed', call_id: 'call_3', output: 'done' },
  ],
  providerData: new Map([
    ['rs_old', [{ reasoning_details: [{ type: 'reasoning.text', text: 'An old thought.', index: 0 }] }]],
    ['rs_1', [{ reasoning_details: [{ type: 'reasoning.text', text: 'Ask for both.', index: 0 }] }]],
    ['rs_2', [{ extra_content: { google: { thought_signature: 'c2ln' } } }]],
  ]),
  streamed: false,
});

const plain = modelCall({ items: [userSays('Hello')], streamed: false });

/** The same calls for every profile; what each becomes is in the fixtures (`requests.json`). */
export const requestCalls: Readonly<Record<string, ModelCall>> = {
  stream: modelCall({ instructions: 'Be brief.', items: [userSays('Hello')] }),
  everything: {
    ...plain,
    verbosity: 'low',
    maxOutputTokens: 2_000,
    temperature: 0.5,
    topP: 0.9,
    topLogprobs: 2,
    presencePenalty: 0.5,
    frequencyPenalty: 0.25,
    serviceTier: 'priority',
    promptCacheKey: 'thread-7',
    safetyIdentifier: 'user-7',
    reasoningEffort: 'high',
    include: ['reasoning.encrypted_content'],
  },
  history,
  forced: {
    ...plain,
    tools: fixtureCall.tools,
    toolChoice: { type: 'function', name: 'lookup', namespace: 'crm' },
    parallelToolCalls: false,
  },
  forcedCustom: { ...plain, tools: fixtureCall.tools, toolChoice: { type: 'custom', name: 'patch' } },
  schema: {
    ...plain,
    tools: [{ type: 'function', name: 'get_time', parameters: { type: 'object' }, strict: true }],
    toolChoice: 'required',
    format: { type: 'json_schema', name: 'answer', schema: { type: 'object' }, strict: true },
  },
  file: {
    ...plain,
    items: [
      {
        id: 'msg_1',
        type: 'message',
        status: 'completed',
        role: 'user',
        content: [
          { type: 'input_text', text: 'Read it.' },
          { type: 'input_file', file_data: 'SGVsbG8=', filename: 'notes.txt' },
        ],
      },
    ],
  },
};

/** What every effort becomes, and what is sent for a summary alone. */
export const effortCalls: Readonly<Record<string, ModelCall>> = Object.fromEntries(
  [undefined, 'none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'].flatMap((reasoningEffort) => {
    const name = reasoningEffort ?? 'unasked';
    return [
      [name, { ...plain, reasoningEffort }],
      [`${name}, summarized`, { ...plain, reasoningEffort, reasoningSummary: 'auto' }],
    ];
  }),
);
