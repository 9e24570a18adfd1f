import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import type { Config } from '../../src/config.ts';
import { allSettings, environmentName, flagName, propertyName } from '../../src/settings.ts';
import { load, refusal } from './load.ts';

const MiB = 1024 ** 2;

const defaults: Config = {
  server: { host: '127.0.0.1', port: 8080, workers: 1, allowedHosts: [], shutdownTimeoutMs: 30_000 },
  http: {
    corsOrigins: [],
    trustProxy: false,
    maxBodyBytes: 48 * MiB,
    unknownFields: 'reject',
    headersTimeoutMs: 60_000,
    bodyTimeoutMs: 300_000,
    idleTimeoutMs: 75_000,
    writeTimeoutMs: 60_000,
  },
  auth: { mode: 'passthrough' },
  store: { type: 'in-memory', default: false, timeoutMs: 10_000, autoMigrate: true },
  memory: { maxThreads: 100_000, maxBytes: 1024 * MiB },
  sqlite: { path: 'open-responses.sqlite', synchronous: 'full' },
  postgres: { uri: undefined, poolSize: 10, schema: 'open_responses' },
  mongodb: { uri: undefined, database: undefined },
  context: { maxBytes: 32 * MiB },
  conversation: { leaseMs: 15_000 },
  stream: { openAfterMs: 10_000, keepAliveMs: 15_000, done: true, obfuscation: false, joinDeltas: true },
  reasoning: { events: 'summary' },
  secret: undefined,
  upstream: {
    connectTimeoutMs: 10_000,
    headersTimeoutMs: 600_000,
    idleTimeoutMs: 300_000,
    timeoutMs: 1_800_000,
    maxRetries: 1,
    maxResponseBytes: 64 * MiB,
    maxConnections: 1024,
    unsupported: 'reject',
    caFile: undefined,
    httpProxy: undefined,
    httpsProxy: undefined,
    noProxy: undefined,
  },
  demo: { enabled: undefined, chunkDelayMs: 15, chunkChars: 8 },
  providers: new Map(),
  defaultProvider: 'openai',
  models: [],
  log: { level: 'info', content: false },
};

type Good = readonly [key: string, text: string, read: (config: Config) => unknown, value: unknown];

/** Every setting with a fixed name, so that none is wired to another's field. */
const good: readonly Good[] = [
  ['stream.join-deltas', 'false', (c) => c.stream.joinDeltas, false],
  ['reasoning.events', 'openai', (c) => c.reasoning.events, 'openai'],
  ['upstream.unsupported', 'drop', (c) => c.upstream.unsupported, 'drop'],
  ['secret', 's'.repeat(32), (c) => c.secret, 's'.repeat(32)],
  ['server.host', '0.0.0.0', (c) => c.server.host, '0.0.0.0'],
  ['server.host', '[::1]', (c) => c.server.host, '::1'],
  ['server.host', 'localhost', (c) => c.server.host, 'localhost'],
  ['server.port', '0', (c) => c.server.port, 0],
  ['server.port', '65535', (c) => c.server.port, 65_535],
  ['server.workers', '256', (c) => c.server.workers, 256],
  ['server.workers', 'auto', (c) => c.server.workers, Math.min(availableParallelism(), 256)],
  ['server.allowed-hosts', 'A.example, b.example', (c) => c.server.allowedHosts, ['a.example', 'b.example']],
  ['server.shutdown-timeout', '0', (c) => c.server.shutdownTimeoutMs, 0],
  ['http.cors-origins', 'https://a.example', (c) => c.http.corsOrigins, ['https://a.example']],
  [
    'http.cors-origins',
    'http://localhost:3000,tauri://localhost',
    (c) => c.http.corsOrigins,
    ['http://localhost:3000', 'tauri://localhost'],
  ],
  ['http.trust-proxy', 'true', (c) => c.http.trustProxy, true],
  ['http.trust-proxy', 'false', (c) => c.http.trustProxy, false],
  ['http.trust-proxy', '10.0.0.0/8, ::1', (c) => c.http.trustProxy, ['10.0.0.0/8', '::1']],
  ['http.max-body', '1000', (c) => c.http.maxBodyBytes, 1000],
  ['http.unknown-fields', 'ignore', (c) => c.http.unknownFields, 'ignore'],
  ['http.headers-timeout', '250ms', (c) => c.http.headersTimeoutMs, 250],
  ['http.body-timeout', '2m', (c) => c.http.bodyTimeoutMs, 120_000],
  ['http.idle-timeout', '1h', (c) => c.http.idleTimeoutMs, 3_600_000],
  ['http.write-timeout', '20s', (c) => c.http.writeTimeoutMs, 20_000],
  ['auth.mode', 'none', (c) => c.auth.mode, 'none'],
  ['store.type', 'sqlite', (c) => c.store.type, 'sqlite'],
  ['store.type', 'postgres', (c) => c.store.type, 'postgres'],
  ['store.type', 'mongodb', (c) => c.store.type, 'mongodb'],
  ['store.default', 'true', (c) => c.store.default, true],
  ['store.timeout', '4s', (c) => c.store.timeoutMs, 4_000],
  ['store.auto-migrate', 'false', (c) => c.store.autoMigrate, false],
  ['memory.max-threads', '7', (c) => c.memory.maxThreads, 7],
  ['memory.max-bytes', '2KiB', (c) => c.memory.maxBytes, 2048],
  ['sqlite.path', 'data/my file.sqlite', (c) => c.sqlite.path, 'data/my file.sqlite'],
  ['sqlite.synchronous', 'normal', (c) => c.sqlite.synchronous, 'normal'],
  [
    'postgres.uri',
    'postgres://u:p@db/x?sslmode=verify-full',
    (c) => c.postgres.uri,
    'postgres://u:p@db/x?sslmode=verify-full',
  ],
  ['postgres.uri', 'POSTGRESQL://db', (c) => c.postgres.uri, 'POSTGRESQL://db'],
  ['postgres.pool-size', '3', (c) => c.postgres.poolSize, 3],
  ['postgres.schema', '_mine2', (c) => c.postgres.schema, '_mine2'],
  ['mongodb.uri', 'mongodb://a,b,c/?replicaSet=rs', (c) => c.mongodb.uri, 'mongodb://a,b,c/?replicaSet=rs'],
  ['mongodb.uri', 'mongodb+srv://u:p@cluster', (c) => c.mongodb.uri, 'mongodb+srv://u:p@cluster'],
  ['mongodb.database', 'Open-Responses_2', (c) => c.mongodb.database, 'Open-Responses_2'],
  ['context.max-bytes', '12B', (c) => c.context.maxBytes, 12],
  ['conversation.lease', '3s', (c) => c.conversation.leaseMs, 3000],
  ['stream.keep-alive', '4s', (c) => c.stream.keepAliveMs, 4000],
  ['stream.open-after', '2s', (config) => config.stream.openAfterMs, 2_000],
  ['stream.done', 'false', (c) => c.stream.done, false],
  ['stream.obfuscation', 'true', (c) => c.stream.obfuscation, true],
  ['default-provider', 'my-vllm', (c) => c.defaultProvider, 'my-vllm'],
  ['default-provider', 'demo', (c) => c.defaultProvider, 'demo'],
  ['upstream.connect-timeout', '1s', (c) => c.upstream.connectTimeoutMs, 1000],
  ['upstream.headers-timeout', '2s', (c) => c.upstream.headersTimeoutMs, 2000],
  ['upstream.idle-timeout', '3s', (c) => c.upstream.idleTimeoutMs, 3000],
  ['upstream.timeout', '596h', (c) => c.upstream.timeoutMs, 2_145_600_000],
  ['upstream.max-retries', '5', (c) => c.upstream.maxRetries, 5],
  ['upstream.max-response', '3GiB', (c) => c.upstream.maxResponseBytes, 3072 * MiB],
  ['upstream.max-connections', '1', (c) => c.upstream.maxConnections, 1],
  ['upstream.ca-file', '/etc/ca.pem', (c) => c.upstream.caFile, '/etc/ca.pem'],
  ['demo.enabled', 'true', (c) => c.demo.enabled, true],
  ['demo.enabled', 'false', (c) => c.demo.enabled, false],
  ['demo.enabled', 'auto', (c) => c.demo.enabled, undefined],
  ['demo.chunk-delay', '0', (c) => c.demo.chunkDelayMs, 0],
  ['demo.chunk-size', '3', (c) => c.demo.chunkChars, 3],
  ['log.level', 'silent', (c) => c.log.level, 'silent'],
  ['log.content', 'true', (c) => c.log.content, true],
  ['models', '', (c) => c.models, []],
  [
    'models',
    'gpt-4.1=ollama/llama3:8b, * = vllm/Qwen/Qwen3',
    (c) => c.models,
    [
      { alias: 'gpt-4.1', targets: ['ollama/llama3:8b'] },
      { alias: '*', targets: ['vllm/Qwen/Qwen3'] },
    ],
  ],
];

type Bad = readonly [key: string, text: string, allowed: string];

const bad: readonly Bad[] = [
  ['server.host', 'http://127.0.0.1', 'an IP address or a host name'],
  ['server.host', '127.0.0.1:80', 'without a port'],
  ['server.host', '', 'an IP address or a host name'],
  ['server.port', 'abc', 'a whole number from 0 to 65535'],
  ['server.port', '65536', 'a whole number from 0 to 65535'],
  ['server.port', '-1', 'a whole number from 0 to 65535'],
  ['server.port', '80.5', 'a whole number from 0 to 65535'],
  ['server.port', '1e3', 'a whole number from 0 to 65535'],
  ['server.port', '0x50', 'a whole number from 0 to 65535'],
  ['server.port', '８０', 'a whole number from 0 to 65535'],
  ['server.workers', '0', 'auto, or a whole number from 1 to 256'],
  ['server.workers', '257', 'auto, or a whole number from 1 to 256'],
  ['server.workers', 'many', 'auto, or a whole number from 1 to 256'],
  ['server.workers', '', 'auto, or a whole number from 1 to 256'],
  ['server.allowed-hosts', 'a.example:8080', 'host names without a port'],
  ['server.allowed-hosts', 'a.example,,b.example', 'host names without a port'],
  ['server.allowed-hosts', '*', 'host names without a port'],
  ['http.cors-origins', '*', 'every web page'],
  ['http.cors-origins', 'https://a.example,*', 'every web page'],
  ['http.cors-origins', 'https://a.example/', 'origins, as in https://app.example'],
  ['http.cors-origins', 'a.example', 'origins, as in https://app.example'],
  ['http.cors-origins', 'null', 'origins, as in https://app.example'],
  ['http.trust-proxy', 'yes', 'true, false, or IP addresses'],
  ['http.trust-proxy', '10.0.0.0/33', 'true, false, or IP addresses'],
  ['http.trust-proxy', '10.0.0.0/', 'true, false, or IP addresses'],
  ['http.trust-proxy', '10.0.0.1,true', 'true, false, or IP addresses'],
  ['http.trust-proxy', '', 'true, false, or IP addresses'],
  ['http.max-body', '48MB', 'B, KiB, MiB or GiB'],
  ['http.max-body', '0', 'above 0'],
  ['http.max-body', '1.5MiB', 'B, KiB, MiB or GiB'],
  ['http.max-body', '99999999999GiB', 'B, KiB, MiB or GiB'],
  ['http.unknown-fields', 'allow', 'reject or ignore'],
  ['http.headers-timeout', '60', 'ms, s, m or h'],
  ['http.headers-timeout', '60 s', 'ms, s, m or h'],
  ['http.headers-timeout', '60S', 'ms, s, m or h'],
  ['http.body-timeout', '0', 'above 0'],
  ['http.body-timeout', '0s', 'above 0'],
  ['http.idle-timeout', '-5s', 'above 0'],
  ['upstream.idle-timeout', '0', 'above 0'],
  ['upstream.timeout', '597h', 'at most 596h'],
  ['auth.mode', 'Passthrough', 'passthrough or none'],
  ['store.type', 'redis', 'in-memory, sqlite, postgres or mongodb'],
  ['store.type', 'toString', 'in-memory, sqlite, postgres or mongodb'],
  ['store.timeout', '0', 'above 0'],
  ['store.auto-migrate', 'off', 'true or false'],
  ['postgres.pool-size', '0', 'from 1 to 1000'],
  ['postgres.schema', 'Mine', 'lower-case letters'],
  ['postgres.schema', 'a"; DROP SCHEMA public; --', 'lower-case letters'],
  ['postgres.schema', 'pg_mine', 'not pg_'],
  ['postgres.schema', 'x'.repeat(64), 'at most 63'],
  ['mongodb.database', 'a.b', 'letters, digits, _ and -'],
  ['mongodb.database', 'a$b', 'letters, digits, _ and -'],
  ['store.default', 'yes', 'true or false'],
  ['store.default', 'TRUE', 'true or false'],
  ['store.default', '', 'true or false'],
  ['memory.max-threads', '0', 'at least 1'],
  ['sqlite.path', '', 'the path of a file'],
  ['sqlite.synchronous', 'off', 'full or normal'],
  ['default-provider', 'My_VLLM', 'the name of a provider'],
  ['upstream.max-retries', '6', 'from 0 to 5'],
  ['demo.enabled', 'maybe', 'auto, true or false'],
  ['log.level', 'verbose', 'fatal, error, warn, info, debug, trace or silent'],
  ['models', 'gpt-4o', 'ALIAS=provider/model'],
  ['models', 'gpt-4o=llama', 'ALIAS=provider/model'],
  ['models', '=ollama/llama', 'ALIAS=provider/model'],
  ['models', 'a=x/y,a=x/z', 'each alias once'],
  ['models.gpt-4o', 'llama', 'a provider and its model'],
  ['models.gpt-4o', '/llama', 'a provider and its model'],
  ['models.gpt-4o', 'ollama/', 'a provider and its model'],
  ['providers.x.base-url', 'ftp://a.example', 'an http or https address'],
  ['providers.x.base-url', 'localhost:11434/v1', 'an http or https address'],
  ['providers.x.base-url', 'http:a.example', 'an http or https address'],
  ['providers.x.profile', 'OpenAI', 'the name of a profile'],
];

describe('values', () => {
  it('has these defaults', () => {
    expect(load()).toEqual(defaults);
  });

  it.each(good)('%s=%s is taken from every source', (key, text, read, value) => {
    const files = { '/etc/ca.pem': 'x' };
    const property = load({ properties: `${propertyName(key)} = ${text}`, files });
    expect(read(property)).toEqual(value);
    expect(load({ flags: [`${flagName(key)}=${text}`], files })).toEqual(property);
    if (text !== '') {
      expect(load({ env: { [environmentName(key)]: text }, files })).toEqual(property);
      expect(load({ flags: [flagName(key), text], files })).toEqual(property);
    }
  });

  it.each(bad)('%s=%s is refused from every source, by name', (key, text, allowed) => {
    const property = refusal({ properties: `# first\n${propertyName(key)}=${text}` });
    const flag = refusal({ flags: [`${flagName(key)}=${text}`] });
    expect(property).toContain(`${propertyName(key)} (open-responses.properties:2) is ${JSON.stringify(text)}: `);
    expect(flag).toContain(`${flagName(key)} (flag) is ${JSON.stringify(text)}: `);
    expect(property).toContain(allowed);
    expect(flag).toContain(allowed);
    if (text === '') return;
    const variable = refusal({ env: { [environmentName(key)]: text } });
    expect(variable).toContain(`${environmentName(key)} (environment variable) is ${JSON.stringify(text)}: `);
    expect(variable).toContain(allowed);
  });

  it.each([
    ['postgres.uri', 'mysql://u:hunter2@db/x', 'postgres:// or postgresql://'],
    ['postgres.uri', 'hunter2', 'postgres:// or postgresql://'],
    ['postgres.uri', 'postgres://u:hunter2 @db', 'without blanks'],
    ['mongodb.uri', 'postgres://u:hunter2@db/x', 'mongodb:// or mongodb+srv://'],
  ])('%s refuses what it can\u2019t be, and shows nothing of it', (key, text, allowed) => {
    for (const message of [
      refusal({ properties: `${propertyName(key)}=${text}` }),
      refusal({ flags: [`${flagName(key)}=${text}`] }),
      refusal({ env: { [environmentName(key)]: text } }),
      refusal({ properties: `${propertyName(key)}-file=uri.txt`, files: { '/uri.txt': text, 'uri.txt': text } }),
    ]) {
      expect(message).toContain(allowed);
      expect(message).not.toContain('hunter2');
    }
  });

  it('reads the address of a database from a file', () => {
    const files = { '/run/uri': 'postgres://u:p@db/x\n' };
    const read = (from: Parameters<typeof load>[0]) => load(from).postgres.uri;
    expect(read({ properties: 'open-responses.postgres.uri-file=/run/uri', files })).toBe('postgres://u:p@db/x');
    expect(read({ env: { OPEN_RESPONSES_POSTGRES_URI_FILE: '/run/uri' }, files })).toBe('postgres://u:p@db/x');
    expect(read({ flags: ['--postgres.uri-file', '/run/uri'], files })).toBe('postgres://u:p@db/x');
    const stronger = { OPEN_RESPONSES_POSTGRES_URI: 'postgres://other' };
    expect(read({ properties: 'open-responses.postgres.uri-file=/run/uri', env: stronger, files })).toBe(
      'postgres://other',
    );
    expect(refusal({ env: { ...stronger, OPEN_RESPONSES_POSTGRES_URI_FILE: '/run/uri' }, files })).toContain(
      'are both set',
    );
    expect(refusal({ env: { OPEN_RESPONSES_MONGODB_URI_FILE: '/none' } })).toContain('does not exist');
  });

  it('covers every setting with a fixed name', () => {
    const fixed = allSettings()
      .map(([key]) => key)
      .filter((key) => !/NAME|ALIAS/.test(key));
    expect([...new Set(good.map(([key]) => key))].sort()).toEqual(fixed.sort());
  });

  it('knows a short flag for the number of workers, and no other short name', () => {
    expect(load({ flags: ['--workers', '3'] }).server.workers).toBe(3);
    expect(load({ flags: ['--workers=auto'] })).toEqual(load({ flags: ['--server.workers=auto'] }));
    expect(refusal({ flags: ['--workers=0'] })).toContain('--workers (flag) is "0": it must be auto, or');
    expect(refusal({ flags: ['--workers'] })).toContain('--workers (flag) needs a value');
    expect(refusal({ flags: ['--workers=2', '--workers=2'] })).toBe('--workers (flag) is given twice.');
    expect(refusal({ flags: ['--workers=2', '--server.workers=2'] })).toContain('contradict each other');
    expect(refusal({ flags: ['--worker=2'] })).toContain('Did you mean --workers?');
    expect(refusal({ flags: ['--no-workers'] })).toContain('--no-workers (flag) is unknown.');
    expect(refusal({ properties: 'open-responses.workers=2' })).toContain('is unknown');
    expect(refusal({ env: { OPEN_RESPONSES_WORKERS: '2' } })).toContain('is unknown');
  });

  it('spells no two settings alike', () => {
    const keys = allSettings().map(([key]) => key);
    expect(new Set(keys.map(environmentName)).size).toBe(keys.length);
    expect(environmentName('store.type')).toBe('OPEN_RESPONSES_STORE_TYPE');
    expect(environmentName('http.max-body')).toBe('OPEN_RESPONSES_HTTP_MAX_BODY');
    expect(flagName('store.type')).toBe('--store.type');
  });

  it('names a file of certificates that is not there', () => {
    expect(refusal({ env: { OPEN_RESPONSES_UPSTREAM_CA_FILE: 'no.pem' } })).toBe(
      'OPEN_RESPONSES_UPSTREAM_CA_FILE (environment variable) names a file that does not exist: "no.pem".',
    );
  });

  it('keeps a long or odd value on one line', () => {
    const message = refusal({ env: { OPEN_RESPONSES_SERVER_PORT: `1\n2${'x'.repeat(500)}` } });
    expect(message).toContain('"1\\n2x');
    expect(message.length).toBeLessThan(250);
  });
});
