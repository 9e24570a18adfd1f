import {
  constant,
  count,
  listOf,
  nullable,
  oneOf,
  ref,
  type Schemas,
  shape,
  text,
  variants,
} from './openapi-shapes.ts';
import type { JsonObject } from './primitives.ts';

const snapshot = { response: ref('Response') };
const inItem = { item_id: text, output_index: count };
const inContent = { ...inItem, content_index: count };
const inSummary = { ...inItem, summary_index: count };
const logprobs = listOf(ref('LogProb'));
const part = variants(['OutputText', 'Refusal', 'ReasoningText']);
const padding: JsonObject = {
  type: 'string',
  description: 'Random characters that hide the length of the delta; there only where obfuscation is on.',
};

/** The fields of each event besides `type` and `sequence_number`. */
const fields: Readonly<Record<string, Schemas>> = {
  'response.created': snapshot,
  'response.in_progress': snapshot,
  'response.output_item.added': { output_index: count, item: ref('OutputItem') },
  'response.output_item.done': { output_index: count, item: ref('OutputItem') },
  'response.content_part.added': { ...inContent, part },
  'response.content_part.done': { ...inContent, part },
  'response.output_text.delta': { ...inContent, delta: text, logprobs, obfuscation: padding },
  'response.output_text.done': { ...inContent, text, logprobs },
  'response.output_text.annotation.added': { ...inContent, annotation_index: count, annotation: ref('JsonObject') },
  'response.refusal.delta': { ...inContent, delta: text, obfuscation: padding },
  'response.refusal.done': { ...inContent, refusal: text },
  'response.function_call_arguments.delta': { ...inItem, delta: text, obfuscation: padding },
  'response.function_call_arguments.done': { ...inItem, arguments: text, name: text },
  'response.custom_tool_call_input.delta': { ...inItem, delta: text, obfuscation: padding },
  'response.custom_tool_call_input.done': { ...inItem, input: text },
  'response.reasoning_summary_part.added': { ...inSummary, part: ref('SummaryText') },
  'response.reasoning_summary_part.done': { ...inSummary, part: ref('SummaryText') },
  'response.reasoning_summary_text.delta': { ...inSummary, delta: text, obfuscation: padding },
  'response.reasoning_summary_text.done': { ...inSummary, text },
  'response.reasoning_text.delta': { ...inContent, delta: text, obfuscation: padding },
  'response.reasoning_text.done': { ...inContent, text },
  'response.reasoning.delta': { ...inContent, delta: text, obfuscation: padding },
  'response.reasoning.done': { ...inContent, text },
  'response.completed': snapshot,
  'response.incomplete': snapshot,
  'response.failed': snapshot,
  error: { code: nullable(text), message: text, param: nullable(text), error: ref('ErrorBody') },
};

/** Events of tools that providers run, by OpenAI's description of 2026-08-21. */
const hostedEvents: readonly string[] = Object.entries({
  web_search_call: ['in_progress', 'searching', 'completed'],
  file_search_call: ['in_progress', 'searching', 'completed'],
  code_interpreter_call: ['in_progress', 'interpreting', 'completed'],
  code_interpreter_call_code: ['delta', 'done'],
  image_generation_call: ['in_progress', 'generating', 'partial_image', 'completed'],
  mcp_call: ['in_progress', 'completed', 'failed'],
  mcp_call_arguments: ['delta', 'done'],
  mcp_list_tools: ['in_progress', 'completed', 'failed'],
  shell_call_command: ['added', 'delta', 'done'],
  shell_call_output_content: ['delta', 'done'],
}).flatMap(([subject, endings]) => endings.map((ending) => `response.${subject}.${ending}`));

const hostedEvent: JsonObject = {
  ...shape({ type: oneOf(...hostedEvents), sequence_number: count, ...inItem }),
  additionalProperties: true,
  description: 'An event of a tool that the provider runs, as the provider sent it, but for its number and its item.',
};

/** `response.output_text.delta` → `OutputTextDeltaEvent`. */
function nameOf(type: string): string {
  const words = type.split(/[._]/).filter((word, index) => index > 0 || word !== 'response');
  const isSnapshot = words.length === 1 && type !== 'error';
  const name = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
  return `${isSnapshot ? 'Response' : ''}${name}Event`;
}

function schemaOf(type: string, own: Schemas): JsonObject {
  return shape({ type: constant(type), sequence_number: count, ...own }, ['obfuscation']);
}

const events: Schemas = Object.fromEntries(
  Object.entries(fields).map(([type, own]) => [nameOf(type), schemaOf(type, own)]),
);

const names: readonly (readonly [type: string, name: string])[] = [
  ...Object.keys(fields).map((type) => [type, nameOf(type)] as const),
  ...hostedEvents.map((type) => [type, 'HostedToolEvent'] as const),
];

/** The events of a stream, and `StreamEvent`, which is any of them. */
export const eventSchemas: Schemas = {
  ...events,
  HostedToolEvent: hostedEvent,
  StreamEvent: {
    oneOf: [...new Set(names.map(([, name]) => name))].map(ref),
    discriminator: {
      propertyName: 'type',
      mapping: Object.fromEntries(names.map(([type, name]) => [type, `#/components/schemas/${name}`])),
    },
  },
};
