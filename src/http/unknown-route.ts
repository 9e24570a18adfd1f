import type { FastifyRequest } from 'fastify';
import { ApiError } from '../errors.ts';
import type { Route } from './context.ts';

/** Routes of OpenAI's API that look like one of ours with another method or an odd id, and are not there. */
const absent = new Set(['GET /v1/responses', 'POST /v1/responses/compact']);

/** Tells an unknown path (404) from a known one with another method (405). `allow` is the header that belongs to a 405. */
export function unknownRoute(
  request: FastifyRequest,
  routes: readonly Route[],
): { error: ApiError; allow: string | undefined } {
  const path = pathOf(request.url);
  const name = `${request.method} ${path.slice(0, 200)}`;
  const methods = absent.has(name)
    ? []
    : routes.filter((route) => matches(route.path, path)).map((route) => route.method);
  if (methods.length === 0) {
    return {
      error: new ApiError('not_found', `Unknown request URL: ${name}.`, { code: 'unknown_url' }),
      allow: undefined,
    };
  }
  const allow = [...new Set(methods)].join(', ');
  const error = new ApiError('method_not_allowed', `Not allowed: ${name}. Allowed: ${allow}.`, {
    code: 'method_not_allowed',
  });
  return { error, allow };
}

function pathOf(url: string): string {
  const path = url.split('?', 1)[0] ?? '';
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function matches(pattern: string, path: string): boolean {
  const wanted = pattern.split('/');
  const given = path.split('/');
  if (pattern.endsWith('*') ? given.length < wanted.length : given.length !== wanted.length) return false;
  return wanted.every((part, index) => part === '*' || part.startsWith(':') || part === given[index]);
}
