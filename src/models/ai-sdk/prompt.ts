import { createHash } from 'node:crypto';
import {
  type CallItem,
  type CallOutputItem,
  type Item,
  isCall,
  isCallOutput,
  type MessageItem,
  type ReasoningItem,
} from '../../api/items.ts';
import type { ContentPart, InputFilePart, InputImagePart } from '../../api/parts.ts';
import type { ModelCall } from '../../model.ts';
import { outputsByCall } from '../call-outputs.ts';
import { isObject, parsed } from '../upstream/loose.ts';
import type { OfferedTools } from '../upstream/offered-tools.ts';
import { type FileRules, outputFile, userFile } from './content.ts';
import type {
  AssistantPart,
  FilePart,
  PromptMessage,
  ProviderOptions,
  ReasoningPart,
  TextPart,
  ToolCallPart,
  ToolResultPart,
} from './specification.ts';

export type PromptRules = FileRules & { readonly filesInOutputs: boolean; readonly tools: OfferedTools };

/** Ids of calls that every vendor takes. */
const plainCallId = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * The context of a call as a prompt of the AI SDK. System and developer messages stand at its beginning, wherever they
 * came, as most vendors know no other place. What an assistant says between two other speakers is one message, and the
 * outputs of its calls follow it at once.
 */
export function toPrompt(call: ModelCall, rules: PromptRules): PromptMessage[] {
  const writer = new PromptWriter(call, rules);
  for (const item of call.items) writer.take(item);
  return writer.finish();
}

class PromptWriter {
  readonly #call: ModelCall;
  readonly #rules: PromptRules;
  readonly #outputs: ReadonlyMap<CallItem, CallOutputItem>;
  readonly #system: PromptMessage[] = [];
  readonly #messages: PromptMessage[] = [];
  /** What the assistant says at the moment, and what its calls gave back. */
  #said: AssistantPart[] = [];
  #answered: CallOutputItem[] = [];
  #names = new Map<CallOutputItem, string>();
  /** Belongs to the call that comes next. */
  #callOptions: ProviderOptions | undefined;

  constructor(call: ModelCall, rules: PromptRules) {
    this.#call = call;
    this.#rules = rules;
    this.#outputs = outputsByCall(call.items);
    if (call.instructions !== undefined) this.#system.push({ role: 'system', content: call.instructions });
  }

  take(item: Item): void {
    if (isCall(item)) this.#takeCall(item);
    // Outputs have been placed behind their calls.
    else if (isCallOutput(item)) this.#flush();
    else if (item.type === 'reasoning') this.#takeReasoning(item);
    else if (item.type === 'message') this.#takeMessage(item);
  }

  finish(): PromptMessage[] {
    this.#flush();
    return [...this.#system, ...this.#messages];
  }

  #takeMessage(item: MessageItem): void {
    if (item.role === 'assistant') {
      const text = joinText(item.content);
      if (text !== '') this.#said.push({ type: 'text', text });
      this.#callOptions = undefined;
      return;
    }
    if (item.role === 'user') {
      this.#flush();
      const content = item.content.map((part) => this.#userPart(part));
      if (content.length > 0) this.#messages.push({ role: 'user', content });
      return;
    }
    const content = joinText(item.content);
    if (content !== '') this.#system.push({ role: 'system', content });
  }

  #userPart(part: ContentPart): TextPart | FilePart {
    if (part.type === 'input_image' || part.type === 'input_file') return userFile(part, this.#rules);
    return { type: 'text', text: part.type === 'refusal' ? part.refusal : part.text };
  }

  /** Only what this provider said itself goes back, with what it gave for that. */
  #takeReasoning(item: ReasoningItem): void {
    this.#callOptions = undefined;
    for (const data of this.#call.providerData.get(item.id) ?? []) {
      const { text, reasoning, call, after } = data;
      if (isObject(text)) this.#giveBack('text', 1, text);
      if (isObject(reasoning)) this.#said.push(reasoningPart(item, reasoning));
      if (!isObject(call)) continue;
      if (typeof after === 'number') this.#giveBack('tool-call', after, call);
      else this.#callOptions = call;
    }
  }

  /** Adds options to the last part of a type that was said, or to the one `back` before the end. */
  #giveBack(type: 'text' | 'tool-call', back: number, providerOptions: ProviderOptions): void {
    const said = this.#said.filter((part) => part.type === type).at(-back);
    const at = said === undefined ? -1 : this.#said.indexOf(said);
    if (said !== undefined) this.#said[at] = { ...said, providerOptions };
  }

  #takeCall(item: CallItem): void {
    const { tools } = this.#rules;
    const name = tools.nameOf(item.name, item.namespace);
    const part: ToolCallPart = {
      type: 'tool-call',
      toolCallId: callIdOf(item.call_id),
      toolName: name,
      input: inputOf(item),
    };
    this.#said.push(this.#callOptions === undefined ? part : { ...part, providerOptions: this.#callOptions });
    this.#callOptions = undefined;
    const output = this.#outputs.get(item);
    if (output === undefined) return;
    this.#answered.push(output);
    this.#names.set(output, name);
  }

  /** The assistant's turn is over. */
  #flush(): void {
    if (this.#said.length > 0) this.#messages.push({ role: 'assistant', content: this.#said });
    if (this.#answered.length > 0) this.#addOutputs(this.#answered);
    this.#said = [];
    this.#answered = [];
    this.#names = new Map();
    this.#callOptions = undefined;
  }

  #addOutputs(outputs: readonly CallOutputItem[]): void {
    const content = outputs.map((output) => this.#toResult(output));
    this.#messages.push({ role: 'tool', content });
    if (this.#rules.filesInOutputs) return;
    for (const { call_id: id, output } of outputs) {
      const files = typeof output === 'string' ? [] : output.filter(isFile);
      if (files.length === 0) continue;
      const label: TextPart = { type: 'text', text: `Files from the output of the call ${callIdOf(id)}:` };
      this.#messages.push({ role: 'user', content: [label, ...files.map((file) => userFile(file, this.#rules))] });
    }
  }

  #toResult(item: CallOutputItem): ToolResultPart {
    const { output } = item;
    const result = {
      type: 'tool-result',
      toolCallId: callIdOf(item.call_id),
      toolName: this.#names.get(item) ?? '',
    } as const;
    if (typeof output === 'string') return { ...result, output: { type: 'text', value: output } };
    if (!this.#rules.filesInOutputs || !output.some(isFile)) {
      return { ...result, output: { type: 'text', value: joinText(output) } };
    }
    const value = output.map((part) =>
      isFile(part) ? outputFile(part, this.#rules) : { type: 'text', text: part.text },
    );
    return { ...result, output: { type: 'content', value } };
  }
}

function reasoningPart({ content = [], summary }: ReasoningItem, options: ProviderOptions): ReasoningPart {
  const texts = content.length > 0 ? content : summary;
  const text = texts.map((part) => part.text).join('');
  return { type: 'reasoning', text, ...(Object.keys(options).length > 0 && { providerOptions: options }) };
}

/** What a call was made with, as the value that it stands for. */
function inputOf(item: CallItem): unknown {
  if (item.type === 'custom_tool_call') return { input: item.input };
  if (item.arguments.trim() === '') return {};
  const value = parsed(item.arguments);
  // What is no JSON the package wraps, or the vendor refuses.
  return value === undefined ? item.arguments : value;
}

/** The same for the call and its output. */
function callIdOf(id: string): string {
  return plainCallId.test(id) ? id : `call_${createHash('sha256').update(id).digest('hex').slice(0, 32)}`;
}

function isFile(part: ContentPart): part is InputImagePart | InputFilePart {
  return part.type === 'input_image' || part.type === 'input_file';
}

function joinText(parts: readonly ContentPart[]): string {
  const texts: string[] = [];
  for (const part of parts) {
    if (part.type === 'refusal') texts.push(part.refusal);
    else if (part.type === 'input_text' || part.type === 'output_text') texts.push(part.text);
  }
  return texts.join('\n');
}
