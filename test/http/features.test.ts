import { expect, it } from 'vitest';
import type { Json } from '../support/harness.ts';
import { answerResponseText } from '../support/responses-upstream.ts';
import { serveScripted } from '../support/scripted-server.ts';

const dropped = 'x-open-responses-dropped';
const tools = [{ type: 'function', name: 'f' }];

it.each([
  ['ollama', { tools, tool_choice: 'required' }, 'tool_choice'],
  ['ollama', { tools, tool_choice: { type: 'function', name: 'f' } }, 'tool_choice'],
  ['ollama', { tools, parallel_tool_calls: false }, 'parallel_tool_calls'],
  ['ollama', { text: { verbosity: 'low' } }, 'text.verbosity'],
  ['generic', { text: { verbosity: 'high' } }, 'text.verbosity'],
])('what a profile (%s) can not do is refused before the call: %j', async (profile, body, param) => {
  const { server, upstream } = await serveScripted(undefined, { 'providers.up.profile': profile });
  const answer = await server.post('/v1/responses', { model: 'm', input: 'x', ...body });
  expect(answer.status).toBe(400);
  expect(answer.body.error).toMatchObject({ param, code: 'unsupported_value' });
  expect(upstream.requests).toEqual([]);
});

it.each([
  [{ top_logprobs: 2 }, 'top_logprobs'],
  [{ include: ['message.output_text.logprobs'] }, 'include'],
])('the demo has no log probabilities to give: %j', async (body, param) => {
  const { server } = await serveScripted();
  const answer = await server.post('/v1/responses', { model: 'demo', input: 'x', ...body });
  expect(answer.body.error).toMatchObject({ param, code: 'unsupported_value' });
});

const search = { type: 'web_search' };
const item = { type: 'web_search_call', id: 'ws_1', status: 'completed' };
const grammar = {
  ...{ type: 'custom', name: 'c' },
  format: { type: 'grammar', syntax: 'lark', definition: 'start: "a"' },
};
const group = { type: 'namespace', name: 'n', description: 'x', tools: [{ type: 'function', name: 'g' }, grammar] };
const user = (part: object) => ({ input: [{ role: 'user', content: [{ type: 'input_text', text: 'x' }, part] }] });
const file = { type: 'input_file', file_data: 'data:text/plain;base64,AA', filename: 'a.txt' };
const image = { type: 'input_image', image_url: 'https://example.com/a.png' };
const output = [
  { role: 'user', content: 'x' },
  { type: 'custom_tool_call', call_id: 'call_1', name: 'c', input: 'x' },
  { type: 'custom_tool_call_output', call_id: 'call_1', output: [file] },
];

/** What the upstream of such a profile can't do: where it is refused, and what the header calls it where it is left out. */
type Misfit = readonly [profile: string, body: object, param: string, dropped?: string];
const misfits: readonly Misfit[] = [
  ['generic', { tools: [...tools, search] }, 'tools[1].type'],
  ['generic', { tools: [group, search] }, 'tools[1].type', 'tools[1].type, tools[0].tools[1].format'],
  ['generic', { tools: [...tools, group] }, 'tools[1].tools[1].format'],
  ['generic', { tools: [...tools, search], tool_choice: search }, 'tools[1].type'],
  [
    'generic',
    { tools: [...tools, search], tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [search] } },
    'tools[1].type',
  ],
  ['generic', { tools: [{ type: 'mcp', server_label: 'a' }] }, 'tools[0].type'],
  ['generic', { tools: [...tools, grammar] }, 'tools[1].format'],
  ['generic', { service_tier: 'flex' }, 'service_tier'],
  ['generic', { input: [{ role: 'user', content: 'x' }, item] }, 'input', 'web_search_call'],
  ['generic', user(file), 'input', 'input_file'],
  ['generic', { input: output }, 'input', 'input_file'],
  ['ollama', user(image), 'input', 'input_image'],
  ['lmstudio', { text: { format: { type: 'json_object' } } }, 'text.format'],
];

const each = misfits.map(([profile, body, param, names = param]) => [profile, body, param, names] as const);

it.each(each)(
  'with %s, %j is refused by name, or left out with a word about it',
  async (profile, body, param, names) => {
    const request = { model: 'm', input: 'x', ...body };
    const strict = await serveScripted(undefined, { 'providers.up.profile': profile });
    const paths = 'service_tier' in body ? ['/v1/responses'] : ['/v1/responses', '/v1/responses/input_tokens'];
    for (const path of paths) {
      const refused = await strict.server.post(path, request);
      expect([refused.status, refused.headers.get(dropped)]).toEqual([400, null]);
      expect(refused.body.error).toMatchObject({ code: 'unsupported_value', param });
    }
    expect(strict.upstream.requests).toEqual([]);

    const lenient = { 'providers.up.profile': profile, 'upstream.unsupported': 'drop' };
    const { server, upstream } = await serveScripted(undefined, lenient);
    const answer = await server.post('/v1/responses', request);
    expect([answer.status, answer.headers.get(dropped)]).toEqual([200, names]);
    const streamed = await fetch(`${server.url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...request, stream: true }),
    });
    expect([streamed.status, streamed.headers.get(dropped)]).toEqual([200, names]);
    expect(await streamed.text()).toContain('response.completed');
    for (const path of paths.slice(1)) {
      const counted = await server.post(path, request);
      expect([counted.status, counted.headers.get(dropped)]).toEqual([200, names]);
    }
    for (const { raw } of upstream.requests) {
      expect(raw).not.toMatch(/web_search|"mcp"|lark|file_data|base64|example\.com|flex|json_object/);
    }
  },
);

it('a model that can do all of it gets it, and there is no header', async () => {
  const { server, upstream } = await serveScripted(answerResponseText('Hi'), {
    'providers.up.api': 'responses',
    'providers.up.profile': 'openai',
    'upstream.unsupported': 'drop',
  });
  for (const [profile, body] of misfits) {
    if (profile === 'lmstudio') continue;
    const answer = await server.post('/v1/responses', { model: 'm', input: 'x', ...body });
    expect([answer.status, answer.headers.get(dropped)]).toEqual([200, null]);
  }
  expect(upstream.requests).toHaveLength(misfits.length - 1);
});

it('what is history is left out without a refusal: items of tools that another provider ran', async () => {
  const { server, upstream } = await serveScripted();
  const items = [{ role: 'user', content: 'x' }, item, { role: 'assistant', content: 'Found.' }];
  const { body: conversation } = await server.post('/v1/conversations', { items });
  const answer = await server.post('/v1/responses', { model: 'm', input: 'And?', conversation: conversation.id });
  expect([answer.status, answer.headers.get(dropped)]).toEqual([200, 'web_search_call']);
  expect(upstream.requests[0]?.body.messages.map(({ content }: Json) => content)).toEqual(['x', 'Found.', 'And?']);
});
