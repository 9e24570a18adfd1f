import type { HostedItem, HostedItemContent, ItemStatus } from '../api/items.ts';
import type { JsonObject } from '../api/primitives.ts';
import type { EncodedItem } from '../store.ts';
import { type EventWriter, itemBody, type OpenItem } from './output-items.ts';

/** What an event may be called: anything else would not stay one event in a stream. */
const eventName = /^response\.[a-z0-9_.]{1,100}$/;

/** An item of a tool that runs upstream: passed on as it comes, under an id and an index of ours. */
export class OpenHosted implements OpenItem {
  readonly #id: string;
  readonly #outputIndex: number;
  readonly #events: EventWriter;
  #content: HostedItemContent;
  #isDone = false;

  constructor(id: string, content: HostedItemContent, outputIndex: number, events: EventWriter) {
    this.#id = id;
    this.#content = content;
    this.#outputIndex = outputIndex;
    this.#events = events;
    if (!events.isWatched) return;
    events.write('response.output_item.added', itemBody(outputIndex, JSON.stringify(this.#item())));
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  event(name: string, fields: JsonObject): void {
    if (!this.#events.isWatched || !eventName.test(name)) return;
    const rest = JSON.stringify(fields).slice(1, -1);
    const place = `"item_id":"${this.#id}","output_index":${this.#outputIndex}`;
    this.#events.write(name, rest === '' ? place : `${place},${rest}`);
  }

  done(content: HostedItemContent): void {
    this.#content = content;
    this.#isDone = true;
  }

  encode(status: ItemStatus): EncodedItem {
    const item = this.#item();
    // An upstream that never said how it ended leaves that to the response.
    const isOpen = !this.#isDone && typeof item['status'] === 'string';
    return { id: this.#id, json: JSON.stringify(isOpen ? { ...item, status } : item) };
  }

  close(status: ItemStatus): EncodedItem {
    const item = this.encode(status);
    this.#events.write('response.output_item.done', itemBody(this.#outputIndex, item.json));
    return item;
  }

  #item(): HostedItem {
    return { ...this.#content, id: this.#id };
  }
}
