import type { FunctionCallItem, FunctionCallOutputItem, Item, MessageItem } from '../../api/items.ts';
import type { ContentPart, InputImagePart } from '../../api/parts.ts';
import type { FunctionTool } from '../../api/tools.ts';
import type { ModelCall } from '../../model.ts';
import type { Profile } from '../profiles.ts';

type TextPart = { type: 'text'; text: string };
type ImagePart = { type: 'image_url'; image_url: { url: string; detail?: 'low' | 'high' } };
type ChatToolCall = { id: string; type: 'function'; function: { name: string; arguments: string } };
type AssistantMessage = {
  role: 'assistant';
  content: string | null;
  refusal?: string;
  tool_calls?: ChatToolCall[];
};

export type ChatMessage =
  | { role: 'system' | 'developer' | 'user'; content: string | (TextPart | ImagePart)[] }
  | AssistantMessage
  | { role: 'tool'; tool_call_id: string; content: string };

export type ChatRequest = { model: string; messages: ChatMessage[]; [field: string]: unknown };

/**
 * A call as the body of POST /chat/completions. Reasoning items are left out: chat completions have no place for them.
 * Metadata, user and store never go upstream (R16).
 */
export function toChatRequest(call: ModelCall, profile: Profile): ChatRequest {
  const request: ChatRequest = { model: call.model, messages: toMessages(call, profile) };
  const { features } = profile;
  addTools(request, call, profile);
  const format = responseFormat(call);
  if (format !== undefined) request['response_format'] = format;
  if (call.verbosity !== undefined && features.verbosity) request['verbosity'] = call.verbosity;
  if (call.reasoningEffort !== undefined && features.reasoningEffort)
    request['reasoning_effort'] = call.reasoningEffort;
  if (call.maxOutputTokens !== undefined) request[profile.maxTokensField] = call.maxOutputTokens;
  if (call.temperature !== undefined) request['temperature'] = call.temperature;
  if (call.topP !== undefined) request['top_p'] = call.topP;
  if (features.penalties) {
    if (call.presencePenalty !== undefined) request['presence_penalty'] = call.presencePenalty;
    if (call.frequencyPenalty !== undefined) request['frequency_penalty'] = call.frequencyPenalty;
  }
  if (call.topLogprobs !== undefined && features.logprobs) {
    request['logprobs'] = true;
    if (call.topLogprobs > 0) request['top_logprobs'] = call.topLogprobs;
  }
  if (call.streamed) {
    request['stream'] = true;
    if (profile.includeUsage) request['stream_options'] = { include_usage: true };
  }
  return request;
}

function toMessages(call: ModelCall, profile: Profile): ChatMessage[] {
  const messages: ChatMessage[] = [];
  if (call.instructions !== undefined) messages.push({ role: profile.systemRole, content: call.instructions });
  const items = call.items.filter((item) => item.type !== 'reasoning');
  const outputs = pair(items);
  const answered = new Set(outputs.values());
  for (let at = 0; at < items.length; at += 1) {
    const item = items[at];
    if (item?.type === 'message') {
      messages.push(toMessage(item, profile));
    } else if (item?.type === 'function_call') {
      const calls: FunctionCallItem[] = [item];
      for (let next = items[at + 1]; next?.type === 'function_call'; next = items[at + 1]) {
        calls.push(next);
        at += 1;
      }
      addCalls(messages, calls, outputs);
    } else if (item?.type === 'function_call_output' && !answered.has(item)) {
      addOutputs(messages, [item]);
    }
  }
  return messages;
}

/**
 * Which output belongs to which call: the newest call of that id before it. By item, not by id: some vendors number
 * the calls of every turn from the same start.
 */
function pair(items: readonly Item[]): Map<FunctionCallItem, FunctionCallOutputItem> {
  const open = new Map<string, FunctionCallItem>();
  const outputs = new Map<FunctionCallItem, FunctionCallOutputItem>();
  for (const item of items) {
    if (item.type === 'function_call') open.set(item.call_id, item);
    if (item.type !== 'function_call_output') continue;
    const call = open.get(item.call_id);
    if (call === undefined) continue;
    outputs.set(call, item);
    open.delete(item.call_id);
  }
  return outputs;
}

/** Chat completions want the outputs right behind the message that calls, whatever stands between them here. */
function addCalls(
  messages: ChatMessage[],
  calls: readonly FunctionCallItem[],
  outputs: ReadonlyMap<FunctionCallItem, FunctionCallOutputItem>,
): void {
  const toolCalls = calls.map((call): ChatToolCall => {
    return { id: call.call_id, type: 'function', function: { name: call.name, arguments: call.arguments } };
  });
  const before = messages.at(-1);
  if (before?.role === 'assistant' && before.tool_calls === undefined) {
    before.tool_calls = toolCalls;
    if (before.content === '') before.content = null;
  } else {
    messages.push({ role: 'assistant', content: null, tool_calls: toolCalls });
  }
  addOutputs(
    messages,
    calls.flatMap((call) => outputs.get(call) ?? []),
  );
}

/** A `tool` message holds text only: the images of all outputs follow in user messages. */
function addOutputs(messages: ChatMessage[], outputs: readonly FunctionCallOutputItem[]): void {
  const withImages: ChatMessage[] = [];
  for (const { call_id: id, output } of outputs) {
    if (typeof output === 'string') {
      messages.push({ role: 'tool', tool_call_id: id, content: output });
      continue;
    }
    messages.push({ role: 'tool', tool_call_id: id, content: joinText(output) });
    const images = output.filter((part) => part.type === 'input_image').map(toImage);
    if (images.length === 0) continue;
    const label: TextPart = { type: 'text', text: `Images from the output of the function call ${id}:` };
    withImages.push({ role: 'user', content: [label, ...images] });
  }
  messages.push(...withImages);
}

function toMessage(item: MessageItem, profile: Profile): ChatMessage {
  if (item.role === 'assistant') return toAssistantMessage(item, profile);
  const role = item.role === 'developer' ? profile.systemRole : item.role;
  return { role, content: toContent(item.content) };
}

function toAssistantMessage(item: MessageItem, profile: Profile): AssistantMessage {
  const text = joinText(item.content);
  const refusal = item.content
    .filter((part) => part.type === 'refusal')
    .map((part) => part.refusal)
    .join('\n');
  if (refusal === '') return { role: 'assistant', content: text };
  if (profile.refusals) return { role: 'assistant', content: text === '' ? null : text, refusal };
  return { role: 'assistant', content: text === '' ? refusal : `${text}\n${refusal}` };
}

function toContent(parts: readonly ContentPart[]): string | (TextPart | ImagePart)[] {
  const only = parts[0];
  if (only === undefined) return '';
  if (parts.length === 1 && only.type !== 'input_image') return textOf(only);
  return parts.map((part) => (part.type === 'input_image' ? toImage(part) : { type: 'text', text: textOf(part) }));
}

/** `original` is a detail that chat completions don't know; `high` comes nearest. `auto` is the default. */
function toImage(part: InputImagePart): ImagePart {
  if (part.detail === 'auto') return { type: 'image_url', image_url: { url: part.image_url } };
  const detail = part.detail === 'low' ? 'low' : 'high';
  return { type: 'image_url', image_url: { url: part.image_url, detail } };
}

function joinText(parts: readonly ContentPart[]): string {
  const texts: string[] = [];
  for (const part of parts) {
    if (part.type === 'input_text' || part.type === 'output_text') texts.push(part.text);
  }
  return texts.join('\n');
}

function textOf(part: Exclude<ContentPart, InputImagePart>): string {
  return part.type === 'refusal' ? part.refusal : part.text;
}

function addTools(request: ChatRequest, call: ModelCall, profile: Profile): void {
  const { toolChoice } = call;
  // Where no choice is obeyed, none is the only one that can be kept: by offering nothing.
  const tools = toolChoice === 'none' && !profile.features.forcedCalls ? [] : call.tools;
  if (tools.length === 0) return;
  request['tools'] = tools.map(toTool);
  if (typeof toolChoice === 'object') {
    request['tool_choice'] = { type: 'function', function: { name: toolChoice.name } };
  } else if (toolChoice !== 'auto') {
    request['tool_choice'] = toolChoice;
  }
  if (call.parallelToolCalls !== undefined && profile.features.singleCalls) {
    request['parallel_tool_calls'] = call.parallelToolCalls;
  }
}

function toTool(tool: FunctionTool) {
  return {
    type: 'function',
    function: {
      name: tool.name,
      ...(tool.description != null && { description: tool.description }),
      ...(tool.parameters != null && { parameters: tool.parameters }),
      ...(tool.strict != null && { strict: tool.strict }),
    },
  };
}

function responseFormat({ format }: ModelCall) {
  if (format === undefined || format.type === 'text') return undefined;
  if (format.type === 'json_object') return { type: 'json_object' };
  return {
    type: 'json_schema',
    json_schema: {
      name: format.name,
      schema: format.schema,
      ...(format.description != null && { description: format.description }),
      ...(format.strict != null && { strict: format.strict }),
    },
  };
}
