import type { ResponseEcho, ResponseOutcome } from '../api/response.ts';

/**
 * The JSON text of a response. What never changes during a run (tools and instructions can be large) is encoded once,
 * and every snapshot of the run joins texts.
 */
export class Snapshot {
  readonly id: string;
  readonly #head: string;

  constructor(echo: ResponseEcho) {
    this.id = echo.id;
    this.#head = JSON.stringify(echo).slice(0, -1);
  }

  /** The whole response; `output` is the JSON text of its items, in order. */
  json(outcome: ResponseOutcome, output: readonly string[]): string {
    return withOutput(this.stored(outcome), `[${output.join(',')}]`);
  }

  /** The response without its output, as the store keeps it: items are kept once, on their own. */
  stored(outcome: ResponseOutcome): string {
    return `${this.#head},${JSON.stringify(outcome).slice(1)}`;
  }
}

/** Puts the output back into what the store keeps. */
export function withOutput(responseJson: string, outputJson: string): string {
  return `${responseJson.slice(0, -1)},"output":${outputJson}}`;
}
