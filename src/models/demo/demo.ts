import { ApiError } from '../../errors.ts';
import type { Model, ModelCall, ModelSink, ModelStream } from '../../model.ts';
import { Budget } from './budget.ts';
import { type Beat, performanceOf } from './performance.ts';
import { play } from './player.ts';
import { inputTokens } from './tokens.ts';

export type DemoOptions = {
  /** Between two pieces of a streamed answer; 0 for none. */
  readonly chunkDelayMs: number;
  /** Characters in a piece of a streamed answer. */
  readonly chunkChars: number;
  /** Calls at the same time; one more is refused as `rate_limited` before its start. Without it there is no limit. */
  readonly maxConcurrent?: number | undefined;
};

/**
 * `demo`: a scripted model inside the server, so that a first run and every test need no key. It draws no random
 * number and asks no clock: the same call has the same answer, call ids and usage included, whatever the temperature,
 * `top_p` and the penalties say, which have nothing to move here.
 *
 * It answers with the first of these that fits:
 * - `demo: fail` fails after the start with nothing said; `demo: fail midway` after some text; `demo: refuse` refuses;
 *   `demo: filter` is cut by a content filter; `demo: empty` says nothing; `demo: slow` says nothing for ten minutes,
 *   then times out; `demo: think …` reasons first and goes on with the rest, as any call of effort `high` or above does;
 * - a call of each function that the words suggest (`functions.ts`), arguments taken from the words (`hints.ts`);
 * - what the functions returned;
 * - a value of the schema that `text.format` asks for (`schema-example.ts`), or `{"answer": …}` for `json_object`;
 * - `Say …`, `Repeat …`, `Reply with …`; `Count to 5`; `What are your instructions?`;
 * - the images that it was given: their media type and size, or their URL;
 * - what the user said before (`facts.ts`): `What is my name?`, `What did I say first?`, `What do you remember?`;
 * - what it is, what it heard, and how many messages there were; shorter or longer as `verbosity` asks.
 * A schema that would keep the server busy for long ends with `invalid_request` (`budget.ts`), and of long texts only the
 * beginning is looked at.
 * Texts follow the few forms of instructions that `guidance.ts` names. `maxOutputTokens` cuts everything.
 */
export function createDemoModel(options: DemoOptions): Model {
  const { chunkDelayMs, chunkChars, maxConcurrent = Number.POSITIVE_INFINITY } = options;
  if (!Number.isInteger(chunkChars) || chunkChars < 1)
    throw new RangeError('chunkChars must be a whole number above 0');
  if (!(chunkDelayMs >= 0)) throw new RangeError('chunkDelayMs must not be negative');
  let running = 0;
  return {
    features: {
      logprobs: false,
      verbosity: true,
      reasoningEffort: true,
      penalties: true,
      forcedCalls: true,
      singleCalls: true,
      jsonSchema: true,
      jsonObject: true,
      images: 'url',
      files: 'url',
      grammars: false,
      serviceTier: true,
      hostedTools: false,
    },
    stream(call: ModelCall, sink: ModelSink): ModelStream {
      if (running >= maxConcurrent) return play(refusal(), 0, sink, () => undefined);
      running += 1;
      const delayMs = call.streamed ? chunkDelayMs : 0;
      return play(performanceOf(call, chunkChars), delayMs, sink, () => {
        running -= 1;
      });
    },
    /** As its usage says. */
    countTokens: async (call: ModelCall) => inputTokens(call, new Budget()),
  };
}

function* refusal(): Generator<Beat, undefined> {
  const message = 'The demo model has no room for another call at the moment.';
  const error = new ApiError('rate_limited', message, { code: 'rate_limit_exceeded', retryAfterMs: 1_000 });
  yield { type: 'end', reason: 'error', error };
}
