import type { ResponseError, ResponseOutcome, Usage } from '../api/response.ts';
import type { ApiError } from '../errors.ts';
import { type MintId, maxCallIdLength } from '../ids.ts';
import type { ModelEnd, ModelEvent } from '../model.ts';
import type { EncodedItem } from '../store.ts';
import { type EventSink, EventWriter, OpenCall, type OpenItem, OpenMessage, OpenReasoning } from './output-items.ts';
import type { Snapshot } from './snapshot.ts';

export type AssemblerOptions = {
  readonly snapshot: Snapshot;
  /** The model asked for; what the upstream reports takes its place. */
  readonly model: string;
  readonly mintId: MintId;
  /** In ms. */
  readonly now: () => number;
  /** Absent where nobody watches: then only the result is made. */
  readonly sink: EventSink | undefined;
  readonly obfuscation: (() => string) | undefined;
  /** Call ids of the context: some vendors count theirs from zero in every turn, and outputs find their call by it. */
  readonly takenCallIds: ReadonlySet<string>;
};

/**
 * Turns what a model says into the response and its events. The only place that numbers, opens and closes them, in the
 * order that openai-node's stream helper insists on (docs/wire.md §4).
 */
export class Assembler {
  readonly #options: AssemblerOptions;
  readonly #events: EventWriter;
  readonly #items: { open: OpenItem | undefined; encoded: EncodedItem | undefined }[] = [];
  readonly #calls = new Map<number, OpenCall>();
  readonly #callIds = new Set<string>();
  #message: OpenMessage | undefined;
  #reasoning: OpenReasoning | undefined;
  #model: string;
  #usage: Usage | null = null;

  constructor(options: AssemblerOptions) {
    this.#options = options;
    this.#model = options.model;
    this.#events = new EventWriter(options.sink, options.obfuscation);
  }

  /** `response.created` and `response.in_progress`. */
  begin(): void {
    if (!this.#events.isWatched) return;
    const body = `"response":${this.#options.snapshot.json(this.#outcome('in_progress'), [])}`;
    this.#events.write('response.created', body);
    this.#events.write('response.in_progress', body);
  }

  feed(event: Exclude<ModelEvent, ModelEnd>): void {
    switch (event.type) {
      case 'text':
        if (event.delta !== '') this.#openMessage().text(event.delta, event.logprobs);
        return;
      case 'refusal':
        if (event.delta !== '') this.#openMessage().refusal(event.delta);
        return;
      case 'reasoning':
        if (event.delta !== '') this.#openReasoning().delta(event.delta);
        return;
      case 'tool_call':
        this.#openCall(event.index, event.callId, event.name);
        return;
      case 'tool_arguments':
        this.#calls.get(event.index)?.delta(event.delta);
        return;
      case 'model':
        this.#model = event.name;
        return;
      case 'usage':
        this.#usage = event.usage;
        return;
      case 'start':
      case 'finish':
        return;
      default:
        unreachable(event);
    }
  }

  /** The model is done: closes what is open, and says how the response ends. No terminal event yet: a commit comes first. */
  end(reason: 'stop' | 'max_output_tokens' | 'content_filter'): ResponseOutcome {
    // A client that reads only the final snapshot loops on an empty `output` (docs/wire.md §7).
    if (reason === 'stop' && this.#items.length === 0) this.#openMessage().text('', undefined);
    const lastIndex = this.#items.length - 1;
    for (const [index, item] of this.#items.entries()) {
      if (item.open === undefined) continue;
      const isCut = reason !== 'stop' && (index === lastIndex || isUnfinishedCall(item.open));
      item.encoded = item.open.close(isCut ? 'incomplete' : 'completed');
      item.open = undefined;
    }
    if (reason === 'stop') return this.#outcome('completed');
    return { ...this.#outcome('incomplete'), incomplete_details: { reason } };
  }

  /** How the response ends when it failed. What was said so far stays visible in it, as incomplete. */
  failure(error: ResponseError): ResponseOutcome {
    return { ...this.#outcome('failed'), error };
  }

  cancellation(): ResponseOutcome {
    return this.#outcome('cancelled');
  }

  /** The items so far; those that are still open as incomplete. */
  output(): EncodedItem[] {
    return this.#items.flatMap((item) => item.encoded ?? item.open?.encode('incomplete') ?? []);
  }

  /** The whole response as JSON text. */
  json(outcome: ResponseOutcome): string {
    return this.#options.snapshot.json(
      outcome,
      this.output().map((item) => item.json),
    );
  }

  /** The terminal event. Nothing follows it. */
  finish(outcome: ResponseOutcome, json: string): void {
    this.#events.write(`response.${outcome.status}`, `"response":${json}`);
  }

  /** The `error` event, in the one form that serves both descriptions (docs/wire.md §4); `response.failed` follows. */
  error(error: ApiError): void {
    const body = error.body();
    const { code, message, param } = body;
    const fields = JSON.stringify({ code, message, param, error: body });
    this.#events.write('error', fields.slice(1, -1));
  }

  #openMessage(): OpenMessage {
    if (this.#message !== undefined) return this.#message;
    this.#closeSpoken();
    this.#message = this.#add((index) => new OpenMessage(this.#options.mintId('msg'), index, this.#events));
    return this.#message;
  }

  #openReasoning(): OpenReasoning {
    if (this.#reasoning !== undefined) return this.#reasoning;
    this.#closeSpoken();
    this.#reasoning = this.#add((index) => new OpenReasoning(this.#options.mintId('rs'), index, this.#events));
    return this.#reasoning;
  }

  /** Calls stay open until the end: upstreams may interleave their arguments. */
  #openCall(index: number, callId: string | undefined, name: string): void {
    if (this.#calls.has(index)) return;
    this.#closeSpoken();
    const call = { id: this.#options.mintId('fc'), callId: this.#freeCallId(callId), name };
    this.#calls.set(
      index,
      this.#add((outputIndex) => new OpenCall(call, outputIndex, this.#events)),
    );
  }

  #freeCallId(given: string | undefined): string {
    const { takenCallIds, mintId } = this.#options;
    const isUsable = given !== undefined && given !== '' && given.length <= maxCallIdLength;
    const callId = isUsable && !takenCallIds.has(given) && !this.#callIds.has(given) ? given : mintId('call');
    this.#callIds.add(callId);
    return callId;
  }

  #add<T extends OpenItem>(make: (outputIndex: number) => T): T {
    const open = make(this.#items.length);
    this.#items.push({ open, encoded: undefined });
    return open;
  }

  /** Closes the message or the reasoning that is being said, as something else begins. */
  #closeSpoken(): void {
    const open = this.#message ?? this.#reasoning;
    if (open === undefined) return;
    const item = this.#items.find((each) => each.open === open);
    if (item !== undefined) {
      item.encoded = open.close('completed');
      item.open = undefined;
    }
    this.#message = undefined;
    this.#reasoning = undefined;
  }

  #outcome(status: ResponseOutcome['status']): ResponseOutcome {
    const isDone = status === 'completed';
    return {
      status,
      completed_at: isDone ? Math.floor(this.#options.now() / 1000) : null,
      error: null,
      incomplete_details: null,
      model: this.#model,
      usage: this.#usage,
    };
  }
}

function isUnfinishedCall(item: OpenItem): boolean {
  if (!(item instanceof OpenCall)) return false;
  try {
    JSON.parse(item.text);
    return false;
  } catch {
    return true;
  }
}

function unreachable(event: never): never {
  throw new Error(`unknown model event ${JSON.stringify(event)}`);
}
