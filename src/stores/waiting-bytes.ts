import type { StorableItem } from '../store.ts';
import type { WriteOperation } from './writing.ts';

const operationBytes = 1_000;
const itemBytes = 200;

/** About what a change takes up while it waits. */
export function waitingBytes(operation: WriteOperation): number {
  switch (operation.kind) {
    case 'append_turn': {
      const { input, output, responseJson } = operation.turn;
      return operationBytes + responseJson.length + bytesOf(input) + bytesOf(output);
    }
    case 'append_items':
      return operationBytes + bytesOf(operation.entry.items);
    case 'create_conversation':
      return operationBytes + operation.metadataJson.length + bytesOf(operation.entry?.items ?? []);
    case 'update_conversation':
      return operationBytes + operation.metadataJson.length;
    default:
      return operationBytes;
  }
}

function bytesOf(items: readonly StorableItem[]): number {
  return items.reduce((sum, item) => sum + itemBytes + ('json' in item ? item.json.length : item.id.length), 0);
}
