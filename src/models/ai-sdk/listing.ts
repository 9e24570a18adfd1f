import { ApiError } from '../../errors.ts';
import type { Dispatching } from '../connections.ts';
import { ask, type UpstreamAnswer } from '../upstream/ask.ts';
import type { Provider } from '../upstream/endpoint.ts';
import type { UpstreamModels } from '../upstream/list-models.ts';
import { isObject, nonEmpty, objectsIn, parsed } from '../upstream/loose.ts';
import type { Habits } from './packages.ts';

export type ListingOptions = {
  readonly provider: Provider;
  readonly habits: Habits;
  readonly dispatcher: Dispatching;
  /** Goes out where the provider has no key of the server's. */
  readonly credential: string | undefined;
  readonly via: readonly string[];
};

/**
 * A vendor's own list of models, as packages have none. Resolves with whatever status came; rejects with an `ApiError`
 * where none did, or where a 2xx can't be read.
 */
export async function listPackageModels(options: ListingOptions): Promise<UpstreamModels> {
  const { status, body } = await askForModels(options, (code) => code < 300);
  if (status >= 300) return { status, ids: [] };
  const ids = toIds(parsed(body));
  if (ids !== undefined) return { status, ids };
  throw new ApiError(
    'upstream_failed',
    `Provider \`${options.provider.name}\` answered with something that is not a list of models.`,
  );
}

/** Asks for the list, with the key in the vendor's own header. */
export function askForModels(
  { provider, habits, dispatcher, credential, via }: ListingOptions,
  reads: (status: number) => boolean,
): Promise<UpstreamAnswer> {
  const { resource, keyHeader, headers } = habits.listing;
  const key = provider.apiKey ?? credential;
  const isBearer = keyHeader === 'authorization';
  const own = key === undefined || isBearer ? {} : { [keyHeader]: key };
  const asked = {
    ...provider,
    apiKey: isBearer ? key : undefined,
    headers: { ...headers, ...own, ...provider.headers },
  };
  const question = { method: 'GET', resource, what: 'its list of models', reads } as const;
  return ask({ provider: asked, dispatcher, via }, question);
}

/** `{data: [{id}]}` (Anthropic and most), `{models: [{name: 'models/…', supportedGenerationMethods}]}` (Google). */
function toIds(list: unknown): string[] | undefined {
  if (!isObject(list)) return undefined;
  if (Array.isArray(list['data'])) return objectsIn(list['data']).flatMap(({ id }) => nonEmpty(id) ?? []);
  if (!Array.isArray(list['models'])) return undefined;
  const spoken = objectsIn(list['models']).filter(({ supportedGenerationMethods: methods }) => {
    return !Array.isArray(methods) || methods.includes('generateContent');
  });
  return spoken.flatMap(({ name }) => nonEmpty(name)?.replace(/^models\//, '') ?? []);
}
