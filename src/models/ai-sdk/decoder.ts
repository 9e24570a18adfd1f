import type { JsonObject } from '../../api/primitives.ts';
import type { Usage } from '../../api/response.ts';
import { ApiError } from '../../errors.ts';
import type { ModelEnd, ModelSink } from '../../model.ts';
import { count, isObject, type Loose, nonEmpty, objectsIn, parsed } from '../upstream/loose.ts';
import { type OfferedTools, unwrapInput } from '../upstream/offered-tools.ts';
import { Sources } from './sources.ts';

/** Calls of one answer. */
const maxCalls = 1_000;

export type DecoderSettings = {
  readonly provider: string;
  readonly tools: OfferedTools;
  /** An `error` part, as a client may see it. */
  readonly packageError: (error: unknown) => ApiError;
  /** What the package says it left out or changed. */
  readonly onWarning: (warning: Loose) => void;
};

type Call = {
  readonly index: number;
  readonly name: string;
  readonly isCustom: boolean;
  /** As JSON: whether what comes with its end is new. */
  readonly options: string | undefined;
  arguments: string;
  /** False while the arguments come in a form that is no JSON. */
  isStreamed: boolean;
  isDone: boolean;
};

type EndReason = Exclude<ModelEnd, { reason: 'error' }>['reason'];

/**
 * Turns the parts of a package's stream into events. What a vendor wants to have back becomes `provider_data`:
 * `{reasoning}` for the reasoning of this item, `{call}` for the call that follows, `{call, after: n}` for the n-th last
 * call before, `{text}` for the text before.
 */
export class PartDecoder {
  readonly #settings: DecoderSettings;
  readonly #emit: ModelSink;
  readonly #sources: Sources;
  readonly #calls = new Map<string, Call>();
  /** Ids of calls that the vendor answers itself. */
  readonly #foreign = new Set<string>();
  /** What is being said: another kind of part begins another item. */
  #speaking: 'text' | 'reasoning' | undefined;
  #textLength = 0;
  #blockStart = 0;
  #textOptions: JsonObject | undefined;
  #reasoning: { options: JsonObject | undefined; said: boolean } | undefined;
  #reason: EndReason | undefined;
  #failure: ApiError | undefined;

  constructor(settings: DecoderSettings, emit: ModelSink) {
    this.#settings = settings;
    this.#emit = emit;
    this.#sources = new Sources((annotation) => emit({ type: 'annotation', annotation }));
  }

  /** The model has said why it ended. */
  get finished(): boolean {
    return this.#reason !== undefined;
  }

  /** Nothing more is looked at. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  part(part: unknown): void {
    if (this.#failure !== undefined || !isObject(part)) return;
    switch (part['type']) {
      case 'text-start':
      case 'text-delta':
      case 'text-end':
        this.#text(part['type'], part);
        break;
      case 'reasoning-start':
      case 'reasoning-delta':
      case 'reasoning-end':
        this.#think(part['type'], part);
        break;
      case 'tool-input-start':
        this.#open(part, part['id']);
        break;
      case 'tool-input-delta':
        this.#continue(part);
        break;
      case 'tool-call':
        this.#whole(part);
        break;
      case 'source':
        this.#sources.take(part, this.#speaking === 'text' ? this.#textLength : undefined);
        break;
      case 'response-metadata':
        this.#named(nonEmpty(part['modelId']));
        break;
      case 'stream-start':
        for (const warning of objectsIn(part['warnings'])) this.#settings.onWarning(warning);
        break;
      case 'file':
        this.#settings.onWarning({ type: 'other', message: 'a file that the model made was left out' });
        break;
      case 'finish':
        this.#finish(part);
        break;
      case 'error':
        this.#failure = this.#settings.packageError(part['error']);
        break;
      default:
      // Others tell nothing that has a place here: `raw`, `ping`, what the vendor's own tools gave back.
    }
  }

  /** The end of the stream, judged by what arrived. */
  close(): ModelEnd {
    if (this.#failure === undefined) {
      this.#endReasoning();
      if (this.#reason === undefined) this.#fail('broke off in the middle of its answer');
      else if (this.#reason === 'stop') this.#closeCalls();
    }
    if (this.#failure !== undefined) return { type: 'end', reason: 'error', error: this.#failure };
    return { type: 'end', reason: this.#reason ?? 'stop' };
  }

  #text(type: 'text-start' | 'text-delta' | 'text-end', part: Loose): void {
    const { delta, providerMetadata: options } = part;
    if (type === 'text-start') this.#blockStart = this.#speaking === 'text' ? this.#textLength : 0;
    if (isObject(options)) this.#textOptions = options;
    if (typeof delta === 'string' && delta !== '') {
      if (this.#speaking !== 'text') {
        this.#endReasoning();
        this.#textLength = 0;
        this.#blockStart = 0;
        this.#speaking = 'text';
      }
      this.#textLength += delta.length;
      this.#emit({ type: 'text', delta });
    }
    if (type !== 'text-end' || this.#speaking !== 'text') return;
    this.#sources.close(objectsIn(part['citations']), this.#blockStart, this.#textLength);
  }

  #think(type: 'reasoning-start' | 'reasoning-delta' | 'reasoning-end', part: Loose): void {
    const { delta, providerMetadata: options } = part;
    if (type === 'reasoning-start') this.#endReasoning();
    this.#reasoning ??= { options: undefined, said: false };
    if (isObject(options)) this.#reasoning.options = options;
    if (typeof delta === 'string' && delta !== '') {
      // Each block becomes an item of its own, so that each goes back with what belongs to it.
      if (!this.#reasoning.said && this.#speaking === 'reasoning') this.#emit({ type: 'spoken_end' });
      this.#reasoning.said = true;
      this.#speaking = 'reasoning';
      this.#emit({ type: 'reasoning', delta });
    }
    if (type === 'reasoning-end') this.#endReasoning();
  }

  /** Says what is wanted back for the block that ends: nothing at all still says that it is this provider's own. */
  #endReasoning(): void {
    const ended = this.#reasoning;
    this.#reasoning = undefined;
    if (ended === undefined || (!ended.said && ended.options === undefined)) return;
    if (!ended.said && this.#speaking === 'reasoning') this.#emit({ type: 'spoken_end' });
    this.#keep({ reasoning: ended.options ?? {} });
    this.#speaking = 'reasoning';
  }

  #keep(data: JsonObject): void {
    const text = this.#textOptions;
    this.#textOptions = undefined;
    this.#emit({ type: 'provider_data', data: text === undefined ? data : { text, ...data } });
  }

  #open(part: Loose, id: unknown): Call | undefined {
    const known = this.#calls.get(String(id));
    if (known !== undefined) return known;
    if (part['providerExecuted'] === true) {
      this.#foreign.add(String(id));
      return undefined;
    }
    const offered = nonEmpty(part['toolName']);
    if (offered === undefined) return this.#fail('called a function without naming it');
    if (this.#calls.size >= maxCalls) return this.#fail(`called more than ${maxCalls} functions in one answer`);
    const { name, namespace, isCustom } = this.#settings.tools.named(offered, undefined);
    this.#endReasoning();
    const options = optionsOf(part);
    if (options !== undefined) this.#keep({ call: options });
    this.#speaking = undefined;
    const call: Call = {
      index: this.#calls.size,
      name,
      isCustom,
      options: options === undefined ? undefined : JSON.stringify(options),
      arguments: '',
      isStreamed: !isCustom && part['inputEncoding'] !== 'text',
      isDone: false,
    };
    this.#calls.set(String(id), call);
    this.#emit({
      type: 'tool_call',
      index: call.index,
      callId: nonEmpty(id),
      name,
      ...(namespace !== undefined && { namespace }),
      ...(isCustom && { kind: 'custom' as const }),
    });
    return call;
  }

  #continue({ id, delta }: Loose): void {
    const call = this.#calls.get(String(id));
    if (call === undefined || call.isDone || typeof delta !== 'string' || delta === '') return;
    call.arguments += delta;
    if (call.isStreamed) this.#emit({ type: 'tool_arguments', index: call.index, delta });
  }

  /** The end of a call, or a call that comes at once. */
  #whole(part: Loose): void {
    const { toolCallId: id, input } = part;
    if (part['providerExecuted'] === true || this.#foreign.has(String(id))) return;
    const call = this.#open(part, id);
    if (call === undefined || call.isDone) return;
    this.#keepLate(call, optionsOf(part));
    const text = typeof input === 'string' ? input : JSON.stringify(input ?? {});
    if (call.isStreamed && call.arguments !== '') {
      call.isDone = true;
      return;
    }
    call.arguments = call.isCustom ? unwrapInput(text) : text;
    this.#complete(call);
  }

  #complete(call: Call): void {
    call.isDone = true;
    if (!call.isCustom && call.arguments.trim() === '') call.arguments = '{}';
    if (call.arguments !== '') this.#emit({ type: 'tool_arguments', index: call.index, delta: call.arguments });
  }

  /** What some packages tell of a call only when it is over. */
  #keepLate(call: Call, options: JsonObject | undefined): void {
    if (options === undefined || JSON.stringify(options) === call.options) return;
    this.#endReasoning();
    this.#keep({ call: options, after: this.#calls.size - call.index });
    this.#speaking = undefined;
    this.#emit({ type: 'spoken_end' });
  }

  #named(name: string | undefined): void {
    if (name !== undefined) this.#emit({ type: 'model', name });
  }

  /** More than one comes where a vendor goes on by itself: the last one counts. */
  #finish(part: Loose): void {
    this.#endReasoning();
    const { finishReason, usage } = part;
    const { unified, raw } = isObject(finishReason) ? finishReason : {};
    const why = typeof raw === 'string' ? ` (${raw.slice(0, 100)})` : '';
    if (unified === 'error') {
      this.#fail(`ended its answer with an error${why}`);
      return;
    }
    // `other` without the vendor's own word: it said nothing.
    if (unified === 'interrupted' || (unified === 'other' && raw == null)) {
      this.#fail('broke off in the middle of its answer');
      return;
    }
    const first = this.#reason === undefined;
    this.#reason = reasonOf(unified);
    if (first) this.#emit({ type: 'finish' });
    const total = isObject(usage) ? toUsage(usage) : undefined;
    if (total !== undefined) this.#emit({ type: 'usage', usage: total });
  }

  /** The calls of an answer that was not cut short must be usable: with arguments that are JSON. */
  #closeCalls(): void {
    for (const call of this.#calls.values()) {
      if (!call.isDone && (!call.isStreamed || call.arguments === '')) {
        call.arguments = call.isCustom ? unwrapInput(call.arguments) : call.arguments;
        this.#complete(call);
      }
      if (call.isCustom || parsed(call.arguments) !== undefined) continue;
      this.#fail(`called the function \`${call.name}\` with arguments that are not valid JSON`);
      return;
    }
  }

  #fail(what: string): undefined {
    this.#failure ??= new ApiError('upstream_failed', `Provider \`${this.#settings.provider}\` ${what}.`);
    return undefined;
  }
}

function optionsOf({ providerMetadata: options }: Loose): JsonObject | undefined {
  return isObject(options) && Object.keys(options).length > 0 ? options : undefined;
}

function reasonOf(unified: unknown): EndReason {
  if (unified === 'length') return 'max_output_tokens';
  return unified === 'content-filter' ? 'content_filter' : 'stop';
}

/** Undefined: the vendor told none. */
function toUsage({ inputTokens, outputTokens }: Loose): Usage | undefined {
  const input = isObject(inputTokens) ? inputTokens : {};
  const output = isObject(outputTokens) ? outputTokens : {};
  const cached = count(input['cacheRead']);
  const written = count(input['cacheWrite']);
  const reasoning = count(output['reasoning']);
  const read = count(input['total']) || count(input['noCache']) + cached + written;
  const made = count(output['total']) || count(output['text']) + reasoning;
  if (read === 0 && made === 0) return undefined;
  return {
    input_tokens: read,
    input_tokens_details: { cached_tokens: cached, cache_write_tokens: written },
    output_tokens: made,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: read + made,
  };
}
