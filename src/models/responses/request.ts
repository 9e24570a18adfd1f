import type { JsonObject } from '../../api/primitives.ts';
import { type CallableTool, isCallable, type ModelCall } from '../../model.ts';
import { customParameters, OfferedTools } from '../upstream/offered-tools.ts';
import type { Dialect } from './dialects.ts';
import { toInput } from './input.ts';

/** The value of `include` that asks for reasoning which can be sent back. */
const encryptedReasoning = 'reasoning.encrypted_content';

export type RequestSettings = {
  readonly dialect: Dialect;
  /** Whether the upstream may keep the response. */
  readonly store: boolean;
  /** Models that refuse to be asked for encrypted reasoning. */
  readonly plainModels: ReadonlySet<string>;
};

export type ResponsesRequest = { [field: string]: unknown };

/**
 * A call as the body of POST /responses. Everything goes as `input`: no state of the upstream's own is used. Metadata,
 * user, previous_response_id and conversation never go upstream (R16).
 */
export function toResponsesRequest(call: ModelCall, settings: RequestSettings): ResponsesRequest {
  const { dialect } = settings;
  const { features } = dialect;
  const request: ResponsesRequest = { ...toCountRequest(call, dialect), store: settings.store };
  const include = includeOf(call, settings);
  if (include.length > 0) request['include'] = include;
  if (call.maxOutputTokens !== undefined) request['max_output_tokens'] = call.maxOutputTokens;
  if (call.temperature !== undefined) request['temperature'] = call.temperature;
  if (call.topP !== undefined) request['top_p'] = call.topP;
  if (features.penalties) {
    if (call.presencePenalty !== undefined) request['presence_penalty'] = call.presencePenalty;
    if (call.frequencyPenalty !== undefined) request['frequency_penalty'] = call.frequencyPenalty;
  }
  if (features.logprobs && (call.topLogprobs ?? 0) > 0) request['top_logprobs'] = call.topLogprobs;
  if (features.serviceTier && call.serviceTier !== undefined) request['service_tier'] = call.serviceTier;
  if (features.hostedTools && call.maxToolCalls !== undefined) request['max_tool_calls'] = call.maxToolCalls;
  if (dialect.promptCacheKey) addCaching(request, call);
  if (dialect.safetyIdentifier && call.safetyIdentifier !== undefined) {
    request['safety_identifier'] = call.safetyIdentifier;
  }
  if (call.streamed) {
    request['stream'] = true;
    if (dialect.obfuscates) request['stream_options'] = { include_obfuscation: false };
  }
  return request;
}

function addCaching(request: ResponsesRequest, call: ModelCall): void {
  if (call.promptCacheKey !== undefined) request['prompt_cache_key'] = call.promptCacheKey;
  if (call.promptCacheRetention !== undefined) request['prompt_cache_retention'] = call.promptCacheRetention;
  if (call.promptCacheOptions !== undefined) request['prompt_cache_options'] = withoutNulls(call.promptCacheOptions);
}

/** The part of a request that decides how many tokens its input has: the body of POST /responses/input_tokens. */
export function toCountRequest(call: ModelCall, dialect: Dialect): ResponsesRequest {
  const tools = new OfferedTools(call.tools, dialect);
  const request: ResponsesRequest = { model: call.model, input: toInput(call, dialect, tools) };
  if (call.instructions !== undefined) request['instructions'] = call.instructions;
  addTools(request, call, dialect, tools);
  const text = {
    ...(call.format !== undefined && { format: withoutNulls(call.format) }),
    ...(call.verbosity !== undefined && dialect.features.verbosity && { verbosity: call.verbosity }),
  };
  if (Object.keys(text).length > 0) request['text'] = text;
  const reasoning = reasoningOf(call, dialect);
  if (Object.keys(reasoning).length > 0) request['reasoning'] = reasoning;
  return request;
}

function reasoningOf({ reasoningEffort, reasoningSummary }: ModelCall, { features, efforts, summaries }: Dialect) {
  return {
    ...(reasoningEffort !== undefined &&
      features.reasoningEffort && { effort: efforts[reasoningEffort] ?? reasoningEffort }),
    ...(reasoningSummary !== undefined && summaries && { summary: reasoningSummary }),
  };
}

function includeOf(call: ModelCall, { dialect, plainModels }: RequestSettings): string[] {
  const wanted = new Set(call.include);
  wanted.add(encryptedReasoning);
  if (call.topLogprobs !== undefined && dialect.features.logprobs) wanted.add('message.output_text.logprobs');
  if (plainModels.has(call.model)) wanted.delete(encryptedReasoning);
  return dialect.includes.filter((value) => wanted.has(value));
}

function addTools(request: ResponsesRequest, call: ModelCall, dialect: Dialect, names: OfferedTools): void {
  const { toolChoice, parallelToolCalls } = call;
  const { features } = dialect;
  // Where no choice is obeyed, none is the only one that can be kept: by offering nothing.
  const tools = toolChoice === 'none' && !features.forcedCalls ? [] : toTools(call, dialect, names);
  if (tools.length === 0) return;
  request['tools'] = tools;
  if (typeof toolChoice === 'object') request['tool_choice'] = toChoice(toolChoice, dialect, names);
  else if (toolChoice !== 'auto') request['tool_choice'] = toolChoice;
  if (parallelToolCalls !== undefined && features.singleCalls) request['parallel_tool_calls'] = parallelToolCalls;
}

function toChoice(choice: Extract<ModelCall['toolChoice'], object>, dialect: Dialect, names: OfferedTools): JsonObject {
  if (choice.type === 'hosted') return withoutNulls(choice.choice);
  const type = dialect.customTools ? choice.type : 'function';
  return { type, name: names.nameOf(choice.name, choice.namespace) };
}

/** The tools in their order; those of one namespace together where its first one stands. */
function toTools({ tools }: ModelCall, dialect: Dialect, names: OfferedTools): JsonObject[] {
  const list: JsonObject[] = [];
  const groups = new Map<string, JsonObject[]>();
  for (const tool of tools) {
    if (!isCallable(tool)) {
      list.push(withoutNulls(tool));
      continue;
    }
    const { namespace } = tool;
    const offered = toTool(tool, dialect, names);
    if (namespace === undefined || !dialect.namespaces) {
      list.push(offered);
      continue;
    }
    const group = groups.get(namespace.name);
    if (group !== undefined) {
      group.push(offered);
      continue;
    }
    const members = [offered];
    groups.set(namespace.name, members);
    list.push({ type: 'namespace', name: namespace.name, description: namespace.description, tools: members });
  }
  return list;
}

function toTool(tool: CallableTool, dialect: Dialect, names: OfferedTools): JsonObject {
  const named = {
    name: names.nameOf(tool.name, tool.namespace?.name),
    ...(tool.description != null && { description: tool.description }),
  };
  const extras = dialect.toolExtras
    ? {
        ...(tool.defer_loading != null && { defer_loading: tool.defer_loading }),
        ...(tool.allowed_callers != null && { allowed_callers: tool.allowed_callers }),
      }
    : {};
  if (tool.type === 'custom') {
    if (!dialect.customTools) return { type: 'function', ...named, parameters: customParameters };
    return { type: 'custom', ...named, ...(tool.format != null && { format: tool.format }), ...extras };
  }
  return {
    type: 'function',
    ...named,
    ...(tool.parameters != null && { parameters: tool.parameters }),
    ...(tool.strict != null && { strict: tool.strict }),
    ...(dialect.toolExtras && tool.output_schema != null && { output_schema: tool.output_schema }),
    ...extras,
  };
}

/** `null` in an optional field means that it is absent (docs/wire.md §2); not every upstream agrees. */
function withoutNulls(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));
}
