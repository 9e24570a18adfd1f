import type { CreateResponse } from '../api/create-response.ts';
import type { Item } from '../api/items.ts';
import { type ApiError, invalidRequest } from '../errors.ts';
import type { Model, ModelCall } from '../model.ts';
import type { Context, ContextEntry, EntryPlace } from '../store.ts';
import { echoOf } from './echo.ts';
import type { Caller, EngineDeps } from './engine.ts';
import { conversationNotFound, previousNotFound } from './failures.ts';
import { messageFromText, type NewItem, resolveInput, textBytesOf } from './input-items.ts';
import { pair } from './pairing.ts';
import { Snapshot } from './snapshot.ts';
import { planTools, type ToolPlan } from './tool-choice.ts';

/** What of a request can be decided without asking anyone. */
export type Plan = {
  readonly request: CreateResponse;
  readonly caller: Caller;
  readonly model: Model;
  readonly provider: string;
  readonly upstreamName: string;
  readonly responseId: string;
  readonly createdAt: number;
  /** The effective `store` (R1). */
  readonly store: boolean;
  readonly conversationId: string | undefined;
  readonly tools: ToolPlan;
};

/** A run that is ready to call its model. */
export type Prepared = {
  readonly call: ModelCall;
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
  const { model, provider, upstreamName } = deps.catalog.resolve(request.model, caller);
  const tools = planTools(request);
  checkFeatures(request, model, tools);
  const { conversation } = request;
  const conversationId = typeof conversation === 'string' ? conversation : conversation?.id;
  return {
    request,
    caller,
    model,
    provider,
    upstreamName,
    responseId: deps.mintId('resp'),
    createdAt: deps.now(),
    store: request.store ?? (conversationId === undefined ? deps.settings.storeByDefault : true),
    conversationId,
    tools,
  };
}

/**
 * Reads the context, gives the input its stored form, and puts the model's call together.
 * @param onContext told at once which thread the run builds on, so that it is not evicted meanwhile.
 * @throws ApiError 400 or 404 where history and input don't fit.
 */
export async function prepare(plan: Plan, deps: EngineDeps, onContext: (threadId: string) => void): Promise<Prepared> {
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
  if (history.length === 0 && inputItems.length === 0) {
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
    call: callOf(plan, paired.items, deps),
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

function callOf(plan: Plan, items: readonly Item[], deps: EngineDeps): ModelCall {
  const { request, caller } = plan;
  const format = request.text?.format ?? undefined;
  const wantsLogprobs = request.include?.includes('message.output_text.logprobs') === true;
  const alternatives = request.top_logprobs ?? 0;
  return {
    model: plan.upstreamName,
    instructions: request.instructions ?? undefined,
    items,
    ...plan.tools,
    parallelToolCalls: request.parallel_tool_calls ?? undefined,
    format: format?.type === 'text' ? undefined : format,
    verbosity: request.text?.verbosity ?? undefined,
    reasoningEffort: request.reasoning?.effort ?? undefined,
    maxOutputTokens: request.max_output_tokens ?? undefined,
    temperature: request.temperature ?? undefined,
    topP: request.top_p ?? undefined,
    topLogprobs: wantsLogprobs || alternatives > 0 ? alternatives : undefined,
    presencePenalty: request.presence_penalty ?? undefined,
    frequencyPenalty: request.frequency_penalty ?? undefined,
    streamed: request.stream ?? false,
    credential: caller.credential,
    via: [...caller.via, deps.serverId],
  };
}

/** What a model can't do is refused, never dropped (docs/wire.md §2). Values that change nothing don't ask for it. */
function checkFeatures(request: CreateResponse, model: Model, { toolChoice }: ToolPlan): void {
  const { features } = model;
  const refuse = (param: string): never => {
    throw invalidRequest(
      `\`${param}\` is not supported with the model '${request.model}'.`,
      param,
      'unsupported_value',
    );
  };
  if (!features.logprobs && (request.top_logprobs ?? 0) > 0) refuse('top_logprobs');
  if (!features.logprobs && request.include?.includes('message.output_text.logprobs') === true) refuse('include');
  if (!features.verbosity && (request.text?.verbosity ?? 'medium') !== 'medium') refuse('text.verbosity');
  if (!features.reasoningEffort && request.reasoning?.effort != null) refuse('reasoning.effort');
  const isForced = toolChoice === 'required' || typeof toolChoice === 'object';
  if (!features.forcedCalls && isForced) refuse('tool_choice');
  if (!features.singleCalls && request.parallel_tool_calls === false) refuse('parallel_tool_calls');
  if (!features.penalties && (request.presence_penalty ?? 0) !== 0) refuse('presence_penalty');
  if (!features.penalties && (request.frequency_penalty ?? 0) !== 0) refuse('frequency_penalty');
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
    for (const item of list) if (item.type === 'function_call') ids.add(item.call_id);
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
