import type { CreateResponse } from '../api/create-response.ts';
import type { ApiError } from '../errors.ts';
import type { MintId } from '../ids.ts';
import type { ModelCatalog } from '../model.ts';
import type { Store } from '../store.ts';
import type { Unsupported } from './features.ts';
import { LiveRuns } from './live-runs.ts';
import { plan } from './prepare.ts';
import type { ReasoningForm } from './reasoning-item.ts';
import { Run, type RunWatcher } from './run.ts';
import type { Sealer } from './sealer.ts';

/** Who asks. */
export type Caller = {
  /** Hash of the bearer token, or `anonymous`. */
  readonly tenant: string;
  /** The bearer token itself, to be passed on; never stored or logged. */
  readonly credential: string | undefined;
  /** `x-model-provider`. */
  readonly provider: string | undefined;
  /** Servers that this call has passed already. */
  readonly via: readonly string[];
};

export type EngineSettings = {
  /** What an omitted `store` means without a conversation (R1). */
  readonly storeByDefault: boolean;
  /** Bytes of text that a model is given at most. */
  readonly maxContextBytes: number;
  /** How long a conversation's lease lives unless renewed; it is renewed three times as often. */
  readonly leaseMs: number;
  /** How long `response.created` waits for the upstream (R13). */
  readonly openAfterMs: number;
  readonly obfuscation: boolean;
  readonly reasoningForm: ReasoningForm;
  /** What happens to what a model can't do. */
  readonly unsupported: Unsupported;
};

export type EngineDeps = {
  readonly store: Store;
  readonly catalog: ModelCatalog;
  readonly settings: EngineSettings;
  readonly mintId: MintId;
  readonly sealer: Sealer;
  /** In ms since 1970. */
  readonly now: () => number;
  /** This process's own name in `x-open-responses-via`. */
  readonly serverId: string;
  /** Adds to a counter. */
  readonly count: (counter: string, by: number) => void;
  /**
   * An upstream has answered a call that carried this tenant's own credential with success. Resolves with whether the
   * tenant may create state from now on.
   */
  readonly vouch: (tenant: string, provider: string) => Promise<boolean>;
  /** False where nobody has vouched for this tenant's credential yet, and one is needed to create state. */
  readonly mayCreateState: (tenant: string) => boolean;
  /** Something failed that the caller is told little about. */
  readonly onError: (error: ApiError, context: { responseId: string }) => void;
  /** A model failed before it said anything, and another one is asked. */
  readonly onFallback: (error: ApiError, context: { responseId: string; from: string; to: string }) => void;
};

/** Runs responses. One way through for every transport: a transport watches a run, or waits for its result. */
export class Engine {
  readonly runs = new LiveRuns();
  readonly #deps: EngineDeps;

  constructor(deps: EngineDeps) {
    this.#deps = deps;
  }

  /**
   * Begins a run. With a watcher, events go to it from the moment it is opened; without one there is only the result.
   * @throws ApiError at once where the request can't succeed.
   */
  start(request: CreateResponse, caller: Caller, watcher?: RunWatcher): Run {
    const run = new Run(plan(request, caller, this.#deps), this.#deps, watcher);
    this.runs.add(run);
    return run;
  }
}
