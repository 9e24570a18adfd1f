import {
  type CallItem,
  type CallOutputItem,
  type Item,
  isCall,
  isCallOutput,
  isHosted,
  type MessageItem,
  type ReasoningItem,
} from '../../api/items.ts';
import type { JsonObject } from '../../api/primitives.ts';
import type { ModelCall } from '../../model.ts';
import { outputsByCall } from '../call-outputs.ts';
import type { Profile } from '../profiles.ts';
import { isObject } from '../upstream/loose.ts';
import { type OfferedTools, wrapInput } from '../upstream/offered-tools.ts';
import { toCallId } from './call-ids.ts';
import { isMedia, joinText, type TextPart, toContent, toMedia, type UserPart } from './content.ts';
import { detailsOf } from './thoughts.ts';

type ChatToolCall = { id: string; extra_content?: JsonObject } & (
  | { type: 'function'; function: { name: string; arguments: string } }
  | { type: 'custom'; custom: { name: string; input: string } }
);
type ThinkingPart = { type: 'thinking'; thinking: TextPart[] };
type AssistantMessage = {
  role: 'assistant';
  content: string | null | (TextPart | ThinkingPart)[];
  refusal?: string;
  tool_calls?: ChatToolCall[];
  /** Reasoning, in the vendor's field. */
  [field: string]: unknown;
};

export type ChatMessage =
  | { role: 'system' | 'developer' | 'user'; content: string | UserPart[] }
  | AssistantMessage
  | { role: 'tool'; tool_call_id: string; content: string; name?: string };

/** Reasoning that goes back with a message. */
type Thoughts = { readonly texts: string[]; readonly details: unknown[] };

/** The history and the input of a call, as messages. Items of tools that run elsewhere are left out. */
export function toMessages(call: ModelCall, profile: Profile, tools: OfferedTools): ChatMessage[] {
  return new Conversation(call, profile, tools).messages;
}

class Conversation {
  readonly messages: ChatMessage[] = [];
  readonly #call: ModelCall;
  readonly #profile: Profile;
  readonly #tools: OfferedTools;
  readonly #items: readonly Item[];
  readonly #outputs: ReadonlyMap<CallItem, CallOutputItem>;
  /** Reasoning of items before this one is not within the tool loop. */
  readonly #loopStart: number;
  /** What was thought since the last message. */
  #thoughts: Thoughts = { texts: [], details: [] };
  /** The last message of the assistant, until somebody else speaks. */
  #last: AssistantMessage | undefined;

  constructor(call: ModelCall, profile: Profile, tools: OfferedTools) {
    this.#call = call;
    this.#profile = profile;
    this.#tools = tools;
    this.#items = call.items.filter((item) => !isHosted(item));
    this.#outputs = outputsByCall(this.#items);
    this.#loopStart = this.#items.findLastIndex((item) => item.type === 'message' && item.role === 'user');
    this.#addSystem();
    this.#addItems();
    this.#attach(this.#last, 'behind');
  }

  #addSystem(): void {
    const { instructions } = this.#call;
    const texts = instructions === undefined ? [] : [instructions];
    if (this.#profile.systemMessages === 'first') texts.push(...this.#items.filter(isSystem).map(textOfSystem));
    const content = texts.filter((text, index) => index === 0 || text !== '').join('\n\n');
    if (texts.length > 0) this.messages.push({ role: this.#profile.systemRole, content });
  }

  #addItems(): void {
    const answered = new Set(this.#outputs.values());
    for (let at = 0; at < this.#items.length; at += 1) {
      const item = this.#items[at];
      if (item === undefined) continue;
      if (item.type === 'message') this.#addMessage(item);
      else if (item.type === 'reasoning') this.#think(item, at);
      else if (isCall(item)) at = this.#addCalls(at);
      else if (isCallOutput(item)) {
        this.#attach(this.#last, 'behind');
        if (!answered.has(item)) this.#addOutputs([[item, undefined]]);
      }
    }
  }

  #addMessage(item: MessageItem): void {
    if (item.role === 'assistant') {
      const message = toAssistantMessage(item, this.#profile);
      if (message !== undefined) this.#say(message);
      return;
    }
    this.#attach(this.#last, 'behind');
    this.#last = undefined;
    if (item.role === 'user' || this.#profile.systemMessages === 'anywhere') {
      const role = item.role === 'developer' ? this.#profile.systemRole : item.role;
      this.messages.push({ role, content: toContent(item.content, this.#profile) });
      return;
    }
    // Its text leads the conversation; what is no text stays here.
    const media = item.content.filter(isMedia).map((part) => toMedia(part, this.#profile));
    if (media.length > 0) this.messages.push({ role: 'user', content: media });
  }

  #say(message: AssistantMessage): void {
    this.messages.push(message);
    this.#last = message;
    this.#attach(message, 'before');
  }

  /** What this very provider thought; what others did is not sent. */
  #think(item: ReasoningItem, at: number): void {
    const { replay } = this.#profile.reasoning;
    const data = this.#call.providerData.get(item.id);
    if (data === undefined || replay.when === 'never') return;
    if (replay.when === 'loop' && at < this.#loopStart) return;
    const details = replay.as === 'details' ? data.flatMap(detailsOf) : [];
    this.#thoughts.details.push(...details);
    const text = textOfReasoning(item);
    if (text !== '' && details.length === 0) this.#thoughts.texts.push(text);
  }

  /** Gives what was thought to a message that was said afterwards, or else to the one before. */
  #attach(message: AssistantMessage | undefined, place: 'before' | 'behind'): void {
    const { texts, details } = this.#thoughts;
    if (message === undefined) {
      this.#thoughts = { texts: [], details: [] };
      return;
    }
    const { replay } = this.#profile.reasoning;
    if (replay.when === 'never' || (texts.length === 0 && details.length === 0)) return;
    this.#thoughts = { texts: [], details: [] };
    const text = texts.join('\n');
    if (details.length > 0) {
      const before = message['reasoning_details'];
      message['reasoning_details'] = [...(Array.isArray(before) ? before : []), ...details];
    }
    if (text === '') return;
    if (replay.as === 'parts') {
      const thinking: ThinkingPart = { type: 'thinking', thinking: [{ type: 'text', text }] };
      const said = asParts(message.content);
      message.content = place === 'before' ? [thinking, ...said] : [...said, thinking];
    } else {
      const before = message[replay.field];
      message[replay.field] = typeof before === 'string' && before !== '' ? `${before}\n${text}` : text;
    }
  }

  /**
   * The calls that stand together, with what was thought between them. Chat completions want their outputs right behind
   * the message that calls, whatever stands between them here.
   *
   * @returns where the last of them is.
   */
  #addCalls(first: number): number {
    const calls: CallItem[] = [];
    const toolCalls: ChatToolCall[] = [];
    let last = first;
    for (let at = first; at < this.#items.length; at += 1) {
      const item = this.#items[at];
      if (item?.type === 'reasoning') continue;
      if (item === undefined || !isCall(item)) break;
      for (let between = last + 1; between < at; between += 1) {
        const thought = this.#items[between];
        if (thought?.type === 'reasoning') this.#think(thought, between);
      }
      calls.push(item);
      toolCalls.push(this.#toToolCall(item, this.#items[at - 1]));
      last = at;
    }
    this.#restoreLost(toolCalls);
    this.#callWith(toolCalls);
    this.#addOutputs(
      calls.flatMap((call) => {
        const output = this.#outputs.get(call);
        return output === undefined ? [] : [[output, call] as const];
      }),
    );
    return last;
  }

  #callWith(toolCalls: ChatToolCall[]): void {
    const before = this.messages.at(-1);
    if (before?.role === 'assistant' && before === this.#last && before.tool_calls === undefined) {
      before.tool_calls = toolCalls;
      if (before.content === '') before.content = this.#profile.emptyContent;
      this.#attach(before, 'behind');
    } else {
      this.#say({ role: 'assistant', content: this.#profile.emptyContent, tool_calls: toolCalls });
    }
    const { replay } = this.#profile.reasoning;
    if (replay.when !== 'never' && replay.required && this.#last !== undefined) this.#last[replay.field] ??= '';
  }

  #toToolCall(item: CallItem, before: Item | undefined): ChatToolCall {
    const id = toCallId(item.call_id, this.#profile.callIds);
    const name = this.#tools.nameOf(item.name, item.namespace);
    const data = before?.type === 'reasoning' ? this.#call.providerData.get(before.id)?.at(-1) : undefined;
    const extra = this.#profile.reasoning.callData === undefined ? undefined : data?.['extra_content'];
    const common = { id, ...(isObject(extra) && { extra_content: extra }) };
    if (item.type === 'function_call') {
      return { ...common, type: 'function', function: { name, arguments: item.arguments } };
    }
    if (this.#profile.customTools) return { ...common, type: 'custom', custom: { name, input: item.input } };
    return { ...common, type: 'function', function: { name, arguments: wrapInput(item.input) } };
  }

  /** Where the vendor's data on calls was lost, or somebody else made them, the first gets what the vendor documents. */
  #restoreLost(toolCalls: ChatToolCall[]): void {
    const lost = this.#profile.reasoning.callData?.lost;
    const [first] = toolCalls;
    if (lost === undefined || first === undefined || toolCalls.some((call) => call.extra_content !== undefined)) return;
    first.extra_content = lost;
  }

  /** A `tool` message holds text only: the images and files of all outputs follow in user messages. */
  #addOutputs(outputs: readonly (readonly [CallOutputItem, CallItem | undefined])[]): void {
    const withMedia: ChatMessage[] = [];
    for (const [item, call] of outputs) {
      const { output } = item;
      const id = toCallId(item.call_id, this.#profile.callIds);
      const name = call === undefined ? item.name : this.#tools.nameOf(call.name, call.namespace);
      const content = typeof output === 'string' ? output : joinText(output);
      const named = this.#profile.toolNames && name !== undefined ? { name } : {};
      this.messages.push({ role: 'tool', tool_call_id: id, content, ...named });
      if (typeof output === 'string') continue;
      const media = output.filter(isMedia);
      if (media.length === 0) continue;
      const what = media.every(({ type }) => type === 'input_image') ? 'Images' : 'Files';
      const label: TextPart = { type: 'text', text: `${what} from the output of the function call ${id}:` };
      withMedia.push({ role: 'user', content: [label, ...media.map((part) => toMedia(part, this.#profile))] });
    }
    this.messages.push(...withMedia);
  }
}

/** Undefined where there is nothing in it: vendors refuse messages of nothing. */
function toAssistantMessage(item: MessageItem, profile: Profile): AssistantMessage | undefined {
  const text = joinText(item.content);
  const refusal = item.content
    .filter((part) => part.type === 'refusal')
    .map((part) => part.refusal)
    .join('\n');
  if (refusal === '') return text === '' ? undefined : { role: 'assistant', content: text };
  if (profile.refusals) return { role: 'assistant', content: text === '' ? null : text, refusal };
  return { role: 'assistant', content: text === '' ? refusal : `${text}\n${refusal}` };
}

function isSystem(item: Item): item is MessageItem {
  return item.type === 'message' && (item.role === 'system' || item.role === 'developer');
}

function textOfSystem({ content }: MessageItem): string {
  return joinText(content);
}

/** Its own text, or where there is none the summaries. */
function textOfReasoning({ content = [], summary }: ReasoningItem): string {
  return (content.length > 0 ? content : summary).map(({ text }) => text).join('\n');
}

function asParts(content: AssistantMessage['content']): (TextPart | ThinkingPart)[] {
  if (typeof content !== 'string') return content ?? [];
  return content === '' ? [] : [{ type: 'text', text: content }];
}
