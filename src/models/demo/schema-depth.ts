import type { JsonObject } from '../../api/primitives.ts';
import type { Budget } from './budget.ts';
import { asSchema, listOf, resolveRef, schemasOf } from './schema-merge.ts';

/**
 * How deep the least value of a schema is, so that recursive schemas can be ended. Remembered, as recursive schemas ask
 * again and again.
 */
export class Depths {
  readonly #root: JsonObject;
  readonly #budget: Budget;
  /** The exact depth where it is known, else a depth that is too little. */
  readonly #known = new Map<JsonObject, { readonly exact?: number; readonly above: number }>();

  constructor(root: JsonObject, budget: Budget) {
    this.#root = root;
    this.#budget = budget;
  }

  /** Whether some value of at most this depth satisfies the schema. */
  fits(schema: JsonObject, depth: number): boolean {
    return this.least(schema, depth) <= depth;
  }

  /** The depth of the least value that satisfies the schema; infinity when it is above the limit. */
  least(schema: JsonObject, limit: number): number {
    if (limit < 0) return Number.POSITIVE_INFINITY;
    const known = this.#known.get(schema);
    if (known?.exact !== undefined) return known.exact <= limit ? known.exact : Number.POSITIVE_INFINITY;
    if (known !== undefined && limit <= known.above) return Number.POSITIVE_INFINITY;
    const depth = this.#compute(schema, limit);
    this.#known.set(schema, depth <= limit ? { exact: depth, above: -1 } : { above: limit });
    return depth;
  }

  #compute(schema: JsonObject, limit: number): number {
    this.#budget.takeSteps(1);
    if ('const' in schema || 'enum' in schema) return 0;
    let depth = 0;
    const must = (part: JsonObject) => {
      depth = Math.max(depth, this.least(part, limit - 1) + 1);
      return depth <= limit;
    };
    const target = resolveRef(this.#root, schema['$ref']);
    if (target !== undefined && !must(target)) return depth;
    for (const part of this.#counted(schemasOf(schema['allOf']))) if (!must(part)) return depth;
    for (const key of ['anyOf', 'oneOf']) {
      const branches = this.#counted(schemasOf(schema[key]));
      if (branches.length === 0) continue;
      let least = Number.POSITIVE_INFINITY;
      for (const each of branches) least = Math.min(least, this.least(each, limit - 1) + 1);
      depth = Math.max(depth, least);
      if (depth > limit) return depth;
    }
    const properties = asSchema(schema['properties']);
    for (const key of this.#counted(listOf(schema['required']))) {
      const property = typeof key === 'string' && Object.hasOwn(properties, key) ? properties[key] : undefined;
      if (property !== undefined && !must(asSchema(property))) return depth;
    }
    if (Number(schema['minItems'] ?? 0) > 0 && !must(asSchema(schema['items']))) return depth;
    for (const part of this.#counted(schemasOf(schema['prefixItems']))) if (!must(part)) return depth;
    return depth;
  }

  #counted<T>(list: readonly T[]): readonly T[] {
    this.#budget.takeSteps(list.length);
    return list;
  }
}
