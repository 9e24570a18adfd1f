import type { NewTurn } from '../store.ts';
import { lineageOf } from './lineage.ts';
import type { EntryRow, ThreadRow } from './rows.ts';

/** The thread that a response begins where it begins one: the same name at every try. */
export function threadOf(responseId: string): string {
  return `thr_${responseId}`;
}

/** A conversation is the root of its tree. */
export function conversationRow(id: string, metadataJson?: string, createdAt = 0): ThreadRow {
  return {
    id,
    kind: 'conversation',
    tree: id,
    ancestors: [],
    continues: undefined,
    conversationId: undefined,
    metadataJson,
    user: undefined,
    createdAt,
  };
}

/**
 * The thread that a turn begins, grown out of `parent`. A conversation's record belongs to its tree, whatever the run had
 * seen of it.
 */
export function newThread(turn: NewTurn, parent: ThreadRow | undefined): ThreadRow {
  const id = threadOf(turn.responseId);
  const isRecord = turn.kind === 'record';
  const conversationId = isRecord ? turn.conversationId : undefined;
  const root = conversationId === undefined ? undefined : { threadId: conversationId, position: -1 };
  return {
    ...lineageOf(id, turn.base ?? root, parent),
    id,
    kind: isRecord ? 'record' : 'chain',
    conversationId,
    metadataJson: undefined,
    user: turn.user,
    createdAt: turn.createdAt,
  };
}

/** The same turn again, after an answer that never arrived. Anything else comes too late: the first end wins. */
export function isSameTurn(row: EntryRow, turn: NewTurn): boolean {
  return row.status === turn.status && row.responseJson === turn.responseJson.toWellFormed();
}
