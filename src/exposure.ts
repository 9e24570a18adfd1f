import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Config } from './config.ts';
import { ConfigError } from './config-error.ts';
import { isLoopbackName } from './loopback.ts';
import { answersAnybody } from './models/credentials.ts';
import type { Provider } from './models/providers.ts';

/**
 * Beyond loopback with `passthrough`, anybody with an invented token would spend what the server itself has: its keys,
 * and models that need none. Such a server does not start.
 * @throws ConfigError which names the ways out.
 */
export async function refuseOpenSpending(
  config: Config,
  providers: ReadonlyMap<string, Provider>,
  isDemoOn: boolean,
): Promise<void> {
  if (config.auth.mode !== 'passthrough' || isLoopbackName(config.server.host)) return;
  const ways =
    'Ways out: listen on loopback (open-responses.server.host=127.0.0.1) behind a proxy that checks callers; or leave the keys to the clients; or, where everybody who reaches this server may use it, open-responses.auth.mode=none.';
  const where = `The server listens on ${config.server.host}, and open-responses.auth.mode is passthrough`;
  if (isDemoOn) throw new ConfigError(`${where}, but 'demo' needs no key: anybody could use it. ${ways}`);
  for (const provider of providers.values()) {
    if (provider.hasOwnKey) {
      throw new ConfigError(
        `${where}, but the provider '${provider.name}' has a key of the server's: anybody could spend it. ${ways}`,
      );
    }
    if (provider.isConfigured && (provider.ignoresKeys || (isNearby(provider) && (await answersAnybody(provider))))) {
      throw new ConfigError(
        `${where}, but the provider '${provider.name}' answers without a key: anybody could use it. ${ways}`,
      );
    }
  }
}

/**
 * A provider at the server's own address would call itself without end.
 * @throws ConfigError
 */
export function refuseOwnAddress(host: string, port: number, providers: ReadonlyMap<string, Provider>): void {
  for (const provider of providers.values()) {
    const url = new URL(provider.baseUrl);
    const itsPort = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
    if (itsPort === port && isOwnName(url.hostname, host)) {
      throw new ConfigError(
        `open-responses.providers.${provider.name}.base-url: ${url.origin} is this server's own address. A provider must be another server.`,
      );
    }
  }
}

/** A server of the operator's own. A public vendor may list its models to anybody, and still ask for a key to call them. */
function isNearby(provider: Provider): boolean {
  const name = new URL(provider.baseUrl).hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (isLoopbackName(name) || !/[.:]/.test(name) || /\.(?:local|internal|lan|home|svc)$/.test(name)) return true;
  const family = isIP(name);
  return family !== 0 && privateAddresses.check(name, family === 6 ? 'ipv6' : 'ipv4');
}

const privateAddresses = new BlockList();
for (const [network, prefix] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const) {
  privateAddresses.addSubnet(network, prefix, 'ipv4');
}
privateAddresses.addSubnet('fc00::', 7, 'ipv6');
privateAddresses.addSubnet('fe80::', 10, 'ipv6');

function isOwnName(name: string, host: string): boolean {
  const plain = name.replace(/^\[|\]$/g, '').toLowerCase();
  if (plain === host.toLowerCase()) return true;
  const isWildcard = host === '0.0.0.0' || host === '::' || host === '';
  if (isWildcard || isLoopbackName(host)) {
    if (isLoopbackName(plain) || plain === '0.0.0.0' || plain === '::') return true;
  }
  if (!isWildcard) return false;
  return Object.values(networkInterfaces()).some((each) => each?.some((address) => address.address === plain));
}
