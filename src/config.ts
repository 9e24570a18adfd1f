/** Everything that can be set, resolved and checked. Made once at start; the only reader of `process.env`. */
export type Config = {
  readonly server: {
    readonly host: string;
    /** 0 takes a free port. */
    readonly port: number;
    /** Names besides the loopback ones that a `Host` header may carry on a loopback bind. */
    readonly allowedHosts: readonly string[];
    /** How long open streams may take to finish after the first signal. */
    readonly shutdownTimeoutMs: number;
  };
  readonly http: {
    readonly corsOrigins: readonly string[];
    /** Whose `X-Forwarded-*` headers are believed: nobody's, everybody's, or those of these addresses. */
    readonly trustProxy: boolean | readonly string[];
    readonly maxBodyBytes: number;
    readonly unknownFields: 'reject' | 'ignore';
    readonly headersTimeoutMs: number;
    readonly bodyTimeoutMs: number;
    readonly idleTimeoutMs: number;
  };
  readonly auth: { readonly mode: 'passthrough' | 'none' };
  readonly store: {
    readonly type: 'in-memory' | 'sqlite';
    /** What an omitted `store` means (R1). */
    readonly default: boolean;
  };
  readonly memory: { readonly maxThreads: number; readonly maxBytes: number };
  readonly sqlite: { readonly path: string; readonly synchronous: 'full' | 'normal' };
  readonly context: { readonly maxBytes: number };
  readonly conversation: { readonly leaseMs: number };
  readonly stream: {
    readonly keepAliveMs: number;
    /** Whether a stream ends with `data: [DONE]`. */
    readonly done: boolean;
    readonly obfuscation: boolean;
  };
  readonly upstream: UpstreamConfig;
  readonly demo: {
    /** Undefined: on, unless the server listens beyond loopback. */
    readonly enabled: boolean | undefined;
    readonly chunkDelayMs: number;
    readonly chunkChars: number;
  };
  /** By name. Holds what was configured, `openai` included where `OPENAI_BASE_URL` or `OPENAI_API_KEY` is set. */
  readonly providers: ReadonlyMap<string, ProviderConfig>;
  readonly defaultProvider: string;
  /** In the order given; a pattern may hold `*`. */
  readonly models: readonly ModelAlias[];
  readonly log: { readonly level: LogLevel; readonly content: boolean };
};

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';

export type UpstreamConfig = {
  readonly connectTimeoutMs: number;
  /** From the request to the upstream's first byte. */
  readonly headersTimeoutMs: number;
  /** Between two pieces of its answer. */
  readonly idleTimeoutMs: number;
  /** The whole call. */
  readonly timeoutMs: number;
  readonly maxRetries: number;
  readonly maxResponseBytes: number;
  readonly maxConnections: number;
  /** A PEM file with further certificate authorities. */
  readonly caFile: string | undefined;
  readonly httpProxy: string | undefined;
  readonly httpsProxy: string | undefined;
  readonly noProxy: string | undefined;
};

export type ProviderConfig = {
  readonly name: string;
  /** A profile's name: `openai`, `ollama`, `generic`. Undefined: the profile of the provider's own name, else `generic`. */
  readonly profile: string | undefined;
  /** Without a trailing slash. Undefined: the profile's own address. */
  readonly baseUrl: string | undefined;
  readonly apiKey: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
};

/** `open-responses.models.ALIAS=provider/model`. */
export type ModelAlias = { readonly alias: string; readonly target: string };
