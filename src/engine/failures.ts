import type { ResponseError } from '../api/response.ts';
import { ApiError, asApiError, invalidRequest } from '../errors.ts';
import { StoreUnavailable, TooLargeForStore } from '../store.ts';

const lockedCode = 'conversation_locked';
/** How soon a client should ask again for a conversation that is busy (R12). */
const lockedRetryMs = 500;
/** How soon a client should ask again when the store can't serve. */
const storeRetryMs = 1_000;

/** OpenAI's words, which its Agents SDK looks for, and headers that make openai-node try again (docs/wire.md §5). */
export function conversationLocked(): ApiError {
  return new ApiError(
    'invalid_request',
    'Another process is currently operating on this conversation. Please retry in a few seconds.',
    { code: lockedCode, param: 'conversation', shouldRetry: true, retryAfterMs: lockedRetryMs },
  );
}

export function conversationNotFound(id: string): ApiError {
  return new ApiError('not_found', `Conversation with id '${id}' not found.`, { param: 'conversation' });
}

/** Beyond loopback nobody creates state with a token that no provider has vouched for. */
export function credentialNotProven(): ApiError {
  return new ApiError(
    'unauthorized',
    'No provider has accepted this API key yet. Check the key, name its provider in `x-model-provider`, or call a model once first.',
    { code: 'invalid_api_key' },
  );
}

export function itemNotFound(id: string): ApiError {
  return new ApiError('not_found', `Item with id '${id}' not found.`);
}

export function responseNotFound(id: string): ApiError {
  return new ApiError('not_found', `Response with id '${id}' not found. ${howToStore}`);
}

export function previousNotFound(id: string): ApiError {
  return invalidRequest(
    `Previous response with id '${id}' not found. ${howToStore}`,
    'previous_response_id',
    'previous_response_not_found',
  );
}

/** An error about an unknown id says how to store (R1). */
const howToStore =
  'A response is stored only if its request said `store: true`, or if the server runs with open-responses.store.default=true.';

/** What a caller may see of anything that a run died of; the rest goes to the log. */
export function asRunError(thrown: unknown): ApiError {
  if (thrown instanceof TooLargeForStore) {
    return new ApiError('too_large', 'This is more than the store can hold.', {
      cause: thrown,
      code: 'request_too_large',
      shouldRetry: false,
    });
  }
  if (thrown instanceof StoreUnavailable) {
    return new ApiError('unavailable', 'The store is unavailable. Please retry shortly.', {
      cause: thrown,
      retryAfterMs: storeRetryMs,
    });
  }
  return asApiError(thrown);
}

/** The `error` of a failed response: codes are a closed list in OpenAI's description. */
export function responseErrorOf(error: ApiError): ResponseError {
  switch (error.kind) {
    case 'rate_limited':
      return { code: 'rate_limit_exceeded', message: error.message };
    case 'invalid_request':
      return { code: error.code === lockedCode ? 'server_error' : 'invalid_prompt', message: error.message };
    default:
      return { code: 'server_error', message: error.message };
  }
}
