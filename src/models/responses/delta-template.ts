import { isObject, parsed } from '../upstream/loose.ts';

const quote = 34;
const backslash = 92;
const firstPrintable = 32;
const zero = 48;
const nine = 57;
/** Of a number that is surely read as it is written. */
const maxDigits = 15;
/** Events that may fail to fit before a stream is taken for one that repeats nothing. */
const maxMisses = 4;
/** Events that are learnt from in one answer: every message has another id. */
const maxLessons = 64;

/** Stand for the values while a template is checked. Any that need no escape would do. */
const probes = {
  delta: 'open-responses probe',
  sequence_number: 987_654_321,
  obfuscation: 'open-responses padding',
};

type Field = keyof typeof probes;

type Slot = { readonly field: Field; readonly start: number; readonly end: number };

/**
 * Reads the text out of an event that differs from an earlier one in nothing but its text, its number and its padding,
 * without parsing it: in most streams that is nearly all of them, and parsing them is most of what a stream costs. Where
 * all that lies between JSON strings and numbers is the same, a string holds no quote, backslash or control character,
 * and a number is one, the rest of the document is the same too; anything else is left to `JSON.parse`.
 */
export class DeltaTemplate {
  /** What stands before each slot, and behind the last. */
  #literals: readonly string[] | undefined;
  #fields: readonly Field[] = [];
  #misses = 0;
  #lessons = 0;

  /** The event's text, or undefined where it must be parsed. Never empty. */
  read(event: string): string | undefined {
    const literals = this.#literals;
    if (literals === undefined) return undefined;
    const fields = this.#fields;
    let at = 0;
    let text = '';
    for (let index = 0; index < fields.length; index += 1) {
      const literal = literals[index] ?? '';
      const start = at + literal.length;
      // Comparing slices is several times as fast as `startsWith`.
      if (event.slice(at, start) !== literal) return undefined;
      const field = fields[index];
      at = field === 'sequence_number' ? endOfNumber(event, start) : endOfString(event, start);
      if (at === -1) return undefined;
      if (field === 'delta') text = event.slice(start, at);
    }
    if (text === '' || event.slice(at) !== literals[fields.length]) return undefined;
    return text;
  }

  /** What comes next belongs to another item. */
  forget(): void {
    this.#literals = undefined;
    this.#misses = 0;
  }

  /** Learns from an event that did nothing but bring a text. `value` is what `event` says. */
  learn(event: string, value: { readonly [field: string]: unknown }): void {
    if (this.#misses >= maxMisses || this.#lessons >= maxLessons) return;
    this.#misses += 1;
    this.#lessons += 1;
    this.#literals = undefined;
    const slots = slotsIn(event, value);
    if (slots === undefined) return;
    const literals: string[] = [];
    let at = 0;
    for (const { start, end } of slots) {
      literals.push(event.slice(at, start));
      at = end;
    }
    literals.push(event.slice(at));
    const fields = slots.map(({ field }) => field);
    // The same words may stand elsewhere in the event: only a parser can tell whether these are the places.
    const probe = parsed(literals.map((literal, index) => literal + (probes[fields[index] as Field] ?? '')).join(''));
    if (!isObject(probe) || fields.some((field) => probe[field] !== probes[field])) return;
    // Copied: slices would keep all that was read with them, and are slow to compare.
    this.#literals = literals.map((literal) => Buffer.from(literal).toString());
    this.#fields = fields;
  }
}

/** Where the values of an event stand that change from one to the next, in order. Undefined where the text is not found. */
function slotsIn(event: string, value: { readonly [field: string]: unknown }): Slot[] | undefined {
  const slots: Slot[] = [];
  for (const field of ['delta', 'sequence_number', 'obfuscation'] as const) {
    const known = value[field];
    if (known === undefined) continue;
    const slot = slotOf(event, field, known);
    if (slot === undefined) return undefined;
    slots.push(slot);
  }
  slots.sort((one, other) => one.start - other.start);
  const overlap = slots.some(({ start }, index) => index > 0 && start < (slots[index - 1]?.end ?? 0));
  return overlap || value['delta'] === undefined ? undefined : slots;
}

function slotOf(event: string, field: Field, value: unknown): Slot | undefined {
  const written = typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
  if (written === undefined || written === '' || typeof value !== typeof probes[field]) return undefined;
  const mark = typeof value === 'string' ? '"' : '';
  for (const space of ['', ' ']) {
    const before = `"${field}":${space}${mark}`;
    const found = event.indexOf(before + written + mark);
    if (found === -1) continue;
    const start = found + before.length;
    return { field, start, end: start + written.length };
  }
  return undefined;
}

/** Where a JSON string ends that begins here and needs no unescaping; else -1. */
function endOfString(text: string, start: number): number {
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === quote) return at;
    if (code === backslash || code < firstPrintable) return -1;
  }
  return -1;
}

/** Where a whole number ends that begins here; else -1. What follows it is compared by the caller. */
function endOfNumber(text: string, start: number): number {
  let at = start;
  while (at - start <= maxDigits) {
    const code = text.charCodeAt(at);
    if (!(code >= zero && code <= nine)) break;
    at += 1;
  }
  const length = at - start;
  if (length === 0 || length > maxDigits) return -1;
  return length > 1 && text.charCodeAt(start) === zero ? -1 : at;
}
