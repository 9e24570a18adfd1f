import {
  type CallItem,
  type CallOutputItem,
  type Item,
  isCall,
  isCallOutput,
  type MessageItem,
  type OutputContent,
  type ReasoningItem,
} from '../../api/items.ts';
import type { ContentPart, InputImagePart } from '../../api/parts.ts';
import type { ModelCall } from '../../model.ts';
import { type OfferedTools, wrapInput } from '../upstream/offered-tools.ts';
import type { Dialect } from './dialects.ts';

type InputItem = Readonly<Record<string, unknown>>;

/**
 * The items of a call as an upstream's `input`, all of them, as nothing is kept there. Their ids are ours: an upstream
 * would look for them in vain. Those of hosted items stay, as they are part of their form and may be referred to.
 */
export function toInput(call: ModelCall, dialect: Dialect, tools: OfferedTools): InputItem[] {
  const input: InputItem[] = [];
  /** Images of outputs that can only be text: behind all outputs of a turn, as nothing may stand between those. */
  let images: InputItem[] = [];
  for (const item of call.items) {
    if (images.length > 0 && !isCallOutput(item)) {
      input.push(...images);
      images = [];
    }
    if (item.type === 'message') input.push(toMessage(item, dialect));
    else if (isCall(item)) input.push(toCall(item, dialect, tools));
    else if (isCallOutput(item)) {
      input.push(toOutput(item, dialect));
      if (!dialect.outputParts) images.push(...imagesOf(item));
    } else if (item.type === 'reasoning') input.push(...toReasoning(item, call, dialect));
    else input.push(toHosted(item, dialect));
  }
  input.push(...images);
  return input;
}

function toMessage({ role, content, phase }: MessageItem, dialect: Dialect): InputItem {
  if (role !== 'assistant') {
    const known = role === 'developer' ? dialect.developerRole : role;
    return { type: 'message', role: known, content: content.map(toPart) };
  }
  // Annotations point into files and pages that only the upstream which made them knows.
  const said = dialect.assistantText ? textOf(content) : content.map(toSpokenPart);
  return { type: 'message', role, content: said, ...(phase !== undefined && { phase }) };
}

/** In the words of an assistant even text that a client called input was said. */
function toSpokenPart(part: ContentPart): InputItem {
  if (part.type === 'refusal') return { type: 'refusal', refusal: part.refusal };
  return { type: 'output_text', text: 'text' in part ? part.text : '', annotations: [] };
}

function toPart(part: ContentPart): InputItem {
  if (part.type === 'refusal') return { type: 'input_text', text: part.refusal };
  return part.type === 'output_text' ? { type: 'input_text', text: part.text } : part;
}

function textOf(parts: readonly ContentPart[]): string {
  const texts: string[] = [];
  for (const part of parts) {
    if (part.type === 'refusal') texts.push(part.refusal);
    else if ('text' in part) texts.push(part.text);
  }
  return texts.join('\n');
}

function toCall(item: CallItem, dialect: Dialect, tools: OfferedTools): InputItem {
  const named = {
    call_id: item.call_id,
    name: tools.nameOf(item.name, item.namespace),
    ...(dialect.namespaces && item.namespace !== undefined && { namespace: item.namespace }),
  };
  if (item.type === 'function_call') return { type: item.type, ...named, arguments: item.arguments };
  if (dialect.customTools) return { type: item.type, ...named, input: item.input };
  return { type: 'function_call', ...named, arguments: wrapInput(item.input) };
}

function toOutput(item: CallOutputItem, dialect: Dialect): InputItem {
  const type = dialect.customTools ? item.type : 'function_call_output';
  return { type, call_id: item.call_id, output: dialect.outputParts ? item.output : outputText(item.output) };
}

function outputText(output: OutputContent): string {
  return typeof output === 'string' ? output : textOf(output);
}

function imagesOf({ call_id: id, output }: CallOutputItem): InputItem[] {
  if (typeof output === 'string') return [];
  const images = output.filter((part): part is InputImagePart => part.type === 'input_image');
  if (images.length === 0) return [];
  const label = { type: 'input_text', text: `Images from the output of the function call ${id}:` };
  return [{ type: 'message', role: 'user', content: [label, ...images] }];
}

/**
 * What the upstream encrypted goes back as it is; the engine has taken out what others did. Plain text goes only to who
 * said it and reads it. Raw text beside an encrypted form of it is refused by OpenAI.
 */
function toReasoning(item: ReasoningItem, call: ModelCall, dialect: Dialect): InputItem[] {
  const { id, summary, content, encrypted_content: encrypted } = item;
  const named = { type: 'reasoning', ...(dialect.reasoningIds && { id }) };
  if (encrypted !== undefined && dialect.encryptedReasoning) {
    return [{ ...named, summary, encrypted_content: encrypted }];
  }
  if (!dialect.reasoningText || !call.providerData.has(id)) return [];
  const texts = (content?.length ?? 0) > 0 ? content : summary;
  const text = texts?.map((part) => part.text).join('\n\n') ?? '';
  return text === '' ? [] : [{ ...named, summary: [], content: [{ type: 'reasoning_text', text }] }];
}

function toHosted(item: Exclude<Item, MessageItem | CallItem | CallOutputItem | ReasoningItem>, dialect: Dialect) {
  // A compaction is encrypted like reasoning, and needs no id.
  if (item.type !== 'compaction' || dialect.reasoningIds) return item;
  const { id: _, ...rest } = item;
  return rest;
}
