import type { ModelCall } from '../../model.ts';
import type { Effort, EffortForm, Profile } from '../profiles.ts';
import { OfferedTools } from '../upstream/offered-tools.ts';
import { type ChatMessage, toMessages } from './messages.ts';
import { toolFields } from './tools.ts';

export type ChatRequest = { model: string; messages: ChatMessage[]; [field: string]: unknown };

/**
 * A call as the body of POST /chat/completions, in the vendor's form. What it can't do is not asked for: the engine has
 * refused it. Metadata, user and store never go upstream (R16).
 */
export function toChatRequest(call: ModelCall, profile: Profile): ChatRequest {
  const offered = new OfferedTools(call.tools, { namespaces: false, customTools: profile.customTools });
  return {
    model: call.model,
    messages: toMessages(call, profile, offered),
    ...toolFields(call, profile, offered),
    ...outputFields(call, profile),
    ...samplingFields(call, profile),
    ...effortFields(call, profile),
    ...hintFields(call, profile),
    ...streamFields(call, profile),
  };
}

function outputFields(call: ModelCall, profile: Profile): Record<string, unknown> {
  const format = responseFormat(call, profile);
  return {
    ...(format !== undefined && { response_format: format }),
    ...(call.verbosity !== undefined && profile.features.verbosity && { verbosity: call.verbosity }),
    ...(call.maxOutputTokens !== undefined && { [profile.maxTokensField]: call.maxOutputTokens }),
  };
}

function samplingFields(call: ModelCall, { features }: Profile): Record<string, unknown> {
  const { temperature, topP, topLogprobs, presencePenalty, frequencyPenalty } = call;
  const wantsLogprobs = topLogprobs !== undefined && features.logprobs;
  return {
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { top_p: topP }),
    ...(presencePenalty !== undefined && features.penalties && { presence_penalty: presencePenalty }),
    ...(frequencyPenalty !== undefined && features.penalties && { frequency_penalty: frequencyPenalty }),
    ...(wantsLogprobs && { logprobs: true }),
    ...(wantsLogprobs && topLogprobs > 0 && { top_logprobs: topLogprobs }),
  };
}

function effortFields(call: ModelCall, profile: Profile): Record<string, unknown> {
  const { effort: plain, summarized } = profile.reasoning;
  const form: EffortForm = call.reasoningSummary === undefined ? plain : (summarized ?? plain);
  const effort = profile.features.reasoningEffort ? call.reasoningEffort : undefined;
  if (form.kind === 'none') return {};
  if (form.kind === 'budget') return effort === undefined ? {} : budgetFields(form, effort as Effort, call);
  return effort === undefined ? (form.unasked ?? {}) : (form.by[effort as Effort] ?? {});
}

/** A budget must be smaller than the limit of the answer, and is not worth having below its minimum. */
function budgetFields(
  form: Extract<EffortForm, { kind: 'budget' }>,
  effort: Effort,
  call: ModelCall,
): Record<string, unknown> {
  const wanted = form.tokens[effort] ?? 0;
  if (wanted === 0) return { thinking: { type: 'disabled' } };
  const tokens = call.maxOutputTokens === undefined ? wanted : Math.min(wanted, call.maxOutputTokens - 1);
  return tokens < form.minTokens ? {} : { thinking: { type: 'enabled', budget_tokens: tokens } };
}

function hintFields(call: ModelCall, { hints, features, serviceTiers }: Profile): Record<string, unknown> {
  const { promptCacheKey, safetyIdentifier, serviceTier } = call;
  const isTiered = serviceTier !== undefined && features.serviceTier;
  return {
    ...(promptCacheKey !== undefined && hints.promptCacheKey && { prompt_cache_key: promptCacheKey }),
    ...(safetyIdentifier !== undefined && hints.safetyIdentifier && { safety_identifier: safetyIdentifier }),
    ...(isTiered && { service_tier: serviceTiers[serviceTier] ?? serviceTier }),
  };
}

function streamFields(call: ModelCall, profile: Profile): Record<string, unknown> {
  if (!call.streamed) return {};
  return { stream: true, ...(profile.includeUsage && { stream_options: { include_usage: true } }) };
}

function responseFormat({ format }: ModelCall, profile: Profile): object | undefined {
  if (format === undefined || format.type === 'text') return undefined;
  if (format.type === 'json_object') return { type: 'json_object' };
  return {
    type: 'json_schema',
    json_schema: {
      name: format.name,
      schema: format.schema,
      ...(format.description != null && { description: format.description }),
      ...(format.strict != null && profile.strict.schemas && { strict: format.strict }),
    },
  };
}
