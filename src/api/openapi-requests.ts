import { z } from 'zod';
import { createConversationSchema, createItemsSchema, updateConversationSchema } from './conversations.ts';
import { createResponseSchema, includeSchema } from './create-response.ts';
import { countTokensSchema } from './input-tokens.ts';
import { inputItemSchema } from './items.ts';
import { ref, type Schemas } from './openapi-shapes.ts';
import { assistantPartSchema, inputPartSchema } from './parts.ts';
import { type JsonObject, jsonObjectSchema, metadataSchema } from './primitives.ts';
import { toolChoiceSchema, toolsSchema } from './tools.ts';

/** What `type` may say only to be refused by name. A test holds this list against the validator. */
const refusedTypes = new Set(['additional_tools', 'compaction_trigger']);

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
  truncation:
    'What happens where the provider says that the input is too long: `disabled`, an error; `auto`, it is asked again without the oldest of it.',
  tools:
    'Functions and custom tools, also in namespaces, are the client’s to run. All others are the provider’s, and refused where the model’s provider has none.',
  max_tool_calls: 'How many calls of its own tools the provider may make. This server runs none.',
  metadata: 'Kept with the response; never sent to a model.',
  client_metadata: 'Accepted and ignored.',
  service_tier: 'Sent to providers that have tiers. `auto` and nothing leave the choice to them.',
  include:
    'Goes to providers that speak the Responses API. Elsewhere `message.output_text.logprobs` asks for log probabilities, and the others change nothing.',
};

/** Notes on fields of POST /v1/responses/input_tokens that mean something else there. */
const countNotes: Readonly<Record<string, string>> = {
  model: 'As for a response. Without it nobody is asked, and the number is an estimate.',
  input: 'As for a response. It may be missing.',
  conversation: 'The conversation to continue. Its items are counted; nothing is appended.',
  previous_response_id: 'The stored response to continue, whose context is counted. Not together with `conversation`.',
  truncation: 'Changes nothing: all of it is counted.',
  personality: 'Accepted. What it adds is not counted, so that the number is an estimate.',
};

const named = {
  CreateResponse: createResponseSchema,
  CountTokens: countTokensSchema,
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
  if (id === 'CreateResponse') describeFields(rest, notes);
  if (id === 'CountTokens') describeFields(rest, { ...notes, ...countNotes });
  if (id === 'InputPart') requireContent(rest);
  return rest;
}

/** Leaves out the branches of unions that exist to be refused. */
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
  return copy;
}

function isSupported(branch: unknown): boolean {
  if (!isObject(branch) || !isObject(branch['properties'])) return true;
  const { type } = branch['properties'];
  return (
    !isObject(type) || !Array.isArray(type['enum']) || !type['enum'].some((each) => refusedTypes.has(String(each)))
  );
}

function describeFields(body: Mutable, descriptions: Readonly<Record<string, string>>): void {
  const properties = without(body['properties'], refusedFields['CreateResponse']);
  const { reasoning } = properties;
  if (isObject(reasoning) && Array.isArray(reasoning['anyOf'])) {
    for (const branch of reasoning['anyOf']) {
      if (!isObject(branch) || branch['properties'] === undefined) continue;
      branch['properties'] = without(branch['properties'], refusedFields['ReasoningRequest']);
    }
  }
  for (const [name, description] of Object.entries(descriptions)) {
    const field = properties[name];
    if (isObject(field)) properties[name] = { ...field, description };
  }
  if ('background' in properties) {
    properties['background'] = { enum: [false, null], description: notes['background'] };
  }
  body['properties'] = properties;
}

/** An image is given by URL, a file by URL or with its content, and either by one of these alone: `file_id` is refused. */
function requireContent(part: Mutable): void {
  const branches: unknown[] = Array.isArray(part['oneOf']) ? part['oneOf'] : [];
  part['oneOf'] = branches.flatMap((branch) => {
    if (!isObject(branch) || !isObject(branch['properties']) || !('file_id' in branch['properties'])) return [branch];
    const properties = without(branch['properties'], ['file_id']);
    const ways = ['image_url', 'file_data', 'file_url'].filter((name) => name in properties);
    return ways.map((way) => {
      const others = ways.filter((name) => name !== way).map((name) => [name, { type: 'null' }]);
      const given = { ...properties, ...Object.fromEntries(others), [way]: notNull(properties[way]) };
      return { ...branch, properties: given, required: ['type', way] };
    });
  });
}

function notNull(schema: unknown): unknown {
  if (!isObject(schema) || !Array.isArray(schema['anyOf'])) return schema;
  const [first, ...others] = schema['anyOf'].filter((branch) => !isObject(branch) || branch['type'] !== 'null');
  return others.length === 0 ? first : { ...schema, anyOf: [first, ...others] };
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
