import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { createResponseSchema } from '../../src/api/create-response.ts';
import { listQuerySchema } from '../../src/api/queries.ts';
import { validate } from '../../src/api/validate.ts';

const missing = 'missing_required_parameter';
const type = 'invalid_type';
const value = 'invalid_value';
const unknown = 'unknown_parameter';
const unsupported = 'unsupported_value';

/** JSON as it comes over the wire, `__proto__` keys and all. */
function wire(text: string): unknown {
  return JSON.parse(text);
}

function reject<T extends z.ZodType>(schema: T, body: unknown) {
  return validate(schema, body, { unknownFields: 'reject' });
}

function ignore<T extends z.ZodType>(schema: T, body: unknown) {
  return validate(schema, body, { unknownFields: 'ignore' });
}

const m = { model: 'm' };
const withItem = (item: unknown) => ({ ...m, input: [item] });
const withPart = (part: unknown) => withItem({ role: 'user', content: [part] });
const withSaid = (part: unknown) => withItem({ role: 'assistant', content: [part] });
const withTool = (tool: unknown) => ({ ...m, tools: [tool] });
const long = (length: number) => 'x'.repeat(length);

describe('null', () => {
  it('means absent in every optional field of the body', () => {
    const optional = Object.keys(createResponseSchema.shape).filter((name) => name !== 'model');
    expect(optional.length).toBeGreaterThan(25);
    for (const name of optional)
      expect([name, reject(createResponseSchema, { ...m, [name]: null }).ok]).toEqual([name, true]);
    expect(reject(createResponseSchema, { ...m, ...Object.fromEntries(optional.map((name) => [name, null])) }).ok).toBe(
      true,
    );
  });

  it.each([
    [{ ...m, text: { format: null, verbosity: null } }],
    [{ ...m, text: { format: { type: 'json_schema', name: 'n', schema: {}, description: null, strict: null } } }],
    [{ ...m, reasoning: { effort: null, summary: null, generate_summary: null, context: null, mode: null } }],
    [{ ...m, stream_options: { include_obfuscation: null } }],
    [{ ...m, prompt_cache_options: { mode: null, ttl: null } }],
    [withTool({ type: 'function', name: 'f', description: null, parameters: null, strict: null })],
    [withItem({ type: null, role: 'user', content: 'x', id: null, status: null, phase: null })],
    [withItem({ type: null, id: 'msg_1' })],
    [withItem({ type: 'function_call', call_id: 'c', name: 'n', arguments: '', id: null, status: null })],
    [withItem({ type: 'function_call_output', call_id: 'c', output: '', id: null, status: null, name: null })],
    [withItem({ type: 'reasoning', summary: [], id: null, content: null, encrypted_content: null, status: null })],
    [withItem({ type: 'function_call', call_id: 'c', name: 'n', arguments: '', namespace: null })],
    [
      withItem({
        type: 'custom_tool_call',
        call_id: 'c',
        name: 'n',
        input: '',
        id: null,
        namespace: null,
        status: null,
      }),
    ],
    [withItem({ type: 'custom_tool_call_output', call_id: 'c', output: '', id: null, status: null, name: null })],
    [withItem({ type: 'web_search_call', id: null, status: null, action: null })],
    [withTool({ type: 'custom', name: 'c', description: null, format: null, defer_loading: null })],
    [withTool({ type: 'function', name: 'f', output_schema: null, defer_loading: null, allowed_callers: null })],
    [withTool({ type: 'web_search', filters: null })],
    [{ ...m, tool_choice: { type: 'mcp', server_label: 'a', name: null } }],
    [withPart({ type: 'input_file', file_data: 'AA', file_url: null, file_id: null, filename: null, detail: null })],
    [withPart({ type: 'input_image', image_url: 'https://x/a.png', file_id: null, detail: null })],
    [withPart({ type: 'input_text', text: 'x', prompt_cache_breakpoint: null })],
    [withSaid({ type: 'output_text', text: 'x', annotations: null, logprobs: null })],
    [{ ...m, tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: null }] } }],
  ])('means absent in %j', (body) => {
    expect(reject(createResponseSchema, body)).toMatchObject({ ok: true });
  });

  it('in an unknown field is as if it were not there, at every depth', () => {
    const body = {
      ...m,
      foo: null,
      text: { foo: null, format: { type: 'text', foo: null } },
      reasoning: { foo: null },
      conversation: { id: 'c', foo: null },
      tools: [{ type: 'function', name: 'f', foo: null }],
      tool_choice: { type: 'function', name: 'f', foo: null },
      input: [
        { role: 'user', content: 'x', foo: null },
        { role: 'user', content: [{ type: 'input_text', text: 'x', foo: null }], foo: null },
        { type: 'function_call', call_id: 'c', name: 'n', arguments: '', foo: null },
        { type: 'function_call_output', call_id: 'c', output: [{ type: 'input_text', text: 'x', foo: null }] },
        { type: 'reasoning', summary: [{ type: 'summary_text', text: 'x', foo: null }], foo: null },
        { id: 'msg_1', foo: null },
      ],
    };
    const result = reject(createResponseSchema, body);
    expect(result.ok).toBe(true);
    expect(JSON.stringify(result)).not.toContain('foo');
  });
});

describe('what SDKs add', () => {
  it('is dropped wherever it stands', () => {
    const body = withItem({
      ...{ id: 'msg_1', type: 'message', status: 'completed', role: 'assistant', parsed: { a: 1 } },
      content: [{ type: 'output_text', text: '{"a":1}', annotations: [], logprobs: [], parsed: { a: 1 } }],
    });
    const call = { type: 'function_call', call_id: 'c', name: 'n', arguments: '{}', parsed_arguments: { a: [1] } };
    const result = reject(createResponseSchema, { ...body, input: [...body.input, call] });
    expect(result.ok).toBe(true);
    expect(JSON.stringify(result)).not.toContain('parsed');
  });

  it('is left alone where it is the caller’s own data', () => {
    const parameters = { type: 'object', properties: { parsed: { type: 'string' }, parsed_arguments: null } };
    const body = { ...withTool({ type: 'function', name: 'f', parameters, foo: null }), metadata: { parsed: 'x' } };
    const result = reject(createResponseSchema, body);
    expect(result).toMatchObject({ ok: true, value: { metadata: { parsed: 'x' }, tools: [{ parameters }] } });
  });

  it('may hold anything in client_metadata', () => {
    for (const client_metadata of [null, 'x', 5, [], { a: '{"b":{}}', c: { d: null } }]) {
      expect(reject(createResponseSchema, { ...m, client_metadata }).ok).toBe(true);
    }
  });
});

describe('unknown-fields=ignore', () => {
  it('drops unknown fields at every depth', () => {
    const body = {
      ...m,
      foo: { a: 1 },
      text: { foo: 1, format: { type: 'text', foo: 1 } },
      tools: [{ type: 'function', name: 'f', foo: 1, parameters: { foo: 'kept' } }],
      conversation: { id: 'c', foo: 1 },
      input: [{ role: 'user', content: [{ type: 'input_text', text: 'x', foo: 1 }], foo: 1 }],
    };
    expect(ignore(createResponseSchema, body)).toEqual({
      ok: true,
      value: {
        ...m,
        text: { format: { type: 'text' } },
        tools: [{ type: 'function', name: 'f', parameters: { foo: 'kept' } }],
        conversation: { id: 'c' },
        input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'x' }] }],
      },
    });
    expect(ignore(listQuerySchema, { limit: '5', foo: 'x' })).toMatchObject({ ok: true, value: { limit: 5 } });
  });

  it.each<[unknown, string, string]>([
    [{ model: 5, foo: 1 }, type, 'model'],
    [{ foo: 1 }, missing, 'model'],
    [{ ...m, prompt: { id: 'p' }, foo: 1 }, unsupported, 'prompt'],
    [withPart({ type: 'input_text', txt: 'x' }), missing, 'input[0].content[0].text'],
    [{ ...m, foo: 1, tools: Array(2).fill({ type: 'function', name: 'f' }) }, value, 'tools[1].name'],
  ])('still refuses %j', (body, code, param) => {
    expect(ignore(createResponseSchema, body)).toMatchObject({ ok: false, problem: { code, param } });
  });

  it('drops __proto__ and constructor like any other', () => {
    const body = wire('{"model":"m","__proto__":{"store":true},"constructor":{"prototype":{"polluted":1}}}');
    const result = ignore(createResponseSchema, body);
    expect(result).toEqual({ ok: true, value: m });
    expect(result.ok && result.value.store).toBeUndefined();
  });
});

describe('hostile values', () => {
  it('pollute no prototype', () => {
    const texts = [
      '{"model":"m","__proto__":{"polluted":1}}',
      '{"model":"m","constructor":{"prototype":{"polluted":1}}}',
      '{"model":"m","metadata":{"__proto__":"polluted","constructor":"x"}}',
      '{"model":"m","input":[{"__proto__":{"polluted":1},"role":"user","content":"x"}]}',
      '{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"x","__proto__":{"polluted":1}}]}]}',
      '{"model":"m","tools":[{"type":"function","name":"__proto__","parameters":{"__proto__":{"polluted":1}}}]}',
      '{"model":"m","__proto__":null}',
      '{"__proto__":{"__proto__":null},"model":"m"}',
    ];
    for (const text of texts) {
      for (const check of [reject, ignore]) check(createResponseSchema, wire(text));
      expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
      expect(Object.keys(Object.prototype)).toEqual([]);
      expect(Object.getPrototypeOf({})).toBe(Object.prototype);
    }
    expect({}.constructor).toBe(Object);
    expect({}.toString()).toBe('[object Object]');
  });

  it('keep free-form JSON as it came, nulls and odd keys included', () => {
    const text =
      '{"type":"object","properties":{"a":{"type":"string","default":null,"enum":["x",null]},"foo":null},"additionalProperties":null,"x":{"__proto__":{"y":1}},"required":[]}';
    const body = {
      ...m,
      foo: null,
      tools: [{ type: 'function', name: 'f', parameters: wire(text), bar: null }],
      text: { format: { type: 'json_schema', name: 'n', schema: wire(text), bar: null } },
    };
    const result = reject(createResponseSchema, body);
    expect(result.ok).toBe(true);
    if (!result.ok) return;
    const [tool] = result.value.tools ?? [];
    expect(tool?.type === 'function' && JSON.stringify(tool.parameters)).toBe(text);
    const format = result.value.text?.format;
    expect(format?.type === 'json_schema' && JSON.stringify(format.schema)).toBe(text);
  });

  it('keep the fields of hosted tools and items as they came, whatever they are called', () => {
    const fields = '"a":null,"parsed":{"x":1},"constructor":"y","toString":[null],"status":5';
    const text = `{"model":"m","tools":[{"type":"mcp",${fields}}],"input":[{"type":"mcp_call","id":"mcp_1",${fields}}]}`;
    const result = reject(createResponseSchema, wire(text));
    expect(result.ok && JSON.stringify([result.value.tools, result.value.input])).toBe(
      JSON.stringify([[wire(`{"type":"mcp",${fields}}`)], [wire(`{"type":"mcp_call","id":"mcp_1",${fields}}`)]]),
    );
    const odd = wire('{"model":"m","tools":[{"type":"mcp","__proto__":{"polluted":1}}]}');
    expect(reject(createResponseSchema, odd).ok).toBe(true);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('may nest as deep as a body can', () => {
    let deep: object = {};
    for (let level = 0; level < 250; level++) deep = level % 2 === 0 ? { a: deep } : { a: [deep] };
    expect(reject(createResponseSchema, withTool({ type: 'function', name: 'f', parameters: deep })).ok).toBe(true);
    for (const tool of [
      { type: 'function', name: 'f', output_schema: deep },
      { type: 'mcp', headers: deep },
      { type: 'namespace', name: 'n', description: '', tools: [{ type: 'function', name: 'f', parameters: deep }] },
    ]) {
      expect(reject(createResponseSchema, withTool(tool)).ok).toBe(true);
    }
    expect(reject(createResponseSchema, withItem({ type: 'mcp_call', output: deep })).ok).toBe(true);
    expect(reject(createResponseSchema, withTool({ type: 'custom', name: 'c', format: deep }))).toMatchObject({
      problem: { code: missing, param: 'tools[0].format.type' },
    });
    expect(reject(createResponseSchema, { ...m, input: deep })).toMatchObject({
      problem: { code: type, param: 'input' },
    });
    expect(reject(createResponseSchema, { ...m, foo: deep })).toMatchObject({
      problem: { code: unknown, param: 'foo' },
    });
  });

  it('do not make it long-winded', () => {
    const key = long(100_000);
    for (const body of [
      { ...m, [key]: 1 },
      withItem({ type: key }),
      withItem({ role: 'user', content: 'x', [key]: 1 }),
    ]) {
      const result = reject(createResponseSchema, body);
      expect(result.ok || result.problem.message.length).toBeLessThan(400);
      expect(result.ok || (result.problem.param?.length ?? 0)).toBeLessThanOrEqual(256);
    }
  });

  it.each([
    ['numbers', () => Array(3_000_000).fill(1)],
    ['nulls', () => Array(3_000_000).fill(null)],
    ['items', () => Array.from({ length: 50_001 }, () => ({ role: 'user', content: 'x' }))],
  ])('in a huge array of %s are not even looked at', (_name, make) => {
    expect(reject(createResponseSchema, { ...m, input: make() })).toMatchObject({
      ok: false,
      problem: { code: 'array_above_max_length', param: 'input' },
    });
  });

  it('may be many', () => {
    const items = Array.from({ length: 50_000 }, () => ({ role: 'user', content: 'x', foo: null }));
    const result = reject(createResponseSchema, { ...m, input: items });
    expect(result.ok && result.value.input?.length).toBe(50_000);
    const keys = Object.fromEntries(Array.from({ length: 200_000 }, (_, at) => [`k${at}`, 1]));
    expect(reject(createResponseSchema, { ...m, ...keys })).toMatchObject({ problem: { code: unknown, param: 'k0' } });
    expect(reject(createResponseSchema, { ...m, metadata: keys })).toMatchObject({
      problem: { code: 'object_above_max_properties', param: 'metadata' },
    });
  });
});

describe('what a body may cost', () => {
  it('many tools are counted together, those of namespaces too', () => {
    const group = (at: number, count: number) => ({
      ...{ type: 'namespace', name: `n${at}`, description: '' },
      tools: Array.from({ length: count }, (_, index) => ({ type: 'custom', name: `c${index}` })),
    });
    const many = { ...m, tools: [group(0, 256), group(1, 257)] };
    expect(reject(createResponseSchema, many)).toMatchObject({
      problem: { code: 'array_above_max_length', param: 'tools' },
    });
    expect(reject(createResponseSchema, { ...m, tools: [group(0, 256), group(1, 256)] }).ok).toBe(true);
    const hosted = Array.from({ length: 513 }, () => ({ type: 'mcp' }));
    expect(reject(createResponseSchema, { ...m, tools: hosted })).toMatchObject({
      problem: { code: 'array_above_max_length', param: 'tools' },
    });
  });

  it.each<[string, unknown]>([
    ['entries of hosted items', [{ type: 'mcp_list_tools', tools: Array.from({ length: 100_001 }, () => 1) }]],
    ['parts', Array.from({ length: 2_000 }, () => ({ role: 'user', content: Array.from({ length: 100 }, () => 1) }))],
    [
      'log probabilities',
      [
        {
          role: 'assistant',
          content: [{ type: 'output_text', text: '', logprobs: Array.from({ length: 200_000 }, () => 1) }],
        },
      ],
    ],
  ])('too many %s are counted, not looked at one by one', (_name, input) => {
    const result = validate(createResponseSchema, { model: 'm', input }, { unknownFields: 'reject' });
    expect(result).toMatchObject({ ok: false, problem: { code: 'array_above_max_length', param: 'input' } });
  });
});
