import type { ApiError } from '../errors.ts';

/** A run as the registry sees it. */
export type LiveRun = {
  readonly tenant: string;
  readonly conversationId: string | undefined;
  /** Settles when nothing of the run is left to do; never rejects. */
  readonly ended: Promise<void>;
  stop(error: ApiError): void;
};

/**
 * The runs of this process that are under way, in slots that are used again. A set that is added to and deleted from at
 * every request rehashes, and its old tables keep finished runs alive past the young generation: that alone was a fifth
 * of what a short answer costs.
 */
export class LiveRuns {
  readonly #slots: (LiveRun | undefined)[] = [];
  readonly #free: number[] = [];

  add(run: LiveRun): void {
    const slot = this.#free.pop() ?? this.#slots.length;
    this.#slots[slot] = run;
    void run.ended.then(() => {
      this.#slots[slot] = undefined;
      this.#free.push(slot);
    });
  }

  /** Ends the runs on a conversation, such as one that was deleted (R5). Other processes find out by their lease. */
  stopOn(tenant: string, conversationId: string, error: ApiError): void {
    for (const run of this.#slots) {
      if (run?.tenant === tenant && run.conversationId === conversationId) run.stop(error);
    }
  }

  stopAll(error: ApiError): void {
    for (const run of this.#slots) run?.stop(error);
  }

  /** Resolves when no run is left of those that are under way now. */
  async drained(): Promise<void> {
    await Promise.all(this.#slots.map((run) => run?.ended));
  }
}
