import { readFileSync } from 'node:fs';
import { getCACertificates } from 'node:tls';
import { buildConnector, type Client, EnvHttpProxyAgent } from 'undici';
import type { UpstreamConfig } from '../config.ts';
import { Connections, type Dispatching } from './connections.ts';

/** How long an idle connection is kept where the upstream names no time of its own. */
const keepAliveTimeoutMs = 10_000;
/** The longest that an upstream's own `Keep-Alive: timeout` is believed. */
const maxKeepAliveTimeoutMs = 60_000;

/** The one HTTP client of a server's upstream calls. */
export type HttpClient = {
  readonly dispatcher: Dispatching;
  /** Closes every connection; calls under way fail. */
  close(): Promise<void>;
};

/**
 * Makes the client: at most `maxConnections` per upstream, through the proxies of the configuration where it names any
 * (never those of the environment), trusting the certificates of `caFile` beside the usual ones. With only an HTTP
 * proxy, HTTPS goes through it too. Throws an `Error` where `caFile` can't be read or holds no certificate.
 */
export function createDispatcher(upstream: UpstreamConfig): HttpClient {
  // HTTP/1.1 only: one call per connection, so that an abort closes exactly what it should.
  const tls = { allowH2: false, ...authorities(upstream.caFile) };
  const options = {
    allowH2: false,
    pipelining: 1,
    keepAliveTimeout: keepAliveTimeoutMs,
    keepAliveMaxTimeout: maxKeepAliveTimeoutMs,
  } satisfies Client.Options;
  const connect = { ...tls, timeout: upstream.connectTimeoutMs };
  const { httpProxy, httpsProxy, noProxy } = upstream;
  if (!httpProxy && !httpsProxy) {
    const connections = new Connections({ ...options, connect: buildConnector(connect) }, upstream.maxConnections);
    return { dispatcher: connections, close: () => connections.destroy() };
  }
  const agent = new EnvHttpProxyAgent({
    ...options,
    connections: upstream.maxConnections,
    connect,
    connectTimeout: upstream.connectTimeoutMs,
    requestTls: tls,
    proxyTls: tls,
    // Empty strings, never undefined: for undefined this agent looks into the environment.
    httpProxy: httpProxy ?? '',
    httpsProxy: httpsProxy ?? '',
    noProxy: noProxy ?? '',
  });
  return { dispatcher: agent, close: () => agent.destroy() };
}

function authorities(caFile: string | undefined): { ca?: string[] } {
  if (caFile === undefined) return {};
  const pem = readFileSync(caFile, 'utf8');
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new Error(`${caFile} holds no PEM certificate.`);
  return { ca: [...getCACertificates('default'), pem] };
}
