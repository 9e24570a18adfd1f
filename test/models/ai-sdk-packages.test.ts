import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anthropic from '@ai-sdk/anthropic/package.json' with { type: 'json' };
import google from '@ai-sdk/google/package.json' with { type: 'json' };
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Item } from '../../src/api/items.ts';
import type { ProviderData } from '../../src/model.ts';
import { type LoadedPackage, loadPackage } from '../../src/models/ai-sdk/load.ts';
import { callsOf, userSays } from '../contracts/model.ts';
import { answerStatus, type Handler } from '../support/upstream.ts';
import { aiSdkScene, vendors } from './ai-sdk-support.ts';
import { play, types } from './support.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'open-responses-packages-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Puts a package where an operator would have installed it. */
async function install(name: string, code: string): Promise<void> {
  const home = join(folder, 'node_modules', name);
  await mkdir(home, { recursive: true });
  await writeFile(join(home, 'package.json'), JSON.stringify({ name, type: 'module', exports: './code.js' }));
  await writeFile(join(home, 'code.js'), code);
}

/** A package whose vendor speaks the parts of the specification themselves, one in a line. */
const plainVendor = (version: string) => `
  export const createPlain = ({ baseURL, apiKey, fetch }) => ({
    languageModel: (modelId) => ({
      specificationVersion: '${version}',
      supportedUrls: { 'image/*': [/^https:/] },
      async doStream({ abortSignal: signal, ...options }) {
        const headers = { authorization: 'Bearer ' + apiKey, 'content-type': 'application/json' };
        const body = JSON.stringify({ modelId, ...options });
        const response = await fetch(baseURL + '/say', { method: 'POST', headers, body, signal });
        if (!response.ok) throw new Error(await response.text());
        let rest = '';
        const lines = new TransformStream({
          transform(text, controller) {
            const parts = (rest + text).split('\\n');
            rest = parts.pop();
            for (const part of parts) controller.enqueue(JSON.parse(part));
          },
        });
        return { stream: response.body.pipeThrough(new TextDecoderStream()).pipeThrough(lines) };
      },
    }),
  });
`;

const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } };
const stop = { type: 'finish', finishReason: { unified: 'stop', raw: 'STOP' }, usage };

/** Answers with parts, one in a line. */
function answerLines(parts: readonly object[]): Handler {
  return (reply) => {
    reply.open(200, { 'content-type': 'application/x-ndjson' });
    reply.response.end(parts.map((part) => `${JSON.stringify(part)}\n`).join(''));
  };
}

async function plain(version: 'v3' | 'v4'): Promise<LoadedPackage> {
  await install(`@acme/plain-${version}`, plainVendor(version));
  return loadPackage(`@acme/plain-${version}`, 'acme', [folder]);
}

describe('a package', () => {
  test('that is not installed is named with the command that installs it', async () => {
    await expect(loadPackage('@ai-sdk/not-there', 'claude', [folder])).rejects.toThrow(
      'open-responses.providers.claude.package: @ai-sdk/not-there is not installed. Run: npm i @ai-sdk/not-there',
    );
    await expect(loadPackage('@acme/not/there', 'claude', [folder])).rejects.toThrow(/npm i @acme\/not$/);
  });

  test('is found in the first folder that has it', async () => {
    await install('plain', plainVendor('v4'));
    const loaded = await loadPackage('plain', 'acme', [tmpdir(), folder]);
    expect(loaded).toMatchObject({ name: 'plain', version: 'v4' });
  });

  test.each([
    ['broken', 'throw new Error("it is broken")', /could not be loaded: it is broken$/],
    ['other', 'export const hello = 1;', /exports no `create…` function/],
    ['several', 'export const createOne = () => 1; export const createTwo = () => 2;', /exports no `create…` function/],
    ['embeddings', 'export const createIt = () => ({});', /makes no language models: it has no languageModel\(\)$/],
    ['old', plainVendor('v2'), /speaks version v2 of the AI SDK's specification.*install another release/],
  ])('that can not be used is refused: %s', async (name, code, message) => {
    await install(name, code);
    await expect(loadPackage(name, 'acme', [folder])).rejects.toThrow(message);
  });

  test.each(vendors.map(({ packageName }) => packageName))('of the AI SDK is known: %s', async (packageName) => {
    const { habits, version } = await loadPackage(packageName, 'acme');
    expect(version).toBe('v4');
    expect(habits.baseUrl).toMatch(/^https:/);
  });
});

describe.each(['v3', 'v4'] as const)('a package of %s', (version) => {
  const look = { type: 'function', name: 'look' } as const;
  const patch = { type: 'custom', name: 'patch' } as const;
  const scene = async (parts: readonly object[]) =>
    aiSdkScene('', answerLines(parts), { loaded: await plain(version) });

  test('is asked in its own form', async () => {
    await using it = await scene([stop]);
    const image = { type: 'input_image', detail: 'auto' } as const;
    const user: Item = {
      id: 'u',
      type: 'message',
      status: 'completed',
      role: 'user',
      content: [
        { ...image, image_url: 'data:image/png;base64,AAAA' },
        { ...image, image_url: 'https://example.org/a.jpg' },
      ],
    };
    await play(it.model, { items: [user], reasoningEffort: 'low', model: 'big' });
    const { body, headers } = await it.upstream.request();
    expect(headers['authorization']).toBe('Bearer sk-the-servers-own-key');
    expect(body.modelId).toBe('big');
    expect(it.model.features.reasoningEffort).toBe(version === 'v4');
    expect(body.reasoning).toBe(version === 'v4' ? 'low' : undefined);
    const url = 'https://example.org/a.jpg';
    expect(body.prompt[0].content.map((part: { data: unknown }) => part.data)).toEqual(
      version === 'v4'
        ? [
            { type: 'data', data: 'AAAA' },
            { type: 'url', url },
          ]
        : ['AAAA', url],
    );
  });

  test('gives the files of an output in a user message, where outputs hold none', async () => {
    await using it = await scene([stop]);
    const image = { type: 'input_image', image_url: 'data:image/png;base64,AAAA', detail: 'auto' } as const;
    const call: Item = {
      id: 'fc',
      type: 'function_call',
      status: 'completed',
      call_id: 'c',
      name: 'look',
      arguments: '{}',
    };
    const output: Item = { id: 'fo', type: 'function_call_output', status: 'completed', call_id: 'c', output: [image] };
    await play(it.model, { items: [userSays('Hi'), call, output] });
    const { prompt } = (await it.upstream.request()).body;
    expect(prompt.map(({ role }: { role: string }) => role)).toEqual(['user', 'assistant', 'tool', 'user']);
    expect(prompt[3].content.map(({ type }: { type: string }) => type)).toEqual(['text', 'file']);
  });

  test('may interleave its calls, and leave out what begins them', async () => {
    await using it = await scene([
      { type: 'tool-input-start', id: 'a', toolName: 'look' },
      { type: 'tool-input-start', id: 'b', toolName: 'look' },
      { type: 'tool-input-delta', id: 'b', delta: '{"b":' },
      { type: 'tool-input-delta', id: 'a', delta: '{}' },
      { type: 'tool-input-delta', id: 'b', delta: '1}' },
      { type: 'tool-call', toolCallId: 'a', toolName: 'look', input: '{}' },
      { type: 'tool-call', toolCallId: 'b', toolName: 'look', input: '{"b":1}' },
      { type: 'tool-call', toolCallId: 'c', toolName: 'look', input: '{"c":2}' },
      { type: 'tool-input-start', id: 'd', toolName: 'patch', inputEncoding: 'text' },
      { type: 'tool-input-delta', id: 'd', delta: 'as it is' },
      { type: 'tool-call', toolCallId: 'd', toolName: 'patch', input: '"as it is"' },
      stop,
    ]);
    const { events, end } = await play(it.model, { tools: [look, patch] });
    expect(end.reason).toBe('stop');
    expect(callsOf(events)).toEqual([
      { id: 'a', name: 'look', arguments: '{}' },
      { id: 'b', name: 'look', arguments: '{"b":1}' },
      { id: 'c', name: 'look', arguments: '{"c":2}' },
      { id: 'd', name: 'patch', arguments: 'as it is' },
    ]);
  });

  test('gets back what it told of a call only at the end of it', async () => {
    const providerMetadata = { plain: { sign: 'late' } };
    const script = [
      { type: 'tool-input-start', id: 'a', toolName: 'look' },
      { type: 'tool-input-start', id: 'b', toolName: 'look' },
      { type: 'tool-call', toolCallId: 'a', toolName: 'look', input: '{}', providerMetadata },
      { type: 'tool-call', toolCallId: 'b', toolName: 'look', input: '{}' },
      stop,
    ];
    await using it = await scene(script);
    const { events } = await play(it.model, { tools: [look] });
    const data = events.flatMap((event): ProviderData[] => (event.type === 'provider_data' ? [event.data] : []));
    expect(data).toEqual([{ call: providerMetadata, after: 2 }]);
    const call = { type: 'function_call', status: 'completed', name: 'look', arguments: '{}' } as const;
    const output = { type: 'function_call_output', status: 'completed', output: '' } as const;
    const items: Item[] = [
      userSays('Hi'),
      { ...call, id: '1', call_id: 'a' },
      { ...call, id: '2', call_id: 'b' },
      { id: 'rs', type: 'reasoning', summary: [] },
      { ...output, id: '3', call_id: 'a' },
      { ...output, id: '4', call_id: 'b' },
    ];
    await play(it.model, { items, providerData: new Map([['rs', data]]) });
    const [, assistant] = it.upstream.requests[1]?.body.prompt ?? [];
    expect(assistant.content.map((part: { providerOptions?: object }) => part.providerOptions)).toEqual([
      providerMetadata,
      undefined,
    ]);
  });

  test('may cite words of the text, or name what it read before the text', async () => {
    const source = { type: 'source', sourceType: 'url', id: 's', url: 'https://example.org/a', title: 'A' };
    const read = { ...source, url: 'https://example.org/b', title: undefined };
    await using it = await scene([
      read,
      { type: 'source', sourceType: 'document', id: 'd', title: 'no address' },
      { type: 'text-start', id: '1' },
      { type: 'text-delta', id: '1', delta: 'One.' },
      { type: 'text-end', id: '1' },
      { type: 'text-start', id: '2' },
      { type: 'text-delta', id: '2', delta: ' Two.' },
      { type: 'text-end', id: '2', citations: [{ source, startIndex: 1, endIndex: 4 }] },
      source,
      stop,
    ]);
    const { events } = await play(it.model);
    expect(events.flatMap((event) => (event.type === 'annotation' ? [event.annotation] : []))).toEqual([
      { type: 'url_citation', url: read.url, title: read.url, start_index: 4, end_index: 4 },
      { type: 'url_citation', url: source.url, title: 'A', start_index: 5, end_index: 8 },
    ]);
  });

  test.each([
    ['an end without a word', [{ ...stop, finishReason: { unified: 'other' } }], /broke off/],
    ['an end that is an error', [{ ...stop, finishReason: { unified: 'error', raw: 'BAD' } }], /with an error \(BAD\)/],
    ['a call without a name', [{ type: 'tool-input-start', id: 'a' }, stop], /without naming it/],
    [
      'an error that says something',
      [{ type: 'error', error: { message: 'so it is' } }],
      /reported an error: so it is$/,
    ],
    ['an error that says nothing', [{ type: 'error' }], /failed\.$/],
    ['what is no part', [7, { no: 'type' }, { type: 'text-delta', id: '1', delta: 7 }], /broke off/],
  ])('fails with %s', async (_name, parts, message) => {
    await using it = await scene(parts as object[]);
    const { error, events } = await play(it.model, { tools: [look] });
    expect(error).toMatchObject({ kind: 'upstream_failed', message: expect.stringMatching(message) });
    expect(types(events).filter((type) => type === 'end')).toEqual(['end']);
  });
});

test('the page names the versions that are tried here', async () => {
  const page = await readFile(new URL('../../docs/ai-sdk.md', import.meta.url), 'utf8');
  expect(page).toContain(`| \`@ai-sdk/anthropic\` | ${anthropic.version} | v4 |`);
  expect(page).toContain(`| \`@ai-sdk/google\` | ${google.version} | v4 |`);
});

test('a package can call nobody but its own provider', async () => {
  const code = plainVendor('v4').replace("baseURL + '/say'", "'http://127.0.0.1:1/steal'");
  await install('stray', code);
  await using it = await aiSdkScene('', answerLines([stop]), { loaded: await loadPackage('stray', 'acme', [folder]) });
  expect((await play(it.model)).error).toMatchObject({
    kind: 'upstream_failed',
    message: 'Provider `acme` was to be called at another address.',
  });
  expect(it.upstream.requests).toEqual([]);
});

describe('a list of models', () => {
  const lists = {
    '@ai-sdk/anthropic': { data: [{ id: 'one', type: 'model' }, { id: 'two' }, {}] },
    '@ai-sdk/google': {
      models: [
        { name: 'models/one', supportedGenerationMethods: ['generateContent', 'countTokens'] },
        { name: 'models/embed', supportedGenerationMethods: ['embedContent'] },
        { name: 'models/two' },
      ],
    },
  };

  test.each(Object.entries(lists))('is asked for with the key in the header of %s', async (packageName, list) => {
    await using it = await aiSdkScene(packageName, (reply) => reply.json(list), { apiKey: undefined });
    expect(await it.listModels('the-clients', ['me'])).toEqual({ status: 200, ids: ['one', 'two'] });
    const { headers, path } = await it.upstream.request();
    expect(path).toMatch(/^\/v1\/models\?/);
    expect(headers[packageName === '@ai-sdk/anthropic' ? 'x-api-key' : 'x-goog-api-key']).toBe('the-clients');
    expect(headers['authorization']).toBeUndefined();
    expect(headers['x-open-responses-via']).toBe('me');
  });

  test('that is none is an error, and a refusal is told', async () => {
    const script: Handler[] = [(reply) => reply.json({ no: 'list' }), answerStatus(403)];
    await using it = await aiSdkScene('@ai-sdk/anthropic', script);
    await expect(it.listModels(undefined, [])).rejects.toThrow(/not a list of models/);
    expect(await it.listModels(undefined, [])).toEqual({ status: 403, ids: [] });
  });
});

describe('whether keys are looked at', () => {
  const models = (reply: Parameters<Handler>[0]) => reply.json({ data: [] });

  test.each([
    ['a list that is refused', [answerStatus(401)], 'strict', 1],
    ["Google's way to refuse it", [answerStatus(400, { error: { message: 'API key not valid.' } })], 'strict', 1],
    ['a call that is refused', [models, answerStatus(401)], 'strict', 2],
    ['a call that fails for another reason', [models, answerStatus(404)], 'open', 2],
    ['a server that is too busy to say', [answerStatus(503), answerStatus(503)], 'unknown', 2],
  ] as [string, Handler[], string, number][])('is told by %s', async (_name, script, expected, requests) => {
    await using it = await aiSdkScene('@ai-sdk/anthropic', script, { apiKey: undefined });
    expect(await it.checkKeys(['me'])).toBe(expected);
    expect(it.upstream.requests).toHaveLength(requests);
  });
});
