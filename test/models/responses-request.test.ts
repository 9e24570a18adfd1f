import { describe, expect, test } from 'vitest';
import type { Item } from '../../src/api/items.ts';
import type { ModelCall } from '../../src/model.ts';
import { dialectOf } from '../../src/models/responses/dialects.ts';
import { toCountRequest, toResponsesRequest } from '../../src/models/responses/request.ts';
import { modelCall, userSays } from '../contracts/model.ts';

function request(call: Partial<ModelCall>, profile = 'openai') {
  const settings = { dialect: dialectOf(profile), store: false, plainModels: new Set<string>() };
  // As it goes over the wire.
  return JSON.parse(JSON.stringify(toResponsesRequest(modelCall(call), settings)));
}

const input = (items: readonly Item[], profile?: string, more: Partial<ModelCall> = {}) =>
  request({ items, ...more }, profile).input;

const done = { status: 'completed' } as const;
const says = (role: 'assistant' | 'system' | 'developer', text: string, more: object = {}): Item => {
  const part =
    role === 'assistant'
      ? { type: 'output_text', text, annotations: [{ type: 'x' }], logprobs: [{}] }
      : { type: 'input_text', text };
  return { id: 'msg_9', type: 'message', ...done, role, content: [part], ...more } as Item;
};
const image = { type: 'input_image', image_url: 'data:image/png;base64,AA==', detail: 'auto' } as const;
const crm = { name: 'crm', description: 'Customers.' };

describe('a request to OpenAI', () => {
  test('of a plain call holds what was given, and nothing else', () => {
    expect(request({ items: [userSays('Hello')] })).toEqual({
      model: 'test-model',
      input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello' }] }],
      store: false,
      include: ['reasoning.encrypted_content'],
      stream: true,
      stream_options: { include_obfuscation: false },
    });
  });

  test('of a call with everything', () => {
    const call: Partial<ModelCall> = {
      items: [userSays('Hello')],
      instructions: 'Be brief.',
      tools: [{ type: 'function', name: 'f', parameters: null, strict: null }],
      toolChoice: 'required',
      parallelToolCalls: false,
      format: { type: 'json_schema', name: 'n', schema: { type: 'object' }, strict: true, description: null },
      verbosity: 'low',
      reasoningEffort: 'xhigh',
      reasoningSummary: 'auto',
      maxOutputTokens: 100,
      temperature: 0.5,
      topP: 0.9,
      topLogprobs: 3,
      presencePenalty: 0,
      frequencyPenalty: 0,
      serviceTier: 'flex',
      promptCacheKey: 'key',
      safetyIdentifier: 'user-1',
      include: ['web_search_call.results', 'made.up'],
      streamed: false,
    };
    expect(request(call)).toEqual({
      model: 'test-model',
      input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello' }] }],
      instructions: 'Be brief.',
      tools: [{ type: 'function', name: 'f' }],
      tool_choice: 'required',
      parallel_tool_calls: false,
      text: { format: { type: 'json_schema', name: 'n', schema: { type: 'object' }, strict: true }, verbosity: 'low' },
      reasoning: { effort: 'xhigh', summary: 'auto' },
      max_output_tokens: 100,
      temperature: 0.5,
      top_p: 0.9,
      top_logprobs: 3,
      service_tier: 'flex',
      prompt_cache_key: 'key',
      safety_identifier: 'user-1',
      include: ['web_search_call.results', 'reasoning.encrypted_content', 'message.output_text.logprobs'],
      store: false,
    });
    expect(Object.keys(toCountRequest(modelCall(call), dialectOf('openai'))).sort()).toEqual([
      'input',
      'instructions',
      'model',
      'parallel_tool_calls',
      'reasoning',
      'text',
      'tool_choice',
      'tools',
    ]);
  });

  test('brings history without ids and statuses', () => {
    const items: Item[] = [
      says('system', 'Rules.'),
      says('developer', 'More rules.'),
      { ...userSays('Look'), content: [{ type: 'input_text', text: 'Look' }, image] } as Item,
      {
        id: 'rs_ours',
        type: 'reasoning',
        summary: [{ type: 'summary_text', text: 'Hm.' }],
        encrypted_content: 'gAAA',
        ...done,
      },
      says('assistant', 'I look.', { phase: 'commentary' }),
      {
        id: 'fc_1',
        type: 'function_call',
        ...done,
        call_id: 'call_1',
        name: 'lookup',
        arguments: '{}',
        namespace: 'crm',
      },
      {
        id: 'fco_1',
        type: 'function_call_output',
        ...done,
        call_id: 'call_1',
        output: [{ type: 'input_text', text: 'Ann' }, image],
      },
      { id: 'ctc_1', type: 'custom_tool_call', ...done, call_id: 'call_2', name: 'sql', input: 'select 1' },
      { id: 'cto_1', type: 'custom_tool_call_output', ...done, call_id: 'call_2', output: '1' },
      { ...says('assistant', ''), content: [{ type: 'refusal', refusal: 'No.' }] } as Item,
    ];
    expect(input(items)).toEqual([
      { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'Rules.' }] },
      { type: 'message', role: 'developer', content: [{ type: 'input_text', text: 'More rules.' }] },
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Look' }, image] },
      { type: 'reasoning', summary: [{ type: 'summary_text', text: 'Hm.' }], encrypted_content: 'gAAA' },
      {
        type: 'message',
        role: 'assistant',
        content: [{ type: 'output_text', text: 'I look.', annotations: [] }],
        phase: 'commentary',
      },
      { type: 'function_call', call_id: 'call_1', name: 'lookup', namespace: 'crm', arguments: '{}' },
      { type: 'function_call_output', call_id: 'call_1', output: [{ type: 'input_text', text: 'Ann' }, image] },
      { type: 'custom_tool_call', call_id: 'call_2', name: 'sql', input: 'select 1' },
      { type: 'custom_tool_call_output', call_id: 'call_2', output: '1' },
      { type: 'message', role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] },
    ]);
  });

  test('leaves out reasoning that it did not encrypt', () => {
    const plain: Item = { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: 'Hm.' }], ...done };
    expect(input([userSays('Hello'), plain], 'openai', { providerData: new Map([['rs_1', [{}]]]) })).toHaveLength(1);
  });

  test('brings the items of its own tools as they came', () => {
    const search: Item = {
      id: 'ws_1',
      type: 'web_search_call',
      status: 'completed',
      action: { type: 'search', query: null },
    };
    const compaction: Item = { id: 'cmp_1', type: 'compaction', encrypted_content: 'gAAA' };
    expect(input([compaction, search, userSays('Hello')]).slice(0, 2)).toEqual([
      { type: 'compaction', encrypted_content: 'gAAA' },
      search,
    ]);
  });

  test('offers each kind of tool, those of a namespace together', () => {
    const body = request({
      items: [userSays('Hello')],
      tools: [
        { type: 'function', name: 'lookup', strict: true, output_schema: { type: 'string' }, namespace: crm },
        { type: 'web_search', search_context_size: 'low', user_location: null },
        { type: 'custom', name: 'sql', format: { type: 'grammar', syntax: 'lark', definition: 'start: "a"' } },
        { type: 'custom', name: 'note', defer_loading: true, namespace: crm },
      ],
      toolChoice: { type: 'custom', name: 'sql' },
    });
    expect(body.tools).toEqual([
      {
        type: 'namespace',
        name: 'crm',
        description: 'Customers.',
        tools: [
          { type: 'function', name: 'lookup', strict: true, output_schema: { type: 'string' } },
          { type: 'custom', name: 'note', defer_loading: true },
        ],
      },
      { type: 'web_search', search_context_size: 'low' },
      { type: 'custom', name: 'sql', format: { type: 'grammar', syntax: 'lark', definition: 'start: "a"' } },
    ]);
    expect(body.tool_choice).toEqual({ type: 'custom', name: 'sql' });
  });

  test('hands a choice of its own tools on', () => {
    const tools = [{ type: 'mcp', server_label: 'deep', server_url: 'https://mcp.example' }] as const;
    const choice = { type: 'mcp', server_label: 'deep', name: null };
    expect(request({ tools, toolChoice: { type: 'hosted', choice } }).tool_choice).toEqual({
      type: 'mcp',
      server_label: 'deep',
    });
  });

  test('never tells what is ours alone', () => {
    const text = JSON.stringify(request({ items: [userSays('Hello')], credential: 'sk-secret', via: ['server-1'] }));
    expect(text).not.toMatch(/sk-secret|server-1|msg_1|metadata|"user"\s*:|previous_response_id|conversation/);
  });
});

describe('a request to other servers', () => {
  const custom: ModelCall['tools'] = [
    { type: 'custom', name: 'sql', description: 'Asks the database.', namespace: { name: 'db', description: 'Data.' } },
    { type: 'function', name: 'f', output_schema: {}, defer_loading: true },
  ];

  test('offers custom tools as functions, under one name', () => {
    const items: Item[] = [
      {
        id: 'ctc_1',
        type: 'custom_tool_call',
        ...done,
        call_id: 'call_2',
        name: 'sql',
        input: 'select 1',
        namespace: 'db',
      },
      { id: 'cto_1', type: 'custom_tool_call_output', ...done, call_id: 'call_2', output: '1' },
    ];
    const body = request(
      { items, tools: custom, toolChoice: { type: 'custom', name: 'sql', namespace: 'db' } },
      'generic',
    );
    expect(body.tools).toEqual([
      {
        type: 'function',
        name: 'db__sql',
        description: 'Asks the database.',
        parameters: expect.objectContaining({ type: 'object', required: ['input'] }),
      },
      { type: 'function', name: 'f' },
    ]);
    expect(body.tool_choice).toEqual({ type: 'function', name: 'db__sql' });
    expect(body.input).toEqual([
      { type: 'function_call', call_id: 'call_2', name: 'db__sql', arguments: '{"input":"select 1"}' },
      { type: 'function_call_output', call_id: 'call_2', output: '1' },
    ]);
  });

  test('sends only what each of them takes', () => {
    const call: Partial<ModelCall> = {
      items: [says('developer', 'Rules.'), says('assistant', 'Hello')],
      verbosity: 'low',
      reasoningEffort: 'xhigh',
      reasoningSummary: 'auto',
      serviceTier: 'flex',
      promptCacheKey: 'key',
      safetyIdentifier: 'user-1',
      topLogprobs: 0,
      presencePenalty: 1,
      include: ['web_search_call.results'],
      tools: custom,
      toolChoice: 'none',
    };
    expect(request(call, 'ollama')).toEqual({
      model: 'test-model',
      input: [
        { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'Rules.' }] },
        { type: 'message', role: 'assistant', content: 'Hello' },
      ],
      reasoning: { effort: 'max', summary: 'auto' },
      store: false,
      stream: true,
    });
    expect(request(call, 'groq')).toMatchObject({
      service_tier: 'flex',
      reasoning: { effort: 'xhigh' },
      tool_choice: 'none',
    });
    expect(Object.keys(request(call, 'groq'))).not.toContain('include');
    expect(request(call, 'generic')).toMatchObject({
      include: ['reasoning.encrypted_content', 'message.output_text.logprobs'],
      presence_penalty: 1,
      prompt_cache_key: 'key',
      safety_identifier: 'user-1',
    });
    expect(JSON.stringify(request(call, 'generic'))).not.toMatch(/verbosity|flex|stream_options|output_schema|defer/);
  });

  test('brings plain reasoning to who said it and reads it', () => {
    const own: Item = { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: 'Hm.' }], ...done };
    const raw: Item = { ...own, id: 'rs_2', content: [{ type: 'reasoning_text', text: 'So.' }] };
    const foreign: Item = { ...own, id: 'rs_3', encrypted_content: 'gAAA' };
    const providerData = new Map([
      ['rs_1', [{}]],
      ['rs_2', [{}]],
    ]);
    const items = [own, raw, foreign, userSays('Hello')];
    expect(input(items, 'vllm', { providerData }).slice(0, -1)).toEqual([
      { type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text: 'Hm.' }] },
      { type: 'reasoning', id: 'rs_2', summary: [], content: [{ type: 'reasoning_text', text: 'So.' }] },
    ]);
    // What is encrypted goes to whoever may know it, and not to vLLM, which refuses it.
    expect(input(items, 'generic', { providerData }).slice(0, -1)).toEqual([
      { type: 'reasoning', id: 'rs_3', summary: own.summary, encrypted_content: 'gAAA' },
    ]);
  });

  test('turns outputs into text where they must be, and shows their images behind them', () => {
    const call = (id: string): Item => {
      return { id: `fc_${id}`, type: 'function_call', ...done, call_id: id, name: 'f', arguments: '{}' };
    };
    const output = (id: string): Item => {
      return {
        id: `o_${id}`,
        type: 'function_call_output',
        ...done,
        call_id: id,
        output: [{ type: 'input_text', text: 'See' }, image],
      };
    };
    const sent = input([call('a'), call('b'), output('a'), output('b'), userSays('Well?')], 'vllm');
    expect(sent.map(({ type, role }: { type: string; role?: string }) => role ?? type)).toEqual([
      'function_call',
      'function_call',
      'function_call_output',
      'function_call_output',
      'user',
      'user',
      'user',
    ]);
    expect(sent[2].output).toBe('See');
    expect(sent[4].content).toEqual([
      { type: 'input_text', text: 'Images from the output of the function call a:' },
      image,
    ]);
  });
});
