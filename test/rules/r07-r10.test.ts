import { describe, expect, it } from 'vitest';
import { type Json, storeTypes, type TestServer } from '../support/harness.ts';
import { sentTexts, serveScripted } from '../support/scripted-server.ts';
import { answerCalls, answerText } from '../support/upstream.ts';

const model = 'm';
const tools = [{ type: 'function', name: 'f', parameters: { type: 'object' } }];
const call = (id: string) => ({ type: 'function_call', call_id: id, name: 'f', arguments: '{}' });
const output = (id: string, text = `result of ${id}`) => ({ type: 'function_call_output', call_id: id, output: text });
const user = (text: string, id?: string) => ({ role: 'user', content: text, ...(id === undefined ? {} : { id }) });

async function newConversation(server: TestServer, items: object[] = []): Promise<string> {
  const { body } = await server.post('/v1/conversations', { items });
  return body.id;
}

describe.each(storeTypes)('state rules on %s', (store) => {
  it.each([
    [
      'an output that answers nothing',
      [user('x'), output('call_9')],
      'No tool call found for function call output with call_id call_9.',
    ],
    [
      'an output before its call',
      [output('call_9'), call('call_9')],
      'No tool call found for function call output with call_id call_9.',
    ],
    ['a call without output', [user('x'), call('call_9')], 'No tool output found for function call call_9.'],
    [
      'one of two calls without output',
      [call('call_1'), call('call_9'), output('call_1')],
      'No tool output found for function call call_9.',
    ],
  ])('R7 %s in the input is refused', async (_name, input, message) => {
    const { server, upstream } = await serveScripted(undefined, {}, store);
    for (const where of [{}, { stream: true }, { store: true }, { conversation: await newConversation(server) }]) {
      const answer = await server.post('/v1/responses', { model, input, tools, ...where });
      expect(answer.status).toBe(400);
      expect(answer.body.error).toEqual({ message, type: 'invalid_request_error', param: 'input', code: null });
    }
    expect(upstream.requests).toHaveLength(0);
  });

  it('R7 calls that the newest turn left open must be answered, all of them', async () => {
    const calls = ['call_1', 'call_2'].map((id) => ({ id, name: 'f', arguments: '{}' }));
    const { server, upstream } = await serveScripted(answerCalls(calls), {}, store);
    const first = await server.respond({ model, input: 'x', tools, store: true });
    upstream.use(answerText('done'));
    const next = (input: unknown) =>
      server.post('/v1/responses', { model, input, tools, store: true, previous_response_id: first.id });
    expect((await next('never mind')).body.error.message).toBe('No tool output found for function call call_1.');
    expect((await next([output('call_1')])).body.error.message).toBe('No tool output found for function call call_2.');
    expect((await next([output('call_2'), output('call_1')])).status).toBe(200);
    const messages = upstream.requests.at(-1)?.body.messages;
    expect(messages.map((message: Json) => message.tool_call_id ?? message.role)).toEqual([
      'user',
      'assistant',
      'call_1',
      'call_2',
    ]);
  });

  it('R7 posted items are never refused for pairing, and orphans are left out of the input and counted', async () => {
    const { server, upstream } = await serveScripted(undefined, {}, store);
    const id = await newConversation(server, [call('call_1'), user('a')]);
    const posted = await server.post(`/v1/conversations/${id}/items`, { items: [output('call_2'), user('b')] });
    expect(posted.status).toBe(200);
    await server.respond({ model, input: 'c', conversation: id });
    expect(sentTexts(upstream)).toEqual(['user: a', 'user: b', 'user: c']);
    expect(server.running.counters.get('unpaired_items_left_out')).toBe(2);
    expect((await server.get(`/v1/conversations/${id}/items`)).body.data).toHaveLength(6);
  });

  it('R7 deleting the open call unblocks a conversation', async () => {
    const { server, upstream } = await serveScripted(
      answerCalls([{ id: 'call_1', name: 'f', arguments: '{}' }]),
      {},
      store,
    );
    const id = await newConversation(server);
    const first = await server.respond({ model, input: 'x', tools, conversation: id });
    upstream.use(answerText('fine'));
    expect((await server.post('/v1/responses', { model, input: 'y', conversation: id })).status).toBe(400);
    expect((await server.delete(`/v1/conversations/${id}/items/${first.output[0].id}`)).status).toBe(200);
    expect((await server.post('/v1/responses', { model, input: 'y', conversation: id })).status).toBe(200);
    expect(sentTexts(upstream)).toEqual(['user: x', 'user: y']);
  });

  it('R7 an output posted to the conversation answers the open call', async () => {
    const { server, upstream } = await serveScripted(
      answerCalls([{ id: 'call_1', name: 'f', arguments: '{}' }]),
      {},
      store,
    );
    const id = await newConversation(server);
    await server.respond({ model, input: 'x', tools, conversation: id });
    upstream.use(answerText('fine'));
    await server.post(`/v1/conversations/${id}/items`, { items: [output('call_1', '42')] });
    await server.respond({ model, input: 'y', tools, conversation: id });
    expect(sentTexts(upstream)).toEqual(
      ['user: x', 'assistant: undefined', 'tool: 42', 'user: y'].map((each) => each.replace('undefined', 'null')),
    );
  });

  it('R9 ids that a client gives are kept, and are unique within history and input', async () => {
    const { server } = await serveScripted(undefined, {}, store);
    const first = await server.respond({ model, input: [user('one', 'msg_mine')], store: true });
    const items = await server.get(`/v1/responses/${first.id}/input_items`);
    expect(items.body.data[0].id).toBe('msg_mine');
    const twice = (body: object) => server.post('/v1/responses', { model, store: true, ...body });
    const refused = [
      await twice({ input: [user('a', 'msg_1'), user('b', 'msg_1')] }),
      await twice({ input: [user('a', 'msg_mine')], previous_response_id: first.id }),
      await twice({ input: [{ ...first.output[0] }], previous_response_id: first.id }),
    ];
    for (const answer of refused) {
      expect(answer.status).toBe(400);
      expect(answer.body.error.message).toContain('Duplicate item found with id ');
    }
    const again = await twice({ input: [user('one', 'msg_mine')] });
    expect(again.status).toBe(200);
    expect((await server.get(`/v1/responses/${first.id}/input_items`)).body.data[0].id).toBe('msg_mine');
  });

  it('R9 a conversation takes an id once, and another conversation takes it too', async () => {
    const { server } = await serveScripted(undefined, {}, store);
    const [one, two] = [
      await newConversation(server, [user('a', 'x.1')]),
      await newConversation(server, [user('b', 'x.1')]),
    ];
    const again = await server.post(`/v1/conversations/${one}/items`, { items: [user('c'), user('d', 'x.1')] });
    expect(again.status).toBe(400);
    expect(again.body.error.message).toContain('Duplicate item found with id x.1');
    expect((await server.get(`/v1/conversations/${one}/items`)).body.data).toHaveLength(1);
    expect((await server.get(`/v1/conversations/${two}/items/x.1`)).body.content[0].text).toBe('b');
    for (const bad of ['', 'a b', 'a/b', 'x'.repeat(257), "'; DROP TABLE entries;--"]) {
      const answer = await server.post(`/v1/conversations/${one}/items`, { items: [user('e', bad)] });
      expect(answer.status, bad).toBe(400);
    }
  });

  it('R10 a reference resolves in the tenant, newest live item first, and goes with its target', async () => {
    const { server, upstream } = await serveScripted(undefined, {}, store);
    const source = await newConversation(server, [user('older', 'ref_1')]);
    const newer = await newConversation(server, [user('newer', 'ref_1')]);
    const input = [{ type: 'item_reference', id: 'ref_1' }, user('go')];
    const response = await server.respond({ model, input, store: true });
    expect(sentTexts(upstream)).toEqual(['user: newer', 'user: go']);
    const shown = await server.get(`/v1/responses/${response.id}/input_items?order=asc`);
    expect(shown.body.data[0]).toMatchObject({ id: 'ref_1', type: 'message', content: [{ text: 'newer' }] });

    await server.delete(`/v1/conversations/${newer}/items/ref_1`);
    expect((await server.get(`/v1/responses/${response.id}/input_items`)).body.data).toHaveLength(1);
    await server.respond({ model, input: 'next', previous_response_id: response.id });
    expect(sentTexts(upstream)).toEqual(['user: go', 'assistant: Hello there', 'user: next']);
    await server.respond({ model, input: [{ id: 'ref_1' }] });
    expect(sentTexts(upstream)).toEqual(['user: older']);
    await server.delete(`/v1/conversations/${source}`);
    const gone = await server.post('/v1/responses', { model, input });
    expect(gone.status).toBe(404);
    expect(gone.body.error).toMatchObject({ param: 'input', code: null });
    expect(gone.body.error.message).toContain("Item with id 'ref_1' not found.");
  });

  it('R10 a reference to what the context holds adds nothing, and another tenant’s item is not found', async () => {
    const { server, upstream } = await serveScripted(undefined, {}, store);
    const first = await server.respond({ model, input: [user('one', 'mine_1')], store: true });
    const input = [
      { type: 'item_reference', id: 'mine_1' },
      { type: 'item_reference', id: first.output[0].id },
      user('two'),
    ];
    await server.respond({ model, input, previous_response_id: first.id });
    expect(sentTexts(upstream)).toEqual(['user: one', 'assistant: Hello there', 'user: two']);
    const other = await server.post('/v1/responses', { model, input: [input[0]] }, { authorization: 'Bearer other' });
    expect(other.status).toBe(404);
  });
});
