import { ApiError } from '../../errors.ts';
import type { ModelEnd, ModelSink } from '../../model.ts';
import { isObject, type Loose, nonEmpty, objectsIn, parsed } from '../upstream/loose.ts';
import type { OfferedTools } from '../upstream/offered-tools.ts';
import type { AnswerDecoder } from '../upstream/protocol.ts';
import { DeltaTemplate } from './delta-template.ts';
import { AnswerItems } from './items.ts';
import type { SpokenItem, SpokenSettings } from './spoken.ts';
import { toHostedFields, toUsage } from './values.ts';

export type DecoderSettings = SpokenSettings & {
  readonly provider: string;
  readonly tools: OfferedTools;
  /** Turns an `error` object in an answer into what a client may see. */
  readonly reportedError: (error: unknown) => ApiError;
};

const prefix = 'response.';

/**
 * Responses in, model events out: the events of a stream, or one whole response. Nothing of an upstream is believed
 * unchecked: what has no known form is skipped, and what is announced is not said twice. What it collects is bounded by
 * the bound on the whole answer.
 */
export class ResponsesDecoder implements AnswerDecoder {
  readonly #settings: DecoderSettings;
  readonly #emit: ModelSink;
  readonly #items: AnswerItems;
  readonly #template = new DeltaTemplate();
  /** Whose text the template reads. */
  #templated: SpokenItem | undefined;
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
    this.#items = new AnswerItems(settings, emit, (what) => this.#fail(what));
  }

  /** The terminal event has come, with everything that belongs to it. */
  get finished(): boolean {
    return this.#reason !== undefined;
  }

  get settled(): boolean {
    return this.#done || this.#reason !== undefined || this.#failure !== undefined;
  }

  stop(): void {
    this.#stopped = true;
  }

  data(text: string): void {
    if (this.#stopped || this.settled || text === '') return;
    if (this.#templated?.isOpen === true) {
      const delta = this.#template.read(text);
      if (delta !== undefined) {
        this.#emit({ type: 'text', delta });
        return;
      }
    }
    if (text.length < 16 && text.trim() === '[DONE]') {
      this.#done = true;
      return;
    }
    let event: unknown;
    try {
      event = JSON.parse(text);
    } catch (cause) {
      this.#fail('sent a piece of its answer that is not JSON', cause);
      return;
    }
    if (!isObject(event)) this.#fail('sent a piece of its answer that is not an object');
    else this.#take(event, text);
  }

  unclosed(text: string): void {
    if (text.trim() === '[DONE]' || parsed(text) !== undefined) this.data(text);
  }

  whole(text: string): void {
    if (this.#stopped) return;
    let response: unknown;
    try {
      response = JSON.parse(text);
    } catch (cause) {
      this.#fail('answered with something that is not JSON', cause);
      return;
    }
    if (isObject(response) && (response['object'] === 'response' || Array.isArray(response['output']))) {
      this.#answered = true;
      this.#end(response, response['status']);
    } else if (isObject(response) && response['error'] != null) {
      this.#failure ??= this.#settings.reportedError(response['error']);
    } else {
      this.#fail('answered with something that is not a response');
    }
  }

  close(): ModelEnd {
    if (this.#failure === undefined && !this.#answered) this.#fail('gave an empty answer');
    if (this.#failure === undefined && this.#reason === undefined) this.#fail('broke off in the middle of its answer');
    const reason = this.#reason ?? 'stop';
    if (this.#failure === undefined) this.#items.close(reason === 'stop');
    if (this.#failure !== undefined) return { type: 'end', reason: 'error', error: this.#failure };
    if (this.#usage !== undefined) this.#emit({ type: 'usage', usage: toUsage(this.#usage) });
    return { type: 'end', reason };
  }

  #fail(what: string, cause?: unknown): void {
    this.#failure ??= new ApiError('upstream_failed', `Provider \`${this.#settings.provider}\` ${what}.`, { cause });
  }

  #take(event: Loose, text: string): void {
    const type = event['type'];
    if (type === 'error' || (type === undefined && event['error'] != null)) {
      this.#failure ??= this.#settings.reportedError(isObject(event['error']) ? event['error'] : event);
      return;
    }
    if (typeof type !== 'string' || !type.startsWith(prefix)) return;
    this.#answered = true;
    const name = type.slice(prefix.length);
    switch (name) {
      case 'created':
      case 'queued':
      case 'in_progress':
        this.#takeModel(event['response']);
        return;
      case 'completed':
      case 'incomplete':
      case 'failed':
      case 'cancelled':
        this.#endStream(name, isObject(event['response']) ? event['response'] : {});
        return;
      case 'output_item.added':
        this.#items.added(event);
        return;
      case 'output_item.done':
        this.#items.done(event);
        return;
      case 'output_text.delta':
        this.#takeText(event, text);
        return;
      default:
        this.#takePiece(name, event, type);
    }
  }

  #takeText(event: Loose, text: string): void {
    const { delta } = event;
    const item = this.#items.spoken(event, 'message');
    if (typeof delta !== 'string' || item === undefined) return;
    item.text(event['content_index'], delta, event['logprobs']);
    if (delta === '' || this.#settings.logprobs || !item.isOpen) return;
    if (item !== this.#templated) this.#template.forget();
    this.#templated = item;
    this.#template.learn(text, event);
  }

  #takePiece(name: string, event: Loose, type: string): void {
    switch (name) {
      case 'output_text.done':
        this.#items.spoken(event, 'message')?.whole('content', event['content_index'], event);
        return;
      case 'output_text.annotation.added':
        this.#items.spoken(event, 'message')?.annotation(event['annotation']);
        return;
      case 'refusal.delta':
        this.#items.spoken(event, 'message')?.refusal(event['content_index'], nonEmpty(event['delta']) ?? '');
        return;
      case 'refusal.done':
        this.#items.spoken(event, 'message')?.whole('content', event['content_index'], event);
        return;
      // The Open Responses standard's name, and OpenAI's.
      case 'reasoning.delta':
      case 'reasoning_text.delta':
        this.#items.spoken(event, 'reasoning')?.reasoning(event['content_index'], nonEmpty(event['delta']) ?? '');
        return;
      case 'reasoning.done':
      case 'reasoning_text.done':
        this.#items.spoken(event, 'reasoning')?.whole('content', event['content_index'], event);
        return;
      case 'reasoning_summary_text.delta':
        this.#items.spoken(event, 'reasoning')?.summary(event['summary_index'], nonEmpty(event['delta']) ?? '');
        return;
      case 'reasoning_summary_text.done':
        this.#items.spoken(event, 'reasoning')?.whole('summary', event['summary_index'], event);
        return;
      case 'function_call_arguments.delta':
      case 'custom_tool_call_input.delta':
        this.#items.call(event, name.startsWith('custom'))?.delta(event['delta']);
        return;
      case 'function_call_arguments.done':
        this.#items.call(event, false)?.whole(event['arguments']);
        return;
      case 'custom_tool_call_input.done':
        this.#items.call(event, true)?.whole(event['input']);
        return;
      default:
        this.#items.hostedEvent(event, { kind: 'event', name: type, fields: toHostedFields(event) });
    }
  }

  #takeModel(response: unknown): void {
    const name = isObject(response) ? nonEmpty(response['model']) : undefined;
    if (this.#modelKnown || name === undefined) return;
    this.#modelKnown = true;
    this.#emit({ type: 'model', name });
  }

  /** Some servers end with `completed` whatever became of the response, some show it as it was before its end. */
  #endStream(name: string, response: Loose): void {
    const { status } = response;
    const isWorse = status === 'incomplete' || status === 'failed' || status === 'cancelled';
    this.#end(response, name === 'completed' && isWorse ? status : name);
  }

  /** The response as its end shows it. */
  #end(response: Loose, status: unknown): void {
    const { error, usage, incomplete_details: details } = response;
    if (isObject(error) || status === 'failed') {
      this.#failure ??= this.#settings.reportedError(isObject(error) ? error : {});
      return;
    }
    if (status === 'cancelled') this.#fail('cancelled its answer');
    else if (status === 'queued' || status === 'in_progress') this.#fail('did not finish its answer');
    if (this.#failure !== undefined) return;
    this.#takeModel(response);
    this.#items.reconcile(objectsIn(response['output']));
    if (this.#failure !== undefined) return;
    const serviceTier = nonEmpty(response['service_tier']);
    if (serviceTier !== undefined) this.#emit({ type: 'model', serviceTier });
    if (isObject(usage)) this.#usage = usage;
    if (status !== 'incomplete') this.#reason = 'stop';
    else {
      const isFiltered = isObject(details) && details['reason'] === 'content_filter';
      this.#reason = isFiltered ? 'content_filter' : 'max_output_tokens';
    }
  }
}
