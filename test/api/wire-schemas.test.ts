import { describe, expect, it } from 'vitest';
import type { Json } from '../support/harness.ts';
import { checkConversation, checkError, checkItem, checkItemList, checkResponse } from '../support/wire-schemas.ts';
import { begun, calls, done, message, reasoning, set } from './wire-sample.ts';

describe('checkResponse', () => {
  it('takes responses that are right', () => {
    checkResponse(done);
    checkResponse(begun);
    checkResponse({ ...begun, status: 'cancelled', output: [{ ...message, status: 'incomplete' }] });
    checkResponse({ ...begun, status: 'incomplete', incomplete_details: { reason: 'content_filter' } });
    const { conversation: _none, ...chained } = { ...done, previous_response_id: 'resp_0', user: 'u' };
    checkResponse({ ...chained, usage: null, reasoning: null, tool_choice: { type: 'function', name: 'f1' } });
  });

  const optional = ['conversation'];
  it.each(Object.keys(done).filter((key) => !optional.includes(key)))('misses %s', (key) => {
    const broken: Json = structuredClone(done);
    delete broken[key];
    expect(() => checkResponse(broken)).toThrow(key);
  });

  const nullable =
    'completed_at incomplete_details previous_response_id instructions error reasoning usage max_output_tokens max_tool_calls safety_identifier prompt_cache_key';
  it.each(Object.keys(begun).filter((key) => !nullable.split(' ').includes(key)))('finds null in %s', (key) => {
    expect(() => checkResponse({ ...begun, [key]: null })).toThrow(key);
  });

  it.each<[string, unknown]>([
    ['status', 'done'],
    ['status', 'in_progress'],
    ['status', 'failed'],
    ['completed_at', null],
    ['completed_at', 1.5],
    ['completed_at', 1],
    ['created_at', '1700000000'],
    ['error', { code: 'server_error', message: 'x' }],
    ['error', { code: 'upstream_exploded', message: 'x' }],
    ['incomplete_details', { reason: 'max_output_tokens' }],
    ['incomplete_details', { reason: 'length' }],
    ['usage.input_tokens_details.cache_write_tokens', undefined],
    ['usage.output_tokens_details', undefined],
    ['usage.total_tokens', -1],
    ['usage.prompt_tokens', 1],
    ['service_tier', 'auto'],
    ['temperature', '1'],
    ['text', {}],
    ['text.format.schema', null],
    ['tools.0.strict', undefined],
    ['tools.0.description', undefined],
    ['tool_choice', { type: 'allowed_tools', tools: [] }],
    ['metadata', { a: 1 }],
    ['metadata', Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`k${at}`, 'v']))],
    ['conversation', 'conv_1'],
    ['conversation', null],
    ['previous_response_id', 'resp_0'],
    ['user', null],
    ['output_text', 'Hi'],
    ['id', 'chatcmpl-1'],
    ['object', 'chat.completion'],
    ['output.1.id', ''],
    ['output.1.id', 'rs_1'],
    ['output.1.status', undefined],
    ['output.1.status', 'in_progress'],
    ['output.1.status', 'incomplete'],
    ['output.1.role', 'user'],
    ['output.1.phase', null],
    ['output.1.content', 'Hi'],
    ['output.1.content.0.annotations', undefined],
    ['output.1.content.0.logprobs', undefined],
    ['output.1.content.0.logprobs.0.bytes', null],
    ['output.1.content.0.logprobs.0.top_logprobs', undefined],
    ['output.1.content.0.parsed', null],
    ['output.1.content.0.type', 'text'],
    ['output.0.encrypted_content', null],
    ['output.0.content', null],
    ['output.0.summary', null],
    ['output.2.call_id', ''],
    ['output.2.call_id', 'x'.repeat(65)],
    ['output.2.call_id', 'call_2'],
    ['output.2.arguments', {}],
    ['output.2.providerData', 'secret'],
    ['output.2.type', 'tool_call'],
  ])('finds %s = %j', (path, value) => {
    const broken = structuredClone(done);
    set(broken, path, value);
    expect(() => checkResponse(broken)).toThrow();
  });
});

describe('checkError', () => {
  const body = { error: { message: 'No.', type: 'invalid_request_error', param: null, code: 'nope' } };
  const serverError = { error: { ...body.error, type: 'server_error' } };

  it('takes errors that are right', () => {
    checkError(404, body);
    checkError(502, serverError);
    checkError(429, { error: { ...body.error, type: 'requests' } });
    checkError(400, { error: { ...body.error, code: 'invalid_json', message: '"undefined" is not JSON' } });
  });

  it.each<[string, number, unknown]>([
    ['success', 200, body],
    ['a status that no error has', 418, body],
    ['a type of another status', 500, body],
    ['a server error as the caller’s fault', 400, serverError],
    ['no error', 400, {}],
    ['a bare message', 400, { error: 'No.' }],
    ['no param', 400, { error: { message: 'No.', type: 'invalid_request_error', code: null } }],
    ['a code that is a number', 400, { error: { ...body.error, code: 400 } }],
    ['an empty message', 400, { error: { ...body.error, message: '' } }],
    ['more than the body has', 400, { error: { ...body.error, stack: '' } }],
    ['Fastify’s own form', 400, { statusCode: 400, error: 'Bad Request', message: 'No.' }],
    ['undefined', 400, { error: { ...body.error, message: 'Invalid undefined.' } }],
    ['an object', 400, { error: { ...body.error, message: 'Invalid [object Object].' } }],
    ['a stack', 400, { error: { ...body.error, message: 'No.\n    at f (/a/b.js:1:2)' } }],
    ['a path of ours', 400, { error: { ...body.error, message: 'In node_modules/zod' } }],
    ['nothing', 400, null],
  ])('finds %s', (_name, status, json) => {
    expect(() => checkError(status, json)).toThrow();
  });
});

describe('the smaller checks', () => {
  const user = { ...message, role: 'user', content: [{ type: 'input_text', text: 'x' }] };
  const output = { id: 'fco_1', type: 'function_call_output', status: 'completed', call_id: 'call_1', output: 'x' };
  const list = { object: 'list', data: [user, output], first_id: 'msg_1', last_id: 'fco_1', has_more: true };
  const conversation = { id: 'conv_1', object: 'conversation', created_at: 1, metadata: {} };

  it('take what is right', () => {
    for (const item of [user, message, reasoning, output, ...calls]) checkItem(item);
    checkItemList(list);
    checkItemList({ ...list, data: [], first_id: null, last_id: null, has_more: false });
    checkConversation(conversation);
  });

  it.each<[string, () => void]>([
    ['content as a string', () => checkItem({ ...user, content: 'x' })],
    ['no id', () => checkItem({ ...user, id: undefined })],
    ['an output without status', () => checkItem({ ...output, status: undefined })],
    ['an image without detail', () => checkItem({ ...output, output: [{ type: 'input_image', image_url: 'x' }] })],
    ['an item reference', () => checkItem({ type: 'item_reference', id: 'msg_1' })],
    ['another first_id', () => checkItemList({ ...list, first_id: 'fco_1' })],
    ['another last_id', () => checkItemList({ ...list, last_id: null })],
    ['an item twice', () => checkItemList({ ...list, data: [user, user], last_id: 'msg_1' })],
    ['an empty page with more behind it', () => checkItemList({ ...list, data: [], first_id: null, last_id: null })],
    ['metadata that is null', () => checkConversation({ ...conversation, metadata: null })],
    ['the items of a conversation', () => checkConversation({ ...conversation, items: [] })],
  ])('find %s', (_name, check) => {
    expect(check).toThrow();
  });
});
