import type { EncodedItem, NewItems, NewTurn, StorableItem } from '../../store.ts';
import { encodeItems } from '../entry-items.ts';
import type { IndexedItem } from '../rows.ts';
import { conversationRow, newThread } from '../threads.ts';
import type { WriteOperation, WriteResult } from '../writing.ts';
import { type EntryFields, entryValues, textOrNull } from './decode.ts';
import { keyOf, placeKeyOf } from './names.ts';
import type { Question, Result } from './session.ts';
import type { Statements } from './statements.ts';
import { appendQuestion } from './write-rows.ts';

/** A change in one statement. `outcome` is undefined where it did not apply: then nothing was changed. */
export type FastWay = {
  readonly question: Question;
  readonly outcome: (result: Result) => { readonly result: WriteResult } | undefined;
};

/** Undefined where there is none: the change needs to look around first. */
export function fastWayOf(statements: Statements, operation: WriteOperation): FastWay | undefined {
  const { tenant } = operation;
  switch (operation.kind) {
    case 'append_turn':
      return appendTurn(statements, tenant, operation.turn);
    case 'append_items':
      return postItems(statements, operation);
    case 'create_conversation':
      return createConversation(statements, operation);
    case 'update_conversation': {
      const values = [keyOf(tenant), placeKeyOf(operation.id), operation.metadataJson];
      const question = { statement: statements.updateMetadata, values };
      return { question, outcome: ({ rows: [row] }) => row && { result: Number(row[0]) } };
    }
    case 'acquire_lease':
    case 'renew_lease': {
      const { id, holder, nowMs, ttlMs, kind } = operation;
      const [yes, no] = kind === 'acquire_lease' ? (['acquired', 'busy'] as const) : ([true, false] as const);
      const statement = kind === 'acquire_lease' ? statements.acquireLease : statements.renewLease;
      const values = [keyOf(tenant), placeKeyOf(id), textOrNull(holder), String(nowMs + ttlMs), String(nowMs)];
      const question = { statement, values };
      return { question, outcome: ({ rows: [row] }) => row && { result: row[0] === 't' ? yes : no } };
    }
    case 'release_lease': {
      const values = [keyOf(tenant), placeKeyOf(operation.id), textOrNull(operation.holder)];
      return { question: { statement: statements.releaseLease, values }, outcome: onAnyRow(undefined) };
    }
    case 'delete_conversation':
    case 'delete_item':
    case 'delete_response':
    case 'keep_secret':
      return undefined;
    default:
      return operation satisfies never;
  }
}

function onAnyRow(result: WriteResult): FastWay['outcome'] {
  return ({ rows }) => (rows.length > 0 ? { result } : undefined);
}

function appendTurn(statements: Statements, tenant: string, turn: NewTurn): FastWay | undefined {
  const { base, conversationId, holder } = turn;
  const items = [...turn.input, ...turn.output];
  if (!areOwn(items)) return undefined;
  const { fields, index } = turnFields(turn, items);
  if (base === undefined) {
    if (turn.kind === 'conversation' || conversationId !== undefined) return undefined;
    const thread = newThread(turn, undefined);
    const entry = { ...fields, threadId: thread.id, tree: thread.tree, position: 0, isTurn: true };
    const question = appendQuestion(statements, tenant, thread, entry, index);
    return question && { question, outcome: onAnyRow('appended') };
  }
  if (turn.kind === 'record') return undefined;
  const place = [keyOf(tenant), placeKeyOf(base.threadId), String(base.position)];
  const values = [...place, ...entryValues(fields, index)];
  const question =
    turn.kind === 'chain'
      ? { statement: statements.appendToChain, values }
      : { statement: statements.appendToConversation, values: [...values, textOrNull(holder)] };
  return { question, outcome: onAnyRow('appended') };
}

function postItems(
  statements: Statements,
  { tenant, id, entry, nowMs }: WriteOperation & { readonly kind: 'append_items' },
): FastWay | undefined {
  if (entry.items.length === 0 || !areOwn(entry.items)) return undefined;
  const { fields, index } = itemsFields(entry, entry.items);
  if (new Set(index.map((line) => line.id)).size < index.length) return undefined;
  const values = [keyOf(tenant), placeKeyOf(id), String(nowMs), ...entryValues(fields, index)];
  return { question: { statement: statements.postItems, values }, outcome: onAnyRow({ outcome: 'appended' }) };
}

function createConversation(
  statements: Statements,
  operation: WriteOperation & { readonly kind: 'create_conversation' },
): FastWay | undefined {
  const { tenant, id, metadataJson, createdAt, entry: first } = operation;
  const thread = conversationRow(id, metadataJson, createdAt);
  const items = first?.items ?? [];
  if (!areOwn(items)) return undefined;
  const { fields, index } =
    first === undefined || items.length === 0 ? { fields: undefined, index: [] } : itemsFields(first, items);
  const entry = fields && { ...fields, threadId: id, tree: id, position: 0, isTurn: false };
  const question = appendQuestion(statements, tenant, thread, entry, index);
  const outcome: FastWay['outcome'] = ({ rows, tag }) =>
    rows.length > 0 || tag === 'INSERT 0 1' ? { result: undefined } : undefined;
  return question && { question, outcome };
}

/** Where an item refers to another, what that place holds has to be looked up first. */
function areOwn(items: readonly StorableItem[]): items is readonly EncodedItem[] {
  return items.every((item) => !('target' in item));
}

type Fields = { readonly fields: EntryFields; readonly index: readonly IndexedItem[] };

function turnFields(turn: NewTurn, items: readonly EncodedItem[]): Fields {
  const { itemsJson, index } = encoded(items);
  const fields = {
    responseId: turn.responseId,
    status: turn.status,
    responseJson: turn.responseJson.toWellFormed(),
    itemsJson,
    inputCount: turn.input.length,
    textBytes: turn.textBytes,
    hasReferences: false,
    user: turn.user,
    createdAt: turn.createdAt,
  };
  return { fields, index };
}

function itemsFields(entry: NewItems, items: readonly EncodedItem[]): Fields {
  const { itemsJson, index } = encoded(items);
  const response = { responseId: undefined, status: undefined, responseJson: undefined };
  const { textBytes, createdAt } = entry;
  const rest = { inputCount: items.length, textBytes, hasReferences: false, user: undefined, createdAt };
  return { fields: { ...response, itemsJson, ...rest }, index };
}

function encoded(items: readonly EncodedItem[]) {
  return encodeItems(items, (_, target) => target);
}
