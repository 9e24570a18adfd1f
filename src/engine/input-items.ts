import type { HostedItem, InputItem, Item, MessageItem, OutputContent } from '../api/items.ts';
import type {
  AssistantPart,
  ContentPart,
  InputFilePart,
  InputImagePart,
  InputPart,
  InputTextPart,
} from '../api/parts.ts';
import { ApiError, invalidRequest } from '../errors.ts';
import type { IdPrefix, MintId } from '../ids.ts';
import type { EntryPlace, FoundItem, StorableItem, Store } from '../store.ts';

/** An item of a request's input. `target` is set where it lives in another entry and is only referred to (R10). */
export type NewItem = { readonly item: Item; readonly target: EntryPlace | undefined };

export const idPrefixes: Readonly<Record<Item['type'], IdPrefix>> = {
  message: 'msg',
  function_call: 'fc',
  function_call_output: 'fco',
  custom_tool_call: 'ctc',
  custom_tool_call_output: 'ctco',
  reasoning: 'rs',
  apply_patch_call: 'apc',
  apply_patch_call_output: 'apco',
  code_interpreter_call: 'ci',
  compaction: 'cmp',
  computer_call: 'cu',
  computer_call_output: 'cuo',
  file_search_call: 'fs',
  image_generation_call: 'ig',
  local_shell_call: 'lsh',
  local_shell_call_output: 'lsho',
  mcp_approval_request: 'mcpr',
  mcp_approval_response: 'mcpa',
  mcp_call: 'mcp',
  mcp_list_tools: 'mcpl',
  program: 'prog',
  program_output: 'progo',
  shell_call: 'sh',
  shell_call_output: 'sho',
  tool_search_call: 'ts',
  tool_search_output: 'tso',
  web_search_call: 'ws',
};

/**
 * Gives input items their stored form: ids and statuses filled in, string content as parts (docs/wire.md §3),
 * references resolved within the tenant, first in the context, then anywhere (R10). A reference to what the context
 * holds already adds nothing.
 *
 * @param knownIds ids of the items in the context.
 * @throws ApiError 400 for an id that occurs twice (R9) or references to too much, 404 for a reference to nothing.
 */
export async function resolveInput(
  input: readonly InputItem[],
  knownIds: Iterable<string>,
  tenant: string,
  deps: { readonly store: Store; readonly mintId: MintId },
): Promise<NewItem[]> {
  const seen = new Set(knownIds);
  const elsewhere = await findReferences(input, seen, tenant, deps.store);
  const resolved: NewItem[] = [];
  for (const each of input) {
    if (each.type === 'item_reference') {
      if (seen.has(each.id)) continue;
      const found = elsewhere.get(each.id);
      if (found === undefined) throw referenceNotFound(each.id);
      seen.add(each.id);
      resolved.push({ item: found.item, target: found.place });
      continue;
    }
    const item = toItem(each, deps.mintId);
    if (seen.has(item.id)) throw duplicateItem(item.id);
    seen.add(item.id);
    resolved.push({ item, target: undefined });
  }
  return resolved;
}

/** References in one input. Each is a look-up in the database. */
const maxReferences = 2_000;
/** Of JSON that the references of one input stand for: a small body may name what is large. */
const maxReferencedChars = 32 * 1024 * 1024;

async function findReferences(
  input: readonly InputItem[],
  known: ReadonlySet<string>,
  tenant: string,
  store: Store,
): Promise<ReadonlyMap<string, FoundItem>> {
  const ids = new Set<string>();
  for (const each of input) if (each.type === 'item_reference' && !known.has(each.id)) ids.add(each.id);
  if (ids.size === 0) return new Map();
  if (ids.size > maxReferences) {
    throw invalidRequest(`At most ${maxReferences} item references are allowed.`, 'input', 'array_above_max_length');
  }
  const found = await store.findItems(tenant, [...ids], maxReferencedChars);
  if (found !== 'too_large') return found;
  throw invalidRequest(
    `The items that are referred to exceed ${maxReferencedChars} characters of JSON. Refer to fewer of them in one request.`,
    'input',
  );
}

/** The user message that a plain string stands for. */
export function messageFromText(text: string, mintId: MintId): NewItem {
  const content: ContentPart[] = [{ type: 'input_text', text }];
  const item: Item = { id: mintId('msg'), type: 'message', status: 'completed', role: 'user', content };
  return { item, target: undefined };
}

export function duplicateItem(id: string): ApiError {
  return invalidRequest(
    `Duplicate item found with id ${id}. Remove duplicate items from your input and try again.`,
    'input',
  );
}

export function toStorable({ item, target }: NewItem): StorableItem {
  return target === undefined ? { id: item.id, json: JSON.stringify(item) } : { id: item.id, target };
}

/** Bytes of an item's texts, without images: what `context.max-bytes` counts. */
export function textBytesOf(item: Item): number {
  switch (item.type) {
    case 'message':
      return sum(item.content, partBytes);
    case 'function_call':
      return Buffer.byteLength(item.arguments) + Buffer.byteLength(item.name);
    case 'custom_tool_call':
      return Buffer.byteLength(item.input) + Buffer.byteLength(item.name);
    case 'function_call_output':
    case 'custom_tool_call_output':
      return typeof item.output === 'string' ? Buffer.byteLength(item.output) : sum(item.output, partBytes);
    case 'reasoning':
      return (
        sum(item.summary, (part) => Buffer.byteLength(part.text)) +
        sum(item.content ?? [], (part) => Buffer.byteLength(part.text)) +
        (item.encrypted_content?.length ?? 0)
      );
    default:
      return hostedBytes(item);
  }
}

/** Of an item whose fields nobody here knows: all of it, but for what is no text. */
function hostedBytes(item: HostedItem): number {
  if (item.type === 'image_generation_call') return 0;
  return Buffer.byteLength(JSON.stringify(item));
}

function partBytes(part: ContentPart): number {
  if (part.type === 'input_image' || part.type === 'input_file') return 0;
  return Buffer.byteLength(part.type === 'refusal' ? part.refusal : part.text);
}

function sum<T>(list: readonly T[], of: (each: T) => number): number {
  let total = 0;
  for (const each of list) total += of(each);
  return total;
}

function referenceNotFound(id: string): ApiError {
  return new ApiError(
    'not_found',
    `Item with id '${id}' not found. Items are not persisted when \`store\` is set to false, or omitted on a server that does not run with open-responses.store.default=true. Send the item itself, or store what it came from with \`store: true\`.`,
    { param: 'input' },
  );
}

function toItem(input: Exclude<InputItem, { type: 'item_reference' }>, mintId: MintId): Item {
  switch (input.type) {
    case 'message':
      return toMessage(input, mintId);
    case 'function_call':
      return {
        id: input.id ?? mintId(idPrefixes.function_call),
        type: 'function_call',
        status: input.status ?? 'completed',
        call_id: input.call_id,
        name: input.name,
        arguments: input.arguments,
        ...(input.namespace == null ? {} : { namespace: input.namespace }),
      };
    case 'function_call_output':
      return {
        id: input.id ?? mintId(idPrefixes.function_call_output),
        type: 'function_call_output',
        status: input.status ?? 'completed',
        call_id: input.call_id,
        output: toOutput(input.output),
        ...(input.name == null ? {} : { name: input.name }),
        ...(input.namespace == null ? {} : { namespace: input.namespace }),
      };
    case 'custom_tool_call':
      return {
        id: input.id ?? mintId(idPrefixes.custom_tool_call),
        type: 'custom_tool_call',
        status: input.status ?? 'completed',
        call_id: input.call_id,
        name: input.name,
        input: input.input,
        ...(input.namespace == null ? {} : { namespace: input.namespace }),
      };
    case 'custom_tool_call_output':
      return {
        id: input.id ?? mintId(idPrefixes.custom_tool_call_output),
        type: 'custom_tool_call_output',
        status: input.status ?? 'completed',
        call_id: input.call_id,
        output: toOutput(input.output),
        ...(input.name == null ? {} : { name: input.name }),
      };
    case 'reasoning':
      return {
        id: input.id ?? mintId(idPrefixes.reasoning),
        type: 'reasoning',
        summary: input.summary,
        ...(input.content == null ? {} : { content: input.content }),
        ...(input.encrypted_content == null ? {} : { encrypted_content: input.encrypted_content }),
        ...(input.status == null ? {} : { status: input.status }),
      };
    case 'additional_tools':
    case 'compaction_trigger':
      throw invalidRequest(`An input item of type \`${input.type}\` is not supported by this server.`, 'input');
    default:
      return { ...input, id: input.id ?? mintId(idPrefixes[input.type]) };
  }
}

function toOutput(output: string | readonly InputPart[]): OutputContent {
  return typeof output === 'string' ? output : output.map(toInputPart);
}

function toMessage(input: Extract<InputItem, { type: 'message' }>, mintId: MintId): MessageItem {
  const { role, content } = input;
  return {
    id: input.id ?? mintId(idPrefixes.message),
    type: 'message',
    status: input.status ?? 'completed',
    role,
    content: typeof content === 'string' ? [textPart(content, role)] : content.map(toPart),
    ...(input.phase == null ? {} : { phase: input.phase }),
  };
}

function textPart(text: string, role: MessageItem['role']): ContentPart {
  return role === 'assistant'
    ? { type: 'output_text', text, annotations: [], logprobs: [] }
    : { type: 'input_text', text };
}

function toPart(part: InputPart | AssistantPart): ContentPart {
  if (part.type === 'output_text') {
    return { type: 'output_text', text: part.text, annotations: part.annotations ?? [], logprobs: part.logprobs ?? [] };
  }
  return part.type === 'refusal' ? { type: 'refusal', refusal: part.refusal } : toInputPart(part);
}

function toInputPart(part: InputPart): InputTextPart | InputImagePart | InputFilePart {
  if (part.type === 'input_text') return { type: 'input_text', text: part.text };
  if (part.type === 'input_image' && typeof part.image_url === 'string') {
    return { type: 'input_image', image_url: part.image_url, detail: part.detail ?? 'auto' };
  }
  if (part.type === 'input_file') {
    const { file_url, file_data, filename, detail } = part;
    return {
      type: 'input_file',
      ...(file_url == null ? {} : { file_url }),
      ...(file_data == null ? {} : { file_data }),
      ...(filename == null ? {} : { filename }),
      ...(detail == null ? {} : { detail }),
    };
  }
  throw invalidRequest(`A part of type \`${part.type}\` is not supported by this server.`, 'input');
}
