import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createResponseSchema } from '../../src/api/create-response.ts';
import { openApiDocument } from '../../src/api/openapi.ts';
import { validate } from '../../src/api/validate.ts';
import { routes } from '../../src/http/app.ts';
import { type Json, start, TestServer } from '../support/harness.ts';
import { everyEvent } from '../support/responses-tour.ts';
import { resolveRef, schemaProblems } from '../support/schema-check.ts';
import { startUpstream, type Upstream } from '../support/upstream.ts';
import { hostedItemTypes, hostedToolTypes } from '../support/wire-hosted.ts';

const document: Json = openApiDocument();

/** Every object in the document with its path. */
function* nodes(value: unknown, path = '#'): Generator<[string, Json]> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield [path, value];
  for (const [key, inner] of Object.entries(value)) yield* nodes(inner, `${path}/${key}`);
}

const operations: [name: string, operation: Json, path: string][] = Object.entries<Json>(document.paths).flatMap(
  ([path, item]) =>
    Object.entries<Json>(item).map(([method, operation]): [string, Json, string] => [
      `${method.toUpperCase()} ${path}`,
      operation,
      path,
    ]),
);

/** A route of the server in the form of OpenAPI. */
function documented(path: string): string {
  return path.replace('/v1/models/*', '/v1/models/{model}').replaceAll(/:(\w+)/g, '{$1}');
}

describe('the document and the routes', () => {
  it('has every route, and nothing else', () => {
    const served = routes.map(({ method, path }) => `${method} ${documented(path)}`);
    expect(operations.map(([name]) => name).toSorted()).toEqual(served.toSorted());
    expect(served.length).toBeGreaterThan(16);
  });

  it('needs a key exactly where the route does', () => {
    for (const { method, path, isOpen } of routes) {
      const operation = document.paths[documented(path)][method.toLowerCase()];
      expect([path, operation.security]).toEqual([path, isOpen === true ? [] : undefined]);
    }
    expect(document.security).toEqual([{ bearer: [] }]);
    expect(document.components.securitySchemes.bearer).toMatchObject({ type: 'http', scheme: 'bearer' });
  });

  it.each(operations)('%s names its path parameters, and no other', (_name, operation, path) => {
    const parameters = (operation.parameters ?? []).map((each: Json) =>
      each.$ref ? resolveRef(document, each.$ref) : each,
    );
    const inPath = parameters.filter((each: Json) => each.in === 'path').map((each: Json) => each.name);
    expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]));
    const names = parameters.map((each: Json) => `${each.in} ${each.name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const each of parameters) {
      expect(each).toMatchObject({
        name: expect.any(String),
        required: each.in === 'path',
        schema: expect.any(Object),
      });
    }
  });

  it.each(operations)('%s says what it answers', (name, operation) => {
    expect(operation).toMatchObject({
      operationId: expect.stringMatching(/^[a-z][A-Za-z]+$/),
      summary: expect.any(String),
    });
    expect(document.tags.map((tag: Json) => tag.name)).toContain(operation.tags[0]);
    expect(operation.responses[200]).toBeDefined();
    for (const [status, given] of Object.entries<Json>(operation.responses)) {
      const response = given.$ref === undefined ? given : resolveRef(document, given.$ref);
      expect(response).toMatchObject({
        description: expect.any(String),
        headers: { 'x-request-id': expect.any(Object) },
      });
      const isError = Number(status) >= 400 && !name.endsWith('/readyz');
      if (isError) expect(response.content['application/json'].schema.$ref).toBe('#/components/schemas/Error');
    }
    const hasBody = name.startsWith('POST');
    expect(operation.requestBody !== undefined).toBe(hasBody);
    if (name.includes('/v1/')) {
      const errors = Object.keys(operation.responses);
      expect(errors).toEqual(expect.arrayContaining(['400', '401', '403', '500', '503', '508']));
      expect(errors.includes('415')).toBe(hasBody);
    }
  });

  it('tells of the stream, the provider header and what an upstream may do', () => {
    const { post } = document.paths['/v1/responses'];
    expect(post.responses[200].content['text/event-stream'].schema.$ref).toBe('#/components/schemas/StreamEvent');
    expect(post.parameters).toContainEqual({ $ref: '#/components/parameters/ModelProvider' });
    expect(document.components.parameters.ModelProvider).toMatchObject({ name: 'x-model-provider', in: 'header' });
    const statuses = '200 400 401 403 404 413 415 429 500 502 503 504 508'.split(' ');
    expect(Object.keys(post.responses)).toEqual(statuses);
    expect(document.components.responses.MethodNotAllowed).toBeDefined();
  });
});

describe('the document itself', () => {
  it('is OpenAPI 3.1, of the version of the package, and built once', () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(document.openapi).toBe('3.1.0');
    expect(document.info).toMatchObject({ title: expect.any(String), version });
    expect(openApiDocument()).toBe(document);
  });

  it('is JSON, and means the same after a round trip', () => {
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
    for (const [path, node] of nodes(document)) {
      const holes = Object.entries(node).filter(([, value]) => value === undefined || typeof value === 'function');
      expect([path, holes]).toEqual([path, []]);
    }
  });

  it('has operation ids that are unique', () => {
    const ids = operations.map(([, operation]) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('has references that all lead somewhere, and no component that nothing leads to', () => {
    const found = [...nodes(document)].flatMap(([path, node]) =>
      typeof node.$ref === 'string' ? [[path, node.$ref]] : [],
    );
    expect(found.filter(([, ref]) => resolveRef(document, ref ?? '') === undefined)).toEqual([]);
    const used = new Set(found.map(([, ref]) => ref));
    const unused = ['schemas', 'responses', 'parameters', 'headers'].flatMap((kind) =>
      Object.keys(document.components[kind])
        .map((name) => `#/components/${kind}/${name}`)
        .filter((ref) => !used.has(ref)),
    );
    expect(unused).toEqual(['#/components/responses/MethodNotAllowed']);
    expect(found.length).toBeGreaterThan(200);
  });

  it('names components as OpenAPI allows, with schemas that a validator understands', () => {
    for (const kind of Object.keys(document.components)) {
      for (const name of Object.keys(document.components[kind])) expect(name).toMatch(/^[A-Za-z0-9._-]+$/);
    }
    const strange = Object.entries(document.components.schemas).flatMap(([name, schema]) =>
      schemaProblems(document, schema, {})
        .filter((problem) => /unknown keywords|no schema/.test(problem))
        .map((each) => `${name} ${each}`),
    );
    expect(strange).toEqual([]);
  });

  it('requires only properties that it describes', () => {
    for (const [path, node] of nodes(document.components.schemas)) {
      if (!Array.isArray(node.required) || node.properties === undefined) continue;
      expect([path, node.required.filter((name: string) => !(name in node.properties))]).toEqual([path, []]);
    }
  });

  it('has the 31 keys that the Open Responses standard requires', () => {
    const keys =
      'id object created_at completed_at status incomplete_details model previous_response_id instructions output error tools tool_choice truncation parallel_tool_calls text top_p presence_penalty frequency_penalty top_logprobs temperature reasoning usage max_output_tokens max_tool_calls store background service_tier metadata safety_identifier prompt_cache_key';
    expect(document.components.schemas.Response.required.toSorted()).toEqual(keys.split(' ').toSorted());
  });
});

const text = { role: 'user', content: 'x' };
const call = { type: 'function_call', call_id: 'c', name: 'n', arguments: '{}' };
const image = { type: 'input_image', image_url: 'https://example.com/a.png' };
const tool = { type: 'function', name: 'f', parameters: { type: 'object', properties: { a: null } } };
const callOutput = { type: 'function_call_output', call_id: 'c', output: 'x' };
const file = { type: 'input_file', file_data: 'AA', filename: 'a.txt', detail: 'low' };
const custom = { type: 'custom', name: 'c' };
const customCall = { type: 'custom_tool_call', call_id: 'd', name: 'c', input: 'x', namespace: 'n' };
const customOutput = { type: 'custom_tool_call_output', call_id: 'd', output: [image] };
const pick = (type: string, name: string) => ({ type, name });
const user = (part: object) => ({ input: [{ role: 'user', content: [part] }] });

/** Bodies without a model: what the validator says of them must be what the document says. */
const bodies: readonly (readonly [takes: boolean, body: object])[] = [
  [true, {}],
  [true, { input: 'x', store: null, metadata: { a: 'b' }, reasoning: { effort: 'max', summary: null } }],
  [true, { input: [text, { ...text, type: 'message', id: 'a', status: null }, { id: 'msg_1' }] }],
  [true, { input: [call, { type: 'function_call_output', call_id: 'c', output: [image] }] }],
  [true, { input: [{ role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }] }] }],
  [true, { input: [{ type: 'reasoning', summary: [{ type: 'summary_text', text: '' }], encrypted_content: null }] }],
  [
    true,
    { tools: [tool], tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'f' }] } },
  ],
  [
    true,
    { text: { format: { type: 'json_schema', name: 'n', schema: {} } }, include: ['reasoning.encrypted_content'] },
  ],
  [true, { background: false, truncation: 'disabled', client_metadata: { a: { b: 1 } }, conversation: { id: 'c' } }],
  [true, { truncation: 'auto', service_tier: 'flex', max_tool_calls: 1 }],
  [true, { tools: [{ ...tool, output_schema: {}, defer_loading: true, allowed_callers: ['code_interpreter'] }] }],
  [true, { tools: [custom, { ...custom, name: 'b', format: { type: 'text' } }], tool_choice: pick('custom', 'c') }],
  [true, { tools: [{ ...custom, format: { type: 'grammar', syntax: 'lark', definition: 'start: "a"' } }] }],
  [true, { tools: [{ type: 'namespace', name: 'n', description: '', tools: [tool, custom] }] }],
  [true, { tools: [{ type: 'web_search', filters: { allowed_domains: [] } }], tool_choice: { type: 'web_search' } }],
  [true, { tools: [{ type: 'mcp' }], tool_choice: { type: 'mcp', server_label: 'a', name: null } }],
  [true, { input: [{ ...call, namespace: 'n' }, customCall, customOutput] }],
  [true, { input: [{ type: 'web_search_call', id: 'ws', anything: [{ a: null }] }, { type: 'compaction' }] }],
  [true, user({ type: 'input_file', file_data: 'data:application/pdf;base64,AA', filename: 'a.pdf' })],
  [true, user({ type: 'input_file', file_url: 'https://example.com/a.pdf', file_data: null, detail: 'high' })],
  [true, { background: null, truncation: null, max_output_tokens: 16, top_logprobs: 20, temperature: 2 }],
  [false, { nothing: 1 }],
  [false, { background: true }],
  [false, { prompt: { id: 'p' } }],
  [false, { moderation: {} }],
  [false, { context_management: [] }],
  [false, { reasoning: { mode: 'x' } }],
  [false, { max_output_tokens: 15 }],
  [false, { top_logprobs: 21 }],
  [false, { metadata: { a: 1 } }],
  [false, { metadata: { ['k'.repeat(65)]: 'v' } }],
  [false, { input: 5 }],
  [false, { input: [{ type: 'web_search_call', id: 5 }] }],
  [false, { input: [{ type: 'compaction_trigger' }] }],
  [false, { input: [{ type: 'additional_tools', tools: [] }] }],
  [false, { input: [{ ...customCall, input: {} }] }],
  [false, { input: [{ ...customCall, arguments: '{}' }] }],
  [false, { input: [{ ...customOutput, namespace: 'n' }] }],
  [false, { input: [{ ...text, role: 'tool' }] }],
  [false, { tools: [{ type: 'bogus' }] }],
  [false, { tools: [{ ...custom, parameters: {} }] }],
  [false, { tools: [{ ...custom, format: { type: 'grammar', syntax: 'bnf', definition: 'x' } }] }],
  [false, { tools: [{ type: 'namespace', name: 'n', description: 'x', tools: [] }] }],
  [false, { tools: [{ type: 'namespace', name: 'n', description: 'x', tools: [{ type: 'web_search' }] }] }],
  [false, { tool_choice: { type: 'mcp' } }],
  [false, { tool_choice: { type: 'web_search', name: 'x' } }],
  [false, { service_tier: 'gold' }],
  [false, { tools: [{ ...tool, name: 'a b' }] }],
  [false, { text: { format: { type: 'json_schema', name: 'n' } } }],
  [false, user({ type: 'input_file', file_id: 'f' })],
  [false, user({ type: 'input_file', file_data: 'AA', file_id: 'f' })],
  [false, user({ type: 'input_file', filename: 'a' })],
  [false, user({ type: 'input_file', file_data: 'AA', file_url: 'https://example.com/a' })],
  [false, user({ type: 'input_file', file_url: 'file:///etc/passwd' })],
  [false, user({ type: 'input_image' })],
  [false, user({ ...image, file_id: 'f' })],
];

describe('the document and the validator', () => {
  it.each(bodies)('%s for %j', (takes, body) => {
    const whole = { model: 'm', ...body };
    const problems = schemaProblems(document, document.components.schemas.CreateResponse, whole);
    const result = validate(createResponseSchema, structuredClone(whole), { unknownFields: 'reject' });
    expect([problems.length === 0, result.ok]).toEqual([takes, takes]);
  });

  it('shows no type and no field that is always refused', () => {
    const { CreateResponse, InputItem, Tools, InputPart } = document.components.schemas;
    const types = (schema: Json) =>
      new Set(
        [...nodes(schema)].flatMap(([, node]) => {
          const type = node.properties?.type;
          return type === undefined ? [] : (type.enum ?? [type.const]);
        }),
      );
    expect(types(InputItem)).toEqual(
      new Set([
        ...['message', 'function_call', 'function_call_output', 'custom_tool_call', 'custom_tool_call_output'],
        ...['reasoning', 'summary_text', 'reasoning_text', 'item_reference', ...hostedItemTypes],
      ]),
    );
    expect(types(Tools)).toEqual(new Set(['function', 'custom', 'text', 'grammar', 'namespace', ...hostedToolTypes]));
    expect(types(InputPart)).toEqual(new Set(['input_text', 'input_image', 'input_file']));
    expect(JSON.stringify([InputPart, CreateResponse])).not.toContain('file_id');
    for (const type of ['additional_tools', 'compaction_trigger']) {
      const result = validate(createResponseSchema, { model: 'm', input: [{ type }] }, { unknownFields: 'reject' });
      expect(result).toMatchObject({ ok: false, problem: { code: 'unsupported_value', param: 'input[0].type' } });
    }
    const known = Object.keys(createResponseSchema.shape);
    const refused = known.filter((name) => !(name in CreateResponse.properties));
    expect(refused.toSorted()).toEqual(['context_management', 'moderation', 'prompt']);
    for (const name of refused) {
      const result = validate(createResponseSchema, { model: 'm', [name]: {} }, { unknownFields: 'reject' });
      expect(result).toMatchObject({ ok: false, problem: { code: 'unsupported_value', param: name } });
    }
  });
});

describe('the document and a server', () => {
  let answers: readonly (readonly [schema: string, value: Json])[] = [];

  let server: Awaited<ReturnType<typeof start>> | undefined;
  const others: Awaited<ReturnType<typeof start>>[] = [];
  let upstream: Upstream | undefined;

  afterAll(async () => {
    for (const each of others) await each.close({ force: true });
    await server?.close({ force: true });
    await upstream?.close();
  });

  beforeAll(async () => {
    server = await start();
    const ask = new TestServer(server);
    const json = async (method: string, path: string, body?: object) => (await ask.send(method, path, body)).body;
    const weather = {
      type: 'function',
      name: 'get_weather',
      parameters: { type: 'object', properties: { city: { type: 'string' } } },
    };
    const conversation = await json('POST', '/v1/conversations', { items: [text, { role: 'user', content: [image] }] });
    const stored = await ask.respond({ model: 'demo', input: 'Hello', conversation: conversation.id, user: 'u' });
    const bodies = [
      'Hello',
      'demo: think about this',
      'demo: refuse',
      'demo: filter',
      'demo: fail midway',
      'What is the weather in Oslo?',
    ];
    const streams = await Promise.all(bodies.map((input) => ask.stream({ model: 'demo', input, tools: [weather] })));
    // What only an upstream that speaks Responses says, and raw reasoning in either form.
    upstream = await startUpstream(everyEvent);
    const tools = [
      weather,
      { ...weather, name: 'other', output_schema: {}, defer_loading: true, allowed_callers: ['x'] },
      { ...custom, description: 'x', format: { type: 'grammar', syntax: 'regex', definition: 'a+' } },
      { type: 'namespace', name: 'crm', description: 'x', tools: [{ ...weather, name: 'look' }, custom] },
      ...hostedToolTypes.map((type) => ({ type, server_label: 'a', filters: { a: null } })),
    ];
    for (const events of ['openai', 'openresponses']) {
      const settings = { 'providers.up.base-url': upstream.url, 'providers.up.profile': 'openai' };
      const running = await start({ ...settings, 'providers.up.api': 'responses', 'reasoning.events': events });
      others.push(running);
      const other = new TestServer(running);
      const body = {
        model: 'up/m',
        input: [
          { ...call, namespace: 'crm' },
          { ...callOutput, output: [file] },
        ],
        tools,
      };
      const tool_choice = events === 'openai' ? { type: 'mcp', server_label: 'a' } : { type: 'web_search' };
      streams.push(await other.stream({ ...body, store: true, truncation: 'auto', tool_choice }));
    }
    const said = streams.at(-1)?.events.at(-1)?.data.response.output;
    const items = `/v1/conversations/${conversation.id}/items`;
    const added = await json('POST', items, {
      items: [
        { ...call, id: 'fc_1' },
        { type: 'function_call_output', call_id: 'c', output: 'x' },
      ],
    });
    const kept = await json('POST', items, { items: [...said.slice(0, 15), { ...customOutput, call_id: 'call_c' }] });
    answers = [
      ['ItemList', kept],
      ['Response', stored],
      ['Response', await json('GET', `/v1/responses/${stored.id}`)],
      [
        'Response',
        await ask.respond({
          model: 'demo',
          input: 'x',
          text: { format: { type: 'json_object' } },
          tools: [weather],
          tool_choice: 'none',
        }),
      ],
      [
        'Response',
        await ask.respond({
          model: 'demo',
          input: 'x',
          reasoning: {},
          prompt_cache_options: { ttl: '1h' },
          prompt_cache_retention: '24h',
        }),
      ],
      ['InputTokens', await json('POST', '/v1/responses/input_tokens', { model: 'demo', input: 'x' })],
      ['ItemList', await json('GET', `/v1/responses/${stored.id}/input_items`)],
      ['DeletedResponse', await json('DELETE', `/v1/responses/${stored.id}`)],
      ['Conversation', conversation],
      ['Conversation', await json('GET', `/v1/conversations/${conversation.id}`)],
      ['Conversation', await json('POST', `/v1/conversations/${conversation.id}`, { metadata: { a: 'b' } })],
      ['ItemList', added],
      ['ItemList', await json('GET', items)],
      ['Item', await json('GET', `${items}/fc_1`)],
      ['Conversation', await json('DELETE', `${items}/fc_1`)],
      ['DeletedConversation', await json('DELETE', `/v1/conversations/${conversation.id}`)],
      ['ModelList', await json('GET', '/v1/models')],
      ['Health', await json('GET', '/healthz')],
      ['Health', await json('GET', '/readyz')],
      ['Error', await json('GET', '/v1/responses/resp_none')],
      ['Error', await json('POST', '/v1/responses', {})],
      ['Error', await json('PUT', '/v1/responses', {})],
      ...streams.flatMap(({ events }) => events.map(({ data }): [string, Json] => ['StreamEvent', data])),
    ];
    expect(await json('GET', '/openapi.json')).toEqual(document);
  });

  it('gives answers that the document describes, field by field', () => {
    const problems = answers.flatMap(([name, value]) =>
      schemaProblems(document, document.components.schemas[name], value).map(
        (problem) => `${name} ${value.type ?? ''} ${problem}`,
      ),
    );
    expect(problems).toEqual([]);
  });

  it('describes no event that never comes', () => {
    const { mapping } = document.components.schemas.StreamEvent.discriminator;
    const seen = new Set(answers.flatMap(([name, value]) => (name === 'StreamEvent' ? [value.type] : [])));
    expect([...seen].toSorted()).toEqual(Object.keys(mapping).toSorted());
  });
});
