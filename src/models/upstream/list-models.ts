import { ApiError } from '../../errors.ts';
import { type AskOptions, ask } from './ask.ts';

/** `ids` is empty unless the status is 2xx. */
export type UpstreamModels = { readonly status: number; readonly ids: readonly string[] };

/**
 * GET {baseUrl}/models, once, in bounded time. Resolves with whatever status came; rejects with an `ApiError` where none
 * did, or where a 2xx can't be read.
 */
export async function listUpstreamModels(options: AskOptions): Promise<UpstreamModels> {
  const reads = (status: number) => status < 300;
  const { status, body } = await ask(options, {
    method: 'GET',
    resource: '/models',
    what: 'its list of models',
    reads,
  });
  if (status >= 300) return { status, ids: [] };
  const ids = toIds(body);
  if (ids !== undefined) return { status, ids };
  throw new ApiError(
    'upstream_failed',
    `Provider \`${options.provider.name}\` answered with something that is not a list of models.`,
  );
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
