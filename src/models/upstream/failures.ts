import { ApiError, type ErrorKind } from '../../errors.ts';
import { headerOf, type ResponseHeaders } from './exchange.ts';

/** Characters of an upstream's message that are passed on. */
const maxMessageLength = 1_000;
/** Nobody waits longer than a day, whatever an upstream says. */
const maxRetryAfterMs = 86_400_000;

/** What has to be known about an upstream to tell its failures. */
export type FailureFacts = {
  /** What tells an input that exceeds the model's context from other bad requests: either is enough. */
  readonly contextOverflow: { readonly codes: readonly string[]; readonly messages: readonly RegExp[] };
  /** Fields of its requests that have another name in the Responses API. */
  readonly params: readonly (readonly [upstream: RegExp, ours: string])[];
};

/** What a failure is told with. */
export type FailureContext = {
  readonly provider: string;
  readonly facts: FailureFacts;
  readonly model: string;
  /** Whether the call went out with the client's own credential: then the upstream's verdict on it is the client's (R14). */
  readonly clientCredential: boolean;
  /** Values that must not appear in any message. */
  readonly secrets: readonly string[];
};

/** What an error's body says, as far as it has the form of one. */
export type Reported = {
  readonly message: string | undefined;
  readonly code: string | number | undefined;
  readonly type: string | undefined;
  readonly param: string | undefined;
};

/** An answer other than 2xx as a client may see it: the table of R14. */
export function refusalError(context: FailureContext, status: number, body: string, retryAfterMs?: number): ApiError {
  return statusError(context, status, reportIn(body), retryAfterMs);
}

/** What the body of an error says. */
export function reportIn(body: string): Reported {
  return reported(parse(body));
}

/** An `error` object in an answer that began well. OpenRouter puts the status into its `code`. */
export function reportedError(context: FailureContext, error: unknown): ApiError {
  const report = reported({ error });
  const status = Number(report.code);
  if (Number.isInteger(status) && status >= 400 && status < 600) return statusError(context, status, report);
  if (overflows(context.facts, report)) return overflowError(context, report);
  if (limitCodes.has(report.code ?? '')) return statusError(context, 429, report);
  if (report.code === 'invalid_prompt') return badRequestError(context, 400, report);
  return new ApiError('upstream_failed', describe(context, 'reported an error', clean(context, report.message)));
}

const limitCodes: ReadonlySet<string | number> = new Set(['rate_limit_exceeded', 'insufficient_quota']);

/** A request that got no answer, or (`answered`) whose answer broke off. */
export function transportError(provider: string, error: Error, answered: boolean): ApiError {
  const code = codeOf(error);
  const name = `Provider \`${provider}\``;
  const fail = (kind: ErrorKind, message: string) => new ApiError(kind, `${name} ${message}.`, { cause: error });
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT') {
    return fail('upstream_timeout', 'could not be reached in time');
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return fail('upstream_timeout', 'did not answer in time');
  if (code === 'UND_ERR_BODY_TIMEOUT') return fail('upstream_timeout', 'fell silent in the middle of its answer');
  if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED') {
    return new ApiError('unavailable', 'The server is shutting down.', { cause: error });
  }
  if (answered) return fail('upstream_failed', 'broke off in the middle of its answer');
  if (code === 'UND_ERR_INVALID_ARG') return fail('upstream_failed', 'could not be called like this');
  if (error.name === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW') {
    // Without its cause, which quotes what the upstream sent.
    return new ApiError('upstream_failed', `${name} answered with something that is not HTTP.`);
  }
  return fail('upstream_unavailable', 'could not be reached');
}

/** Whether the same request may be sent again: nothing of an answer has arrived, and the reason may pass. */
export function isPassing(error: Error): boolean {
  return ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'EAI_AGAIN', 'UND_ERR_SOCKET'].includes(codeOf(error));
}

const passingStatuses: ReadonlySet<number> = new Set([408, 409, 429, 500, 502, 503, 504]);

/** The same for an answer. `x-should-retry` is how OpenAI's API overrules the status. */
export function isPassingStatus(status: number, headers: ResponseHeaders): boolean {
  return passingStatuses.has(status) && headerOf(headers, 'x-should-retry') !== 'false';
}

/** Whether a refusal may be about something in the request that the upstream can be spared. */
export function isMendable(status: number): boolean {
  return status === 400 || status === 422;
}

/** `retry-after-ms`, or `Retry-After` in seconds or as a date (RFC 9110, 10.2.3). Undefined: none that makes sense. */
export function retryAfter(headers: ResponseHeaders, nowMs: number): number | undefined {
  const exact = Number(headerOf(headers, 'retry-after-ms') ?? Number.NaN);
  if (exact >= 0) return Math.min(exact, maxRetryAfterMs);
  const value = headerOf(headers, 'retry-after');
  if (value === undefined || value.trim() === '') return undefined;
  const seconds = Number(value);
  const delayMs = Number.isNaN(seconds) ? Date.parse(value) - nowMs : seconds * 1_000;
  if (Number.isNaN(delayMs)) return undefined;
  return Math.min(Math.max(Math.ceil(delayMs), 0), maxRetryAfterMs);
}

function statusError(context: FailureContext, status: number, report: Reported, retryAfterMs?: number): ApiError {
  const { model, clientCredential } = context;
  const told = (what: string) => describe(context, what, clean(context, report.message));
  switch (status) {
    case 401:
    case 403:
      return credentialError(context, status);
    case 404:
      return new ApiError('invalid_request', told(`does not know the model \`${model}\``), {
        code: 'model_not_found',
        param: 'model',
      });
    case 408:
      return new ApiError('upstream_timeout', describe(context, 'did not answer in time', undefined));
    case 429:
      return new ApiError('rate_limited', told429(context, clientCredential ? report.message : undefined), {
        code: 'rate_limit_exceeded',
        retryAfterMs,
      });
    case 503:
      return new ApiError('upstream_unavailable', told('is not available now'), { retryAfterMs });
    case 504:
      return new ApiError('upstream_timeout', told('did not answer in time'), { retryAfterMs });
    case 508:
      return new ApiError('loop', describe(context, 'led the call back to a server that it had passed', undefined));
    default:
      if (status >= 300 && status < 400) {
        return new ApiError('upstream_failed', describe(context, `redirected the call (${status})`, undefined));
      }
      if (status >= 500) return new ApiError('upstream_failed', told(`failed (${status})`), { retryAfterMs });
      return badRequestError(context, status, report);
  }
}

/** 400, 413, 422 and their like: the upstream's own words, as it knows best what is wrong with the request. */
function badRequestError(context: FailureContext, status: number, report: Reported): ApiError {
  if (overflows(context.facts, report)) return overflowError(context, report);
  const message = clean(context, report.message);
  return new ApiError('invalid_request', message ?? describe(context, `refused the request (${status})`, undefined), {
    code: typeof report.code === 'string' && report.code.length <= 64 ? report.code : undefined,
    param: toParam(context.facts, report.param),
  });
}

/** Says nothing of the upstream's own words: they may show the key. */
function credentialError(context: FailureContext, status: 401 | 403): ApiError {
  if (!context.clientCredential) {
    return new ApiError(
      'upstream_failed',
      describe(context, `refused this server's credentials (${status})`, undefined),
    );
  }
  if (status === 403) {
    return new ApiError('forbidden', describe(context, 'does not allow this with your API key', undefined));
  }
  const message = describe(context, 'refused your API key', undefined);
  return new ApiError('unauthorized', message, { code: 'invalid_api_key' });
}

function overflows({ contextOverflow }: FailureFacts, { code, type, message }: Reported): boolean {
  const { codes, messages } = contextOverflow;
  if (codes.some((known) => known === code || known === type)) return true;
  return message !== undefined && messages.some((pattern) => pattern.test(message));
}

function overflowError(context: FailureContext, report: Reported): ApiError {
  const message = clean(context, report.message) ?? 'Your input exceeds the context window of this model.';
  return new ApiError('invalid_request', message, { code: 'context_length_exceeded', param: 'input' });
}

/** An upstream's words on a rate limit name the account behind the key: only its owner may read them. */
function told429(context: FailureContext, message: string | undefined): string {
  return describe(context, 'asks to slow down (429)', clean(context, message));
}

function describe({ provider }: FailureContext, what: string, message: string | undefined): string {
  return `Provider \`${provider}\` ${what}${message === undefined ? '.' : `: ${message}`}`;
}

function clean(context: FailureContext, message: string | undefined): string | undefined {
  if (message === undefined) return undefined;
  let text = message;
  for (const secret of context.secrets) text = text.replaceAll(secret, '***');
  return text.length > maxMessageLength ? `${text.slice(0, maxMessageLength)}…` : text;
}

/** The name that the field has in the Responses API. */
function toParam({ params }: FailureFacts, param: string | undefined): string | undefined {
  if (param === undefined || param.length > 256) return undefined;
  return params.find(([upstream]) => upstream.test(param))?.[1] ?? param;
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/**
 * `{error: {message, …}}` (OpenAI), `[{error: {…}}]` (Gemini), `{error: "…"}` (Ollama), `{message}` (vLLM), `{detail: "…"}`
 * (FastAPI).
 */
function reported(body: unknown): Reported {
  const outer = fields(Array.isArray(body) ? body[0] : body);
  const error = outer['error'];
  const inner = typeof error === 'object' && error !== null ? fields(error) : outer;
  const code = inner['code'];
  return {
    message: text(inner['message']) ?? text(error) ?? text(outer['detail']),
    code: typeof code === 'string' || typeof code === 'number' ? code : undefined,
    type: text(inner['type']),
    param: text(inner['param']),
  };
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function codeOf(error: Error): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : '';
}
