import type { EntryRow, Order, ReadRows, Stretch } from './rows.ts';
import { got, type Steps } from './steps.ts';

/** An entry, or what its response was given, without what it put out. */
export type EntryPart = { readonly entry: EntryRow; readonly inputOnly: boolean };

/** Goes through stretches chunk by chunk, so that whoever has enough can stop. */
export class Walk {
  readonly #rows: ReadRows;
  readonly #tenant: string;
  readonly #order: Order;
  /** What is still to come, in the order of the walk. */
  #rest: readonly Stretch[];

  constructor(rows: ReadRows, tenant: string, stretches: readonly Stretch[], order: Order) {
    this.#rows = rows;
    this.#tenant = tenant;
    this.#order = order;
    this.#rest = stretches.filter(({ from, to }) => from <= to);
  }

  get isAtEnd(): boolean {
    return this.#rest.length === 0;
  }

  /** The next entries that hold items, about `wanted` of them. None: the end. */
  *next(wanted: number): Steps<readonly EntryPart[]> {
    if (this.isAtEnd) return [];
    const { entries, isLast } = yield* got(this.#rows.chunk(this.#tenant, this.#rest, this.#order, wanted));
    const parts = entries.map((entry) => this.#advance(entry));
    if (isLast) this.#rest = [];
    return parts;
  }

  /** Leaves behind what lies before an entry, and the entry itself. */
  #advance(entry: EntryRow): EntryPart {
    const at = this.#rest.findIndex((stretch) => holds(stretch, entry));
    const current = this.#rest[at];
    if (current === undefined) throw new Error('A chunk holds an entry that was not asked for');
    const beyond =
      this.#order === 'asc' ? { ...current, from: entry.position + 1 } : { ...current, to: entry.position - 1 };
    this.#rest = beyond.from <= beyond.to ? [beyond, ...this.#rest.slice(at + 1)] : this.#rest.slice(at + 1);
    return { entry, inputOnly: current.inputOnly };
  }
}

function holds(stretch: Stretch, entry: EntryRow): boolean {
  return stretch.threadId === entry.threadId && stretch.from <= entry.position && entry.position <= stretch.to;
}
