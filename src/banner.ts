import type { Config } from './config.ts';
import { isLoopbackName } from './loopback.ts';

/** What the banner is about. */
export type BannerFacts = {
  readonly version: string;
  /** Where the server listens, with or without `/v1`. */
  readonly url: string;
  readonly config: Config;
  /** What can be called, a line each. */
  readonly models: readonly string[];
};

/** What an operator should know at a glance: the address, what happens to the data, what can be called and by whom. */
export function banner({ version, url, config, models }: BannerFacts): string {
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ['Address', [`${url.replace(/(?:\/v1)?\/?$/, '')}/v1`]],
    ...workerRows(config.server.workers),
    ['Store', storeLines(config)],
    ['Omitted store', omittedStoreLines(config)],
    ['Models', models.length > 0 ? models : ['none: set open-responses.providers.NAME.base-url']],
    ['Keys', keyLines(config)],
  ];
  const width = Math.max(...rows.map(([title]) => title.length));
  const lines = rows.flatMap(([title, texts]) =>
    texts.map((text, at) => `  ${(at === 0 ? title : '').padEnd(width)}  ${text}`),
  );
  return `\nOpenResponses ${version}\n\n${lines.join('\n')}\n\n`;
}

function workerRows(workers: number): readonly (readonly [string, readonly string[]])[] {
  return workers === 1 ? [] : [['Workers', [`${workers} processes, which share the address and the store`]]];
}

function storeLines(config: Config): readonly string[] {
  switch (config.store.type) {
    case 'in-memory':
      return [
        'in-memory: everything stored is gone when the server stops',
        '(open-responses.store.type=sqlite keeps it in a file)',
      ];
    case 'sqlite':
      return [
        config.sqlite.synchronous === 'full'
          ? `sqlite: durable, in ${config.sqlite.path}`
          : `sqlite: in ${config.sqlite.path}; durable, but a power cut may lose the newest (sqlite.synchronous=normal)`,
      ];
    case 'postgres':
      return [`postgres: durable, in the schema ${config.postgres.schema} of ${placeOf(config.postgres.uri)}`];
    case 'mongodb':
      return [
        `mongodb: durable, in ${config.mongodb.database === undefined ? '' : `the database ${config.mongodb.database} of `}${placeOf(config.mongodb.uri)}`,
      ];
    default:
      return config.store.type satisfies never;
  }
}

/** Hosts and database of a URI, never its user, password or options. Nothing where it can't be told what is a password. */
function placeOf(uri: string | undefined): string {
  const [before = '', ...options] = (uri ?? '').replace(/^[a-z+]+:\/\//i, '').split('?');
  const at = before.lastIndexOf('@');
  if (at < 0 && options.some((option) => option.includes('@'))) return '';
  return before.slice(at + 1).replace(/\/$/, '');
}

/** R1: what a request without `store` means. */
function omittedStoreLines(config: Config): readonly string[] {
  if (config.store.default) {
    return ['a response is stored, as at OpenAI, unless the request says "store": false'];
  }
  return [
    'a response is not stored, unless the request says "store": true or names a conversation',
    '(open-responses.store.default=true stores it, as OpenAI does)',
  ];
}

function keyLines(config: Config): readonly string[] {
  const apart = 'callers with different keys never see what the other one stored';
  const isOpen = config.auth.mode === 'none' || isLoopbackName(config.server.host);
  if (!isOpen) return [`callers need the key of a provider, which goes on to it; ${apart}`];
  const who = config.auth.mode === 'none' ? 'everybody who reaches this server' : 'everybody on this machine';
  return [`none needed: ${who} may use it; ${apart}`];
}
