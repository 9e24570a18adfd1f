import type { Item } from '../api/items.ts';
import type { EntryPlace, StorableItem } from '../store.ts';
import type { StoredItem } from './entry-items.ts';
import { decodeItems, isReference } from './entry-items.ts';
import type { EntryRow, ReadRows } from './rows.ts';
import { got, type Steps } from './steps.ts';
import type { EntryPart } from './walk.ts';

/** How many entries are asked for at once, and so decoded side by side. */
const maxPlaces = 32;

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
    const slots = yield* this.slots(wanted);
    return slots.map((items) => items.filter((item) => item !== undefined));
  }

  /** The same with a hole where a target is gone, so that positions are kept. */
  *slots(wanted: readonly EntryPart[]): Steps<readonly (readonly (Item | undefined)[])[]> {
    const stored = wanted.map(({ entry, inputOnly }) => {
      const all = decodeItems(entry);
      return inputOnly ? all.slice(0, entry.inputCount) : all;
    });
    const references = stored
      .filter((_, index) => wanted[index]?.entry.hasReferences === true)
      .flatMap((items) => items.filter(isReference))
      .map(({ id, reference }) => ({ id, place: reference }));
    yield* this.#look(references);
    return stored.map((items) => items.map((item) => this.#resolved(item)));
  }

  /** The items of these ids themselves, each where it lives in its entry; a hole where it is not there. */
  *targets(wanted: readonly Target[]): Steps<readonly (Item | undefined)[]> {
    yield* this.#look(wanted);
    return wanted.map((target) => this.#known.get(keyOf(target)));
  }

  #resolved(item: StoredItem): Item | undefined {
    return isReference(item) ? this.#known.get(keyOf({ id: item.id, place: item.reference })) : item;
  }

  *#look(targets: readonly Target[]): Steps<void> {
    const missing = new Map<string, { readonly place: EntryPlace; readonly targets: Target[] }>();
    for (const target of targets) {
      if (this.#known.has(keyOf(target))) continue;
      const key = placeKey(target.place);
      const group = missing.get(key);
      if (group === undefined) missing.set(key, { place: target.place, targets: [target] });
      else group.targets.push(target);
    }
    const groups = [...missing.values()];
    for (let at = 0; at < groups.length; at += maxPlaces) {
      const some = groups.slice(at, at + maxPlaces);
      const places = some.map(({ place }) => place);
      const entries = yield* got(this.#rows.entries(this.#tenant, places));
      for (const [index, group] of some.entries()) this.#learn(entries[index], group.targets);
    }
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
  for (let at = 0; at < all.length; at += maxPlaces) {
    const some = all.slice(at, at + maxPlaces);
    const entries = yield* got(rows.entries(tenant, some));
    for (const [index, place] of some.entries()) moved.set(placeKey(place), referencesIn(entries[index]));
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
