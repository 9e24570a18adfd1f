import type { LogProb } from '../../api/parts.ts';
import { ApiError } from '../../errors.ts';
import type { ModelEnd, ModelSink } from '../../model.ts';
import type { Profile } from '../profiles.ts';
import { isObject, type Loose, nonEmpty, objectsIn, parsed } from '../upstream/loose.ts';
import { OfferedTools } from '../upstream/offered-tools.ts';
import type { AnswerContext, AnswerDecoder } from '../upstream/protocol.ts';
import { CallCollector } from './call-collector.ts';
import { Citations, citesBeside } from './citations.ts';
import { finishOf } from './finish.ts';
import { toLogprobs } from './logprobs.ts';
import { TextTemplate } from './text-template.ts';
import { ThinkTags } from './think-tags.ts';
import { areSummaries, Thoughts, textOfDetails } from './thoughts.ts';
import { toUsage, usageIn } from './usage.ts';

export type DecoderSettings = AnswerContext & { readonly profile: Profile };

/** Tiers that clients know. */
const knownTiers: ReadonlySet<string> = new Set(['default', 'flex', 'scale', 'priority', 'fast', 'ultrafast']);

/**
 * Chat completions in, model events out: the chunks of a stream, or one whole answer. Emits everything but `start` and
 * `end`; the latter is what `close` returns. Only the first choice counts.
 */
export class ChatDecoder implements AnswerDecoder {
  readonly #settings: DecoderSettings;
  readonly #emit: ModelSink;
  readonly #calls: CallCollector;
  readonly #tags: ThinkTags;
  readonly #thoughts: Thoughts;
  readonly #citations = new Citations();
  readonly #template = new TextTemplate();
  readonly #wantsLogprobs: boolean;
  /** What was said last: annotations belong to a text that is still open. */
  #spoken: 'nothing' | 'text' | 'other' = 'nothing';
  #textLength = 0;
  /** Those of a text that may yet become a tag. */
  #heldLogprobs: LogProb[] = [];
  #model: string | undefined;
  #tier: string | undefined;
  #answered = false;
  #done = false;
  #stopped = false;
  #usage: Loose | undefined;
  #reason: 'stop' | 'max_output_tokens' | 'content_filter' | undefined;
  #failure: ApiError | undefined;

  constructor(settings: DecoderSettings, emit: ModelSink) {
    const { profile, call } = settings;
    const { tags, replay, callData } = profile.reasoning;
    this.#settings = settings;
    this.#emit = emit;
    this.#wantsLogprobs = call.topLogprobs !== undefined;
    this.#tags = new ThinkTags(tags);
    this.#thoughts = new Thoughts(replay, emit);
    this.#calls = new CallCollector({
      tools: new OfferedTools(call.tools, { namespaces: false, customTools: profile.customTools }),
      keepsData: callData !== undefined,
      emit,
      beforeCall: () => this.#turnTo('other'),
      fail: (what) => this.#fail(what),
    });
  }

  get finished(): boolean {
    return this.#reason !== undefined;
  }

  get settled(): boolean {
    return this.#done || this.#failure !== undefined;
  }

  stop(): void {
    this.#stopped = true;
  }

  data(text: string): void {
    if (this.#stopped || this.settled || text === '') return;
    const delta = this.#template.read(text);
    if (delta !== undefined) {
      this.#say(delta, undefined);
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
    if (!this.#wantsLogprobs && this.#model !== undefined && this.#isTextOnly(chunk)) {
      this.#template.learn(text, textIn(chunk) as string, textIn);
    }
  }

  unclosed(text: string): void {
    if (text.trim() === '[DONE]' || parsed(text) !== undefined) this.data(text);
  }

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

  close(): ModelEnd {
    if (this.#failure === undefined && !this.#answered) this.#fail('gave an empty answer');
    if (this.#failure === undefined && this.#reason === undefined && !this.#done) {
      this.#fail('broke off in the middle of its answer');
    }
    const reason = this.#reason ?? 'stop';
    if (this.#failure === undefined) this.#settle(reason !== 'stop');
    if (this.#failure !== undefined) return { type: 'end', reason: 'error', error: this.#failure };
    if (this.#usage !== undefined) this.#emit({ type: 'usage', usage: toUsage(this.#usage) });
    return { type: 'end', reason };
  }

  #fail(what: string, cause?: unknown): void {
    this.#failure ??= new ApiError('upstream_failed', `Provider \`${this.#settings.provider}\` ${what}.`, { cause });
  }

  #take(received: unknown, whole: boolean): void {
    // Gemini sends its errors as a list with one entry.
    const message: unknown = Array.isArray(received) ? received[0] : received;
    if (!isObject(message)) {
      this.#fail('sent a piece of its answer that is not an object');
      return;
    }
    const error = errorIn(message);
    if (error !== undefined) {
      this.#failure ??= this.#settings.reportedError(error);
      return;
    }
    this.#identify(message);
    const choices = message['choices'];
    const first: unknown = Array.isArray(choices) ? choices[0] : undefined;
    const choice = isObject(first) ? first : undefined;
    this.#usage = usageIn(message, choice) ?? this.#usage;
    this.#citations.takeLists(message);
    if (choice === undefined) return;
    this.#answered = true;
    const said = choice['delta'] ?? choice['message'];
    if (isObject(said)) this.#takeDelta(said, choice, whole);
    const reason = nonEmpty(choice['finish_reason']);
    if (reason !== undefined) this.#finish(reason, choice);
  }

  /** Which model answers, and on which tier. */
  #identify(message: Loose): void {
    const name = this.#model === undefined ? nonEmpty(message['model']) : undefined;
    const tier = this.#tierIn(message);
    const serviceTier = tier === this.#tier ? undefined : tier;
    if (name === undefined && serviceTier === undefined) return;
    this.#model ??= name;
    this.#tier = tier ?? this.#tier;
    this.#emit({
      type: 'model',
      ...(name !== undefined && { name }),
      ...(serviceTier !== undefined && { serviceTier }),
    });
  }

  #tierIn(message: Loose): string | undefined {
    const tier = nonEmpty(message['service_tier']);
    if (tier === undefined) return undefined;
    const ours = Object.entries(this.#settings.profile.serviceTiers).find(([, theirs]) => theirs === tier)?.[0] ?? tier;
    return knownTiers.has(ours) ? ours : undefined;
  }

  #takeDelta(delta: Loose, choice: Loose, whole: boolean): void {
    this.#takeThoughts(delta, whole);
    this.#takeContent(delta, choice);
    const refusal = nonEmpty(delta['refusal']);
    if (refusal !== undefined) {
      this.#turnTo('text');
      this.#emit({ type: 'refusal', delta: refusal });
    }
    const calls = delta['tool_calls'];
    // A text that may yet have been a tag comes before them.
    if ((Array.isArray(calls) && calls.length > 0) || isObject(delta['function_call'])) this.#sort(this.#tags.end());
    if (Array.isArray(calls)) {
      for (const call of calls) {
        if (this.#failure !== undefined) return;
        if (isObject(call)) this.#calls.take(call, whole);
      }
    }
    // The form before `tool_calls`: one call at most, without an id.
    const old = delta['function_call'];
    if (isObject(old)) this.#calls.take({ index: 0, function: old }, whole);
    this.#citations.take(delta['annotations']);
    this.#annotate(false);
  }

  #takeThoughts(delta: Loose, whole: boolean): void {
    const details = delta['reasoning_details'];
    let reasoning: string | undefined;
    for (const field of this.#settings.profile.reasoning.fields) reasoning ??= nonEmpty(delta[field]);
    if (this.#settings.profile.reasoning.fields.length > 0) reasoning ??= textOfDetails(details);
    if (reasoning !== undefined && reasoning !== '') {
      this.#tags.disarm();
      this.#think(reasoning, areSummaries(details));
    }
    this.#thoughts.keep(details, whole);
  }

  #takeContent(delta: Loose, choice: Loose): void {
    const content = delta['content'];
    if (isThought(delta['extra_content'])) this.#tags.rearm();
    if (typeof content === 'string') this.#text(content, choice);
    else if (Array.isArray(content)) this.#parts(content, choice);
    else if (content != null) this.#fail('sent content that is no text');
  }

  /** Content in parts: texts, and Mistral's thoughts. Others (references) are no part of the message. */
  #parts(parts: readonly unknown[], choice: Loose): void {
    let text = '';
    for (const part of objectsIn(parts)) {
      const { type, thinking, text: said } = part;
      if (type === 'thinking') {
        if (text !== '') this.#say(text, undefined);
        text = '';
        this.#think(typeof thinking === 'string' ? thinking : textsIn(thinking), false);
      } else if (typeof said === 'string') {
        text += said;
      }
    }
    this.#text(text, choice);
  }

  #think(reasoning: string, isSummary: boolean): void {
    if (reasoning === '') return;
    if (this.#spoken === 'text') this.#turnTo('other');
    this.#thoughts.say(reasoning, isSummary);
  }

  #text(delta: string, choice: Loose): void {
    if (!this.#wantsLogprobs) {
      if (delta !== '') this.#say(delta, undefined);
      return;
    }
    const logprobs = toLogprobs(choice['logprobs']);
    // A token that is half a character comes with no text, but with its probability.
    if (delta !== '' || logprobs.length > 0) this.#say(delta, logprobs);
  }

  #say(delta: string, logprobs: LogProb[] | undefined): void {
    if (this.#tags.isPlain) {
      this.#sayText(delta, logprobs);
      return;
    }
    if (logprobs !== undefined) this.#heldLogprobs.push(...logprobs);
    this.#sort(this.#tags.feed(delta));
    // Those of reasoning, and of the tags, are nobody's.
    if (!this.#tags.isUndecided) this.#heldLogprobs = [];
  }

  #sort(pieces: ReturnType<ThinkTags['feed']>): void {
    for (const { kind, text } of pieces) {
      const logprobs = this.#wantsLogprobs ? this.#heldLogprobs.splice(0) : undefined;
      if (kind === 'text') this.#sayText(text, logprobs);
      else this.#think(text, false);
    }
  }

  #sayText(delta: string, logprobs: LogProb[] | undefined): void {
    if (this.#spoken !== 'text') this.#turnTo('text');
    this.#textLength += delta.length;
    this.#emit(logprobs === undefined ? { type: 'text', delta } : { type: 'text', delta, logprobs });
  }

  /** Something else begins: what waits for its end is told. */
  #turnTo(next: 'text' | 'other'): void {
    if (this.#spoken === 'text' && next === 'text') return;
    this.#annotate(true);
    this.#thoughts.settle();
    this.#spoken = next;
    this.#textLength = 0;
  }

  #annotate(all: boolean): void {
    if (this.#spoken !== 'text') return;
    for (const annotation of this.#citations.ready(this.#textLength, all))
      this.#emit({ type: 'annotation', annotation });
  }

  /** The model has ended: what was held back is told. */
  #settle(isCut: boolean): void {
    this.#sort(this.#tags.end());
    if (this.#heldLogprobs.length > 0) this.#sayText('', this.#heldLogprobs.splice(0));
    this.#annotate(true);
    this.#thoughts.settle();
    this.#calls.close(isCut);
  }

  #finish(reason: string, choice: Loose): void {
    const finish = finishOf(reason);
    if (finish === 'failed' || finish === 'unavailable') {
      const error =
        choice['error'] ?? (finish === 'failed' ? {} : { code: 503, message: `finish reason \`${reason}\`` });
      this.#failure ??= this.#settings.reportedError(error);
    } else {
      if (this.#reason !== undefined || this.#failure !== undefined) return;
      this.#settle(finish !== 'stop');
      this.#reason = finish;
      if (this.#failure === undefined) this.#emit({ type: 'finish' });
    }
  }

  /** Whether taking a chunk does nothing but emit its text: then so does taking one that differs in its text only. */
  #isTextOnly(chunk: unknown): boolean {
    if (typeof textIn(chunk) !== 'string' || !isObject(chunk)) return false;
    const choice = (chunk['choices'] as readonly Loose[])[0] ?? {};
    const delta = choice['delta'];
    if (!isObject(delta) || choice['finish_reason']) return false;
    if (usageIn(chunk, choice) !== undefined || citesBeside(chunk, delta)) return false;
    if (delta['refusal'] || delta['tool_calls'] != null || delta['function_call'] != null) return false;
    if (delta['reasoning_details'] != null || delta['extra_content'] != null) return false;
    return this.#settings.profile.reasoning.fields.every((field) => !delta[field]);
  }
}

/** The text of a chunk whose first choice holds one. */
function textIn(chunk: unknown): unknown {
  const choices = isObject(chunk) ? chunk['choices'] : undefined;
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  const delta = isObject(choice) ? choice['delta'] : undefined;
  return isObject(delta) ? delta['content'] : undefined;
}

/** An error in an answer that began well: `error`; an error object itself (older vLLM); a word in `x_groq` (Groq). */
function errorIn(message: Loose): unknown {
  if (message['error'] != null) return message['error'];
  if (message['object'] === 'error') return message;
  const { x_groq: groq } = message;
  return isObject(groq) ? (nonEmpty(groq['error']) ?? undefined) : undefined;
}

/** Gemini's flag on pieces of thoughts. */
function isThought(extra: unknown): boolean {
  const google = isObject(extra) ? extra['google'] : undefined;
  return isObject(google) && google['thought'] === true;
}

function textsIn(parts: unknown): string {
  return objectsIn(parts)
    .map(({ text }) => (typeof text === 'string' ? text : ''))
    .join('');
}
