import type { ItemStatus, ReasoningItem } from '../api/items.ts';
import type { ProviderData } from '../model.ts';
import type { EncodedItem } from '../store.ts';
import { type EventWriter, itemBody, type OpenItem } from './output-items.ts';

/**
 * How raw reasoning text is told (docs/wire.md §7). `summary`: as a summary, which every client shows. `openai`: as
 * `content`, by OpenAI's `reasoning_text` events. `openresponses`: as `content`, by the standard's `reasoning` events.
 */
export type ReasoningForm = 'summary' | 'openai' | 'openresponses';

export type ReasoningOptions = {
  readonly form: ReasoningForm;
  /** Seals what the provider wants to have back. */
  readonly seal: (data: readonly ProviderData[]) => string;
};

type Kind = 'summary' | 'text';

type Part = {
  readonly kind: Kind;
  readonly index: number;
  /** What its events are called, less what happens, and its deltas. */
  readonly events: string;
  readonly type: string;
  readonly prepared: string;
  text: string;
};

const textEvents: Readonly<Record<'openai' | 'openresponses', string>> = {
  openai: 'response.reasoning_text',
  openresponses: 'response.reasoning',
};
const summaryEvents = 'response.reasoning_summary_text';

/** What a model thinks before it speaks: summaries, raw text, and what its provider wants to have back, sealed. */
export class OpenReasoning implements OpenItem {
  readonly #id: string;
  readonly #place: string;
  readonly #outputIndex: number;
  readonly #events: EventWriter;
  readonly #options: ReasoningOptions;
  readonly #summary: Part[] = [];
  readonly #content: Part[] = [];
  readonly #data: ProviderData[] = [];
  #open: Part | undefined;
  #hasOwnSummary = false;
  #upstreamPart: number | undefined;
  #encrypted: string | undefined;

  constructor(id: string, outputIndex: number, events: EventWriter, options: ReasoningOptions) {
    this.#id = id;
    this.#outputIndex = outputIndex;
    this.#events = events;
    this.#options = options;
    this.#place = `"item_id":"${id}","output_index":${outputIndex}`;
    if (!events.isWatched) return;
    events.write('response.output_item.added', itemBody(outputIndex, JSON.stringify(this.#item([], [], undefined))));
  }

  /** `summaryPart`: the upstream calls it a summary, and counts its parts; undefined for raw text. */
  delta(delta: string, summaryPart: number | undefined): void {
    const part = summaryPart === undefined ? this.#textPart() : this.#summaryPart(summaryPart);
    part.text += delta;
    this.#events.writeDelta(part.type, part.prepared, delta, '');
  }

  /** Opaque data of the provider; kept in order. */
  keep(data: ProviderData): void {
    this.#data.push(data);
  }

  /** The upstream's own encrypted content, which is passed on as it is. */
  encrypted(content: string): void {
    this.#encrypted = content;
  }

  encode(_status: ItemStatus): EncodedItem {
    return { id: this.#id, json: JSON.stringify(this.#item(this.#summary, this.#content, this.#encrypted)) };
  }

  close(status: ItemStatus): EncodedItem {
    this.#closePart();
    if (this.#encrypted === undefined && this.#data.length > 0) this.#encrypted = this.#options.seal(this.#data);
    const item = this.encode(status);
    this.#events.write('response.output_item.done', itemBody(this.#outputIndex, item.json));
    return item;
  }

  #textPart(): Part {
    // Beside summaries of the upstream's own it stays what it is.
    if (this.#options.form === 'summary' && !this.#hasOwnSummary) return this.#current('summary', this.#summary);
    return this.#current('text', this.#content);
  }

  #summaryPart(upstreamPart: number): Part {
    this.#hasOwnSummary = true;
    if (upstreamPart !== this.#upstreamPart && this.#open?.kind === 'summary') this.#closePart();
    this.#upstreamPart = upstreamPart;
    return this.#current('summary', this.#summary);
  }

  /** The open part, where it is of this kind; else a new one. */
  #current(kind: Kind, list: Part[]): Part {
    if (this.#open?.kind === kind) return this.#open;
    this.#closePart();
    const index = list.length;
    const place = `${this.#place},"${indexName(kind)}":${index}`;
    const events = kind === 'summary' ? summaryEvents : this.#textEvents();
    const type = `${events}.delta`;
    const part: Part = { kind, index, events, type, prepared: `{"type":"${type}",${place},"delta":`, text: '' };
    list.push(part);
    this.#open = part;
    this.#events.write(`${partEvents(kind)}.added`, `${place},"part":${JSON.stringify(partOf(part))}`);
    return part;
  }

  #closePart(): void {
    const part = this.#open;
    this.#open = undefined;
    if (part === undefined || !this.#events.isWatched) return;
    const place = `${this.#place},"${indexName(part.kind)}":${part.index}`;
    this.#events.write(`${part.events}.done`, `${place},"text":${JSON.stringify(part.text)}`);
    this.#events.write(`${partEvents(part.kind)}.done`, `${place},"part":${JSON.stringify(partOf(part))}`);
  }

  #textEvents(): string {
    return textEvents[this.#options.form === 'openresponses' ? 'openresponses' : 'openai'];
  }

  #item(summary: readonly Part[], content: readonly Part[], encrypted: string | undefined): ReasoningItem {
    return {
      id: this.#id,
      type: 'reasoning',
      summary: summary.map(({ text }) => ({ type: 'summary_text', text })),
      // Absent rather than empty (docs/wire.md §2).
      ...(content.length === 0
        ? {}
        : { content: content.map(({ text }) => ({ type: 'reasoning_text' as const, text })) }),
      ...(encrypted === undefined ? {} : { encrypted_content: encrypted }),
    };
  }
}

function indexName(kind: Kind): string {
  return kind === 'summary' ? 'summary_index' : 'content_index';
}

function partEvents(kind: Kind): string {
  return kind === 'summary' ? 'response.reasoning_summary_part' : 'response.content_part';
}

function partOf({ kind, text }: Part) {
  return { type: kind === 'summary' ? 'summary_text' : 'reasoning_text', text };
}
