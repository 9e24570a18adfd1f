import { invalidRequest } from '../../errors.ts';

/** How much work one call may be. A server has one thread: what is beyond this would keep everybody else waiting. */
export type Limits = {
  /** Values of an example: each property, item, and what is inside a `const` or the value of an enum. */
  readonly nodes: number;
  /** Parts of schemas that are looked at or copied besides. */
  readonly steps: number;
  /** Characters that a schema forces into examples: names, constants, least lengths. */
  readonly chars: number;
  /** Properties and arrays for which the user's words are looked at; the others get plain values. */
  readonly lookups: number;
  /** Candidates from the words, and values of enums, that are compared; after these nothing is found in the words. */
  readonly comparisons: number;
};

export const defaultLimits: Limits = {
  nodes: 10_000,
  steps: 100_000,
  chars: 2_000_000,
  lookups: 500,
  comparisons: 10_000,
};

const none: readonly string[] = [];

/**
 * Counts the work of one call. What a schema cannot do without throws `invalid_request` when there is no more left;
 * what only makes examples nicer is told `false`, and left out.
 */
export class Budget {
  #nodes: number;
  #steps: number;
  #chars: number;
  #lookups: number;
  #comparisons: number;
  readonly #keys = new Map<object, readonly string[]>();

  constructor(limits: Limits = defaultLimits) {
    this.#nodes = limits.nodes;
    this.#steps = limits.steps;
    this.#chars = limits.chars;
    this.#lookups = limits.lookups;
    this.#comparisons = limits.comparisons;
  }

  takeNodes(count: number): void {
    this.needNodes(count);
    this.#nodes -= count;
  }

  /** Throws when there are not so many left, so that what cannot end well is not begun. */
  needNodes(count: number): void {
    if (count > this.#nodes) throw tooLarge();
  }

  takeSteps(count: number): void {
    if (count > this.#steps) throw tooLarge();
    this.#steps -= count;
  }

  takeChars(count: number): void {
    if (count > this.#chars) throw tooLarge();
    this.#chars -= count;
  }

  mayLookUp(): boolean {
    if (this.#lookups > 0) this.#lookups -= 1;
    else return false;
    return true;
  }

  mayCompare(): boolean {
    if (this.#comparisons > 0) this.#comparisons -= 1;
    else return false;
    return true;
  }

  /** The keys of an object, remembered: listing those of a giant one takes long. */
  keysOf(object: object): readonly string[] {
    let keys = this.#keys.get(object);
    if (keys === undefined) {
      keys = Object.keys(object);
      this.#keys.set(object, keys.length === 0 ? none : keys);
    }
    return keys;
  }

  /** Takes what a given value is worth: a node for each value in it, and the characters of its texts and names. */
  takeValue(value: unknown): void {
    const open: { value: unknown; depth: number }[] = [{ value, depth: 0 }];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      this.takeNodes(1);
      if (typeof next.value === 'string') this.takeChars(next.value.length);
      if (typeof next.value !== 'object' || next.value === null) continue;
      if (next.depth >= maxValueDepth) throw tooLarge();
      const depth = next.depth + 1;
      if (Array.isArray(next.value)) {
        this.needNodes(next.value.length);
        for (const each of next.value) open.push({ value: each, depth });
        continue;
      }
      const keys = this.keysOf(next.value);
      this.needNodes(keys.length);
      for (const key of keys) {
        this.takeChars(key.length);
        open.push({ value: Reflect.get(next.value, key), depth });
      }
    }
  }
}

/** Deeper values could not be written as JSON. */
const maxValueDepth = 500;

function tooLarge(): Error {
  return invalidRequest('the schema is too large for the demo model');
}
