import { ApiError } from '../../errors.ts';
import { type FailureContext, refusalError, reportedError, retryAfter } from '../upstream/failures.ts';
import { count, isObject, type Loose, nonEmpty } from '../upstream/loose.ts';
import type { Habits } from './packages.ts';

/** Errors of a package about what it was asked to do, before anything was sent. */
const refusals: ReadonlySet<string> = new Set([
  'AI_UnsupportedFunctionalityError',
  'AI_InvalidPromptError',
  'AI_InvalidArgumentError',
  'AI_NoSuchModelError',
]);
/** Errors about an answer that has not the form that the package expects. */
const unreadable: ReadonlySet<string> = new Set([
  'AI_TypeValidationError',
  'AI_JSONParseError',
  'AI_InvalidResponseDataError',
  'AI_EmptyResponseBodyError',
]);
const maxCauses = 8;

/**
 * What a package threw, or sent as an `error` part, as a client may see it (R14). What our own connection knows about it
 * is better, and is asked first by the caller.
 */
export function packageError(
  context: FailureContext,
  thrown: unknown,
  { errorStatuses }: Pick<Habits, 'errorStatuses'>,
  nowMs: number,
): ApiError {
  const causes = causesOf(thrown);
  const own = causes.find((each) => each instanceof ApiError);
  if (own instanceof ApiError) return own;
  // `APICallError`, and the errors of a stream that packages give a status.
  const call = causes.find((each) => count(each['statusCode']) >= 300);
  if (call !== undefined) {
    const headers = isObject(call['responseHeaders']) ? call['responseHeaders'] : {};
    const afterMs = retryAfter(headers as Record<string, string>, nowMs);
    return refusalError(context, count(call['statusCode']), bodyOf(call), afterMs);
  }
  const refused = causes.find(({ name }) => refusals.has(String(name)));
  const message = `Provider \`${context.provider}\``;
  if (refused !== undefined) {
    const what = nonEmpty(refused['functionality']) ?? nonEmpty(refused['message']) ?? 'what was asked for';
    return new ApiError('invalid_request', `${message} can't take this: ${what}.`, { param: 'input' });
  }
  // Errors of packages quote requests and answers, which belong into no log.
  const cause = new Error(causes.map(({ name }) => String(name)).join(' < '));
  if (causes.some(({ name }) => unreadable.has(String(name)))) {
    return new ApiError('upstream_failed', `${message} answered with something that can't be read.`, { cause });
  }
  if (isObject(thrown) && !(thrown instanceof Error)) {
    // An object that is no error came from the vendor, as it is.
    const { type } = thrown;
    const status = typeof type === 'string' && Object.hasOwn(errorStatuses, type) ? errorStatuses[type] : undefined;
    if (status !== undefined) return refusalError(context, status, bodyOf(thrown));
    return reportedError(context, thrown['error'] ?? thrown);
  }
  return new ApiError('upstream_failed', `${message} failed.`, { cause });
}

/** An error and its causes, as loose objects. */
function causesOf(thrown: unknown): Loose[] {
  const causes: Loose[] = [];
  for (let each = thrown; isObject(each) && causes.length < maxCauses; each = each['cause']) causes.push(each);
  return causes;
}

/** What the vendor said, in a form that `failures.ts` reads. */
function bodyOf(error: Loose): string {
  const body = nonEmpty(error['responseBody']);
  // Packages put a stream's `error` object there, without what was around it.
  if (body !== undefined) return body;
  const { message, type, code } = error;
  return JSON.stringify({ error: { message, type, code } });
}
