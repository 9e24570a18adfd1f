import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ApiError, ErrorKind } from '../errors.ts';

/** The one table from kinds of failure to HTTP statuses (docs/wire.md §5, R14). */
const statusOf: Record<ErrorKind, number> = {
  invalid_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  internal: 500,
  upstream_failed: 502,
  upstream_unavailable: 503,
  unavailable: 503,
  upstream_timeout: 504,
  loop: 508,
};

export function httpStatus(error: ApiError): number {
  return statusOf[error.kind];
}

/** One line for what an operator should know of: defects with their cause, and whatever else is answered with a 5xx. */
export function logFailure(request: FastifyRequest, error: ApiError): void {
  if (error.kind === 'internal') request.log.error({ err: error.cause ?? error }, 'a request failed unexpectedly');
  else if (httpStatus(error) >= 500) request.log.warn({ err: error }, 'a request failed');
}

export function sendError(reply: FastifyReply, error: ApiError): FastifyReply {
  for (const [name, value] of retryHeaders(error)) reply.header(name, value);
  return reply.code(httpStatus(error)).type('application/json; charset=utf-8').send(errorJson(error));
}

/** For answers that bypass Fastify: a socket that never became a request, a run that fails before its stream opens. */
export function writeError(raw: ServerResponse, error: ApiError, headers: Record<string, string>): void {
  const body = errorJson(error);
  raw.writeHead(httpStatus(error), {
    ...headers,
    ...Object.fromEntries(retryHeaders(error)),
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
  });
  raw.end(body);
}

export function errorJson(error: ApiError): string {
  return JSON.stringify({ error: error.body() });
}

/** What OpenAI's SDKs obey on any status, and `Retry-After` in whole seconds for everybody else (docs/wire.md §5). */
function retryHeaders(error: ApiError): [string, string][] {
  const headers: [string, string][] = [];
  if (error.shouldRetry !== undefined) headers.push(['x-should-retry', String(error.shouldRetry)]);
  if (error.retryAfterMs !== undefined) {
    headers.push(['retry-after-ms', String(error.retryAfterMs)]);
    headers.push(['retry-after', String(Math.ceil(error.retryAfterMs / 1000))]);
  }
  return headers;
}
