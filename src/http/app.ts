import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { Caller } from '../engine/engine.ts';
import { asRunError } from '../engine/failures.ts';
import { ApiError, invalidRequest } from '../errors.ts';
import type { MintId } from '../ids.ts';
import { type AccessRules, checkBrowser, identify } from './auth.ts';
import { acceptJson } from './body.ts';
import type { HttpContext, Route } from './context.ts';
import * as conversations from './conversations.ts';
import { answerPreflight, corsHeaders } from './cors.ts';
import { errorJson, logFailure, sendError } from './errors.ts';
import { healthz, openApi, readyz } from './health.ts';
import { countTokens } from './input-tokens.ts';
import { listModels, retrieveModel } from './models.ts';
import { parseQuery } from './query.ts';
import * as responses from './responses.ts';
import { expectReading } from './slow-clients.ts';
import { unknownRoute } from './unknown-route.ts';

/** Every route there is. The OpenAPI document is checked against this list by a test. */
export const routes: readonly Route[] = [
  { method: 'POST', path: '/v1/responses', handler: responses.createResponse },
  { method: 'POST', path: '/v1/responses/input_tokens', handler: countTokens },
  { method: 'GET', path: '/v1/responses/:response_id', handler: responses.retrieveResponse },
  { method: 'DELETE', path: '/v1/responses/:response_id', handler: responses.deleteResponse },
  { method: 'GET', path: '/v1/responses/:response_id/input_items', handler: responses.listInputItems },
  { method: 'POST', path: '/v1/conversations', handler: conversations.createConversation },
  { method: 'GET', path: '/v1/conversations/:conversation_id', handler: conversations.retrieveConversation },
  { method: 'POST', path: '/v1/conversations/:conversation_id', handler: conversations.updateConversation },
  { method: 'DELETE', path: '/v1/conversations/:conversation_id', handler: conversations.deleteConversation },
  { method: 'GET', path: '/v1/conversations/:conversation_id/items', handler: conversations.listItems },
  { method: 'POST', path: '/v1/conversations/:conversation_id/items', handler: conversations.createItems },
  { method: 'GET', path: '/v1/conversations/:conversation_id/items/:item_id', handler: conversations.retrieveItem },
  { method: 'DELETE', path: '/v1/conversations/:conversation_id/items/:item_id', handler: conversations.deleteItem },
  { method: 'GET', path: '/v1/models', handler: listModels },
  { method: 'GET', path: '/v1/models/*', handler: retrieveModel },
  { method: 'GET', path: '/openapi.json', handler: openApi, isOpen: true },
  { method: 'GET', path: '/healthz', handler: healthz, isOpen: true },
  { method: 'GET', path: '/readyz', handler: readyz, isOpen: true },
];

export type AppOptions = {
  readonly logger: FastifyBaseLogger;
  readonly rules: AccessRules;
  readonly mintId: MintId;
  readonly trustProxy: boolean | readonly string[];
  readonly maxBodyBytes: number;
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly writeTimeoutMs: number;
};

/** How often Node looks for requests that take too long to arrive. */
const timeoutCheckMs = 1_000;
/** A path with an id in it: our ids have 53 characters, a client's item id at most 256. */
const maxPathParamLength = 512;

/** The HTTP face of the engine. `context` is what the routes work with, less what comes from the request. */
export function createApp(options: AppOptions, context: Omit<HttpContext, 'callerOf'>): FastifyInstance {
  const app = fastify({
    loggerInstance: options.logger,
    // One line per request, of our own; Fastify's would be two.
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => options.mintId('req'),
    trustProxy: typeof options.trustProxy === 'boolean' ? options.trustProxy : [...options.trustProxy],
    bodyLimit: options.maxBodyBytes,
    requestTimeout: options.bodyTimeoutMs,
    keepAliveTimeout: options.idleTimeoutMs,
    http: {
      headersTimeout: options.headersTimeoutMs,
      connectionsCheckingInterval: timeoutCheckMs,
      // Node would refuse with an empty answer; here it is JSON, like every other refusal.
      requireHostHeader: false,
    },
    // Not in the API's form either: who comes while the server stops is answered by a hook below.
    return503OnClosing: false,
    routerOptions: {
      maxParamLength: maxPathParamLength,
      querystringParser: parseQuery,
      ignoreTrailingSlash: true,
    },
    frameworkErrors: (error, request, reply) => {
      begin(request, reply);
      corsHeaders(request, reply, options.rules);
      void sendError(reply, fromRouter(error, request));
    },
    clientErrorHandler: (error, socket) => answerBrokenRequest(error, socket, options.mintId('req')),
  });
  app.decorateRequest('caller', undefined);
  const full: HttpContext = { ...context, callerOf: (request) => request.caller ?? missingCaller() };
  acceptJson(app, options.maxBodyBytes);
  // An expectation that is not known may be ignored (RFC 9110, 10.1.1); Node would refuse with an empty answer.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  // By callback, as a promise for each hook is felt.
  app.addHook('onRequest', (request, reply, done) => {
    begin(request, reply);
    done(refusal(() => receive(request, reply, options.rules, full)));
  });
  // Once more, as the body may have taken its time.
  app.addHook('preHandler', (request, reply, done) => {
    done(isOpen(request) ? undefined : refusal(() => refuseWhileStopping(reply, full)));
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (typeof payload === 'string' && payload.length > restsWithSystem)
      expectReading(reply.raw, options.writeTimeoutMs);
    done();
  });
  app.setErrorHandler((thrown, request, reply) => {
    const error = fromFastify(thrown);
    logFailure(request, error);
    if (error.kind === 'too_large') reply.header('connection', 'close');
    return sendError(reply, error);
  });
  app.setNotFoundHandler((request, reply) => {
    if (answerPreflight(request, reply, options.rules)) return reply;
    const { error, allow } = unknownRoute(request, routes);
    if (allow !== undefined) reply.header('allow', allow);
    return sendError(reply, error);
  });
  for (const { method, path, handler } of routes) {
    app.route({ method, url: path, handler: (request, reply) => handler(request, reply, full) });
  }
  return app;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Undefined on routes that are open to anybody. */
    caller: Caller | undefined;
  }
}

/** Looks at who asks, before the body is read. @throws ApiError */
function receive(request: FastifyRequest, reply: FastifyReply, rules: AccessRules, context: HttpContext): void {
  corsHeaders(request, reply, rules);
  const { host } = request.headers;
  if (host === undefined && request.raw.httpVersion !== '1.0') throw invalidRequest('The request has no Host header.');
  if (isOpen(request)) return;
  checkBrowser(request, rules);
  if (request.method === 'OPTIONS') return;
  request.caller = identify(request, rules);
  refuseWhileStopping(reply, context);
}

/** What a check throws, for a callback that wants it as a value. */
function refusal(check: () => void): Error | undefined {
  try {
    check();
    return undefined;
  } catch (thrown) {
    return thrown instanceof Error ? thrown : new Error('a check failed', { cause: thrown });
  }
}

/** An answer of so many characters is out of our hands at once, whether or not the client reads it. */
const restsWithSystem = 64 * 1024;

/** What every request gets, whatever becomes of it: an id, and a line in the log when it is over. */
function begin(request: FastifyRequest, reply: FastifyReply): void {
  reply.header('x-request-id', request.id);
  reply.raw.once('close', () => logRequest(request, reply));
}

/** The path without its query, where careless clients put keys. Without a status: the client left before an answer. */
function logRequest(request: FastifyRequest, { raw, elapsedTime }: FastifyReply): void {
  const { method, ip } = request;
  const path = request.url.split('?', 1)[0];
  const status = raw.headersSent ? raw.statusCode : undefined;
  const left = raw.writableFinished ? {} : { left: true };
  request.log.info({ method, path, status, ms: Math.round(elapsedTime * 10) / 10, ip, ...left }, 'request');
}

const openPaths: ReadonlySet<string> = new Set(routes.filter(({ isOpen }) => isOpen).map(({ path }) => path));
const longestOpenPath = Math.max(...[...openPaths].map(({ length }) => length));

/** By what the client wrote, as asking the router is dear: another spelling of an open path needs a key. */
function isOpen({ method, url }: FastifyRequest): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false;
  const path = url.split('?', 1)[0] ?? '';
  return path.length <= longestOpenPath + 1 && openPaths.has(path.endsWith('/') ? path.slice(0, -1) : path);
}

/** @throws ApiError 503 */
function refuseWhileStopping(reply: FastifyReply, context: HttpContext): void {
  if (context.isReady()) return;
  reply.header('connection', 'close');
  throw new ApiError('unavailable', 'The server is stopping.', { retryAfterMs: 1_000, shouldRetry: true });
}

/** A path that the router can't read, or that holds an id which is longer than any. */
function fromRouter(error: { readonly code: string }, request: FastifyRequest): ApiError {
  const name = `${request.method} ${request.url.split('?', 1)[0]?.slice(0, 200) ?? ''}`;
  if (error.code !== 'FST_ERR_MAX_PARAM_LENGTH') return invalidRequest(`Not a valid request URL: ${name}.`);
  return new ApiError('not_found', `Unknown request URL: ${name}.`, { code: 'unknown_url' });
}

/** Errors of Fastify's own in the API's form. */
function fromFastify(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  const { statusCode, message } = thrown as { statusCode?: unknown; message?: unknown };
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500 && typeof message === 'string') {
    const kind = statusCode === 413 ? 'too_large' : statusCode === 415 ? 'unsupported_media_type' : 'invalid_request';
    return new ApiError(kind, message);
  }
  return asRunError(thrown);
}

/** A socket whose bytes never became a request. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket, requestId: string): void {
  // Where Node's own handler looks too: in the middle of an answer, another would become part of it.
  const { _httpMessage: answer } = socket as { readonly _httpMessage?: ServerResponse | null };
  if (!socket.writable || socket.destroyed || answer?.headersSent === true) {
    socket.destroy();
    return;
  }
  const [status, text, message] = brokenRequest(error.code);
  const body = errorJson(new ApiError('invalid_request', message));
  const head = [
    `HTTP/1.1 ${status} ${text}`,
    'connection: close',
    `x-request-id: ${requestId}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

function brokenRequest(code: string | undefined): [number, string, string] {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, 'Request Timeout', 'The request did not arrive in time.'];
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'Request Header Fields Too Large', 'The headers of the request are too large.'];
    default:
      return [400, 'Bad Request', 'The request is not valid HTTP.'];
  }
}

function missingCaller(): never {
  throw new Error('a route that is not open ran without a caller');
}
