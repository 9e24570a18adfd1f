/** How deep a body may nest. Far beyond any real request, far below what overflows a stack. */
const maxDepth = 256;
/** Values in one body, those in lists and objects counted: the largest input that is accepted has about half as many. */
const maxValues = 1_000_000;
/**
 * Properties in one body, where objects that begin with the same names in the same order share theirs. Each costs the
 * parser some microseconds, the shared ones almost nothing.
 */
const maxProperties = 50_000;

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openList = 0x5b;
const backslash = 0x5c;
const closeList = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;

/** Bytes of a string that are looked at one by one; `indexOf` skips the rest natively, but costs more to call. */
const shortString = 64;
/** A body below this is too short for that many properties: it is not worth the memory to count them. */
const countedFromBytes = maxProperties * '"":0,'.length;
/** By byte: 1 for those above, but for the backslash. */
const isOfInterest = new Uint8Array(256);
for (const byte of [quote, comma, colon, openList, closeList, openObject, closeObject]) isOfInterest[byte] = 1;
const rowBits = 20;
/** So that nobody can choose names that look alike to `mix`. */
const secret = Math.trunc(Math.random() * 2 ** 32) | 0;

/** What is known of a JSON text before it is parsed. */
export type LookedOver = {
  /** What makes it too costly to parse, as the end of a sentence; undefined where nothing does. */
  readonly excess: string | undefined;
  /** Whether a name has a backslash. Few have: `parseJson` needs to know. */
  readonly hasEscapedNames: boolean;
};

/**
 * Looks a JSON text over. Parsing holds up everybody, and these bytes decide for how long. It judges no syntax: what is
 * no JSON may pass.
 */
export function lookOver(bytes: Buffer): LookedOver {
  return new Bounds(bytes).lookOver();
}

class Bounds {
  readonly #bytes: Buffer;
  readonly #counts: boolean;
  /** By depth: the names so far of the object that is open there. */
  readonly #names: Int32Array;
  /** A bit for each list of names that was there before. */
  readonly #seen: Uint8Array;
  #properties = 0;
  /** Tells the last string from others. Undefined: it is long, and counts as a new one. */
  #lastString: number | undefined;
  /** Whether the last string has a backslash, or is long: those are searched to their end only where they are names. */
  #mayBeEscaped = false;
  /** Where the last string is, if it is long; else -1. Stale where it can't be escaped. */
  #longStart = -1;
  #longEnd = -1;
  #hasEscapedNames = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#counts = bytes.length >= countedFromBytes;
    this.#names = new Int32Array(this.#counts ? maxDepth + 1 : 0);
    this.#seen = new Uint8Array(this.#counts ? 1 << (rowBits - 3) : 0);
  }

  lookOver(): LookedOver {
    const excess = this.#excess();
    return { excess, hasEscapedNames: this.#hasEscapedNames };
  }

  #excess(): string | undefined {
    const bytes = this.#bytes;
    let depth = 0;
    let values = 0;
    for (let at = nextOfInterest(bytes, 0); at < bytes.length; at = nextOfInterest(bytes, at + 1)) {
      const byte = bytes[at];
      if (byte === quote) {
        at = this.#endOfString(at);
      } else if (byte === comma) {
        values += 1;
      } else if (byte === openList || byte === openObject) {
        values += 1;
        depth += 1;
        if (depth > maxDepth) return `nests deeper than ${maxDepth} levels`;
        if (this.#counts) this.#names[depth] = secret;
      } else if (byte === closeList || byte === closeObject) {
        depth = Math.max(0, depth - 1);
      } else if (byte === colon) {
        if (this.#mayBeEscaped) this.#noteEscape();
        if (this.#counts) this.#countProperty(depth);
        if (this.#properties > maxProperties) return `has more than ${maxProperties} different properties`;
      }
      if (values > maxValues) return `has more than ${maxValues} values`;
    }
    return undefined;
  }

  /** The string before a colon is a name. A further colon finds nothing left to search. */
  #noteEscape(): void {
    this.#mayBeEscaped = false;
    const start = this.#longStart;
    if (start === -1 || this.#bytes.subarray(start, this.#longEnd).includes(backslash)) this.#hasEscapedNames = true;
  }

  /** The string before a colon is a name. */
  #countProperty(depth: number): void {
    const names = mix(this.#names[depth] ?? 0, this.#lastString ?? this.#properties);
    this.#names[depth] = names;
    const row = names >>> (32 - rowBits);
    const bit = 1 << (row & 7);
    const before = this.#seen[row >> 3] ?? 0;
    if ((before & bit) !== 0 && this.#lastString !== undefined) return;
    this.#seen[row >> 3] = before | bit;
    this.#properties += 1;
  }

  /** Index of the closing quote. */
  #endOfString(start: number): number {
    const bytes = this.#bytes;
    const stop = Math.min(start + 1 + shortString, bytes.length);
    let hash = secret;
    let isEscaped = false;
    let at = start + 1;
    for (; at < stop; at++) {
      let byte = bytes[at] ?? 0;
      if (byte === quote) {
        this.#lastString = hash;
        this.#mayBeEscaped = isEscaped;
        if (isEscaped) this.#longStart = -1;
        return at;
      }
      // With the backslash: an escaped letter is not that letter.
      if (byte === backslash) {
        isEscaped = true;
        at += 1;
        byte = 256 + (bytes[at] ?? 0);
      }
      if (this.#counts) hash = mix(hash, byte);
    }
    this.#lastString = undefined;
    this.#mayBeEscaped = true;
    this.#longStart = start;
    this.#longEnd = endOfLong(bytes, at);
    return this.#longEnd;
  }
}

/** Index of the closing quote, from within a string. Every byte is looked at a few times at most. */
function endOfLong(bytes: Buffer, from: number): number {
  let at = from;
  for (;;) {
    const end = bytes.indexOf(quote, at);
    if (end === -1) return bytes.length;
    if ((end - firstOfSlashes(bytes, end, at)) % 2 === 0) return end;
    at = end + 1;
  }
}

/** Where the next byte stands that opens, closes or parts something: most of the others are digits or white space. */
function nextOfInterest(bytes: Buffer, from: number): number {
  let at = from;
  while (at < bytes.length && isOfInterest[bytes[at] ?? 0] === 0) at += 1;
  return at;
}

/** Where the backslashes before `end` begin, not before `from`. */
function firstOfSlashes(bytes: Buffer, end: number, from: number): number {
  let at = end;
  while (at > from && bytes[at - 1] === backslash) at -= 1;
  return at;
}

function mix(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
