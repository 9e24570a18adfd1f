import { viaHeader } from '../../model.ts';

/** Who is called, resolved from the configuration. */
export type Provider = {
  readonly name: string;
  /** Without a trailing slash. May hold a query, which then goes with every call, and credentials for Basic auth. */
  readonly baseUrl: string;
  readonly apiKey?: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
};

/** Headers in which vendors take keys: OpenAI and most; Azure; Anthropic; Google. */
const keyHeaders = ['authorization', 'api-key', 'x-api-key', 'x-goog-api-key'];

/** A provider's address and what goes with every request to it. */
export type Endpoint = {
  readonly origin: string;
  /** The full path, with query, of a resource such as `/chat/completions`. */
  readonly path: (resource: string) => string;
  /** Whether the server brings the credential; the client's own is then never sent. */
  readonly ownCredential: boolean;
  readonly headers: Readonly<Record<string, string>>;
  /** Values that must not appear in any message. */
  readonly secrets: readonly string[];
};

/** Throws a `TypeError` for a `baseUrl` that is no http(s) URL. */
export function toEndpoint(provider: Provider): Endpoint {
  const url = new URL(provider.baseUrl);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new TypeError(`The base URL of provider \`${provider.name}\` must begin with http:// or https://.`);
  }
  const base = url.pathname.replace(/\/+$/, '');
  const headers: Record<string, string> = { accept: 'application/json', 'user-agent': 'open-responses' };
  if (provider.apiKey !== undefined) {
    headers['authorization'] = `Bearer ${provider.apiKey}`;
  } else if (url.username !== '') {
    const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
    headers['authorization'] = `Basic ${Buffer.from(credentials).toString('base64')}`;
  }
  for (const [name, value] of Object.entries(provider.headers)) headers[name.toLowerCase()] = value;
  const secrets = [provider.apiKey, decodeURIComponent(url.password), ...Object.values(provider.headers)];
  return {
    origin: url.origin,
    path: (resource) => `${base}${resource}${url.search}`,
    ownCredential: keyHeaders.some((name) => headers[name] !== undefined),
    headers,
    // A shorter value is no secret, and would tear holes into innocent words.
    secrets: secrets.filter((secret) => secret !== undefined && secret.length >= 8) as string[],
  };
}

/** The headers of one request. */
export function requestHeaders(
  endpoint: Endpoint,
  credential: string | undefined,
  via: readonly string[],
): Record<string, string> {
  const headers: Record<string, string> = { ...endpoint.headers };
  if (!endpoint.ownCredential && credential !== undefined) headers['authorization'] = `Bearer ${credential}`;
  if (via.length > 0) headers[viaHeader] = via.join(',');
  return headers;
}
