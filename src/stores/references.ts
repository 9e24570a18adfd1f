import type { Item } from '../api/items.ts';
import type { EntryPlace, StorableItem } from '../store.ts';
import type { StoredItem } from './entry-items.ts';
import { decodeItems, hasId, isReference } from './entry-items.ts';
import type { EntryRow, Order, ReadRows } from './rows.ts';
import { got, type Steps } from './steps.ts';
import type { EntryPart } from './walk.ts';

/** How many entries are asked for at once, and so decoded side by side. */
const maxPlaces = 32;

/** An item as it stands in its entry, and how much of the entry's JSON counts with it. */
export type Slot = { readonly item: StoredItem; readonly chars: number };

/** The items of an entry, in the order in which they are read; all of its JSON counts with the first. */
export function slotsOf({ entry, inputOnly }: EntryPart, order: Order): readonly Slot[] {
  const all = decodeItems(entry);
  const items = inputOnly ? all.slice(0, entry.inputCount) : all;
  const ordered = order === 'asc' ? items : items.toReversed();
  return ordered.map((item, index) => ({ item, chars: index === 0 ? (entry.itemsJson?.length ?? 0) : 0 }));
}

/** Something that is filled with items until it has enough. */
export interface Room {
  /** How many items it would take now. */
  readonly wanted: number;
  add(item: Item): void;
  /** Tells of JSON that is held for it. */
  count(chars: number): void;
}

/** Resolves references for the length of one operation: many of them into one long entry decode it once. */
export class References {
  readonly #rows: ReadRows;
  readonly #tenant: string;
  /** By the key of a reference. A hole where the target is gone. */
  readonly #known = new Map<string, Item | undefined>();

  constructor(rows: ReadRows, tenant: string) {
    this.#rows = rows;
    this.#tenant = tenant;
  }

  /** The items of each entry in order; those whose target is gone are left out. */
  *items(wanted: readonly EntryPart[]): Steps<readonly (readonly Item[])[]> {
    const stored = wanted.map((part) => slotsOf(part, 'asc').map(({ item }) => item));
    const references = stored
      .filter((_, index) => wanted[index]?.entry.hasReferences === true)
      .flatMap((items) => items.filter(isReference));
    const groups = this.#unknown(references.map(targetOf));
    for (let at = 0; at < groups.length; ) at += yield* this.#look(groups.slice(at, at + maxPlaces));
    return stored.map((items) => items.map((item) => this.#resolved(item)).filter((item) => item !== undefined));
  }

  /**
   * Puts items into a room until it has enough, and tells whether these were all. What references point at may be far
   * larger than they are: it is looked up as far as it is wanted.
   */
  *fill(room: Room, slots: readonly Slot[]): Steps<boolean> {
    for (const [at, { item, chars }] of slots.entries()) {
      if (room.wanted <= 0) return false;
      room.count(chars);
      if (!isReference(item)) {
        room.add(item);
        continue;
      }
      if (!this.#known.has(keyOf(targetOf(item)))) yield* this.#lookAhead(slots.slice(at, at + room.wanted));
      const found = this.#resolved(item);
      if (found === undefined) continue;
      room.count(JSON.stringify(found).length);
      room.add(found);
    }
    return true;
  }

  /** The item of that id among some, or the one that is referred to by it. */
  *itemOf(items: readonly StoredItem[], id: string): Steps<{ readonly item: Item; readonly at: number } | undefined> {
    for (const [at, stored] of items.entries()) {
      if (!hasId(stored, id)) continue;
      if (isReference(stored)) yield* this.#lookAhead([{ item: stored, chars: 0 }]);
      const item = this.#resolved(stored);
      if (item !== undefined) return { item, at };
    }
    return undefined;
  }

  /**
   * The items of these ids themselves, each where it lives in its entry; a hole where it is not there. `too_large`: they
   * have more than `maxChars` of JSON, and are more than one.
   */
  *targets(wanted: readonly Target[], maxChars: number): Steps<readonly (Item | undefined)[] | 'too_large'> {
    const groups = this.#unknown(wanted);
    let [chars, count] = [0, 0];
    for (let at = 0; at < groups.length; ) {
      const looked = yield* this.#look(groups.slice(at, at + maxPlaces));
      for (const target of groups.slice(at, at + looked).flatMap(({ targets }) => targets)) {
        const item = this.#known.get(keyOf(target));
        if (item === undefined) continue;
        count += 1;
        chars += JSON.stringify(item).length;
        if (chars > maxChars && count > 1) return 'too_large';
      }
      at += looked;
    }
    return wanted.map((target) => this.#known.get(keyOf(target)));
  }

  #resolved(item: StoredItem): Item | undefined {
    return isReference(item) ? this.#known.get(keyOf(targetOf(item))) : item;
  }

  /** Looks up at least the first of these, where it is a reference. */
  *#lookAhead(slots: readonly Slot[]): Steps<void> {
    const references = slots.map(({ item }) => item).filter(isReference);
    yield* this.#look(this.#unknown(references.map(targetOf)).slice(0, maxPlaces));
  }

  /** What is not known yet, by the entry that it lies in. */
  #unknown(targets: readonly Target[]): readonly Group[] {
    const groups = new Map<string, { readonly place: EntryPlace; readonly targets: Target[] }>();
    for (const target of targets) {
      if (this.#known.has(keyOf(target))) continue;
      const key = placeKey(target.place);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { place: target.place, targets: [target] });
      else group.targets.push(target);
    }
    return [...groups.values()];
  }

  /** Asks once, and tells of how many of them it knows now: at least the first. */
  *#look(groups: readonly Group[]): Steps<number> {
    if (groups.length === 0) return 0;
    const places = groups.map(({ place }) => place);
    const entries = yield* got(this.#rows.entries(this.#tenant, places));
    requireSome(entries);
    for (const [index, entry] of entries.entries()) this.#learn(entry, groups[index]?.targets ?? []);
    return entries.length;
  }

  #learn(entry: EntryRow | undefined, targets: readonly Target[]): void {
    const items = new Map<string, Item>();
    for (const item of entry === undefined ? [] : decodeItems(entry)) {
      if (!isReference(item)) items.set(item.id.toWellFormed(), item);
    }
    for (const target of targets) this.#known.set(keyOf(target), items.get(target.id));
  }
}

export type Target = { readonly id: string; readonly place: EntryPlace };

type Group = { readonly place: EntryPlace; readonly targets: readonly Target[] };

function targetOf({ id, reference }: Extract<StoredItem, { reference: EntryPlace }>): Target {
  return { id, place: reference };
}

/** Whoever asks on until everything is answered must get on. */
function requireSome(entries: readonly unknown[]): void {
  if (entries.length === 0) throw new Error('Entries were asked for, and not even the first was answered');
}

/** Tells where the item itself lies that a place holds, or itself only refers to: no reference points at another. */
export type Settle = (id: string, target: EntryPlace) => EntryPlace;

/** Looks up everything that the references among these items point at. */
export function* settleReferences(rows: ReadRows, tenant: string, items: readonly StorableItem[]): Steps<Settle> {
  const places = new Map<string, EntryPlace>();
  for (const item of items) {
    if ('target' in item) places.set(placeKey(wellFormed(item.target)), wellFormed(item.target));
  }
  const moved = new Map<string, ReadonlyMap<string, EntryPlace>>();
  const all = [...places.values()];
  for (let at = 0; at < all.length; ) {
    const some = all.slice(at, at + maxPlaces);
    const entries = yield* got(rows.entries(tenant, some));
    requireSome(entries);
    for (const [index, place] of some.slice(0, entries.length).entries()) {
      moved.set(placeKey(place), referencesIn(entries[index]));
    }
    at += entries.length;
  }
  return (id, target) => {
    const place = wellFormed(target);
    return moved.get(placeKey(place))?.get(id) ?? place;
  };
}

function referencesIn(entry: EntryRow | undefined): ReadonlyMap<string, EntryPlace> {
  const places = new Map<string, EntryPlace>();
  if (entry?.hasReferences !== true) return places;
  for (const item of decodeItems(entry)) if (isReference(item)) places.set(item.id.toWellFormed(), item.reference);
  return places;
}

function wellFormed({ threadId, position }: EntryPlace): EntryPlace {
  return { threadId: threadId.toWellFormed(), position };
}

function placeKey({ threadId, position }: EntryPlace): string {
  return `${position} ${threadId}`;
}

function keyOf({ id, place }: Target): string {
  return `${place.threadId.length} ${placeKey(place)} ${id}`;
}
