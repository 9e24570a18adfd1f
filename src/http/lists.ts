import type { Item } from '../api/items.ts';
import type { ListQuery } from '../api/queries.ts';
import { ApiError } from '../errors.ts';
import type { ItemPage } from '../store.ts';

export type ItemList = {
  readonly object: 'list';
  readonly data: readonly Item[];
  readonly first_id: string | null;
  readonly last_id: string | null;
  readonly has_more: boolean;
};

/** @throws ApiError 404 where `after` names no item of the list. */
export function listPage(page: ItemPage | 'unknown_cursor', query: ListQuery): ItemList {
  if (page === 'unknown_cursor') {
    throw new ApiError('not_found', `Item with id '${query.after ?? ''}' not found in this list.`, { param: 'after' });
  }
  return listOf(page.items, page.hasMore);
}

export function listOf(items: readonly Item[], hasMore: boolean): ItemList {
  return {
    object: 'list',
    data: items,
    first_id: items.at(0)?.id ?? null,
    last_id: items.at(-1)?.id ?? null,
    has_more: hasMore,
  };
}
