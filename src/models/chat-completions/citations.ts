import type { JsonObject } from '../../api/primitives.ts';
import { count, isObject, type Loose, nonEmpty, objectsIn } from '../upstream/loose.ts';

/** Annotations of one text: as many as a client may send back. */
const maxAnnotations = 1_000;

type Cited = { readonly url: string; readonly title: string; readonly range: readonly [number, number] | undefined };

/**
 * What an answer's text is based on, in the forms that vendors have for it: `annotations` of the message (OpenAI,
 * OpenRouter), and lists beside the choices, `citations` and `search_results` (xAI, Perplexity), which say nothing about
 * places and come again with every chunk. They wait until the text is there that they belong to.
 */
export class Citations {
  readonly #waiting: Cited[] = [];
  readonly #listed = new Map<string, Cited>();
  #count = 0;

  /** Those of a message, in whole or of a chunk. */
  take(annotations: unknown): void {
    for (const annotation of objectsIn(annotations)) {
      const cited = annotation['url_citation'];
      // Flat, as in the Responses API, or one level down.
      const found = toCited(isObject(cited) ? cited : annotation['type'] === 'url_citation' ? annotation : {});
      if (found !== undefined) this.#waiting.push(found);
    }
  }

  /** Those of the whole answer. */
  takeLists(message: Loose): void {
    for (const list of [message['search_results'], message['citations']]) {
      if (!Array.isArray(list)) continue;
      for (const each of list) {
        const found = toCited(isObject(each) ? each : { url: each });
        if (found !== undefined && !this.#listed.has(found.url)) this.#listed.set(found.url, found);
      }
    }
  }

  /** What waits for a text of this length; with `all`, also what belongs to the text as a whole. */
  ready(length: number, all: boolean): JsonObject[] {
    if (all) {
      this.#waiting.push(...this.#listed.values());
      this.#listed.clear();
    }
    if (this.#waiting.length === 0) return [];
    const room = maxAnnotations - this.#count;
    const ready = this.#waiting.splice(0).slice(0, Math.max(room, 0));
    this.#count += ready.length;
    return ready.map(({ url, title, range: [start, end] = [length, length] }) => {
      return { type: 'url_citation', url, title, start_index: start, end_index: end };
    });
  }
}

/** Whether a chunk cites anything beside its text. */
export function citesBeside(chunk: Loose, delta: Loose): boolean {
  return delta['annotations'] != null || chunk['citations'] != null || chunk['search_results'] != null;
}

function toCited(value: Loose): Cited | undefined {
  const url = nonEmpty(value['url']);
  if (url === undefined) return undefined;
  const { start_index: start, end_index: end } = value;
  const isPlaced = typeof start === 'number' && typeof end === 'number' && end >= start;
  return { url, title: nonEmpty(value['title']) ?? url, range: isPlaced ? [count(start), count(end)] : undefined };
}
