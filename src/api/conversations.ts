import { z } from 'zod';
import { inputItemSchema } from './items.ts';
import { type Metadata, metadataSchema, optional } from './primitives.ts';

/** Items that one call may add to a conversation (docs/wire.md §1). */
export const maxItemsPerCall = 20;

const items = z.array(inputItemSchema).max(maxItemsPerCall);

export const createConversationSchema = z.strictObject({
  metadata: optional(metadataSchema),
  items: optional(items),
});

export const updateConversationSchema = z.strictObject({ metadata: metadataSchema });

export const createItemsSchema = z.strictObject({ items });

/** A conversation as clients see it. `created_at` in seconds. */
export type ConversationResource = {
  readonly id: string;
  readonly object: 'conversation';
  readonly created_at: number;
  readonly metadata: Metadata;
};
