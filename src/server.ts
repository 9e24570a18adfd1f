import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { ConfigError } from './config-error.ts';
import { type Caller, Engine, type EngineDeps } from './engine/engine.ts';
import { credentialNotProven } from './engine/failures.ts';
import { newSecret, Sealer } from './engine/sealer.ts';
import { ApiError } from './errors.ts';
import { refuseOpenSpending, refuseOwnAddress } from './exposure.ts';
import { createApp } from './http/app.ts';
import type { HttpContext } from './http/context.ts';
import { mintId } from './ids.ts';
import { createLogger } from './logger.ts';
import { isLoopbackName } from './loopback.ts';
import { Catalog } from './models/catalog.ts';
import { CredentialBook } from './models/credentials.ts';
import { createDemoModel } from './models/demo/demo.ts';
import { createDispatcher, type HttpClient } from './models/http-client.ts';
import { createProviders, type Provider } from './models/providers.ts';
import { ThreadedTokenizer } from './models/tokenizer/tokenizer.ts';
import { openStore } from './open-store.ts';
import type { Store } from './store.ts';

/** A server that answers. */
export type RunningServer = {
  /** `http://HOST:PORT`, with the port that was taken. */
  readonly url: string;
  readonly config: Config;
  /** What can be called, a line each, for the banner. */
  readonly models: readonly string[];
  /** What has been counted since the start, by name. */
  readonly counters: ReadonlyMap<string, number>;
  /**
   * Refuses new work, lets open streams finish within the configured time, and closes. With `force`, or when the time
   * is over, runs end as failed at once.
   */
  close(options?: { readonly force?: boolean }): Promise<void>;
};

/**
 * Builds everything and listens. The only place that wires.
 * @throws ConfigError where the configuration contradicts itself, and whatever listening or opening the store throws.
 */
export async function startServer(config: Config): Promise<RunningServer> {
  const client = createClient(config);
  try {
    return await startWith(client, config);
  } catch (error) {
    await client.close();
    throw error;
  }
}

async function startWith(client: HttpClient, config: Config): Promise<RunningServer> {
  const logger = createLogger(config.log);
  const serverId = mintId('run');
  const providers = await createProviders(config, { dispatcher: client.dispatcher, logger, serverId });
  const isLoopback = isLoopbackName(config.server.host);
  const isDemoOn = config.demo.enabled ?? (isLoopback || config.auth.mode === 'none');
  const demo = isDemoOn ? createDemoModel(config.demo) : undefined;
  const { defaultProvider, models: aliases } = config;
  const catalog = new Catalog({ providers, defaultProvider, aliases, demo, now: Date.now });
  const book = new CredentialBook(Date.now);
  await refuseOpenSpending({ config, providers, isDemoOn, book, logger });
  if (config.server.port !== 0) await refuseOwnAddress(config.server.host, config.server.port, providers);

  const store = await openStore(config);
  const counters = new Map<string, number>();
  const needsProof = !isLoopback && config.auth.mode !== 'none';
  const proof = needsProof ? vouching(book, providers) : noProof;
  const sealer = await openSealer(config, store);
  const deps = engineDeps(config, { store, catalog, proof, serverId, logger, counters, sealer });
  const engine = new Engine(deps);
  const state = { isStopping: false };
  const tokenizer = new ThreadedTokenizer({
    onFailure: (error) => logger.warn({ err: error }, 'the thread that counts tokens failed'),
  });
  const context: Omit<HttpContext, 'callerOf'> = {
    engine,
    deps,
    store,
    models: catalog,
    tokenizer,
    validation: { unknownFields: config.http.unknownFields },
    stream: { ...config.stream, writeTimeoutMs: config.http.writeTimeoutMs },
    logsContent: config.log.content,
    requireProven: needsProof ? proving(book, providers, defaultProvider) : async () => {},
    isReady: () => !state.isStopping,
  };
  const rules = {
    allowsAnonymous: !needsProof,
    isLoopback,
    corsOrigins: config.http.corsOrigins,
    allowedHosts: config.server.allowedHosts,
    serverId,
  };
  const app = createApp({ ...config.http, logger, rules, mintId }, context);
  try {
    await app.listen({ host: config.server.host, port: config.server.port });
    if (config.server.port === 0) await refuseOwnAddress(config.server.host, portOf(app), providers);
  } catch (error) {
    await closeAll(app, store);
    throw error;
  }
  return {
    url: `http://${hostText(config.server.host)}:${portOf(app)}`,
    config,
    models: catalog.describe(),
    counters,
    close: closing({
      ...{ app, store, client, engine, state, logger, counters, tokenizer },
      timeoutMs: config.server.shutdownTimeoutMs,
    }),
  };
}

/** @throws ConfigError where the file of further certificate authorities is none. */
function createClient(config: Config): HttpClient {
  try {
    return createDispatcher(config.upstream);
  } catch (error) {
    if (config.upstream.caFile === undefined) throw error;
    throw new ConfigError(`open-responses.upstream.ca-file: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** With the operator's secret, or the one that the store keeps for all its servers. */
async function openSealer(config: Config, store: Store): Promise<Sealer> {
  try {
    return new Sealer(config.secret ?? (await store.keptSecret(newSecret())));
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** What the engine asks before it creates state. */
type Proof = Pick<EngineDeps, 'vouch' | 'mayCreateState'>;

type Parts = {
  readonly store: Store;
  readonly catalog: Catalog;
  readonly proof: Proof;
  readonly serverId: string;
  readonly logger: Logger;
  readonly counters: Map<string, number>;
  readonly sealer: Sealer;
};

function engineDeps(config: Config, parts: Parts): EngineDeps {
  const { store, catalog, proof, serverId, logger, counters } = parts;
  return {
    store,
    catalog,
    settings: {
      storeByDefault: config.store.default,
      maxContextBytes: config.context.maxBytes,
      leaseMs: config.conversation.leaseMs,
      openAfterMs: config.stream.openAfterMs,
      obfuscation: config.stream.obfuscation,
      reasoningForm: config.reasoning.events,
      unsupported: config.upstream.unsupported,
    },
    sealer: parts.sealer,
    mintId,
    now: Date.now,
    serverId,
    count: (counter, by) => counters.set(counter, (counters.get(counter) ?? 0) + by),
    ...proof,
    onError: (error, context) => logger.error({ err: error, ...context }, 'a run failed'),
    onFallback: (error, context) =>
      logger.warn({ reason: error.message, ...context }, 'a model failed, and the next one is asked'),
  };
}

/** On loopback, and where everybody may use the server, nobody has to prove anything. */
const noProof: Proof = { vouch: async () => true, mayCreateState: () => true };

/** Beyond loopback, a token may create state only once an upstream that checks tokens has vouched for it. */
function vouching(book: CredentialBook, providers: ReadonlyMap<string, Provider>): Proof {
  return {
    mayCreateState: (tenant) => book.isAccepted(tenant),
    vouch: async (tenant, name) => {
      const provider = providers.get(name);
      return provider === undefined ? book.isAccepted(tenant) : book.vouch(tenant, provider);
    },
  };
}

/** The same for what no model is called for: a provider is asked about the token. */
function proving(
  book: CredentialBook,
  providers: ReadonlyMap<string, Provider>,
  defaultProvider: string,
): HttpContext['requireProven'] {
  return async (caller: Caller) => {
    if (book.isAccepted(caller.tenant)) return;
    const provider = providers.get(caller.provider ?? defaultProvider);
    const { credential } = caller;
    if (provider !== undefined && credential !== undefined) {
      const word = await book.prove(caller.tenant, credential, provider);
      if (word === 'accepted') return;
      if (word === 'unknown') {
        throw new ApiError(
          'upstream_unavailable',
          `Provider \`${provider.name}\` could not be asked about this API key.`,
        );
      }
    }
    throw credentialNotProven();
  };
}

type Closing = {
  readonly app: FastifyInstance;
  readonly store: Store;
  readonly client: HttpClient;
  readonly engine: Engine;
  readonly tokenizer: ThreadedTokenizer;
  readonly state: { isStopping: boolean };
  readonly logger: Logger;
  readonly counters: ReadonlyMap<string, number>;
  readonly timeoutMs: number;
};

function closing(parts: Closing): RunningServer['close'] {
  const { app, store, client, engine, state, logger, counters, tokenizer, timeoutMs } = parts;
  let done: Promise<void> | undefined;
  const stopRuns = () =>
    engine.runs.stopAll(new ApiError('unavailable', 'The server is stopping.', { retryAfterMs: 1_000 }));
  const close = async (): Promise<void> => {
    // The listener stays while runs are open: whoever comes meanwhile is told to come back, not left without an answer.
    app.server.closeIdleConnections();
    const timer = setTimeout(stopRuns, timeoutMs);
    await engine.runs.drained();
    clearTimeout(timer);
    if (counters.size > 0) logger.info({ counters: Object.fromEntries(counters) }, 'counted since the start');
    await tokenizer.close();
    await closeAll(app, store);
    await client.close();
  };
  return async (options = {}) => {
    state.isStopping = true;
    done ??= close();
    if (options.force === true) stopRuns();
    await done;
  };
}

/** How long answers that are being written get once no run is left. */
const lastWritesMs = 2_000;

async function closeAll(app: FastifyInstance, store: Store): Promise<void> {
  const timer = setTimeout(() => app.server.closeAllConnections(), lastWritesMs);
  const closed = app.close();
  app.server.closeIdleConnections();
  await closed;
  clearTimeout(timer);
  await store.close();
}

function portOf(app: FastifyInstance): number {
  return (app.server.address() as AddressInfo).port;
}

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
