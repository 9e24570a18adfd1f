import { z } from 'zod';
import { createResponseSchema } from './create-response.ts';
import { optional } from './primitives.ts';

const { shape } = createResponseSchema;

/**
 * The body of POST /v1/responses/input_tokens: what of POST /v1/responses bears on its input, all of it optional, and
 * `personality`, whose text only OpenAI knows.
 */
export const countTokensSchema = z.strictObject({
  model: optional(shape.model),
  input: shape.input,
  instructions: shape.instructions,
  previous_response_id: shape.previous_response_id,
  conversation: shape.conversation,
  tools: shape.tools,
  tool_choice: shape.tool_choice,
  parallel_tool_calls: shape.parallel_tool_calls,
  text: shape.text,
  reasoning: shape.reasoning,
  truncation: shape.truncation,
  personality: optional(z.string().max(64)),
  client_metadata: shape.client_metadata,
});

export type CountTokens = z.infer<typeof countTokensSchema>;
