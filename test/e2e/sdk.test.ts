import OpenAI from 'openai';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDemoUpstream } from '../support/demo-upstream.ts';
import { serve, storeSettings, storeTypes } from '../support/harness.ts';
import { everyEvent, everyItem } from '../support/responses-tour.ts';
import { startUpstream } from '../support/upstream.ts';
import { hostedEventTypes } from '../support/wire-hosted.ts';

const tools: OpenAI.Responses.FunctionTool[] = [
  {
    type: 'function',
    name: 'get_weather',
    description: 'Tells the weather of a city',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    },
    strict: true,
  },
];

describe.each(storeTypes)('the openai SDK, with a changed base_url alone, on %s', (store) => {
  const connect = async (settings: Record<string, string> = {}) => {
    const server = await serve({ ...(await storeSettings(store)), ...settings });
    return server.client();
  };

  it('creates, retrieves, lists and deletes a response', async () => {
    const client = await connect();
    const created = await client.responses.create({ model: 'demo', input: 'Say exactly: hello', store: true });
    expect(created.output_text).toBe('hello');
    const found = await client.responses.retrieve(created.id);
    expect(found).toEqual(created);
    const items = await Array.fromAsync(await client.responses.inputItems.list(created.id));
    expect(items).toMatchObject([{ type: 'message', role: 'user', status: 'completed' }]);
    await client.responses.delete(created.id);
    await expect(client.responses.retrieve(created.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it('streams: the helper accepts the order of events, and the stored response is the final one', async () => {
    const client = await connect();
    for (const input of [
      'Say exactly: one two three',
      'What is the weather in Oslo and in Rome?',
      'demo: think',
      'demo: refuse',
    ]) {
      const stream = client.responses.stream({ model: 'demo', input, tools, store: true });
      const types: string[] = [];
      stream.on('event', (event) => types.push(event.type));
      const final = await stream.finalResponse();
      expect(types[0]).toBe('response.created');
      expect(types.at(-1)).toBe('response.completed');
      const { output_text, ...stored } = await client.responses.retrieve(final.id);
      expect(output_text).toBe(final.output_text);
      expect({ id: final.id, status: final.status }).toEqual({ id: stored.id, status: 'completed' });
      expect(final.output.map((item) => item.id)).toEqual(stored.output.map((item) => item.id));
    }
  });

  it('the helper throws when a stream fails midway, and the stored response says failed', async () => {
    const client = await connect();
    const stream = client.responses.stream({ model: 'demo', input: 'demo: fail midway', store: true });
    const ids: string[] = [];
    stream.on('response.created', (event) => ids.push(event.response.id));
    await expect(stream.finalResponse()).rejects.toThrow();
    expect((await client.responses.retrieve(ids[0] ?? '')).status).toBe('failed');
  });

  it('parses structured output', async () => {
    const client = await connect();
    const schema = {
      type: 'object',
      properties: { name: { type: 'string' } },
      required: ['name'],
      additionalProperties: false,
    };
    const parsed = await client.responses.parse({
      model: 'demo',
      input: 'My name is Ada',
      text: { format: { type: 'json_schema', name: 'person', schema, strict: true } },
    });
    expect(typeof JSON.parse(parsed.output_text).name).toBe('string');
    const again = await client.responses.create({
      model: 'demo',
      input: [
        { role: 'user', content: 'x' },
        ...(parsed.output as OpenAI.Responses.ResponseInputItem[]),
        { role: 'user', content: 'Say exactly: ok' },
      ],
    });
    expect(again.output_text).toBe('ok');
  });

  it('keeps a conversation', async () => {
    const client = await connect();
    const conversation = await client.conversations.create({
      metadata: { topic: 'demo' },
      items: [{ type: 'message', role: 'user', content: 'My name is Ada.' }],
    });
    const response = await client.responses.create({
      model: 'demo',
      input: 'What is my name?',
      conversation: conversation.id,
    });
    expect(response.output_text).toContain('Ada');
    const added = await client.conversations.items.create(conversation.id, {
      items: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Bye.' }] }],
    });
    const all = await Array.fromAsync(
      await client.conversations.items.list(conversation.id, { limit: 2, order: 'asc' }),
    );
    expect(all).toHaveLength(4);
    expect(all.at(-1)).toEqual(added.data[0]);
    const id = added.data[0]?.id ?? '';
    expect(await client.conversations.items.retrieve(id, { conversation_id: conversation.id })).toEqual(added.data[0]);
    expect(await client.conversations.items.delete(id, { conversation_id: conversation.id })).toEqual(conversation);
    const updated = await client.conversations.update(conversation.id, { metadata: { topic: 'other' } });
    expect(updated.metadata).toEqual({ topic: 'other' });
    expect(await client.conversations.retrieve(conversation.id)).toEqual(updated);
    const deleted = await client.conversations.delete(conversation.id);
    expect(deleted).toEqual({ id: conversation.id, object: 'conversation.deleted', deleted: true });
    await expect(client.conversations.retrieve(conversation.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it('plays whole with store.default=true and two aliases, without ever sending store', async () => {
    const upstream = await startDemoUpstream();
    onTestFinished(() => upstream.close());
    const client = await connect({
      'store.default': 'true',
      'providers.lab.base-url': upstream.url,
      'models.gpt-5': 'lab/large',
      'models.gpt-5-mini': 'demo/small',
    });
    const names = await Array.fromAsync(await client.models.list());
    expect(names.map((model) => model.id)).toEqual(expect.arrayContaining(['gpt-5', 'gpt-5-mini', 'demo']));

    const created = await client.responses.create({ model: 'gpt-5', input: 'Hello' });
    expect(await client.responses.retrieve(created.id)).toEqual(created);
    expect(created.model).toBe('large');

    const asked = await client.responses.create({ model: 'gpt-5', input: 'What is the weather in Paris?', tools });
    const call = asked.output[0];
    if (call?.type !== 'function_call') throw new Error('no call');
    const answered = await client.responses.create({
      model: 'gpt-5-mini',
      previous_response_id: asked.id,
      tools,
      input: [{ type: 'function_call_output', call_id: call.call_id, output: 'sunny' }],
    });
    expect(answered.output_text).toContain('sunny');

    const conversation = await client.conversations.create();
    await client.responses.create({ model: 'gpt-5', input: 'The code word is plum.', conversation: conversation.id });
    const second = await client.responses.create({
      model: 'gpt-5-mini',
      input: 'What is the code word?',
      conversation: conversation.id,
    });
    expect(second.output_text).toContain('plum');
  });

  it.each(['summary', 'openai'])('the helper takes reasoning as reasoning.events=%s', async (form) => {
    const client = await connect({ 'reasoning.events': form, 'stream.join-deltas': 'false' });
    const stream = client.responses.stream({ model: 'demo', input: 'demo: think hard', store: true });
    const deltas: string[] = [];
    stream.on('event', (event) => {
      if (event.type.startsWith('response.reasoning') && 'delta' in event) deltas.push(String(event.delta));
    });
    const final = await stream.finalResponse();
    const [item] = final.output;
    if (item?.type !== 'reasoning') throw new Error('no reasoning');
    const parts = form === 'summary' ? item.summary : (item.content ?? []);
    expect(parts.map(({ text }) => text)).toEqual([deltas.join('')]);
    expect(deltas.length).toBeGreaterThan(1);
    expect(form === 'summary' ? item.content : item.summary).toEqual(form === 'summary' ? undefined : []);
    expect((await client.responses.retrieve(final.id)).output).toMatchObject([{ id: item.id }, { type: 'message' }]);
  });

  it.each(['summary', 'openai'])('the helper takes all that an upstream may say, reasoning as %s', async (form) => {
    const upstream = await startUpstream(everyEvent);
    onTestFinished(() => upstream.close());
    const client = await connect({
      'providers.up.base-url': upstream.url,
      'providers.up.api': 'responses',
      'providers.up.profile': 'openai',
      'reasoning.events': form,
    });
    const stream = client.responses.stream({ model: 'up/m', input: 'x', tools: [{ type: 'web_search' }], store: true });
    const types = new Set<string>();
    stream.on('event', (event) => types.add(event.type));
    const final = await stream.finalResponse();
    expect(final.output.map(({ type }) => type)).toEqual(everyItem.map(({ item }) => item['type']));
    for (const type of hostedEventTypes) expect(types).toContain(type);
    for (const type of ['custom_tool_call_input.delta', 'output_text.annotation.added']) {
      expect(types).toContain(`response.${type}`);
    }
    const stored = await client.responses.retrieve(final.id);
    expect(stored.output.map(({ id }) => id)).toEqual(final.output.map(({ id }) => id));
    const input = [...(stored.output as OpenAI.Responses.ResponseInputItem[]), ...outputsOf(stored)];
    const again = await client.responses.create({ model: 'up/m', input });
    expect(again.status).toBe('completed');
  });

  it('calls custom tools and tools of namespaces, and counts tokens', async () => {
    const client = await connect();
    const custom: OpenAI.Responses.CustomTool = { type: 'custom', name: 'run_code', description: 'Runs a program' };
    const asked = await client.responses.create({ model: 'demo', input: 'Run the code print(1)', tools: [custom] });
    const [call] = asked.output;
    if (call?.type !== 'custom_tool_call') throw new Error('no call');
    const output = { type: 'custom_tool_call_output', call_id: call.call_id, output: 'one' } as const;
    const input = [{ role: 'user', content: 'Run the code print(1)' } as const, call, output];
    const answered = await client.responses.create({ model: 'demo', input, tools: [custom] });
    expect(answered.output_text).toContain('one');
    const counted = await client.responses.inputTokens.count({ model: 'demo', input, tools: [custom] });
    expect(counted.input_tokens).toBe(answered.usage?.input_tokens);
  });
});

/** An output for every call that the client has to answer. */
function outputsOf(response: OpenAI.Responses.Response): OpenAI.Responses.ResponseInputItem[] {
  return response.output.flatMap((item): OpenAI.Responses.ResponseInputItem[] => {
    if (item.type === 'function_call') return [{ type: 'function_call_output', call_id: item.call_id, output: 'x' }];
    if (item.type !== 'custom_tool_call') return [];
    return [{ type: 'custom_tool_call_output', call_id: item.call_id, output: 'x' }];
  });
}
