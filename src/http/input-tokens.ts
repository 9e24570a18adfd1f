import type { FastifyReply, FastifyRequest } from 'fastify';
import { countTokensSchema } from '../api/input-tokens.ts';
import { countInputTokens } from '../engine/input-tokens.ts';
import { checked, type HttpContext } from './context.ts';
import { droppedHeader } from './responses.ts';

/** How the number was found. */
const countedByHeader = 'x-open-responses-token-count';

export async function countTokens(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  const body = checked(countTokensSchema, request.body === undefined ? {} : request.body, context);
  if (context.logsContent) request.log.info({ body }, 'request body');
  const left = new AbortController();
  reply.raw.once('close', () => left.abort());
  const deps = { ...context.deps, tokenizer: context.tokenizer };
  const { tokens, by, dropped } = await countInputTokens(body, context.callerOf(request), deps, left.signal);
  reply.header(countedByHeader, by);
  if (dropped.length > 0) reply.header(droppedHeader, dropped.join(', '));
  return reply.send({ object: 'response.input_tokens', input_tokens: tokens });
}
