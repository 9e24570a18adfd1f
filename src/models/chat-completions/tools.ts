import type { CustomTool, FunctionTool } from '../../api/tools.ts';
import { type CallableTool, isCallable, type ModelCall, type ModelToolChoice } from '../../model.ts';
import type { Profile } from '../profiles.ts';
import { customParameters, type OfferedTools } from '../upstream/offered-tools.ts';

/** The fields of a request that speak of tools. */
export function toolFields(call: ModelCall, profile: Profile, offered: OfferedTools): Record<string, unknown> {
  const { toolChoice, parallelToolCalls } = call;
  const { forcedCalls, singleCalls } = profile.features;
  const named = forcedIn(toolChoice);
  const tools = call.tools.filter(isCallable).filter((tool) => {
    // Where no choice is obeyed, none is the only one that can be kept: by offering nothing.
    if (toolChoice === 'none' && !forcedCalls) return false;
    return named === undefined || profile.forcedTool === 'object' || isMeant(tool, named);
  });
  if (tools.length === 0) return {};
  const choice = toChoice(toolChoice, profile, offered);
  return {
    tools: tools.map((tool) => toTool(tool, profile, offered)),
    ...(choice !== undefined && { tool_choice: choice }),
    ...(parallelToolCalls !== undefined && singleCalls && { parallel_tool_calls: parallelToolCalls }),
  };
}

type Forced = Extract<ModelToolChoice, { type: 'function' | 'custom' }>;

function forcedIn(choice: ModelToolChoice): Forced | undefined {
  return typeof choice === 'object' && choice.type !== 'hosted' ? choice : undefined;
}

function isMeant(tool: CallableTool, named: Forced): boolean {
  return tool.name === named.name && tool.namespace?.name === named.namespace;
}

function toChoice(choice: ModelToolChoice, profile: Profile, offered: OfferedTools): unknown {
  if (typeof choice === 'string') return choice === 'auto' ? undefined : choice;
  const named = forcedIn(choice);
  if (named === undefined) return undefined;
  if (profile.forcedTool === 'alone') return 'required';
  const name = offered.nameOf(named.name, named.namespace);
  if (named.type === 'custom' && profile.customTools) return { type: 'custom', custom: { name } };
  return { type: 'function', function: { name } };
}

function toTool(tool: CallableTool, profile: Profile, offered: OfferedTools): object {
  const name = offered.nameOf(tool.name, tool.namespace?.name);
  if (tool.type === 'function') return toFunction(tool, name, profile);
  if (profile.customTools) return { type: 'custom', custom: toCustom(tool, name) };
  const description = { ...(tool.description != null && { description: tool.description }) };
  return { type: 'function', function: { name, ...description, parameters: customParameters } };
}

function toFunction(tool: FunctionTool, name: string, { strict, parametersRequired }: Profile): object {
  const parameters = tool.parameters ?? (parametersRequired ? { type: 'object', properties: {} } : undefined);
  return {
    type: 'function',
    function: {
      name,
      ...(tool.description != null && { description: tool.description }),
      ...(parameters !== undefined && { parameters }),
      ...(tool.strict != null && strict.functions && { strict: tool.strict }),
    },
  };
}

function toCustom({ description, format }: CustomTool, name: string): object {
  const grammar = format?.type === 'grammar' ? { syntax: format.syntax, definition: format.definition } : undefined;
  return {
    name,
    ...(description != null && { description }),
    ...(grammar !== undefined && { format: { type: 'grammar', grammar } }),
  };
}
