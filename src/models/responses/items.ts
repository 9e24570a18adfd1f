import type { HostedItemContent } from '../../api/items.ts';
import type { HostedMoment, ModelSink } from '../../model.ts';
import { isObject, type Loose, nonEmpty } from '../upstream/loose.ts';
import type { OfferedTools } from '../upstream/offered-tools.ts';
import { CallItem } from './calls.ts';
import { SpokenItem, type SpokenSettings } from './spoken.ts';
import { toHostedItem } from './values.ts';

/** Items in one answer. Nobody means to say or to call a thousand things at once. */
const maxItems = 1_000;

/** An item of a tool that the upstream runs. */
type Hosted = { readonly kind: 'hosted'; readonly index: number; content: HostedItemContent; isDone: boolean };

/** An item of a type that we don't know: it and its events are skipped. */
type Unknown = { readonly kind: 'unknown'; isDone: boolean };

type Item = SpokenItem | CallItem | Hosted | Unknown;

type Known = {
  readonly item: Item;
  readonly type: unknown;
  readonly id: string | undefined;
  callId: string | undefined;
};

/**
 * The items of one answer, as they are announced, said and repeated. Which item an event belongs to is told by its id,
 * else by its index: some servers give an item another id in every event, some give every item the same index, and some
 * announce none at all.
 */
export class AnswerItems {
  readonly #settings: SpokenSettings & { readonly tools: OfferedTools };
  readonly #emit: ModelSink;
  readonly #fail: (what: string) => void;
  readonly #known: Known[] = [];
  readonly #byId = new Map<string, Item>();
  readonly #byIndex = new Map<number, Item>();
  #speaking: SpokenItem | undefined;

  constructor(
    settings: SpokenSettings & { readonly tools: OfferedTools },
    emit: ModelSink,
    fail: (what: string) => void,
  ) {
    this.#settings = settings;
    this.#emit = emit;
    this.#fail = fail;
  }

  /** The message or the reasoning that an event belongs to, opened where no event has announced it. */
  spoken(event: Loose, kind: 'message' | 'reasoning'): SpokenItem | undefined {
    if (this.#isOver(event, kind)) return undefined;
    const item = this.#itemOf(event, kind) ?? this.#open({ type: kind, id: event['item_id'] }, event);
    return item instanceof SpokenItem && item.kind === kind && !item.isDone ? item : undefined;
  }

  /** The call that an event belongs to; without a name until an event brings it. */
  call(event: Loose, isCustom: boolean): CallItem | undefined {
    if (this.#isOver(event, 'call')) return undefined;
    const type = isCustom ? 'custom_tool_call' : 'function_call';
    const item = this.#itemOf(event, 'call') ?? this.#open({ type, id: event['item_id'] }, event);
    if (!(item instanceof CallItem)) return undefined;
    item.hint(event);
    return item;
  }

  /** An event of no known name: it is passed on where it belongs to a tool that runs upstream. */
  hostedEvent(event: Loose, at: HostedMoment): void {
    const item = this.#itemOf(event, 'hosted');
    if (item?.kind === 'hosted' && !item.isDone) this.#emit({ type: 'hosted', index: item.index, at });
  }

  added(event: Loose): void {
    const { item } = event;
    if (!isObject(item)) return;
    const id = nonEmpty(item['id']);
    const known = id === undefined ? undefined : this.#byId.get(id);
    const opened = known ?? this.#open(item, event);
    if (opened !== undefined && 'announce' in opened) opened.announce(item);
  }

  done(event: Loose): void {
    const { item } = event;
    if (!isObject(item)) return;
    const known = this.#itemOf({ item_id: item['id'], output_index: event['output_index'] }, kindOf(item));
    const opened = known ?? this.#open(item, event);
    if (opened !== undefined) this.#finish(opened, item);
  }

  /** The output that the end shows: what no event has told is told now, and nothing twice. */
  reconcile(output: readonly Loose[]): void {
    const ids = new Set(output.map((item) => nonEmpty(item['id'])));
    const left = new Set(this.#known);
    for (const item of output) {
      const known = this.#match(item, left, ids);
      if (known !== undefined) left.delete(known);
      const opened = known?.item ?? this.#open(item, {});
      if (opened !== undefined) this.#finish(opened, item);
    }
  }

  /** The end of the answer. `isWhole`: it was not cut short, so that its calls must be usable. */
  close(isWhole: boolean): void {
    if (!isWhole) return;
    this.#speaking?.end();
    for (const { item } of this.#known) {
      if (!(item instanceof CallItem)) continue;
      const trouble = item.close();
      if (trouble !== undefined) this.#fail(trouble);
    }
  }

  #itemOf(event: Loose, kind: Item['kind']): Item | undefined {
    const id = nonEmpty(event['item_id']);
    const same = id === undefined ? undefined : this.#byId.get(id);
    if (same !== undefined) return same;
    const index = event['output_index'];
    if (typeof index === 'number') {
      const there = this.#byIndex.get(index);
      return there?.kind === kind && !there.isDone ? there : undefined;
    }
    const last = this.#known.at(-1)?.item;
    return id === undefined && last?.kind === kind && !last.isDone ? last : undefined;
  }

  /** Without an id, an event of an item that is done has come too late; it begins no other one. */
  #isOver(event: Loose, kind: Item['kind']): boolean {
    const index = event['output_index'];
    if (nonEmpty(event['item_id']) !== undefined || typeof index !== 'number') return false;
    const there = this.#byIndex.get(index);
    return there?.kind === kind && there.isDone;
  }

  /** Which of the announced items is shown: by its id, else by the call's, else the first of its type whose id is shown nowhere. */
  #match(item: Loose, left: ReadonlySet<Known>, ids: ReadonlySet<string | undefined>): Known | undefined {
    const id = nonEmpty(item['id']);
    const callId = nonEmpty(item['call_id']);
    for (const known of left) if (known.id !== undefined && known.id === id) return known;
    for (const known of left) if (known.callId !== undefined && known.callId === callId) return known;
    for (const known of left) if (known.type === item['type'] && !ids.has(known.id ?? '')) return known;
    return undefined;
  }

  #open(item: Loose, event: Loose): Item | undefined {
    if (this.#known.length >= maxItems) {
      this.#fail(`said more than ${maxItems} things in one answer`);
      return undefined;
    }
    const opened = this.#make(item);
    const id = nonEmpty(item['id']);
    this.#known.push({ item: opened, type: item['type'], id, callId: nonEmpty(item['call_id']) });
    if (id !== undefined) this.#byId.set(id, opened);
    if (typeof event['output_index'] === 'number') this.#byIndex.set(event['output_index'], opened);
    if (opened.kind === 'hosted' || opened.kind === 'call') this.#interrupt(undefined);
    if (opened.kind === 'hosted') {
      this.#emit({ type: 'hosted', index: opened.index, at: { kind: 'added', item: opened.content } });
    }
    return opened;
  }

  #make(item: Loose): Item {
    const index = this.#known.length;
    const kind = kindOf(item);
    if (kind === 'message' || kind === 'reasoning') {
      const spoken: SpokenItem = new SpokenItem(kind, this.#settings, () => this.#interrupt(spoken), this.#emit);
      return spoken;
    }
    if (kind === 'call') {
      return new CallItem(index, item['type'] === 'custom_tool_call', this.#settings.tools, this.#emit);
    }
    const content = toHostedItem(item);
    return content === undefined
      ? { kind: 'unknown', isDone: false }
      : { kind: 'hosted', index, content, isDone: false };
  }

  #finish(item: Item, shown: Loose): void {
    if (item instanceof SpokenItem || item instanceof CallItem) {
      item.done(shown);
    } else if (!item.isDone) {
      item.isDone = true;
      if (item.kind === 'unknown') return;
      const content = toHostedItem(shown) ?? item.content;
      this.#emit({ type: 'hosted', index: item.index, at: { kind: 'done', item: content } });
    }
  }

  /** Ends what is being said, as another item begins. */
  #interrupt(next: SpokenItem | undefined): void {
    if (this.#speaking !== next) this.#speaking?.end();
    this.#speaking = next;
  }
}

function kindOf({ type }: Loose): Item['kind'] {
  switch (type) {
    case 'message':
    case 'reasoning':
      return type;
    case 'function_call':
    case 'custom_tool_call':
      return 'call';
    default:
      return 'hosted';
  }
}
