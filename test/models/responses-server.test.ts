import { describe, expect, onTestFinished, test } from 'vitest';
import { createDispatcher } from '../../src/models/http-client.ts';
import { apiOf } from '../../src/models/providers.ts';
import { checkKeys } from '../../src/models/upstream/key-check.ts';
import { type Json, serve, textOf } from '../support/harness.ts';
import {
  answerItems,
  answerResponseText,
  customCall,
  functionCall,
  hosted,
  message,
  reasoning,
} from '../support/responses-upstream.ts';
import { answerText, type Handler, startUpstream } from '../support/upstream.ts';
import { upstreamConfig } from './support.ts';

/** A server over a scripted upstream that speaks Responses, with the habits of OpenAI. */
async function serveResponses(script: Handler | readonly Handler[], settings: Record<string, string> = {}) {
  const upstream = await startUpstream(script);
  onTestFinished(() => upstream.close());
  const server = await serve({
    'providers.up.base-url': upstream.url,
    'providers.up.profile': 'openai',
    'providers.up.api': 'responses',
    'default-provider': 'up',
    'upstream.max-retries': '0',
    ...settings,
  });
  return { server, upstream };
}

describe('what a provider is spoken to with', () => {
  const official = 'https://api.openai.com/v1';

  test.each([
    [undefined, 'openai', official, 'responses'],
    [undefined, 'openai', 'https://proxy.example/v1', 'chat-completions'],
    [undefined, 'generic', official, 'chat-completions'],
    [undefined, 'ollama', 'http://127.0.0.1:11434/v1', 'chat-completions'],
    ['chat-completions', 'openai', official, 'chat-completions'],
    ['responses', 'vllm', 'http://127.0.0.1:8000/v1', 'responses'],
    ['ai-sdk', 'anthropic', 'https://api.anthropic.com/v1', 'ai-sdk'],
  ] as const)('%s for %s at %s: %s', (api, profile, baseUrl, expected) => {
    expect(apiOf({ api }, { name: profile }, baseUrl)).toBe(expected);
  });

  test('is chat completions unless it is configured', async () => {
    const { server, upstream } = await serveResponses(answerText('Hello'), { 'providers.up.api': 'chat-completions' });
    await server.respond({ model: 'gpt-x', input: 'Hi' });
    expect(upstream.requests.map(({ path }) => path)).toEqual(['/v1/chat/completions']);
  });

  test('is kept by it only where the operator says so', async () => {
    const { server, upstream } = await serveResponses(answerResponseText('Hello'), { 'providers.up.store': 'true' });
    await server.respond({ model: 'gpt-x', input: 'Hi' });
    const { server: other, upstream: theirs } = await serveResponses(answerResponseText('Hello'));
    await other.respond({ model: 'gpt-x', input: 'Hi', store: true });
    expect(upstream.requests[0]?.body.store).toBe(true);
    expect(theirs.requests[0]?.body.store).toBe(false);
  });
});

test('whether keys are checked is asked of what calls are posted to', async () => {
  const upstream = await startUpstream((reply, request) => {
    if (request.path === '/v1/responses') reply.json({ error: { message: 'who are you?' } }, 401);
    else reply.json({ data: [] });
  });
  onTestFinished(() => upstream.close());
  const client = createDispatcher(upstreamConfig);
  onTestFinished(() => client.close());
  const provider = { name: 'up', baseUrl: upstream.url, headers: {} };
  expect(await checkKeys({ provider, dispatcher: client.dispatcher }, '/responses')).toBe('strict');
  expect(upstream.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
    'GET /v1/models',
    'POST /v1/responses',
  ]);
});

describe('a server over an upstream that speaks Responses', () => {
  test('brings what was encrypted back in the next turn, whole or streamed', async () => {
    for (const how of ['respond', 'streamed'] as const) {
      const { server, upstream } = await serveResponses([
        answerItems([reasoning({ summary: ['I think.'], encrypted: 'gAAA' }), message('One.')]),
        answerResponseText('Two.'),
      ]);
      const first: Json = await server[how]({ model: 'gpt-x', input: 'Count.', store: true });
      expect(first.output.map(({ type }: Json) => type)).toEqual(['reasoning', 'message']);
      expect(first.output[0]).toMatchObject({ encrypted_content: 'gAAA', summary: [{ text: 'I think.' }] });
      const second: Json = await server[how]({ model: 'gpt-x', input: 'On.', previous_response_id: first.id });
      expect(textOf(second)).toBe('Two.');
      expect(upstream.requests[1]?.body.input).toEqual([
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Count.' }] },
        { type: 'reasoning', summary: [{ type: 'summary_text', text: 'I think.' }], encrypted_content: 'gAAA' },
        { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'One.', annotations: [] }] },
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'On.' }] },
      ]);
      expect(upstream.requests[1]?.raw).not.toMatch(/previous_response_id|resp_/);
    }
  });

  test('passes on calls, custom calls and what the upstream searched', async () => {
    const search = hosted(
      { id: 'ws_1', type: 'web_search_call', status: 'completed', action: { type: 'search', query: 'x' } },
      {},
      [{ type: 'response.web_search_call.searching' }],
    );
    const { server } = await serveResponses(
      answerItems([
        search,
        functionCall({ id: 'call_a', name: 'lookup', arguments: '{"q":1}', namespace: 'crm' }),
        customCall({ id: 'call_b', name: 'sql', input: 'select 1' }),
      ]),
    );
    const tools = [
      { type: 'web_search' },
      { type: 'namespace', name: 'crm', description: 'Customers.', tools: [{ type: 'function', name: 'lookup' }] },
      { type: 'custom', name: 'sql' },
    ];
    const answer: Json = await server.streamed({ model: 'gpt-x', input: 'Look.', tools });
    expect(answer.output).toMatchObject([
      { type: 'web_search_call', status: 'completed' },
      { type: 'function_call', call_id: 'call_a', name: 'lookup', namespace: 'crm', arguments: '{"q":1}' },
      { type: 'custom_tool_call', call_id: 'call_b', name: 'sql', input: 'select 1' },
    ]);
    expect(answer.service_tier).toBe('default');
    expect(answer.usage.total_tokens).toBe(18);
  });

  test('says what was cut short', async () => {
    const half = message('Half a sen');
    const cut = { ...half, item: { ...half.item, status: 'incomplete' } };
    const { server } = await serveResponses(
      answerItems([cut], { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }),
    );
    const answer: Json = await server.streamed({ model: 'gpt-x', input: 'Talk.' });
    expect(answer).toMatchObject({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } });
    expect(answer.output).toMatchObject([{ type: 'message', status: 'incomplete', content: [{ text: 'Half a sen' }] }]);
  });

  test('keeps the phases of messages', async () => {
    const { server } = await serveResponses(
      answerItems([
        message('Looking. ', { id: 'msg_a', phase: 'commentary' }),
        message('Found.', { id: 'msg_b', phase: 'final_answer' }),
      ]),
    );
    const answer: Json = await server.respond({ model: 'gpt-x', input: 'Look.' });
    expect(answer.output).toMatchObject([
      { type: 'message', phase: 'commentary', content: [{ text: 'Looking. ' }] },
      { type: 'message', phase: 'final_answer', content: [{ text: 'Found.' }] },
    ]);
  });
});
