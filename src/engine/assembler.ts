import type { HostedItemContent } from '../api/items.ts';
import type { ResponseError, ResponseOutcome, Usage } from '../api/response.ts';
import type { ApiError } from '../errors.ts';
import { type MintId, maxCallIdLength } from '../ids.ts';
import type { HostedMoment, ModelEnd, ModelEvent, ProviderData } from '../model.ts';
import type { EncodedItem } from '../store.ts';
import { OpenHosted } from './hosted-item.ts';
import { idPrefixes } from './input-items.ts';
import { type EventSink, EventWriter, type HoldDelta, OpenCall, type OpenItem, OpenMessage } from './output-items.ts';
import { reasoningId } from './provenance.ts';
import { OpenReasoning, type ReasoningForm } from './reasoning-item.ts';
import type { Snapshot } from './snapshot.ts';

/** Who answers. */
export type Speaker = {
  /** The model asked for; what the upstream reports takes its place. */
  readonly model: string;
  readonly provider: string;
};

export type AssemblerOptions = {
  readonly snapshot: Snapshot;
  readonly speaker: Speaker;
  /** The tier asked for; what the upstream reports takes its place. */
  readonly serviceTier: string;
  readonly reasoningForm: ReasoningForm;
  /** Seals what a provider wants to have back. */
  readonly seal: (provider: string, data: readonly ProviderData[]) => string;
  readonly mintId: MintId;
  /** In ms. */
  readonly now: () => number;
  /** Absent where nobody watches: then only the result is made. */
  readonly sink: EventSink | undefined;
  /** Absent where each delta is to be an event of its own. */
  readonly hold?: HoldDelta | undefined;
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
  readonly #hosted = new Map<number, OpenHosted>();
  #speaker: Speaker;
  #model: string;
  #serviceTier: string;
  #usage: Usage | null = null;

  constructor(options: AssemblerOptions) {
    this.#options = options;
    this.#speaker = options.speaker;
    this.#model = options.speaker.model;
    this.#serviceTier = options.serviceTier;
    this.#events = new EventWriter(options);
  }

  /** Whether anything was said that a client has seen, or will. */
  get hasOutput(): boolean {
    return this.#items.length > 0;
  }

  /** Somebody else is asked, as the one before failed with nothing said. */
  turnTo(speaker: Speaker): void {
    this.#speaker = speaker;
    this.#model = speaker.model;
    this.#serviceTier = this.#options.serviceTier;
    this.#usage = null;
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
        // A token that is half a character comes with no text, but with its probability.
        if (event.delta === '' && (event.logprobs?.length ?? 0) === 0) return;
        this.#openMessage().text(event.delta, event.logprobs);
        return;
      case 'refusal':
        if (event.delta !== '') this.#openMessage().refusal(event.delta);
        return;
      case 'annotation':
        this.#openMessage().annotation(event.annotation);
        return;
      case 'reasoning':
        if (event.delta !== '') this.#openReasoning().delta(event.delta, event.summary?.part);
        return;
      case 'provider_data':
        this.#openReasoning().keep(event.data);
        return;
      case 'spoken_end':
        if (event.encryptedContent !== undefined) this.#openReasoning().encrypted(event.encryptedContent);
        if (event.phase !== undefined) this.#message?.phase(event.phase);
        this.#closeSpoken(event.isCut === true ? 'incomplete' : 'completed');
        return;
      case 'tool_call':
        this.#openCall(event);
        return;
      case 'tool_arguments':
        this.#calls.get(event.index)?.delta(event.delta);
        return;
      case 'hosted':
        this.#takeHosted(event.index, event.at);
        return;
      case 'model':
        this.#model = event.name ?? this.#model;
        // A response names the tier that was used; some upstreams repeat what was asked for.
        if (event.serviceTier !== 'auto') this.#serviceTier = event.serviceTier ?? this.#serviceTier;
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
    const { mintId, reasoningForm: form, seal } = this.#options;
    const { provider } = this.#speaker;
    const id = reasoningId(mintId('rs'), provider);
    const options = { form, seal: (data: readonly ProviderData[]) => seal(provider, data) };
    this.#reasoning = this.#add((index) => new OpenReasoning(id, index, this.#events, options));
    return this.#reasoning;
  }

  /** Calls stay open until the end: upstreams may interleave their arguments. */
  #openCall({ index, callId, name, namespace, kind }: Extract<ModelEvent, { type: 'tool_call' }>): void {
    if (this.#calls.has(index)) return;
    this.#closeSpoken();
    const type = kind === 'custom' ? 'custom_tool_call' : 'function_call';
    const facts = {
      type,
      id: this.#options.mintId(idPrefixes[type]),
      callId: this.#freeCallId(callId),
      name,
      namespace,
    } as const;
    this.#calls.set(
      index,
      this.#add((outputIndex) => new OpenCall(facts, outputIndex, this.#events)),
    );
  }

  #takeHosted(index: number, at: HostedMoment): void {
    const known = this.#hosted.get(index);
    if (known?.isDone === true) return;
    if (at.kind === 'event') {
      known?.event(at.name, at.fields);
      return;
    }
    const item = known ?? this.#openHosted(index, at.item);
    if (at.kind === 'added') return;
    item.done(at.item);
    this.#close(item);
  }

  #openHosted(index: number, content: HostedItemContent): OpenHosted {
    this.#closeSpoken();
    const id = this.#options.mintId(idPrefixes[content.type]);
    const item = this.#add((outputIndex) => new OpenHosted(id, content, outputIndex, this.#events));
    this.#hosted.set(index, item);
    return item;
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
  #closeSpoken(status: 'completed' | 'incomplete' = 'completed'): void {
    const open = this.#message ?? this.#reasoning;
    if (open !== undefined) this.#close(open, status);
    this.#message = undefined;
    this.#reasoning = undefined;
  }

  #close(open: OpenItem, status: 'completed' | 'incomplete' = 'completed'): void {
    const item = this.#items.find((each) => each.open === open);
    if (item === undefined) return;
    item.encoded = open.close(status);
    item.open = undefined;
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
      service_tier: this.#serviceTier,
    };
  }
}

function isUnfinishedCall(item: OpenItem): boolean {
  return item instanceof OpenCall && !item.isUsable;
}

function unreachable(event: never): never {
  throw new Error(`unknown model event ${JSON.stringify(event)}`);
}
