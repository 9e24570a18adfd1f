import type { FunctionCallItem, ItemStatus, MessageItem, ReasoningItem } from '../api/items.ts';
import type { LogProb } from '../api/parts.ts';
import type { EncodedItem } from '../store.ts';

/** Takes one event, its JSON text whole but for framing. Called in order, synchronously. */
export type EventSink = (type: string, json: string) => void;

/** Numbers events and sends them out; does nothing where nobody watches. */
export class EventWriter {
  readonly #sink: EventSink | undefined;
  readonly #obfuscation: (() => string) | undefined;
  #sequence = 0;

  constructor(sink: EventSink | undefined, obfuscation?: () => string) {
    this.#sink = sink;
    this.#obfuscation = obfuscation;
  }

  get isWatched(): boolean {
    return this.#sink !== undefined;
  }

  /** `body` is the JSON text of the event's fields besides `type` and `sequence_number`, without braces. */
  write(type: string, body: string): void {
    this.#sink?.(type, `{"type":"${type}","sequence_number":${this.#sequence++},${body}}`);
  }

  /** The same for a delta, from a prepared beginning that ends in `"delta":`: this is the hot path. */
  writeDelta(type: string, prepared: string, delta: string, tail: string): void {
    if (this.#sink === undefined) return;
    const padding = this.#obfuscation === undefined ? '' : `,"obfuscation":"${this.#obfuscation()}"`;
    this.#sink(type, `${prepared}${JSON.stringify(delta)}${tail}${padding},"sequence_number":${this.#sequence++}}`);
  }
}

/** An item that is being said. The assembler opens it, feeds it and closes it; it writes its own events. */
export interface OpenItem {
  /** What it holds so far, as an item. */
  encode(status: ItemStatus): EncodedItem;
  /** Writes the closing events. */
  close(status: ItemStatus): EncodedItem;
}

type Part = {
  readonly kind: 'text' | 'refusal';
  readonly index: number;
  readonly prepared: string;
  text: string;
  readonly logprobs: LogProb[];
};

const textDelta = 'response.output_text.delta';
const refusalDelta = 'response.refusal.delta';

/** An assistant message: text and refusal parts, one open at a time. */
export class OpenMessage implements OpenItem {
  readonly #id: string;
  readonly #place: string;
  readonly #outputIndex: number;
  readonly #events: EventWriter;
  readonly #parts: Part[] = [];

  constructor(id: string, outputIndex: number, events: EventWriter) {
    this.#id = id;
    this.#outputIndex = outputIndex;
    this.#events = events;
    this.#place = `"item_id":"${id}","output_index":${outputIndex}`;
    if (!events.isWatched) return;
    events.write('response.output_item.added', itemBody(outputIndex, this.#json('in_progress', [])));
  }

  text(delta: string, logprobs: readonly LogProb[] | undefined): void {
    const part = this.#part('text');
    part.text += delta;
    if (logprobs === undefined) {
      this.#events.writeDelta(textDelta, part.prepared, delta, ',"logprobs":[]');
    } else {
      part.logprobs.push(...logprobs);
      this.#events.writeDelta(textDelta, part.prepared, delta, `,"logprobs":${JSON.stringify(logprobs)}`);
    }
  }

  refusal(delta: string): void {
    const part = this.#part('refusal');
    part.text += delta;
    this.#events.writeDelta(refusalDelta, part.prepared, delta, '');
  }

  encode(status: ItemStatus): EncodedItem {
    return { id: this.#id, json: this.#json(status, this.#parts) };
  }

  close(status: ItemStatus): EncodedItem {
    this.#closePart();
    const item = this.encode(status);
    this.#events.write('response.output_item.done', itemBody(this.#outputIndex, item.json));
    return item;
  }

  #part(kind: Part['kind']): Part {
    const open = this.#parts.at(-1);
    if (open?.kind === kind) return open;
    this.#closePart();
    const index = this.#parts.length;
    const place = `${this.#place},"content_index":${index}`;
    const type = kind === 'text' ? textDelta : refusalDelta;
    const part: Part = { kind, index, prepared: `{"type":"${type}",${place},"delta":`, text: '', logprobs: [] };
    this.#parts.push(part);
    if (!this.#events.isWatched) return part;
    this.#events.write('response.content_part.added', `${place},"part":${JSON.stringify(partOf(part))}`);
    return part;
  }

  #closePart(): void {
    const part = this.#parts.at(-1);
    if (part === undefined || !this.#events.isWatched) return;
    const place = `${this.#place},"content_index":${part.index}`;
    const text = JSON.stringify(part.text);
    if (part.kind === 'text') {
      const body = `${place},"text":${text},"logprobs":${JSON.stringify(part.logprobs)}`;
      this.#events.write('response.output_text.done', body);
    } else {
      this.#events.write('response.refusal.done', `${place},"refusal":${text}`);
    }
    this.#events.write('response.content_part.done', `${place},"part":${JSON.stringify(partOf(part))}`);
  }

  #json(status: ItemStatus, parts: readonly Part[]): string {
    const item: MessageItem = {
      id: this.#id,
      type: 'message',
      status,
      role: 'assistant',
      content: parts.map(partOf),
    };
    return JSON.stringify(item);
  }
}

function partOf(part: Part): MessageItem['content'][number] {
  return part.kind === 'text'
    ? { type: 'output_text', text: part.text, annotations: [], logprobs: part.logprobs }
    : { type: 'refusal', refusal: part.text };
}

const argumentsDelta = 'response.function_call_arguments.delta';

/** A function call. Its call_id is known before it is opened (docs/wire.md §4). */
export class OpenCall implements OpenItem {
  readonly #id: string;
  readonly #callId: string;
  readonly #name: string;
  readonly #place: string;
  readonly #prepared: string;
  readonly #outputIndex: number;
  readonly #events: EventWriter;
  #arguments = '';

  constructor(call: { id: string; callId: string; name: string }, outputIndex: number, events: EventWriter) {
    this.#id = call.id;
    this.#callId = call.callId;
    this.#name = call.name;
    this.#outputIndex = outputIndex;
    this.#events = events;
    this.#place = `"item_id":"${call.id}","output_index":${outputIndex}`;
    this.#prepared = `{"type":"${argumentsDelta}",${this.#place},"delta":`;
    if (!events.isWatched) return;
    events.write('response.output_item.added', itemBody(outputIndex, this.encode('in_progress').json));
  }

  get text(): string {
    return this.#arguments;
  }

  delta(delta: string): void {
    this.#arguments += delta;
    this.#events.writeDelta(argumentsDelta, this.#prepared, delta, '');
  }

  encode(status: ItemStatus): EncodedItem {
    const item: FunctionCallItem = {
      id: this.#id,
      type: 'function_call',
      status,
      call_id: this.#callId,
      name: this.#name,
      arguments: this.#arguments,
    };
    return { id: this.#id, json: JSON.stringify(item) };
  }

  close(status: ItemStatus): EncodedItem {
    const item = this.encode(status);
    if (!this.#events.isWatched) return item;
    const body = `${this.#place},"arguments":${JSON.stringify(this.#arguments)},"name":${JSON.stringify(this.#name)}`;
    this.#events.write('response.function_call_arguments.done', body);
    this.#events.write('response.output_item.done', itemBody(this.#outputIndex, item.json));
    return item;
  }
}

const summaryDelta = 'response.reasoning_summary_text.delta';

/** Reasoning text, as a summary: the one form that every client shows (docs/wire.md §7). */
export class OpenReasoning implements OpenItem {
  readonly #id: string;
  readonly #place: string;
  readonly #prepared: string;
  readonly #outputIndex: number;
  readonly #events: EventWriter;
  #text = '';

  constructor(id: string, outputIndex: number, events: EventWriter) {
    this.#id = id;
    this.#outputIndex = outputIndex;
    this.#events = events;
    this.#place = `"item_id":"${id}","output_index":${outputIndex},"summary_index":0`;
    this.#prepared = `{"type":"${summaryDelta}",${this.#place},"delta":`;
    events.write('response.output_item.added', itemBody(outputIndex, `{"id":"${id}","type":"reasoning","summary":[]}`));
    events.write('response.reasoning_summary_part.added', `${this.#place},"part":${this.#part('')}`);
  }

  delta(delta: string): void {
    this.#text += delta;
    this.#events.writeDelta(summaryDelta, this.#prepared, delta, '');
  }

  encode(): EncodedItem {
    const item: ReasoningItem = {
      id: this.#id,
      type: 'reasoning',
      summary: [{ type: 'summary_text', text: this.#text }],
    };
    return { id: this.#id, json: JSON.stringify(item) };
  }

  close(): EncodedItem {
    const item = this.encode();
    if (!this.#events.isWatched) return item;
    const text = JSON.stringify(this.#text);
    this.#events.write('response.reasoning_summary_text.done', `${this.#place},"text":${text}`);
    this.#events.write('response.reasoning_summary_part.done', `${this.#place},"part":${this.#part(this.#text)}`);
    this.#events.write('response.output_item.done', itemBody(this.#outputIndex, item.json));
    return item;
  }

  #part(text: string): string {
    return JSON.stringify({ type: 'summary_text', text });
  }
}

function itemBody(outputIndex: number, json: string): string {
  return `"output_index":${outputIndex},"item":${json}`;
}
