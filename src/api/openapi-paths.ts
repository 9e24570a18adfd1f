import type { z } from 'zod';
import { queryParameters } from './openapi-requests.ts';
import { ref, type Schemas } from './openapi-shapes.ts';
import type { JsonObject } from './primitives.ts';
import { includeQuerySchema, listQuerySchema, retrieveQuerySchema } from './queries.ts';

/** What else than success an operation may answer, by status; `components.responses` has them by these names. */
const failures: Readonly<Record<number, readonly [name: string, description: string]>> = {
  400: ['BadRequest', 'The request can’t be taken as it is. `param` and `code` say why.'],
  401: ['Unauthorized', 'There is no usable API key.'],
  403: ['Forbidden', 'The page or the host name may not use this server, or the provider does not allow this.'],
  404: ['NotFound', 'What the request names is not there, or belongs to somebody else.'],
  405: ['MethodNotAllowed', 'The path knows other methods only: see the header `allow`. No operation answers so.'],
  413: ['TooLarge', 'The body is larger than this server takes.'],
  415: [
    'UnsupportedMediaType',
    'The body is not `application/json`, or is compressed in a way that is not known here.',
  ],
  429: ['RateLimited', 'The provider asks to slow down.'],
  500: ['InternalError', 'A defect of this server.'],
  502: ['UpstreamFailed', 'The provider failed, or gave an answer that makes no sense.'],
  503: ['Unavailable', 'The provider, the store or this server can’t serve now.'],
  504: ['UpstreamTimeout', 'The provider did not answer in time.'],
  508: ['Loop', 'The call came back to a server that it had passed.'],
};

const always = [400, 401, 403, 500, 503, 508];
const withBody = [...always, 413, 415];
const withUpstream = [...withBody, 404, 429, 502, 504];

const requestId = { 'x-request-id': { $ref: '#/components/headers/RequestId' } };
const retry = {
  'retry-after': { $ref: '#/components/headers/RetryAfter' },
  'retry-after-ms': { $ref: '#/components/headers/RetryAfterMs' },
  'x-should-retry': { $ref: '#/components/headers/ShouldRetry' },
};

/** Errors by name, each with its one status. */
export const errorResponses: Schemas = Object.fromEntries(
  Object.values(failures).map(([name, description]) => [
    name,
    {
      description,
      headers: { ...requestId, ...retry },
      content: { 'application/json': { schema: ref('Error') } },
    },
  ]),
);

/** Headers of answers. */
export const headers: Schemas = {
  TokenCount: {
    description:
      'How the tokens were counted. `exact`: the provider said it. `tokenizer`: here, with the vocabulary of the model. `estimate`: guessed, or part of it is.',
    schema: { type: 'string', enum: ['exact', 'tokenizer', 'estimate'] },
  },
  Dropped: {
    description:
      'What the request asks for and its model can’t do, and was left out: names of fields, and types of items and parts, with commas between. There only where the operator chose to leave such things out rather than to refuse them.',
    schema: { type: 'string' },
  },
  RequestId: { description: 'The id of the request, as in the server’s log.', schema: { type: 'string' } },
  RetryAfter: { description: 'When to try again, in whole seconds.', schema: { type: 'integer' } },
  RetryAfterMs: { description: 'The same in milliseconds.', schema: { type: 'integer' } },
  ShouldRetry: {
    description: 'Whether to try again, whatever the status says.',
    schema: { type: 'string', enum: ['true', 'false'] },
  },
};

function pathParameter(name: string, description: string): JsonObject {
  return { name, in: 'path', required: true, description, schema: { type: 'string', maxLength: 512 } };
}

/** Parameters that operations share. */
export const parameters: Schemas = {
  ResponseId: pathParameter('response_id', 'The id of a response.'),
  ConversationId: pathParameter('conversation_id', 'The id of a conversation.'),
  ItemId: pathParameter('item_id', 'The id of an item.'),
  Model: pathParameter('model', 'The id of a model. It may contain `/`.'),
  ModelProvider: {
    name: 'x-model-provider',
    in: 'header',
    required: false,
    description: 'The provider to ask, by the name that the server’s operator gave it.',
    schema: { type: 'string' },
  },
};

type Operation = {
  readonly id: string;
  readonly tag: 'Responses' | 'Conversations' | 'Models' | 'Server';
  readonly summary: string;
  readonly description?: string;
  /** Names in `parameters`. */
  readonly parameters?: readonly string[];
  readonly query?: z.ZodType;
  /** Name of the schema of the body. */
  readonly body?: { readonly schema: string; readonly isOptional?: boolean };
  readonly answer: string;
  /** Headers of success, with their names in `headers`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly stream?: { readonly schema: string; readonly description: string };
  readonly failures: readonly number[];
  readonly isOpen?: boolean;
  /** Answers of its own, in place of those above. */
  readonly responses?: Readonly<Record<number, JsonObject>>;
};

type Operations = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

function answerOf({ answer, headers: own = {}, stream }: Operation): JsonObject {
  const description = stream === undefined ? 'Success.' : `Success. ${stream.description}`;
  const content = {
    'application/json': { schema: ref(answer) },
    ...(stream === undefined ? {} : { 'text/event-stream': { schema: ref(stream.schema) } }),
  };
  const ownHeaders = Object.entries(own).map(([name, component]) => [
    name,
    { $ref: `#/components/headers/${component}` },
  ]);
  return { description, headers: { ...requestId, ...Object.fromEntries(ownHeaders) }, content };
}

function operation(options: Operation): JsonObject {
  const { id, tag, summary, description, body, isOpen } = options;
  const given = [
    ...(options.parameters ?? []).map((name) => ({ $ref: `#/components/parameters/${name}` })),
    ...(options.query === undefined ? [] : queryParameters(options.query)),
  ];
  const errors = [...options.failures].sort((a, b) => a - b).map((status) => [String(status), failureRef(status)]);
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(given.length === 0 ? {} : { parameters: given }),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: body.isOptional !== true,
            content: { 'application/json': { schema: ref(body.schema) } },
          },
        }),
    responses: options.responses ?? { 200: answerOf(options), ...Object.fromEntries(errors) },
    ...(isOpen === true ? { security: [] } : {}),
  };
}

function failureRef(status: number): JsonObject {
  return { $ref: `#/components/responses/${failures[status]?.[0] ?? ''}` };
}

const response = { tag: 'Responses', parameters: ['ResponseId'], failures: [...always, 404] } as const;
const conversation = { tag: 'Conversations', parameters: ['ConversationId'], failures: [...always, 404] } as const;
const item = { ...conversation, parameters: ['ConversationId', 'ItemId'] } as const;
const model = { tag: 'Models', failures: always } as const;
const server = { tag: 'Server', failures: [], isOpen: true } as const;

const streamed = {
  schema: 'StreamEvent',
  description:
    'With `stream: true` the answer is a stream of Server-Sent Events instead. The name of each event is its `type`, its data one line of JSON; they are numbered from 0 on. The first is `response.created`, the last `response.completed`, `response.incomplete` or `response.failed`; then comes `data: [DONE]`, unless the operator has switched that off. Comment lines keep a quiet stream alive.',
};

const responsePaths: Operations = {
  '/v1/responses': {
    post: {
      id: 'createResponse',
      tag: 'Responses',
      summary: 'Have a model respond',
      parameters: ['ModelProvider'],
      body: { schema: 'CreateResponse' },
      answer: 'Response',
      headers: { 'x-open-responses-dropped': 'Dropped' },
      stream: streamed,
      failures: withUpstream,
    },
  },
  '/v1/responses/input_tokens': {
    post: {
      id: 'countInputTokens',
      tag: 'Responses',
      summary: 'Count the tokens that a model would be given',
      description: 'With the context that is stored. Nothing is stored, and no answer is made.',
      parameters: ['ModelProvider'],
      body: { schema: 'CountTokens', isOptional: true },
      answer: 'InputTokens',
      headers: { 'x-open-responses-token-count': 'TokenCount', 'x-open-responses-dropped': 'Dropped' },
      failures: withUpstream,
    },
  },
  '/v1/responses/{response_id}': {
    get: {
      ...response,
      id: 'getResponse',
      summary: 'Read a stored response',
      description: 'It can’t be streamed again: `stream=true` is refused.',
      query: retrieveQuerySchema,
      answer: 'Response',
    },
    delete: {
      ...response,
      id: 'deleteResponse',
      summary: 'Delete a stored response',
      description: 'Its items go with it, unless they belong to a conversation.',
      query: includeQuerySchema,
      answer: 'DeletedResponse',
    },
  },
  '/v1/responses/{response_id}/input_items': {
    get: {
      ...response,
      id: 'listInputItems',
      summary: 'List what a model was given for a response',
      description: 'What came before it, then the input of its own request; never its output.',
      query: listQuerySchema,
      answer: 'ItemList',
    },
  },
};

const conversationPaths: Operations = {
  '/v1/conversations': {
    post: {
      id: 'createConversation',
      tag: 'Conversations',
      summary: 'Create a conversation',
      parameters: ['ModelProvider'],
      body: { schema: 'CreateConversation', isOptional: true },
      answer: 'Conversation',
      failures: [...withBody, 404],
    },
  },
  '/v1/conversations/{conversation_id}': {
    get: { ...conversation, id: 'getConversation', summary: 'Read a conversation', answer: 'Conversation' },
    post: {
      ...conversation,
      id: 'updateConversation',
      summary: 'Replace the metadata of a conversation',
      body: { schema: 'UpdateConversation' },
      answer: 'Conversation',
      failures: [...withBody, 404],
    },
    delete: {
      ...conversation,
      id: 'deleteConversation',
      summary: 'Delete a conversation',
      description: 'Its items and the responses made in it are deleted too.',
      answer: 'DeletedConversation',
    },
  },
  '/v1/conversations/{conversation_id}/items': {
    get: {
      ...conversation,
      id: 'listConversationItems',
      summary: 'List the items of a conversation',
      query: listQuerySchema,
      answer: 'ItemList',
    },
    post: {
      ...conversation,
      id: 'createConversationItems',
      summary: 'Add items to a conversation',
      description:
        'Answers with the items that were added. Refused while a response is being made in the conversation.',
      parameters: ['ConversationId', 'ModelProvider'],
      query: includeQuerySchema,
      body: { schema: 'CreateItems' },
      answer: 'ItemList',
      failures: [...withBody, 404],
    },
  },
  '/v1/conversations/{conversation_id}/items/{item_id}': {
    get: {
      ...item,
      id: 'getConversationItem',
      summary: 'Read an item of a conversation',
      query: includeQuerySchema,
      answer: 'Item',
    },
    delete: {
      ...item,
      id: 'deleteConversationItem',
      summary: 'Delete an item of a conversation',
      description: 'Answers with the conversation. Refused while a response is being made in it.',
      answer: 'Conversation',
    },
  },
};

const otherPaths: Operations = {
  '/v1/models': {
    get: {
      ...model,
      id: 'listModels',
      summary: 'List the models that the caller may use',
      parameters: ['ModelProvider'],
      answer: 'ModelList',
    },
  },
  '/v1/models/{model}': {
    get: {
      ...model,
      id: 'retrieveModel',
      summary: 'Read what is known of a model',
      parameters: ['Model', 'ModelProvider'],
      answer: 'Model',
      failures: [...always, 404],
    },
  },
  '/openapi.json': {
    get: { ...server, id: 'getOpenApi', summary: 'This document', answer: 'JsonObject' },
  },
  '/healthz': {
    get: { ...server, id: 'getHealth', summary: 'Whether the process lives', answer: 'Health' },
  },
  '/readyz': {
    get: {
      ...server,
      id: 'getReadiness',
      summary: 'Whether new work is welcome',
      answer: 'Health',
      responses: {
        200: { description: 'Ready.', headers: requestId, content: { 'application/json': { schema: ref('Health') } } },
        503: {
          description: 'The server is stopping, or its store does not answer.',
          headers: { ...requestId, 'retry-after': retry['retry-after'] },
          content: { 'application/json': { schema: ref('Health') } },
        },
      },
    },
  },
};

/** Every route, in the form that OpenAPI gives to paths. A test holds it against the server's own list. */
export function paths(): Schemas {
  const all = { ...responsePaths, ...conversationPaths, ...otherPaths };
  return Object.fromEntries(
    Object.entries(all).map(([path, operations]) => [
      path,
      Object.fromEntries(Object.entries(operations).map(([method, options]) => [method, operation(options)])),
    ]),
  );
}
