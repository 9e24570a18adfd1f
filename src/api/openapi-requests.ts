import { z } from 'zod';
import { createConversationSchema, createItemsSchema, updateConversationSchema } from './conversations.ts';
import { createResponseSchema, includeSchema } from './create-response.ts';
import { inputItemSchema } from './items.ts';
import { ref, type Schemas } from './openapi-shapes.ts';
import { assistantPartSchema, inputPartSchema } from './parts.ts';
import { type JsonObject, jsonObjectSchema, metadataSchema } from './primitives.ts';
import { toolChoiceSchema, toolsSchema } from './tools.ts';

/** What `type` may say in a request. All else that the Zod schemas know is there to be refused by name. */
const knownTypes = new Set([
  ...['message', 'function_call', 'function_call_output', 'reasoning', 'item_reference'],
  ...['input_text', 'input_image', 'output_text', 'refusal', 'summary_text', 'reasoning_text'],
  ...['function', 'allowed_tools', 'text', 'json_object', 'json_schema'],
]);

/** Items that need no `type`: the rest of them says what they are. */
const typeless = new Set<unknown>(['message', 'item_reference']);

/** Fields that the Zod schemas know only to refuse them by name. A test holds this list against the validator. */
const refusedFields: Readonly<Record<string, readonly string[]>> = {
  CreateResponse: ['context_management', 'moderation', 'prompt'],
  ReasoningRequest: ['mode'],
};

const notes: Readonly<Record<string, string>> = {
  model: 'A model of `GET /v1/models`, also as `provider/model` or `provider@model`, or an alias.',
  input: 'A text, which is one user message, or a list of items.',
  instructions: 'A system message for this response only: a response that continues it does not inherit it.',
  previous_response_id: 'The stored response to continue. Not together with `conversation`.',
  conversation: 'The conversation to continue. Its items come first, and what this response adds is appended to it.',
  store:
    'Whether to keep the response. Where it is omitted, a conversation’s response is kept and the server’s setting decides for others.',
  stream: 'Whether to answer with events as they happen.',
  background: 'Only `false`.',
  truncation: 'Only `disabled`.',
  max_tool_calls: 'Echoed. It bounds tools that a server runs, and this one runs none.',
  metadata: 'Kept with the response; never sent to a model.',
  client_metadata: 'Accepted and ignored.',
  include: 'Accepted. What it can ask for is always there, or never.',
};

const named = {
  CreateResponse: createResponseSchema,
  InputItem: inputItemSchema,
  InputPart: inputPartSchema,
  AssistantPart: assistantPartSchema,
  Tools: toolsSchema,
  ToolChoice: toolChoiceSchema,
  Include: includeSchema,
  Metadata: metadataSchema,
  JsonObject: jsonObjectSchema,
  CreateConversation: createConversationSchema,
  UpdateConversation: updateConversationSchema,
  CreateItems: createItemsSchema,
} satisfies Record<string, z.ZodType>;

type Mutable = { [key: string]: unknown };

/** What clients send, made from the schemas that check it. */
export function requestSchemas(): Schemas {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(named)) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, {
    io: 'input',
    target: 'draft-2020-12',
    unrepresentable: 'any',
    uri: (id) => `#/components/schemas/${id}`,
  });
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, tidy(id, schema)]));
}

function tidy(id: string, schema: unknown): JsonObject {
  const { $schema: _schema, $id: _id, ...rest } = supportedOnly(schema) as Mutable;
  if (id === 'CreateResponse') describeFields(rest);
  if (id === 'InputPart') requireImageUrl(rest);
  return rest;
}

/** Leaves out the branches of unions that exist to be refused, and unwraps unions of one. */
function supportedOnly(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(supportedOnly);
  if (!isObject(value)) return value;
  const copy: Mutable = {};
  for (const [key, inner] of Object.entries(value)) {
    const isUnion = (key === 'oneOf' || key === 'anyOf') && Array.isArray(inner);
    copy[key] = supportedOnly(isUnion ? inner.filter(isSupported) : inner);
  }
  const { type } = isObject(copy['properties']) ? copy['properties'] : {};
  if (isObject(type) && typeless.has(type['const']) && Array.isArray(copy['required'])) {
    copy['required'] = copy['required'].filter((name) => name !== 'type');
  }
  const { oneOf, ...others } = copy;
  if (Array.isArray(oneOf) && oneOf.length === 1 && Object.keys(others).length === 0) return oneOf[0];
  return copy;
}

function isSupported(branch: unknown): boolean {
  if (!isObject(branch) || !isObject(branch['properties'])) return true;
  const { type } = branch['properties'];
  if (!isObject(type)) return true;
  if (Array.isArray(type['enum'])) return type['enum'].every((each) => knownTypes.has(String(each)));
  return type['const'] === undefined || knownTypes.has(String(type['const']));
}

function describeFields(body: Mutable): void {
  const properties = without(body['properties'], refusedFields['CreateResponse']);
  const { reasoning } = properties;
  if (isObject(reasoning) && Array.isArray(reasoning['anyOf'])) {
    for (const branch of reasoning['anyOf']) {
      if (!isObject(branch) || branch['properties'] === undefined) continue;
      branch['properties'] = without(branch['properties'], refusedFields['ReasoningRequest']);
    }
  }
  for (const [name, description] of Object.entries(notes)) {
    const field = properties[name];
    if (isObject(field)) properties[name] = { ...field, description };
  }
  properties['background'] = { enum: [false, null], description: notes['background'] };
  properties['truncation'] = { enum: ['disabled', null], description: notes['truncation'] };
  body['properties'] = properties;
}

/** An image is given by URL: `file_id` is refused, so that `image_url` is a must. */
function requireImageUrl(part: Mutable): void {
  for (const branch of Array.isArray(part['oneOf']) ? part['oneOf'] : []) {
    if (!isObject(branch) || !isObject(branch['properties']) || !('image_url' in branch['properties'])) continue;
    branch['properties'] = without(branch['properties'], ['file_id']);
    branch['required'] = ['type', 'image_url'];
  }
}

function without(properties: unknown, names: readonly string[] = []): Mutable {
  const entries = Object.entries(isObject(properties) ? properties : {});
  return Object.fromEntries(entries.filter(([name]) => !names.includes(name)));
}

function isObject(value: unknown): value is Mutable {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The parameters of a query, made from the schema that checks it. */
export function queryParameters(schema: z.ZodType): JsonObject[] {
  const { properties = {} } = z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' });
  return Object.entries(properties).map(([name, property]) => {
    if (name !== 'include') return { name, in: 'query', required: false, schema: property };
    const description = 'Repeated for each value; `include[]` means the same.';
    return { name, in: 'query', required: false, description, schema: { type: 'array', items: ref('Include') } };
  });
}
