import { z } from 'zod';
import { inputItemsSchema } from './items.ts';
import { integer, jsonObjectSchema, maxTextLength, metadataSchema, optional, unsupported } from './primitives.ts';
import { toolChoiceSchema, toolsSchema } from './tools.ts';

/**
 * What a request may ask to be included (docs/wire.md §3). What this server never leaves out is accepted and changes
 * nothing.
 */
export const includeSchema = z.enum([
  'file_search_call.results',
  'web_search_call.results',
  'web_search_call.action.sources',
  'message.input_image.image_url',
  'computer_call_output.output.image_url',
  'code_interpreter_call.outputs',
  'reasoning.encrypted_content',
  'message.output_text.logprobs',
]);

/** Fields of OpenAI's API that nothing here can act on yet. Present and not null, they are refused by name. */
function later(name: string) {
  return z
    .unknown()
    .refine((value) => value == null, unsupported(`\`${name}\``))
    .optional();
}

const formatSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text') }),
  z.strictObject({ type: z.literal('json_object') }),
  z.strictObject({
    type: z.literal('json_schema'),
    name: z
      .string()
      .min(1)
      .max(64)
      .regex(/^[A-Za-z0-9_-]+$/, 'a name has letters, digits, underscores and dashes only'),
    schema: jsonObjectSchema,
    description: optional(z.string()),
    strict: optional(z.boolean()),
  }),
]);

const textSchema = z.strictObject({
  format: optional(formatSchema),
  verbosity: optional(z.enum(['low', 'medium', 'high'])),
});

const summary = optional(z.enum(['auto', 'concise', 'detailed']));

const reasoningSchema = z.strictObject({
  effort: optional(z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'])),
  summary,
  generate_summary: summary,
  context: optional(
    z
      .enum(['auto', 'current_turn', 'all_turns'])
      .refine((value) => value === 'auto', unsupported('A reasoning context other than `auto`')),
  ),
  mode: later('reasoning.mode'),
});

const echoed = {
  metadata: optional(metadataSchema),
  user: optional(z.string().max(512)),
  safety_identifier: optional(z.string().max(64)),
  prompt_cache_key: optional(z.string().max(1_024)),
  prompt_cache_retention: optional(z.enum(['in_memory', '24h'])),
  prompt_cache_options: optional(
    z.strictObject({ mode: optional(z.string().max(64)), ttl: optional(z.string().max(64)) }),
  ),
  service_tier: optional(z.enum(['auto', 'default', 'flex', 'scale', 'priority', 'fast', 'ultrafast'])),
};

const sampling = {
  max_output_tokens: optional(integer(16)),
  max_tool_calls: optional(integer(1)),
  temperature: optional(z.number().min(0).max(2)),
  top_p: optional(z.number().min(0).max(1)),
  top_logprobs: optional(integer(0, 20)),
  presence_penalty: optional(z.number().min(-2).max(2)),
  frequency_penalty: optional(z.number().min(-2).max(2)),
};

/**
 * The body of POST /v1/responses (docs/wire.md §2): every field is honoured, echoed where that is all it asks for, or
 * refused.
 */
export const createResponseSchema = z.strictObject({
  ...echoed,
  ...sampling,
  model: z.string().min(1).max(512),
  input: optional(z.union([z.string().max(maxTextLength), inputItemsSchema])),
  instructions: optional(z.string().max(maxTextLength)),
  previous_response_id: optional(z.string().max(256)),
  conversation: optional(z.union([z.string().max(256), z.strictObject({ id: z.string().max(256) })])),
  store: optional(z.boolean()),
  stream: optional(z.boolean()),
  stream_options: optional(z.strictObject({ include_obfuscation: optional(z.boolean()) })),
  include: optional(z.array(includeSchema).max(64)),
  tools: optional(toolsSchema),
  tool_choice: optional(toolChoiceSchema),
  parallel_tool_calls: optional(z.boolean()),
  text: optional(textSchema),
  reasoning: optional(reasoningSchema),
  truncation: optional(z.enum(['auto', 'disabled'])),
  background: optional(z.boolean().refine((value) => !value, unsupported('`background: true`'))),
  context_management: later('context_management'),
  moderation: later('moderation'),
  prompt: later('prompt'),
  /** Codex sends it with every request; its content is nobody's business here (R16). */
  client_metadata: z.unknown().optional(),
});

export type CreateResponse = z.infer<typeof createResponseSchema>;
export type TextFormat = z.infer<typeof formatSchema>;
