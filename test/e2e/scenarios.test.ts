import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DemoUpstream, startDemoUpstream } from '../support/demo-upstream.ts';
import { type Json, start, TestServer, textOf } from '../support/harness.ts';

/** One way to ask: a transport and a road to the demo model. */
type Api = {
  readonly server: TestServer;
  readonly model: string;
  readonly respond: (body: object) => Promise<Json>;
};

type Scenario = { readonly name: string; readonly play: (api: Api) => Promise<void> };

const weather = {
  type: 'function',
  name: 'get_weather',
  description: 'Tells the weather of a city',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
};
const calendar = {
  type: 'function',
  name: 'list_events',
  description: 'Lists calendar events',
  parameters: { type: 'object' },
};

const runCode = { type: 'custom', name: 'run_code', description: 'Runs a program' };
const crm = {
  type: 'namespace',
  name: 'crm',
  description: 'Customers and their orders',
  tools: [
    { type: 'function', name: 'find_customer', description: 'Looks up a customer', parameters: { type: 'object' } },
    { type: 'custom', name: 'query_orders', description: 'Queries orders in SQL' },
  ],
};

const pixel =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const scenarios: readonly Scenario[] = [
  {
    name: 'a string as input',
    play: async ({ respond }) => {
      const response = await respond({ input: 'Say exactly: Grüße, 世界 👋' });
      expect(textOf(response)).toBe('Grüße, 世界 👋');
      expect(response).toMatchObject({
        object: 'response',
        status: 'completed',
        error: null,
        incomplete_details: null,
      });
      expect(response.usage.total_tokens).toBe(response.usage.input_tokens + response.usage.output_tokens);
    },
  },
  {
    name: 'easy messages, parts and instructions',
    play: async ({ respond }) => {
      const input = [
        { role: 'developer', content: 'You are terse.' },
        {
          role: 'user',
          content: [
            { type: 'input_text', text: 'Say exactly: ' },
            { type: 'input_text', text: 'hello' },
          ],
        },
      ];
      const response = await respond({ input, instructions: 'Always be kind.' });
      expect(textOf(response)).toContain('hello');
      expect(response.instructions).toBe('Always be kind.');
    },
  },
  {
    name: 'what was said in earlier turns, by previous_response_id',
    play: async ({ respond }) => {
      const first = await respond({ input: 'My name is Ada.', store: true });
      const second = await respond({ input: 'Hello again.', previous_response_id: first.id, store: true });
      const third = await respond({ input: 'What is my name?', previous_response_id: second.id });
      expect(textOf(third)).toContain('Ada');
      expect(third.previous_response_id).toBe(second.id);
      const stranger = await respond({ input: 'What is my name?' });
      expect(textOf(stranger)).not.toContain('Ada');
    },
  },
  {
    name: 'instructions are not inherited',
    play: async ({ respond }) => {
      const first = await respond({ input: 'Hi', instructions: 'The code word is zebra.', store: true });
      const second = await respond({ input: 'What are your instructions?', previous_response_id: first.id });
      expect(textOf(second)).not.toContain('zebra');
      expect(second.instructions).toBeNull();
    },
  },
  {
    name: 'a conversation of two turns',
    play: async ({ server, respond }) => {
      const { body: conversation } = await server.post('/v1/conversations', { metadata: { topic: 'x' } });
      await respond({ input: 'My favourite colour is green.', conversation: conversation.id });
      const second = await respond({ input: 'What is my favourite colour?', conversation: { id: conversation.id } });
      expect(textOf(second)).toContain('green');
      const { body } = await server.get(`/v1/conversations/${conversation.id}/items?order=asc`);
      expect(body.data.map((item: Json) => item.role)).toEqual(['user', 'assistant', 'user', 'assistant']);
      expect(body.data.at(-1)).toEqual(second.output[0]);
    },
  },
  {
    name: 'a function call, then its output',
    play: async ({ respond }) => {
      const ask = { input: 'What is the weather in Paris?', tools: [weather, calendar] };
      const first = await respond({ ...ask, store: true });
      expect(first.output).toMatchObject([{ type: 'function_call', name: 'get_weather', status: 'completed' }]);
      expect(JSON.parse(first.output[0].arguments)).toEqual({ city: 'Paris' });
      const input = [{ type: 'function_call_output', call_id: first.output[0].call_id, output: 'sunny, 21 degrees' }];
      const second = await respond({ tools: [weather, calendar], input, previous_response_id: first.id, store: true });
      expect(textOf(second)).toContain('sunny, 21 degrees');
    },
  },
  {
    name: 'a whole turn without state: call and output in one input, output as parts',
    play: async ({ respond }) => {
      const input = [
        { role: 'user', content: 'What is the weather in Rome?' },
        { type: 'function_call', call_id: 'call_x', name: 'get_weather', arguments: '{"city":"Rome"}' },
        { type: 'function_call_output', call_id: 'call_x', output: [{ type: 'input_text', text: 'rainy' }] },
      ];
      expect(textOf(await respond({ input, tools: [weather] }))).toContain('rainy');
    },
  },
  {
    name: 'parallel calls, and none in parallel',
    play: async ({ respond }) => {
      const ask = { input: 'What is the weather in Paris and in Rome?', tools: [weather] };
      const both = await respond(ask);
      expect(both.output.map((item: Json) => JSON.parse(item.arguments).city).sort()).toEqual(['Paris', 'Rome']);
      expect(new Set(both.output.map((item: Json) => item.call_id)).size).toBe(2);
      const one = await respond({ ...ask, parallel_tool_calls: false });
      expect(one.output).toHaveLength(1);
      expect(one.parallel_tool_calls).toBe(false);
    },
  },
  {
    name: 'every form of tool_choice',
    play: async ({ server, model, respond }) => {
      const ask = { input: 'What is the weather in Paris?', tools: [weather, calendar] };
      const called = async (choice: unknown) =>
        (await respond({ ...ask, tool_choice: choice })).output
          .filter((item: Json) => item.type === 'function_call')
          .map((item: Json) => item.name);
      expect(await called('none')).toEqual([]);
      expect(await called('auto')).toEqual(['get_weather']);
      expect(await called('required')).toEqual(['get_weather']);
      expect(await called({ type: 'function', name: 'list_events' })).toEqual(['list_events']);
      const allow = (mode: string) => ({
        type: 'allowed_tools',
        mode,
        tools: [{ type: 'function', name: 'list_events' }],
      });
      expect(await called(allow('auto'))).toEqual([]);
      expect(await called(allow('required'))).toEqual(['list_events']);
      const wrong = [
        { type: 'function', name: 'nope' },
        { type: 'custom', name: 'get_weather' },
        { type: 'mcp', server_label: 'x' },
        { type: 'web_search' },
        { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'nope' }] },
      ];
      for (const choice of wrong) {
        const answer = await server.post('/v1/responses', { model, ...ask, tool_choice: choice });
        expect(answer.status).toBe(400);
        expect(answer.body.error.param).toBe('tool_choice');
      }
      expect((await server.post('/v1/responses', { model, input: 'x', tool_choice: 'required' })).status).toBe(400);
    },
  },
  {
    name: 'a custom tool, then its output, with state and without',
    play: async ({ respond }) => {
      const ask = { input: 'Run the code print(1)', tools: [weather, runCode] };
      const first = await respond({ ...ask, store: true });
      const [call] = first.output;
      expect(first.output).toMatchObject([{ type: 'custom_tool_call', name: 'run_code', status: 'completed' }]);
      expect(call.input).toContain('print(1)');
      expect(call).not.toHaveProperty('namespace');
      expect(first.tools[1]).toEqual(runCode);
      const output = { type: 'custom_tool_call_output', call_id: call.call_id, output: 'it printed one' };
      const second = await respond({ tools: [runCode], input: [output], previous_response_id: first.id });
      expect(textOf(second)).toContain('it printed one');
      const whole = [
        { role: 'user', content: ask.input },
        call,
        { ...output, output: [{ type: 'input_text', text: 'ok' }] },
      ];
      expect(textOf(await respond({ tools: [runCode], input: whole }))).toContain('ok');
    },
  },
  {
    name: 'a call without its output, or an output of another kind, is refused',
    play: async ({ server, model, respond }) => {
      const first = await respond({ input: 'Run the code print(1)', tools: [runCode], store: true });
      const { call_id } = first.output[0];
      for (const [input, message] of [
        ['Go on', `No tool output found for custom tool call ${call_id}.`],
        [
          [{ type: 'function_call_output', call_id, output: 'x' }],
          `No tool call found for function call output with call_id ${call_id}.`,
        ],
        [
          [{ type: 'custom_tool_call_output', call_id: 'call_other', output: 'x' }],
          'No tool call found for custom tool call output with call_id call_other.',
        ],
      ]) {
        const answer = await server.post('/v1/responses', { model, input, previous_response_id: first.id });
        expect([answer.status, answer.body.error.param]).toEqual([400, 'input']);
        expect(answer.body.error.message).toBe(message);
      }
    },
  },
  {
    name: 'the tools of a namespace, called by their own names',
    play: async ({ respond }) => {
      const asked = await respond({ input: 'Find the customer Ada', tools: [weather, crm], store: true });
      const [call] = asked.output;
      expect(call).toMatchObject({ type: 'function_call', name: 'find_customer', namespace: 'crm' });
      expect(asked.tools[1]).toMatchObject({ type: 'namespace', name: 'crm', tools: [{ strict: true }, {}] });
      const input = [{ type: 'function_call_output', call_id: call.call_id, output: 'a good customer' }];
      const second = await respond({ input, tools: [weather, crm], previous_response_id: asked.id });
      expect(textOf(second)).toContain('a good customer');
      const other = await respond({ input: 'Query the orders', tools: [crm] });
      expect(other.output).toMatchObject([{ type: 'custom_tool_call', name: 'query_orders', namespace: 'crm' }]);
    },
  },
  {
    name: 'custom tools and namespaces among the allowed tools, and forced',
    play: async ({ server, model, respond }) => {
      const tools = [weather, runCode, crm];
      const ask = { input: 'What is the weather in Paris?', tools };
      const called = async (tool_choice: unknown) =>
        (await respond({ ...ask, tool_choice })).output
          .filter((item: Json) => item.type !== 'message')
          .map((item: Json) => [item.type, item.name, item.namespace]);
      const allow = (mode: string, ...allowed: object[]) => ({ type: 'allowed_tools', mode, tools: allowed });
      const code = { type: 'custom', name: 'run_code' };
      expect(await called(code)).toEqual([['custom_tool_call', 'run_code', undefined]]);
      expect(await called(allow('auto', code))).toEqual([]);
      expect(await called(allow('required', code))).toEqual([['custom_tool_call', 'run_code', undefined]]);
      const group = { type: 'namespace', name: 'crm' };
      expect(await called(allow('auto', group))).toEqual([]);
      const find = { type: 'function', name: 'find_customer' };
      expect(await called(allow('required', find))).toEqual([['function_call', 'find_customer', 'crm']]);
      for (const wrong of [
        allow('auto', { type: 'namespace', name: 'weather' }),
        { type: 'function', name: 'run_code' },
      ]) {
        const answer = await server.post('/v1/responses', { model, ...ask, tool_choice: wrong });
        expect([answer.status, answer.body.error.param]).toEqual([400, 'tool_choice']);
      }
    },
  },
  {
    name: 'structured output',
    play: async ({ respond }) => {
      const schema = {
        type: 'object',
        properties: {
          city: { type: 'string' },
          degrees: { type: 'integer', minimum: -50, maximum: 60 },
          sky: { enum: ['clear', 'cloudy'] },
        },
        required: ['city', 'degrees', 'sky'],
        additionalProperties: false,
      };
      const format = { type: 'json_schema', name: 'weather', schema, strict: true };
      const response = await respond({ input: 'The weather in Paris, please', text: { format } });
      const value = JSON.parse(textOf(response));
      expect(Object.keys(value).sort()).toEqual(['city', 'degrees', 'sky']);
      expect(Number.isInteger(value.degrees)).toBe(true);
      expect(['clear', 'cloudy']).toContain(value.sky);
      expect(response.text.format).toEqual(format);
      const object = await respond({ input: 'Some JSON, please', text: { format: { type: 'json_object' } } });
      expect(typeof JSON.parse(textOf(object))).toBe('object');
    },
  },
  {
    name: 'images by URL and as data',
    play: async ({ respond }) => {
      const image = (url: string) => ({ type: 'input_image', image_url: url, detail: 'low' });
      const content = [
        { type: 'input_text', text: 'What do you see?' },
        image('https://example.com/cat.png'),
        image(pixel),
      ];
      const text = textOf(await respond({ input: [{ role: 'user', content }] }));
      expect(text).toContain('https://example.com/cat.png');
      expect(text).toContain('image/png');
    },
  },
  {
    name: 'a refusal that goes back with the next turn',
    play: async ({ respond }) => {
      const refused = await respond({ input: 'demo: refuse', store: true });
      const next = await respond({ input: 'Say exactly: ok', previous_response_id: refused.id });
      expect(textOf(next)).toBe('ok');
      const again = [{ role: 'user', content: 'x' }, refused.output[0], { role: 'user', content: 'Say exactly: fine' }];
      expect(textOf(await respond({ input: again }))).toBe('fine');
    },
  },
  {
    name: 'reasoning that goes back with the next turn, as it came',
    play: async ({ respond }) => {
      const thought = await respond({ input: 'demo: think hard' });
      const input = [{ role: 'user', content: 'x' }, ...thought.output, { role: 'user', content: 'Say exactly: ok' }];
      expect(textOf(await respond({ input }))).toBe('ok');
    },
  },
  {
    name: 'max_output_tokens',
    play: async ({ respond }) => {
      const response = await respond({ input: 'Count to 100', max_output_tokens: 16 });
      expect(response).toMatchObject({
        status: 'incomplete',
        incomplete_details: { reason: 'max_output_tokens' },
        max_output_tokens: 16,
        completed_at: null,
      });
      expect(response.output.at(-1)).toMatchObject({ type: 'message', status: 'incomplete' });
      expect(textOf(response)).not.toContain('100');
    },
  },
  {
    name: 'an incomplete response can be continued',
    play: async ({ respond }) => {
      const cut = await respond({ input: 'Count to 100', max_output_tokens: 16, store: true });
      const next = await respond({ input: 'What did I say first?', previous_response_id: cut.id });
      expect(textOf(next)).toContain('Count to 100');
    },
  },
  {
    name: 'a refusal, a content filter, reasoning, and nothing at all',
    play: async ({ respond }) => {
      const refused = await respond({ input: 'demo: refuse' });
      expect(refused.output[0].content[0]).toMatchObject({ type: 'refusal' });
      const filtered = await respond({ input: 'demo: filter' });
      expect(filtered).toMatchObject({ status: 'incomplete', incomplete_details: { reason: 'content_filter' } });
      const thought = await respond({ input: 'demo: think' });
      expect(thought.output.map((item: Json) => item.type)).toEqual(['reasoning', 'message']);
      expect(thought.output[0].summary[0].text).not.toBe('');
      expect(thought.output[0]).not.toHaveProperty('content');
      const empty = await respond({ input: 'demo: empty' });
      expect(empty).toMatchObject({ status: 'completed', output: [{ type: 'message', content: [{ text: '' }] }] });
    },
  },
  {
    name: 'what a request sends comes back in the snapshot',
    play: async ({ respond }) => {
      const sent = {
        metadata: { a: 'b' },
        user: 'u',
        safety_identifier: 's',
        prompt_cache_key: 'k',
        prompt_cache_retention: '24h',
        temperature: 0.5,
        top_p: 0.5,
        max_tool_calls: 3,
        presence_penalty: 0.5,
        frequency_penalty: -0.5,
        service_tier: 'default',
        store: false,
      };
      const response = await respond({ input: 'x', ...sent, tools: [weather], reasoning: { effort: 'low' }, text: {} });
      expect(response).toMatchObject(sent);
      expect(response.tools).toEqual([{ ...weather, strict: true }]);
      expect(response.reasoning).toEqual({ effort: 'low', summary: null });
      expect(response.text).toEqual({ format: { type: 'text' }, verbosity: 'medium' });
    },
  },
  {
    name: 'nulls mean absent',
    play: async ({ respond }) => {
      const message = {
        type: 'message',
        id: null,
        role: 'user',
        content: 'Say exactly: ok',
        status: null,
        phase: null,
      };
      const nulls = {
        instructions: null,
        tools: null,
        temperature: null,
        metadata: null,
        text: null,
        unknown_field: null,
      };
      expect(
        textOf(await respond({ input: [message], ...nulls, previous_response_id: null, conversation: null })),
      ).toBe('ok');
    },
  },
  {
    name: 'what clients really send: empty lists, null text, ids of their own',
    play: async ({ respond }) => {
      const input = [
        { type: 'message', id: 'codex-1.a', role: 'user', content: [{ type: 'input_text', text: 'Say exactly: ok' }] },
      ];
      const sent = {
        tools: [],
        include: ['reasoning.encrypted_content'],
        text: {},
        tool_choice: 'auto',
        client_metadata: { x: '{}' },
      };
      for (let turn = 0; turn < 2; turn++) expect(textOf(await respond({ input, ...sent, store: true }))).toBe('ok');
    },
  },
];

describe.each([
  ['in-memory', 'demo', 'json'],
  ['in-memory', 'demo', 'sse'],
  ['in-memory', 'chat', 'json'],
  ['in-memory', 'chat', 'sse'],
  ['sqlite', 'demo', 'sse'],
  ['in-memory', 'responses', 'json'],
  ['in-memory', 'responses', 'sse'],
  ['sqlite', 'chat', 'json'],
  ['sqlite', 'responses', 'sse'],
] as const)('scenarios on %s, %s, %s', (store, road, transport) => {
  let upstream: DemoUpstream;
  /** Another server of the same kind, whose demo is an upstream that speaks Responses. */
  let far: TestServer;
  let server: TestServer;
  let folder: string;

  beforeAll(async () => {
    const { mkdtemp } = await import('node:fs/promises');
    folder = await mkdtemp('/tmp/open-responses-');
    upstream = await startDemoUpstream();
    const settings = { 'store.type': store, 'sqlite.path': `${folder}/test.sqlite` };
    far = new TestServer(await start());
    const providers = {
      'providers.chat.base-url': upstream.url,
      'providers.far.base-url': `${far.url}/v1`,
      'providers.far.api': 'responses',
    };
    server = new TestServer(await start({ ...settings, ...providers }));
  });

  afterAll(async () => {
    await server.running.close();
    await far.running.close();
    await upstream.close();
    const { rm } = await import('node:fs/promises');
    await rm(folder, { recursive: true });
  });

  it.each(scenarios)('$name', async ({ play }) => {
    const model = { demo: 'demo', chat: 'chat/demo', responses: 'far/demo' }[road];
    const respond = async (body: object): Promise<Json> => {
      const request = { model, ...body };
      const response = transport === 'json' ? await server.respond(request) : await server.streamed(request);
      expect(response.model).toBe('demo');
      return response;
    };
    await play({ server, model, respond });
  });
});
