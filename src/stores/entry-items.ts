import type { Item } from '../api/items.ts';
import type { EntryPlace, StorableItem } from '../store.ts';
import type { EntryRow, IndexedItem } from './rows.ts';

/** What stands in an entry's JSON for an item that lives elsewhere (R10). An item always has a `type`, this never. */
type ReferenceMarker = { readonly id: string; readonly reference: EntryPlace };

export type StoredItem = Item | ReferenceMarker;

export type EncodedItems = {
  readonly itemsJson: string;
  readonly index: readonly IndexedItem[];
  readonly hasReferences: boolean;
};

/** `settle` gives the place where a reference's item itself lies, so that no reference ever points at another. */
export function encodeItems(
  items: readonly StorableItem[],
  settle: (id: string, target: EntryPlace) => EntryPlace,
): EncodedItems {
  const index: IndexedItem[] = [];
  const parts: string[] = [];
  let hasReferences = false;
  for (const item of items) {
    const id = item.id.toWellFormed();
    const isReference = 'target' in item;
    index.push({ id, isReference });
    if (isReference) {
      hasReferences = true;
      parts.push(JSON.stringify({ id, reference: settle(id, item.target) } satisfies ReferenceMarker));
    } else {
      parts.push(item.json.toWellFormed());
    }
  }
  return { itemsJson: `[${parts.join(',')}]`, index, hasReferences };
}

export function decodeItems(entry: EntryRow): readonly StoredItem[] {
  return entry.itemsJson === undefined ? [] : (JSON.parse(entry.itemsJson) as StoredItem[]);
}

export function isReference(item: StoredItem): item is ReferenceMarker {
  return !('type' in item);
}

/** Ids are indexed as well-formed Unicode, as every database keeps them. */
export function hasId(item: StoredItem, id: string): boolean {
  return item.id.toWellFormed() === id;
}

export function indexOf(entry: EntryRow): readonly IndexedItem[] {
  return decodeItems(entry).map((item) => ({ id: item.id.toWellFormed(), isReference: isReference(item) }));
}
