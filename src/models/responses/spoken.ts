import type { MessagePhase } from '../../api/items.ts';
import type { ModelSink } from '../../model.ts';
import { isObject, type Loose, nonEmpty, objectsIn } from '../upstream/loose.ts';
import { toAnnotation, toLogprobs, toPhase } from './values.ts';

export type SpokenSettings = {
  /** Whether log probabilities were asked for; others are not passed on. */
  readonly logprobs: boolean;
  /** Whether the upstream takes the plain text of its reasoning back: then it is marked as its own. */
  readonly marksReasoning: boolean;
};

/**
 * A message or a reasoning item that an upstream says. What its deltas have brought is not said again by the events that
 * repeat it whole, and what no delta brought is said by those. `speak` is called before it begins: another item may
 * have to end first.
 */
export class SpokenItem {
  readonly kind: 'message' | 'reasoning';
  isDone = false;
  /** Being said: something was emitted, and not its end. */
  isOpen = false;
  readonly #settings: SpokenSettings;
  readonly #speak: () => void;
  readonly #emit: ModelSink;
  /** Parts of which something was said, such as `content 0`. */
  readonly #said = new Set<string>();
  #annotations = 0;
  #phase: MessagePhase | undefined;
  /** The upstream's number of the summary that is being said, and ours. */
  #summaryIndex: number | undefined;
  #summaryPart = -1;

  constructor(kind: 'message' | 'reasoning', settings: SpokenSettings, speak: () => void, emit: ModelSink) {
    this.kind = kind;
    this.#settings = settings;
    this.#speak = speak;
    this.#emit = emit;
  }

  /** The item as it is announced: its content is still to come. */
  announce(item: Loose): void {
    this.#phase ??= toPhase(item['phase']);
  }

  text(index: unknown, delta: string, logprobs: unknown): void {
    const entries = this.#settings.logprobs ? toLogprobs(logprobs) : undefined;
    // A token that is half a character comes with no text, but with its probability.
    if (delta === '' && (entries?.length ?? 0) === 0) return;
    this.#note('content', index);
    this.#emit(entries === undefined ? { type: 'text', delta } : { type: 'text', delta, logprobs: entries });
  }

  refusal(index: unknown, delta: string): void {
    if (delta === '') return;
    this.#note('content', index);
    this.#emit({ type: 'refusal', delta });
  }

  annotation(value: unknown): void {
    const annotation = toAnnotation(value);
    if (annotation === undefined) return;
    this.#annotations += 1;
    this.#open();
    this.#emit({ type: 'annotation', annotation });
  }

  reasoning(index: unknown, delta: string): void {
    if (delta === '') return;
    this.#note('content', index);
    this.#emit({ type: 'reasoning', delta });
  }

  summary(index: unknown, delta: string): void {
    if (delta === '') return;
    const known = typeof index === 'number' ? index : (this.#summaryIndex ?? 0);
    if (known !== this.#summaryIndex) {
      this.#summaryIndex = known;
      this.#summaryPart += 1;
    }
    this.#note('summary', known);
    this.#emit({ type: 'reasoning', delta, summary: { part: this.#summaryPart } });
  }

  /** A part as its end repeats it: says what no delta said. */
  whole(list: 'content' | 'summary', index: unknown, part: unknown): void {
    if (!isObject(part) || this.#said.has(nameOf(list, index))) return;
    const text = nonEmpty(part['text']);
    if (list === 'summary') this.summary(index, text ?? '');
    else if (this.kind === 'reasoning') this.reasoning(index, text ?? '');
    else if (typeof part['refusal'] === 'string') this.refusal(index, part['refusal']);
    else this.text(index, text ?? '', part['logprobs']);
  }

  /** The item as its end repeats it. */
  done(item: Loose): void {
    if (this.isDone) return;
    this.isDone = true;
    this.announce(item);
    if (this.kind === 'message') this.#messageDone(item);
    else this.#reasoningDone(item);
    // What was cut short is left open: the end of the answer says so.
    if (item['status'] !== 'incomplete') this.end();
  }

  /** It is over, or something else begins. */
  end(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    // What follows an interruption begins another item.
    this.#summaryIndex = undefined;
    this.#summaryPart = -1;
    this.#emit(this.#phase === undefined ? { type: 'spoken_end' } : { type: 'spoken_end', phase: this.#phase });
  }

  #messageDone(item: Loose): void {
    const content = item['content'];
    if (typeof content === 'string') this.whole('content', 0, { text: content });
    let announced = this.#annotations;
    for (const [index, part] of objectsIn(content).entries()) {
      this.whole('content', index, part);
      for (const annotation of objectsIn(part['annotations'])) {
        if (announced > 0) announced -= 1;
        else this.annotation(annotation);
      }
    }
  }

  #reasoningDone(item: Loose): void {
    for (const [index, part] of objectsIn(item['content']).entries()) this.whole('content', index, part);
    for (const [index, part] of objectsIn(item['summary']).entries()) this.whole('summary', index, part);
    const encryptedContent = nonEmpty(item['encrypted_content']);
    if (encryptedContent !== undefined) {
      this.#open();
      this.isOpen = false;
      this.#emit({ type: 'spoken_end', encryptedContent });
    } else if (this.#settings.marksReasoning && this.isOpen) {
      this.#emit({ type: 'provider_data', data: {} });
    }
  }

  #note(list: 'content' | 'summary', index: unknown): void {
    this.#said.add(nameOf(list, index));
    this.#open();
  }

  #open(): void {
    if (!this.isOpen) this.#speak();
    this.isOpen = true;
  }
}

function nameOf(list: string, index: unknown): string {
  return `${list} ${typeof index === 'number' ? index : 0}`;
}
