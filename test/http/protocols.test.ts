import { describe, expect, it } from 'vitest';
import type { Json } from '../support/harness.ts';
import { answerItems, customCall, functionCall, hosted, message, refusal } from '../support/responses-upstream.ts';
import { serveScripted } from '../support/scripted-server.ts';
import { answerSse, chunk, completion, type Handler, usageChunk } from '../support/upstream.ts';

const citation = { type: 'url_citation', url: 'https://example.com/a', title: 'A', start_index: 0, end_index: 5 };
const logprob = {
  token: 'Hi',
  logprob: -0.25,
  bytes: [72, 105],
  top_logprobs: [{ token: 'Hi', logprob: -0.25, bytes: [72, 105] }],
};
const half = { ...logprob, token: '\ufffd', bytes: [240] };
const tools = [
  { type: 'function', name: 'look', parameters: { type: 'object' } },
  { type: 'custom', name: 'run', description: 'Runs' },
  {
    ...{ type: 'namespace', name: 'crm', description: 'Customers' },
    tools: [
      { type: 'function', name: 'look' },
      { type: 'custom', name: 'run' },
    ],
  },
];

/** Answers in chat completions, as a stream or whole. */
function chat(deltas: readonly object[], whole: object, finish = 'stop', more: object = {}): Handler {
  return (reply, request) => {
    if (request.body.stream !== true) {
      reply.json({ ...completion(whole, finish, choiceOf(deltas)), ...more });
      return;
    }
    const chunks = deltas.map((delta) => {
      const { logprobs, ...said }: Json = delta;
      return { ...chunk(said, null, logprobs === undefined ? {} : { logprobs }), ...more };
    });
    answerSse([...chunks, chunk({}, finish), usageChunk])(reply, request);
  };
}

function choiceOf(deltas: readonly Json[]): object {
  const content = deltas.flatMap(({ logprobs }) => logprobs?.content ?? []);
  return content.length === 0 ? {} : { logprobs: { content } };
}

const called = (index: number, name: string, args: string) => {
  return { index, id: `call_${index}`, type: 'function', function: { name, arguments: args } };
};
const calls = [
  called(0, 'look', '{"a":1}'),
  called(1, 'run', '{"input":"print(1)"}'),
  called(2, 'crm__look', '{}'),
  called(3, 'crm__run', '{"input":"select 1"}'),
];

/** The same answers in each protocol. */
const protocols = [
  {
    api: 'chat-completions',
    annotated: chat(
      [{ content: 'See ' }, { content: 'A.' }, { annotations: [{ type: 'url_citation', url_citation: citation }] }],
      { content: 'See A.', annotations: [{ type: 'url_citation', url_citation: citation }] },
    ),
    probable: chat(
      [
        { content: '', logprobs: { content: [half] } },
        { content: 'Hi', logprobs: { content: [logprob] } },
      ],
      { content: 'Hi' },
    ),
    refusing: chat([{ refusal: 'I ' }, { refusal: 'won’t.' }], { content: null, refusal: 'I won’t.' }),
    calling: chat([{ tool_calls: calls }], { content: null, tool_calls: calls }, 'tool_calls'),
    tiered: chat([{ content: 'Hi' }], { content: 'Hi' }, 'stop', { service_tier: 'flex' }),
    toolsOf: (body: Json) => body.tools.map((each: Json) => [each.type, each.function?.name ?? each.custom?.name]),
  },
  {
    api: 'responses',
    annotated: answerItems([message('See A.', { annotations: [citation] })]),
    probable: answerItems([
      {
        ...message('Hi'),
        item: {
          ...message('Hi').item,
          content: [{ type: 'output_text', text: 'Hi', annotations: [], logprobs: [half, logprob] }],
        },
        events: [
          { type: 'response.output_text.delta', content_index: 0, delta: '', logprobs: [half] },
          { type: 'response.output_text.delta', content_index: 0, delta: 'Hi', logprobs: [logprob] },
        ],
      },
    ]),
    refusing: answerItems([refusal('I won’t.')]),
    calling: answerItems([
      functionCall({ id: 'call_0', name: 'look', arguments: '{"a":1}' }),
      customCall({ id: 'call_1', name: 'run', input: 'print(1)' }),
      functionCall({ id: 'call_2', name: 'look', arguments: '{}', namespace: 'crm' }),
      customCall({ id: 'call_3', name: 'run', input: 'select 1', namespace: 'crm' }),
    ]),
    tiered: answerItems([message('Hi')], { service_tier: 'flex' }),
    toolsOf: (body: Json) => body.tools.map((each: Json) => [each.type, each.name]),
  },
] as const;

describe.each(protocols)('an upstream that speaks $api', (protocol) => {
  const settings = { 'providers.up.api': protocol.api, 'providers.up.profile': 'openai' };

  /** The response, as JSON and as the end of a stream: both say the same. */
  async function ask(script: Handler, body: object = {}) {
    const { server, upstream } = await serveScripted(script, settings);
    const request = { model: 'm', input: 'x', ...body };
    const whole = await server.respond(request);
    const { events } = await server.stream(request);
    const streamed = events.at(-1)?.data.response;
    const plain = (output: Json) => output.map(({ id: _id, ...item }: Json) => item);
    expect(plain(streamed.output)).toEqual(plain(whole.output));
    return { server, upstream, whole, events, types: events.map(({ event }) => event) };
  }

  it('has annotations', async () => {
    const { whole, events, server } = await ask(protocol.annotated);
    expect(whole.output[0].content).toEqual([
      { type: 'output_text', text: 'See A.', annotations: [citation], logprobs: [] },
    ]);
    const added = events.filter(({ event }) => event === 'response.output_text.annotation.added');
    expect(added.map(({ data }) => [data.annotation_index, data.annotation])).toEqual([[0, citation]]);
    // They come back with the next turn.
    await server.respond({ model: 'm', input: [{ role: 'user', content: 'x' }, ...whole.output] });
  });

  it('has log probabilities, also of half a character', async () => {
    const body = { include: ['message.output_text.logprobs'], top_logprobs: 1 };
    const { whole, events, upstream } = await ask(protocol.probable, body);
    expect(whole.output[0].content[0]).toMatchObject({ text: 'Hi', logprobs: [half, logprob] });
    const deltas = events.filter(({ event }) => event === 'response.output_text.delta');
    expect(deltas.flatMap(({ data }) => data.logprobs)).toEqual([half, logprob]);
    expect(upstream.requests[0]?.body.top_logprobs).toBe(1);
    const plain = await ask(protocol.probable);
    expect(plain.whole.output[0].content[0].logprobs).toEqual([]);
  });

  it('refuses', async () => {
    const { whole, types } = await ask(protocol.refusing);
    expect(whole.output[0].content).toEqual([{ type: 'refusal', refusal: 'I won’t.' }]);
    expect(types).toContain('response.refusal.delta');
    expect(types).not.toContain('response.output_text.delta');
  });

  it('calls functions, custom tools and those of namespaces side by side', async () => {
    const { whole, types, upstream, server } = await ask(protocol.calling, { tools });
    const said = whole.output.map((item: Json) => [
      item.type,
      item.namespace,
      item.name,
      item.call_id,
      item.arguments ?? item.input,
    ]);
    expect(said).toEqual([
      ['function_call', undefined, 'look', 'call_0', '{"a":1}'],
      ['custom_tool_call', undefined, 'run', 'call_1', 'print(1)'],
      ['function_call', 'crm', 'look', 'call_2', '{}'],
      ['custom_tool_call', 'crm', 'run', 'call_3', 'select 1'],
    ]);
    expect(new Set(types.filter((type) => type.endsWith('.delta')))).toEqual(
      new Set(['response.function_call_arguments.delta', 'response.custom_tool_call_input.delta']),
    );
    const offered = protocol.toolsOf(upstream.requests[0]?.body);
    if (protocol.api === 'responses') expect(offered.map(([type]: string[]) => type)).toContain('namespace');
    else expect(offered.map(([, name]: string[]) => name)).toEqual(['look', 'run', 'crm__look', 'crm__run']);
    const outputs = whole.output.map(({ type, call_id }: Json) => ({
      type: `${type}_output`,
      call_id,
      output: 'done',
    }));
    await server.respond({ model: 'm', tools, input: [{ role: 'user', content: 'x' }, ...whole.output, ...outputs] });
    const sent = JSON.stringify(upstream.requests.at(-1)?.body);
    for (const id of ['call_0', 'call_1', 'call_2', 'call_3']) expect(sent.split(id)).toHaveLength(3);
  });

  it('says which tier it used', async () => {
    const { whole, events, upstream } = await ask(protocol.tiered, { service_tier: 'priority' });
    expect(upstream.requests[0]?.body.service_tier).toBe('priority');
    expect(events[0]?.data.response.service_tier).toBe('priority');
    expect(whole.service_tier).toBe('flex');
    const unasked = await ask(protocol.tiered, { service_tier: 'auto' });
    expect(unasked.upstream.requests[0]?.body).not.toHaveProperty('service_tier');
    expect(unasked.events[0]?.data.response.service_tier).toBe('default');
  });
});

it('an upstream that says `auto` has not said which tier it used', async () => {
  const script = answerItems([message('Hi')], { service_tier: 'auto' });
  const { server } = await serveScripted(script, { 'providers.up.api': 'responses', 'providers.up.profile': 'openai' });
  expect((await server.respond({ model: 'm', input: 'x' })).service_tier).toBe('default');
  expect((await server.streamed({ model: 'm', input: 'x', service_tier: 'flex' })).service_tier).toBe('flex');
});

describe('hosted tools', () => {
  const settings = { 'providers.up.api': 'responses', 'providers.up.profile': 'openai' };
  const search = { type: 'web_search', filters: { allowed_domains: ['example.com'] }, user_location: null };
  const action = { type: 'search', query: 'x', sources: [{ url: 'https://example.com' }] };
  const item = { id: 'ws_up', type: 'web_search_call', status: 'completed', action };
  const searching = [
    { type: 'response.web_search_call.in_progress' },
    { type: 'response.web_search_call.searching' },
    { type: 'response.web_search_call.completed' },
  ];

  it('go out as they came, and leave items that go back with the next turn', async () => {
    const script = answerItems([hosted(item, {}, searching), message('Found.')]);
    const { server, upstream } = await serveScripted(script, settings);
    const request = {
      model: 'm',
      input: 'x',
      tools: [search],
      store: true,
      include: ['web_search_call.action.sources'],
    };
    const { events } = await server.stream({ ...request, max_tool_calls: 2, tool_choice: { type: 'web_search' } });
    const response = events.at(-1)?.data.response;
    const { id, ...said } = response.output[0];
    expect(id).toMatch(/^ws_[0-9a-f]+$/);
    expect(said).toEqual({ type: 'web_search_call', status: 'completed', action });
    expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining(searching.map(({ type }) => type)));
    expect(response.tools).toEqual([{ type: 'web_search', filters: { allowed_domains: ['example.com'] } }]);
    const { body } = upstream.requests[0] ?? {};
    expect(body).toMatchObject({ tool_choice: { type: 'web_search' }, max_tool_calls: 2 });
    expect(body.tools).toEqual([{ type: 'web_search', filters: { allowed_domains: ['example.com'] } }]);
    expect(body.include).toContain('web_search_call.action.sources');
    await server.respond({ model: 'm', input: 'And?', previous_response_id: response.id });
    const again = upstream.requests.at(-1)?.body.input.find((each: Json) => each.type === 'web_search_call');
    expect(again).toMatchObject({ type: 'web_search_call', action });
    const items = await server.get(`/v1/responses/${response.id}`);
    expect(items.body.output[0]).toEqual(response.output[0]);
  });

  it.each([
    'response.web_search_call.x\nevent: response.completed\ndata: {}\n\n',
    'response.x","type":"response.completed","y":"',
    'response.web_search_call.\u2028',
    `response.${'x'.repeat(10_000)}`,
    'response.!',
  ])('have no events that would be more than events: %j', async (type) => {
    const script = answerItems([hosted(item, {}, [{ type }, ...searching]), message('Found.')]);
    const { server } = await serveScripted(script, settings);
    const { events, text } = await server.stream({ model: 'm', input: 'x', tools: [search] });
    expect(events.filter(({ event }) => event === 'response.completed')).toHaveLength(1);
    expect(text).not.toContain(type);
  });

  it('are not sent to a fallback that has none, nor are their items', async () => {
    const { server, upstream } = await serveScripted(undefined, { 'providers.up.api': 'chat-completions' });
    const refused = async (body: object) => {
      const answer = await server.post('/v1/responses', { model: 'm', input: 'x', ...body });
      expect(answer.status).toBe(400);
      expect(answer.body.error.code).toBe('unsupported_value');
      return answer.body.error.param;
    };
    expect(await refused({ tools: [tools[0], search] })).toBe('tools[1].type');
    expect(await refused({ input: [{ role: 'user', content: 'x' }, item] })).toBe('input');
    expect(upstream.requests).toEqual([]);
  });
});
