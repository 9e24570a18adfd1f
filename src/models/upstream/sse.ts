import { StringDecoder } from 'node:string_decoder';

const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const byteOrderMark = 0xfeff;
const firstNonAscii = 0x80;

/**
 * Server-sent events, bytes in and the `data` of each event out, however the bytes are cut: lines end in LF, CRLF or
 * CR, comments and other fields are skipped, several `data` lines of an event are joined by LF (WHATWG HTML, 9.2).
 * Holds at most one unfinished event, of at most `maxEventChars` UTF-16 units.
 */
export class SseDecoder {
  readonly #onData: (data: string) => void;
  readonly #maxEventChars: number;
  readonly #utf8 = new StringDecoder('utf8');
  /** The line that has no end yet. Grows as a rope and is made flat once, when its end arrives. */
  #line = '';
  #data: string | undefined;
  #first = true;
  /** Whether the last piece ended in a whole character for certain. */
  #isWhole = true;
  /** The last piece ended in CR: an LF that opens the next one belongs to it. */
  #skipLineFeed = false;

  constructor(onData: (data: string) => void, maxEventChars: number) {
    this.#onData = onData;
    this.#maxEventChars = maxEventChars;
  }

  /** Takes a piece. False: an event grew past the limit, and nothing more can be read. */
  feed(bytes: Buffer): boolean {
    const text = this.#decode(bytes);
    if (text === '') return true;
    let at = this.#skip(text);
    let nextLf = text.indexOf('\n', at);
    let nextCr = text.indexOf('\r', at);
    while (nextLf !== -1 || nextCr !== -1) {
      const end = nextCr !== -1 && (nextLf === -1 || nextCr < nextLf) ? nextCr : nextLf;
      const line = text.slice(at, end);
      this.#takeLine(this.#line === '' ? line : this.#line + line);
      this.#line = '';
      if (this.#tooLong()) return false;
      at = end + 1;
      if (end === nextCr) {
        if (at === text.length) this.#skipLineFeed = true;
        else if (text.charCodeAt(at) === lineFeed) at += 1;
        nextCr = text.indexOf('\r', at);
      }
      if (nextLf !== -1 && nextLf < at) nextLf = text.indexOf('\n', at);
    }
    if (at < text.length) this.#line += at === 0 ? text : text.slice(at);
    return !this.#tooLong();
  }

  /**
   * The end of the bytes: the `data` of an event that lacks its closing blank line, which the standard would drop. Some
   * servers end with such a `[DONE]`; what a broken connection left looks the same, so the caller must look.
   */
  end(): string | undefined {
    const rest = this.#line + this.#utf8.end();
    this.#line = '';
    if (rest !== '') this.#takeLine(rest);
    const data = this.#data;
    this.#data = undefined;
    return data;
  }

  /** A piece that ends in ASCII, behind one that did, holds whole characters: nearly all do, and need no decoder's memory. */
  #decode(bytes: Buffer): string {
    const isWhole = (bytes.at(-1) ?? firstNonAscii) < firstNonAscii;
    const text = isWhole && this.#isWhole ? bytes.toString() : this.#utf8.write(bytes);
    this.#isWhole = isWhole;
    return text;
  }

  #skip(text: string): number {
    let at = 0;
    if (this.#first) {
      this.#first = false;
      if (text.charCodeAt(0) === byteOrderMark) at = 1;
    }
    if (this.#skipLineFeed) {
      this.#skipLineFeed = false;
      if (text.charCodeAt(at) === lineFeed) at += 1;
    }
    return at;
  }

  #takeLine(line: string): void {
    if (line === '') {
      const data = this.#data;
      if (data === undefined) return;
      this.#data = undefined;
      this.#onData(data);
    } else if (line.startsWith('data:')) {
      const value = line.slice(line.charCodeAt(5) === space ? 6 : 5);
      this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
    } else if (line === 'data') {
      this.#data = this.#data === undefined ? '' : `${this.#data}\n`;
    }
  }

  #tooLong(): boolean {
    return this.#line.length + (this.#data?.length ?? 0) > this.#maxEventChars;
  }
}

/** Whether a body of no declared kind begins as server-sent events, a JSON object or a page. Undefined: only spaces yet. */
export function sniff(bytes: Buffer): 'sse' | 'json' | 'html' | undefined {
  for (const byte of bytes) {
    if (byte === space || byte === lineFeed || byte === carriageReturn || byte === 9) continue;
    if (byte === 0x7b || byte === 0x5b) return 'json';
    return byte === 0x3c ? 'html' : 'sse';
  }
  return undefined;
}
