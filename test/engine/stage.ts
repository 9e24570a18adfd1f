import { type Caller, Engine, type EngineDeps } from '../../src/engine/engine.ts';
import { Sealer } from '../../src/engine/sealer.ts';
import { mintId } from '../../src/ids.ts';
import { allFeatures, type Model, type ModelCall, type ModelEvent, type ModelSink } from '../../src/model.ts';
import type { Store } from '../../src/store.ts';
import { createMemoryStore } from '../../src/stores/memory/store.ts';
import type { WireEvent } from '../support/harness.ts';

export const caller: Caller = { tenant: 't', credential: undefined, provider: undefined, via: [] };

/** A model that says what a test wants, when it wants it. */
export class Puppet implements Model {
  readonly features = allFeatures;
  readonly aborted = Promise.withResolvers<void>();
  readonly calls: ModelCall[] = [];
  #called = Promise.withResolvers<ModelSink>();

  stream(call: ModelCall, sink: ModelSink) {
    this.calls.push(call);
    this.#called.resolve(sink);
    return { abort: () => this.aborted.resolve(), pause: () => {}, resume: () => {} };
  }

  /** Waits to be called, then speaks. After its end it waits for the next call. */
  async say(...events: ModelEvent[]): Promise<void> {
    const sink = await this.#called.promise;
    if (events.at(-1)?.type === 'end') this.#called = Promise.withResolvers();
    for (const event of events) sink(event);
  }
}

export const start: ModelEvent = { type: 'start' };
export const hello: ModelEvent = { type: 'text', delta: 'hello' };
export const stop: ModelEvent = { type: 'end', reason: 'stop' };

/** An engine over a real store whose methods a test may replace, and a watcher that keeps what it saw. */
export function stage(replace: (store: Store) => Partial<Store> = () => ({}), more: Partial<EngineDeps> = {}) {
  const real = createMemoryStore({ maxThreads: 100, maxBytes: 1_000_000, now: Date.now });
  const store: Store = new Proxy(real, {
    get: (target, name) => Reflect.get({ ...bound(target), ...replace(real) }, name),
  });
  const model = new Puppet();
  const engine = new Engine({
    store,
    catalog: {
      resolve: (name) => ({
        model,
        provider: 'puppet',
        upstreamName: name,
        takesCredential: true,
        fallback: undefined,
      }),
    },
    settings: {
      storeByDefault: false,
      maxContextBytes: 1_000,
      leaseMs: 30,
      openAfterMs: 10_000,
      obfuscation: false,
      reasoningForm: 'summary',
      unsupported: 'reject',
    },
    sealer: new Sealer('a secret of more than thirty-two characters'),
    mintId,
    now: Date.now,
    serverId: 'here',
    count: () => {},
    vouch: async () => true,
    mayCreateState: () => true,
    onError: () => {},
    onFallback: () => {},
    ...more,
  });
  const events: WireEvent[] = [];
  const watcher = {
    open: () => {},
    event: (event: string, json: string) => void events.push({ event, data: JSON.parse(json) }),
  };
  return { real, store, model, engine, events, watcher };
}

function bound(store: Store): Record<string, unknown> {
  const methods: Record<string, unknown> = {};
  for (const name of Object.keys(store) as (keyof Store)[]) methods[name] = store[name].bind(store);
  return methods;
}
