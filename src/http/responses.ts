import type { FastifyReply, FastifyRequest } from 'fastify';
import { createResponseSchema } from '../api/create-response.ts';
import { includeQuerySchema, listQuerySchema, retrieveQuerySchema } from '../api/queries.ts';
import { responseNotFound } from '../engine/failures.ts';
import type { Run } from '../engine/run.ts';
import { withOutput } from '../engine/snapshot.ts';
import { asApiError, invalidRequest } from '../errors.ts';
import { requireBody } from './body.ts';
import { checked, type HttpContext, pathParam, sendJson } from './context.ts';
import { logFailure, writeError } from './errors.ts';
import { listPage } from './lists.ts';
import { SseStream } from './sse.ts';

/** What of a request its model could not do, under `upstream.unsupported=drop`. */
export const droppedHeader = 'x-open-responses-dropped';

export async function createResponse(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  const body = checked(createResponseSchema, requireBody(request), context);
  if (context.logsContent) request.log.info({ body }, 'request body');
  const caller = context.callerOf(request);
  if (body.stream === true) return streamResponse(request, reply, context, body);
  const run = context.engine.start(body, caller);
  watchClient(reply, run);
  const { json } = await run.result;
  if (context.logsContent) request.log.info({ response: json }, 'response body');
  tellDropped(reply, run);
  return sendJson(reply, json);
}

/** Names what the model could not do, and was left out of the call. */
function tellDropped(reply: FastifyReply, run: Run): void {
  const { dropped } = run;
  if (dropped.length > 0) reply.header(droppedHeader, dropped.join(', '));
}

/** Takes the socket over from Fastify: from here on every failure has to be answered here. */
async function streamResponse(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
  body: Parameters<HttpContext['engine']['start']>[0],
): Promise<void> {
  let sse: SseStream | undefined;
  const { raw } = reply;
  const run = context.engine.start(body, context.callerOf(request), {
    open: () => {
      tellDropped(reply, run);
      sse = new SseStream(raw, headersOf(reply), {
        ...context.stream,
        onPressure: (isFull) => (isFull ? run.pause() : run.resume()),
      });
    },
    event: (type, json) => sse?.event(type, json),
    hold: context.stream.joinDeltas ? (flush) => sse?.hold(flush) : undefined,
  });
  reply.hijack();
  watchClient(reply, run);
  try {
    const { json } = await run.result;
    if (context.logsContent) request.log.info({ response: json }, 'response body');
    if (sse !== undefined) sse.end();
    else raw.destroy();
  } catch (thrown) {
    const error = asApiError(thrown);
    logFailure(request, error);
    if (!raw.headersSent && !raw.destroyed) writeError(raw, error, headersOf(reply));
    else raw.destroy();
  }
}

/** A client that leaves ends its run (R11). */
function watchClient(reply: FastifyReply, run: Run): void {
  const { raw } = reply;
  if (raw.destroyed) run.clientGone();
  raw.once('close', () => {
    if (!raw.writableFinished) run.clientGone();
  });
}

function headersOf(reply: FastifyReply): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : String(value);
  }
  return headers;
}

export async function retrieveResponse(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  const query = checked(retrieveQuerySchema, request.query, context);
  if (query.stream === 'true') {
    throw invalidRequest(
      'Only a response that was created with `background: true` and `stream: true` can be streamed again, and this server has no background responses.',
      'stream',
      'unsupported_value',
    );
  }
  const id = pathParam(request, 'response_id');
  const stored = await context.store.getResponse(context.callerOf(request).tenant, id);
  if (stored === undefined) throw responseNotFound(id);
  return sendJson(reply, withOutput(stored.responseJson, JSON.stringify(stored.output)));
}

export async function deleteResponse(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  checked(includeQuerySchema, request.query, context);
  const id = pathParam(request, 'response_id');
  const wasDeleted = await context.store.deleteResponse(context.callerOf(request).tenant, id);
  if (!wasDeleted) throw responseNotFound(id);
  return reply.send({ id, object: 'response', deleted: true });
}

export async function listInputItems(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<unknown> {
  const query = checked(listQuerySchema, request.query, context);
  const id = pathParam(request, 'response_id');
  const view = { kind: 'input_of', responseId: id } as const;
  const page = await context.store.listItems(context.callerOf(request).tenant, view, query);
  if (page === 'missing') throw responseNotFound(id);
  return reply.send(listPage(page, query));
}
