import { describe, expect, it } from 'vitest';
import type { Json, WireEvent } from '../support/harness.ts';
import { answerItems, message, reasoning } from '../support/responses-upstream.ts';
import { serveScripted } from '../support/scripted-server.ts';
import {
  answerSse,
  answerText,
  chunk,
  completion,
  type Handler,
  startUpstream,
  usageChunk,
} from '../support/upstream.ts';

const thought = 'Let me think about it.';

/** A chat-completions upstream that thinks, then does what `last` says. */
function thinks(field: string, last: object = { content: 'Done.' }, finish = 'stop'): Handler {
  return (reply, request) => {
    if (request.body.stream !== true) {
      reply.json(completion({ content: null, [field]: thought, ...last }, finish));
      return;
    }
    const half = thought.slice(0, 10);
    const deltas = [{ [field]: half }, { [field]: thought.slice(10) }, last];
    answerSse([...deltas.map((delta) => chunk(delta)), chunk({}, finish), usageChunk])(reply, request);
  };
}

const called = (more: object = {}) => {
  const call = { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{}' }, ...more };
  return { tool_calls: [{ index: 0, ...call }] };
};
const tools = [{ type: 'function', name: 'look' }];
const user = { role: 'user', content: 'x' };
const output = { type: 'function_call_output', call_id: 'call_1', output: 'seen' };

const protocols = [
  ['chat-completions', thinks('reasoning_content')],
  ['responses', answerItems([reasoning({ text: thought }), message('Done.')])],
] as const;

const forms = [
  ['summary', 'response.reasoning_summary_text', { summary: [{ type: 'summary_text', text: thought }] }],
  ['openai', 'response.reasoning_text', { summary: [], content: [{ type: 'reasoning_text', text: thought }] }],
  ['openresponses', 'response.reasoning', { summary: [], content: [{ type: 'reasoning_text', text: thought }] }],
] as const;

/** The response as the end of a stream shows it. */
function last(events: readonly WireEvent[]): Json {
  return events.at(-1)?.data.response;
}

function typesOf(events: readonly WireEvent[]): string[] {
  return events.map(({ event }) => event).filter((type) => type.includes('reasoning'));
}

describe.each(protocols)('reasoning text of %s', (api, script) => {
  it.each(forms)('is told as reasoning.events=%s', async (form, events, item) => {
    const { server } = await serveScripted(script, { 'providers.up.api': api, 'reasoning.events': form });
    const request = { model: 'm', input: 'x' };
    const stream = await server.stream(request);
    const { id, ...said }: Json = last(stream.events).output[0];
    expect(id).toMatch(/^rs_/);
    expect(said).toEqual({ type: 'reasoning', ...item });
    const types = new Set(typesOf(stream.events).filter((type) => !type.startsWith('response.reasoning_summary_part')));
    expect(types).toEqual(new Set([`${events}.delta`, `${events}.done`]));
    const { id: _, ...whole } = (await server.respond(request)).output[0];
    expect(whole).toEqual(said);
  });
});

it('what the upstream calls a summary stays one, in every form', async () => {
  for (const [form] of forms) {
    const script = answerItems([reasoning({ summary: ['One.', 'Two.'], text: thought }), message('Done.')]);
    const { server } = await serveScripted(script, { 'providers.up.api': 'responses', 'reasoning.events': form });
    const [item] = (await server.streamed({ model: 'm', input: 'x' })).output;
    const texts = item.summary.map(({ text }: Json) => text);
    expect(texts.slice(-2)).toEqual(['One.', 'Two.']);
    expect(form === 'summary' ? texts[0] : item.content[0].text).toBe(thought);
  }
});

describe('what a provider wants back', () => {
  const vllm = { 'providers.up.profile': 'vllm' };
  const ask = { model: 'm', input: [user], tools, store: false };

  /** A turn that calls, then one that brings the output and everything that the first one said. */
  async function twoTurns(settings: Record<string, string>, script: Handler, change = (items: Json) => items) {
    const { server, upstream } = await serveScripted([script, answerText('Bye')], settings);
    const first = await server.streamed(ask);
    expect(first.store).toBe(false);
    const input = [user, ...change(structuredClone(first.output)), output];
    await server.respond({ ...ask, input });
    const messages: Json[] = upstream.requests.at(-1)?.body.messages;
    return { first, sent: messages.find(({ role }) => role === 'assistant'), server, upstream };
  }

  it('travels sealed with the reasoning item, unstored, and goes back', async () => {
    const { first, sent } = await twoTurns(vllm, thinks('reasoning', called(), 'tool_calls'));
    expect(first.output.map(({ type }: Json) => type)).toEqual(['reasoning', 'function_call']);
    expect(first.output[0].encrypted_content).toMatch(/^orsp1\.[\w-]{40,}$/);
    expect(sent).toMatchObject({ reasoning: thought, tool_calls: [{ id: 'call_1' }] });
  });

  it('comes from the store too', async () => {
    const script = thinks('reasoning', called(), 'tool_calls');
    const { server, upstream } = await serveScripted([script, answerText('Bye')], vllm);
    const first = await server.respond({ ...ask, store: true });
    await server.respond({ ...ask, input: [output], previous_response_id: first.id });
    expect(upstream.requests.at(-1)?.body.messages[1]).toMatchObject({ reasoning: thought });
    const { body } = await server.get(`/v1/responses/${first.id}`);
    expect(body.output[0]).toEqual(first.output[0]);
  });

  it('is found again by the order of items: signatures of calls, of which nobody thought aloud', async () => {
    const extra_content = { google: { thought_signature: 'c2lnbmF0dXJl' } };
    const script: Handler = (reply, request) =>
      answerSse([chunk(called({ extra_content })), chunk({}, 'tool_calls'), usageChunk])(reply, request);
    const { first, sent } = await twoTurns({ 'providers.up.profile': 'gemini' }, script);
    expect(first.output[0]).toMatchObject({ type: 'reasoning', summary: [] });
    expect(JSON.stringify(first)).not.toContain('c2lnbmF0dXJl');
    expect(sent.tool_calls[0].extra_content).toEqual(extra_content);
  });

  const sealed = (change: (value: string) => string) => (items: Json) => {
    const [first, ...rest] = items;
    return [{ ...first, encrypted_content: change(first.encrypted_content) }, ...rest];
  };

  it.each<[string, (items: Json) => Json]>([
    ['changed', sealed((value) => `${value.slice(0, -4)}AAAA`)],
    ['cut', sealed(() => 'orsp1.')],
    ['from elsewhere', sealed(() => 'gAAAAABo-not-ours')],
    ['empty', sealed(() => '')],
    ['left out', ([item, ...rest]) => [{ ...item, encrypted_content: null }, ...rest]],
    ['without its item', (items) => items.slice(1)],
  ])('is taken and left out where it is %s', async (_what, change) => {
    const { sent } = await twoTurns(vllm, thinks('reasoning', called(), 'tool_calls'), change);
    expect(sent).toMatchObject({ tool_calls: [{ id: 'call_1' }] });
    expect(JSON.stringify(sent)).not.toMatch(/think about|orsp1|not-ours/);
  });

  it('opens for its own tenant only', async () => {
    const script = thinks('reasoning', called(), 'tool_calls');
    const { server, upstream } = await serveScripted([script, answerText('Bye')], vllm);
    const first = await server.respond(ask, { authorization: 'Bearer one' });
    const next = { ...ask, input: [user, ...first.output, output] };
    await server.respond(next, { authorization: 'Bearer other' });
    expect(upstream.requests.at(-1)?.body.messages[1]).not.toHaveProperty('reasoning');
    await server.respond(next, { authorization: 'Bearer one' });
    expect(upstream.requests.at(-1)?.body.messages[1]).toMatchObject({ reasoning: thought });
  });

  it('opens on every server that has the secret, and on no other', async () => {
    const secret = 'a secret of more than thirty-two characters';
    const script = thinks('reasoning', called(), 'tool_calls');
    const { server } = await serveScripted(script, { ...vllm, secret });
    const first = await server.respond(ask);
    for (const [settings, isOpened] of [
      [{ ...vllm, secret }, true],
      [{ ...vllm, secret: `${secret}!` }, false],
      [vllm, false],
    ] as const) {
      const other = await serveScripted(answerText('Bye'), settings);
      await other.server.respond({ ...ask, input: [user, ...first.output, output] });
      const [, sent] = other.upstream.requests.at(-1)?.body.messages ?? [];
      expect(sent.reasoning).toBe(isOpened ? thought : undefined);
    }
  });

  it('goes to the provider that said it, whoever else is asked in between', async () => {
    const other = await startUpstream(answerText('Hello'));
    const { server, upstream } = await serveScripted([thinks('reasoning'), answerText('Bye')], {
      ...vllm,
      'providers.other.base-url': other.url,
      'providers.other.profile': 'vllm',
    });
    const first = await server.respond({ ...ask, store: true });
    const second = await server.respond({
      ...{ model: 'other/m', input: 'y', previous_response_id: first.id, store: true },
    });
    expect(other.requests[0]?.raw).not.toContain(thought);
    expect(other.requests[0]?.raw).toContain('Done.');
    await server.respond({ model: 'm', input: 'z', previous_response_id: second.id });
    expect(upstream.requests.at(-1)?.body.messages[1]).toMatchObject({ content: 'Done.', reasoning: thought });
    await other.close();
  });

  it('is passed on as it is where the upstream itself encrypted it, and only to its provider', async () => {
    const sealed = answerItems([reasoning({ summary: ['One.'], encrypted: 'theirs-alone' }), message('Done.')]);
    const other = await startUpstream(answerItems([message('Hello')]));
    const { server, upstream } = await serveScripted([sealed, answerItems([message('Bye')])], {
      'providers.up.api': 'responses',
      'providers.other.base-url': other.url,
      'providers.other.api': 'responses',
    });
    const first = await server.streamed({ model: 'm', input: 'x' });
    expect(first.output[0].encrypted_content).toBe('theirs-alone');
    const input = [user, ...first.output, { role: 'user', content: 'y' }];
    await server.respond({ model: 'm', input });
    expect(upstream.requests.at(-1)?.raw).toContain('theirs-alone');
    await server.respond({ model: 'other/m', input });
    expect(other.requests.at(-1)?.raw).not.toContain('theirs-alone');
    await other.close();
  });
});
