import type { ApiError } from '../../errors.ts';
import type { ModelCall, ModelEnd, ModelSink } from '../../model.ts';
import type { FailureFacts, Reported } from './failures.ts';

/** What is spoken to an upstream: how a call becomes a request, and the bytes of its answer become events. */
export type Protocol = {
  /** What calls are posted to, such as `/chat/completions`. */
  readonly resource: string;
  readonly failures: FailureFacts;
  /** The body of a call's request. */
  body(call: ModelCall): object;
  /** Reads one answer to that call. */
  decoder(context: AnswerContext, emit: ModelSink): AnswerDecoder;
  /**
   * The call as it may succeed after the upstream has refused it (a 4xx) for a reason that can be mended. Undefined: it
   * can't be. Asked once per call.
   */
  mend?(call: ModelCall, refusal: Reported): ModelCall | undefined;
};

/** What an answer is read with. */
export type AnswerContext = {
  readonly provider: string;
  readonly call: ModelCall;
  /** Turns an `error` object in an answer into what a client may see. */
  readonly reportedError: (error: unknown) => ApiError;
};

/**
 * Reads one answer: the events of a stream one by one, or a whole one. Emits everything but `start` and `end`; the latter
 * is what `close` returns.
 */
export interface AnswerDecoder {
  /** The model has said why it ended; only its usage may still come. */
  readonly finished: boolean;
  /** Nothing more is expected: the answer is over, or has failed. */
  readonly settled: boolean;
  /** The `data` of one event of a stream. */
  data(text: string): void;
  /** The last event of a stream that ended without closing it: counts only where it is complete. */
  unclosed(text: string): void;
  /** A whole answer. */
  whole(text: string): void;
  /** The end of the answer, judged by what arrived. May emit what was held back. */
  close(): ModelEnd;
  /** From now on everything is skipped. */
  stop(): void;
}
