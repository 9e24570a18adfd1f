import type { Dispatcher } from 'undici';
import { ApiError } from '../../errors.ts';
import { type Provider, requestHeaders, toEndpoint } from './endpoint.ts';
import { Exchange } from './exchange.ts';
import { transportError } from './failures.ts';

const timeoutMs = 5_000;
const maxBytes = 4 * 1024 * 1024;

export type ListModelsOptions = {
  readonly provider: Provider;
  readonly dispatcher: Dispatcher;
  /** The client's own bearer token, sent where the provider has no key of the server's. */
  readonly credential?: string | undefined;
  readonly via?: readonly string[] | undefined;
};

/** `ids` is empty unless the status is 2xx. */
export type UpstreamModels = { readonly status: number; readonly ids: readonly string[] };

/**
 * GET {baseUrl}/models, once, within 5 s and 4 MiB. Resolves with whatever status came; rejects with an `ApiError` where
 * none did, or where a 2xx can't be read.
 */
export function listUpstreamModels(options: ListModelsOptions): Promise<UpstreamModels> {
  const { provider, dispatcher, credential, via = [] } = options;
  const endpoint = toEndpoint(provider);
  return new Promise((resolve, reject) => {
    let status = 0;
    let size = 0;
    const body: Buffer[] = [];
    const settle = (settled: UpstreamModels | ApiError) => {
      clearTimeout(timer);
      exchange.abort();
      if (settled instanceof ApiError) reject(settled);
      else resolve(settled);
    };
    const failed = (what: string) => new ApiError('upstream_failed', `Provider \`${provider.name}\` ${what}.`);
    const exchange = new Exchange({
      headers(received) {
        status = received;
        if (status >= 300) settle({ status, ids: [] });
      },
      data(bytes) {
        size += bytes.length;
        if (size > maxBytes) settle(failed('has a list of models that is too long'));
        else body.push(bytes);
      },
      end() {
        const ids = toIds(Buffer.concat(body).toString());
        settle(ids === undefined ? failed('answered with something that is not a list of models') : { status, ids });
      },
      failed: (error) => settle(transportError(provider.name, error, status !== 0)),
    });
    const late = new ApiError('upstream_timeout', `Provider \`${provider.name}\` did not list its models in time.`);
    const timer = setTimeout(() => settle(late), timeoutMs);
    exchange.send(dispatcher, {
      origin: endpoint.origin,
      path: endpoint.path('/models'),
      method: 'GET',
      headers: requestHeaders(endpoint, credential, via),
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
  });
}

function toIds(body: string): string[] | undefined {
  let list: unknown;
  try {
    list = JSON.parse(body);
  } catch {
    return undefined;
  }
  const data = typeof list === 'object' && list !== null ? (list as { data?: unknown }).data : undefined;
  if (!Array.isArray(data)) return undefined;
  return data.flatMap((model: { id?: unknown } | null) => (typeof model?.id === 'string' ? [model.id] : []));
}
