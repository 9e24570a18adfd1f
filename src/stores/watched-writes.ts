import { type Store, StoreUnavailable } from '../store.ts';

/** How long a failed change speaks against the store. Longer, and a server that gets no more changes would never be back. */
const doubtMs = 10_000;

/**
 * The same store, whose `ping` also tells that changes fail although it would answer: a full disk, or a table that
 * somebody has locked, is not found out by a question. One change that succeeds clears it, and so does time.
 */
export function withWatchedWrites(store: Store, now: () => number): Store {
  let failed: { readonly error: StoreUnavailable; readonly atMs: number } | undefined;
  const watch = async <T>(change: Promise<T>): Promise<T> => {
    try {
      const result = await change;
      failed = undefined;
      return result;
    } catch (error) {
      if (error instanceof StoreUnavailable) failed = { error, atMs: now() };
      throw error;
    }
  };
  return {
    keptSecret: (proposed) => watch(store.keptSecret(proposed)),
    createConversation: (tenant, conversation) => watch(store.createConversation(tenant, conversation)),
    getConversation: (tenant, id) => store.getConversation(tenant, id),
    updateConversation: (tenant, id, metadata) => watch(store.updateConversation(tenant, id, metadata)),
    deleteConversation: (tenant, id) => watch(store.deleteConversation(tenant, id)),
    appendItems: (tenant, conversationId, entry) => watch(store.appendItems(tenant, conversationId, entry)),
    getItem: (tenant, conversationId, itemId) => store.getItem(tenant, conversationId, itemId),
    deleteItem: (tenant, conversationId, itemId) => watch(store.deleteItem(tenant, conversationId, itemId)),
    findItems: (tenant, itemIds, maxChars) => store.findItems(tenant, itemIds, maxChars),
    listItems: (tenant, view, page) => store.listItems(tenant, view, page),
    readContext: (tenant, from, maxTextBytes) => store.readContext(tenant, from, maxTextBytes),
    acquireLease: (tenant, id, holder, ttlMs) => store.acquireLease(tenant, id, holder, ttlMs),
    renewLease: (tenant, id, holder, ttlMs) => store.renewLease(tenant, id, holder, ttlMs),
    releaseLease: (tenant, id, holder) => store.releaseLease(tenant, id, holder),
    appendTurn: (tenant, turn) => watch(store.appendTurn(tenant, turn)),
    getResponse: (tenant, id) => store.getResponse(tenant, id),
    deleteResponse: (tenant, id) => watch(store.deleteResponse(tenant, id)),
    hold: (tenant, threadId) => store.hold(tenant, threadId),
    async ping() {
      await store.ping();
      if (failed !== undefined && now() - failed.atMs < doubtMs) throw failed.error;
    },
    close: () => store.close(),
  };
}
