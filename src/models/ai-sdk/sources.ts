import type { JsonObject } from '../../api/primitives.ts';
import { count, isObject, type Loose, nonEmpty } from '../upstream/loose.ts';

/** Sources of one answer that are told. */
const maxSources = 1_000;

/**
 * The sources of a text as annotations. Some vendors say which words a source is for, with the end of the text; some only
 * name what they have read, before the text or after it: that stands at the end of the text, once each.
 */
export class Sources {
  readonly #annotate: (annotation: JsonObject) => void;
  readonly #told = new Set<string>();
  #waiting: Loose[] = [];

  constructor(annotate: (annotation: JsonObject) => void) {
    this.#annotate = annotate;
  }

  /** @param at where the text that is being said has come to; undefined where none is. */
  take(source: Loose, at: number | undefined): void {
    if (this.#told.size + this.#waiting.length >= maxSources) return;
    if (at === undefined) this.#waiting.push(source);
    else this.#tell(source, at, at);
  }

  /** A block of the text has ended. */
  close(citations: readonly Loose[], blockStart: number, textEnd: number): void {
    for (const { source, startIndex, endIndex } of citations) {
      if (!isObject(source)) continue;
      const from = typeof startIndex === 'number' ? blockStart + count(startIndex) : blockStart;
      const to = typeof endIndex === 'number' ? blockStart + count(endIndex) : textEnd;
      if (from <= to && to <= textEnd) this.#tell(source, from, to, true);
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const source of waiting) this.#tell(source, textEnd, textEnd);
  }

  #tell(source: Loose, startIndex: number, endIndex: number, again = false): void {
    const url = nonEmpty(source['url']);
    if (source['sourceType'] !== 'url' || url === undefined || this.#told.size >= maxSources) return;
    if (this.#told.has(url) && !again) return;
    this.#told.add(url);
    const title = nonEmpty(source['title']) ?? url;
    this.#annotate({ type: 'url_citation', url, title, start_index: startIndex, end_index: endIndex });
  }
}
