import { encodeItems } from '../entry-items.ts';
import { settleReferences } from '../references.ts';
import type { WriteRows } from '../rows.ts';
import { runSteps } from '../steps.ts';
import type { WriteOperation, WriteResult } from '../writing.ts';

/**
 * After a commit whose answer was lost, the change is asked for once more. Appending a turn and taking a lease find their
 * own trace by themselves; the rest is found here.
 */

/** Whether what should be added is there already, exactly as it was to be added. */
export async function isThere(rows: WriteRows, operation: WriteOperation): Promise<boolean> {
  const { tenant } = operation;
  if (operation.kind === 'create_conversation') {
    const thread = await rows.thread(tenant, operation.id);
    if (thread?.kind !== 'conversation') return false;
    return thread.createdAt === operation.createdAt && thread.metadataJson === operation.metadataJson;
  }
  if (operation.kind === 'append_items') {
    const { items, createdAt } = operation.entry;
    const [first] = items;
    if (first === undefined) return false;
    const { itemsJson } = encodeItems(items, await runSteps(settleReferences(rows, tenant, items)));
    const entries = await rows.entriesWith(tenant, first.id.toWellFormed(), [operation.id]);
    return entries.some((entry) => !entry.isTurn && entry.itemsJson === itemsJson && entry.createdAt === createdAt);
  }
  return false;
}

/** What was there when it was deleted, and is not there now, was deleted. */
export function settled(kind: WriteOperation['kind'], earlier: WriteResult, now: WriteResult): WriteResult {
  switch (kind) {
    case 'delete_conversation':
    case 'delete_response':
      return earlier === true ? true : now;
    case 'delete_item':
      return earlier === 'deleted' ? earlier : now;
    default:
      return now;
  }
}
