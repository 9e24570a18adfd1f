import type { CreateResponse } from '../api/create-response.ts';
import { type Item, isCall } from '../api/items.ts';
import { type ApiError, invalidRequest } from '../errors.ts';
import type { ModelCall, ResolvedModel } from '../model.ts';
import type { Context, ContextEntry, EntryPlace } from '../store.ts';
import { echoOf, tierOf } from './echo.ts';
import type { Caller, EngineDeps } from './engine.ts';
import { conversationNotFound, previousNotFound } from './failures.ts';
import { type Fitted, fitItems, fitRequest } from './features.ts';
import { messageFromText, type NewItem, resolveInput, textBytesOf } from './input-items.ts';
import { pair } from './pairing.ts';
import { seenBy } from './provenance.ts';
import { Snapshot } from './snapshot.ts';
import { planTools, type ToolPlan } from './tool-choice.ts';

/** What of a request can be decided without asking anyone. */
export type Plan = {
  readonly request: CreateResponse;
  readonly caller: Caller;
  /** Who is asked first. */
  readonly resolved: ResolvedModel;
  readonly responseId: string;
  readonly createdAt: number;
  /** The effective `store` (R1). */
  readonly store: boolean;
  readonly conversationId: string | undefined;
  readonly tools: ToolPlan;
  /** The call of the first one without its items, and what of the request that model can't do. */
  readonly fitted: Fitted;
};

/** A run that is ready to call its model. */
export type Prepared = {
  /** What the model is given, history and input, joined and in order. */
  readonly items: readonly Item[];
  /** Those of `items` that came with the request. */
  readonly inputItems: ReadonlySet<Item>;
  readonly snapshot: Snapshot;
  /** The entry to append behind. */
  readonly base: EntryPlace | undefined;
  readonly input: readonly NewItem[];
  readonly inputTextBytes: number;
  readonly takenCallIds: ReadonlySet<string>;
};

/**
 * Checks what can be checked at once, so that a request that can't succeed takes no lease and asks no database.
 * @throws ApiError
 */
export function plan(request: CreateResponse, caller: Caller, deps: EngineDeps): Plan {
  if (request.previous_response_id != null && request.conversation != null) {
    throw invalidRequest(
      "'previous_response_id' and 'conversation' can't be used together.",
      'previous_response_id',
      'mutually_exclusive_parameters',
    );
  }
  const resolved = deps.catalog.resolve(request.model, caller);
  const tools = planTools(request);
  const { conversation } = request;
  const conversationId = typeof conversation === 'string' ? conversation : conversation?.id;
  const asked = { request, caller, tools };
  const fitted = fitRequest(draft(asked, resolved, deps), fittingOf(request, resolved, deps));
  return {
    ...asked,
    fitted,
    resolved,
    responseId: deps.mintId('resp'),
    createdAt: deps.now(),
    store: request.store ?? (conversationId === undefined ? deps.settings.storeByDefault : true),
    conversationId,
  };
}

/**
 * Reads the context, gives the input its stored form, and puts the model's call together.
 * @param onContext told at once which thread the run builds on, so that it is not evicted meanwhile.
 * @param options.mayBeEmpty whether there need be nothing for a model to answer.
 * @throws ApiError 400 or 404 where history and input don't fit.
 */
export async function prepare(
  plan: Plan,
  deps: EngineDeps,
  onContext: (threadId: string) => void,
  { mayBeEmpty = false } = {},
): Promise<Prepared> {
  const { request, caller } = plan;
  const context = await readContext(plan, deps);
  if (context.head !== undefined) onContext(context.head.threadId);
  const history = context.entries.flatMap((entry) => entry.items);
  const { input: given } = request;
  const input =
    typeof given === 'string'
      ? [messageFromText(given, deps.mintId)]
      : await resolveInput(
          given ?? [],
          history.map((item) => item.id),
          caller.tenant,
          deps,
        );
  const inputItems = input.map((each) => each.item);
  if (!mayBeEmpty && history.length === 0 && inputItems.length === 0) {
    throw invalidRequest("Missing required parameter: 'input'.", 'input', 'missing_required_parameter');
  }
  const inputTextBytes = totalTextBytes(inputItems);
  const allTextBytes = inputTextBytes + totalTextBytes(history) + Buffer.byteLength(request.instructions ?? '');
  if (allTextBytes > deps.settings.maxContextBytes) throw contextTooLong(deps.settings.maxContextBytes);

  const paired = pair({ history, newestTurn: newestTurnOf(context.entries), input: inputItems });
  if (paired.leftOut > 0) deps.count('unpaired_items_left_out', paired.leftOut);
  const facts = {
    id: plan.responseId,
    createdAt: plan.createdAt,
    store: plan.store,
    conversationId: plan.conversationId,
  };
  return {
    items: paired.items,
    inputItems: new Set(inputItems),
    snapshot: new Snapshot(echoOf(request, facts)),
    base: context.head,
    input,
    inputTextBytes,
    takenCallIds: callIdsOf(history, inputItems),
  };
}

async function readContext(
  plan: Plan,
  deps: EngineDeps,
): Promise<{ entries: readonly ContextEntry[]; head: EntryPlace | undefined }> {
  const previousId = plan.request.previous_response_id;
  const { conversationId } = plan;
  if (conversationId === undefined && previousId == null) return { entries: [], head: undefined };
  const { maxContextBytes } = deps.settings;
  const source =
    conversationId === undefined
      ? ({ kind: 'response', id: previousId ?? '' } as const)
      : ({ kind: 'conversation', id: conversationId } as const);
  const context = await deps.store.readContext(plan.caller.tenant, source, maxContextBytes);
  if (context === 'too_large') throw contextTooLong(maxContextBytes);
  if (context === 'missing') {
    throw source.kind === 'response' ? previousNotFound(source.id) : conversationNotFound(source.id);
  }
  checkContinuable(context, source.id);
  return context;
}

/** R3: only what completed, or was cut short, can be continued. */
function checkContinuable(context: Context, id: string): void {
  const { status } = context;
  if (status === undefined || status === 'completed' || status === 'incomplete') return;
  throw invalidRequest(
    `Previous response with id '${id}' is ${status}: only a completed or incomplete response can be continued.`,
    'previous_response_id',
    'invalid_value',
  );
}

/**
 * The call of one model: with what it may see, and what it can do.
 * @throws ApiError 400 where it can't do what is asked, and that is not to be left out.
 */
export function callFor(
  plan: Plan,
  { items, inputItems }: Pick<Prepared, 'items' | 'inputItems'>,
  resolved: ResolvedModel,
  deps: EngineDeps,
): { readonly call: ModelCall; readonly dropped: readonly string[] } {
  const fitting = fittingOf(plan.request, resolved, deps);
  const { call, dropped } = resolved === plan.resolved ? plan.fitted : fitRequest(draft(plan, resolved, deps), fitting);
  const fitted = fitItems({ ...call, items }, inputItems, fitting);
  const seen = seenBy(resolved.provider, fitted.call.items, plan.caller.tenant, deps.sealer);
  return { call: { ...fitted.call, ...seen }, dropped: [...dropped, ...fitted.dropped] };
}

function fittingOf(request: CreateResponse, { model }: ResolvedModel, { settings }: EngineDeps) {
  const tools = request.tools ?? [];
  return { features: model.features, mode: settings.unsupported, modelName: request.model, requestTools: tools };
}

/** A call without its items. */
function draft(
  { request, caller, tools }: Pick<Plan, 'request' | 'caller' | 'tools'>,
  { upstreamName, takesCredential }: ResolvedModel,
  deps: EngineDeps,
): ModelCall {
  const format = request.text?.format ?? undefined;
  const include = request.include ?? [];
  const alternatives = request.top_logprobs ?? 0;
  const tier = tierOf(request);
  return {
    model: upstreamName,
    instructions: request.instructions ?? undefined,
    items: [],
    providerData: new Map(),
    ...tools,
    parallelToolCalls: request.parallel_tool_calls ?? undefined,
    format: format?.type === 'text' ? undefined : format,
    verbosity: request.text?.verbosity ?? undefined,
    reasoningEffort: request.reasoning?.effort ?? undefined,
    reasoningSummary: request.reasoning?.summary ?? request.reasoning?.generate_summary ?? undefined,
    maxOutputTokens: request.max_output_tokens ?? undefined,
    temperature: request.temperature ?? undefined,
    topP: request.top_p ?? undefined,
    topLogprobs: include.includes('message.output_text.logprobs') || alternatives > 0 ? alternatives : undefined,
    presencePenalty: request.presence_penalty ?? undefined,
    frequencyPenalty: request.frequency_penalty ?? undefined,
    serviceTier: request.service_tier == null || request.service_tier === 'auto' ? undefined : tier,
    maxToolCalls: request.max_tool_calls ?? undefined,
    promptCacheKey: request.prompt_cache_key ?? undefined,
    promptCacheRetention: request.prompt_cache_retention ?? undefined,
    promptCacheOptions: request.prompt_cache_options ?? undefined,
    safetyIdentifier: request.safety_identifier ?? undefined,
    include,
    streamed: request.stream ?? false,
    credential: takesCredential ? caller.credential : undefined,
    via: [...caller.via, deps.serverId],
  };
}

function newestTurnOf(entries: readonly ContextEntry[]): { start: number; end: number } {
  let at = 0;
  let newest = { start: 0, end: 0 };
  for (const entry of entries) {
    const end = at + entry.items.length;
    if (entry.isTurn) newest = { start: at, end };
    at = end;
  }
  return newest;
}

function totalTextBytes(items: readonly Item[]): number {
  let total = 0;
  for (const item of items) total += textBytesOf(item);
  return total;
}

function callIdsOf(...lists: readonly (readonly Item[])[]): Set<string> {
  const ids = new Set<string>();
  for (const list of lists) {
    for (const item of list) if (isCall(item)) ids.add(item.call_id);
  }
  return ids;
}

function contextTooLong(maxBytes: number): ApiError {
  return invalidRequest(
    `The conversation and the input together exceed this server's limit of ${maxBytes} bytes of text. Shorten the input, or start a new conversation.`,
    'input',
    'context_length_exceeded',
  );
}
