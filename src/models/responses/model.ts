import { ApiError } from '../../errors.ts';
import type { Model, ModelCall } from '../../model.ts';
import { ask } from '../upstream/ask.ts';
import { type Endpoint, toEndpoint } from '../upstream/endpoint.ts';
import { type FailureFacts, type Reported, refusalError, retryAfter } from '../upstream/failures.ts';
import { isObject, parsed } from '../upstream/loose.ts';
import { createUpstreamModel, type UpstreamOptions } from '../upstream/model.ts';
import { OfferedTools } from '../upstream/offered-tools.ts';
import type { Protocol } from '../upstream/protocol.ts';
import { ResponsesDecoder } from './decoder.ts';
import type { Dialect } from './dialects.ts';
import { type RequestSettings, toCountRequest, toResponsesRequest } from './request.ts';

/** What calls of this protocol are posted to. */
export const responsesResource = '/responses';

/** Counting reads a whole input, so that it may take longer than other questions. */
const countTimeoutMs = 30_000;
/** Models remembered as having no encrypted reasoning; the oldest is asked again. */
const maxPlainModels = 1_000;

export type ResponsesOptions = UpstreamOptions & {
  readonly dialect: Dialect;
  /** Whether the upstream may keep its responses. */
  readonly store: boolean;
};

/** A provider that speaks Responses itself. All state is ours: it gets the whole context with every call. */
export function createResponsesModel(options: ResponsesOptions): Model {
  const { dialect, store } = options;
  const plainModels = new Set<string>();
  const protocol = responses({ dialect, store, plainModels }, (model) => remember(plainModels, model));
  const model = createUpstreamModel(options, protocol, dialect.features);
  if (!dialect.inputTokens) return model;
  const endpoint = toEndpoint(options.provider);
  const now = options.now ?? Date.now;
  return {
    ...model,
    countTokens: (call, signal) => countTokens({ options, endpoint, facts: protocol.failures, now }, call, signal),
  };
}

function responses(settings: RequestSettings, foundPlain: (model: string) => void): Protocol {
  const { dialect, plainModels } = settings;
  return {
    resource: responsesResource,
    failures: { contextOverflow: dialect.contextOverflow, params: [] },
    body: (call) => toResponsesRequest(call, settings),
    decoder: ({ provider, call, reportedError }, emit) =>
      new ResponsesDecoder(
        {
          provider,
          tools: new OfferedTools(call.tools, dialect),
          logprobs: call.topLogprobs !== undefined,
          marksReasoning: dialect.reasoningText,
          reportedError,
        },
        emit,
      ),
    mend(call, refusal) {
      if (isUnverified(refusal)) return withoutEncrypted(call);
      if (!isWithoutEncryption(refusal) || plainModels.has(call.model)) return undefined;
      foundPlain(call.model);
      return call;
    },
  };
}

/** OpenAI: a reasoning item of another account, of a key that has changed, or of another item. */
function isUnverified({ code, message }: Reported): boolean {
  return (
    code === 'invalid_encrypted_content' ||
    /encrypted content .*could not be (?:verified|decrypted)/i.test(message ?? '')
  );
}

/** OpenAI, of models that do not reason, where `include` asks for it. */
function isWithoutEncryption({ message }: Reported): boolean {
  return /encrypted content is not supported/i.test(message ?? '');
}

function withoutEncrypted(call: ModelCall): ModelCall | undefined {
  const items = call.items.filter((item) => item.type !== 'reasoning' || item.encrypted_content === undefined);
  return items.length === call.items.length ? undefined : { ...call, items };
}

function remember(models: Set<string>, model: string): void {
  models.add(model);
  for (const oldest of models) {
    if (models.size <= maxPlainModels) break;
    models.delete(oldest);
  }
}

type Counting = {
  readonly options: ResponsesOptions;
  readonly endpoint: Endpoint;
  readonly facts: FailureFacts;
  readonly now: () => number;
};

async function countTokens(
  { options, endpoint, facts, now }: Counting,
  call: ModelCall,
  signal: AbortSignal,
): Promise<number> {
  const { provider, dispatcher, dialect } = options;
  const { credential, via } = call;
  const { status, headers, body } = await ask(
    { provider, dispatcher, credential, via, signal },
    {
      method: 'POST',
      resource: `${responsesResource}/input_tokens`,
      body: JSON.stringify(toCountRequest(call, dialect)),
      what: 'the number of input tokens',
      reads: () => true,
      timeoutMs: countTimeoutMs,
    },
  );
  // Of an upstream without this route; the caller then counts in another way, as after a 404.
  if (status === 405) {
    throw new ApiError('method_not_allowed', `Provider \`${provider.name}\` does not count tokens.`);
  }
  if (status >= 300) {
    const clientCredential = !endpoint.ownCredential && credential !== undefined;
    const context = { provider: provider.name, facts, model: call.model, clientCredential, secrets: endpoint.secrets };
    throw refusalError(context, status, body, retryAfter(headers, now()));
  }
  const answer = parsed(body);
  const tokens = isObject(answer) ? answer['input_tokens'] : undefined;
  if (typeof tokens === 'number' && Number.isSafeInteger(tokens) && tokens >= 0) return tokens;
  throw new ApiError('upstream_failed', `Provider \`${provider.name}\` did not say the number of input tokens.`);
}
