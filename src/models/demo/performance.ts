import { asApiError } from '../../errors.ts';
import type { ModelCall, ModelEvent } from '../../model.ts';
import { Budget } from './budget.ts';
import { type Line, type Script, scriptFor } from './script.ts';
import { countTokens, cutToTokens, inputTokens, usageOf } from './tokens.ts';
import { safeEnd } from './words.ts';

/** A moment of a performance: an event, or silence for so long. */
export type Beat = ModelEvent | { readonly type: 'hold'; readonly holdMs: number };

/**
 * The events of a call, made one by one as they are asked for, so that a long answer that nobody takes costs nothing.
 * Texts and arguments come in pieces of `chunkChars` characters (one more where a surrogate pair would be split).
 */
export function* performanceOf(
  call: ModelCall,
  chunkChars: number,
  budget: Budget = new Budget(),
): Generator<Beat, undefined> {
  yield { type: 'start' };
  yield { type: 'model', name: call.model };
  let script: Script;
  try {
    script = scriptFor(call, budget);
  } catch (thrown) {
    yield { type: 'end', reason: 'error', error: asApiError(thrown) };
    return;
  }
  const left = new OutputTokens(call.maxOutputTokens ?? Number.POSITIVE_INFINITY);
  const pieceChars = call.streamed ? chunkChars : Number.POSITIVE_INFINITY;
  let index = 0;
  for (const line of script.lines) {
    if (left.exhausted) break;
    yield* said(line, index, pieceChars, left);
    if (line.type === 'call') index += 1;
  }
  const end = left.exhausted ? ({ type: 'end', reason: 'max_output_tokens' } as const) : script.end;
  if (end.reason !== 'error') {
    yield { type: 'usage', usage: usageOf(inputTokens(call, budget), left.used, left.reasoning) };
  }
  yield end;
}

function* said(line: Line, index: number, pieceChars: number, left: OutputTokens): Generator<Beat, undefined> {
  if (line.type === 'hold') {
    yield line;
    return;
  }
  if (line.type === 'call') {
    if (!left.spend(countTokens(line.name))) return;
    const { callId, name, namespace, kind } = line;
    const group = namespace === undefined ? {} : { namespace };
    yield { type: 'tool_call', index, callId, name, ...group, ...(kind === undefined ? {} : { kind }) };
    for (const delta of pieces(left.cut(line.arguments, false), pieceChars))
      yield { type: 'tool_arguments', index, delta };
    return;
  }
  const text = left.cut(line.text, line.type === 'reasoning');
  for (const delta of pieces(text, pieceChars)) yield { type: line.type, delta };
}

function* pieces(text: string, pieceChars: number): Generator<string, undefined> {
  for (let at = 0; at < text.length; ) {
    const end = safeEnd(text, at + pieceChars);
    yield text.slice(at, end);
    at = end;
  }
}

/** The output tokens that are left, and those that went. */
class OutputTokens {
  readonly #limit: number;
  used = 0;
  reasoning = 0;
  /** Something did not fit, and was left out. */
  exhausted = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes so many tokens, or none when there are fewer left. */
  spend(tokens: number): boolean {
    this.exhausted ||= this.used + tokens > this.#limit;
    if (!this.exhausted) this.used += tokens;
    return !this.exhausted;
  }

  /** As much of the text as there are tokens for. */
  cut(text: string, reasoning: boolean): string {
    const part = cutToTokens(text, Math.max(this.#limit - this.used, 0));
    this.used += part.tokens;
    if (reasoning) this.reasoning += part.tokens;
    this.exhausted ||= part.cut;
    return part.text;
  }
}
