import { constant, count, listOf, nullable, ref, type Schemas, shape, text, variants } from './openapi-shapes.ts';
import type { JsonObject } from './primitives.ts';

const snapshot = { response: ref('Response') };
const inItem = { item_id: text, output_index: count };
const inContent = { ...inItem, content_index: count };
const inSummary = { ...inItem, summary_index: count };
const logprobs = listOf(ref('LogProb'));
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
  'response.content_part.added': { ...inContent, part: variants(['OutputText', 'Refusal']) },
  'response.content_part.done': { ...inContent, part: variants(['OutputText', 'Refusal']) },
  'response.output_text.delta': { ...inContent, delta: text, logprobs, obfuscation: padding },
  'response.output_text.done': { ...inContent, text, logprobs },
  'response.refusal.delta': { ...inContent, delta: text, obfuscation: padding },
  'response.refusal.done': { ...inContent, refusal: text },
  'response.function_call_arguments.delta': { ...inItem, delta: text, obfuscation: padding },
  'response.function_call_arguments.done': { ...inItem, arguments: text, name: text },
  'response.reasoning_summary_part.added': { ...inSummary, part: ref('SummaryText') },
  'response.reasoning_summary_part.done': { ...inSummary, part: ref('SummaryText') },
  'response.reasoning_summary_text.delta': { ...inSummary, delta: text, obfuscation: padding },
  'response.reasoning_summary_text.done': { ...inSummary, text },
  'response.completed': snapshot,
  'response.incomplete': snapshot,
  'response.failed': snapshot,
  error: { code: nullable(text), message: text, param: nullable(text), error: ref('ErrorBody') },
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

/** The events of a stream, and `StreamEvent`, which is any of them. */
export const eventSchemas: Schemas = {
  ...events,
  StreamEvent: {
    oneOf: Object.keys(fields).map((type) => ref(nameOf(type))),
    discriminator: {
      propertyName: 'type',
      mapping: Object.fromEntries(Object.keys(fields).map((type) => [type, `#/components/schemas/${nameOf(type)}`])),
    },
  },
};
