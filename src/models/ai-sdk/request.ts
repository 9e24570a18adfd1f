import type { JsonObject } from '../../api/primitives.ts';
import { isCallable, type ModelCall } from '../../model.ts';
import { isObject } from '../upstream/loose.ts';
import { customParameters, type OfferedTools } from '../upstream/offered-tools.ts';
import type { LoadedPackage } from './load.ts';
import type { Habits } from './packages.ts';
import { toPrompt } from './prompt.ts';
import type { CallOptions, FunctionDefinition, LanguageModel, SpecToolChoice } from './specification.ts';

/**
 * A call as the options of a package's `doStream`. Throws an `ApiError` for a file that the vendor can't be given.
 * @param tools the call's own, by the names that the vendor is told.
 */
export async function toCallOptions(
  call: ModelCall,
  loaded: Pick<LoadedPackage, 'habits' | 'version'>,
  model: Pick<LanguageModel, 'supportedUrls'>,
  tools: OfferedTools,
): Promise<CallOptions> {
  const { habits, version } = loaded;
  const { plainTextOnly, filesInOutputs } = habits;
  const prompt = toPrompt(call, {
    version,
    plainTextOnly,
    filesInOutputs,
    supportedUrls: await model.supportedUrls,
    tools,
  });
  const options: CallOptions = { prompt };
  if (call.maxOutputTokens !== undefined) options.maxOutputTokens = call.maxOutputTokens;
  if (call.temperature !== undefined) options.temperature = call.temperature;
  if (call.topP !== undefined) options.topP = call.topP;
  if (habits.features.penalties) {
    if (call.presencePenalty !== undefined) options.presencePenalty = call.presencePenalty;
    if (call.frequencyPenalty !== undefined) options.frequencyPenalty = call.frequencyPenalty;
  }
  addFormat(options, call);
  addTools(options, call, tools);
  if (version === 'v4' && call.reasoningEffort !== undefined) options.reasoning = call.reasoningEffort;
  const own = ownOptions(call, habits, version === 'v3');
  if (Object.keys(own).length > 0) options.providerOptions = { [habits.optionsName]: own };
  return options;
}

function addFormat(options: CallOptions, { format }: ModelCall): void {
  if (format === undefined || format.type === 'text') return;
  if (format.type === 'json_object') options.responseFormat = { type: 'json' };
  else {
    const { schema, name, description } = format;
    options.responseFormat = { type: 'json', schema, name, ...(description != null && { description }) };
  }
}

function addTools(options: CallOptions, call: ModelCall, tools: OfferedTools): void {
  const definitions = call.tools.filter(isCallable).map((tool): FunctionDefinition => {
    const parameters = tool.type === 'custom' ? customParameters : tool.parameters;
    return {
      type: 'function',
      name: tools.nameOf(tool.name, tool.namespace?.name),
      ...(tool.description != null && { description: tool.description }),
      inputSchema: parameters ?? { type: 'object', properties: {} },
    };
  });
  if (definitions.length === 0) return;
  options.tools = definitions;
  options.toolChoice = toToolChoice(call, tools);
}

function toToolChoice({ toolChoice }: ModelCall, tools: OfferedTools): SpecToolChoice {
  if (typeof toolChoice === 'string') return { type: toolChoice };
  // Tools of the vendor's own are refused before a call is made.
  if (toolChoice.type === 'hosted') return { type: 'auto' };
  return { type: 'tool', toolName: tools.nameOf(toolChoice.name, toolChoice.namespace) };
}

/** What only this package knows. */
function ownOptions(call: ModelCall, habits: Habits, withEffort: boolean): JsonObject {
  const { reasoningEffort, reasoningSummary, serviceTier, safetyIdentifier, promptCacheKey } = call;
  const options: JsonObject[] = [];
  if (withEffort && reasoningEffort !== undefined) options.push(habits.efforts?.[reasoningEffort] ?? {});
  if (reasoningSummary !== undefined && reasoningEffort !== 'none') options.push(habits.summarized ?? {});
  if (call.parallelToolCalls === false && call.tools.length > 0) options.push(habits.singleCalls ?? {});
  if (promptCacheKey !== undefined) options.push(habits.cached ?? {});
  const tier = serviceTier === undefined ? undefined : habits.serviceTier?.words[serviceTier];
  if (habits.serviceTier !== undefined && tier !== undefined) options.push({ [habits.serviceTier.field]: tier });
  if (safetyIdentifier !== undefined && habits.safetyIdentifier.length > 0) {
    options.push(nested(habits.safetyIdentifier, safetyIdentifier));
  }
  return options.reduce<JsonObject>(merged, {});
}

function nested(path: readonly string[], value: unknown): JsonObject {
  return path.reduceRight<unknown>((inner, field) => ({ [field]: inner }), value) as JsonObject;
}

/** Objects of the same name are merged, as one option may hold several of them. */
function merged(one: JsonObject, other: JsonObject): JsonObject {
  const both: Record<string, unknown> = { ...one };
  for (const [field, value] of Object.entries(other)) {
    const known = both[field];
    both[field] = isObject(known) && isObject(value) ? merged(known, value) : value;
  }
  return both;
}
