import {
  aliases,
  apiKey,
  baseUrl,
  databaseUri,
  duration,
  headers,
  host,
  hosts,
  integer,
  type Kind,
  longSecret,
  mongoDatabase,
  oneOf,
  onOff,
  onOffAuto,
  optionalPath,
  origins,
  packageName,
  profileName,
  providerName,
  proxies,
  schemaName,
  size,
  targets,
  text,
  workers,
} from './setting-values.ts';

/** One row of the table. A property, an environment variable and a flag are three ways to write the same key. */
export type Setting<T> = {
  readonly kind: Kind<T>;
  /** As someone would write it. Undefined: nothing is set. */
  readonly default: string | undefined;
  /** One or two sentences, for the documentation. */
  readonly description: string;
  /** Its value never appears in a message, and it can be read from a file (`KEY-file`). */
  readonly secret: boolean;
};

function setting<T>(kind: Kind<T>, fallback: string, description: string): Setting<T> {
  return { kind, default: fallback, description, secret: false };
}

function optional<T>(kind: Kind<T>, description: string): Setting<T> {
  return { kind, default: undefined, description, secret: false };
}

function secret<T>(kind: Kind<T>, description: string): Setting<T> {
  return { kind, default: undefined, description, secret: true };
}

/**
 * Everything with a fixed name, in the order of the documentation. With `providerSettings`, `modelSettings` and
 * `otherVariables` this is the one table that loading, `--help` and docs/configuration.md come from.
 */
export const settings = {
  'server.host': setting(
    host,
    '127.0.0.1',
    'The address to listen on. `0.0.0.0` or `::` opens the server to the network.',
  ),
  'server.port': setting(integer(0, 65_535), '8080', 'The port to listen on. 0 takes a free one.'),
  'server.workers': setting(
    workers,
    '1',
    'How many processes serve requests, which share the address and the store; `auto` is one for each CPU. More than one need a store that processes can share, so not `in-memory`. What other settings limit, such as `upstream.max-connections`, each process counts for itself.',
  ),
  'server.allowed-hosts': setting(
    hosts,
    '',
    'Host names besides `localhost` by which a server that listens on loopback may be called. It keeps web pages from reaching it by a name of their own.',
  ),
  'server.shutdown-timeout': setting(
    duration(0),
    '30s',
    'How long running responses may take to finish after the first SIGTERM or SIGINT.',
  ),
  'http.cors-origins': setting(
    origins,
    '',
    'Origins whose web pages may call this server from a browser. `*` is refused: any page could then use it with the rights of the machine it is opened on.',
  ),
  'http.trust-proxy': setting(
    proxies,
    'false',
    "Whose `X-Forwarded-*` headers are believed: nobody's, everybody's, or those of these addresses and networks.",
  ),
  'http.max-body': setting(size, '48MiB', 'The largest body of a request, decompressed.'),
  'http.unknown-fields': setting(
    oneOf('reject', 'ignore'),
    'reject',
    'What happens to a request with a field that the API does not have: a 400, as from OpenAI, or the field is ignored.',
  ),
  'http.headers-timeout': setting(duration(), '60s', 'How long a client may take to send the headers of a request.'),
  'http.body-timeout': setting(duration(), '5m', 'How long a client may take to send a whole request.'),
  'http.idle-timeout': setting(duration(), '75s', 'How long a connection stays open between two requests.'),
  'http.write-timeout': setting(
    duration(),
    '60s',
    'How long a client may take nothing of the answer that waits for it. Then its connection is ended, and a stream is with it.',
  ),
  'auth.mode': setting(
    oneOf('passthrough', 'none'),
    'passthrough',
    'Who may call a server that listens beyond loopback. `passthrough`: whoever brings the key of a provider, which goes on to it; a server whose own keys anybody could spend does not start. `none`: everybody who reaches it, with or without a key. Callers with different keys never see what the other one stored.',
  ),
  'store.type': setting(
    oneOf('in-memory', 'sqlite', 'postgres', 'mongodb'),
    'in-memory',
    'Where responses and conversations are kept. `in-memory` loses them when the server stops; `sqlite` keeps them in a file; `postgres` and `mongodb` in a database that many servers can share.',
  ),
  'store.default': setting(
    onOff,
    'false',
    "What an omitted `store` in a request means. `true` is OpenAI's rule, for clients that never send `store`. A request that names a conversation is stored either way, unless it says `store: false`.",
  ),
  'store.timeout': setting(
    duration(),
    '10s',
    'How long one operation of a PostgreSQL or MongoDB store may take, the wait for a connection included. Then the request gets a 503 that asks it to come again.',
  ),
  'store.auto-migrate': setting(
    onOff,
    'true',
    'Whether a starting server brings the schema of its database up to date. With `false` it refuses to start on one that is behind, for operators who run `open-responses migrate` themselves.',
  ),
  'memory.max-threads': setting(
    integer(1),
    '100000',
    'How many conversations and chains of responses the in-memory store keeps. Past it the least recently used go.',
  ),
  'memory.max-bytes': setting(size, '1GiB', 'How much the in-memory store keeps. Past it the least recently used go.'),
  'sqlite.path': setting(text('the path of a file'), 'open-responses.sqlite', 'The file of the SQLite store.'),
  'sqlite.synchronous': setting(
    oneOf('full', 'normal'),
    'full',
    '`full`: what a client was told is stored survives a power cut. `normal`: faster, and survives a crash of the server, but not always one of the machine.',
  ),
  'postgres.uri': secret(databaseUri('postgres', 'postgresql'), 'The database of the PostgreSQL store.'),
  'postgres.pool-size': setting(
    integer(1, 1_000),
    '10',
    'The most connections of one process to PostgreSQL. All processes together must stay below its `max_connections`.',
  ),
  'postgres.schema': setting(
    schemaName,
    'open_responses',
    'The schema that holds the tables. It is made where it is missing, and nothing outside it is touched.',
  ),
  'mongodb.uri': secret(
    databaseUri('mongodb', 'mongodb+srv'),
    'The deployment of the MongoDB store. Options such as the size of the pool belong into it.',
  ),
  'mongodb.database': optional(
    mongoDatabase,
    'The database of the MongoDB store. Without it the one that the address names, else `openresponses`.',
  ),
  'context.max-bytes': setting(
    size,
    '32MiB',
    'How much of history and input together one response may take to the model.',
  ),
  'conversation.lease': setting(
    duration(),
    '15s',
    'After how long a conversation is free again when the server that worked on it died. A living server renews its lease.',
  ),
  'stream.keep-alive': setting(
    duration(),
    '15s',
    'After how long without an event a stream sends a comment, so that nothing between closes it.',
  ),
  'stream.open-after': setting(
    duration(),
    '10s',
    'How long a stream waits for a silent upstream before it begins. Until then a failure is a plain HTTP error; afterwards it is an event.',
  ),
  'stream.done': setting(
    onOff,
    'true',
    'Whether a stream ends with `data: [DONE]`. Open Responses asks for it; OpenAI does not send it.',
  ),
  'stream.join-deltas': setting(
    onOff,
    'true',
    'Whether pieces of text that arrive from the model at the same moment leave as one delta. No piece waits for another: it saves work and bytes where a fast model sends many in one packet.',
  ),
  'stream.obfuscation': setting(
    onOff,
    'false',
    'Whether the events of a stream are padded to hide their length, where a request does not say.',
  ),
  'reasoning.events': setting(
    oneOf('summary', 'openai', 'openresponses'),
    'summary',
    "How a model's raw reasoning text is told. `summary`: as a summary, which every client shows; `openai`: as `reasoning_text` events; `openresponses`: as the standard's `reasoning` events. Summaries that a provider makes itself stay summaries.",
  ),
  secret: secret(
    longSecret,
    'What data that providers want back in later turns is sealed with, where it travels with clients: at least 32 characters, the same on all servers of one database. Without it one is made once and kept in the store.',
  ),
  'default-provider': setting(
    providerName,
    'openai',
    'The provider of a model that is named without one, as in `gpt-4o`.',
  ),
  'upstream.connect-timeout': setting(duration(), '10s', 'How long a connection to a provider may take.'),
  'upstream.headers-timeout': setting(
    duration(),
    '10m',
    'How long a provider may take from a request to the first byte of its answer.',
  ),
  'upstream.idle-timeout': setting(duration(), '5m', 'How long a provider may be silent within its answer.'),
  'upstream.timeout': setting(duration(), '30m', 'How long a whole call of a provider may take.'),
  'upstream.max-retries': setting(
    integer(0, 5),
    '1',
    'How often a call that failed before its answer began is tried again.',
  ),
  'upstream.max-response': setting(size, '64MiB', 'The largest answer of a provider.'),
  'upstream.max-connections': setting(integer(1), '1024', 'The most connections to one provider at a time.'),
  'upstream.unsupported': setting(
    oneOf('reject', 'drop'),
    'reject',
    'What happens to what a request asks for and its model can not do: a 400 that names it, or it is left out and named in the header `x-open-responses-dropped` of the answer.',
  ),
  'upstream.ca-file': setting(
    optionalPath,
    '',
    'A PEM file with certificate authorities to trust besides the usual ones.',
  ),
  'demo.enabled': setting(
    onOffAuto,
    'auto',
    'Whether there is a provider `demo`, which answers without any model. `auto`: on a server that nobody needs a key for, which is one on loopback or with `auth.mode=none`.',
  ),
  'demo.chunk-delay': setting(duration(0), '15ms', 'How long the demo waits between two pieces of an answer.'),
  'demo.chunk-size': setting(integer(1, 10_000), '8', "How many characters a piece of the demo's answer has."),
  'log.level': setting(
    oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    'info',
    'The least important lines that are logged. Logs go to stderr, one JSON object per line.',
  ),
  'log.content': setting(
    onOff,
    'false',
    'Whether what users and models said may appear in logs. Leave it off where logs are read by others.',
  ),
} as const;

/** `providers.NAME.…`, by the last part of the key. */
export const providerSettings = {
  'base-url': optional(
    baseUrl,
    "The address of the provider's API, with its `/v1` where it has one. Must hold no user, password or query.",
  ),
  'api-key': secret(apiKey, "The key for the provider. Without it the caller's own key goes there."),
  headers: secret(
    headers,
    'Further headers for the provider: `Name=value, Name="a value, with a comma"`. In a secret file they may stand on lines of their own.',
  ),
  profile: optional(
    profileName,
    "Which vendor's habits to expect: a name of docs/providers.md, such as `vllm`. Without it the profile of the provider's own name, else `generic`.",
  ),
  api: optional(
    oneOf('chat-completions', 'responses', 'ai-sdk'),
    "The API to speak to the provider. Without it `responses` to OpenAI's own address with the profile `openai`, else `chat-completions`.",
  ),
  package: optional(
    packageName,
    'With `api=ai-sdk`: the npm package that calls the provider, as in `@ai-sdk/anthropic`. You install it yourself ([docs/ai-sdk.md](ai-sdk.md)).',
  ),
  store: optional(
    onOff,
    'Whether a provider that is spoken to with `responses` may keep what it answers. Nothing here reads it back: it is for looking at in its dashboard. `false` unless set.',
  ),
} as const;

export const modelSettings = {
  'models.ALIAS': optional(
    targets,
    "A model's other name and what it stands for, as in `open-responses.models.gpt-4o=ollama/llama3.2`. A `*` in the alias stands for any text. Several models, separated by commas, are asked in turn: the next one where the one before failed with nothing said. The caller's own key goes to the first alone; the others need a key of the server's, or none.",
  ),
  models: optional(
    aliases,
    'Several aliases in one value, `ALIAS=provider/model,…`: for the environment, whose names can hold neither `*` nor dots. What has no `=` is a further model of the alias before it.',
  ),
} as const;

/** Variables that other software knows too. The first name is the strongest. */
export const otherVariables = {
  openaiBaseUrl: {
    names: ['OPENAI_BASE_URL'],
    key: 'providers.openai.base-url',
    description: 'Another name of `OPEN_RESPONSES_PROVIDERS_OPENAI_BASE_URL`, which is stronger.',
  },
  openaiApiKey: {
    names: ['OPENAI_API_KEY'],
    key: 'providers.openai.api-key',
    description: 'Another name of `OPEN_RESPONSES_PROVIDERS_OPENAI_API_KEY`, which is stronger.',
  },
  openaiApiKeyFile: {
    names: ['OPENAI_API_KEY_FILE'],
    key: 'providers.openai.api-key-file',
    description: 'Another name of `OPEN_RESPONSES_PROVIDERS_OPENAI_API_KEY_FILE`, which is stronger.',
  },
  httpsProxy: {
    names: ['https_proxy', 'HTTPS_PROXY'],
    key: undefined,
    description: 'The proxy for calls to `https` addresses.',
  },
  httpProxy: {
    names: ['http_proxy', 'HTTP_PROXY'],
    key: undefined,
    description: 'The proxy for calls to `http` addresses.',
  },
  noProxy: {
    names: ['no_proxy', 'NO_PROXY'],
    key: undefined,
    description: 'Hosts to call without a proxy, separated by commas.',
  },
} as const;

export type SettingKey = keyof typeof settings;
export type ProviderField = keyof typeof providerSettings;
export type ValueOf<S> = S extends Setting<infer T> ? T : never;

/** `demo` answers without any model and can't be configured as a provider. */
export const reservedProvider = 'demo';
export const propertyPrefix = 'open-responses.';
export const environmentPrefix = 'OPEN_RESPONSES_';

export function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(settings, key);
}

export function isProviderField(field: string): field is ProviderField {
  return Object.hasOwn(providerSettings, field);
}

export function propertyName(key: string): string {
  return propertyPrefix + key;
}

export function environmentName(key: string): string {
  return environmentPrefix + key.toUpperCase().replace(/[.-]/g, '_');
}

export function flagName(key: string): string {
  return `--${key}`;
}

/** The table's rows under the names that documentation shows, `providers.NAME.…` and `models.ALIAS` included. */
export function allSettings(): readonly (readonly [string, Setting<unknown>])[] {
  const rows: [string, Setting<unknown>][] = Object.entries(settings);
  const at = rows.findIndex(([key]) => key === 'default-provider');
  const providers = Object.entries(providerSettings).map(([field, row]): [string, Setting<unknown>] => [
    `providers.NAME.${field}`,
    row,
  ]);
  return rows.toSpliced(at, 0, ...providers, ...Object.entries(modelSettings));
}
