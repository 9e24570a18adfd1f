import type { JsonObject } from '../../api/primitives.ts';
import type { ModelSink } from '../../model.ts';
import type { Replay } from '../profiles.ts';
import { isObject, objectsIn } from '../upstream/loose.ts';

/** Texts of `reasoning_details` that come in pieces. What is encrypted comes whole. */
const pieced = ['text', 'summary'] as const;

/**
 * What a provider wants to have back of what it thought, told when the thought is over: OpenRouter's details, joined to
 * the entries that they are pieces of; else a mark that the reasoning text is this provider's own.
 */
export class Thoughts {
  readonly #replay: Replay;
  readonly #emit: ModelSink;
  readonly #details: Record<string, unknown>[] = [];
  #isOpen = false;

  constructor(replay: Replay, emit: ModelSink) {
    this.#replay = replay;
    this.#emit = emit;
  }

  say(delta: string, isSummary = false): void {
    if (delta === '') return;
    this.#isOpen = true;
    this.#emit(isSummary ? { type: 'reasoning', delta, summary: { part: 0 } } : { type: 'reasoning', delta });
  }

  /** @param whole whether these are all, each an entry of its own. */
  keep(details: unknown, whole: boolean): void {
    if (this.#replay.when === 'never' || this.#replay.as !== 'details') return;
    for (const detail of objectsIn(details)) {
      const last = this.#details.at(-1);
      if (whole || last === undefined || !continues(last, detail)) this.#details.push({ ...detail });
      else join(last, detail);
    }
  }

  /** Something else begins, or the answer ends. */
  settle(): void {
    const isOpen = this.#isOpen;
    this.#isOpen = false;
    if (this.#details.length > 0) {
      this.#emit({ type: 'provider_data', data: { reasoning_details: this.#details.splice(0) } });
    } else if (isOpen && this.#replay.when !== 'never') {
      this.#emit({ type: 'provider_data', data: {} });
    }
  }
}

/** The text of reasoning details, where the message has no field with it. */
export function textOfDetails(details: unknown): string {
  return objectsIn(details)
    .map((detail) => pieced.map((field) => detail[field]).find((text) => typeof text === 'string') ?? '')
    .join('');
}

export function areSummaries(details: unknown): boolean {
  const all = objectsIn(details);
  return all.length > 0 && all.every(({ type }) => type === 'reasoning.summary');
}

/** The details that a provider said earlier. */
export function detailsOf(data: JsonObject): readonly unknown[] {
  const details = isObject(data) ? data['reasoning_details'] : undefined;
  return Array.isArray(details) ? details : [];
}

function continues(last: JsonObject, detail: JsonObject): boolean {
  if (last['type'] !== detail['type'] || last['index'] !== detail['index']) return false;
  // A signature ends an entry; a piece that brings nothing but the signature belongs to it.
  if (typeof last['signature'] === 'string' && pieced.some((field) => detail[field] != null)) return false;
  return pieced.some((field) => typeof last[field] === 'string');
}

function join(last: Record<string, unknown>, detail: JsonObject): void {
  for (const [name, value] of Object.entries(detail)) {
    if (value == null) continue;
    const isText = pieced.some((field) => field === name) && typeof value === 'string';
    last[name] = isText && typeof last[name] === 'string' ? last[name] + value : value;
  }
}
