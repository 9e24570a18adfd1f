import { z } from 'zod';
import { includeSchema } from './create-response.ts';
import { integer } from './primitives.ts';

/** A whole number in a query, where everything is text. */
function integerText(min: number, max?: number) {
  return z.preprocess(
    (text) => (typeof text === 'string' && /^-?\d{1,15}$/.test(text) ? Number(text) : text),
    integer(min, max),
  );
}

const include = z.array(includeSchema).max(64).optional();

/** The query of a list: `limit` 1–100 (20), `order` (desc), `after` an item id (docs/wire.md §1). */
export const listQuerySchema = z.strictObject({
  limit: integerText(1, 100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
  after: z.string().min(1).max(256).optional(),
  include,
});

/** A query that can do no more than ask for fields which are always there. */
export const includeQuerySchema = z.strictObject({ include });

export const retrieveQuerySchema = z.strictObject({
  include,
  stream: z.enum(['true', 'false']).optional(),
  starting_after: integerText(0).optional(),
  include_obfuscation: z.enum(['true', 'false']).optional(),
});

export type ListQuery = z.infer<typeof listQuerySchema>;
