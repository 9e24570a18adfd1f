import type { Metadata } from '../api/primitives.ts';
import { parseJson } from '../parse-json.ts';
import type { NewTurn, Store } from '../store.ts';
import { reach } from './fault-points.ts';
import { readContext, readConversation, readItem, readNewestItems, readPage, readResponse } from './reading.ts';
import type { ReadRows } from './rows.ts';
import type { Steps } from './steps.ts';
import type { WriteOperation, WriteResults } from './writing.ts';

/** What a bundled store has to bring along; the rest is the same for all of them. */
export interface Backend {
  readonly now: () => number;
  /** Runs a reading. Over a network its steps may see different states: each rule asks for the head before the entries. */
  read<T>(reading: (rows: ReadRows) => Steps<T>): Promise<T>;
  /** Resolves when the change is durable, or has found that there is nothing to change. */
  write<Operation extends WriteOperation>(operation: Operation): Promise<WriteResults[Operation['kind']]>;
  hold(tenant: string, threadId: string): () => void;
  ping(): Promise<void>;
  close(): Promise<void>;
}

/**
 * The contract of `Store` over a backend's rows. Strings are made well-formed Unicode on their way in, because no
 * database keeps half of a surrogate pair: what is looked up must be spelt like what was stored.
 */
export function storeOverRows(backend: Backend): Store {
  const { now } = backend;
  return {
    async keptSecret(proposed) {
      return backend.write({ kind: 'keep_secret', tenant: '', ...names({ proposed }) });
    },
    async createConversation(tenant, { id, metadata, createdAt, entry }) {
      const metadataJson = JSON.stringify(metadata);
      const common = { ...names({ tenant, id }), metadataJson, createdAt, entry };
      await backend.write({ kind: 'create_conversation', ...common });
    },
    async getConversation(tenant, id) {
      const at = names({ tenant, id });
      return backend.read((rows) => readConversation(rows, at.tenant, at.id));
    },
    async updateConversation(tenant, id, metadata) {
      const metadataJson = JSON.stringify(metadata);
      const at = names({ tenant, id });
      const createdAt = await backend.write({ kind: 'update_conversation', ...at, metadataJson });
      return createdAt === undefined
        ? undefined
        : { id: at.id, metadata: parseJson(metadataJson) as Metadata, createdAt };
    },
    async deleteConversation(tenant, id) {
      return backend.write({ kind: 'delete_conversation', ...names({ tenant, id }) });
    },
    async appendItems(tenant, id, entry) {
      return backend.write({ kind: 'append_items', ...names({ tenant, id }), entry, nowMs: now() });
    },
    async getItem(tenant, id, itemId) {
      const at = names({ tenant, id, itemId });
      return backend.read((rows) => readItem(rows, at.tenant, at.id, at.itemId));
    },
    async deleteItem(tenant, id, itemId) {
      return backend.write({ kind: 'delete_item', ...names({ tenant, id, itemId }), nowMs: now() });
    },
    async findItems(tenant, ids, maxChars) {
      const at = names({ tenant });
      return backend.read((rows) => readNewestItems(rows, at.tenant, ids, maxChars));
    },
    async listItems(tenant, view, page) {
      const at = names({ tenant, id: view.kind === 'conversation' ? view.id : view.responseId });
      const of = view.kind === 'conversation' ? { kind: view.kind, id: at.id } : { kind: view.kind, responseId: at.id };
      return backend.read((rows) => readPage(rows, at.tenant, of, page));
    },
    async readContext(tenant, from, maxTextBytes) {
      const at = names({ tenant, id: from.id });
      return backend.read((rows) => readContext(rows, at.tenant, { kind: from.kind, id: at.id }, maxTextBytes));
    },
    async acquireLease(tenant, id, holder, ttlMs) {
      return backend.write({ kind: 'acquire_lease', ...names({ tenant, id, holder }), ttlMs, nowMs: now() });
    },
    async renewLease(tenant, id, holder, ttlMs) {
      return backend.write({ kind: 'renew_lease', ...names({ tenant, id, holder }), ttlMs, nowMs: now() });
    },
    async releaseLease(tenant, id, holder) {
      await backend.write({ kind: 'release_lease', ...names({ tenant, id, holder }) });
    },
    async appendTurn(tenant, turn) {
      reach('before_append');
      const outcome = await backend.write({ kind: 'append_turn', ...names({ tenant }), turn: wellFormedTurn(turn) });
      reach('after_append');
      return outcome;
    },
    async getResponse(tenant, id) {
      const at = names({ tenant, id });
      return backend.read((rows) => readResponse(rows, at.tenant, at.id));
    },
    async deleteResponse(tenant, id) {
      return backend.write({ kind: 'delete_response', ...names({ tenant, id }) });
    },
    hold: (tenant, threadId) => backend.hold(tenant.toWellFormed(), threadId.toWellFormed()),
    ping: () => backend.ping(),
    close: () => backend.close(),
  };
}

function names<Names extends Record<string, string>>(given: Names): Names {
  for (const key in given) {
    if (!given[key]?.isWellFormed()) {
      const entries = Object.entries(given).map(([name, value]) => [name, value.toWellFormed()]);
      return Object.fromEntries(entries) as Names;
    }
  }
  return given;
}

function wellFormedTurn(turn: NewTurn): NewTurn {
  const { base } = turn;
  return {
    ...turn,
    base: base === undefined ? undefined : { threadId: base.threadId.toWellFormed(), position: base.position },
    conversationId: turn.conversationId?.toWellFormed(),
    holder: turn.holder?.toWellFormed(),
    responseId: turn.responseId.toWellFormed(),
    status: turn.status.toWellFormed(),
    user: turn.user?.toWellFormed(),
  };
}
