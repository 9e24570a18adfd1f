import { randomBytes } from 'node:crypto';
import type { ResponseOutcome } from '../api/response.ts';
import { ApiError } from '../errors.ts';
import type { ModelEnd, ModelEvent, ModelStream } from '../model.ts';
import type { NewTurn } from '../store.ts';
import { Assembler } from './assembler.ts';
import { type Attempt, nextAttempt } from './attempts.ts';
import { tierOf } from './echo.ts';
import type { EngineDeps } from './engine.ts';
import {
  asRunError,
  conversationLocked,
  conversationNotFound,
  credentialNotProven,
  responseErrorOf,
} from './failures.ts';
import { textBytesOf, toStorable } from './input-items.ts';
import type { LiveRun } from './live-runs.ts';
import type { EventSink, HoldDelta } from './output-items.ts';
import { callFor, type Plan, type Prepared, prepare } from './prepare.ts';

/** Somebody who follows a run event by event. */
export type RunWatcher = {
  /** The upstream has accepted the call, or has been silent for long: from now on every failure is an event (R13). */
  readonly open: () => void;
  readonly event: EventSink;
  /** Undefined where each delta is to be an event of its own. */
  readonly hold?: HoldDelta | undefined;
};

/** How a run ended. `json` is the whole response; empty where the client had left. */
export type RunResult = { readonly status: ResponseOutcome['status']; readonly json: string };

/** `preparing` → `calling` → `ending` → `ended`. A client that leaves or a lost lease can't change what is `ending`. */
type Phase = 'preparing' | 'calling' | 'ending' | 'ended';

/** One response from request to commit. */
export class Run implements LiveRun {
  readonly tenant: string;
  readonly conversationId: string | undefined;
  readonly responseId: string;
  /**
   * Resolves when the response is committed (or needs no commit) and its terminal event is written. Rejects with an
   * `ApiError` only before the run was opened; afterwards a failure is a result.
   */
  readonly result: Promise<RunResult>;
  readonly ended: Promise<void>;

  readonly #plan: Plan;
  readonly #deps: EngineDeps;
  readonly #watcher: RunWatcher | undefined;
  readonly #settle: PromiseWithResolvers<RunResult>;
  #holder = '';
  #phase: Phase = 'preparing';
  #isOpen = false;
  /** Whether the upstream's acceptance of the caller's credential allows state to be created. */
  #vouched: Promise<boolean> = Promise.resolve(false);
  /** The model has said why it ended: what is left is bookkeeping. */
  #isFinished = false;
  #hasLease = false;
  #prepared: Prepared | undefined;
  #attempt: Attempt | undefined;
  readonly #dropped: Set<string>;
  #assembler: Assembler | undefined;
  #stream: ModelStream | undefined;
  #openTimer: NodeJS.Timeout | undefined;
  #leaseTimer: NodeJS.Timeout | undefined;
  #unhold: (() => void) | undefined;

  constructor(plan: Plan, deps: EngineDeps, watcher: RunWatcher | undefined) {
    this.#plan = plan;
    this.#deps = deps;
    this.#watcher = watcher;
    this.tenant = plan.caller.tenant;
    this.conversationId = plan.conversationId;
    this.responseId = plan.responseId;
    this.#dropped = new Set(plan.fitted.dropped);
    this.#settle = Promise.withResolvers();
    this.result = this.#settle.promise;
    this.ended = this.result.then(
      () => undefined,
      () => undefined,
    );
    void this.#begin();
  }

  /** What of the request the model could not do, and was left out: complete when the run is opened. */
  get dropped(): readonly string[] {
    return [...this.#dropped];
  }

  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  /** The client has gone (R11). Before the model was done, its call ends now and a stored response becomes `cancelled`. */
  clientGone(): void {
    if (this.#isFinished) {
      // Nobody reads any more, so nobody would ask for the rest.
      this.#stream?.resume();
      return;
    }
    if (!this.#interrupt()) return;
    void this.#conclude(async () => {
      const outcome = this.#assembler?.cancellation();
      if (outcome !== undefined) await this.#record(outcome);
      return { status: 'cancelled', json: '' };
    });
  }

  /** Ends the run as failed: its lease is lost, its conversation gone, or the server stops. */
  stop(error: ApiError): void {
    if (!this.#interrupt()) return;
    void this.#conclude(() => this.#fail(error));
  }

  /** True where there was something to interrupt: then nobody else will end the run. */
  #interrupt(): boolean {
    if (this.#phase !== 'preparing' && this.#phase !== 'calling') return false;
    this.#phase = 'ending';
    this.#stream?.abort();
    return true;
  }

  async #begin(): Promise<void> {
    try {
      this.#armOpenTimer();
      if (this.conversationId !== undefined && this.#plan.store) await this.#takeLease(this.conversationId);
      const prepared = await prepare(this.#plan, this.#deps, (threadId) => this.#hold(threadId));
      // The client may have left, or the conversation gone, meanwhile.
      if (this.#phase !== 'preparing') return await this.#letGo();
      this.#call(prepared);
    } catch (thrown) {
      if (!this.#interrupt()) return this.#letGo();
      await this.#conclude(() => this.#fail(asRunError(thrown)));
    }
  }

  #call(prepared: Prepared): void {
    const { request, resolved } = this.#plan;
    const deps = this.#deps;
    const obfuscate = request.stream_options?.include_obfuscation ?? deps.settings.obfuscation;
    this.#prepared = prepared;
    this.#assembler = new Assembler({
      snapshot: prepared.snapshot,
      speaker: { model: resolved.upstreamName, provider: resolved.provider },
      serviceTier: tierOf(request),
      reasoningForm: deps.settings.reasoningForm,
      seal: (provider, data) => deps.sealer.seal(this.tenant, { provider, data }),
      mintId: deps.mintId,
      now: deps.now,
      sink: this.#watcher?.event,
      hold: this.#watcher?.hold,
      obfuscation: obfuscate ? obfuscation : undefined,
      takenCallIds: prepared.takenCallIds,
    });
    this.#ask({ resolved, items: prepared.items, cuts: 0 }, prepared);
  }

  #ask(attempt: Attempt, prepared: Prepared): void {
    const { resolved, items } = attempt;
    const { call, dropped } = callFor(this.#plan, { ...prepared, items }, resolved, this.#deps);
    for (const each of dropped) this.#dropped.add(each);
    this.#attempt = attempt;
    this.#phase = 'calling';
    this.#stream = resolved.model.stream(call, (event) => this.#onEvent(event));
  }

  /** Whether another attempt is under way, as nothing was said yet. A model that can't do what is asked is passed over. */
  #tryNext(error: ApiError): boolean {
    const [prepared, assembler] = [this.#prepared, this.#assembler];
    if (prepared === undefined || assembler === undefined || assembler.hasOutput) return false;
    const all = { items: prepared.items, truncates: this.#plan.request.truncation === 'auto' };
    let failed = this.#attempt;
    while (failed !== undefined) {
      const next = nextAttempt(failed, error, all);
      if (next === undefined) return false;
      const from = failed.resolved;
      failed = next;
      try {
        if (next.resolved !== from) {
          const { upstreamName: model, provider } = next.resolved;
          assembler.turnTo({ model, provider });
          this.#deps.onFallback(error, { responseId: this.responseId, from: from.provider, to: provider });
        } else {
          this.#deps.count('truncated_items', prepared.items.length - next.items.length);
        }
        this.#isFinished = false;
        this.#ask(next, prepared);
        return true;
      } catch (thrown) {
        if (!(thrown instanceof ApiError)) throw thrown;
      }
    }
    return false;
  }

  #onEvent(event: ModelEvent): void {
    if (this.#phase !== 'calling') return;
    try {
      if (event.type === 'start') {
        this.#started();
        this.#open();
      } else if (event.type === 'finish') {
        this.#isFinished = true;
      } else if (event.type === 'end') {
        if (event.reason === 'error' && this.#tryNext(event.error)) return;
        this.#phase = 'ending';
        void this.#conclude(() => this.#end(event));
      } else {
        this.#assembler?.feed(event);
      }
    } catch (thrown) {
      if (this.#phase === 'calling') this.stop(asRunError(thrown));
    }
  }

  /** An upstream that took the caller's own key vouches for it. */
  #started(): void {
    const resolved = this.#attempt?.resolved;
    if (resolved === undefined || !resolved.takesCredential || this.#deps.mayCreateState(this.tenant)) return;
    this.#vouched = this.#deps.vouch(this.tenant, resolved.provider);
  }

  #open(): void {
    clearTimeout(this.#openTimer);
    if (this.#isOpen || this.#watcher === undefined) return;
    this.#isOpen = true;
    this.#watcher.open();
    this.#assembler?.begin();
  }

  #armOpenTimer(): void {
    if (this.#watcher === undefined) return;
    const timer = setTimeout(() => {
      if (this.#phase === 'calling') this.#open();
      else if (this.#phase === 'preparing') this.#openTimer?.refresh();
    }, this.#deps.settings.openAfterMs);
    this.#openTimer = timer;
  }

  async #end(end: ModelEnd): Promise<RunResult> {
    const assembler = this.#assembler;
    if (assembler === undefined) throw new Error('a model ended before it was called');
    if (end.reason === 'error') return this.#fail(end.error);
    const outcome = assembler.end(end.reason);
    const failure = await this.#commit(outcome);
    if (failure !== undefined) return this.#fail(failure);
    const json = assembler.json(outcome);
    assembler.finish(outcome, json);
    return { status: outcome.status, json };
  }

  /** Before the run was opened, the error is the caller's to hand out; afterwards it is told by events. */
  async #fail(error: ApiError): Promise<RunResult> {
    const assembler = this.#assembler;
    if (!this.#isOpen || assembler === undefined) throw error;
    if (error.cause !== undefined || error.kind === 'internal') this.#onError(error);
    const outcome = assembler.failure(responseErrorOf(error));
    await this.#record(outcome);
    const json = assembler.json(outcome);
    assembler.error(error);
    assembler.finish(outcome, json);
    return { status: 'failed', json };
  }

  async #conclude(end: () => Promise<RunResult>): Promise<void> {
    clearTimeout(this.#openTimer);
    clearInterval(this.#leaseTimer);
    let settle: () => void;
    try {
      const result = await end();
      settle = () => this.#settle.resolve(result);
    } catch (thrown) {
      const error = asRunError(thrown);
      settle = () => this.#settle.reject(error);
    }
    this.#phase = 'ended';
    await this.#letGo();
    settle();
  }

  #hold(threadId: string): void {
    if (this.#plan.store) this.#unhold = this.#deps.store.hold(this.tenant, threadId);
  }

  async #letGo(): Promise<void> {
    this.#unhold?.();
    this.#unhold = undefined;
    await this.#freeLease();
  }

  /** Stores what the run made, where it is to be stored. Resolves with why that was not possible. */
  async #commit(outcome: ResponseOutcome): Promise<ApiError | undefined> {
    if (!this.#plan.store) return undefined;
    const kind = this.conversationId === undefined ? 'chain' : 'conversation';
    try {
      if (!(await this.#mayCreateState())) return credentialNotProven();
      const result = await this.#deps.store.appendTurn(this.tenant, this.#turn(kind, outcome));
      if (result === 'lost') return await this.#whyLost();
      // The append of a conversation's turn has freed its lease.
      this.#hasLease = false;
      return undefined;
    } catch (thrown) {
      return asRunError(thrown);
    }
  }

  /**
   * Keeps a failed or cancelled response as a record outside any thread (R3). Only where its id has left the server:
   * what nobody can name is not kept; and only for those who may create state, which a stream that began on time alone
   * does not prove. That it could not be kept is no reason not to tell the client how it ended.
   */
  async #record(outcome: ResponseOutcome): Promise<void> {
    if (!this.#plan.store || !this.#isOpen) return;
    try {
      if (!(await this.#mayCreateState())) return;
      await this.#deps.store.appendTurn(this.tenant, this.#turn('record', outcome));
    } catch (thrown) {
      this.#onError(asRunError(thrown));
    }
  }

  async #mayCreateState(): Promise<boolean> {
    return this.#deps.mayCreateState(this.tenant) || (await this.#vouched);
  }

  #turn(kind: NewTurn['kind'], outcome: ResponseOutcome): NewTurn {
    const prepared = this.#prepared;
    const assembler = this.#assembler;
    if (prepared === undefined || assembler === undefined) throw new Error('nothing to store yet');
    const output = assembler.output();
    const outputBytes = output.reduce((bytes, item) => bytes + textBytesOf(JSON.parse(item.json)), 0);
    return {
      kind,
      base: prepared.base,
      conversationId: this.conversationId,
      holder: this.#hasLease ? this.#holder : undefined,
      responseId: this.responseId,
      status: outcome.status,
      responseJson: prepared.snapshot.stored(outcome),
      input: prepared.input.map(toStorable),
      output,
      textBytes: prepared.inputTextBytes + outputBytes,
      user: this.#plan.request.user ?? undefined,
      createdAt: this.#plan.createdAt,
    };
  }

  async #takeLease(conversationId: string): Promise<void> {
    const { store, settings, mintId } = this.#deps;
    this.#holder = mintId('run');
    const taken = await store.acquireLease(this.tenant, conversationId, this.#holder, settings.leaseMs);
    if (taken === 'missing') throw conversationNotFound(conversationId);
    if (taken === 'busy') throw conversationLocked();
    this.#hasLease = true;
    this.#leaseTimer = setInterval(() => void this.#renewLease(conversationId), settings.leaseMs / 3);
  }

  /** A database that can't be asked for a while does not end the run: the append decides who wins, not the lease. */
  async #renewLease(conversationId: string): Promise<void> {
    try {
      const { store, settings } = this.#deps;
      if (await store.renewLease(this.tenant, conversationId, this.#holder, settings.leaseMs)) return;
      if (this.#phase === 'preparing' || this.#phase === 'calling') this.stop(await this.#whyLost());
    } catch (thrown) {
      this.#onError(asRunError(thrown));
    }
  }

  async #freeLease(): Promise<void> {
    clearInterval(this.#leaseTimer);
    if (!this.#hasLease || this.conversationId === undefined) return;
    this.#hasLease = false;
    try {
      await this.#deps.store.releaseLease(this.tenant, this.conversationId, this.#holder);
    } catch (thrown) {
      // It frees itself in time.
      this.#onError(asRunError(thrown));
    }
  }

  #onError(error: ApiError): void {
    this.#deps.onError(error, { responseId: this.responseId });
  }

  async #whyLost(): Promise<ApiError> {
    const id = this.conversationId ?? '';
    const conversation = await this.#deps.store.getConversation(this.tenant, id);
    return conversation === undefined ? conversationNotFound(id) : conversationLocked();
  }
}

/** Random characters that hide how long a delta is from whoever watches the wire (R17). */
function obfuscation(): string {
  const bytes = randomBytes(17);
  return bytes.toString('base64url', 1, 2 + ((bytes[0] ?? 0) & 15));
}
