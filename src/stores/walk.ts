import type { EntryPlace } from '../store.ts';
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
  /** What it passed without finding an entry that holds items. */
  readonly #gaps: Stretch[] = [];
  /** The threads that it found entries of. */
  readonly #found = new Set<string>();
  /** Those that were certainly there when the last chunk was read. */
  #proven: ReadonlySet<string> = new Set();

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
    const chunk = yield* got(this.#rows.chunk(this.#tenant, this.#rest, this.#order, wanted));
    const { entries, isLast, provesThreads } = chunk;
    const parts = entries.map((entry) => this.#advance(entry));
    if (isLast) {
      for (const passed of this.#rest) this.#gaps.push(passed);
      this.#rest = [];
    }
    this.#proven = new Set(provesThreads ? entries.map(({ threadId }) => threadId) : []);
    return parts;
  }

  hasFound(threadId: string): boolean {
    return this.#found.has(threadId);
  }

  /** Whether it passed a place where it found nothing. */
  lacks({ threadId, position }: EntryPlace): boolean {
    return this.#gaps.some((gap) => gap.threadId === threadId && gap.from <= position && position <= gap.to);
  }

  /**
   * Whether a thread may have been removed while the walk went through it. Where nothing lacks it does not matter: that is
   * how it was before.
   */
  doubts(threadId: string): boolean {
    return !this.#proven.has(threadId) && this.#gaps.some((gap) => gap.threadId === threadId);
  }

  /** Leaves behind what lies before an entry, and the entry itself. */
  #advance(entry: EntryRow): EntryPart {
    const at = this.#rest.findIndex((stretch) => holds(stretch, entry));
    const current = this.#rest[at];
    if (current === undefined) throw new Error('A chunk holds an entry that was not asked for');
    const [below, above] = [
      { ...current, to: entry.position - 1 },
      { ...current, from: entry.position + 1 },
    ];
    const [passed, beyond] = this.#order === 'asc' ? [below, above] : [above, below];
    for (const gap of [...this.#rest.slice(0, at), passed]) if (gap.from <= gap.to) this.#gaps.push(gap);
    this.#found.add(entry.threadId);
    this.#rest = beyond.from <= beyond.to ? [beyond, ...this.#rest.slice(at + 1)] : this.#rest.slice(at + 1);
    return { entry, inputOnly: current.inputOnly };
  }
}

function holds(stretch: Stretch, entry: EntryRow): boolean {
  return stretch.threadId === entry.threadId && stretch.from <= entry.position && entry.position <= stretch.to;
}
