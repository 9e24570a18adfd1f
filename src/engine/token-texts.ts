import {
  type HostedItem,
  type Item,
  isCall,
  isCallOutput,
  type OutputContent,
  type ReasoningItem,
} from '../api/items.ts';
import type { ContentPart } from '../api/parts.ts';
import type { JsonObject } from '../api/primitives.ts';
import { isCallable, type ModelCall, type ModelTool } from '../model.ts';

/** What the input of a call consists of, for counting. */
export type TokenTexts = {
  readonly texts: readonly string[];
  /** Tokens of what is no text of the request: the frames of messages and functions, images, files. */
  readonly otherTokens: number;
  /** Whether some of it is known to its model alone: images, files, tools that run upstream. */
  readonly isGuessed: boolean;
};

/*
 * Figures of the chat format, from "How to count tokens with tiktoken" in OpenAI's cookbook (a copy, read 2026-11-21), which
 * gives them for gpt-4o, gpt-4 and gpt-3.5-turbo: three tokens for each message and one for its role, three that open
 * the answer; for functions three before the first property, three for each property, three for each value of an enum
 * less three for the enum, twelve behind the last function. What it does not say: properties within properties are
 * counted like those above them, a call is a message with a name and arguments, its output another.
 */
const messageTokens = 4;
const answerTokens = 3;
const propertiesTokens = 3;
const propertyTokens = 3;
const enumTokens = -3;
const enumValueTokens = 3;
const toolsTokens = 12;

/**
 * gpt-4o takes 85 tokens for `detail: low`, and else 85 and 170 for each tile of 512 pixels: OpenAI's rule, as packages
 * that follow its guide on images have it (image-token-meter 1.0.0, read 2026-11-21). 1024 by 1024 pixels are four tiles
 * after it was made smaller. Nobody looks at the image itself.
 */
const lowImageTokens = 85;
const imageTokens = 765;
/** Bytes of text per token, for files that say that they are text. */
const fileBytesPerToken = 4;

/** Of what a model would be given; `functionTokens`: what a function costs besides its texts. */
export function tokenTextsOf(call: ModelCall, functionTokens: number): TokenTexts {
  const collector = new Collector(functionTokens);
  if (call.instructions !== undefined) collector.message(call.instructions);
  for (const item of call.items) collector.item(item, call);
  collector.tools(call.tools);
  const { format } = call;
  if (format?.type === 'json_schema') {
    collector.text(format.name, format.description ?? '', JSON.stringify(format.schema));
  }
  return collector;
}

class Collector implements TokenTexts {
  readonly texts: string[] = [];
  otherTokens = answerTokens;
  isGuessed = false;
  readonly #functionTokens: number;

  constructor(functionTokens: number) {
    this.#functionTokens = functionTokens;
  }

  text(...texts: readonly string[]): void {
    for (const text of texts) if (text !== '') this.texts.push(text);
  }

  message(...texts: readonly string[]): void {
    this.otherTokens += messageTokens;
    this.text(...texts);
  }

  item(item: Item, { providerData }: ModelCall): void {
    if (item.type === 'message') {
      this.message();
      this.#parts(item.content);
    } else if (item.type === 'reasoning') {
      // A model gets its own thoughts back, if any.
      if (providerData.has(item.id)) this.text(...thoughtsOf(item));
    } else if (isCall(item)) {
      this.message(item.name, item.type === 'function_call' ? item.arguments : item.input);
    } else if (isCallOutput(item)) {
      this.message();
      this.#output(item.output);
    } else {
      this.message(JSON.stringify(shownOf(item)));
      this.isGuessed = true;
    }
  }

  tools(tools: readonly ModelTool[]): void {
    if (tools.length > 0) this.otherTokens += toolsTokens;
    for (const tool of tools) {
      if (!isCallable(tool)) {
        this.text(JSON.stringify(tool));
        this.isGuessed = true;
        continue;
      }
      const name = tool.namespace === undefined ? tool.name : `${tool.namespace.name}.${tool.name}`;
      this.otherTokens += this.#functionTokens;
      this.text(`${name}:${withoutStop(tool.description)}`);
      if (tool.type === 'function') this.#properties(tool.parameters);
      else if (tool.format?.type === 'grammar') this.text(tool.format.definition);
    }
  }

  #parts(parts: readonly ContentPart[]): void {
    for (const part of parts) {
      switch (part.type) {
        case 'input_text':
        case 'output_text':
          this.text(part.text);
          break;
        case 'refusal':
          this.text(part.refusal);
          break;
        case 'input_image':
          this.#guess(part.detail === 'low' ? lowImageTokens : imageTokens);
          break;
        case 'input_file':
          this.#guess(fileTokens(part.file_data));
          break;
        default:
          part satisfies never;
      }
    }
  }

  #output(output: OutputContent): void {
    if (typeof output === 'string') this.text(output);
    else this.#parts(output);
  }

  #guess(tokens: number): void {
    this.otherTokens += tokens;
    this.isGuessed = true;
  }

  /** The properties of a schema, and of the schemas inside it. */
  #properties(schema: unknown): void {
    if (!isObject(schema)) return;
    const { properties } = schema;
    if (isObject(properties)) {
      const entries = Object.entries(properties);
      if (entries.length > 0) this.otherTokens += propertiesTokens;
      for (const [name, property] of entries) this.#property(name, property);
    }
    for (const inner of ['items', 'additionalProperties']) this.#properties(schema[inner]);
    for (const union of ['anyOf', 'oneOf', 'allOf']) {
      const branches = schema[union];
      if (Array.isArray(branches)) for (const branch of branches) this.#properties(branch);
    }
    for (const definitions of [schema['$defs'], schema['definitions']]) {
      if (isObject(definitions)) for (const inner of Object.values(definitions)) this.#properties(inner);
    }
  }

  #property(name: string, property: unknown): void {
    this.otherTokens += propertyTokens;
    if (!isObject(property)) {
      this.text(name);
      return;
    }
    const { type, enum: values, description } = property;
    const kind = Array.isArray(type) ? type.join('|') : typeof type === 'string' ? type : '';
    this.text(`${name}:${kind}:${withoutStop(description)}`);
    if (Array.isArray(values)) {
      this.otherTokens += enumTokens + values.length * enumValueTokens;
      for (const value of values) this.text(typeof value === 'string' ? value : JSON.stringify(value));
    }
    this.#properties(property);
  }
}

function thoughtsOf({ summary, content }: ReasoningItem): string[] {
  return (content === undefined || content.length === 0 ? summary : content).map(({ text }) => text);
}

/** Without what no model reads as text. */
function shownOf({ id: _id, encrypted_content: _encrypted, result: _result, ...shown }: HostedItem): JsonObject {
  return shown;
}

/** A text by its length; anything else, of which nobody here knows the pages, like one image. */
function fileTokens(data: string | undefined): number {
  const head = data === undefined ? undefined : /^data:(?:text\/|application\/json)[^,]{0,200},/i.exec(data)?.[0];
  if (data === undefined || head === undefined) return imageTokens;
  const share = /;base64,$/i.test(head) ? 3 / 4 : 1;
  return Math.ceil(((data.length - head.length) * share) / fileBytesPerToken);
}

function withoutStop(description: unknown): string {
  return typeof description === 'string' ? description.replace(/\.$/, '') : '';
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
