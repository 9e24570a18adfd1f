import type { FastifyReply, FastifyRequest } from 'fastify';
import { openApiDocument } from '../api/openapi.ts';
import type { HttpContext } from './context.ts';

/** Whoever asks gives up before long, and takes a server that does not answer for a dead one. */
const storeAnswersWithinMs = 2_000;

/** The process lives. */
export async function healthz(_request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  return reply.send({ status: 'ok' });
}

/** New work is welcome: the server is not stopping, and its store answers. */
export async function readyz(request: FastifyRequest, reply: FastifyReply, context: HttpContext): Promise<unknown> {
  if (!context.isReady()) return reply.code(503).header('retry-after', '1').send({ status: 'stopping' });
  try {
    await withinTime(context.store.ping());
    return reply.send({ status: 'ready' });
  } catch (error) {
    request.log.warn({ err: error }, 'the store does not answer');
    return reply.code(503).header('retry-after', '1').send({ status: 'store unavailable' });
  }
}

async function withinTime(answer: Promise<void>): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const message = `The store did not answer within ${storeAnswersWithinMs} ms`;
  const timer = setTimeout(() => reject(new Error(message)), storeAnswersWithinMs);
  try {
    await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function openApi(_request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  return reply.send(openApiDocument());
}
