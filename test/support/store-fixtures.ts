import type { Item } from '../../src/api/items.ts';
import type {
  Context,
  ContextSource,
  EncodedItem,
  EntryPlace,
  FoundItem,
  ItemPage,
  ItemView,
  NewItems,
  NewTurn,
  PageQuery,
  StorableItem,
  Store,
} from '../../src/store.ts';

/** Builders and shorthands for tests of stores: a test should show only what it is about. */

export const wholeContext = 100_000_000;

export function message(id: string, text = `text of ${id}`): EncodedItem {
  const role = 'user';
  const item = { id, type: 'message', status: 'completed', role, content: [{ type: 'input_text', text }] };
  return { id, json: JSON.stringify(item) };
}

export function answer(id: string, text = `text of ${id}`): EncodedItem {
  const content = [{ type: 'output_text', text, annotations: [] }];
  return { id, json: JSON.stringify({ id, type: 'message', status: 'completed', role: 'assistant', content }) };
}

export function items(...list: readonly StorableItem[]): NewItems {
  return { items: list, textBytes: textBytesOf(list), createdAt: 1_000 };
}

function textBytesOf(list: readonly StorableItem[]): number {
  return list.reduce((sum, item) => sum + ('json' in item ? Buffer.byteLength(item.json) : 10), 0);
}

/** A chain's turn of one input item `in-ID` and one output item `out-ID`, unless told otherwise. */
export function turn(responseId: string, base?: EntryPlace | undefined, changes: Partial<NewTurn> = {}): NewTurn {
  const input = changes.input ?? [message(`in-${responseId}`)];
  const output = changes.output ?? [answer(`out-${responseId}`)];
  return {
    kind: 'chain',
    base,
    conversationId: undefined,
    holder: undefined,
    responseId,
    status: 'completed',
    responseJson: JSON.stringify({ id: responseId, object: 'response' }),
    textBytes: textBytesOf([...input, ...output]),
    user: undefined,
    createdAt: 1_000,
    ...changes,
    input,
    output,
  };
}

export function conversationTurn(id: string, base: EntryPlace, changes: Partial<NewTurn> = {}): NewTurn {
  return turn(id, base, { kind: 'conversation', conversationId: base.threadId, ...changes });
}

export function record(id: string, base?: EntryPlace | undefined, changes: Partial<NewTurn> = {}): NewTurn {
  return turn(id, base, { kind: 'record', status: 'failed', ...changes });
}

export async function makeConversation(store: Store, tenant: string, id: string, ids: readonly string[] = []) {
  const entry = ids.length === 0 ? {} : { entry: items(...ids.map((itemId) => message(itemId))) };
  await store.createConversation(tenant, { id, metadata: {}, createdAt: 1_000, ...entry });
}

export async function contextOf(store: Store, tenant: string, from: ContextSource): Promise<Context> {
  const context = await store.readContext(tenant, from, wholeContext);
  if (typeof context === 'string') throw new Error(`The context of ${from.id} is ${context}`);
  return context;
}

export async function headOf(store: Store, tenant: string, from: ContextSource): Promise<EntryPlace> {
  return (await contextOf(store, tenant, from)).head;
}

export function headOfResponse(store: Store, tenant: string, id: string): Promise<EntryPlace> {
  return headOf(store, tenant, { kind: 'response', id });
}

export function headOfConversation(store: Store, tenant: string, id: string): Promise<EntryPlace> {
  return headOf(store, tenant, { kind: 'conversation', id });
}

/** Continues a response, or starts a chain, and tells where the new turn lies. */
export async function follow(store: Store, tenant: string, id: string, after?: string): Promise<EntryPlace> {
  const base = after === undefined ? undefined : await headOfResponse(store, tenant, after);
  const outcome = await store.appendTurn(tenant, turn(id, base));
  if (outcome !== 'appended') throw new Error(`The turn ${id} is ${outcome}`);
  return headOfResponse(store, tenant, id);
}

export async function contextIds(store: Store, tenant: string, from: ContextSource): Promise<string[]> {
  return (await contextOf(store, tenant, from)).entries.flatMap((entry) => idsOf(entry.items));
}

export function responseContextIds(store: Store, tenant: string, id: string): Promise<string[]> {
  return contextIds(store, tenant, { kind: 'response', id });
}

export function conversationContextIds(store: Store, tenant: string, id: string): Promise<string[]> {
  return contextIds(store, tenant, { kind: 'conversation', id });
}

export async function page(store: Store, tenant: string, view: ItemView, query: PageQuery): Promise<ItemPage> {
  const found = await store.listItems(tenant, view, query);
  if (typeof found === 'string') throw new Error(`The page is ${found}`);
  return found;
}

/** All ids of a view, read page by page. */
export async function viewIds(
  store: Store,
  tenant: string,
  view: ItemView,
  order: 'asc' | 'desc' = 'asc',
  limit = 100,
): Promise<string[]> {
  const ids: string[] = [];
  for (;;) {
    const found = await page(store, tenant, view, { limit, order, after: ids.at(-1) });
    ids.push(...idsOf(found.items));
    if (!found.hasMore) return ids;
  }
}

export function conversationIds(store: Store, tenant: string, id: string): Promise<string[]> {
  return viewIds(store, tenant, { kind: 'conversation', id });
}

export function inputIds(store: Store, tenant: string, responseId: string): Promise<string[]> {
  return viewIds(store, tenant, { kind: 'input_of', responseId });
}

export function idsOf(list: readonly Item[]): string[] {
  return list.map((item) => item.id);
}

/** The newest live item of one id. */
export async function findItem(store: Store, tenant: string, id: string): Promise<FoundItem | undefined> {
  return (await findItems(store, tenant, [id])).get(id);
}

/** The newest live items of some ids, however large they are. */
export async function findItems(
  store: Store,
  tenant: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, FoundItem>> {
  const found = await store.findItems(tenant, ids, Number.POSITIVE_INFINITY);
  if (found === 'too_large') throw new Error('Items without a bound are too large');
  return found;
}
