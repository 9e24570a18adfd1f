import type { Item } from '../api/items.ts';
import type { EntryPlace } from '../store.ts';
import type { StoredItem } from './entry-items.ts';
import { decodeItems, isReference } from './entry-items.ts';
import type { EntryRow, ReadRows } from './rows.ts';

/** Decoded entries that a resolver keeps: many references into one long entry should not parse it each time. */
const maxKept = 32;

/** Resolves references for the length of one operation. */
export class References {
  readonly #rows: ReadRows;
  readonly #tenant: string;
  readonly #kept = new Map<string, ReadonlyMap<string, Item>>();

  constructor(rows: ReadRows, tenant: string) {
    this.#rows = rows;
    this.#tenant = tenant;
  }

  /** The items of an entry in order; those whose target is gone are left out. */
  itemsOf(entry: EntryRow, inputOnly = false): Item[] {
    return this.#resolved(entry, inputOnly).filter((item) => item !== undefined);
  }

  /** The same with a hole where a target is gone, so that positions are kept. */
  slotsOf(entry: EntryRow, inputOnly: boolean): readonly (Item | undefined)[] {
    return this.#resolved(entry, inputOnly);
  }

  resolve(item: StoredItem): Item | undefined {
    return isReference(item) ? this.target(item.id, item.reference) : item;
  }

  #resolved(entry: EntryRow, inputOnly: boolean): (Item | undefined)[] {
    const all = decodeItems(entry);
    const items = inputOnly ? all.slice(0, entry.inputCount) : all;
    return entry.hasReferences ? items.map((item) => this.resolve(item)) : (items as Item[]);
  }

  /** The item of that id itself, where it lives in that entry. */
  target(id: string, place: EntryPlace): Item | undefined {
    const key = `${place.position} ${place.threadId}`;
    let items = this.#kept.get(key);
    if (items === undefined) {
      if (this.#kept.size >= maxKept) this.#kept.clear();
      const entry = this.#rows.entry(this.#tenant, place);
      items = entry === undefined ? new Map<string, Item>() : byId(entry);
      this.#kept.set(key, items);
    }
    return items.get(id);
  }
}

/**
 * Tells where the item itself lies that a place holds, or itself only refers to. For the length of one operation: many
 * references into one long entry decode it once.
 */
export function settler(rows: ReadRows, tenant: string): (id: string, target: EntryPlace) => EntryPlace {
  const known = new Map<string, ReadonlyMap<string, EntryPlace>>();
  return (id, target) => {
    const place = { threadId: target.threadId.toWellFormed(), position: target.position };
    const key = `${place.position} ${place.threadId}`;
    let moved = known.get(key);
    if (moved === undefined) {
      if (known.size >= maxKept) known.clear();
      moved = referencesIn(rows.entry(tenant, place));
      known.set(key, moved);
    }
    return moved.get(id) ?? place;
  };
}

function referencesIn(entry: EntryRow | undefined): ReadonlyMap<string, EntryPlace> {
  const places = new Map<string, EntryPlace>();
  if (entry?.hasReferences !== true) return places;
  for (const item of decodeItems(entry)) if (isReference(item)) places.set(item.id.toWellFormed(), item.reference);
  return places;
}

function byId(entry: EntryRow): ReadonlyMap<string, Item> {
  const items = new Map<string, Item>();
  for (const item of decodeItems(entry)) if (!isReference(item)) items.set(item.id.toWellFormed(), item);
  return items;
}
