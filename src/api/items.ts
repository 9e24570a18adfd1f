import { z } from 'zod';
import type {
  ContentPart,
  InputFilePart,
  InputImagePart,
  InputTextPart,
  ReasoningTextPart,
  SummaryTextPart,
} from './parts.ts';
import { assistantPartSchema, inputPartSchema } from './parts.ts';
import {
  callIdSchema,
  itemIdSchema,
  type JsonObject,
  maxInputItems,
  maxParts,
  maxTextLength,
  optional,
  unsupported,
} from './primitives.ts';

/** Parts, annotations and log probabilities of one `input` together. */
const maxInputParts = 100_000;

const id = optional(itemIdSchema);
const status = optional(z.enum(['in_progress', 'completed', 'incomplete']));
/** The group of tools that a call belongs to. */
const namespace = optional(z.string().min(1).max(128));
const phase = optional(z.enum(['commentary', 'final_answer']));

const inputContent = z.union([z.string().max(maxTextLength), z.array(inputPartSchema).max(maxParts)]);
const assistantContent = z.union([z.string().max(maxTextLength), z.array(assistantPartSchema).max(maxParts)]);

const message = { type: z.literal('message'), id, status, phase };

const messageSchema = z.discriminatedUnion('role', [
  z.strictObject({ ...message, role: z.enum(['user', 'system', 'developer']), content: inputContent }),
  z.strictObject({ ...message, role: z.literal('assistant'), content: assistantContent }),
]);

const functionCallSchema = z.strictObject({
  type: z.literal('function_call'),
  id,
  call_id: callIdSchema,
  name: z.string().min(1).max(128),
  arguments: z.string().max(maxTextLength),
  namespace,
  status,
});

const customToolCallSchema = z.strictObject({
  type: z.literal('custom_tool_call'),
  id,
  call_id: callIdSchema,
  name: z.string().min(1).max(128),
  input: z.string().max(maxTextLength),
  namespace,
  status,
});

const customToolCallOutputSchema = z.strictObject({
  type: z.literal('custom_tool_call_output'),
  id,
  call_id: callIdSchema,
  output: inputContent,
  name: optional(z.string().min(1).max(128)),
  status,
});

const functionCallOutputSchema = z.strictObject({
  type: z.literal('function_call_output'),
  id,
  call_id: callIdSchema,
  output: inputContent,
  name: optional(z.string().min(1).max(128)),
  namespace,
  status,
});

const reasoningSchema = z.strictObject({
  type: z.literal('reasoning'),
  id,
  summary: z
    .array(z.strictObject({ type: z.literal('summary_text'), text: z.string().max(maxTextLength) }))
    .max(maxParts),
  content: optional(
    z.array(z.strictObject({ type: z.literal('reasoning_text'), text: z.string().max(maxTextLength) })).max(maxParts),
  ),
  encrypted_content: optional(z.string().max(maxTextLength)),
  status,
});

const itemReferenceSchema = z.strictObject({ type: z.literal('item_reference'), id: itemIdSchema });

/**
 * Items of tools that run upstream: only a model whose upstream speaks Responses understands them, and their fields are
 * that upstream's to check.
 */
export const hostedItemTypes = [
  'apply_patch_call',
  'apply_patch_call_output',
  'code_interpreter_call',
  'compaction',
  'computer_call',
  'computer_call_output',
  'file_search_call',
  'image_generation_call',
  'local_shell_call',
  'local_shell_call_output',
  'mcp_approval_request',
  'mcp_approval_response',
  'mcp_call',
  'mcp_list_tools',
  'program',
  'program_output',
  'shell_call',
  'shell_call_output',
  'tool_search_call',
  'tool_search_output',
  'web_search_call',
] as const;

const hostedItemSchema = z.looseObject({ type: z.enum(hostedItemTypes), id });

/** Item types of OpenAI's API that nothing here can act on yet: refused by name. */
const laterItemSchema = z
  .looseObject({ type: z.enum(['additional_tools', 'compaction_trigger']) })
  .superRefine((item, context) =>
    context.addIssue({ code: 'custom', path: ['type'], ...unsupported(`An input item of type \`${item.type}\``) }),
  );

const typedItemSchema = z.discriminatedUnion('type', [
  messageSchema,
  functionCallSchema,
  functionCallOutputSchema,
  customToolCallSchema,
  customToolCallOutputSchema,
  reasoningSchema,
  itemReferenceSchema,
  hostedItemSchema,
  laterItemSchema,
]);

/** `type` may be missing, or null, on easy messages and on references (docs/wire.md §3). */
export const inputItemSchema = z.preprocess((value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const item = value as Record<string, unknown>;
  if (item['type'] != null) return item;
  if ('role' in item) return { ...item, type: 'message' };
  if (typeof item['id'] === 'string') return { ...item, type: 'item_reference' };
  return item;
}, typedItemSchema);

export const inputItemsSchema = z.preprocess((items, context) => {
  if (!Array.isArray(items) || items.length > maxInputItems || partsOf(items) <= maxInputParts) return items;
  context.addIssue({ code: 'too_big', origin: 'array', maximum: maxInputParts, input: items });
  return z.NEVER;
}, z.array(inputItemSchema).max(maxInputItems));

/** Entries of the lists that items hold, two lists deep: what is checked one by one. */
function partsOf(items: readonly unknown[]): number {
  let count = 0;
  const visit = (value: unknown, depth: number): void => {
    if (typeof value !== 'object' || value === null || depth === 0) return;
    for (const inner of Object.values(value)) {
      if (!Array.isArray(inner)) continue;
      count += inner.length;
      for (const each of inner) {
        if (count > maxInputParts) return;
        visit(each, depth - 1);
      }
    }
  };
  for (const item of items) visit(item, 2);
  return count;
}

/** An item as a client sends it, validated; `engine/input-items.ts` gives it its stored form. */
export type InputItem = z.infer<typeof typedItemSchema>;

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

export type MessagePhase = 'commentary' | 'final_answer';

export type MessageItem = {
  readonly id: string;
  readonly type: 'message';
  readonly status: ItemStatus;
  readonly role: 'user' | 'assistant' | 'system' | 'developer';
  readonly content: readonly ContentPart[];
  readonly phase?: MessagePhase;
};

export type FunctionCallItem = {
  readonly id: string;
  readonly type: 'function_call';
  readonly status: ItemStatus;
  readonly call_id: string;
  readonly name: string;
  readonly arguments: string;
  readonly namespace?: string;
};

/** What a function or a custom tool gave back. */
export type OutputContent = string | readonly (InputTextPart | InputImagePart | InputFilePart)[];

export type FunctionCallOutputItem = {
  readonly id: string;
  readonly type: 'function_call_output';
  readonly status: ItemStatus;
  readonly call_id: string;
  readonly output: OutputContent;
  readonly name?: string;
  readonly namespace?: string;
};

export type CustomToolCallItem = {
  readonly id: string;
  readonly type: 'custom_tool_call';
  readonly status: ItemStatus;
  readonly call_id: string;
  readonly name: string;
  readonly input: string;
  readonly namespace?: string;
};

export type CustomToolCallOutputItem = {
  readonly id: string;
  readonly type: 'custom_tool_call_output';
  readonly status: ItemStatus;
  readonly call_id: string;
  readonly output: OutputContent;
  readonly name?: string;
};

export type ReasoningItem = {
  readonly id: string;
  readonly type: 'reasoning';
  readonly summary: readonly SummaryTextPart[];
  readonly content?: readonly ReasoningTextPart[];
  readonly encrypted_content?: string;
  readonly status?: ItemStatus;
};

/** The kinds of items of tools that run upstream. */
export type HostedItemType = (typeof hostedItemTypes)[number];

/** An item of a tool that runs upstream, without an id of ours. */
export type HostedItemContent = JsonObject & { readonly type: HostedItemType };

export type HostedItem = HostedItemContent & { readonly id: string };

/** A call that the client answers, and its answer. */
export type CallItem = FunctionCallItem | CustomToolCallItem;
export type CallOutputItem = FunctionCallOutputItem | CustomToolCallOutputItem;

/** An item as it is stored, shown to clients and given to models. Always has an id. */
export type Item = MessageItem | CallItem | CallOutputItem | ReasoningItem | HostedItem;

export function isCall(item: Item): item is CallItem {
  return item.type === 'function_call' || item.type === 'custom_tool_call';
}

export function isCallOutput(item: Item): item is CallOutputItem {
  return item.type === 'function_call_output' || item.type === 'custom_tool_call_output';
}

/** Whether an item belongs to a tool that runs upstream: other models can't make sense of it. */
export function isHosted(item: Item): item is HostedItem {
  return item.type !== 'message' && item.type !== 'reasoning' && !isCall(item) && !isCallOutput(item);
}
