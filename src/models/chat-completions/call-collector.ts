import type { ModelSink } from '../../model.ts';
import { isObject, type Loose, nonEmpty, parsed } from '../upstream/loose.ts';
import { type OfferedTools, unwrapInput } from '../upstream/offered-tools.ts';

/** Calls in one answer. Vendors allow 128 functions; nobody means to call a thousand at once. */
const maxCalls = 1_000;

type Call = {
  readonly index: number;
  id: string | undefined;
  /** As the upstream says it. Undefined until a fragment names the tool; its arguments wait until then. */
  name: string | undefined;
  /**
   * What the arguments are: a function's, told as they come; a custom tool's input, as it is; or the arguments of a
   * function that stands for a custom tool, which are told when they are whole.
   */
  form: 'arguments' | 'input' | 'wrapped';
  arguments: string;
  isClosed: boolean;
};

export type CollectorOptions = {
  readonly tools: OfferedTools;
  /** Whether `extra_content` of calls must come back. */
  readonly keepsData: boolean;
  readonly emit: ModelSink;
  /** Told before a call is, as it ends what was being said. */
  readonly beforeCall: () => void;
  readonly fail: (what: string) => void;
};

/**
 * Puts the calls of an answer together from their fragments. What it collects (arguments, to check them) is bounded by
 * the bound on the whole answer.
 */
export class CallCollector {
  readonly #options: CollectorOptions;
  readonly #calls: Call[] = [];
  readonly #byIndex = new Map<number, Call>();
  readonly #byId = new Map<string, Call>();

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /** A fragment of a call, or with `whole` all of it. */
  take(fragment: Loose, whole: boolean): void {
    const isNative = isObject(fragment['custom']);
    const described = isNative ? fragment['custom'] : fragment['function'];
    const { name: named, arguments: args, input } = isObject(described) ? described : {};
    const name = nonEmpty(named);
    const id = nonEmpty(fragment['id']);
    const delta = textOf(isNative ? input : args);
    const known = whole ? undefined : this.#find(fragment['index'], id, name, delta);
    const call = known ?? this.#open(fragment['index']);
    if (call === undefined || call.isClosed) return;
    this.#identify(call, id);
    if (call.name === undefined && name !== undefined) this.#name(call, name, isNative, fragment['extra_content']);
    if (delta === '') return;
    call.arguments += delta;
    if (call.name !== undefined && call.form !== 'wrapped') this.#tell(call, delta);
  }

  /**
   * The model has ended. Calls that were not cut short must be usable: named, and with arguments that are JSON. What
   * comes to them later is skipped.
   */
  close(isCut: boolean): void {
    for (const call of this.#calls) {
      if (call.isClosed) continue;
      call.isClosed = true;
      if (call.name === undefined) {
        if (!isCut) this.#options.fail('called a function without naming it');
      } else if (call.form === 'wrapped') {
        this.#tell(call, isCut ? unwrapPart(call.arguments) : unwrapInput(call.arguments));
      } else if (call.form === 'input' || isCut) {
        // As it is.
      } else if (call.arguments.trim() === '') {
        this.#tell(call, '{}');
      } else if (parsed(call.arguments) === undefined) {
        this.#options.fail(`called the function \`${call.name}\` with arguments that are not valid JSON`);
      }
    }
  }

  #tell(call: Call, delta: string): void {
    if (delta !== '') this.#options.emit({ type: 'tool_arguments', index: call.index, delta });
  }

  #name(call: Call, name: string, isNative: boolean, data: unknown): void {
    const { tools, emit, keepsData, beforeCall } = this.#options;
    const tool = tools.named(name, undefined);
    const isCustom = isNative || tool.isCustom;
    call.name = name;
    if (isCustom) call.form = isNative ? 'input' : 'wrapped';
    beforeCall();
    if (keepsData && isObject(data)) emit({ type: 'provider_data', data: { extra_content: data } });
    emit({
      type: 'tool_call',
      index: call.index,
      callId: call.id,
      name: tool.name,
      ...(tool.namespace !== undefined && { namespace: tool.namespace }),
      ...(isCustom && { kind: 'custom' }),
    });
    // Arguments that came before the name.
    if (call.form !== 'wrapped') this.#tell(call, call.arguments);
  }

  /**
   * The call that a fragment continues. Some vendors leave `index` out: then the id decides, then whether a name begins
   * a new call. Some give every parallel call index 0: a name with another id is another call, and so is one without an
   * id where the arguments of the call before are whole. A new id alone is not, as some make one up for each fragment.
   */
  #find(index: unknown, id: string | undefined, name: string | undefined, delta: string): Call | undefined {
    if (typeof index === 'number') {
      const call = this.#byIndex.get(index);
      if (call?.name === undefined || name === undefined) return call;
      if (id !== undefined) return call.id !== undefined && id !== call.id ? undefined : call;
      return delta !== '' && call.form === 'arguments' && parsed(call.arguments) !== undefined ? undefined : call;
    }
    const same = id === undefined ? undefined : this.#byId.get(id);
    if (same !== undefined) return same;
    return name === undefined ? this.#calls.at(-1) : undefined;
  }

  #identify(call: Call, id: string | undefined): void {
    if (id === undefined || call.id !== undefined) return;
    call.id = id;
    this.#byId.set(id, call);
  }

  #open(index: unknown): Call | undefined {
    if (this.#calls.length >= maxCalls) {
      this.#options.fail(`called more than ${maxCalls} functions in one answer`);
      return undefined;
    }
    const call: Call = {
      index: this.#calls.length,
      id: undefined,
      name: undefined,
      form: 'arguments',
      arguments: '',
      isClosed: false,
    };
    this.#calls.push(call);
    if (typeof index === 'number') this.#byIndex.set(index, call);
    return call;
  }
}

/** Some vendors send the arguments as an object. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : '';
}

/** What is there of a custom tool's input in arguments that broke off. */
function unwrapPart(text: string): string {
  const whole = parsed(text) ?? parsed(`${text}"}`);
  return whole === undefined ? text : unwrapInput(JSON.stringify(whole));
}
