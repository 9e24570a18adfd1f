import { type Item, isHosted, type OutputContent } from '../api/items.ts';
import type { ContentPart, InputFilePart, InputImagePart } from '../api/parts.ts';
import type { Tool } from '../api/tools.ts';
import { invalidRequest } from '../errors.ts';
import { isCallable, type ModelCall, type ModelFeatures, type ModelTool } from '../model.ts';

/** What happens to what a model can't do: a 400 that names it, or it is left out and the answer says so in a header. */
export type Unsupported = 'reject' | 'drop';

/**
 * Where a call meets what a model can't do. `modelName` as the client called it; `requestTools` as it sent them, where
 * those of the call may be fewer, or come from namespaces.
 */
export type Fitting = {
  readonly features: ModelFeatures;
  readonly mode: Unsupported;
  readonly modelName: string;
  readonly requestTools?: readonly Tool[];
};

/** A call that fits its model, and what was left out of it, by the names that the request has for them. */
export type Fitted = { readonly call: ModelCall; readonly dropped: readonly string[] };

type Misfit = { readonly param: string; readonly without: Partial<ModelCall>; readonly what?: string };

/**
 * Fits the fields and the tools of a call to what the model can do. Values that change nothing ask for nothing.
 * @throws ApiError 400 `unsupported_value`, in the mode `reject`.
 */
export function fitRequest(call: ModelCall, fitting: Fitting): Fitted {
  let fitted = call;
  const dropped: string[] = [];
  for (const { param, without, what } of [...fieldMisfits(call, fitting.features), ...toolMisfits(call, fitting)]) {
    if (fitting.mode === 'reject') throw unsupported(what ?? `\`${param}\``, fitting, param);
    fitted = { ...fitted, ...without };
    dropped.push(param);
  }
  return { call: fitted, dropped };
}

function fieldMisfits(call: ModelCall, features: ModelFeatures): Misfit[] {
  const misfits: Misfit[] = [];
  const refuse = (isMisfit: boolean, param: string, without: Partial<ModelCall>) => {
    if (isMisfit) misfits.push({ param, without });
  };
  const { toolChoice, format } = call;
  const isForced = toolChoice === 'required' || typeof toolChoice === 'object';
  const alternatives = call.topLogprobs ?? 0;
  const logprobsParam = alternatives > 0 ? 'top_logprobs' : 'include';
  refuse(!features.logprobs && call.topLogprobs !== undefined, logprobsParam, { topLogprobs: undefined });
  const isVerbose = (call.verbosity ?? 'medium') !== 'medium';
  refuse(!features.verbosity && isVerbose, 'text.verbosity', { verbosity: undefined });
  const hasEffort = call.reasoningEffort !== undefined;
  refuse(!features.reasoningEffort && hasEffort, 'reasoning.effort', { reasoningEffort: undefined });
  refuse(!features.forcedCalls && isForced, 'tool_choice', { toolChoice: 'auto' });
  const isSingle = call.parallelToolCalls === false;
  refuse(!features.singleCalls && isSingle, 'parallel_tool_calls', { parallelToolCalls: undefined });
  const { presencePenalty, frequencyPenalty } = call;
  const isPresent = (presencePenalty ?? 0) !== 0;
  refuse(!features.penalties && isPresent, 'presence_penalty', { presencePenalty: undefined });
  const isFrequent = (frequencyPenalty ?? 0) !== 0;
  refuse(!features.penalties && isFrequent, 'frequency_penalty', { frequencyPenalty: undefined });
  refuse(!features.jsonSchema && format?.type === 'json_schema', 'text.format', { format: undefined });
  refuse(!features.jsonObject && format?.type === 'json_object', 'text.format', { format: undefined });
  const isTiered = call.serviceTier !== undefined && call.serviceTier !== 'default';
  refuse(!features.serviceTier && isTiered, 'service_tier', { serviceTier: undefined });
  return misfits;
}

function toolMisfits(call: ModelCall, { features, requestTools }: Fitting): Misfit[] {
  const { tools } = call;
  const pathOf = (tool: ModelTool) => pathOfTool(tool, requestTools ?? tools);
  const misfits: Misfit[] = [];
  if (!features.hostedTools) {
    const without = { tools: tools.filter(isCallable), ...choiceWithout(call) };
    for (const tool of tools) {
      if (isCallable(tool)) continue;
      misfits.push({ param: `${pathOf(tool)}.type`, without, what: `The tool \`${tool.type}\`` });
    }
  }
  if (features.grammars) return misfits;
  for (const tool of tools) {
    if (tool.type !== 'custom' || tool.format?.type !== 'grammar') continue;
    const free = (each: ModelCall['tools'][number]) => (each.type === 'custom' ? { ...each, format: undefined } : each);
    const kept = features.hostedTools ? tools : tools.filter(isCallable);
    misfits.push({
      param: `${pathOf(tool)}.format`,
      without: { tools: kept.map(free), ...(features.hostedTools ? {} : choiceWithout(call)) },
      what: 'A grammar for a custom tool',
    });
  }
  return misfits;
}

/** Where a tool stands in a request. */
function pathOfTool(tool: ModelTool, tools: readonly Tool[]): string {
  if (!isCallable(tool) || tool.namespace === undefined) return `tools[${tools.indexOf(tool)}]`;
  const { name, namespace } = tool;
  for (const [index, group] of tools.entries()) {
    if (group.type !== 'namespace' || group.name !== namespace.name) continue;
    const at = group.tools.findIndex((each) => each.name === name);
    if (at !== -1) return `tools[${index}].tools[${at}]`;
  }
  return 'tools';
}

/** Nothing can be demanded that is no longer offered. */
function choiceWithout({ tools, toolChoice }: ModelCall): Partial<ModelCall> {
  if (typeof toolChoice === 'object' && toolChoice.type === 'hosted') return { toolChoice: 'auto' };
  return tools.some(isCallable) || toolChoice !== 'required' ? {} : { toolChoice: 'auto' };
}

/**
 * Fits the items: what the model can't look at is refused, or replaced by a word about it; items of tools that run
 * upstream are left out where they are history, and refused where the client sends them now.
 * @throws ApiError 400 `unsupported_value`, in the mode `reject`.
 */
export function fitItems(call: ModelCall, input: ReadonlySet<Item>, fitting: Fitting): Fitted {
  const { features, mode } = fitting;
  if (features.images === 'url' && features.files === 'url' && features.hostedTools) return { call, dropped: [] };
  const dropped = new Set<string>();
  const items: Item[] = [];
  for (const item of call.items) {
    if (isHosted(item)) {
      if (features.hostedTools) {
        items.push(item);
        continue;
      }
      if (mode === 'reject' && input.has(item)) throw unsupported(`An item of type \`${item.type}\``, fitting, 'input');
      dropped.add(item.type);
    } else if (item.type === 'message') {
      const content = fitParts(item.content, fitting, dropped);
      items.push(content === item.content ? item : { ...item, content });
    } else if ('output' in item) {
      const output = fitOutput(item.output, fitting, dropped);
      items.push(output === item.output ? item : { ...item, output });
    } else {
      items.push(item);
    }
  }
  return { call: { ...call, items }, dropped: [...dropped] };
}

function fitOutput(output: OutputContent, fitting: Fitting, dropped: Set<string>): OutputContent {
  return typeof output === 'string' ? output : fitParts(output, fitting, dropped);
}

/** The same list where all of it fits. */
function fitParts<T extends ContentPart>(parts: readonly T[], fitting: Fitting, dropped: Set<string>): readonly T[] {
  if (parts.every((part) => misfitOf(part, fitting.features) === undefined)) return parts;
  return parts.map((part) => {
    const misfit = misfitOf(part, fitting.features);
    if (misfit === undefined) return part;
    if (fitting.mode === 'reject') throw unsupported(misfit, fitting, 'input');
    dropped.add(part.type);
    // Every list that holds images or files may hold texts.
    return { type: 'input_text', text: `[${part.type} left out]` } as T;
  });
}

function misfitOf(part: ContentPart, { images, files }: ModelFeatures): string | undefined {
  if (part.type === 'input_image') return misfit('An image', images, isInline(part));
  return part.type === 'input_file' ? misfit('A file', files, isInline(part)) : undefined;
}

function misfit(what: string, allowed: 'none' | 'data' | 'url', isContent: boolean): string | undefined {
  if (allowed === 'url' || (allowed === 'data' && isContent)) return undefined;
  return allowed === 'none' ? what : `${what} by URL (only with its content in the request)`;
}

function isInline(part: InputImagePart | InputFilePart): boolean {
  return part.type === 'input_file' ? part.file_data !== undefined : /^data:/i.test(part.image_url);
}

function unsupported(what: string, { modelName }: Fitting, param: string): Error {
  return invalidRequest(`${what} is not supported with the model '${modelName}'.`, param, 'unsupported_value');
}
