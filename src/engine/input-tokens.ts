import type { CreateResponse } from '../api/create-response.ts';
import type { CountTokens } from '../api/input-tokens.ts';
import { ApiError } from '../errors.ts';
import { allFeatures, type Model, type ModelCall, type ModelCatalog, type ResolvedModel } from '../model.ts';
import type { Tokenizer } from '../tokenizer.ts';
import type { Caller, EngineDeps } from './engine.ts';
import { callFor, plan, prepare } from './prepare.ts';
import { estimateTokens } from './token-estimate.ts';
import { tokenTextsOf } from './token-texts.ts';

/**
 * How a number of tokens was found. `exact`: the upstream said it. `tokenizer`: counted here with the model's own
 * vocabulary; only the frames of messages and functions are a rule of thumb. `estimate`: guessed, or part of it is.
 */
export type CountedBy = 'exact' | 'tokenizer' | 'estimate';

export type TokenCount = {
  readonly tokens: number;
  readonly by: CountedBy;
  /** What of the request the model can't do, and is not counted. */
  readonly dropped: readonly string[];
};

export type CountDeps = EngineDeps & { readonly tokenizer: Tokenizer };

/** What a function costs besides its texts, of models that nobody has told us about: as with gpt-4o. */
const usualFunctionTokens = 7;

/**
 * Counts what a response to this request would give its model: with the context that is stored, without an answer.
 * Stores nothing, and needs no lease.
 * @throws ApiError where the response would be refused as well.
 */
export async function countInputTokens(
  request: CountTokens,
  caller: Caller,
  deps: CountDeps,
  signal: AbortSignal,
): Promise<TokenCount> {
  const { personality, ...fields } = request;
  const asked: CreateResponse = { ...fields, model: request.model ?? noName, store: false };
  const asking = { ...deps, catalog: withNobody(deps.catalog) };
  const planned = plan(asked, caller, asking);
  const prepared = await prepare(planned, asking, () => {}, { mayBeEmpty: true });
  const { call, dropped } = callFor(planned, prepared, planned.resolved, asking);
  const { tokens, by } = await countCall(planned.resolved.model, call, deps.tokenizer, signal);
  // What a personality makes of the input is known to its model alone, and no model is asked about it yet.
  return { tokens, by: personality == null ? by : 'estimate', dropped };
}

type Counted = Pick<TokenCount, 'tokens' | 'by'>;

async function countCall(model: Model, call: ModelCall, tokenizer: Tokenizer, signal: AbortSignal): Promise<Counted> {
  const exact = await countUpstream(model, call, signal);
  if (exact !== undefined) return { tokens: exact, by: 'exact' };
  const vocabulary = tokenizer.vocabularyOf(call.model);
  const { texts, otherTokens, isGuessed } = tokenTextsOf(call, vocabulary?.functionTokens ?? usualFunctionTokens);
  if (vocabulary !== undefined) {
    const counted = await tokenizer.count(vocabulary, texts, signal);
    if (counted !== undefined) return { tokens: counted + otherTokens, by: isGuessed ? 'estimate' : 'tokenizer' };
  }
  return { tokens: estimateTokens(texts) + otherTokens, by: 'estimate' };
}

/** Undefined where the upstream can't tell. */
async function countUpstream(model: Model, call: ModelCall, signal: AbortSignal): Promise<number | undefined> {
  if (model.countTokens === undefined) return undefined;
  try {
    return await model.countTokens(call, signal);
  } catch (thrown) {
    if (thrown instanceof ApiError && isUnknownRoute(thrown)) return undefined;
    throw thrown;
  }
}

/** A 404, of which nobody can tell whether it is the route or the model that is unknown, or a 405. */
function isUnknownRoute({ kind, code }: ApiError): boolean {
  return code === 'model_not_found' || kind === 'not_found' || kind === 'method_not_allowed';
}

/** In place of a name that the request leaves out; no request can say it. */
const noName = '';

/** A model for requests that name none: it could do everything, and nobody asks it. */
const nobody: ResolvedModel = {
  model: {
    features: allFeatures,
    stream: () => {
      throw new Error('nobody was asked for an answer');
    },
  },
  provider: noName,
  upstreamName: noName,
  takesCredential: false,
  fallback: undefined,
};

function withNobody(catalog: ModelCatalog): ModelCatalog {
  return { resolve: (name, chooser) => (name === noName ? nobody : catalog.resolve(name, chooser)) };
}
