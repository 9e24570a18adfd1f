import type { ModelSink } from '../../model.ts';
import { isObject, type Loose, nonEmpty, parsed } from '../upstream/loose.ts';
import { type OfferedTools, unwrapInput } from '../upstream/offered-tools.ts';

/** A call of a function or a custom tool that the client runs. */
export class CallItem {
  readonly kind = 'call';
  isDone = false;
  readonly #index: number;
  readonly #isNative: boolean;
  readonly #tools: OfferedTools;
  readonly #emit: ModelSink;
  #name: string | undefined;
  #isCustom = false;
  /** What it is called with: arguments, or a custom tool's input. */
  #given = '';
  #hint: Loose = {};

  /** @param isNative the upstream calls it a custom tool itself. */
  constructor(index: number, isNative: boolean, tools: OfferedTools, emit: ModelSink) {
    this.#index = index;
    this.#isNative = isNative;
    this.#isCustom = isNative;
    this.#tools = tools;
    this.#emit = emit;
  }

  /** Opens the call, as soon as its name is known. What it is called with comes in events of its own. */
  announce(item: Loose): void {
    const name = nonEmpty(item['name']);
    if (this.#name !== undefined || name === undefined) return;
    const tool = this.#tools.named(name, nonEmpty(item['namespace']));
    this.#name = tool.name;
    this.#isCustom = this.#isNative || tool.isCustom;
    this.#emit({
      type: 'tool_call',
      index: this.#index,
      callId: nonEmpty(item['call_id']),
      name: tool.name,
      ...(tool.namespace !== undefined && { namespace: tool.namespace }),
      ...(this.#isCustom && { kind: 'custom' }),
    });
    if (this.#isStreamed() && this.#given !== '') this.#tell(this.#given);
  }

  /** An event that may name the call, where nothing else does. */
  hint(event: Loose): void {
    if (this.#name === undefined && nonEmpty(event['name']) !== undefined) this.#hint = event;
  }

  delta(delta: unknown): void {
    if (this.isDone || typeof delta !== 'string' || delta === '') return;
    this.#given += delta;
    if (this.#isStreamed()) this.#tell(delta);
  }

  /** What it is called with, whole: counts where no delta came. */
  whole(given: unknown): void {
    if (this.#given !== '') return;
    // Some servers send the arguments as an object.
    this.delta(isObject(given) ? JSON.stringify(given) : given);
  }

  done(item: Loose): void {
    if (this.isDone) return;
    this.announce(item);
    this.whole(this.#isNative ? item['input'] : item['arguments']);
    this.#finish();
  }

  /** The end of an answer that was not cut short: the call must be usable. Undefined: it is; else why not. */
  close(): string | undefined {
    this.announce(this.#hint);
    if (this.#name === undefined) return 'called a tool without naming it';
    if (this.#isCustom) {
      if (!this.isDone) this.#finish();
      return undefined;
    }
    if (this.#given.trim() === '') {
      this.#tell('{}');
      return undefined;
    }
    if (parsed(this.#given) !== undefined) return undefined;
    return `called the function \`${this.#name}\` with arguments that are not valid JSON`;
  }

  /** Of a function that stands for a custom tool only the whole can be read. */
  #isStreamed(): boolean {
    return this.#name !== undefined && this.#isCustom === this.#isNative;
  }

  #finish(): void {
    this.isDone = true;
    if (this.#name === undefined || this.#isStreamed()) return;
    const input = unwrapInput(this.#given);
    if (input !== '') this.#tell(input);
  }

  #tell(delta: string): void {
    this.#emit({ type: 'tool_arguments', index: this.#index, delta });
  }
}
