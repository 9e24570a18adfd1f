import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { type HostedEventType, hostedEventTypes, subjectOf } from './wire-hosted.ts';
import {
  type CheckedResponse,
  conform,
  contentPartSchema,
  insist,
  logprobsSchema,
  outputItemSchema,
  summaryPartSchema,
} from './wire-shapes.ts';

const index = z.int().min(0);
const id = z.string().min(1);
const snapshot = { response: z.looseObject({}) };
const inItem = { item_id: id, output_index: index };
const inContent = { ...inItem, content_index: index };
const inSummary = { ...inItem, summary_index: index };
const delta = { delta: z.string(), obfuscation: z.string().min(1).optional() };
const errorBody = { message: id, param: z.string().nullable(), code: id.nullable() };

function event<Type extends string, Fields extends z.ZodRawShape>(type: Type, fields: Fields) {
  return z.strictObject({ type: z.literal(type), sequence_number: index, ...fields });
}

/** Every event that this server may send, with every field that it has. */
const eventSchema = z.discriminatedUnion('type', [
  event('response.created', snapshot),
  event('response.in_progress', snapshot),
  event('response.completed', snapshot),
  event('response.incomplete', snapshot),
  event('response.failed', snapshot),
  event('response.output_item.added', { output_index: index, item: outputItemSchema }),
  event('response.output_item.done', { output_index: index, item: outputItemSchema }),
  event('response.content_part.added', { ...inContent, part: contentPartSchema }),
  event('response.content_part.done', { ...inContent, part: contentPartSchema }),
  event('response.output_text.delta', { ...inContent, ...delta, logprobs: logprobsSchema }),
  event('response.output_text.done', { ...inContent, text: z.string(), logprobs: logprobsSchema }),
  event('response.output_text.annotation.added', {
    ...inContent,
    annotation_index: index,
    annotation: z.looseObject({ type: id }),
  }),
  event('response.refusal.delta', { ...inContent, ...delta }),
  event('response.refusal.done', { ...inContent, refusal: z.string() }),
  event('response.function_call_arguments.delta', { ...inItem, ...delta }),
  event('response.function_call_arguments.done', { ...inItem, arguments: z.string(), name: id }),
  event('response.custom_tool_call_input.delta', { ...inItem, ...delta }),
  event('response.custom_tool_call_input.done', { ...inItem, input: z.string() }),
  event('response.reasoning_text.delta', { ...inContent, ...delta }),
  event('response.reasoning_text.done', { ...inContent, text: z.string() }),
  event('response.reasoning.delta', { ...inContent, ...delta }),
  event('response.reasoning.done', { ...inContent, text: z.string() }),
  event('response.reasoning_summary_part.added', { ...inSummary, part: summaryPartSchema }),
  event('response.reasoning_summary_part.done', { ...inSummary, part: summaryPartSchema }),
  event('response.reasoning_summary_text.delta', { ...inSummary, ...delta }),
  event('response.reasoning_summary_text.done', { ...inSummary, text: z.string() }),
  event('error', { ...errorBody, error: z.strictObject({ ...errorBody, type: id }) }),
  // Of tools that the upstream runs: as they came, but for their place.
  z.looseObject({ type: z.enum(hostedEventTypes), sequence_number: index, ...inItem }),
]);

type WireEvent = z.infer<typeof eventSchema>;
type EventOf<Type extends WireEvent['type']> = Extract<WireEvent, { type: Type }>;
type OutputItem = z.infer<typeof outputItemSchema>;
type Logprobs = z.infer<typeof logprobsSchema>;

type HostedEvent = EventOf<HostedEventType>;

type Part = {
  readonly type: 'output_text' | 'refusal' | 'summary_text' | 'reasoning_text';
  text: string;
  readonly logprobs: Logprobs[number][];
  readonly annotations: object[];
  /** `said` once the text is done, `closed` once the part is. */
  state: 'open' | 'said' | 'closed';
};

type OpenItem = {
  readonly added: OutputItem;
  readonly parts: Part[];
  arguments: string;
  isCallDone: boolean;
  done: OutputItem | undefined;
};

/** What may change between two snapshots of a response; all else is the same in each. */
const changing = new Set('status completed_at error incomplete_details model usage service_tier output'.split(' '));

/** Follows a stream as openai-node's helper does, and throws at whatever that would trip over, and at more. */
export class EventChecker {
  readonly #checkResponse: (json: unknown) => CheckedResponse;
  readonly #items: OpenItem[] = [];
  #count = 0;
  #stage: 'new' | 'created' | 'running' | 'error' | 'ended' = 'new';
  #first: CheckedResponse | undefined;

  constructor(checkResponse: (json: unknown) => CheckedResponse) {
    this.#checkResponse = checkResponse;
  }

  take(name: string, data: object): void {
    const what = `event ${this.#count} (${name})`;
    const each = conform(what, eventSchema, data);
    try {
      insist(`its data is of type ${each.type}`, each.type === name);
      insist(`sequence_number ${each.sequence_number}`, each.sequence_number === this.#count);
      insist('it follows the terminal event', this.#stage !== 'ended');
      this.#inOrder(each.type);
      this.#take(each);
    } catch (error) {
      throw new Error(`${what}: ${error instanceof Error ? error.message : ''}\n${JSON.stringify(data)}`, {
        cause: error,
      });
    }
    this.#count += 1;
  }

  /** The stream is over. */
  end(): void {
    insist(`the stream ended without a terminal event, after ${this.#count} events`, this.#stage === 'ended');
  }

  /** created, in_progress, then items, then a terminal event; `error` only right before `response.failed`. */
  #inOrder(type: WireEvent['type']): void {
    switch (this.#stage) {
      case 'new':
        insist('the first event is response.created', type === 'response.created');
        return;
      case 'created':
        insist('the second event is response.in_progress', type === 'response.in_progress');
        return;
      case 'error':
        insist('response.failed follows error', type === 'response.failed');
        return;
      default:
        insist('the response began already', type !== 'response.created' && type !== 'response.in_progress');
        insist('error comes before response.failed', type !== 'response.failed');
    }
  }

  #take(each: WireEvent): void {
    switch (each.type) {
      case 'response.created':
        this.#begin(each.response, 'created');
        return;
      case 'response.in_progress':
        this.#begin(each.response, 'running');
        return;
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
        this.#finish(each.type.slice('response.'.length), each.response);
        return;
      case 'error':
        insist('its two forms differ', isDeepStrictEqual(pick(each.error), pick(each)));
        this.#stage = 'error';
        return;
      case 'response.output_item.added':
        this.#addItem(each);
        return;
      case 'response.output_item.done':
        this.#closeItem(each);
        return;
      case 'response.function_call_arguments.delta':
        this.#callOf(each, 'function_call').arguments += each.delta;
        return;
      case 'response.custom_tool_call_input.delta':
        this.#callOf(each, 'custom_tool_call').arguments += each.delta;
        return;
      case 'response.function_call_arguments.done':
      case 'response.custom_tool_call_input.done':
        this.#closeCall(each);
        return;
      default:
        if (isHostedEvent(each)) this.#takeHosted(each);
        else this.#takePart(each);
        return;
    }
  }

  #takeHosted(each: HostedEvent): void {
    const { type } = this.#openItem(each.output_index, each.item_id).added;
    insist(`its item is a ${type}`, type === subjectOf(each.type));
  }

  #takePart(each: Exclude<Extract<WireEvent, { item_id: string }>, HostedEvent>): void {
    switch (each.type) {
      case 'response.content_part.added':
        this.#addPart(each, each.content_index, each.part.type);
        return;
      case 'response.reasoning_summary_part.added':
        this.#addPart(each, each.summary_index, each.part.type);
        return;
      case 'response.output_text.delta':
        this.#partOf(each, each.content_index, 'output_text', 'open').logprobs.push(...each.logprobs);
        this.#partOf(each, each.content_index, 'output_text', 'open').text += each.delta;
        return;
      case 'response.refusal.delta':
        this.#partOf(each, each.content_index, 'refusal', 'open').text += each.delta;
        return;
      case 'response.reasoning_summary_text.delta':
        this.#partOf(each, each.summary_index, 'summary_text', 'open').text += each.delta;
        return;
      case 'response.output_text.annotation.added': {
        const { annotations } = this.#partOf(each, each.content_index, 'output_text', 'open');
        insist('its index', each.annotation_index === annotations.length);
        annotations.push(each.annotation);
        return;
      }
      case 'response.reasoning_text.delta':
      case 'response.reasoning.delta':
        this.#partOf(each, each.content_index, 'reasoning_text', 'open').text += each.delta;
        return;
      case 'response.reasoning_text.done':
      case 'response.reasoning.done':
        say(this.#partOf(each, each.content_index, 'reasoning_text', 'open'), each.text);
        return;
      case 'response.output_text.done': {
        const part = this.#partOf(each, each.content_index, 'output_text', 'open');
        insist('its logprobs are not those of the deltas', isDeepStrictEqual(part.logprobs, each.logprobs));
        say(part, each.text);
        return;
      }
      case 'response.refusal.done':
        say(this.#partOf(each, each.content_index, 'refusal', 'open'), each.refusal);
        return;
      case 'response.reasoning_summary_text.done':
        say(this.#partOf(each, each.summary_index, 'summary_text', 'open'), each.text);
        return;
      case 'response.content_part.done':
        close(this.#partOf(each, each.content_index, each.part.type, 'said'), each.part);
        return;
      case 'response.reasoning_summary_part.done':
        close(this.#partOf(each, each.summary_index, each.part.type, 'said'), each.part);
        return;
      default:
        throw new Error('not an event of a part');
    }
  }

  #begin(json: unknown, stage: 'created' | 'running'): void {
    const response = this.#checkResponse(json);
    insist(`status ${response.status}`, response.status === 'in_progress');
    insist('usage before anything was said', response.usage === null);
    if (this.#first !== undefined) insist('it differs from the first', isDeepStrictEqual(response, this.#first));
    this.#first ??= response;
    this.#stage = stage;
  }

  #addItem({ output_index: at, item }: EventOf<'response.output_item.added'>): void {
    insist(`output_index ${at} instead of ${this.#items.length}`, at === this.#items.length);
    insist(
      'its id was there before',
      this.#items.every(({ added }) => added.id !== item.id),
    );
    const spoken = this.#items.find((each) => each.done === undefined && isSpoken(each.added));
    insist('another item is still being said', spoken === undefined);
    // What an upstream ran may be done when it is told.
    insist(`status ${item.status}`, isHosted(item) || (item.status ?? 'in_progress') === 'in_progress');
    insist('it is not empty', isEmpty(item));
    this.#items.push({ added: item, parts: [], arguments: '', isCallDone: false, done: undefined });
  }

  #closeItem({ output_index: at, item }: EventOf<'response.output_item.done'>): void {
    const open = this.#openItem(at, item.id);
    insist(`status ${item.status}`, item.status !== 'in_progress');
    insist(
      'a part is still open',
      open.parts.every((part) => part.state === 'closed'),
    );
    insist('its arguments are not done', !isCall(item) || open.isCallDone);
    insist('its type differs', item.type === open.added.type);
    const isSaid = isHosted(item) || isDeepStrictEqual(withoutEnd(item), withoutEnd(said(open)));
    insist('it is not what was said', isSaid);
    open.done = item;
  }

  #closeCall(
    each: EventOf<'response.function_call_arguments.done'> | EventOf<'response.custom_tool_call_input.done'>,
  ): void {
    const isFunction = each.type === 'response.function_call_arguments.done';
    const open = this.#callOf(each, isFunction ? 'function_call' : 'custom_tool_call');
    const given = isFunction ? each.arguments : each.input;
    insist('its arguments are not those of the deltas', given === open.arguments);
    const name = open.added.type === 'function_call' ? open.added.name : undefined;
    insist('its name differs', !isFunction || name === each.name);
    open.isCallDone = true;
  }

  #addPart(each: { item_id: string; output_index: number; part: object }, at: number, type: Part['type']): void {
    const open = this.#openItem(each.output_index, each.item_id);
    const wanted = type === 'summary_text' || type === 'reasoning_text' ? 'reasoning' : 'message';
    insist(`a part of type ${type} in a ${open.added.type}`, open.added.type === wanted);
    const next = listOf(open, type).length;
    insist(`index ${at} instead of ${next}`, at === next);
    insist(
      'the part before is still open',
      open.parts.every((part) => part.state === 'closed'),
    );
    const part: Part = { type, text: '', logprobs: [], annotations: [], state: 'open' };
    insist('the part is not empty', isDeepStrictEqual(each.part, asPart(part)));
    open.parts.push(part);
  }

  #partOf(each: { item_id: string; output_index: number }, at: number, type: Part['type'], state: Part['state']): Part {
    const part = listOf(this.#openItem(each.output_index, each.item_id), type)[at];
    if (part === undefined) throw new Error(`there is no part ${at}`);
    insist(`the part is of type ${part.type}`, part.type === type);
    insist(`the part is ${part.state}`, part.state === state);
    return part;
  }

  #callOf(each: { item_id: string; output_index: number }, type: OutputItem['type']): OpenItem {
    const open = this.#openItem(each.output_index, each.item_id);
    insist(`the item is a ${open.added.type}`, open.added.type === type);
    insist('its arguments are done', !open.isCallDone);
    return open;
  }

  #openItem(at: number, itemId: string): OpenItem {
    const open = this.#items[at];
    if (open === undefined) throw new Error(`there is no item ${at}`);
    insist(`item ${at} has id ${open.added.id}, not ${itemId}`, open.added.id === itemId);
    insist(`item ${at} is done`, open.done === undefined);
    return open;
  }

  /** Items that a failure cut short are in the snapshot too, as incomplete. */
  #finish(status: string, json: unknown): void {
    const response = this.#checkResponse(json);
    insist(`status ${response.status}`, response.status === status);
    insist('what was asked for changed', isDeepStrictEqual(unchanging(response), unchanging(this.#first ?? response)));
    insist('an item is still open', status === 'failed' || this.#items.every((item) => item.done !== undefined));
    const output = this.#items.map((item) => item.done ?? cut(item));
    insist('its output is not what was said', isDeepStrictEqual(response.output, output));
    insist('there is no output', status !== 'completed' || output.length > 0);
    const last = output.at(-1);
    const isWhole = last !== undefined && (last.type === 'message' || isCall(last)) && last.status === 'completed';
    insist('its last item is completed', status !== 'incomplete' || !isWhole);
    this.#stage = 'ended';
  }
}

function isHostedEvent(each: WireEvent): each is HostedEvent {
  return hostedEventTypes.some((type) => type === each.type);
}

function say(part: Part, text: string): void {
  insist('its text is not that of the deltas', text === part.text);
  part.state = 'said';
}

function close(part: Part, shown: object): void {
  insist('the part is not what was said', isDeepStrictEqual(shown, asPart(part)));
  part.state = 'closed';
}

function asPart({ type, text, annotations, logprobs }: Part): object {
  if (type === 'output_text') return { type, text, annotations, logprobs };
  return type === 'refusal' ? { type, refusal: text } : { type, text };
}

function listOf({ parts }: OpenItem, type: Part['type']): Part[] {
  return parts.filter((part) => (part.type === 'summary_text') === (type === 'summary_text'));
}

/** An item as the events since it was added make it. */
function said(open: OpenItem): object {
  const { added, arguments: text } = open;
  switch (added.type) {
    case 'function_call':
      return { ...added, arguments: text };
    case 'custom_tool_call':
      return { ...added, input: text };
    case 'message':
      return { ...added, content: open.parts.map(asPart) };
    case 'reasoning': {
      const content = listOf(open, 'reasoning_text').map(asPart);
      const summary = listOf(open, 'summary_text').map(asPart);
      return { ...added, summary, ...(content.length === 0 ? {} : { content }) };
    }
    default:
      return added;
  }
}

function cut(item: OpenItem): OutputItem {
  const status = item.added.type === 'reasoning' || item.added.status === undefined ? {} : { status: 'incomplete' };
  return { ...said(item), ...status } as OutputItem;
}

function isEmpty(item: OutputItem): boolean {
  switch (item.type) {
    case 'function_call':
      return item.arguments === '';
    case 'custom_tool_call':
      return item.input === '';
    case 'message':
      return item.content.length === 0;
    case 'reasoning':
      return item.summary.length === 0 && item.content === undefined;
    default:
      return true;
  }
}

function isCall({ type }: OutputItem): boolean {
  return type === 'function_call' || type === 'custom_tool_call';
}

/** Of which only one is being said at a time. */
function isSpoken({ type }: OutputItem): boolean {
  return type === 'message' || type === 'reasoning';
}

function isHosted(item: OutputItem): boolean {
  return !isSpoken(item) && !isCall(item);
}

/** Without what an item's end tells. */
function withoutEnd(item: object): object {
  return Object.fromEntries(
    Object.entries(item).filter(([key]) => key !== 'status' && key !== 'phase' && key !== 'encrypted_content'),
  );
}

function unchanging(response: object): object {
  return Object.fromEntries(Object.entries(response).filter(([key]) => !changing.has(key)));
}

function pick({ message, code, param }: { message: string; code: string | null; param: string | null }): object {
  return { message, code, param };
}
