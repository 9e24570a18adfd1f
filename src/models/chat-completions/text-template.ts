const quote = 34;
const backslash = 92;
const firstPrintable = 32;
/** Chunks that may fail to fit before a stream is taken for one that repeats nothing. */
const maxMisses = 4;
/** Stands for the text while a template is checked. Any string that needs no escape would do. */
const probe = 'open-responses probe';

/**
 * Reads the text out of a chunk that differs from an earlier one in nothing but its text, without parsing it: in most
 * streams that is nearly all of them, and parsing them is most of what a stream costs. Where the bytes before and after
 * a JSON string are the same, and the string holds no quote, backslash or control character, the rest of the document
 * is the same too; anything else is left to `JSON.parse`.
 */
export class TextTemplate {
  #before: string | undefined;
  #after = '';
  #misses = 0;

  /** The chunk's text, or undefined where it must be parsed. Never empty. */
  read(chunk: string): string | undefined {
    const before = this.#before;
    if (before === undefined) return undefined;
    const after = this.#after;
    const end = chunk.length - after.length;
    if (end <= before.length) return undefined;
    // Comparing slices is several times as fast as `startsWith` and `endsWith`.
    if (chunk.slice(0, before.length) !== before || chunk.slice(end) !== after) return undefined;
    for (let at = before.length; at < end; at += 1) {
      const code = chunk.charCodeAt(at);
      if (code === quote || code === backslash || code < firstPrintable) return undefined;
    }
    return chunk.slice(before.length, end);
  }

  /** Learns from a parsed chunk that held nothing but this text. `textIn` finds the text of a parsed chunk. */
  learn(chunk: string, text: string, textIn: (parsed: unknown) => unknown): void {
    if (this.#misses >= maxMisses) return;
    this.#misses += 1;
    const key = '"content":"';
    const found = chunk.indexOf(`${key}${text}"`);
    if (text === '' || found === -1) return;
    const before = chunk.slice(0, found + key.length);
    const after = chunk.slice(before.length + text.length);
    // The same words may stand elsewhere in the chunk: only a parser can tell whether this is the place.
    if (textIn(JSON.parse(before + probe + after)) !== probe) return;
    // Copied: a slice would keep all that was read with it, and is slow to compare.
    this.#before = Buffer.from(before).toString();
    this.#after = Buffer.from(after).toString();
  }
}
