import { z } from 'zod';
import { hostedItemTypes, hostedToolTypes } from './wire-hosted.ts';

const count = z.int().min(0);
const nonEmpty = z.string().min(1);
const itemStatus = z.enum(['in_progress', 'completed', 'incomplete']);

const tokenLogProb = { token: z.string(), logprob: z.number(), bytes: z.array(z.int()) };
export const logprobsSchema = z.array(
  z.strictObject({ ...tokenLogProb, top_logprobs: z.array(z.strictObject(tokenLogProb)) }),
);

const inputText = z.strictObject({ type: z.literal('input_text'), text: z.string() });
const inputImage = z.strictObject({
  type: z.literal('input_image'),
  image_url: nonEmpty,
  detail: z.enum(['low', 'high', 'auto', 'original']),
});
const inputFile = z.strictObject({
  type: z.literal('input_file'),
  file_url: nonEmpty.optional(),
  file_data: nonEmpty.optional(),
  filename: z.string().optional(),
  detail: z.enum(['low', 'high', 'auto']).optional(),
});
const outputText = z.strictObject({
  type: z.literal('output_text'),
  text: z.string(),
  annotations: z.array(z.looseObject({ type: nonEmpty })),
  logprobs: logprobsSchema,
});
const refusal = z.strictObject({ type: z.literal('refusal'), refusal: z.string() });
export const outputPartSchema = z.discriminatedUnion('type', [outputText, refusal]);
export const summaryPartSchema = z.strictObject({ type: z.literal('summary_text'), text: z.string() });
const reasoningText = z.strictObject({ type: z.literal('reasoning_text'), text: z.string() });
/** A part of a message or of raw reasoning. */
export const contentPartSchema = z.discriminatedUnion('type', [outputText, refusal, reasoningText]);

const message = { id: nonEmpty, type: z.literal('message'), status: itemStatus };
const phase = z.enum(['commentary', 'final_answer']).optional();
const outputMessage = z.strictObject({
  ...message,
  role: z.literal('assistant'),
  content: z.array(outputPartSchema),
  phase,
});
const anyMessage = z.strictObject({
  ...message,
  role: z.enum(['user', 'assistant', 'system', 'developer']),
  content: z.array(z.discriminatedUnion('type', [inputText, inputImage, inputFile, outputText, refusal])),
  phase,
});
const functionCall = z.strictObject({
  id: nonEmpty,
  type: z.literal('function_call'),
  status: itemStatus,
  call_id: nonEmpty.max(64),
  name: nonEmpty,
  arguments: z.string(),
  namespace: nonEmpty.optional(),
});
const customToolCall = z.strictObject({
  id: nonEmpty,
  type: z.literal('custom_tool_call'),
  status: itemStatus,
  call_id: nonEmpty.max(64),
  name: nonEmpty,
  input: z.string(),
  namespace: nonEmpty.optional(),
});
const callOutput = {
  id: nonEmpty,
  status: itemStatus,
  call_id: nonEmpty.max(64),
  output: z.union([z.string(), z.array(z.discriminatedUnion('type', [inputText, inputImage, inputFile]))]),
  name: nonEmpty.optional(),
};
const functionCallOutput = z.strictObject({
  ...callOutput,
  type: z.literal('function_call_output'),
  namespace: nonEmpty.optional(),
});
const customToolCallOutput = z.strictObject({ ...callOutput, type: z.literal('custom_tool_call_output') });
/** Items of tools that run upstream, as they came. */
const hosted = z.looseObject({ id: nonEmpty, type: z.enum(hostedItemTypes) });
const reasoning = z.strictObject({
  id: nonEmpty,
  type: z.literal('reasoning'),
  summary: z.array(summaryPartSchema),
  content: z.array(reasoningText).min(1).optional(),
  encrypted_content: z.string().optional(),
  status: itemStatus.optional(),
});

export const outputItemSchema = z.discriminatedUnion('type', [
  outputMessage,
  functionCall,
  customToolCall,
  reasoning,
  hosted,
]);
export const itemSchema = z.discriminatedUnion('type', [
  anyMessage,
  functionCall,
  functionCallOutput,
  customToolCall,
  customToolCallOutput,
  reasoning,
  hosted,
]);

const usage = z.strictObject({
  input_tokens: count,
  input_tokens_details: z.strictObject({ cached_tokens: count, cache_write_tokens: count }),
  output_tokens: count,
  output_tokens_details: z.strictObject({ reasoning_tokens: count }),
  total_tokens: count,
});

const toolExtras = {
  defer_loading: z.boolean().optional(),
  allowed_callers: z.array(z.string()).optional(),
};
const functionTool = z.strictObject({
  type: z.literal('function'),
  name: nonEmpty,
  description: z.string().nullable(),
  parameters: z.record(z.string(), z.unknown()).nullable(),
  strict: z.boolean().nullable(),
  output_schema: z.record(z.string(), z.unknown()).optional(),
  ...toolExtras,
});
const customTool = z.strictObject({
  type: z.literal('custom'),
  name: nonEmpty,
  description: z.string().optional(),
  format: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('text') }),
      z.strictObject({ type: z.literal('grammar'), syntax: z.enum(['lark', 'regex']), definition: z.string() }),
    ])
    .optional(),
  ...toolExtras,
});
const namespaceTool = z.strictObject({
  type: z.literal('namespace'),
  name: nonEmpty,
  description: z.string(),
  tools: z.array(z.discriminatedUnion('type', [functionTool, customTool])).min(1),
});
const hostedTool = z.looseObject({ type: z.enum(hostedToolTypes) });

const toolChoice = z.union([
  z.enum(['none', 'auto', 'required']),
  z.strictObject({ type: z.enum(['function', 'custom']), name: nonEmpty }),
  z.strictObject({ type: z.literal('mcp'), server_label: nonEmpty, name: nonEmpty.optional() }),
  z.strictObject({ type: z.enum(hostedToolTypes).exclude(['mcp']) }),
  z.strictObject({
    type: z.literal('allowed_tools'),
    mode: z.enum(['auto', 'required']),
    tools: z.array(z.looseObject({ type: nonEmpty })),
  }),
]);

const textFormat = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text') }),
  z.strictObject({ type: z.literal('json_object') }),
  z.strictObject({
    type: z.literal('json_schema'),
    name: nonEmpty,
    description: z.string().optional(),
    schema: z.record(z.string(), z.unknown()),
    strict: z.boolean(),
  }),
]);

/** Codes that a failed response may carry: a closed list in OpenAI's description, of which these are ours. */
const failureCodes = z.enum(['server_error', 'rate_limit_exceeded', 'invalid_prompt']);

const metadata = z
  .record(z.string().max(64), z.string().max(512))
  .refine((map) => Object.keys(map).length <= 16, 'more than 16 pairs');

/** The 31 keys that are always there, and the few that are absent rather than null (docs/wire.md §2). */
export const responseSchema = z.strictObject({
  id: z.string().regex(/^resp_\w+$/),
  object: z.literal('response'),
  created_at: count,
  completed_at: count.nullable(),
  status: z.enum(['in_progress', 'completed', 'failed', 'cancelled', 'incomplete']),
  incomplete_details: z.strictObject({ reason: z.enum(['max_output_tokens', 'content_filter']) }).nullable(),
  model: nonEmpty,
  previous_response_id: nonEmpty.nullable(),
  instructions: z.string().nullable(),
  output: z.array(outputItemSchema),
  error: z.strictObject({ code: failureCodes, message: nonEmpty }).nullable(),
  tools: z.array(z.discriminatedUnion('type', [functionTool, customTool, namespaceTool, hostedTool])),
  tool_choice: toolChoice,
  truncation: z.enum(['auto', 'disabled']),
  parallel_tool_calls: z.boolean(),
  text: z.strictObject({ format: textFormat, verbosity: z.enum(['low', 'medium', 'high']) }),
  top_p: z.number(),
  presence_penalty: z.number(),
  frequency_penalty: z.number(),
  top_logprobs: count,
  temperature: z.number(),
  reasoning: z
    .strictObject({
      effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']).nullable(),
      summary: z.enum(['auto', 'concise', 'detailed']).nullable(),
    })
    .nullable(),
  usage: usage.nullable(),
  max_output_tokens: count.nullable(),
  max_tool_calls: count.nullable(),
  store: z.boolean(),
  background: z.boolean(),
  service_tier: nonEmpty.refine((tier) => tier !== 'auto', 'a response names the tier that was used'),
  metadata,
  safety_identifier: z.string().nullable(),
  prompt_cache_key: z.string().nullable(),
  conversation: z.strictObject({ id: nonEmpty }).optional(),
  prompt_cache_retention: z.string().optional(),
  prompt_cache_options: z.record(z.string(), z.string()).optional(),
  user: z.string().optional(),
});

export type CheckedResponse = z.infer<typeof responseSchema>;

export const conversationSchema = z.strictObject({
  id: z.string().regex(/^conv_\w+$/),
  object: z.literal('conversation'),
  created_at: count,
  metadata,
});

export const itemListSchema = z.strictObject({
  object: z.literal('list'),
  data: z.array(itemSchema),
  first_id: nonEmpty.nullable(),
  last_id: nonEmpty.nullable(),
  has_more: z.boolean(),
});

export const errorSchema = z.strictObject({
  error: z.strictObject({
    message: nonEmpty,
    type: nonEmpty,
    param: z.string().nullable(),
    code: nonEmpty.nullable(),
  }),
});

/** What a value is by a schema. @throws Error that lists everything wrong with it. */
export function conform<T extends z.ZodType>(what: string, schema: T, value: unknown): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new Error(`${what}: ${z.prettifyError(result.error)}\n${JSON.stringify(value)?.slice(0, 2_000)}`);
}

/** @throws Error that says `what` where it is not so. */
export function insist(what: string, isRight: boolean): void {
  if (!isRight) throw new Error(what);
}
