import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AccessRules } from './auth.ts';

/** Headers that scripts of an allowed page may read, besides the usual ones. */
const exposed = 'x-request-id, retry-after, retry-after-ms, x-should-retry';
const preflightSeconds = '600';

/** Lets scripts of an allowed origin read the answer. */
export function corsHeaders(request: FastifyRequest, reply: FastifyReply, rules: AccessRules): void {
  const { origin } = request.headers;
  if (rules.corsOrigins.length > 0) reply.header('vary', 'origin');
  if (origin === undefined || !rules.corsOrigins.includes(origin)) return;
  reply.header('access-control-allow-origin', origin).header('access-control-expose-headers', exposed);
}

/** Answers a browser's question whether it may ask. False where this is no such question, or the origin is not allowed. */
export function answerPreflight(request: FastifyRequest, reply: FastifyReply, rules: AccessRules): boolean {
  const { origin } = request.headers;
  const wanted = request.headers['access-control-request-method'];
  if (request.method !== 'OPTIONS' || wanted === undefined || origin === undefined) return false;
  if (!rules.corsOrigins.includes(origin)) return false;
  const headers = request.headers['access-control-request-headers'];
  reply.header('access-control-allow-methods', 'GET, POST, DELETE').header('access-control-max-age', preflightSeconds);
  if (headers !== undefined) reply.header('access-control-allow-headers', headers);
  void reply.code(204).send();
  return true;
}
