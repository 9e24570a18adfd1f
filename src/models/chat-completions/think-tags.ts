/** A piece of an answer's text, told apart. */
export type Piece = { readonly kind: 'text' | 'reasoning'; readonly text: string };

/** White space that may stand before the opening tag. */
const maxLeadingSpace = 32;

/**
 * Tells reasoning from the answer where a model puts it into the text itself, in tags: only at the very beginning, as
 * an answer may speak of such tags. The text may be cut anywhere, so that a piece which may yet become a tag waits; never
 * more than a tag and a little white space does. Reasoning whose tag is never closed stays reasoning. White space around
 * the tags belongs to neither side.
 */
export class ThinkTags {
  readonly #names: readonly string[];
  #state: 'start' | 'thinking' | 'after' | 'plain';
  #held = '';
  #close = '';
  #hasThought = false;

  /** @param names of the tags: `think` for `<think>`. */
  constructor(names: readonly string[]) {
    this.#names = names;
    this.#state = names.length === 0 ? 'plain' : 'start';
  }

  /** From here on all is the answer's text, whatever it is: there is no need to look any more. */
  get isPlain(): boolean {
    return this.#state === 'plain';
  }

  /** Whether it is open yet if the answer begins with a tag. */
  get isUndecided(): boolean {
    return this.#state === 'start';
  }

  /** Reasoning came elsewhere: there are no tags. */
  disarm(): void {
    if (this.#state === 'start' && this.#held === '') this.#state = 'plain';
  }

  /** The upstream itself says that reasoning follows. */
  rearm(): void {
    if (this.#state === 'plain' && this.#names.length > 0) this.#state = 'start';
  }

  feed(text: string): Piece[] {
    const pieces: Piece[] = [];
    let rest = this.#held + text;
    this.#held = '';
    while (rest !== '') {
      if (this.#state === 'plain') {
        pieces.push({ kind: 'text', text: rest });
        return pieces;
      }
      if (this.#state === 'start') rest = this.#open(rest);
      else if (this.#state === 'thinking') rest = this.#think(rest, pieces);
      else rest = this.#skipSpace(rest);
      if (this.#held !== '') return pieces;
    }
    return pieces;
  }

  /** The answer has ended: what was kept back is what it looks like. */
  end(): Piece[] {
    const held = this.#held;
    this.#held = '';
    const kind = this.#state === 'thinking' ? 'reasoning' : 'text';
    if (this.#state === 'start') this.#state = 'plain';
    return held === '' ? [] : [{ kind, text: held }];
  }

  #open(text: string): string {
    const start = text.trimStart();
    const isNear = text.length - start.length <= maxLeadingSpace;
    for (const name of isNear ? this.#names : []) {
      const tag = `<${name}>`;
      if (start.startsWith(tag)) {
        this.#state = 'thinking';
        this.#close = `</${name}>`;
        this.#hasThought = false;
        return start.slice(tag.length);
      }
      if (tag.startsWith(start)) {
        this.#held = text;
        return text;
      }
    }
    this.#state = 'plain';
    return text;
  }

  #think(text: string, pieces: Piece[]): string {
    const found = text.indexOf(this.#close);
    const end = found === -1 ? text.length - overlap(text, this.#close) : found;
    const thought = this.#hasThought ? text.slice(0, end) : text.slice(0, end).trimStart();
    if (thought !== '') {
      pieces.push({ kind: 'reasoning', text: thought });
      this.#hasThought = true;
    }
    if (found === -1) {
      this.#held = text.slice(end);
      return '';
    }
    this.#state = 'after';
    return text.slice(found + this.#close.length);
  }

  #skipSpace(text: string): string {
    const rest = text.trimStart();
    if (rest !== '') this.#state = 'plain';
    return rest;
  }
}

/** How much of the end of a text may be the beginning of a tag. */
function overlap(text: string, tag: string): number {
  for (let length = Math.min(tag.length - 1, text.length); length > 0; length -= 1) {
    if (text.endsWith(tag.slice(0, length))) return length;
  }
  return 0;
}
