import type { ConversationResource } from '../api/conversations.ts';
import type { InputItem, Item } from '../api/items.ts';
import type { Metadata } from '../api/primitives.ts';
import type { Conversation, NewItems } from '../store.ts';
import type { EngineDeps } from './engine.ts';
import { conversationLocked, conversationNotFound } from './failures.ts';
import { duplicateItem, type NewItem, resolveInput, textBytesOf, toStorable } from './input-items.ts';

type Deps = Pick<EngineDeps, 'store' | 'mintId' | 'now'>;

/** Creates a conversation, with its first items if any. @throws ApiError 400 or 404 for items that can't be taken. */
export async function createConversation(
  tenant: string,
  request: { readonly metadata: Metadata; readonly items: readonly InputItem[] },
  deps: Deps,
): Promise<ConversationResource> {
  const createdAt = deps.now();
  const items = await resolveInput(request.items, [], tenant, deps);
  const conversation = { id: deps.mintId('conv'), metadata: request.metadata, createdAt };
  const entry = items.length === 0 ? {} : { entry: entryOf(items, createdAt) };
  await deps.store.createConversation(tenant, { ...conversation, ...entry });
  return conversationResource(conversation);
}

/** Adds items behind what a conversation holds. Never refused for calls without outputs or the other way round (R7). */
export async function addItems(
  tenant: string,
  conversationId: string,
  items: readonly InputItem[],
  deps: Deps,
): Promise<readonly Item[]> {
  const conversation = await deps.store.getConversation(tenant, conversationId);
  if (conversation === undefined) throw conversationNotFound(conversationId);
  if (items.length === 0) return [];
  const added = await resolveInput(items, [], tenant, deps);
  const result = await deps.store.appendItems(tenant, conversationId, entryOf(added, deps.now()));
  switch (result.outcome) {
    case 'appended':
      return added.map((each) => each.item);
    case 'locked':
      throw conversationLocked();
    case 'missing':
      throw conversationNotFound(conversationId);
    case 'duplicate':
      throw duplicateItem(result.itemId);
    default:
      return unreachable(result);
  }
}

export function conversationResource(conversation: Conversation): ConversationResource {
  return {
    id: conversation.id,
    object: 'conversation',
    created_at: Math.floor(conversation.createdAt / 1000),
    metadata: conversation.metadata,
  };
}

function entryOf(items: readonly NewItem[], createdAt: number): NewItems {
  let textBytes = 0;
  for (const { item } of items) textBytes += textBytesOf(item);
  return { items: items.map(toStorable), textBytes, createdAt };
}

function unreachable(result: never): never {
  throw new Error(`unknown outcome ${JSON.stringify(result)}`);
}
