import { describe, expect, test } from 'vitest';
import type { Item } from '../../src/api/items.ts';
import type { ModelCall, ModelEvent, ProviderData } from '../../src/model.ts';
import { callsOf, userSays } from '../contracts/model.ts';
import {
  aiSdkScene,
  answerBlocks,
  answerEvents,
  answerParts,
  claude,
  gemini,
  messagesEvents,
  textBlock,
  thinkingBlock,
  toolBlock,
} from './ai-sdk-support.ts';
import { play, types } from './support.ts';

const anthropic = '@ai-sdk/anthropic';
const google = '@ai-sdk/google';
const city = { type: 'object', properties: { city: { type: 'string' } } };
const weather = { type: 'function', name: 'get_weather', description: 'Tells it.', parameters: city } as const;
const crm = { name: 'crm', description: 'Customers.' };

/** What the engine keeps of a turn: its items, and what the provider wants back by the id of a reasoning item. */
function keptOf(events: readonly ModelEvent[], prefix: string) {
  const items: Item[] = [];
  const providerData = new Map<string, ProviderData[]>();
  const byIndex = new Map<number, number>();
  let speaking: 'text' | 'reasoning' | undefined;
  const id = () => `${prefix}_${items.length}`;
  const think = (text: string, data?: ProviderData) => {
    if (speaking !== 'reasoning') items.push({ id: id(), type: 'reasoning', summary: [] });
    speaking = 'reasoning';
    const at = items.length - 1;
    const last = items[at] as Item & { type: 'reasoning' };
    const said = (last.summary[0]?.text ?? '') + text;
    items[at] = { ...last, summary: said === '' ? [] : [{ type: 'summary_text', text: said }] };
    if (data !== undefined)
      providerData.set(last.id, [...(providerData.get(last.id) ?? []), JSON.parse(JSON.stringify(data))]);
  };
  for (const event of events) {
    if (event.type === 'reasoning') think(event.delta);
    else if (event.type === 'provider_data') think('', event.data);
    else if (event.type === 'spoken_end') speaking = undefined;
    else if (event.type === 'text') {
      if (speaking !== 'text') {
        items.push({ id: id(), type: 'message', status: 'completed', role: 'assistant', content: [] });
      }
      speaking = 'text';
      const last = items.at(-1) as Item & { type: 'message' };
      const text = last.content.map((part) => ('text' in part ? part.text : '')).join('') + event.delta;
      items[items.length - 1] = { ...last, content: [{ type: 'output_text', text, annotations: [], logprobs: [] }] };
    } else if (event.type === 'tool_call') {
      speaking = undefined;
      const { name, namespace, kind, callId = '' } = event;
      const call = { id: id(), status: 'completed', call_id: callId, name, ...(namespace && { namespace }) } as const;
      byIndex.set(event.index, items.length);
      items.push(
        kind === 'custom'
          ? { ...call, type: 'custom_tool_call', input: '' }
          : { ...call, type: 'function_call', arguments: '' },
      );
    } else if (event.type === 'tool_arguments') {
      const at = byIndex.get(event.index) ?? -1;
      const call = items[at];
      if (call?.type === 'function_call') items[at] = { ...call, arguments: call.arguments + event.delta };
      if (call?.type === 'custom_tool_call') items[at] = { ...call, input: call.input + event.delta };
    }
  }
  return { items, providerData };
}

function answersTo(items: readonly Item[]): Item[] {
  return items.flatMap((item): Item[] => {
    if (item.type !== 'function_call' && item.type !== 'custom_tool_call') return [];
    const type = item.type === 'function_call' ? 'function_call_output' : 'custom_tool_call_output';
    return [{ id: `o_${item.id}`, type, status: 'completed', call_id: item.call_id, output: `about ${item.call_id}` }];
  });
}

/** Plays a turn with calls and the one after it; what the vendor was sent the second time. */
async function loop(packageName: string, first: Parameters<typeof aiSdkScene>[1], fields: Partial<ModelCall>) {
  await using it = await aiSdkScene(packageName, first);
  const one = await play(it.model, fields);
  const kept = keptOf(one.events, 'a');
  const items = [userSays('Hello'), ...kept.items, ...answersTo(kept.items)];
  await play(it.model, { ...fields, items, providerData: kept.providerData });
  return { events: one.events, body: it.upstream.requests[1]?.body, warnings: it.warnings };
}

describe('a loop of tools', () => {
  test('gives Anthropic its signatures back, block by block', async () => {
    const blocks = [
      thinkingBlock('Let me think.', 'sig-one'),
      [{ type: 'redacted_thinking', data: 'hidden' }],
      thinkingBlock('And again.', 'sig-two'),
      textBlock('I will look.'),
      toolBlock('toolu_1', 'get_weather', '{"city":"Bern"}'),
      toolBlock('toolu_2', 'get_weather', '{"city":"Chur"}'),
    ];
    const { events, body, warnings } = await loop(anthropic, answerBlocks(blocks, 'tool_use'), {
      model: claude,
      tools: [weather],
    });
    expect(types(events).filter((type) => type === 'provider_data')).toHaveLength(3);
    expect(body.messages).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'Hello' }] },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'Let me think.', signature: 'sig-one' },
          { type: 'redacted_thinking', data: 'hidden' },
          { type: 'thinking', thinking: 'And again.', signature: 'sig-two' },
          { type: 'text', text: 'I will look.' },
          { type: 'tool_use', id: 'toolu_1', name: 'get_weather', input: { city: 'Bern' } },
          { type: 'tool_use', id: 'toolu_2', name: 'get_weather', input: { city: 'Chur' } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'toolu_1', content: 'about toolu_1' },
          { type: 'tool_result', tool_use_id: 'toolu_2', content: 'about toolu_2' },
        ],
      },
    ]);
    expect(warnings).toEqual([]);
  });

  test('gives Google its signatures back, of thoughts, of texts and of calls', async () => {
    const parts = [
      { text: 'Thinking ', thought: true },
      { text: 'about it.', thought: true },
      { text: 'I will look.', thoughtSignature: 'c2lnLXRleHQ=' },
      { functionCall: { id: 'c1', name: 'get_weather', args: { city: 'Bern' } }, thoughtSignature: 'c2lnLWNhbGw=' },
      { functionCall: { id: 'c2', name: 'get_weather', args: { city: 'Chur' } } },
    ];
    const { body, events } = await loop(google, answerParts(parts), { model: gemini, tools: [weather] });
    expect(callsOf(events).map(({ arguments: json }) => json)).toEqual(['{"city":"Bern"}', '{"city":"Chur"}']);
    expect(body.contents).toEqual([
      { role: 'user', parts: [{ text: 'Hello' }] },
      {
        role: 'model',
        parts: [
          { text: 'Thinking about it.', thought: true },
          { text: 'I will look.', thoughtSignature: 'c2lnLXRleHQ=' },
          { functionCall: { id: 'c1', name: 'get_weather', args: { city: 'Bern' } }, thoughtSignature: 'c2lnLWNhbGw=' },
          { functionCall: { id: 'c2', name: 'get_weather', args: { city: 'Chur' } } },
        ],
      },
      {
        role: 'user',
        parts: ['c1', 'c2'].map((id) => ({
          functionResponse: { id, name: 'get_weather', response: { name: 'get_weather', content: `about ${id}` } },
        })),
      },
    ]);
  });

  test('sends no reasoning that came from elsewhere, and finds its call though its id was changed', async () => {
    await using it = await aiSdkScene(google, answerParts([{ text: 'ok' }]));
    const reasoning: Item = { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: 'elsewhere' }] };
    const own: Item = { id: 'rs_2', type: 'reasoning', summary: [] };
    const call: Item = {
      id: 'fc',
      type: 'function_call',
      status: 'completed',
      call_id: 'call:of ours',
      name: 'f',
      arguments: '{}',
    };
    const output: Item = {
      id: 'fo',
      type: 'function_call_output',
      status: 'completed',
      call_id: 'call:of ours',
      output: '1',
    };
    const providerData = new Map([['rs_2', [{ call: { google: { thoughtSignature: 'c2ln' } } }]]]);
    await play(it.model, { model: gemini, items: [userSays('Hi'), reasoning, own, call, output], providerData });
    const { raw, body } = await it.upstream.request();
    expect(raw).not.toContain('elsewhere');
    const [{ functionCall, thoughtSignature }] = body.contents[1].parts;
    expect(thoughtSignature).toBe('c2ln');
    expect(functionCall.id).toMatch(/^call_[0-9a-f]{32}$/);
    expect(body.contents[2].parts[0].functionResponse.id).toBe(functionCall.id);
  });

  test('takes custom tools and namespaces both ways', async () => {
    const custom = { type: 'custom', name: 'patch', description: 'Takes a patch.', namespace: crm } as const;
    const lookup = { ...weather, name: 'lookup', namespace: crm } as const;
    const blocks = [
      toolBlock('t1', 'crm__patch', '{"input":"*** Begin\\n\\"x\\""}'),
      toolBlock('t2', 'crm__lookup', '{"city":"Bern"}'),
      toolBlock('t3', 'get_weather', '{"city":"Chur"}'),
    ];
    const fields = { model: claude, tools: [custom, lookup, weather] };
    const { events, body } = await loop(anthropic, answerBlocks(blocks, 'tool_use'), fields);
    expect(events.filter((event) => event.type === 'tool_call')).toEqual([
      { type: 'tool_call', index: 0, callId: 't1', name: 'patch', namespace: 'crm', kind: 'custom' },
      { type: 'tool_call', index: 1, callId: 't2', name: 'lookup', namespace: 'crm' },
      { type: 'tool_call', index: 2, callId: 't3', name: 'get_weather' },
    ]);
    expect(callsOf(events).map(({ arguments: text }) => text)).toEqual([
      '*** Begin\n"x"',
      '{"city":"Bern"}',
      '{"city":"Chur"}',
    ]);
    const names = body.tools.map((tool: { name: string }) => tool.name);
    expect(names).toEqual(['crm__patch', 'crm__lookup', 'get_weather']);
    expect(body.tools[0].input_schema.required).toEqual(['input']);
    expect(body.messages[1].content[0]).toEqual({
      type: 'tool_use',
      id: 't1',
      name: 'crm__patch',
      input: { input: '*** Begin\n"x"' },
    });
    expect(body.messages[1].content[1].name).toBe('crm__lookup');
  });
});

describe('a request', () => {
  const system: Item = {
    id: 'm',
    type: 'message',
    status: 'completed',
    role: 'developer',
    content: [{ type: 'input_text', text: 'Be brief.' }],
  };
  const png = 'iVBORw0KGgo=';
  const user = (...content: (Item & { type: 'message' })['content'][number][]): Item => {
    return { id: 'u', type: 'message', status: 'completed', role: 'user', content };
  };

  test('to Anthropic says all that it can', async () => {
    await using it = await aiSdkScene(anthropic, answerBlocks([textBlock('ok')]));
    await play(it.model, {
      model: claude,
      instructions: 'You are kind.',
      items: [userSays('One'), system, userSays('Two')],
      tools: [weather],
      toolChoice: { type: 'function', name: 'get_weather' },
      parallelToolCalls: false,
      maxOutputTokens: 99,
      temperature: 0.5,
      safetyIdentifier: 'user-7',
      promptCacheKey: 'key',
      serviceTier: undefined,
    });
    const { body, path } = await it.upstream.request();
    expect(path).toBe('/v1/messages');
    expect(body).toMatchObject({
      model: claude,
      max_tokens: 99,
      temperature: 0.5,
      stream: true,
      system: [
        { type: 'text', text: 'You are kind.' },
        { type: 'text', text: 'Be brief.' },
      ],
      messages: [{ role: 'user', content: [{ text: 'One' }, { text: 'Two' }] }],
      tools: [{ name: 'get_weather', description: 'Tells it.', input_schema: city }],
      tool_choice: { type: 'tool', name: 'get_weather', disable_parallel_tool_use: true },
      metadata: { user_id: 'user-7' },
      cache_control: { type: 'ephemeral' },
    });
  });

  test('to Google says all that it can', async () => {
    await using it = await aiSdkScene(google, answerParts([{ text: 'ok' }]));
    await play(it.model, {
      model: gemini,
      instructions: 'You are kind.',
      items: [userSays('One'), system],
      tools: [weather],
      toolChoice: 'required',
      reasoningEffort: 'low',
      reasoningSummary: 'auto',
      serviceTier: 'flex',
      topP: 0.4,
      presencePenalty: 0.3,
    });
    const { body, path } = await it.upstream.request();
    expect(path).toBe(`/v1/models/${gemini}:streamGenerateContent?alt=sse`);
    expect(body).toMatchObject({
      systemInstruction: { parts: [{ text: 'You are kind.' }, { text: 'Be brief.' }] },
      contents: [{ role: 'user', parts: [{ text: 'One' }] }],
      generationConfig: {
        topP: 0.4,
        presencePenalty: 0.3,
        thinkingConfig: { includeThoughts: true, thinkingLevel: 'low' },
      },
      toolConfig: { functionCallingConfig: { mode: 'ANY' } },
      serviceTier: 'flex',
    });
  });

  test.each([
    [anthropic, 'none', { thinking: { type: 'disabled' } }],
    [anthropic, 'high', { thinking: { type: 'enabled' } }],
  ])('asks %s for the effort %s', async (packageName, reasoningEffort, expected) => {
    await using it = await aiSdkScene(packageName, answerBlocks([textBlock('ok')]));
    await play(it.model, { model: claude, reasoningEffort });
    expect((await it.upstream.request()).body).toMatchObject(expected);
  });

  test('holds images and files, by URL or as data', async () => {
    await using it = await aiSdkScene(anthropic, answerBlocks([textBlock('ok')]));
    const items = [
      user(
        { type: 'input_image', image_url: `data:image/png;base64,${png}`, detail: 'auto' },
        { type: 'input_image', image_url: 'https://example.org/cat', detail: 'auto' },
        { type: 'input_file', file_url: 'https://example.org/a.pdf', filename: 'a.pdf' },
        { type: 'input_file', file_data: 'JVBERi0xLjQ=' },
        { type: 'input_file', file_data: 'data:text/csv,a%2Cb', filename: 'b.csv' },
        { type: 'input_file', file_data: Buffer.from('# Hi').toString('base64'), filename: 'c.md' },
      ),
    ];
    await play(it.model, { model: claude, items });
    const { content } = (await it.upstream.request()).body.messages[0];
    expect(content.map((part: { source: unknown }) => part.source)).toEqual([
      { type: 'base64', media_type: 'image/png', data: png },
      { type: 'url', url: 'https://example.org/cat' },
      { type: 'url', url: 'https://example.org/a.pdf' },
      { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0xLjQ=' },
      { type: 'text', media_type: 'text/plain', data: 'a,b' },
      { type: 'text', media_type: 'text/plain', data: '# Hi' },
    ]);
    expect(content[2].title).toBe('a.pdf');
  });

  test('holds the images of an output', async () => {
    const call: Item = {
      id: 'fc',
      type: 'function_call',
      status: 'completed',
      call_id: 'c',
      name: 'f',
      arguments: '{}',
    };
    const output: Item = {
      id: 'fo',
      type: 'function_call_output',
      status: 'completed',
      call_id: 'c',
      output: [
        { type: 'input_text', text: 'Look:' },
        { type: 'input_image', image_url: `data:image/png;base64,${png}`, detail: 'auto' },
      ],
    };
    await using it = await aiSdkScene(anthropic, answerBlocks([textBlock('ok')]));
    await play(it.model, { model: claude, items: [userSays('Hi'), call, output] });
    expect((await it.upstream.request()).body.messages[2].content[0].content).toEqual([
      { type: 'text', text: 'Look:' },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png } },
    ]);
  });

  test('with a URL that the vendor does not read is refused, and nothing is fetched or sent', async () => {
    await using it = await aiSdkScene(google, answerParts([{ text: 'ok' }]));
    const image = { type: 'input_image', image_url: `${it.upstream.url}/cat.png`, detail: 'auto' } as const;
    const { events, error } = await play(it.model, { model: gemini, items: [user(image)] });
    expect(types(events)).toEqual(['end']);
    expect(error).toMatchObject({ kind: 'invalid_request', param: 'input' });
    expect(it.upstream.requests).toEqual([]);
  });

  test('with a file that the package does not know is refused', async () => {
    await using it = await aiSdkScene(anthropic, answerBlocks([textBlock('ok')]));
    const file = { type: 'input_file', file_data: 'data:audio/wav;base64,AAAA' } as const;
    const { error } = await play(it.model, { model: claude, items: [user(file)] });
    expect(error).toMatchObject({
      kind: 'invalid_request',
      message: "Provider `acme` can't take this: media type: audio/wav.",
    });
    expect(it.upstream.requests).toEqual([]);
  });

  test('that the package does not pass on as it is is warned about, once', async () => {
    await using it = await aiSdkScene(anthropic, answerBlocks([textBlock('ok')]));
    await play(it.model, { model: claude, temperature: 1.5 });
    await play(it.model, { model: claude, temperature: 1.5 });
    expect(it.warnings).toHaveLength(1);
    expect(it.warnings[0]?.fields).toMatchObject({ provider: 'acme', warning: { feature: 'temperature' } });
  });
});

describe('what is said', () => {
  test('is told with what was thought, and the model that said it', async () => {
    await using it = await aiSdkScene(anthropic, answerBlocks([thinkingBlock('Hm. Yes.', 'sig'), textBlock('It is.')]));
    const { events } = await play(it.model, { model: claude });
    expect(events.filter(({ type }) => type !== 'usage')).toEqual([
      { type: 'start' },
      { type: 'model', name: 'claude-test-1' },
      { type: 'reasoning', delta: 'Hm. ' },
      { type: 'reasoning', delta: 'Yes.' },
      { type: 'provider_data', data: { reasoning: { anthropic: { signature: 'sig' } } } },
      { type: 'text', delta: 'It ' },
      { type: 'text', delta: 'is.' },
      { type: 'finish' },
      { type: 'end', reason: 'stop' },
    ]);
  });

  test('has its sources as annotations', async () => {
    const grounded = {
      candidates: [
        {
          content: { role: 'model', parts: [{ text: 'It rained.' }] },
          finishReason: 'STOP',
          groundingMetadata: {
            groundingChunks: [
              { web: { uri: 'https://example.org/rain', title: 'Rain' } },
              { web: { uri: 'https://example.org/rain', title: 'Rain' } },
              { web: { uri: 'https://example.org/sun' } },
            ],
          },
        },
      ],
    };
    await using it = await aiSdkScene(google, answerEvents([grounded]));
    const { events } = await play(it.model, { model: gemini });
    const place = { start_index: 10, end_index: 10 };
    expect(events.filter((event) => event.type === 'annotation').map(({ annotation }) => annotation)).toEqual([
      { type: 'url_citation', url: 'https://example.org/rain', title: 'Rain', ...place },
      { type: 'url_citation', url: 'https://example.org/sun', title: 'https://example.org/sun', ...place },
    ]);
  });

  test('leaves out what the vendor ran itself', async () => {
    const blocks = [
      [
        { type: 'server_tool_use', id: 'srv_1', name: 'web_search', input: {} },
        { type: 'input_json_delta', partial_json: '{"query":"x"}' },
      ],
      textBlock('Found.'),
    ];
    await using it = await aiSdkScene(anthropic, answerEvents(messagesEvents(blocks)));
    const { events, end } = await play(it.model, { model: claude });
    expect(types(events)).not.toContain('tool_call');
    expect(end.reason).toBe('stop');
  });
});
