import { ConfigError } from './config-error.ts';
import { parseProperties } from './properties.ts';
import { BadValue, isAlias, providerNamePattern } from './setting-values.ts';
import {
  allSettings,
  environmentName,
  environmentPrefix,
  flagName,
  isProviderField,
  isSettingKey,
  otherVariables,
  propertyName,
  propertyPrefix,
  providerSettings,
  reservedProvider,
  type SettingKey,
  settings,
} from './settings.ts';

/** A value as someone wrote it, not yet checked. */
export type Given = {
  readonly value: string;
  /** What to call it in a message: the name as written and its source. */
  readonly name: string;
};

/** What a key of the table stands for, `providers.NAME.…` and `models.ALIAS` taken apart. */
export type Key =
  | {
      readonly type: 'setting';
      readonly key: SettingKey;
      /** The value is the path of a file that holds it. */
      readonly isFile: boolean;
    }
  | {
      readonly type: 'provider';
      readonly provider: string;
      readonly field: keyof typeof providerSettings;
      /** The value is the path of a file that holds it. */
      readonly isFile: boolean;
    }
  | { readonly type: 'alias'; readonly alias: string }
  | { readonly type: 'aliases' };

/** One source, by key without prefix, in the order given. */
export type Level = ReadonlyMap<string, Given>;

export type Flags = { readonly level: Level; readonly configFile: string | undefined };

type Environment = Readonly<Record<string, string | undefined>>;

const fileSuffix = '-file';
/** Flags that are often written get by with less. */
const shortFlags: ReadonlyMap<string, SettingKey> = new Map([['workers', 'server.workers']]);
/** The last parts of a provider's keys, `-file` of secrets included, the longest first. */
const providerEnds = Object.entries(providerSettings)
  .flatMap(([field, row]) => (row.secret ? [field + fileSuffix, field] : [field]))
  .sort((a, b) => b.length - a.length);
/** The secrets among the settings of a fixed name, by the key that names a file which holds one. */
const settingFiles: ReadonlyMap<string, SettingKey> = new Map(
  Object.keys(settings)
    .filter(isSettingKey)
    .filter((key) => settings[key].secret)
    .map((key) => [key + fileSuffix, key]),
);
const documentedKeys = allSettings()
  .map(([key]) => key)
  .concat([...settingFiles.keys()])
  .concat(providerEnds.filter((end) => end.endsWith(fileSuffix)).map((end) => `providers.NAME.${end}`));

/** Undefined: there is no such key. Throws `BadValue` where there is one but for its provider or alias. */
export function parseKey(key: string): Key | undefined {
  if (isSettingKey(key)) return { type: 'setting', key, isFile: false };
  const inFile = settingFiles.get(key);
  if (inFile !== undefined) return { type: 'setting', key: inFile, isFile: true };
  if (key === 'models') return { type: 'aliases' };
  if (key.startsWith('models.')) {
    const alias = key.slice('models.'.length);
    if (!isAlias(alias)) throw new BadValue('has an alias that is empty or holds a blank, a comma or =.');
    return { type: 'alias', alias };
  }
  const end = key.startsWith('providers.') ? providerEnds.find((each) => key.endsWith(`.${each}`)) : undefined;
  const provider = end === undefined ? '' : key.slice('providers.'.length, -end.length - 1);
  if (end === undefined || provider === '') return undefined;
  if (!providerNamePattern.test(provider)) {
    throw new BadValue('must name its provider by lower-case letters, digits and -, first a letter.');
  }
  if (provider === reservedProvider) {
    throw new BadValue('names a provider that is built in: choose another name than demo.');
  }
  const isFile = !isProviderField(end);
  const field = isFile ? end.slice(0, -fileSuffix.length) : end;
  return isProviderField(field) ? { type: 'provider', provider, field, isFile } : undefined;
}

/**
 * `--KEY VALUE` and `--KEY=VALUE`; `--KEY` and `--no-KEY` for what is on or off. Of its own making because the names of
 * providers and models are part of flags, which no parser of fixed options knows.
 */
export function readFlags(argv: readonly string[]): Flags {
  const level = new Map<string, Given>();
  let configFile: string | undefined;
  for (let at = 0; at < argv.length; at += 1) {
    const argument = argv[at] ?? '';
    // Package managers other than npm hand on the `--` of `start -- --flag`.
    if (argument === '--') continue;
    if (!argument.startsWith('-')) throw unexpectedArgument(argument, at);
    const [, flag = '', inline] = /^(-[^=]*)(?:=([\s\S]*))?$/.exec(argument) ?? [];
    const { key, negated } = flagKey(flag);
    const next = argv[at + 1];
    const follows = inline === undefined && !negated && next !== undefined && !next.startsWith('-');
    if (follows) at += 1;
    const value = negated && inline === undefined ? 'false' : (inline ?? (follows ? next : undefined));
    if (key !== 'config') add(level, key, { value: flagValue(flag, key, value, negated), name: `${flag} (flag)` });
    else if (value === undefined || value === '') throw new ConfigError('--config (flag) needs the path of a file.');
    else if (configFile !== undefined) throw new ConfigError('--config (flag) is given twice.');
    else configFile = value;
  }
  return { level, configFile };
}

/** `OPEN_RESPONSES_…`, and as a weaker level the names that other software uses. An empty variable counts as not set. */
export function readEnvironment(env: Environment): readonly [Level, Level] {
  const own = new Map<string, Given>();
  const others = new Map<string, Given>();
  const foreign = kubernetesPrefixes(env);
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(environmentPrefix) || foreign.some((prefix) => isKubernetesLink(name, prefix))) continue;
    const key = environmentKey(name);
    if (key === undefined || !isKnown(key, `${name} (environment variable)`)) throw unknownVariable(name);
    if (value !== undefined && value !== '') add(own, key, { value, name: `${name} (environment variable)` });
  }
  for (const { names, key } of Object.values(otherVariables)) {
    const name = names.find((each) => env[each] !== undefined && env[each] !== '');
    const value = name === undefined ? undefined : env[name];
    if (key !== undefined && value !== undefined) others.set(key, { value, name: `${name} (environment variable)` });
  }
  return [own, others];
}

/** Every key must begin with `open-responses.`. `file` is the name that messages show. */
export function readPropertiesFile(content: string, file: string): Level {
  const level = new Map<string, Given>();
  for (const { key: name, value, line } of parseProperties(content, file)) {
    const place = `${file}:${line}`;
    if (!name.startsWith(propertyPrefix)) {
      // What stands there may be a secret that went astray, so only what looks like a key is shown.
      const shown = /^[a-z][a-z.-]*$/i.test(name) ? `${name} (${place})` : `The key in ${place}`;
      const near = nearest(name, documentedKeys);
      const hint = near === undefined ? '' : ` Did you mean ${propertyName(near)}?`;
      throw new ConfigError(`${shown} must begin with ${propertyPrefix}.${hint}`);
    }
    const key = name.slice(propertyPrefix.length);
    if (!isKnown(key, `${name} (${place})`)) {
      throw unknown(`${name} (${place})`, nearest(key, candidates(key)), propertyName);
    }
    level.set(key, { value, name: `${name} (${place})` });
  }
  return level;
}

function add(level: Map<string, Given>, key: string, given: Given): void {
  const earlier = level.get(key);
  if (earlier === undefined) level.set(key, given);
  else if (earlier.name === given.name) throw new ConfigError(`${given.name} is given twice.`);
  else throw new ConfigError(`${given.name} and ${earlier.name} contradict each other. Give one of them.`);
}

function isKnown(key: string, name: string): boolean {
  try {
    return parseKey(key) !== undefined;
  } catch (error) {
    if (error instanceof BadValue) throw new ConfigError(`${name} ${error.message}`);
    throw error;
  }
}

function unexpectedArgument(argument: string, at: number): ConfigError {
  // Anything longer or odder may be a secret that went astray.
  const isCommand = /^[a-z]{1,16}$/.test(argument);
  if (at === 0 && isCommand)
    return new ConfigError(`Unknown command ${argument}: there are serve, migrate and store stats.`);
  const shown = isCommand ? `Unexpected argument ${argument}` : `Unexpected argument in position ${at + 1}`;
  return new ConfigError(`${shown}: a command comes first, and everything else is a flag, as in --server.port 8080.`);
}

function flagKey(flag: string): { readonly key: string; readonly negated: boolean } {
  const key = flag.replace(/^--/, '');
  if (key === 'config') return { key, negated: false };
  const long = flag.startsWith('--') ? shortFlags.get(key) : undefined;
  if (long !== undefined) return { key: long, negated: false };
  if (flag.startsWith('--') && isKnown(key, `${flag} (flag)`)) return { key, negated: false };
  const positive = key.replace(/^no-/, '');
  if (flag.startsWith('--no-') && isKnown(positive, `${flag} (flag)`)) {
    if (isSwitch(positive)) return { key: positive, negated: true };
    throw new ConfigError(`${flag} (flag) is unknown: ${flagName(positive)} is not a switch and needs a value.`);
  }
  const bare = key.replace(/^-/, '');
  const names = [...candidates(bare), ...shortFlags.keys(), 'config', 'help', 'version'];
  throw unknown(`${flag} (flag)`, nearest(bare, names), flagName);
}

function flagValue(flag: string, key: string, value: string | undefined, negated: boolean): string {
  if (negated && value !== 'false') throw new ConfigError(`${flag} (flag) takes no value.`);
  if (value !== undefined) return value;
  if (isSwitch(key)) return 'true';
  throw new ConfigError(`${flag} (flag) needs a value, as in ${flag}=VALUE.`);
}

function isSwitch(key: string): boolean {
  return isSettingKey(key) && settings[key].kind.isSwitch;
}

/** In a variable's name `_` stands for `.` and `-`, so the table decides; in names of providers and aliases it is `-`. */
function environmentKey(name: string): string | undefined {
  const known = ['models', ...Object.keys(settings), ...settingFiles.keys()].find(
    (key) => environmentName(key) === name,
  );
  if (known !== undefined) return known;
  const rest = name.slice(environmentPrefix.length);
  const lower = rest.toLowerCase().replaceAll('_', '-');
  if (rest.startsWith('MODELS_')) return `models.${lower.slice('models-'.length)}`;
  const end = rest.startsWith('PROVIDERS_') ? providerEnds.find((each) => lower.endsWith(`-${each}`)) : undefined;
  if (end === undefined) return undefined;
  return `providers.${lower.slice('providers-'.length, -end.length - 1)}.${end}`;
}

/**
 * Kubernetes gives every container variables for each service: for one called `open-responses` they begin as ours do.
 * `…_PORT=tcp://…` gives it away. Such variables are nobody's settings and must not stop the start.
 */
function kubernetesPrefixes(env: Environment): readonly string[] {
  return Object.entries(env)
    .filter(([name, value]) => name.endsWith('_PORT') && /^(?:tcp|udp|sctp):\/\//.test(value ?? ''))
    .map(([name]) => name.slice(0, -'PORT'.length));
}

function isKubernetesLink(name: string, prefix: string): boolean {
  return (
    name.startsWith(prefix) &&
    /^(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/.test(
      name.slice(prefix.length),
    )
  );
}

function unknown(name: string, near: string | undefined, write: (key: string) => string): ConfigError {
  const hint = near === undefined ? 'open-responses --help lists what there is.' : `Did you mean ${write(near)}?`;
  return new ConfigError(`${name} is unknown. ${hint}`);
}

function unknownVariable(name: string): ConfigError {
  const rest = name.slice(environmentPrefix.length);
  const words = rest.split('_').slice(1);
  const providers = words.flatMap((_, at) =>
    providerEnds.map((end) => `providers.${words.slice(0, at + 1).join('_')}.${end}`),
  );
  const all = rest.startsWith('PROVIDERS_') ? [...documentedKeys, ...providers] : documentedKeys;
  const names = all.map((key) => environmentName(key).slice(environmentPrefix.length));
  return unknown(`${name} (environment variable)`, nearest(rest, names), (each) => environmentPrefix + each);
}

/** The documented keys, and those of the provider that an unknown key names. */
function candidates(key: string): readonly string[] {
  const provider = /^providers\.([a-z][a-z0-9-]*)\../.exec(key)?.[1];
  if (provider === undefined) return documentedKeys;
  return [...documentedKeys, ...providerEnds.map((end) => `providers.${provider}.${end}`)];
}

/**
 * What someone may have meant: a key that ends so (`port`), or that has a part more within (`providers.base-url`), else the
 * most similar, else one that begins so. What begins so comes before a provider's that ends so (`store`).
 */
function nearest(name: string, keys: readonly string[]): string | undefined {
  const begins = keys.find((key) => key.startsWith(`${name}.`) || key.startsWith(`${name}_`));
  const [, head, tail] = /^([a-z]+)[._](.+)$/i.exec(name) ?? [];
  const ends = keys.filter((key) => {
    if (key.endsWith(`.${name}`) || key.endsWith(`_${name}`)) return begins === undefined || !/^providers/i.test(key);
    return (
      [`.${tail}`, `_${tail}`].some((end) => key.endsWith(end)) &&
      /^providers[._]name[._]/i.test(key) &&
      key.startsWith(`${head}`)
    );
  });
  if (ends.length > 0) return ends.reduce((best, key) => (key.length < best.length ? key : best));
  const scored = keys.map((key) => ({ key, changes: changes(name.slice(0, 100), key) }));
  const best = scored.reduce((a, b) => (b.changes < a.changes ? b : a), { key: '', changes: Number.POSITIVE_INFINITY });
  if (best.changes <= Math.max(1, Math.floor(name.length / 3))) return best.key;
  return begins;
}

/** How many letters to insert, remove or replace to make one text the other. */
function changes(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (const [done, letter] of [...from].entries()) {
    const next = [done + 1];
    for (let at = 0; at < to.length; at += 1) {
      const replaced = (row[at] ?? 0) + (letter === to[at] ? 0 : 1);
      next.push(Math.min(replaced, (row[at + 1] ?? 0) + 1, (next[at] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
