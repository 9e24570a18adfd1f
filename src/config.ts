import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { ConfigError } from './config-error.ts';
import {
  type Flags,
  type Given,
  type Key,
  type Level,
  parseKey,
  readEnvironment,
  readFlags,
  readPropertiesFile,
} from './setting-sources.ts';
import { BadValue, type Kind, proxyUrl } from './setting-values.ts';
import {
  modelSettings,
  otherVariables,
  type ProviderField,
  providerSettings,
  type SettingKey,
  settings,
  type ValueOf,
} from './settings.ts';

export { ConfigError } from './config-error.ts';

/** Everything that can be set, resolved and checked. Made once at start; the only reader of `process.env`. */
export type Config = {
  readonly server: {
    readonly host: string;
    /** 0 takes a free port. */
    readonly port: number;
    /** How many processes serve requests. */
    readonly workers: number;
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
    /** How long a client may take nothing of the answer that waits for it. */
    readonly writeTimeoutMs: number;
  };
  readonly auth: { readonly mode: 'passthrough' | 'none' };
  readonly store: {
    readonly type: 'in-memory' | 'sqlite' | 'postgres' | 'mongodb';
    /** What an omitted `store` means (R1). */
    readonly default: boolean;
    /** How long one operation of a database over a network may take. */
    readonly timeoutMs: number;
    readonly autoMigrate: boolean;
  };
  readonly memory: { readonly maxThreads: number; readonly maxBytes: number };
  readonly sqlite: { readonly path: string; readonly synchronous: 'full' | 'normal' };
  /** `uri` is set where it is the store's. */
  readonly postgres: { readonly uri: string | undefined; readonly poolSize: number; readonly schema: string };
  readonly mongodb: { readonly uri: string | undefined; readonly database: string | undefined };
  readonly context: { readonly maxBytes: number };
  readonly conversation: { readonly leaseMs: number };
  readonly stream: {
    readonly keepAliveMs: number;
    /** How long `response.created` waits for the upstream (R13). */
    readonly openAfterMs: number;
    /** Whether a stream ends with `data: [DONE]`. */
    readonly done: boolean;
    readonly obfuscation: boolean;
    /** Whether deltas that arrive together leave as one. */
    readonly joinDeltas: boolean;
  };
  readonly reasoning: { readonly events: 'summary' | 'openai' | 'openresponses' };
  /** What provider data is sealed with. Undefined: the store keeps one. */
  readonly secret: string | undefined;
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
  /** What happens to what a request asks for and its model can't do. */
  readonly unsupported: 'reject' | 'drop';
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
  /** Undefined: what the profile is spoken to with at this address. */
  readonly api: 'chat-completions' | 'responses' | 'ai-sdk' | undefined;
  /** The npm package that speaks to it, for `ai-sdk`. */
  readonly package: string | undefined;
  /** Without a trailing slash. Undefined: the profile's own address. */
  readonly baseUrl: string | undefined;
  readonly apiKey: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** Whether an upstream that speaks Responses may keep what it answers. */
  readonly store: boolean;
};

/** `open-responses.models.ALIAS=provider/model,…`: at least one, in the order in which they are asked. */
export type ModelAlias = { readonly alias: string; readonly targets: readonly string[] };

/** Where settings come from. What is left out is the process's own. */
export type ConfigSources = {
  /** The arguments after the command's name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly readFile: (path: string) => string;
};

/** Read from the working directory where it is there. */
const defaultConfigFile = 'open-responses.properties';

/** What the sources say together, checked but not yet given its shape. */
type Found = {
  readonly values: Map<SettingKey, unknown>;
  readonly providers: Map<string, Map<ProviderField, unknown>>;
  /** The strongest level's last. */
  readonly aliases: ModelAlias[][];
};

/**
 * Reads all settings. The strongest first: flags, environment variables, the properties file, defaults. Whatever is given
 * is checked, also where something stronger overrides it. Throws `ConfigError`, whose message never holds a secret.
 */
export function loadConfig(from: Partial<ConfigSources> = {}): Config {
  const sources: ConfigSources = {
    argv: from.argv ?? process.argv.slice(2),
    env: from.env ?? process.env,
    cwd: from.cwd ?? process.cwd(),
    readFile: from.readFile ?? ((path) => readFileSync(path, 'utf8')),
  };
  const flags = readFlags(sources.argv);
  const [own, others] = readEnvironment(sources.env);
  const found: Found = { values: new Map(), providers: new Map(), aliases: [] };
  for (const level of [readConfigFile(flags, sources), others, own, flags.level]) take(level, found, sources);
  return assemble(found, proxiesOf(sources.env));
}

function readConfigFile(flags: Flags, sources: ConfigSources): Level {
  const file = flags.configFile ?? defaultConfigFile;
  const isOptional = flags.configFile === undefined;
  const name = isOptional ? file : `${file} (--config)`;
  const content = read(file, sources, (reason, code) => {
    if (isOptional && code === 'ENOENT') return;
    throw new ConfigError(`${name} ${reason}.`);
  });
  return content === undefined ? new Map() : readPropertiesFile(content, file);
}

/** Adds a level to the weaker ones before it. */
function take(level: Level, found: Found, sources: ConfigSources): void {
  const aliases = new Map<string, ModelAlias & { readonly given: Given }>();
  for (const [text, given] of level) {
    const key = parseKey(text);
    if (key?.type === 'setting') found.values.set(key.key, parseSetting(key, { text, given, level }, sources));
    else if (key?.type === 'provider') takeProvider(key, { text, given, level }, found, sources);
    else if (key !== undefined) {
      for (const each of parseAliases(key, given)) {
        const earlier = aliases.get(each.alias);
        if (earlier !== undefined) {
          throw new ConfigError(
            `${given.name} and ${earlier.given.name} both set the alias ${each.alias}. Remove one.`,
          );
        }
        aliases.set(each.alias, { ...each, given });
      }
    }
  }
  found.aliases.push([...aliases.values()].map(({ alias, targets }) => ({ alias, targets })));
}

function parseSetting(
  { key, isFile }: Key & { readonly type: 'setting' },
  from: { readonly text: string; readonly given: Given; readonly level: Level },
  sources: ConfigSources,
): unknown {
  const { secret, kind } = settings[key];
  if (secret && !isFile) refuseBoth(from);
  const given = isFile ? { ...from.given, value: readSecret(from.given, sources) } : from.given;
  const value = parse<unknown>(kind, given, secret);
  // Read once more by who uses it: here only so that a wrong path is named with its source.
  if (key === 'upstream.ca-file' && value !== undefined) readNamed(given, sources);
  return value;
}

function takeProvider(
  key: Key & { readonly type: 'provider' },
  from: { readonly text: string; readonly given: Given; readonly level: Level },
  found: Found,
  sources: ConfigSources,
): void {
  const setting = providerSettings[key.field];
  if (setting.secret && !key.isFile) refuseBoth(from);
  const given = key.isFile ? { ...from.given, value: readSecret(from.given, sources) } : from.given;
  const provider = found.providers.get(key.provider) ?? new Map<ProviderField, unknown>();
  found.providers.set(key.provider, provider.set(key.field, parse<unknown>(setting.kind, given, setting.secret)));
}

function refuseBoth({
  text,
  given,
  level,
}: {
  readonly text: string;
  readonly given: Given;
  readonly level: Level;
}): void {
  const file = level.get(`${text}-file`);
  if (file !== undefined) throw new ConfigError(`${given.name} and ${file.name} are both set. Remove one.`);
}

function parseAliases(key: Key & { readonly type: 'alias' | 'aliases' }, given: Given): readonly ModelAlias[] {
  if (key.type === 'aliases') return parse(modelSettings.models.kind, given, false);
  return [{ alias: key.alias, targets: parse(modelSettings['models.ALIAS'].kind, given, false) }];
}

function parse<T>(kind: Kind<T>, given: Given, isSecret: boolean): T {
  try {
    return kind.parse(given.value);
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    const is = isSecret || error.hidden ? "has a value that it can't have" : `is ${quote(given.value)}`;
    throw new ConfigError(`${given.name} ${is}: ${error.message}`);
  }
}

/** On one line, and not too long for it. */
function quote(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
}

function readSecret(given: Given, sources: ConfigSources): string {
  const secret = readNamed(given, sources).trim();
  if (secret === '') throw new ConfigError(`${given.name} names a file that is empty: ${quote(given.value)}.`);
  return secret;
}

/** The content of the file that a setting names. */
function readNamed(given: Given, sources: ConfigSources): string {
  const content = read(given.value, sources, (reason) => {
    throw new ConfigError(`${given.name} names a file that ${reason}: ${quote(given.value)}.`);
  });
  return content ?? '';
}

function read(
  file: string,
  sources: ConfigSources,
  onFailure: (reason: string, code: string | undefined) => void,
): string | undefined {
  try {
    return sources.readFile(resolve(sources.cwd, file));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
    const reasons = new Map([
      ['ENOENT', 'does not exist'],
      ['EISDIR', 'is a folder'],
      ['EACCES', 'may not be read by this user'],
    ]);
    onFailure(reasons.get(code ?? '') ?? `can't be read${code === undefined ? '' : ` (${code})`}`, code);
    return undefined;
  }
}

type Proxies = Pick<UpstreamConfig, 'httpProxy' | 'httpsProxy' | 'noProxy'>;

function proxiesOf(env: ConfigSources['env']): Proxies {
  const find = (names: readonly string[]): Given | undefined => {
    const name = names.find((each) => env[each] !== undefined && env[each] !== '');
    return name === undefined ? undefined : { value: env[name] ?? '', name: `${name} (environment variable)` };
  };
  const proxy = (names: readonly string[]): string | undefined => {
    const given = find(names);
    // Proxies often carry a password.
    return given === undefined ? undefined : parse(proxyUrl, given, true);
  };
  return {
    httpProxy: proxy(otherVariables.httpProxy.names),
    httpsProxy: proxy(otherVariables.httpsProxy.names),
    noProxy: find(otherVariables.noProxy.names)?.value,
  };
}

function assemble(found: Found, proxies: Proxies): Config {
  const value = <K extends SettingKey>(key: K): ValueOf<(typeof settings)[K]> =>
    (found.values.has(key) ? found.values.get(key) : settings[key].kind.parse(settings[key].default ?? '')) as ValueOf<
      (typeof settings)[K]
    >;
  return {
    server: {
      host: value('server.host'),
      port: value('server.port'),
      workers: value('server.workers'),
      allowedHosts: value('server.allowed-hosts'),
      shutdownTimeoutMs: value('server.shutdown-timeout'),
    },
    http: {
      corsOrigins: value('http.cors-origins'),
      trustProxy: value('http.trust-proxy'),
      maxBodyBytes: value('http.max-body'),
      unknownFields: value('http.unknown-fields'),
      headersTimeoutMs: value('http.headers-timeout'),
      bodyTimeoutMs: value('http.body-timeout'),
      idleTimeoutMs: value('http.idle-timeout'),
      writeTimeoutMs: value('http.write-timeout'),
    },
    auth: { mode: value('auth.mode') },
    store: {
      type: value('store.type'),
      default: value('store.default'),
      timeoutMs: value('store.timeout'),
      autoMigrate: value('store.auto-migrate'),
    },
    memory: { maxThreads: value('memory.max-threads'), maxBytes: value('memory.max-bytes') },
    sqlite: { path: value('sqlite.path'), synchronous: value('sqlite.synchronous') },
    postgres: {
      uri: value('postgres.uri'),
      poolSize: value('postgres.pool-size'),
      schema: value('postgres.schema'),
    },
    mongodb: { uri: value('mongodb.uri'), database: value('mongodb.database') },
    context: { maxBytes: value('context.max-bytes') },
    conversation: { leaseMs: value('conversation.lease') },
    stream: {
      keepAliveMs: value('stream.keep-alive'),
      openAfterMs: value('stream.open-after'),
      done: value('stream.done'),
      obfuscation: value('stream.obfuscation'),
      joinDeltas: value('stream.join-deltas'),
    },
    reasoning: { events: value('reasoning.events') },
    secret: value('secret'),
    upstream: {
      connectTimeoutMs: value('upstream.connect-timeout'),
      headersTimeoutMs: value('upstream.headers-timeout'),
      idleTimeoutMs: value('upstream.idle-timeout'),
      timeoutMs: value('upstream.timeout'),
      maxRetries: value('upstream.max-retries'),
      maxResponseBytes: value('upstream.max-response'),
      maxConnections: value('upstream.max-connections'),
      unsupported: value('upstream.unsupported'),
      caFile: value('upstream.ca-file'),
      ...proxies,
    },
    demo: {
      enabled: value('demo.enabled'),
      chunkDelayMs: value('demo.chunk-delay'),
      chunkChars: value('demo.chunk-size'),
    },
    providers: new Map([...found.providers].map(([name, fields]) => [name, provider(name, fields)])),
    defaultProvider: value('default-provider'),
    models: mergeAliases(found.aliases),
    log: { level: value('log.level'), content: value('log.content') },
  };
}

function provider(name: string, fields: ReadonlyMap<ProviderField, unknown>): ProviderConfig {
  const value = <F extends ProviderField>(field: F) =>
    fields.get(field) as ValueOf<(typeof providerSettings)[F]> | undefined;
  return {
    name,
    profile: value('profile'),
    api: value('api'),
    package: value('package'),
    baseUrl: value('base-url'),
    apiKey: value('api-key'),
    headers: value('headers') ?? {},
    store: value('store') ?? false,
  };
}

/** A stronger level's aliases come first and replace those of the same name. */
function mergeAliases(levels: readonly (readonly ModelAlias[])[]): readonly ModelAlias[] {
  const merged = new Map<string, ModelAlias>();
  for (const each of levels.toReversed().flat()) {
    if (!merged.has(each.alias)) merged.set(each.alias, each);
  }
  return [...merged.values()];
}
