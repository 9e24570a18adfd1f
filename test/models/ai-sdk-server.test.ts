import { describe, expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { type Json, serve } from '../support/harness.ts';
import { answerStatus, type Handler, startUpstream } from '../support/upstream.ts';
import { answerBlocks, answerParts, claude, gemini, textBlock, thinkingBlock, toolBlock } from './ai-sdk-support.ts';

const weather = {
  type: 'function',
  name: 'get_weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
};

/** A server whose provider is a scripted vendor, called through its package. */
async function serveThrough(packageName: string, script: Handler | readonly Handler[]) {
  const upstream = await startUpstream(script);
  onTestFinished(() => upstream.close());
  const server = await serve({
    'providers.up.api': 'ai-sdk',
    'providers.up.package': packageName,
    'providers.up.base-url': upstream.url,
    'providers.up.api-key': 'sk-of-the-server',
    'default-provider': 'up',
    'upstream.max-retries': '0',
  });
  return { server, upstream };
}

const claudeTurn = answerBlocks(
  [thinkingBlock('I need the weather.', 'sig-1'), toolBlock('toolu_1', 'get_weather', '{"city":"Bern"}')],
  'tool_use',
);
const geminiTurn = answerParts([
  { text: 'I need the weather.', thought: true },
  { functionCall: { id: 'c1', name: 'get_weather', args: { city: 'Bern' } }, thoughtSignature: 'c2lnLTE=' },
]);

/** What went back to the vendor for the turn before, in the second request. */
const claudeBack = [
  { type: 'thinking', thinking: 'I need the weather.', signature: 'sig-1' },
  { type: 'tool_use', id: expect.any(String), name: 'get_weather', input: { city: 'Bern' } },
];
const geminiBack = [
  { text: 'I need the weather.', thought: true },
  {
    functionCall: { id: expect.any(String), name: 'get_weather', args: { city: 'Bern' } },
    thoughtSignature: 'c2lnLTE=',
  },
];

const vendors: [string, string, Handler, Handler, (body: Json) => unknown, unknown][] = [
  [
    '@ai-sdk/anthropic',
    claude,
    claudeTurn,
    answerBlocks([textBlock('Rain.')]),
    (body) => body.messages[1].content,
    claudeBack,
  ],
  [
    '@ai-sdk/google',
    gemini,
    geminiTurn,
    answerParts([{ text: 'Rain.' }]),
    (body) => body.contents[1].parts,
    geminiBack,
  ],
];

describe.each(vendors)('a server that calls %s', (packageName, model, first, second, back, expected) => {
  const outputFor = (response: Json) => {
    const call = response.output.find(({ type }: Json) => type === 'function_call');
    expect(call).toMatchObject({ name: 'get_weather', arguments: '{"city":"Bern"}' });
    return { type: 'function_call_output', call_id: call.call_id, output: 'rain' };
  };

  test('gives signatures back in a chain that it stores', async () => {
    const { server, upstream } = await serveThrough(packageName, [first, second]);
    const asked = await server.streamed({ model, tools: [weather], input: 'How is it?', store: true });
    const input = [outputFor(asked)];
    const told = await server.respond({ model, tools: [weather], input, previous_response_id: asked.id });
    expect(told.output.at(-1).content[0].text).toBe('Rain.');
    expect(told.usage.total_tokens).toBeGreaterThan(0);
    expect(back(upstream.requests[1]?.body)).toEqual(expected);
  });

  test('gives signatures back that came with the client, sealed', async () => {
    const { server, upstream } = await serveThrough(packageName, [first, second]);
    const asked = await server.respond({
      model,
      tools: [weather],
      input: 'How is it?',
      store: false,
      include: ['reasoning.encrypted_content'],
    });
    expect(JSON.stringify(asked)).not.toMatch(/sig-1|c2lnLTE/);
    const input = [{ role: 'user', content: 'How is it?' }, ...asked.output, outputFor(asked)];
    await server.respond({ model, tools: [weather], input, store: false });
    expect(back(upstream.requests[1]?.body)).toEqual(expected);
  });

  test('tells errors of the vendor as plain HTTP', async () => {
    const { server } = await serveThrough(packageName, answerStatus(429, '', { 'retry-after': '3' }));
    const { status, headers, body } = await server.post('/v1/responses', { model, input: 'Hi', stream: true });
    expect(status).toBe(429);
    expect(headers.get('retry-after')).toBe('3');
    expect(body.error.code).toBe('rate_limit_exceeded');
  });
});

describe('a start', () => {
  const start = (settings: Record<string, string>) =>
    serve({ 'providers.up.base-url': 'http://127.0.0.1:9', ...settings });

  test.each([
    [{ 'providers.up.api': 'ai-sdk' }, /providers\.up\.api: 'ai-sdk' needs a package/],
    [{ 'providers.up.package': '@ai-sdk/anthropic' }, /providers\.up\.package needs .*providers\.up\.api=ai-sdk/],
    [
      { 'providers.up.api': 'ai-sdk', 'providers.up.package': '@ai-sdk/nowhere' },
      /is not installed\. Run: npm i @ai-sdk\/nowhere$/,
    ],
    [{ 'providers.up.api': 'ai-sdk', 'providers.up.package': 'zod' }, /exports no `create…` function/],
  ] as [Record<string, string>, RegExp][])('is refused with %j', async (settings, message) => {
    await expect(start(settings)).rejects.toThrow(message);
  });

  test.each(['../evil', '/etc/passwd', 'file:///x', 'a b', '@x', 'a/../b', ''])(
    'takes no package called %j',
    (name) => {
      const argv = [`--providers.up.package=${name}`];
      expect(() => loadConfig({ argv, env: {}, readFile: () => '' })).toThrow(/npm package/);
    },
  );

  test('takes the address of the vendor where none is given', async () => {
    const server = await serve({ 'providers.claude.api': 'ai-sdk', 'providers.claude.package': '@ai-sdk/anthropic' });
    expect(server.running.models.join('\n')).toContain('claude/MODEL: https://api.anthropic.com/v1');
  });
});
