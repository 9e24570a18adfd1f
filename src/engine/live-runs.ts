import type { ApiError } from '../errors.ts';

/** A run as the registry sees it. */
export type LiveRun = {
  readonly tenant: string;
  readonly conversationId: string | undefined;
  /** Settles when nothing of the run is left to do; never rejects. */
  readonly ended: Promise<void>;
  stop(error: ApiError): void;
};

/** The runs of this process that are under way. */
export class LiveRuns {
  readonly #runs = new Set<LiveRun>();

  get count(): number {
    return this.#runs.size;
  }

  add(run: LiveRun): void {
    this.#runs.add(run);
    void run.ended.then(() => this.#runs.delete(run));
  }

  /** Ends the runs on a conversation, such as one that was deleted (R5). Other processes find out by their lease. */
  stopOn(tenant: string, conversationId: string, error: ApiError): void {
    for (const run of this.#runs) {
      if (run.tenant === tenant && run.conversationId === conversationId) run.stop(error);
    }
  }

  stopAll(error: ApiError): void {
    for (const run of this.#runs) run.stop(error);
  }

  /** Resolves when no run is left of those that are under way now. */
  async drained(): Promise<void> {
    await Promise.all([...this.#runs].map((run) => run.ended));
  }
}
