import type { JsonObject, Metadata } from './primitives.ts';
import type { ToolChoice, ToolEcho } from './tools.ts';

export type ResponseStatus = 'in_progress' | 'completed' | 'failed' | 'cancelled' | 'incomplete';

/** Both specs' keys together: `cache_write_tokens` is required by OpenAI's (docs/wire.md §2). */
export type Usage = {
  readonly input_tokens: number;
  readonly input_tokens_details: { readonly cached_tokens: number; readonly cache_write_tokens: number };
  readonly output_tokens: number;
  readonly output_tokens_details: { readonly reasoning_tokens: number };
  readonly total_tokens: number;
};

export type ResponseError = { readonly code: string; readonly message: string };

/** What of a snapshot is known when a run begins, and never changes. Times in seconds. */
export type ResponseEcho = {
  readonly id: string;
  readonly object: 'response';
  readonly created_at: number;
  readonly background: boolean;
  readonly conversation?: { readonly id: string };
  readonly instructions: string | null;
  readonly max_output_tokens: number | null;
  readonly max_tool_calls: number | null;
  readonly metadata: Metadata;
  readonly parallel_tool_calls: boolean;
  readonly presence_penalty: number;
  readonly frequency_penalty: number;
  readonly previous_response_id: string | null;
  readonly prompt_cache_key: string | null;
  readonly prompt_cache_retention?: string;
  readonly prompt_cache_options?: JsonObject;
  readonly reasoning: JsonObject | null;
  readonly safety_identifier: string | null;
  readonly store: boolean;
  readonly temperature: number;
  readonly text: JsonObject;
  readonly tool_choice: ToolChoice;
  readonly tools: readonly ToolEcho[];
  readonly top_logprobs: number;
  readonly top_p: number;
  readonly truncation: 'disabled' | 'auto';
  readonly user?: string;
};

/** What of a snapshot a run decides. */
export type ResponseOutcome = {
  readonly status: ResponseStatus;
  readonly completed_at: number | null;
  readonly error: ResponseError | null;
  readonly incomplete_details: { readonly reason: 'max_output_tokens' | 'content_filter' } | null;
  readonly model: string;
  readonly usage: Usage | null;
  /** The tier that was used; before the upstream tells, the one that was asked for. Never `auto`. */
  readonly service_tier: string;
};
