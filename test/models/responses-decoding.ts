import { ApiError } from '../../src/errors.ts';
import type { ModelEvent, ModelTool } from '../../src/model.ts';
import { ResponsesDecoder } from '../../src/models/responses/decoder.ts';
import { AnswerReader } from '../../src/models/upstream/answer.ts';
import { OfferedTools, type ToolKinds } from '../../src/models/upstream/offered-tools.ts';

export type Decoding = {
  readonly logprobs?: boolean;
  readonly marksReasoning?: boolean;
  readonly tools?: readonly ModelTool[];
  readonly kinds?: ToolKinds;
};

function decoding({ logprobs = false, marksReasoning = false, tools = [], kinds }: Decoding) {
  const events: ModelEvent[] = [];
  const decoder = new ResponsesDecoder(
    {
      provider: 'acme',
      logprobs,
      marksReasoning,
      tools: new OfferedTools(tools, kinds ?? { namespaces: true, customTools: true }),
      reportedError: (error) => new ApiError('upstream_failed', `reported ${JSON.stringify(error)}`),
    },
    (event) => events.push(event),
  );
  return { events, decoder };
}

/** What a stream says, its bytes cut at these places. */
export function decodeBytes(bytes: Buffer, cuts: readonly number[], settings: Decoding = {}): ModelEvent[] {
  const { events, decoder } = decoding(settings);
  const reader = new AnswerReader('sse', decoder, 1_000_000);
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    reader.feed(bytes.subarray(at, cut));
    at = cut;
  }
  reader.end();
  const end = decoder.close();
  return [...events, end];
}

/** What these events say. */
export function decodeEvents(stream: readonly unknown[], settings: Decoding = {}): ModelEvent[] {
  const { events, decoder } = decoding(settings);
  for (const event of stream) decoder.data(typeof event === 'string' ? event : JSON.stringify(event));
  const end = decoder.close();
  return [...events, end];
}

/** What a whole answer says. */
export function decodeWhole(body: unknown, settings: Decoding = {}): ModelEvent[] {
  const { events, decoder } = decoding(settings);
  decoder.whole(typeof body === 'string' ? body : JSON.stringify(body));
  const end = decoder.close();
  return [...events, end];
}

/** Why an answer failed. */
export function failureOf(events: readonly ModelEvent[]): string | undefined {
  const end = events.at(-1);
  return end?.type === 'end' && end.reason === 'error' ? end.error.message : undefined;
}
