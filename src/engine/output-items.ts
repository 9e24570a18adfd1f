import type { CallItem, ItemStatus, MessageItem, MessagePhase } from '../api/items.ts';
import type { LogProb } from '../api/parts.ts';
import type { JsonObject } from '../api/primitives.ts';
import type { EncodedItem } from '../store.ts';

/** Takes one event, its JSON text whole but for framing. Called in order, synchronously. */
export type EventSink = (type: string, json: string) => void;

/**
 * Told that a delta waits, so that what follows in the same turn of the event loop can join it: `flush` sends it, at the
 * latest at the end of that turn. Whatever other event comes sends it first.
 */
export type HoldDelta = (flush: () => void) => void;

/** A delta that waits for more of the same. */
type HeldDelta = { readonly type: string; readonly prepared: string; readonly tail: string; delta: string };

export type EventWriterOptions = {
  /** Undefined where nobody watches. */
  readonly sink: EventSink | undefined;
  /** Undefined where each delta is an event of its own. */
  readonly hold?: HoldDelta | undefined;
  readonly obfuscation?: (() => string) | undefined;
};

/** Numbers events and sends them out; does nothing where nobody watches. */
export class EventWriter {
  readonly #sink: EventSink | undefined;
  readonly #hold: HoldDelta | undefined;
  readonly #obfuscation: (() => string) | undefined;
  readonly #flush = (): void => this.#send();
  #held: HeldDelta | undefined;
  #sequence = 0;

  constructor({ sink, hold, obfuscation }: EventWriterOptions) {
    this.#sink = sink;
    this.#hold = hold;
    this.#obfuscation = obfuscation;
  }

  get isWatched(): boolean {
    return this.#sink !== undefined;
  }

  /** `body` is the JSON text of the event's fields besides `type` and `sequence_number`, without braces. */
  write(type: string, body: string): void {
    if (this.#held !== undefined) this.#send();
    this.#sink?.(type, `{"type":"${type}","sequence_number":${this.#sequence++},${body}}`);
  }

  /**
   * The same for a delta, from a prepared beginning that ends in `"delta":`: this is the hot path. Deltas that come
   * together leave as one, where the transport can wait for the end of the turn: a fast upstream sends many in one piece.
   */
  writeDelta(type: string, prepared: string, delta: string, tail: string): void {
    if (this.#sink === undefined) return;
    const held = this.#held;
    if (held !== undefined) {
      if (held.prepared === prepared) {
        held.delta += delta;
        return;
      }
      this.#send();
    }
    this.#held = { type, prepared, tail, delta };
    if (this.#hold === undefined) this.#send();
    else this.#hold(this.#flush);
  }

  /** A delta with something of its own, which no other can join. */
  writeLoneDelta(type: string, prepared: string, delta: string, tail: string): void {
    if (this.#held !== undefined) this.#send();
    this.#held = { type, prepared, tail, delta };
    this.#send();
  }

  #send(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    const { type, prepared, delta, tail } = held;
    const padding = this.#obfuscation === undefined ? '' : `,"obfuscation":"${this.#obfuscation()}"`;
    this.#sink?.(type, `${prepared}${JSON.stringify(delta)}${tail}${padding},"sequence_number":${this.#sequence++}}`);
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
  readonly annotations: JsonObject[];
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
  #phase: MessagePhase | undefined;

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
      this.#events.writeLoneDelta(textDelta, part.prepared, delta, `,"logprobs":${JSON.stringify(logprobs)}`);
    }
  }

  annotation(annotation: JsonObject): void {
    const part = this.#part('text');
    const index = part.annotations.push(annotation) - 1;
    if (!this.#events.isWatched) return;
    const place = `${this.#place},"content_index":${part.index},"annotation_index":${index}`;
    this.#events.write('response.output_text.annotation.added', `${place},"annotation":${JSON.stringify(annotation)}`);
  }

  /** What kind of message it was, which some upstreams tell at its end. */
  phase(phase: MessagePhase): void {
    this.#phase = phase;
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
    const part: Part = {
      kind,
      index,
      prepared: `{"type":"${type}",${place},"delta":`,
      text: '',
      logprobs: [],
      annotations: [],
    };
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
      ...(this.#phase === undefined ? {} : { phase: this.#phase }),
    };
    return JSON.stringify(item);
  }
}

function partOf(part: Part): MessageItem['content'][number] {
  return part.kind === 'text'
    ? { type: 'output_text', text: part.text, annotations: part.annotations, logprobs: part.logprobs }
    : { type: 'refusal', refusal: part.text };
}

/** How the events of a call are called, and the field that holds what it is called with. */
const callForms = {
  function_call: { events: 'response.function_call_arguments', field: 'arguments' },
  custom_tool_call: { events: 'response.custom_tool_call_input', field: 'input' },
} as const;

/** What of a call is known when it begins. */
export type CallFacts = {
  readonly type: CallItem['type'];
  readonly id: string;
  readonly callId: string;
  readonly name: string;
  readonly namespace: string | undefined;
};

/** A call of a function or of a custom tool. Its call_id is known before it is opened (docs/wire.md §4). */
export class OpenCall implements OpenItem {
  readonly #facts: CallFacts;
  readonly #place: string;
  readonly #deltaType: string;
  readonly #prepared: string;
  readonly #outputIndex: number;
  readonly #events: EventWriter;
  #given = '';

  constructor(facts: CallFacts, outputIndex: number, events: EventWriter) {
    this.#facts = facts;
    this.#outputIndex = outputIndex;
    this.#events = events;
    this.#place = `"item_id":"${facts.id}","output_index":${outputIndex}`;
    this.#deltaType = `${callForms[facts.type].events}.delta`;
    this.#prepared = `{"type":"${this.#deltaType}",${this.#place},"delta":`;
    if (!events.isWatched) return;
    events.write('response.output_item.added', itemBody(outputIndex, this.encode('in_progress').json));
  }

  /** Whether it can be made as it is: the input of a custom tool has no form that could be broken off. */
  get isUsable(): boolean {
    if (this.#facts.type === 'custom_tool_call') return true;
    try {
      JSON.parse(this.#given);
      return true;
    } catch {
      return false;
    }
  }

  delta(delta: string): void {
    this.#given += delta;
    this.#events.writeDelta(this.#deltaType, this.#prepared, delta, '');
  }

  encode(status: ItemStatus): EncodedItem {
    const { id, type, callId, name, namespace } = this.#facts;
    const item = { id, type, status, call_id: callId, name, [callForms[type].field]: this.#given };
    return { id, json: JSON.stringify(namespace === undefined ? item : { ...item, namespace }) };
  }

  close(status: ItemStatus): EncodedItem {
    const item = this.encode(status);
    if (!this.#events.isWatched) return item;
    const { type, name } = this.#facts;
    const { events, field } = callForms[type];
    // OpenAI's description requires the name of functions alone.
    const named = type === 'function_call' ? `,"name":${JSON.stringify(name)}` : '';
    this.#events.write(`${events}.done`, `${this.#place},"${field}":${JSON.stringify(this.#given)}${named}`);
    this.#events.write('response.output_item.done', itemBody(this.#outputIndex, item.json));
    return item;
  }
}

/** The fields of the events that open and close an item. */
export function itemBody(outputIndex: number, json: string): string {
  return `"output_index":${outputIndex},"item":${json}`;
}
