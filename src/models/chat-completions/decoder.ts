import type { LogProb } from '../../api/parts.ts';
import type { Usage } from '../../api/response.ts';
import { ApiError } from '../../errors.ts';
import type { ModelEnd, ModelSink } from '../../model.ts';
import { TextTemplate } from './text-template.ts';

/** What an upstream sends: nothing in it is believed before it has been looked at. */
type Loose = { readonly [field: string]: unknown };

/** Calls in one answer. Vendors allow 128 functions; nobody means to call a thousand at once. */
const maxCalls = 1_000;

type Call = {
  readonly index: number;
  id: string | undefined;
  /** Undefined until a fragment names the function; its arguments wait until then. */
  name: string | undefined;
  arguments: string;
};

export type DecoderSettings = {
  readonly provider: string;
  readonly reasoningFields: readonly string[];
  /** Whether log probabilities were asked for; others are not passed on. */
  readonly logprobs: boolean;
  /** Turns an `error` object in an answer into what a client may see. */
  readonly reportedError: (error: unknown) => ApiError;
};

/**
 * Chat completions in, model events out: the chunks of a stream, or one whole answer. Emits everything but `start` and
 * `end`; the latter is what `close` returns. Only the first choice counts. What it collects (the arguments of calls, to
 * check them) is bounded by the bound on the whole answer.
 */
export class ChatDecoder {
  readonly #settings: DecoderSettings;
  readonly #emit: ModelSink;
  readonly #calls: Call[] = [];
  readonly #byIndex = new Map<number, Call>();
  readonly #byId = new Map<string, Call>();
  readonly #template = new TextTemplate();
  #modelKnown = false;
  #answered = false;
  #done = false;
  #stopped = false;
  #usage: Loose | undefined;
  #reason: 'stop' | 'max_output_tokens' | 'content_filter' | undefined;
  #failure: ApiError | undefined;

  constructor(settings: DecoderSettings, emit: ModelSink) {
    this.#settings = settings;
    this.#emit = emit;
  }

  /** The model has said why it ended; only its usage may still come. */
  get finished(): boolean {
    return this.#reason !== undefined;
  }

  /** Nothing more is expected: `[DONE]`, a whole answer, or a failure. */
  get settled(): boolean {
    return this.#done || this.#failure !== undefined;
  }

  /** From now on everything is skipped. */
  stop(): void {
    this.#stopped = true;
  }

  /** One event of a stream. */
  data(text: string): void {
    if (this.#stopped || this.settled || text === '') return;
    const delta = this.#template.read(text);
    if (delta !== undefined) {
      this.#emit({ type: 'text', delta });
      return;
    }
    if (text.length < 16 && text.trim() === '[DONE]') {
      this.#done = true;
      return;
    }
    let chunk: unknown;
    try {
      chunk = JSON.parse(text);
    } catch (cause) {
      this.#fail('sent a piece of its answer that is not JSON', cause);
      return;
    }
    this.#take(chunk, false);
    if (!this.#settings.logprobs && this.#modelKnown && isTextOnly(chunk, this.#settings.reasoningFields)) {
      this.#template.learn(text, textIn(chunk) as string, textIn);
    }
  }

  /** The last event of a stream that ended without closing it: counts only where it is complete. */
  unclosed(text: string): void {
    if (text.trim() === '[DONE]' || isJson(text)) this.data(text);
  }

  /** A whole answer. */
  whole(text: string): void {
    if (this.#stopped) return;
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch (cause) {
      this.#fail('answered with something that is not JSON', cause);
      return;
    }
    this.#take(body, true);
    this.#done = true;
  }

  /** The end of the answer, judged by what arrived. May emit what was held back: empty arguments, usage. */
  close(): ModelEnd {
    if (this.#failure === undefined && !this.#answered) this.#fail('gave an empty answer');
    if (this.#failure === undefined && this.#reason === undefined && !this.#done) {
      this.#fail('broke off in the middle of its answer');
    }
    const reason = this.#reason ?? 'stop';
    if (this.#failure === undefined && reason === 'stop') this.#closeCalls();
    if (this.#failure !== undefined) return { type: 'end', reason: 'error', error: this.#failure };
    if (this.#usage !== undefined) this.#emit({ type: 'usage', usage: toUsage(this.#usage) });
    return { type: 'end', reason };
  }

  #fail(what: string, cause?: unknown): void {
    this.#failure ??= new ApiError('upstream_failed', `Provider \`${this.#settings.provider}\` ${what}.`, { cause });
  }

  #take(message: unknown, whole: boolean): void {
    if (!isObject(message)) {
      this.#fail('sent a piece of its answer that is not an object');
      return;
    }
    if (message['error'] != null) {
      this.#failure ??= this.#settings.reportedError(message['error']);
      return;
    }
    if (!this.#modelKnown) {
      const name = message['model'];
      if (typeof name === 'string' && name !== '') {
        this.#modelKnown = true;
        this.#emit({ type: 'model', name });
      }
    }
    const usage = message['usage'];
    if (isObject(usage)) this.#usage = usage;
    const choices = message['choices'];
    const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
    if (!isObject(choice)) return;
    this.#answered = true;
    const said = choice['delta'] ?? choice['message'];
    if (isObject(said)) this.#takeDelta(said, choice, whole);
    const reason = choice['finish_reason'];
    if (typeof reason === 'string' && reason !== '') this.#finish(reason, choice);
  }

  #takeDelta(delta: Loose, choice: Loose, whole: boolean): void {
    for (const field of this.#settings.reasoningFields) {
      const reasoning = delta[field];
      if (typeof reasoning !== 'string' || reasoning === '') continue;
      this.#emit({ type: 'reasoning', delta: reasoning });
      break;
    }
    const content = delta['content'];
    if (typeof content === 'string') this.#text(content, choice);
    else if (Array.isArray(content)) this.#text(joinParts(content), choice);
    else if (content != null) this.#fail('sent content that is no text');
    const refusal = delta['refusal'];
    if (typeof refusal === 'string' && refusal !== '') this.#emit({ type: 'refusal', delta: refusal });
    const calls = delta['tool_calls'];
    if (Array.isArray(calls)) {
      for (const call of calls) {
        if (this.#failure !== undefined) return;
        if (isObject(call)) this.#fragment(call, whole);
      }
    }
    // The form before `tool_calls`: one call at most, without an id.
    const old = delta['function_call'];
    if (isObject(old)) this.#fragment({ index: 0, function: old }, whole);
  }

  #text(delta: string, choice: Loose): void {
    if (!this.#settings.logprobs) {
      if (delta !== '') this.#emit({ type: 'text', delta });
      return;
    }
    const logprobs = toLogprobs(choice['logprobs']);
    // A token that is half a character comes with no text, but with its probability.
    if (delta !== '' || logprobs.length > 0) this.#emit({ type: 'text', delta, logprobs });
  }

  #fragment(fragment: Loose, whole: boolean): void {
    const described = isObject(fragment['function']) ? fragment['function'] : {};
    const name = nonEmpty(described['name']);
    const id = nonEmpty(fragment['id']);
    const known = whole ? undefined : this.#find(fragment['index'], id, name);
    const call = known ?? this.#open(fragment['index']);
    if (call === undefined) return;
    this.#identify(call, id);
    if (call.name === undefined && name !== undefined) {
      call.name = name;
      this.#emit({ type: 'tool_call', index: call.index, callId: call.id, name });
      if (call.arguments !== '') this.#emit({ type: 'tool_arguments', index: call.index, delta: call.arguments });
    }
    const delta = argumentsText(described['arguments']);
    if (delta === '') return;
    call.arguments += delta;
    if (call.name !== undefined) this.#emit({ type: 'tool_arguments', index: call.index, delta });
  }

  /**
   * The call that a fragment continues. Some vendors leave `index` out: then the id decides, then whether a name begins
   * a new call. Some give every parallel call index 0: a name with another id is another call. A new id alone is not,
   * as some make one up for each fragment.
   */
  #find(index: unknown, id: string | undefined, name: string | undefined): Call | undefined {
    if (typeof index === 'number') {
      const call = this.#byIndex.get(index);
      const another = call?.id !== undefined && call.name !== undefined && id !== undefined && id !== call.id;
      return another && name !== undefined ? undefined : call;
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
      this.#fail(`called more than ${maxCalls} functions in one answer`);
      return undefined;
    }
    const call: Call = { index: this.#calls.length, id: undefined, name: undefined, arguments: '' };
    this.#calls.push(call);
    if (typeof index === 'number') this.#byIndex.set(index, call);
    return call;
  }

  #finish(reason: string, choice: Loose): void {
    if (reason === 'error') this.#failure ??= this.#settings.reportedError(choice['error'] ?? {});
    if (this.#reason === undefined && this.#failure === undefined) this.#emit({ type: 'finish' });
    this.#reason ??=
      reason === 'length' ? 'max_output_tokens' : reason === 'content_filter' ? 'content_filter' : 'stop';
  }

  /** The calls of an answer that was not cut short must be usable: named, and with arguments that are JSON. */
  #closeCalls(): void {
    for (const call of this.#calls) {
      if (call.name === undefined) {
        this.#fail('called a function without naming it');
      } else if (call.arguments.trim() === '') {
        this.#emit({ type: 'tool_arguments', index: call.index, delta: '{}' });
      } else if (!isJson(call.arguments)) {
        this.#fail(`called the function \`${call.name}\` with arguments that are not valid JSON`);
      }
    }
  }
}

function isObject(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null;
}

/** The text of a chunk whose first choice holds one. */
function textIn(chunk: unknown): unknown {
  const choices = isObject(chunk) ? chunk['choices'] : undefined;
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  const delta = isObject(choice) ? choice['delta'] : undefined;
  return isObject(delta) ? delta['content'] : undefined;
}

/** Whether taking a chunk does nothing but emit its text: then so does taking one that differs in its text only. */
function isTextOnly(chunk: unknown, reasoningFields: readonly string[]): boolean {
  if (typeof textIn(chunk) !== 'string' || !isObject(chunk) || chunk['usage'] != null) return false;
  const choice = (chunk['choices'] as readonly Loose[])[0];
  const delta = choice?.['delta'];
  if (!isObject(delta) || choice?.['finish_reason']) return false;
  if (delta['refusal'] || delta['tool_calls'] != null || delta['function_call'] != null) return false;
  return reasoningFields.every((field) => !delta[field]);
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Some vendors send the arguments as an object. */
function argumentsText(value: unknown): string {
  if (typeof value === 'string') return value;
  return isObject(value) ? JSON.stringify(value) : '';
}

/** Some vendors send content as parts; those that hold no text (thoughts, references) are no part of the message. */
function joinParts(parts: readonly unknown[]): string {
  let text = '';
  for (const part of parts) {
    if (isObject(part) && typeof part['text'] === 'string') text += part['text'];
  }
  return text;
}

function toLogprobs(value: unknown): LogProb[] {
  const content = isObject(value) ? value['content'] : undefined;
  if (!Array.isArray(content)) return [];
  return content.filter(isObject).map((entry) => {
    const top = Array.isArray(entry['top_logprobs']) ? entry['top_logprobs'].filter(isObject) : [];
    return { ...toLogprob(entry), top_logprobs: top.map(toLogprob) };
  });
}

/** Both lists are always there: clients require full entries (docs/wire.md §6). */
function toLogprob(entry: Loose) {
  const { token, logprob, bytes } = entry;
  return {
    token: typeof token === 'string' ? token : '',
    logprob: typeof logprob === 'number' ? logprob : 0,
    bytes: Array.isArray(bytes) ? bytes.filter((byte) => typeof byte === 'number') : [],
  };
}

function toUsage(usage: Loose): Usage {
  const input = count(usage['prompt_tokens']);
  const output = count(usage['completion_tokens']);
  const inputDetails = isObject(usage['prompt_tokens_details']) ? usage['prompt_tokens_details'] : {};
  const outputDetails = isObject(usage['completion_tokens_details']) ? usage['completion_tokens_details'] : {};
  return {
    input_tokens: input,
    input_tokens_details: {
      cached_tokens: count(inputDetails['cached_tokens']),
      cache_write_tokens: count(inputDetails['cache_write_tokens']),
    },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: count(outputDetails['reasoning_tokens']) },
    total_tokens: count(usage['total_tokens']) || input + output,
  };
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.trunc(value) : 0;
}
