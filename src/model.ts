import type { TextFormat } from './api/create-response.ts';
import type { HostedItemContent, Item, MessagePhase } from './api/items.ts';
import type { LogProb } from './api/parts.ts';
import type { JsonObject } from './api/primitives.ts';
import type { Usage } from './api/response.ts';
import type { CustomTool, FunctionTool, HostedTool } from './api/tools.ts';
import type { ApiError } from './errors.ts';

/**
 * What a model may be asked for. What it can't do is refused before the call, or left out with a warning where the
 * operator chose that; never dropped silently.
 */
export type ModelFeatures = {
  /** `top_logprobs`, and `message.output_text.logprobs` in `include`. */
  readonly logprobs: boolean;
  /** `text.verbosity` other than `medium`. */
  readonly verbosity: boolean;
  /** `reasoning.effort`. */
  readonly reasoningEffort: boolean;
  /** `presence_penalty` and `frequency_penalty` other than 0. */
  readonly penalties: boolean;
  /** A `tool_choice` that demands a call: `required`, or a function by name. */
  readonly forcedCalls: boolean;
  /** `parallel_tool_calls: false`: at most one call per turn. */
  readonly singleCalls: boolean;
  /** `text.format` of type `json_schema`, and of type `json_object`. */
  readonly jsonSchema: boolean;
  readonly jsonObject: boolean;
  /** Images in messages and outputs: none, as `data:` URLs only, or by any URL. */
  readonly images: 'none' | 'data' | 'url';
  /** `input_file` parts: none, with their content in the request, or by URL too. */
  readonly files: 'none' | 'data' | 'url';
  /** Grammars of custom tools. Custom tools themselves every model can be offered: as functions, where it has none. */
  readonly grammars: boolean;
  /** `service_tier` other than `auto` and `default`. */
  readonly serviceTier: boolean;
  /** Tools that the upstream runs itself, and the items that they leave. */
  readonly hostedTools: boolean;
};

/** What a model can do that can do everything. */
export const allFeatures: ModelFeatures = {
  logprobs: true,
  verbosity: true,
  reasoningEffort: true,
  penalties: true,
  forcedCalls: true,
  singleCalls: true,
  jsonSchema: true,
  jsonObject: true,
  images: 'url',
  files: 'url',
  grammars: true,
  serviceTier: true,
  hostedTools: true,
};

/** The header of upstream calls in which servers of this kind name themselves, so that a loop is noticed. */
export const viaHeader = 'x-open-responses-via';

/** One call of a model: everything it is given, resolved and checked. */
export type ModelCall = {
  /** The model's name as its provider knows it. */
  readonly model: string;
  readonly instructions: string | undefined;
  /**
   * History, then input. Each `function_call_output` stands behind its `function_call`, and no call is unanswered:
   * the engine has left out the halves that lost the other (R7).
   */
  readonly items: readonly Item[];
  /** Only those that the model may call in this turn. */
  readonly tools: readonly ModelTool[];
  readonly toolChoice: ModelToolChoice;
  readonly parallelToolCalls: boolean | undefined;
  readonly format: TextFormat | undefined;
  readonly verbosity: 'low' | 'medium' | 'high' | undefined;
  readonly reasoningEffort: string | undefined;
  /** A summary of the reasoning that the client asked for: `auto`, `concise` or `detailed`. */
  readonly reasoningSummary: string | undefined;
  /**
   * What this very provider said earlier and wants to have back, by the id of the reasoning item that carried it. The
   * engine has opened and checked it; reasoning items that are not in here came from elsewhere, and are not sent unless
   * the upstream itself can tell (`encrypted_content` of a Responses upstream).
   */
  readonly providerData: ReadonlyMap<string, readonly ProviderData[]>;
  readonly maxOutputTokens: number | undefined;
  readonly temperature: number | undefined;
  readonly topP: number | undefined;
  /** Present when log probabilities are wanted; the number of alternatives per token, 0–20. */
  readonly topLogprobs: number | undefined;
  readonly presencePenalty: number | undefined;
  readonly frequencyPenalty: number | undefined;
  /** Undefined for the tier that the upstream takes by itself. */
  readonly serviceTier: string | undefined;
  /** How often tools that the upstream runs may be called in all. */
  readonly maxToolCalls: number | undefined;
  readonly promptCacheKey: string | undefined;
  readonly promptCacheRetention: string | undefined;
  readonly promptCacheOptions: JsonObject | undefined;
  readonly safetyIdentifier: string | undefined;
  /** What `include` asks for: names that a Responses upstream is told, too. */
  readonly include: readonly string[];
  /** False: nobody watches the deltas, and a whole answer at the end is as good. */
  readonly streamed: boolean;
  /** The client's own bearer token, for a provider that has no key of the server's. */
  readonly credential: string | undefined;
  /** Ids of the servers that this call has passed, ours included (`x-open-responses-via`). */
  readonly via: readonly string[];
};

/** A call that asks for nothing, whole. */
export const emptyCall: ModelCall = {
  model: '',
  instructions: undefined,
  items: [],
  tools: [],
  toolChoice: 'auto',
  parallelToolCalls: undefined,
  maxToolCalls: undefined,
  format: undefined,
  verbosity: undefined,
  reasoningEffort: undefined,
  reasoningSummary: undefined,
  providerData: new Map(),
  maxOutputTokens: undefined,
  temperature: undefined,
  topP: undefined,
  topLogprobs: undefined,
  presencePenalty: undefined,
  frequencyPenalty: undefined,
  serviceTier: undefined,
  promptCacheKey: undefined,
  promptCacheRetention: undefined,
  promptCacheOptions: undefined,
  safetyIdentifier: undefined,
  include: [],
  streamed: false,
  credential: undefined,
  via: [],
};

/** A tool that a model is offered. Functions and custom tools of a `namespace` say so, and are offered one by one. */
export type ModelTool = CallableTool | HostedTool;

/** One that the client runs. */
export type CallableTool = Namespaced<FunctionTool> | Namespaced<CustomTool>;

export function isCallable(tool: ModelTool): tool is CallableTool {
  return tool.type === 'function' || tool.type === 'custom';
}

export type Namespaced<T> = T & { readonly namespace?: { readonly name: string; readonly description: string } };

export type ModelToolChoice =
  | 'none'
  | 'auto'
  | 'required'
  | { readonly type: 'function' | 'custom'; readonly name: string; readonly namespace?: string | undefined }
  /** A tool of the upstream's own, as the request named it. */
  | { readonly type: 'hosted'; readonly choice: JsonObject };

/**
 * Opaque data of a provider that goes back to it in later turns: thought signatures of calls, signed reasoning. A JSON
 * value that only the model's own code looks into. It travels with a reasoning item, sealed.
 */
export type ProviderData = JsonObject;

/**
 * What a model says, in order. One `start`, then any number of the others, then one `end`; nothing follows it.
 *
 * `finish`: the model has said why it ended. Only usage and the end of the connection may follow, and take a while: a
 * client that leaves from here on changes nothing (R11). A model whose `end` follows at once need not say it.
 *
 * `start`: the upstream accepted the call (its 2xx arrived), nothing said yet. `model`: the name that it reports, and the
 * tier that it served with. `tool_call` opens a call; `index` is the upstream's and joins the `tool_arguments` that belong
 * to it, which may be interleaved with those of other calls. A call that arrives whole is a `tool_call` and one
 * `tool_arguments`. Of a custom tool they are its `input` as it is, whatever form it had upstream.
 *
 * `reasoning` is a summary where the upstream calls it one, and else its raw text; `part` counts summaries from 0.
 * `provider_data` belongs to the reasoning before it, and comes before the calls that it speaks of; where nothing was
 * said, it makes a reasoning item of its own. `annotation` belongs to the text before it.
 *
 * `spoken_end`: the message or reasoning that is being said has ended, with what only its end tells. Without one it ends
 * where something else begins.
 *
 * `hosted`: an item of a tool that the upstream runs, whole: when it begins, with each event of its own in between, when
 * it is done. `index` joins the three. Its ids are the upstream's; the engine gives it another.
 */
export type ModelEvent =
  | { readonly type: 'start' }
  | { readonly type: 'model'; readonly name?: string; readonly serviceTier?: string }
  | { readonly type: 'text'; readonly delta: string; readonly logprobs?: readonly LogProb[] }
  | { readonly type: 'annotation'; readonly annotation: JsonObject }
  | { readonly type: 'refusal'; readonly delta: string }
  | { readonly type: 'reasoning'; readonly delta: string; readonly summary?: { readonly part: number } }
  | { readonly type: 'provider_data'; readonly data: ProviderData }
  | {
      readonly type: 'spoken_end';
      readonly phase?: MessagePhase;
      readonly encryptedContent?: string;
      /** It was cut short. */
      readonly isCut?: boolean;
    }
  | {
      readonly type: 'tool_call';
      readonly index: number;
      readonly callId: string | undefined;
      readonly name: string;
      readonly namespace?: string;
      /** A function's, where it is left out. */
      readonly kind?: 'custom';
    }
  | { readonly type: 'tool_arguments'; readonly index: number; readonly delta: string }
  | { readonly type: 'hosted'; readonly index: number; readonly at: HostedMoment }
  | { readonly type: 'finish' }
  | { readonly type: 'usage'; readonly usage: Usage }
  | ModelEnd;

/** `event`: its name and fields as the upstream sent them, without ids, indexes and numbers. */
export type HostedMoment =
  | { readonly kind: 'added' | 'done'; readonly item: HostedItemContent }
  | { readonly kind: 'event'; readonly name: string; readonly fields: JsonObject };

/**
 * How a call ended. `stop`: the model finished, with text or with calls. `max_output_tokens` and `content_filter` cut
 * it short (R3: incomplete). `error`: it failed; before `start` the caller has seen nothing yet, after it the answer
 * so far stands and is worthless.
 */
export type ModelEnd =
  | { readonly type: 'end'; readonly reason: 'stop' | 'max_output_tokens' | 'content_filter' }
  | { readonly type: 'end'; readonly reason: 'error'; readonly error: ApiError };

/** Takes a model's events, synchronously: no promise is made per event, as that is what a stream costs most (the hot path). */
export type ModelSink = (event: ModelEvent) => void;

/** A call under way. */
export interface ModelStream {
  /** Stops the call and closes its connection at once. No event follows, not even `end`. Harmless after the end. */
  abort(): void;
  /** Asks for no more events for now; a few that are under way may still arrive. Memory stays bounded meanwhile. */
  pause(): void;
  resume(): void;
}

/** Something that answers: a protocol spoken to one provider, or `demo`. */
export interface Model {
  readonly features: ModelFeatures;
  /**
   * Begins a call. Never throws and never rejects: whatever goes wrong is the last event. No event is delivered before
   * `stream` has returned. An exception thrown by the sink ends the call as an abort does; a sink should not throw, for nobody is told but the
   * log.
   */
  stream(call: ModelCall, sink: ModelSink): ModelStream;
  /**
   * How many tokens the call's input has, asked of the upstream itself. Absent where it can't tell. Rejects with an
   * `ApiError`.
   */
  countTokens?(call: ModelCall, signal: AbortSignal): Promise<number>;
}

/** A model that a request asked for, found. */
export type ResolvedModel = {
  readonly model: Model;
  /** The provider's name: for logs, and for what only it may have back. */
  readonly provider: string;
  /** The name to call it by, as its provider knows it. */
  readonly upstreamName: string;
  /** Whether the client's own bearer token goes to it. */
  readonly takesCredential: boolean;
  /** Who is asked where this one fails before it has said anything. */
  readonly fallback: ResolvedModel | undefined;
};

/** Who calls, as far as choosing a model needs to know. */
export type ModelChooser = {
  /** `x-model-provider`. */
  readonly provider: string | undefined;
  readonly credential: string | undefined;
  /** Servers that the call has passed already. */
  readonly via: readonly string[];
};

/** Knows which models can be called. */
export interface ModelCatalog {
  /** Finds the model of that name. Throws `ApiError` `model_not_found` where nothing serves it: never another model instead. */
  resolve(name: string, chooser: ModelChooser): ResolvedModel;
}

/** A model as GET /v1/models shows it. `created` in seconds. */
export type ModelResource = {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
};

/** Lists what can be called by name. */
export interface ModelLister {
  /** Asks the providers that this caller may use; those that don't answer in time are left out. Never rejects. */
  list(chooser: ModelChooser): Promise<readonly ModelResource[]>;
  /**
   * The model that a response would get for this name, where its provider lists it: every name that `list` tells, and
   * the other ways to say it (`NAME/model`, `NAME@model`, aliases with `*`). Never rejects.
   */
  find(name: string, chooser: ModelChooser): Promise<ModelResource | undefined>;
}
