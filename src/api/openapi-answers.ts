import { hostedItemTypes } from './items.ts';
import {
  constant,
  count,
  flag,
  listOf,
  nullable,
  oneOf,
  ref,
  type Schemas,
  seconds,
  shape,
  text,
  variants,
} from './openapi-shapes.ts';
import type { JsonObject } from './primitives.ts';
import { hostedToolTypes } from './tools.ts';

const itemStatus = oneOf('in_progress', 'completed', 'incomplete');

/** An object with further fields that are somebody else's to describe. */
function open(schema: JsonObject, description: string): JsonObject {
  return { ...schema, additionalProperties: true, description };
}

const parts: Schemas = {
  InputText: shape({ type: constant('input_text'), text }),
  InputImage: shape({
    type: constant('input_image'),
    image_url: text,
    detail: oneOf('low', 'high', 'auto', 'original'),
  }),
  InputFile: shape(
    {
      type: constant('input_file'),
      file_url: text,
      file_data: text,
      filename: text,
      detail: oneOf('low', 'high', 'auto'),
    },
    ['file_url', 'file_data', 'filename', 'detail'],
    'A file, with `file_url` or `file_data`.',
  ),
  OutputText: shape({
    type: constant('output_text'),
    text,
    annotations: listOf({ type: 'object', additionalProperties: true }),
    logprobs: listOf(ref('LogProb')),
  }),
  Refusal: shape({ type: constant('refusal'), refusal: text }),
  SummaryText: shape({ type: constant('summary_text'), text }),
  ReasoningText: shape({ type: constant('reasoning_text'), text }),
  ContentPart: variants(['InputText', 'InputImage', 'InputFile', 'OutputText', 'Refusal']),
  TokenLogProb: shape({ token: text, logprob: { type: 'number' }, bytes: listOf({ type: 'integer' }) }),
  LogProb: shape({
    token: text,
    logprob: { type: 'number' },
    bytes: listOf({ type: 'integer' }),
    top_logprobs: listOf(ref('TokenLogProb')),
  }),
};

const namespace: JsonObject = { type: 'string', description: 'The namespace of the tool, where it has one.' };
const callOutput: JsonObject = { anyOf: [text, listOf(variants(['InputText', 'InputImage', 'InputFile']))] };

const items: Schemas = {
  Message: shape(
    {
      id: text,
      type: constant('message'),
      status: itemStatus,
      role: oneOf('user', 'assistant', 'system', 'developer'),
      content: listOf(ref('ContentPart')),
      phase: oneOf('commentary', 'final_answer'),
    },
    ['phase'],
  ),
  FunctionCall: shape(
    {
      id: text,
      type: constant('function_call'),
      status: itemStatus,
      call_id: text,
      name: text,
      arguments: { type: 'string', description: 'JSON, as the model wrote it.' },
      namespace,
    },
    ['namespace'],
  ),
  FunctionCallOutput: shape(
    {
      id: text,
      type: constant('function_call_output'),
      status: itemStatus,
      call_id: text,
      output: callOutput,
      name: text,
      namespace,
    },
    ['name', 'namespace'],
  ),
  CustomToolCall: shape(
    {
      id: text,
      type: constant('custom_tool_call'),
      status: itemStatus,
      call_id: text,
      name: text,
      input: { type: 'string', description: 'What the tool is given, of any form.' },
      namespace,
    },
    ['namespace'],
  ),
  CustomToolCallOutput: shape(
    {
      id: text,
      type: constant('custom_tool_call_output'),
      status: itemStatus,
      call_id: text,
      output: callOutput,
      name: text,
    },
    ['name'],
  ),
  HostedItem: open(
    shape({ id: text, type: oneOf(...hostedItemTypes) }),
    'An item of a tool that the provider runs, as the provider said it, under an id of this server.',
  ),
  Reasoning: shape(
    {
      id: text,
      type: constant('reasoning'),
      summary: listOf(ref('SummaryText')),
      content: listOf(ref('ReasoningText')),
      encrypted_content: {
        type: 'string',
        description:
          'What the provider wants to have back in later turns, encrypted. Send it back as it is, with its item.',
      },
      status: itemStatus,
    },
    ['content', 'encrypted_content', 'status'],
  ),
  Item: variants([
    'Message',
    'FunctionCall',
    'FunctionCallOutput',
    'CustomToolCall',
    'CustomToolCallOutput',
    'Reasoning',
    'HostedItem',
  ]),
  OutputItem: variants(['Message', 'FunctionCall', 'CustomToolCall', 'Reasoning', 'HostedItem']),
  ItemList: shape({
    object: constant('list'),
    data: listOf(ref('Item')),
    first_id: nullable(text),
    last_id: nullable(text),
    has_more: { type: 'boolean', description: 'Whether more items follow `last_id` in this order.' },
  }),
};

/** Of functions and custom tools, for providers that know them. */
const callers: Schemas = { defer_loading: flag, allowed_callers: listOf(text) };

const settings: Schemas = {
  FunctionTool: shape(
    {
      type: constant('function'),
      name: text,
      description: nullable(text),
      parameters: nullable(ref('JsonObject')),
      strict: nullable(flag),
      output_schema: ref('JsonObject'),
      ...callers,
    },
    ['output_schema', ...Object.keys(callers)],
  ),
  CustomTool: shape(
    {
      type: constant('custom'),
      name: text,
      description: text,
      format: {
        oneOf: [
          shape({ type: constant('text') }),
          shape({ type: constant('grammar'), syntax: oneOf('lark', 'regex'), definition: text }),
        ],
      },
      ...callers,
    },
    ['description', 'format', ...Object.keys(callers)],
  ),
  NamespaceTool: shape({
    type: constant('namespace'),
    name: text,
    description: text,
    tools: listOf(variants(['FunctionTool', 'CustomTool'])),
  }),
  HostedTool: open(
    { type: 'object', properties: { type: oneOf(...hostedToolTypes) }, required: ['type'] },
    'A tool that the provider runs, as the request named it.',
  ),
  Tool: variants(['FunctionTool', 'CustomTool', 'NamespaceTool', 'HostedTool']),
  ToolChoiceInForce: {
    anyOf: [
      oneOf('none', 'auto', 'required'),
      shape({ type: oneOf('function', 'custom'), name: text }),
      shape({
        type: constant('allowed_tools'),
        mode: oneOf('auto', 'required'),
        tools: listOf(ref('JsonObject')),
      }),
      shape({ type: constant('mcp'), server_label: text, name: text }, ['name']),
      shape({ type: oneOf(...hostedToolTypes.filter((type) => type !== 'mcp')) }),
    ],
  },
  TextSettings: shape({
    format: {
      oneOf: [
        shape({ type: constant('text') }),
        shape({ type: constant('json_object') }),
        shape(
          { type: constant('json_schema'), name: text, description: text, schema: ref('JsonObject'), strict: flag },
          ['description'],
        ),
      ],
    },
    verbosity: oneOf('low', 'medium', 'high'),
  }),
  ReasoningSettings: shape({
    effort: nullable(oneOf('none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max')),
    summary: nullable(oneOf('auto', 'concise', 'detailed')),
  }),
  Usage: shape({
    input_tokens: count,
    input_tokens_details: shape({ cached_tokens: count, cache_write_tokens: count }),
    output_tokens: count,
    output_tokens_details: shape({ reasoning_tokens: count }),
    total_tokens: count,
  }),
};

const response = shape(
  {
    id: text,
    object: constant('response'),
    created_at: seconds,
    completed_at: nullable(seconds),
    status: oneOf('in_progress', 'completed', 'failed', 'cancelled', 'incomplete'),
    error: nullable(shape({ code: text, message: text })),
    incomplete_details: nullable(shape({ reason: oneOf('max_output_tokens', 'content_filter') })),
    model: { type: 'string', description: 'The model that answered, by the name that its provider gives.' },
    output: listOf(ref('OutputItem')),
    usage: { ...nullable(ref('Usage')), description: 'Null where the provider did not tell.' },
    background: flag,
    conversation: shape({ id: text }),
    instructions: nullable(text),
    max_output_tokens: nullable(count),
    max_tool_calls: nullable(count),
    metadata: ref('Metadata'),
    parallel_tool_calls: flag,
    presence_penalty: { type: 'number' },
    frequency_penalty: { type: 'number' },
    previous_response_id: nullable(text),
    prompt_cache_key: nullable(text),
    prompt_cache_retention: text,
    prompt_cache_options: ref('JsonObject'),
    reasoning: nullable(ref('ReasoningSettings')),
    safety_identifier: nullable(text),
    service_tier: {
      type: 'string',
      description: 'The tier that the provider used, or the one that was asked for. Never `auto`.',
    },
    store: {
      type: 'boolean',
      description: 'Whether the response is kept: what the request said, or the server’s rule.',
    },
    temperature: { type: 'number' },
    text: ref('TextSettings'),
    tool_choice: ref('ToolChoiceInForce'),
    tools: listOf(ref('Tool')),
    top_logprobs: count,
    top_p: { type: 'number' },
    truncation: oneOf('disabled', 'auto'),
    user: text,
  },
  ['conversation', 'prompt_cache_retention', 'prompt_cache_options', 'user'],
  'A response: what was asked for, with every default filled in, and what came of it.',
);

/** What the server answers with, streams left aside. */
export const answerSchemas: Schemas = {
  ...parts,
  ...items,
  ...settings,
  Response: response,
  InputTokens: shape({ object: constant('response.input_tokens'), input_tokens: count }),
  DeletedResponse: shape({ id: text, object: constant('response'), deleted: constant(true) }),
  Conversation: shape({
    id: text,
    object: constant('conversation'),
    created_at: seconds,
    metadata: ref('Metadata'),
  }),
  DeletedConversation: shape({ id: text, object: constant('conversation.deleted'), deleted: constant(true) }),
  Model: shape({ id: text, object: constant('model'), created: seconds, owned_by: text }),
  ModelList: shape({ object: constant('list'), data: listOf(ref('Model')) }),
  Health: shape({ status: text }),
  ErrorBody: shape({
    message: text,
    type: text,
    param: { ...nullable(text), description: 'The path of the field at fault.' },
    code: { ...nullable(text), description: 'What went wrong, in a word that programs can rely on.' },
  }),
  Error: shape({ error: ref('ErrorBody') }),
};
