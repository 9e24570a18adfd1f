/**
 * Which kind of failure this is. The one table that turns a kind into an HTTP status is `http/errors.ts`.
 *
 * - `invalid_request`, `not_found`, `unauthorized`, `forbidden`, `too_large`, `unsupported_media_type`,
 *   `method_not_allowed`: the caller's doing;
 * - `rate_limited`: an upstream (or we) ask the caller to slow down;
 * - `upstream_failed`, `upstream_unavailable`, `upstream_timeout`: the model did not answer, or answered badly;
 * - `loop`: the call came back to a server that it already passed;
 * - `unavailable`: this server or its database can't serve now, and may soon;
 * - `internal`: a defect of ours.
 */
export type ErrorKind =
  | 'invalid_request'
  | 'not_found'
  | 'unauthorized'
  | 'forbidden'
  | 'too_large'
  | 'unsupported_media_type'
  | 'method_not_allowed'
  | 'rate_limited'
  | 'upstream_failed'
  | 'upstream_unavailable'
  | 'upstream_timeout'
  | 'loop'
  | 'unavailable'
  | 'internal';

/** The public part of an error, as OpenAI's API shows it under `error`. */
export type ErrorBody = {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
};

export type ErrorOptions = {
  readonly code?: string | undefined;
  readonly param?: string | undefined;
  /** Overrides the `type` that belongs to the kind; used to pass an upstream's own words on. */
  readonly type?: string | undefined;
  /** When the caller may try again. */
  readonly retryAfterMs?: number | undefined;
  /** Tells OpenAI's SDKs, by `x-should-retry`, whether to try again, whatever the status. */
  readonly shouldRetry?: boolean | undefined;
  /** The cause, for the log only: it never reaches a client. */
  readonly cause?: unknown;
};

/** An error whose message may be shown to the caller. Everything else that is thrown is a defect, shown as `internal`. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly kind: ErrorKind;
  readonly type: string;
  readonly code: string | null;
  readonly param: string | null;
  readonly retryAfterMs: number | undefined;
  readonly shouldRetry: boolean | undefined;

  constructor(kind: ErrorKind, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.type = options.type ?? typeOf(kind);
    this.code = options.code ?? null;
    this.param = options.param ?? null;
    this.retryAfterMs = options.retryAfterMs;
    this.shouldRetry = options.shouldRetry;
  }

  body(): ErrorBody {
    return { message: this.message, type: this.type, param: this.param, code: this.code };
  }
}

/** 400, with the code and the path of the field at fault. */
export function invalidRequest(message: string, param?: string, code?: string): ApiError {
  return new ApiError('invalid_request', message, { param, code });
}

/** What a caller may see of anything that was thrown; what is not ours to show becomes a plain `internal`. */
export function asApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  return new ApiError('internal', 'The server had an error while processing your request.', { cause: thrown });
}

function typeOf(kind: ErrorKind): string {
  switch (kind) {
    case 'rate_limited':
      // One of OpenAI's own types; the Open Responses standard has another word.
      return 'requests';
    case 'upstream_failed':
    case 'upstream_unavailable':
    case 'upstream_timeout':
    case 'loop':
    case 'unavailable':
    case 'internal':
      return 'server_error';
    default:
      return 'invalid_request_error';
  }
}
