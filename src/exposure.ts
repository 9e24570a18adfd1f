import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Config } from './config.ts';
import { ConfigError } from './config-error.ts';
import { isLoopbackName, plainName } from './loopback.ts';
import type { CredentialBook } from './models/credentials.ts';
import type { Provider } from './models/providers.ts';

/** How long the addresses behind a name may take. */
const lookupMs = 2_000;

export type SpendingCheck = {
  readonly config: Config;
  readonly providers: ReadonlyMap<string, Provider>;
  readonly isDemoOn: boolean;
  readonly book: CredentialBook;
  readonly logger: { warn(fields: object, message: string): void };
};

/**
 * Beyond loopback with `passthrough`, anybody with an invented token would spend what the server itself has: its keys,
 * and models that need none. Such a server does not start. A provider that can't be asked now is only warned about: its
 * calls vouch for nobody until it has shown that it checks keys.
 * @throws ConfigError which names the ways out.
 */
export async function refuseOpenSpending({ config, providers, isDemoOn, book, logger }: SpendingCheck): Promise<void> {
  if (config.auth.mode !== 'passthrough' || isLoopbackName(config.server.host)) return;
  const refuse = (why: string) =>
    new ConfigError(
      `The server listens on ${config.server.host}, and open-responses.auth.mode is passthrough, but ${why}. Ways out: listen on loopback (open-responses.server.host=127.0.0.1) behind a proxy that checks callers; or leave the keys to the clients; or, where everybody who reaches this server may use it, open-responses.auth.mode=none.`,
    );
  if (isDemoOn) throw refuse("'demo' needs no key: anybody could use it");
  for (const { name, hasOwnKey } of providers.values()) {
    if (hasOwnKey) throw refuse(`the provider '${name}' has a key of the server's: anybody could spend it`);
  }
  const configured = [...providers.values()].filter((provider) => provider.isConfigured);
  const checks = await Promise.all(
    configured.map(async (provider) => [provider, await book.keyCheck(provider)] as const),
  );
  for (const [{ name }, check] of checks) {
    if (check === 'open') throw refuse(`the provider '${name}' answers without a key: anybody could use it`);
    if (check === 'unknown') {
      logger.warn(
        { provider: name },
        'a provider did not say whether it checks keys: until it does, it vouches for none',
      );
    }
  }
}

/** Finds the addresses behind a name. */
export type Lookup = (name: string) => Promise<readonly string[]>;

/**
 * A provider at the server's own address would call itself without end.
 * @throws ConfigError
 */
export async function refuseOwnAddress(
  host: string,
  port: number,
  providers: ReadonlyMap<string, Provider>,
  addressesOf: Lookup = lookupAll,
): Promise<void> {
  const near = [...providers.values()].filter((provider) => portOf(new URL(provider.baseUrl)) === port);
  await Promise.all(
    near.map(async ({ name, baseUrl }) => {
      const { hostname, origin } = new URL(baseUrl);
      const names = [hostname, ...(isIP(plainName(hostname)) === 0 ? await bounded(addressesOf(hostname)) : [])];
      if (!names.some((each) => isOwnName(each, host))) return;
      throw new ConfigError(
        `open-responses.providers.${name}.base-url: ${origin} is this server's own address. A provider must be another server.`,
      );
    }),
  );
}

function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
}

async function lookupAll(name: string): Promise<string[]> {
  const found = await lookup(name, { all: true });
  return found.map(({ address }) => address);
}

/** A name that can't be looked up in time is nobody's. */
async function bounded(found: Promise<readonly string[]>): Promise<readonly string[]> {
  const { promise: late, resolve } = Promise.withResolvers<readonly string[]>();
  const timer = setTimeout(() => resolve([]), lookupMs);
  try {
    return await Promise.race([found, late]);
  } catch {
    return [];
  } finally {
    clearTimeout(timer);
  }
}

function isOwnName(name: string, host: string): boolean {
  const plain = plainName(name);
  const own = plainName(host);
  if (plain === own) return true;
  const isWildcard = own === '0.0.0.0' || own === '::' || own === '';
  if (isWildcard || isLoopbackName(own)) {
    if (isLoopbackName(plain) || plain === '0.0.0.0' || plain === '::') return true;
  }
  if (!isWildcard) return false;
  return Object.values(networkInterfaces()).some((each) => each?.some(({ address }) => plainName(address) === plain));
}
