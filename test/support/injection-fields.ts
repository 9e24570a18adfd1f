import type { Json } from './harness.ts';
import { oddStrings } from './injection-corpus.ts';

/** A string field of a request: where it stands, and which strings the API takes there. */
export type Field = {
  /** More than one where several fields must say the same. */
  readonly paths: readonly string[];
  readonly takes: (value: string) => boolean;
  /** Puts before a value what the field demands. */
  readonly prefix: string;
};

function field(paths: string | readonly string[], takes: (value: string) => boolean, prefix = ''): Field {
  return { paths: [paths].flat(), takes, prefix };
}

const upTo = (max: number) => (value: string) => value.length <= max;
const text = () => true;
const nameOf = (max: number) => (value: string) => value.length >= 1 && value.length <= max;
const plainName = (max: number) => (value: string) => /^[A-Za-z0-9_-]+$/.test(value) && value.length <= max;
const itemId = (value: string) => /^(?!\.{1,2}$)[A-Za-z0-9_.:-]+$/.test(value) && value.length <= 256;

/** The fields of `specimen` that take strings of the client's own. */
export const openFields: readonly Field[] = [
  field('model', nameOf(512)),
  field('instructions', text),
  field('metadata.a', upTo(512)),
  field('user', upTo(512)),
  field('safety_identifier', upTo(64)),
  field('prompt_cache_key', upTo(1_024)),
  field('prompt_cache_options.mode', upTo(64)),
  field('prompt_cache_options.ttl', upTo(64)),
  field('text.format.name', plainName(64)),
  field('text.format.description', text),
  field(['tools[0].name', 'tool_choice.tools[0].name'], plainName(128)),
  field('tools[0].description', text),
  field('tools[1].name', plainName(128)),
  field('tools[1].description', text),
  field('tools[1].allowed_callers[0]', upTo(64)),
  field('tools[2].name', plainName(128)),
  field('tools[2].description', text),
  field('tools[2].format.definition', text),
  field('tools[2].allowed_callers[0]', upTo(64)),
  field('tools[3].name', plainName(128)),
  field('tools[3].description', text),
  field('tools[3].tools[0].name', plainName(128)),
  field('tools[3].tools[0].description', text),
  field('tools[3].tools[0].allowed_callers[0]', upTo(64)),
  field('tools[3].tools[1].name', plainName(128)),
  field('tools[3].tools[1].description', text),
  field('tools[3].tools[1].format.definition', text),
  field('tools[3].tools[1].allowed_callers[0]', upTo(64)),
  ...Array.from({ length: 15 }, (_, index) => field(`input[${index}].id`, itemId)),
  field('input[0].content[0].text', text),
  field('input[0].content[1].image_url', text, 'https://images.example/'),
  field('input[0].content[2].file_data', text),
  field('input[0].content[2].filename', upTo(1_024)),
  field('input[0].content[3].file_url', text, 'https://files.example/'),
  field('input[1].content', text),
  field('input[2].content[0].text', text),
  field('input[3].content[0].text', text),
  field('input[3].content[0].annotations[0].type', text),
  field('input[3].content[0].annotations[0].title', text),
  field('input[3].content[0].logprobs[0].token', text),
  field('input[3].content[0].logprobs[0].top_logprobs[0].token', text),
  field('input[3].content[1].refusal', text),
  field('input[3].content[2].text', text),
  field('input[4].content', text),
  field(['input[5].call_id', 'input[6].call_id'], nameOf(64)),
  field('input[5].name', nameOf(128)),
  field('input[5].arguments', text),
  field('input[6].output', text),
  field('input[6].name', nameOf(128)),
  field(['input[7].call_id', 'input[8].call_id'], nameOf(64)),
  field('input[7].name', nameOf(128)),
  field('input[7].arguments', text),
  field('input[8].output[0].text', text),
  field('input[8].output[1].image_url', text, 'data:image/png;base64,'),
  field('input[9].summary[0].text', text),
  field('input[9].content[0].text', text),
  field('input[9].encrypted_content', text),
  field(['input[10].call_id', 'input[11].call_id'], nameOf(64)),
  field('input[10].name', nameOf(128)),
  field('input[10].input', text),
  field('input[10].namespace', nameOf(128)),
  field('input[11].output', text),
  field('input[11].name', nameOf(128)),
  field(['input[12].call_id', 'input[13].call_id'], nameOf(64)),
  field('input[12].name', nameOf(128)),
  field('input[12].arguments', text),
  field('input[12].namespace', nameOf(128)),
  field('input[13].namespace', nameOf(128)),
  field('input[13].output[0].file_data', text),
  field('input[13].output[0].filename', upTo(1_024)),
  field('input[13].output[1].file_url', text, 'https://files.example/'),
];

/** Fields that `specimen` leaves out, as nothing may stand there but null, or one word. */
const absentFields = [
  'context_management',
  'moderation',
  'prompt',
  'reasoning.mode',
  'input[0].content[0].prompt_cache_breakpoint.mode',
  'input[0].content[1].file_id',
  'input[0].content[2].file_id',
  'input[13].output[0].file_id',
  'input[13].output[0].prompt_cache_breakpoint.mode',
  'input[13].output[1].file_id',
  'input[0].content[1].prompt_cache_breakpoint.mode',
  'input[3].content[2].prompt_cache_breakpoint.mode',
  'input[8].output[0].prompt_cache_breakpoint.mode',
  'input[8].output[1].prompt_cache_breakpoint.mode',
];

/** JSON of the client's own: anything may stand there. */
const freeJson =
  /^(?:client_metadata|text\.format\.schema|tools\[\d\](?:\.tools\[\d\])?\.(?:parameters|output_schema|server_\w+)|input\[14\]\.(?:action|status))|annotations\[\d\]\.title|\.(?:logprob|bytes|top_logprobs)\b/;

function items(): Json[] {
  const done = { status: 'completed' };
  const token = { token: 'a', logprob: -1, bytes: [97] };
  return [
    {
      ...{ id: 'item_0', type: 'message', ...done, role: 'user' },
      content: [
        { type: 'input_text', text: 'a' },
        { type: 'input_image', image_url: 'https://images.example/a', detail: 'low' },
        { type: 'input_file', file_data: 'a', filename: 'b', detail: 'low' },
        { type: 'input_file', file_url: 'https://files.example/a' },
      ],
    },
    { id: 'item_1', type: 'message', ...done, role: 'system', content: 'b' },
    { id: 'item_2', type: 'message', ...done, role: 'developer', content: [{ type: 'input_text', text: 'c' }] },
    {
      ...{ id: 'item_3', type: 'message', ...done, role: 'assistant' },
      content: [
        {
          ...{ type: 'output_text', text: 'd', annotations: [{ type: 'note', title: 'e' }] },
          logprobs: [{ ...token, top_logprobs: [{ ...token }] }],
        },
        { type: 'refusal', refusal: 'f' },
        { type: 'input_text', text: 'g' },
      ],
      phase: 'commentary',
    },
    { id: 'item_4', type: 'message', ...done, role: 'assistant', content: 'h' },
    { id: 'item_5', type: 'function_call', ...done, call_id: 'call_1', name: 'f', arguments: '{}' },
    { id: 'item_6', type: 'function_call_output', ...done, call_id: 'call_1', output: 'i', name: 'f' },
    { id: 'item_7', type: 'function_call', ...done, call_id: 'call_2', name: 'f', arguments: '{}' },
    {
      ...{ id: 'item_8', type: 'function_call_output', ...done, call_id: 'call_2' },
      output: [
        { type: 'input_text', text: 'j' },
        { type: 'input_image', image_url: 'data:image/png;base64,', detail: 'auto' },
      ],
    },
    {
      ...{ id: 'item_9', type: 'reasoning', summary: [{ type: 'summary_text', text: 'k' }] },
      ...{ content: [{ type: 'reasoning_text', text: 'l' }], encrypted_content: 'm', ...done },
    },
    {
      ...{ id: 'item_10', type: 'custom_tool_call', ...done, call_id: 'call_3', name: 'c', input: 'n' },
      namespace: 'crm',
    },
    { id: 'item_11', type: 'custom_tool_call_output', ...done, call_id: 'call_3', output: 'o', name: 'c' },
    {
      ...{ id: 'item_12', type: 'function_call', ...done, call_id: 'call_4', name: 'f', arguments: '{}' },
      namespace: 'crm',
    },
    {
      ...{ id: 'item_13', type: 'function_call_output', ...done, call_id: 'call_4' },
      output: [
        { type: 'input_file', file_data: 'a', filename: 'p' },
        { type: 'input_file', file_url: 'https://files.example/a', detail: 'high' },
      ],
      namespace: 'crm',
    },
    { type: 'web_search_call', id: 'item_14', ...done, action: { type: 'search', query: 'q' } },
  ];
}

/** A request with every field that goes together, items in the form in which they are shown again. */
export function specimen(): Json {
  return {
    model: 'm',
    input: items(),
    instructions: 'a',
    store: true,
    stream: false,
    stream_options: { include_obfuscation: false },
    include: ['reasoning.encrypted_content'],
    metadata: { a: 'b' },
    user: 'a',
    safety_identifier: 'a',
    prompt_cache_key: 'a',
    prompt_cache_retention: '24h',
    prompt_cache_options: { mode: 'a', ttl: 'b' },
    service_tier: 'flex',
    max_output_tokens: 16,
    max_tool_calls: 1,
    temperature: 1,
    top_p: 1,
    top_logprobs: 0,
    presence_penalty: 0,
    frequency_penalty: 0,
    parallel_tool_calls: true,
    truncation: 'auto',
    background: false,
    text: {
      format: { type: 'json_schema', name: 'n', description: 'a', schema: { type: 'object' }, strict: false },
      verbosity: 'medium',
    },
    reasoning: { effort: 'low', summary: 'auto', generate_summary: 'auto', context: 'auto' },
    tools: [
      { type: 'function', name: 'f', description: 'a', parameters: { type: 'object' }, strict: false },
      {
        ...{ type: 'function', name: 'other', description: 'b', parameters: {}, strict: true },
        ...{ output_schema: {}, defer_loading: true, allowed_callers: ['a'] },
      },
      {
        ...{ type: 'custom', name: 'c', description: 'c' },
        format: { type: 'grammar', syntax: 'lark', definition: 'a' },
        ...{ defer_loading: true, allowed_callers: ['a'] },
      },
      {
        ...{ type: 'namespace', name: 'crm', description: 'd' },
        tools: [
          {
            ...{ type: 'function', name: 'f', description: 'e', parameters: {}, strict: true },
            ...{ output_schema: {}, defer_loading: true, allowed_callers: ['a'] },
          },
          {
            ...{ type: 'custom', name: 'c', description: 'f' },
            format: { type: 'grammar', syntax: 'regex', definition: 'a' },
            ...{ defer_loading: true, allowed_callers: ['a'] },
          },
        ],
      },
      { type: 'mcp', server_label: 'a', server_url: 'https://mcp.example/' },
    ],
    tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'f' }] },
    client_metadata: { a: 'b' },
  };
}

/** Requests for the fields that do not go together with the others. Each value that a field does not take is refused. */
export const otherForms: readonly { readonly body: Json; readonly field: Field }[] = [
  { body: { model: 'm' }, field: field('input', text) },
  { body: { model: 'm', input: 'x' }, field: field('tool_choice', () => false) },
  {
    body: { model: 'm', input: 'x', tool_choice: { type: 'function' } },
    field: field('tool_choice.name', () => false),
  },
  { body: { model: 'm', input: 'x', tool_choice: { type: 'custom' } }, field: field('tool_choice.name', () => false) },
  {
    body: { model: 'm', input: 'x', tool_choice: { type: 'mcp', server_label: 'a' } },
    field: field('tool_choice.name', () => false),
  },
  {
    body: { model: 'm', input: 'x', tool_choice: { type: 'mcp' } },
    field: field('tool_choice.server_label', () => false),
  },
];

/** Where ids stand in a request: nothing may be found there that was not made there. */
export const idFields = [
  { path: 'previous_response_id', kind: 'response', notFound: '400 previous_response_not_found' },
  { path: 'conversation', kind: 'conversation', notFound: '404 null' },
  { path: 'conversation.id', kind: 'conversation', notFound: '404 null' },
  { path: 'input[0].id', kind: 'item', notFound: '404 null' },
] as const;

/** What the API takes in one of those fields, as an id of something that may be there. */
export function mayBeId(path: string, value: string): boolean {
  return path === 'input[0].id' ? itemId(value) : value.length <= 256;
}

/** Every place of `specimen` where a string, a number or a boolean stands, or would stand, that is not free JSON. */
export function leavesOf(body: Json): string[] {
  const found: string[] = [];
  const visit = (value: Json, path: string) => {
    if (freeJson.test(path)) return;
    if (typeof value !== 'object') found.push(path);
    else if (Array.isArray(value)) value.forEach((each, index) => void visit(each, `${path}[${index}]`));
    else for (const [key, each] of Object.entries(value)) visit(each, path === '' ? key : `${path}.${key}`);
  };
  visit(body, '');
  return [...found, ...absentFields];
}

/** Every object of `specimen` that has no room for further properties. */
export function objectsOf(body: Json): string[] {
  const found: string[] = [];
  const visit = (value: Json, path: string) => {
    if (typeof value !== 'object' || freeJson.test(path)) return;
    const isOpen = /^(?:metadata|tool_choice\.tools|tools\[4\]|input\[14\])|\.(?:annotations|logprobs)\[/.test(path);
    if (!Array.isArray(value) && !isOpen) found.push(path);
    const inner = Array.isArray(value) ? value.map((each, index) => [`[${index}]`, each]) : Object.entries(value);
    for (const [key, each] of inner) visit(each, path === '' || key.startsWith('[') ? path + key : `${path}.${key}`);
  };
  visit(body, '');
  return found;
}

/** Sets what stands at a path such as `input[0].id`; makes objects where there are none. */
export function put(body: Json, path: string, value: unknown): Json {
  const keys = path.split(/[.[\]]+/).filter((key) => key !== '');
  const last = keys.pop() ?? '';
  let at = body;
  for (const key of keys) {
    if (typeof at[key] !== 'object') at[key] = {};
    at = at[key];
  }
  at[last] = value;
  return body;
}

/** What stands at a path. */
export function at(body: Json, path: string): Json {
  return path
    .split(/[.[\]]+/)
    .filter((key) => key !== '')
    .reduce((inner, key) => inner[key], body);
}

/** The same with a further property, whatever its name. */
export function withProperty(body: Json, path: string, name: string, value: unknown): Json {
  Object.defineProperty(at(body, path), name, { value, enumerable: true, configurable: true, writable: true });
  return body;
}

/** So many strings of the corpus from an index on, around its end. */
export function stringsFrom(index: number, count: number, fits: (value: string) => boolean = () => true): string[] {
  const candidates = oddStrings.filter(fits);
  return Array.from(
    { length: Math.min(count, candidates.length) },
    (_, offset) => candidates[(index + offset) % candidates.length] ?? '',
  );
}

/** Metadata with odd keys and odd values, as many pairs as there may be. */
export function oddMetadata(round: number): Json {
  const keys = stringsFrom(round, 16, upTo(64));
  const values = stringsFrom(round + 21, 16, upTo(512));
  return Object.fromEntries(keys.map((key, index) => [key, values[index]]));
}

/** A JSON Schema whose property names, descriptions and values are odd. */
export function oddSchema(round: number): Json {
  const names = stringsFrom(round, 8);
  const words = stringsFrom(round + 29, 8);
  const properties = names.map((name, index) => [name, { type: 'string', description: words[index], const: name }]);
  const outer = stringsFrom(round + 47, 4).map((name, index) => [name, { $ref: words[index], $gt: '' }]);
  return Object.fromEntries([
    ['type', 'object'],
    ['properties', Object.fromEntries(properties)],
    ['required', names],
    ['additionalProperties', false],
    ['$ref', '#/$defs/a.b'],
    ['$defs', Object.fromEntries(outer)],
    ...outer,
  ]);
}

/** Request number `round`: every open field has a string of its own, and in as many rounds as there are strings each. */
export function oddRequest(round: number): Json {
  const body = specimen();
  for (const [index, { paths, takes, prefix }] of openFields.entries()) {
    const [value = ''] = stringsFrom(round + index, 1);
    if (takes(value)) for (const path of paths) put(body, path, prefix + value);
  }
  body.metadata = oddMetadata(round);
  body.text.format.schema = oddSchema(round);
  body.tools[0].parameters = oddSchema(round + 13);
  body.client_metadata = oddSchema(round + 27);
  for (const [index, path] of ['annotations', 'logprobs'].entries()) {
    const [name = ''] = stringsFrom(round + 5 + index, 1, (each) => each !== '__proto__');
    withProperty(body, `input[3].content[0].${path}[0]`, name, oddSchema(round + 31));
  }
  // Of tools and items of an upstream's own, whatever has no meaning here.
  body.input[14].action = oddSchema(round + 17);
  for (const [index, path] of ['tools[4]', 'input[14]'].entries()) {
    const [name = ''] = stringsFrom(round + 9 + index, 1, (each) => each !== '__proto__');
    withProperty(body, path, name, oddSchema(round + 37));
  }
  return body;
}

/** An item in the form in which it is shown: a text in place of parts becomes a part. */
export function shown(item: Json): Json {
  if (item.type !== 'message' || typeof item.content !== 'string') return item;
  const part =
    item.role === 'assistant'
      ? { type: 'output_text', text: item.content, annotations: [], logprobs: [] }
      : { type: 'input_text', text: item.content };
  return { ...item, content: [part] };
}

/** The strings that a JSON Schema of a request asks for, as paths without the numbers of list entries. */
export function stringFieldsOf(schemas: Json, name: string): string[] {
  const found = new Set<string>();
  const visit = (schema: Json, path: string, above: readonly Json[]) => {
    if (typeof schema !== 'object' || schema === null || above.includes(schema)) return;
    const inner = [...above, schema];
    if (typeof schema.$ref === 'string') visit(schemas[schema.$ref.split('/').at(-1)], path, inner);
    const values = [schema.const, ...(schema.enum ?? [])];
    if ([schema.type].flat().includes('string') || values.some((each) => typeof each === 'string')) found.add(path);
    for (const branch of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) visit(branch, path, inner);
    if (schema.items !== undefined) visit(schema.items, `${path}[]`, inner);
    for (const [key, each] of Object.entries<Json>(schema.properties ?? {}))
      visit(each, path === '' ? key : `${path}.${key}`, inner);
  };
  visit(schemas[name], '', []);
  return [...found];
}
