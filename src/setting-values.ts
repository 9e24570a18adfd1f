import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';

/** Why a text can't be a setting's value: the end of a sentence that already names the setting and its source. */
export class BadValue extends Error {
  override readonly name = 'BadValue';
  /** Set where the value itself may hold a secret and so must not be shown. */
  readonly hidden: boolean;

  constructor(message: string, hidden = false) {
    super(message);
    this.hidden = hidden;
  }
}

/** How the text of a setting becomes its value. */
export type Kind<T> = {
  /** What is allowed: the end of "it must be …". */
  readonly allowed: string;
  /** The same in the documentation, which explains times and sizes in one place. */
  readonly label: string;
  /** Throws `BadValue`. */
  readonly parse: (text: string) => T;
  /** Its flag may stand without a value (`--x`), and has an opposite (`--no-x`). */
  readonly isSwitch: boolean;
};

export const providerNamePattern = /^[a-z][a-z0-9-]*$/;

/** The longest time that Node's timers can wait: a longer one would fire at once. */
const longestMs = 2_147_483_647;
const unitsMs = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
]);
const unitsBytes = new Map([
  ['', 1],
  ['B', 1],
  ['KiB', 1024],
  ['MiB', 1024 ** 2],
  ['GiB', 1024 ** 3],
]);
/** Headers that belong to the connection and are written by the HTTP client alone. */
const connectionHeaders = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

function kind<T>(allowed: string, read: (text: string) => T | undefined, label = allowed): Kind<T> {
  return {
    allowed,
    label,
    isSwitch: false,
    parse(text) {
      const value = read(text);
      if (value === undefined) throw new BadValue(`it must be ${allowed}.`);
      return value;
    },
  };
}

function named(what: string): Kind<string> {
  return kind(
    `${what}: lower-case letters, digits and -, first a letter`,
    (value) => (providerNamePattern.test(value) ? value : undefined),
    what,
  );
}

/** Any text but the empty one. */
export function text(what: string): Kind<string> {
  return kind(what, (value) => (value === '' ? undefined : value));
}

/** A path, or nothing, which is the default of what uses it. */
export const optionalPath: Kind<string | undefined> = {
  allowed: 'the path of a file',
  label: 'the path of a file',
  isSwitch: false,
  parse: (value) => (value === '' ? undefined : value),
};

/** The same, or nothing, which is the default of what uses it. */
function orNothing<T>(some: Kind<T>): Kind<T | undefined> {
  return { ...some, parse: (value) => (value === '' ? undefined : some.parse(value)) };
}

/** Where a database is, often with a password. What it says in detail is for the database's own client to read. */
export function databaseUri(...schemes: readonly string[]): Kind<string | undefined> {
  const begins = alternatives(schemes.map((scheme) => `${scheme}://`));
  const allowed = `an address that begins with ${begins}, without blanks, as in ${schemes[0]}://user:password@host/database`;
  return orNothing(
    kind(
      allowed,
      (value) =>
        schemes.some((scheme) => value.toLowerCase().startsWith(`${scheme}://`)) && !/\s/.test(value)
          ? value
          : undefined,
      'an address with its user and password',
    ),
  );
}

/** A schema of PostgreSQL, as it is written without quotes; `pg_…` is taken by PostgreSQL itself. */
export const schemaName: Kind<string> = kind(
  'a name of lower-case letters, digits and _, at most 63, first a letter or _, and not pg_',
  (value) => (/^(?!pg_)[a-z_][a-z0-9_]{0,62}$/.test(value) ? value : undefined),
);

/** A database of MongoDB, or nothing. */
export const mongoDatabase: Kind<string | undefined> = orNothing(
  kind('a name of at most 63 letters, digits, _ and -', (value) =>
    /^[A-Za-z0-9_-]{1,63}$/.test(value) ? value : undefined,
  ),
);

export function oneOf<const T extends string>(...values: readonly T[]): Kind<T> {
  return kind(alternatives(values), (value) => values.find((each) => each === value));
}

export const onOff: Kind<boolean> = { ...kind('true or false', readBoolean), isSwitch: true };

/** `auto` is `undefined`: the server decides. */
export const onOffAuto: Kind<boolean | undefined> = {
  allowed: 'auto, true or false',
  label: 'auto, true or false',
  isSwitch: true,
  parse(value) {
    const given = readBoolean(value);
    if (given === undefined && value !== 'auto') throw new BadValue('it must be auto, true or false.');
    return given;
  },
};

export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): Kind<number> {
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  return kind(`a whole number ${range}`, (value) => within(/^\d+$/.test(value) ? Number(value) : Number.NaN, min, max));
}

const maxWorkers = 256;

/** `auto` is one for each CPU that this process may use. */
export const workers: Kind<number> = kind(`auto, or a whole number from 1 to ${maxWorkers}`, (value) => {
  if (value === 'auto') return Math.min(availableParallelism(), maxWorkers);
  return within(/^\d+$/.test(value) ? Number(value) : Number.NaN, 1, maxWorkers);
});

/** A time with its unit, in milliseconds. */
export function duration(minMs: 0 | 1 = 1): Kind<number> {
  const allowed = `a whole number with its unit, ms, s, m or h, as in 30s, ${minMs === 0 ? 'or 0' : 'above 0'}, and at most 596h`;
  const read = (value: string): number | undefined => {
    if (value === '0') return within(0, minMs, longestMs);
    const [, digits, unit] = /^(\d+)(ms|s|m|h)$/.exec(value) ?? [];
    return within(Number(digits) * (unitsMs.get(unit ?? '') ?? Number.NaN), minMs, longestMs);
  };
  return kind(allowed, read, minMs === 0 ? 'a time or 0' : 'a time');
}

/** A number of bytes. */
export const size: Kind<number> = kind(
  'a whole number of bytes, or one with its unit, B, KiB, MiB or GiB, as in 48MiB, above 0',
  (value) => {
    const [, digits, unit] = /^(\d+)(|B|KiB|MiB|GiB)$/.exec(value) ?? [];
    return within(Number(digits) * (unitsBytes.get(unit ?? '') ?? Number.NaN), 1, Number.MAX_SAFE_INTEGER);
  },
  'a size',
);

export const host: Kind<string> = kind('an IP address or a host name, without a port', (value) => {
  const bare = value.replace(/^\[(.*)\]$/, '$1');
  return isIP(bare) !== 0 || isHostName(bare) ? bare : undefined;
});

export const hosts: Kind<readonly string[]> = kind('host names without a port, separated by commas', (value) => {
  const names = list(value)?.map((name) => name.toLowerCase());
  return names?.every((name) => isHostName(name) || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0) ? names : undefined;
});

export const origins: Kind<readonly string[]> = kind(
  'origins, as in https://app.example, separated by commas',
  (value) => {
    const all = list(value);
    if (all?.includes('*')) {
      throw new BadValue(
        'it must name each origin. With * every web page that someone opens could call this server from their browser, with the rights of their machine.',
      );
    }
    return all?.every(isOrigin) ? all : undefined;
  },
);

/** Whose forwarding headers are believed: nobody's, everybody's, or those of some addresses. */
export const proxies: Kind<boolean | readonly string[]> = kind(
  'true, false, or IP addresses and networks, as in 10.0.0.0/8, separated by commas',
  (value) => {
    const given = readBoolean(value);
    if (given !== undefined) return given;
    const all = list(value);
    return all !== undefined && all.length > 0 && all.every(isNetwork) ? all : undefined;
  },
);

export const providerName: Kind<string> = named('the name of a provider');

export const profileName: Kind<string> = named('the name of a profile');

const packagePattern = /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*(?:\/[a-z0-9_~-][a-z0-9._~-]*)*$/;

/** As `npm i` takes it, perhaps with a subpath: never a path on this machine. */
export const packageName: Kind<string> = kind('the name of an npm package, as in @ai-sdk/anthropic', (value) =>
  value.length <= 214 && packagePattern.test(value) ? value : undefined,
);

/** The address of an API. Comes without a trailing slash. */
export const baseUrl: Kind<string> = kind('an http or https address, as in http://127.0.0.1:11434/v1', (value) => {
  // A value with any of these may hold a password or a key, so it is not shown.
  const hidden = /[@?#]/.test(value);
  const url = URL.parse(value);
  if (url === null || !/^https?:$/.test(url.protocol) || !/^https?:\/\//i.test(value)) {
    throw new BadValue('it must be an http or https address, as in http://127.0.0.1:11434/v1.', hidden);
  }
  if (hidden) {
    throw new BadValue(
      'it must be an address without a user, password, query or fragment. A key belongs into api-key.',
      true,
    );
  }
  return url.href.replace(/\/+$/, '');
});

export const apiKey: Kind<string> = kind('a key of printable ASCII characters without spaces', (value) =>
  /^[\x21-\x7e]+$/.test(value) ? value : undefined,
);

export const headers: Kind<Readonly<Record<string, string>>> = kind(
  'headers as Name=value, separated by commas; a value that holds a comma stands in "…"',
  readHeaders,
);

/** `provider/model`, or several in the order in which they are asked. Whether there is such a provider is for the catalog to say. */
export const targets: Kind<readonly string[]> = kind(
  'a provider and its model, as in ollama/llama3.2, or several separated by commas',
  (value) => {
    const all = list(value);
    return all !== undefined && all.length > 0 && all.length <= maxTargets && all.every(isTarget) ? all : undefined;
  },
);

/** Models that one alias can name. */
const maxTargets = 16;

/** `ALIAS=provider/model,…`; what has no `=` is a further model of the alias before it. */
export const aliases: Kind<readonly { readonly alias: string; readonly targets: readonly string[] }[]> = kind(
  'aliases as ALIAS=provider/model, separated by commas, each alias once',
  (value) => {
    const all: { alias: string; targets: string[] }[] = [];
    for (const each of list(value) ?? ['']) {
      const at = each.indexOf('=');
      const target = each.slice(at + 1).trim();
      if (at === -1) all.at(-1)?.targets.push(target);
      if (at !== -1 || all.length === 0) all.push({ alias: each.slice(0, Math.max(at, 0)).trim(), targets: [target] });
    }
    if (new Set(all.map(({ alias }) => alias)).size < all.length) return undefined;
    return all.every((each) => isAlias(each.alias) && each.targets.every(isTarget) && each.targets.length <= maxTargets)
      ? all
      : undefined;
  },
);

/** A key that others are derived from. */
export const longSecret: Kind<string | undefined> = orNothing(
  kind('a secret of at least 32 characters', (value) => (value.length >= 32 ? value : undefined)),
);

export function isAlias(value: string): boolean {
  return /^[^\s,=]+$/.test(value);
}

/** A proxy from the machine's own variables. A scheme may be missing, as it may for curl. */
export const proxyUrl: Kind<string> = kind('an http or https address', (value) => {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`);
  return url !== null && /^https?:$/.test(url.protocol) && url.hostname !== '' ? url.href : undefined;
});

function isTarget(value: string): boolean {
  const at = value.indexOf('/');
  return at > 0 && providerNamePattern.test(value.slice(0, at)) && /^[^\s,]+$/.test(value.slice(at + 1));
}

function readBoolean(value: string): boolean | undefined {
  if (value === 'true') return true;
  return value === 'false' ? false : undefined;
}

function within(value: number, min: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined;
}

/** Undefined: one of them is empty. */
function list(value: string): readonly string[] | undefined {
  if (value.trim() === '') return [];
  const all = value.split(',').map((each) => each.trim());
  return all.includes('') ? undefined : all;
}

function isHostName(value: string): boolean {
  return value.length <= 253 && /^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$/i.test(value);
}

function isOrigin(value: string): boolean {
  const url = URL.parse(value);
  if (url === null) return false;
  // Apps have schemes of their own (`tauri://localhost`), of which the URL standard says no origin.
  return url.origin === 'null' ? /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s]+$/.test(value) : url.origin === value;
}

function isNetwork(value: string): boolean {
  const [address = '', bits, more] = value.split('/');
  const family = isIP(address);
  if (family === 0 || more !== undefined) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

function readHeaders(value: string): Readonly<Record<string, string>> | undefined {
  const one = /\s*([\w!#$%&'*+.^`|~-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\["\\])*)"|([^",\r\n]+?))\s*(?:[,\n]|$)/y;
  const found = new Map<string, string>();
  while (one.lastIndex < value.length) {
    const [, name, quoted, plain] = one.exec(value) ?? [];
    if (name === undefined) return undefined;
    const content = quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '';
    if (!/^[\t\x20-\x7e\x80-\xff]+$/.test(content)) return undefined;
    const lowered = name.toLowerCase();
    if (found.has(lowered)) throw new BadValue('it must name each header once.', true);
    if (connectionHeaders.has(lowered)) {
      throw new BadValue(`it must not hold ${[...connectionHeaders].join(', ')}.`, true);
    }
    found.set(lowered, content);
  }
  return Object.fromEntries(found);
}

function alternatives(values: readonly string[]): string {
  return values.length < 2 ? values.join('') : `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`;
}
