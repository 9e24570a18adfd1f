import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from '../errors.ts';
import { type HttpContext, pathParam } from './context.ts';

export async function listModels(request: FastifyRequest, reply: FastifyReply, context: HttpContext): Promise<unknown> {
  const data = await context.models.list(context.callerOf(request));
  return reply.send({ object: 'list', data });
}

/** The id may contain `/` (docs/wire.md §1). */
export async function retrieveModel(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  const id = pathParam(request, '*');
  const found = await context.models.find(id, context.callerOf(request));
  if (found !== undefined) return reply.send(found);
  throw new ApiError('not_found', `The model '${id.slice(0, 200)}' does not exist or you do not have access to it.`, {
    code: 'model_not_found',
    param: 'model',
  });
}
