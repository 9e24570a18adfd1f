import { type Handler, type ScriptedCall, sseText } from './upstream.ts';

/** What a scripted Responses server says: an item as it is in the end, and the events that bring it. */
export type Said = {
  readonly item: Readonly<Record<string, unknown>>;
  /** As it is announced. */
  readonly announced: Readonly<Record<string, unknown>>;
  /** Between its announcement and its end, without places and numbers. */
  readonly events: readonly Readonly<Record<string, unknown>>[];
};

export const responsesUsage = {
  input_tokens: 11,
  input_tokens_details: { cached_tokens: 3, cache_write_tokens: 0 },
  output_tokens: 7,
  output_tokens_details: { reasoning_tokens: 2 },
  total_tokens: 18,
};

/** A message, one delta per word. */
export function message(text: string, more: { id?: string; phase?: string; annotations?: object[] } = {}): Said {
  const { id = 'msg_up_1', annotations = [], ...rest } = more;
  const words = text.match(/\S*\s*/g)?.filter((word) => word !== '') ?? [];
  const at = { content_index: 0 };
  const part = { type: 'output_text', text, annotations, logprobs: [] };
  const head = { id, type: 'message', role: 'assistant', ...rest };
  return {
    item: { ...head, status: 'completed', content: [part] },
    announced: { ...head, status: 'in_progress', content: [] },
    events: [
      { type: 'response.content_part.added', ...at, part: { ...part, text: '', annotations: [] } },
      ...words.map((delta) => ({ type: 'response.output_text.delta', ...at, delta, logprobs: [] })),
      ...annotations.map((annotation, index) => ({
        type: 'response.output_text.annotation.added',
        ...at,
        annotation_index: index,
        annotation,
      })),
      { type: 'response.output_text.done', ...at, text, logprobs: [] },
      { type: 'response.content_part.done', ...at, part },
    ],
  };
}

/** A refusal, one delta per word. */
export function refusal(text: string): Said {
  const at = { content_index: 0 };
  const part = { type: 'refusal', refusal: text };
  const head = { id: 'msg_up_r', type: 'message', role: 'assistant' };
  const words = text.match(/\S*\s*/g)?.filter((word) => word !== '') ?? [];
  return {
    item: { ...head, status: 'completed', content: [part] },
    announced: { ...head, status: 'in_progress', content: [] },
    events: [
      { type: 'response.content_part.added', ...at, part: { ...part, refusal: '' } },
      ...words.map((delta) => ({ type: 'response.refusal.delta', ...at, delta })),
      { type: 'response.refusal.done', ...at, refusal: text },
      { type: 'response.content_part.done', ...at, part },
    ],
  };
}

export type ScriptedReasoning = { id?: string; summary?: readonly string[]; text?: string; encrypted?: string };

/** Reasoning: summaries, raw text, and what only its end tells. */
export function reasoning({ id = 'rs_up_1', summary = [], text, encrypted }: ScriptedReasoning): Said {
  const parts = summary.map((each) => ({ type: 'summary_text', text: each }));
  const content = text === undefined ? {} : { content: [{ type: 'reasoning_text', text }] };
  const raw = text === undefined ? [] : [{ type: 'response.reasoning_text.delta', content_index: 0, delta: text }];
  const summaries = parts.flatMap((part, index) => {
    const at = { summary_index: index };
    return [
      { type: 'response.reasoning_summary_part.added', ...at, part: { ...part, text: '' } },
      ...halves(part.text).map((delta) => ({ type: 'response.reasoning_summary_text.delta', ...at, delta })),
      { type: 'response.reasoning_summary_text.done', ...at, text: part.text },
      { type: 'response.reasoning_summary_part.done', ...at, part },
    ];
  });
  return {
    item: {
      id,
      type: 'reasoning',
      summary: parts,
      ...content,
      ...(encrypted !== undefined && { encrypted_content: encrypted }),
    },
    // What stands here may be incomplete, says OpenAI's description.
    announced: {
      id,
      type: 'reasoning',
      summary: [],
      ...(encrypted !== undefined && { encrypted_content: 'unfinished' }),
    },
    events: [...raw, ...summaries],
  };
}

export type ScriptedToolCall = ScriptedCall & { readonly namespace?: string };

/** A function call, its arguments in pieces of five characters. */
export function functionCall({ id, ...named }: ScriptedToolCall): Said {
  const item = { id: `fc_up_${id}`, type: 'function_call', call_id: id, ...named, status: 'completed' };
  return {
    item,
    announced: { ...item, arguments: '', status: 'in_progress' },
    events: [
      ...pieces(named.arguments).map((delta) => ({ type: 'response.function_call_arguments.delta', delta })),
      { type: 'response.function_call_arguments.done', arguments: named.arguments, name: named.name },
    ],
  };
}

/** A call of a custom tool. */
export function customCall(call: { id: string; name: string; input: string; namespace?: string }): Said {
  const { id, ...named } = call;
  const item = { id: `ctc_up_${id}`, type: 'custom_tool_call', call_id: id, ...named, status: 'completed' };
  return {
    item,
    announced: { ...item, input: '', status: 'in_progress' },
    events: [
      ...pieces(call.input).map((delta) => ({ type: 'response.custom_tool_call_input.delta', delta })),
      { type: 'response.custom_tool_call_input.done', input: call.input },
    ],
  };
}

/** An item of a tool that the upstream runs, with events of its own. */
export function hosted(item: Said['item'], announced: object = {}, events: Said['events'] = []): Said {
  return { item, announced: { ...item, status: 'in_progress', ...announced }, events };
}

const frame = { id: 'resp_up_1', object: 'response', created_at: 1_700_000_000, model: 'test-model-1', error: null };

/** A response as it ends. */
export function wholeResponse(said: readonly Said[], more: object = {}): object {
  return {
    ...frame,
    status: 'completed',
    service_tier: 'default',
    incomplete_details: null,
    output: said.map(({ item }) => item),
    usage: responsesUsage,
    ...more,
  };
}

/** The events of a response; `more` overrides what its end shows. */
export function responseEvents(said: readonly Said[], more: object = {}): Record<string, unknown>[] {
  const begun = { ...frame, status: 'in_progress', service_tier: 'auto', output: [], usage: null };
  const whole = wholeResponse(said, more) as { status: string };
  const events = [
    { type: 'response.created', response: begun },
    { type: 'response.in_progress', response: begun },
    ...said.flatMap(({ item, announced, events: own }, index) => [
      { type: 'response.output_item.added', output_index: index, item: announced },
      ...own.map(({ type, ...fields }) => ({ type, item_id: item['id'], output_index: index, ...fields })),
      { type: 'response.output_item.done', output_index: index, item },
    ]),
    { type: `response.${whole.status}`, response: whole },
  ];
  return events.map(({ type, ...fields }, at) => ({ type, sequence_number: at, ...fields }));
}

/** A stream's bytes: each event under its name, as OpenAI sends them. */
export function responsesSse(events: readonly Record<string, unknown>[]): string {
  return events.map((event) => `event: ${String(event['type'])}\ndata: ${JSON.stringify(event)}\n\n`).join('');
}

/** Answers with these items, as a stream or whole, as the request asks. */
export function answerItems(said: readonly Said[], more: object = {}): Handler {
  return (reply, request) => {
    if (request.body?.stream !== true) {
      reply.json(wholeResponse(said, more));
      return;
    }
    reply.open();
    reply.response.end(responsesSse(responseEvents(said, more)));
  };
}

/** Answers with a text: what `answerText` is to chat completions. */
export function answerResponseText(text: string): Handler {
  return answerItems([message(text)]);
}

/** Answers with function calls: what `answerCalls` is to chat completions. */
export function answerResponseCalls(calls: readonly ScriptedToolCall[], text?: string): Handler {
  return answerItems([...(text === undefined ? [] : [message(text)]), ...calls.map(functionCall)]);
}

/** Answers with a stream of these events, and `[DONE]` as some servers do. */
export function answerEvents(events: readonly unknown[]): Handler {
  return (reply) => {
    reply.open();
    reply.response.end(sseText(events));
  };
}

function pieces(text: string): string[] {
  return text.match(/.{1,5}/gs) ?? [];
}

function halves(text: string): string[] {
  const middle = Math.ceil(text.length / 2);
  return [text.slice(0, middle), text.slice(middle)].filter((half) => half !== '');
}
