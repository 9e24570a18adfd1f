import type { CreateResponse } from '../api/create-response.ts';
import type { JsonObject } from '../api/primitives.ts';
import type { ResponseEcho } from '../api/response.ts';
import type { Tool, ToolChoice, ToolEcho } from '../api/tools.ts';

export type EchoFacts = {
  readonly id: string;
  /** In ms. */
  readonly createdAt: number;
  /** The effective value (R1). */
  readonly store: boolean;
  readonly conversationId: string | undefined;
};

/** What a snapshot repeats of its request, with defaults (docs/wire.md §2). Optional keys are absent, never null. */
export function echoOf(request: CreateResponse, facts: EchoFacts): ResponseEcho {
  return {
    id: facts.id,
    object: 'response',
    created_at: Math.floor(facts.createdAt / 1000),
    background: false,
    ...(facts.conversationId === undefined ? {} : { conversation: { id: facts.conversationId } }),
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    max_tool_calls: request.max_tool_calls ?? null,
    metadata: request.metadata ?? {},
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    presence_penalty: request.presence_penalty ?? 0,
    frequency_penalty: request.frequency_penalty ?? 0,
    previous_response_id: request.previous_response_id ?? null,
    prompt_cache_key: request.prompt_cache_key ?? null,
    ...(request.prompt_cache_retention == null ? {} : { prompt_cache_retention: request.prompt_cache_retention }),
    ...(request.prompt_cache_options == null
      ? {}
      : { prompt_cache_options: withoutNulls(request.prompt_cache_options) }),
    reasoning: reasoningEcho(request.reasoning),
    safety_identifier: request.safety_identifier ?? null,
    store: facts.store,
    temperature: request.temperature ?? 1,
    text: textEcho(request.text),
    tool_choice: choiceEcho(request.tool_choice ?? 'auto'),
    tools: (request.tools ?? []).map(toolEcho),
    top_logprobs: request.top_logprobs ?? 0,
    top_p: request.top_p ?? 1,
    truncation: request.truncation ?? 'disabled',
    ...(request.user == null ? {} : { user: request.user }),
  };
}

/** The tier that a snapshot shows before the upstream has told which one it used. */
export function tierOf({ service_tier: tier }: CreateResponse): string {
  return tier == null || tier === 'auto' ? 'default' : tier;
}

function reasoningEcho(reasoning: CreateResponse['reasoning']): JsonObject | null {
  if (reasoning == null) return null;
  return { effort: reasoning.effort ?? null, summary: reasoning.summary ?? reasoning.generate_summary ?? null };
}

function textEcho(text: CreateResponse['text']): JsonObject {
  const format = text?.format ?? { type: 'text' };
  const verbosity = text?.verbosity ?? 'medium';
  if (format.type !== 'json_schema') return { format, verbosity };
  const { type, name, schema, strict, description } = format;
  const described = description == null ? {} : { description };
  return { format: { type, name, ...described, schema, strict: strict ?? false }, verbosity };
}

function toolEcho(tool: Tool): ToolEcho {
  if (tool.type !== 'function') {
    if (tool.type !== 'namespace') return { ...withoutNulls(tool), type: tool.type };
    return { ...withoutNulls(tool), type: tool.type, tools: tool.tools.map(toolEcho) };
  }
  const { output_schema, defer_loading, allowed_callers } = tool;
  return {
    type: 'function',
    name: tool.name,
    description: tool.description ?? null,
    parameters: tool.parameters ?? null,
    strict: tool.strict ?? true,
    ...withoutNulls({ output_schema, defer_loading, allowed_callers }),
  };
}

function choiceEcho(choice: ToolChoice): ToolChoice {
  if (typeof choice === 'string' || choice.type !== 'mcp') return choice;
  const { type, server_label, name } = choice;
  return { type, server_label, ...(name == null ? {} : { name }) };
}

function withoutNulls(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null && value !== undefined));
}
