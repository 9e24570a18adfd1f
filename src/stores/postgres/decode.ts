import type { Ancestor, EntryRow, IndexedItem, ThreadKind, ThreadRow } from '../rows.ts';
import { decodeText, encodeText, keyOf, placeKeyOf, plainArray, textArray } from './names.ts';
import type { Row, Value } from './session.ts';

/** Rows of the database as the rules know them, and back. The order of columns is that of `statements.ts`. */

export function asThread(row: Row, from = 0): ThreadRow {
  return {
    id: decodeText(row[from] ?? ''),
    kind: row[from + 1] as ThreadKind,
    tree: decodeText(row[from + 2] ?? ''),
    ancestors: JSON.parse(row[from + 3] ?? '[]') as Ancestor[],
    continues: optional(row[from + 4]),
    conversationId: optional(row[from + 5]),
    metadataJson: row[from + 6] ?? undefined,
    user: optional(row[from + 7]),
    createdAt: Number(row[from + 8]),
  };
}

/** A row of a stretch ends before the response, which is then left out. */
export function asEntry(row: Row): EntryRow {
  return {
    threadId: decodeText(row[0] ?? ''),
    position: Number(row[1]),
    tree: decodeText(row[2] ?? ''),
    isTurn: row[3] === 't',
    responseId: optional(row[4]),
    status: optional(row[5]),
    inputCount: Number(row[6]),
    textBytes: Number(row[7]),
    hasReferences: row[8] === 't',
    user: optional(row[9]),
    createdAt: Number(row[10]),
    itemsJson: row[11] ?? undefined,
    responseJson: row[12] ?? undefined,
  };
}

function optional(value: Value | undefined): string | undefined {
  return typeof value === 'string' ? decodeText(value) : undefined;
}

/** Tenant, id and the rest: the first ten parameters of what adds a thread. */
export function threadValues(tenant: string, row: ThreadRow): Value[] {
  return [
    keyOf(tenant),
    placeKeyOf(row.id),
    row.kind,
    placeKeyOf(row.tree),
    JSON.stringify(row.ancestors),
    row.continues === undefined ? null : placeKeyOf(row.continues),
    row.conversationId === undefined ? null : placeKeyOf(row.conversationId),
    row.metadataJson ?? null,
    textOrNull(row.user?.toWellFormed()),
    String(row.createdAt),
  ];
}

export type EntryFields = Omit<EntryRow, 'threadId' | 'position' | 'tree' | 'isTurn'>;

/** An entry from its response's id on, then the kinds of its items: eleven parameters. */
export function entryValues(entry: EntryFields, index: readonly IndexedItem[]): Value[] {
  const lines = linesOf(index);
  return [
    entry.responseId === undefined ? null : placeKeyOf(entry.responseId),
    textOrNull(entry.status),
    String(entry.inputCount),
    String(entry.textBytes),
    entry.hasReferences ? 't' : 'f',
    textOrNull(entry.user),
    String(entry.createdAt),
    entry.itemsJson ?? null,
    entry.responseJson ?? null,
    textArray(lines.map(({ id }) => id)),
    plainArray(lines.map(({ isReference }) => isReference)),
  ];
}

/** An entry that names an item twice has one line for it. */
function linesOf(index: readonly IndexedItem[]): readonly IndexedItem[] {
  const lines = index.map(({ id, isReference }) => ({ id: keyOf(id), isReference }));
  const isNew = new Set<string>();
  return lines.filter(({ id, isReference }) => {
    const line = `${isReference} ${id}`;
    if (isNew.has(line)) return false;
    isNew.add(line);
    return true;
  });
}

export function textOrNull(text: string | undefined): Value {
  return text === undefined ? null : encodeText(text);
}
