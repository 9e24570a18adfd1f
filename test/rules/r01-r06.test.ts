import { describe, expect, it } from 'vitest';
import { storeTypes, textOf } from '../support/harness.ts';
import { sentTexts, serveScripted } from '../support/scripted-server.ts';
import { answerCalls, answerText, chunk, cutAfter, hangAfter } from '../support/upstream.ts';

const model = 'm';

describe.each(storeTypes)('state rules on %s', (store) => {
  it('R1 an omitted store stores nothing, and says how to store', async () => {
    const { server } = await serveScripted(undefined, {}, store);
    const response = await server.respond({ model, input: 'x' });
    expect(response.store).toBe(false);
    const found = await server.get(`/v1/responses/${response.id}`);
    expect(found.status).toBe(404);
    expect(found.body.error.message).toContain('store: true');
    const next = await server.post('/v1/responses', { model, input: 'y', previous_response_id: response.id });
    expect(next.status).toBe(400);
    expect(next.body.error).toMatchObject({
      type: 'invalid_request_error',
      code: 'previous_response_not_found',
      param: 'previous_response_id',
    });
    expect(next.body.error.message).toContain('store');
  });

  it('R1 the effective value is echoed, in JSON and in every snapshot of a stream', async () => {
    const { server } = await serveScripted(undefined, {}, store);
    for (const wanted of [true, false]) {
      expect((await server.respond({ model, input: 'x', store: wanted })).store).toBe(wanted);
      const { events } = await server.stream({ model, input: 'x', store: wanted });
      const snapshots = events.flatMap((event) =>
        event.data.response === undefined ? [] : [event.data.response.store],
      );
      expect(snapshots).toEqual([wanted, wanted, wanted]);
    }
  });

  it('R1 store.default=true stores what did not say otherwise', async () => {
    const { server } = await serveScripted(undefined, { 'store.default': 'true' }, store);
    const response = await server.respond({ model, input: 'x' });
    expect(response.store).toBe(true);
    expect((await server.get(`/v1/responses/${response.id}`)).body).toEqual(response);
    const unstored = await server.respond({ model, input: 'x', store: false });
    expect((await server.get(`/v1/responses/${unstored.id}`)).status).toBe(404);
  });

  it('R1 a conversation stores unless store is false, which reads it, takes no lock and appends nothing', async () => {
    const { server, upstream } = await serveScripted(undefined, {}, store);
    const { body: conversation } = await server.post('/v1/conversations', {});
    const first = await server.respond({ model, input: 'one', conversation: conversation.id });
    expect(first.store).toBe(true);
    expect(first.conversation).toEqual({ id: conversation.id });

    upstream.use([hangAfter([chunk({ content: 'slow' })]), answerText('aside')]);
    const open = await server.open({ model, input: 'two', conversation: conversation.id });
    await open.until('response.output_text.delta');
    const aside = await server.respond({ model, input: 'three', conversation: { id: conversation.id }, store: false });
    expect(aside.store).toBe(false);
    expect(sentTexts(upstream)).toEqual(['user: one', 'assistant: Hello there', 'user: three']);
    open.leave();
    const items = await server.get(`/v1/conversations/${conversation.id}/items`);
    expect(items.body.data).toHaveLength(2);
  });

  it('R2 continuing a response of a conversation forks, and appends nothing to it', async () => {
    const { server, upstream } = await serveScripted(undefined, {}, store);
    const { body: conversation } = await server.post('/v1/conversations', {});
    const first = await server.respond({ model, input: 'one', conversation: conversation.id });
    const fork = await server.respond({ model, input: 'two', previous_response_id: first.id, store: true });
    expect(fork.conversation).toBeUndefined();
    const items = await server.get(`/v1/conversations/${conversation.id}/items`);
    expect(items.body.data).toHaveLength(2);
    await server.respond({ model, input: 'three', previous_response_id: fork.id, store: true });
    expect(sentTexts(upstream)).toHaveLength(5);
    await server.respond({ model, input: 'four', conversation: conversation.id });
    expect(sentTexts(upstream)).toEqual(['user: one', 'assistant: Hello there', 'user: four']);
  });

  it('R3 a failed response is a record outside any thread: it can be read, not continued', async () => {
    const { server } = await serveScripted(cutAfter([chunk({ content: 'half' })]), {}, store);
    const { body: conversation } = await server.post('/v1/conversations', {});
    for (const where of [{ store: true }, { conversation: conversation.id }]) {
      const failed = await server.streamed({ model, input: 'x', ...where });
      expect(failed.status).toBe('failed');
      const found = await server.get(`/v1/responses/${failed.id}`);
      expect(found.body).toMatchObject({ status: 'failed', error: { code: 'server_error' } });
      expect(found.body.output[0]).toMatchObject({ status: 'incomplete' });
      const input = await server.get(`/v1/responses/${failed.id}/input_items`);
      expect(input.body.data).toHaveLength(1);
      const next = await server.post('/v1/responses', { model, input: 'y', previous_response_id: failed.id });
      expect(next.status).toBe(400);
      expect(next.body.error.message).toContain('failed');
      expect((await server.delete(`/v1/responses/${failed.id}`)).body).toEqual({
        id: failed.id,
        object: 'response',
        deleted: true,
      });
      expect((await server.get(`/v1/responses/${failed.id}`)).status).toBe(404);
    }
    expect((await server.get(`/v1/conversations/${conversation.id}/items`)).body.data).toEqual([]);
  });

  it('R3 an unfinished call of an incomplete response is stored and not sent again', async () => {
    const script = answerCalls([{ id: 'call_1', name: 'f', arguments: '{"a":1}' }]);
    const { server, upstream } = await serveScripted(script, {}, store);
    upstream.use([
      (reply) => {
        reply.open();
        const call = { index: 0, id: 'call_1', type: 'function', function: { name: 'f', arguments: '{"a"' } };
        reply.event(chunk({ tool_calls: [call] }));
        reply.event(chunk({}, 'length'));
        reply.event('[DONE]');
        reply.end();
      },
      answerText('after'),
    ]);
    const tools = [{ type: 'function', name: 'f', parameters: {} }];
    const cut = await server.streamed({ model, input: 'x', tools, store: true });
    expect(cut).toMatchObject({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } });
    expect(cut.output).toMatchObject([{ type: 'function_call', status: 'incomplete', arguments: '{"a"' }]);
    const next = await server.respond({ model, input: 'y', previous_response_id: cut.id, store: true });
    expect(textOf(next)).toBe('after');
    expect(JSON.stringify(upstream.requests.at(-1)?.body)).not.toContain('call_1');
    const answered = await server.post('/v1/responses', {
      model,
      previous_response_id: cut.id,
      input: [{ type: 'function_call_output', call_id: 'call_1', output: 'late' }],
    });
    expect(answered.status).toBe(400);
  });

  it('R4 deleting a response of a conversation keeps its items', async () => {
    const { server } = await serveScripted(undefined, {}, store);
    const { body: conversation } = await server.post('/v1/conversations', {});
    const first = await server.respond({ model, input: 'one', conversation: conversation.id });
    await server.delete(`/v1/responses/${first.id}`);
    expect((await server.get(`/v1/responses/${first.id}`)).status).toBe(404);
    expect((await server.get(`/v1/conversations/${conversation.id}/items`)).body.data).toHaveLength(2);
    const next = await server.post('/v1/responses', { model, input: 'y', previous_response_id: first.id });
    expect(next.body.error.code).toBe('previous_response_not_found');
  });

  it('R4 deleting a response of a chain takes its own items along, and later turns stay usable', async () => {
    const { server, upstream } = await serveScripted(undefined, {}, store);
    const first = await server.respond({ model, input: 'one', store: true });
    const second = await server.respond({ model, input: 'two', previous_response_id: first.id, store: true });
    const third = await server.respond({ model, input: 'three', previous_response_id: second.id, store: true });
    expect((await server.delete(`/v1/responses/${second.id}`)).status).toBe(200);
    expect((await server.delete(`/v1/responses/${second.id}`)).status).toBe(404);
    expect((await server.get(`/v1/responses/${second.id}/input_items`)).status).toBe(404);
    await server.respond({ model, input: 'four', previous_response_id: third.id, store: true });
    expect(sentTexts(upstream)).toEqual([
      'user: one',
      'assistant: Hello there',
      'user: three',
      'assistant: Hello there',
      'user: four',
    ]);
    const input = await server.get(`/v1/responses/${third.id}/input_items?order=asc`);
    expect(input.body.data.map((item: { content: { text: string }[] }) => item.content[0]?.text)).toEqual([
      'one',
      'Hello there',
      'three',
    ]);
  });

  it('R5 deleting a conversation deletes its items and responses, and fails a run in progress at once', async () => {
    // Not only when its lease is due.
    const { server, upstream } = await serveScripted(undefined, { 'conversation.lease': '10m' }, store);
    const { body: conversation } = await server.post('/v1/conversations', {});
    const first = await server.respond({ model, input: 'one', conversation: conversation.id });
    const fork = await server.respond({ model, input: 'two', previous_response_id: first.id, store: true });
    upstream.use(hangAfter([chunk({ content: 'slow' })]));
    const open = await server.open({ model, input: 'three', conversation: conversation.id });
    const created = await open.until('response.created');
    await open.until('response.output_text.delta');
    const deleted = await server.delete(`/v1/conversations/${conversation.id}`);
    expect(deleted.body).toEqual({ id: conversation.id, object: 'conversation.deleted', deleted: true });
    const events = await open.rest();
    expect(events.slice(-2).map((each) => each.event)).toEqual(['error', 'response.failed']);
    await upstream.requests.at(-1)?.gone;
    for (const id of [first.id, created.response.id]) {
      expect((await server.get(`/v1/responses/${id}`)).status).toBe(404);
    }
    for (const path of ['', '/items']) {
      expect((await server.get(`/v1/conversations/${conversation.id}${path}`)).status).toBe(404);
    }
    upstream.use(answerText('on'));
    await server.respond({ model, input: 'four', previous_response_id: fork.id, store: true });
    expect(sentTexts(upstream)).toEqual(['user: two', 'assistant: Hello there', 'user: four']);
  });

  it('R6 deleting an item removes it from the list, from contexts, and from every response that shows it', async () => {
    const { server, upstream } = await serveScripted(undefined, {}, store);
    const { body: conversation } = await server.post('/v1/conversations', {});
    const at = `/v1/conversations/${conversation.id}/items`;
    const first = await server.respond({ model, input: 'one', conversation: conversation.id });
    const second = await server.respond({ model, input: 'two', conversation: conversation.id });
    const outputId = first.output[0].id;
    const deleted = await server.delete(`${at}/${outputId}`);
    expect(deleted.body).toEqual(conversation);
    expect((await server.get(`${at}/${outputId}`)).status).toBe(404);
    expect((await server.get(at)).body.data).toHaveLength(3);
    expect((await server.get(`/v1/responses/${first.id}`)).body.output).toEqual([]);
    const shown = await server.get(`/v1/responses/${second.id}/input_items?order=asc`);
    expect(shown.body.data.map((item: { id: string }) => item.id)).not.toContain(outputId);
    await server.respond({ model, input: 'three', conversation: conversation.id });
    expect(sentTexts(upstream)).toEqual(['user: one', 'user: two', 'assistant: Hello there', 'user: three']);
    expect((await server.delete(`${at}/${outputId}`)).status).toBe(404);
  });
});
