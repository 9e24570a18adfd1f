import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TextFormat } from '../../src/api/create-response.ts';
import type { Item } from '../../src/api/items.ts';
import type { ContentPart, InputImagePart } from '../../src/api/parts.ts';
import type { Usage } from '../../src/api/response.ts';
import type { ApiError } from '../../src/errors.ts';
import { emptyCall, type Model, type ModelCall, type ModelEvent } from '../../src/model.ts';
import { createDemoModel, type DemoOptions } from '../../src/models/demo/demo.ts';

export type DemoUpstreamOptions = Partial<DemoOptions> & {
  /** The bearer token that is asked for; without it anyone may call. */
  readonly key?: string;
  /** The models listed at GET /v1/models. Any name is served. */
  readonly models?: readonly string[];
};

export type UpstreamRequest = {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The JSON body, undefined when there was none. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it freely
  readonly body: any;
};

export type DemoUpstream = {
  /** With `/v1`, as a base URL is written. */
  readonly url: string;
  readonly requests: UpstreamRequest[];
  /** Calls that were aborted as the client went away. */
  readonly aborted: () => number;
  close(): Promise<void>;
};

const maxRequests = 10_000;
const maxBodyBytes = 64 * 1024 * 1024;

/**
 * A real server on loopback that speaks chat completions and answers with the demo model, so that every scenario that
 * `demo` can play can be played on the wire: streams and JSON, parallel tool calls, `reasoning_content`, refusals,
 * usage, every finish reason. `demo: fail` is an error object in a stream and HTTP 500 without one.
 */
export async function startDemoUpstream(options: DemoUpstreamOptions = {}): Promise<DemoUpstream> {
  const model = createDemoModel({ chunkDelayMs: 0, chunkChars: 8, ...options });
  const requests: UpstreamRequest[] = [];
  let aborted = 0;
  const onAborted = () => {
    aborted += 1;
  };
  const server = createServer((request, response) => {
    handle(request, response, { model, options, requests, onAborted }).catch((thrown: unknown) => {
      if (!response.headersSent) sendError(response, 500, String(thrown), 'server_error', null);
      else response.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    aborted: () => aborted,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

type Context = {
  readonly model: Model;
  readonly options: DemoUpstreamOptions;
  readonly requests: UpstreamRequest[];
  readonly onAborted: () => void;
};

async function handle(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  const text = await readBody(request);
  const path = request.url ?? '';
  const method = request.method ?? '';
  let body: unknown;
  try {
    body = text === '' ? undefined : JSON.parse(text);
  } catch {
    sendError(response, 400, 'The body is not JSON.', 'invalid_request_error', null);
    return;
  }
  if (context.requests.length < maxRequests) context.requests.push({ method, path, headers: request.headers, body });
  const { key } = context.options;
  if (key !== undefined && request.headers.authorization !== `Bearer ${key}`) {
    sendError(response, 401, 'Incorrect API key provided.', 'invalid_request_error', 'invalid_api_key');
  } else if (method === 'GET' && path === '/v1/models') {
    const names = context.options.models ?? ['demo'];
    sendJson(response, 200, {
      object: 'list',
      data: names.map((id) => ({ id, object: 'model', created: 0, owned_by: 'demo' })),
    });
  } else if (method === 'POST' && path === '/v1/chat/completions') {
    complete(body as ChatRequest, response, context);
  } else {
    sendError(response, 404, `Unknown request URL: ${method} ${path}.`, 'invalid_request_error', 'unknown_url');
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > maxBodyBytes) throw new Error('the body is too large');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function sendError(response: ServerResponse, status: number, message: string, type: string, code: string | null): void {
  sendJson(response, status, { error: { message, type, param: null, code } });
}

type ChatPart = {
  type: string;
  text?: string;
  refusal?: string;
  image_url?: { url: string; detail?: 'low' | 'high' | 'auto' };
};
type ChatToolCall = { id: string; type: 'function'; function: { name: string; arguments: string } };
type ChatMessage = {
  role: 'system' | 'developer' | 'user' | 'assistant' | 'tool';
  content?: string | ChatPart[] | null;
  refusal?: string | null;
  tool_calls?: ChatToolCall[];
  tool_call_id?: string;
};
type ChatRequest = {
  model: string;
  messages: ChatMessage[];
  stream?: boolean;
  stream_options?: { include_usage?: boolean };
  tools?: {
    type: 'function';
    function: { name: string; description?: string; parameters?: object; strict?: boolean };
  }[];
  tool_choice?: 'none' | 'auto' | 'required' | { type: 'function'; function: { name: string } };
  parallel_tool_calls?: boolean;
  response_format?:
    | { type: 'text' | 'json_object' }
    | { type: 'json_schema'; json_schema: { name: string; schema: object } };
  max_tokens?: number;
  max_completion_tokens?: number;
  reasoning_effort?: string;
  verbosity?: 'low' | 'medium' | 'high';
};

function callOf(body: ChatRequest): ModelCall {
  const choice = body.tool_choice ?? 'auto';
  return {
    ...emptyCall,
    model: body.model,
    items: body.messages.flatMap((message, index) => itemsOf(message, index)),
    tools: (body.tools ?? []).map((tool) => ({
      type: 'function',
      name: tool.function.name,
      description: tool.function.description,
      parameters: tool.function.parameters as Record<string, unknown> | undefined,
      strict: tool.function.strict,
    })),
    toolChoice: typeof choice === 'string' ? choice : { type: 'function', name: choice.function.name },
    parallelToolCalls: body.parallel_tool_calls,
    format: formatOf(body.response_format),
    verbosity: body.verbosity,
    reasoningEffort: body.reasoning_effort,
    maxOutputTokens: body.max_completion_tokens ?? body.max_tokens,
    streamed: body.stream === true,
  };
}

function formatOf(format: ChatRequest['response_format']): TextFormat | undefined {
  if (format?.type !== 'json_schema') return format;
  const { name, schema } = format.json_schema;
  return { type: 'json_schema', name, schema: schema as Record<string, unknown> };
}

function itemsOf(message: ChatMessage, index: number): Item[] {
  const id = `msg_${index}`;
  if (message.role === 'tool') {
    const output =
      typeof message.content === 'string' ? message.content : partsOf(message.content ?? []).filter(isInput);
    return [{ id, type: 'function_call_output', status: 'completed', call_id: message.tool_call_id ?? '', output }];
  }
  const items: Item[] = [];
  const parts =
    typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : (message.content ?? []);
  const refusal = message.refusal == null ? [] : [{ type: 'refusal', refusal: message.refusal }];
  const content = partsOf([...parts, ...refusal]).filter(
    (part) => part.type !== 'input_image' || message.role === 'user',
  );
  if (content.length > 0) {
    items.push({ id, type: 'message', status: 'completed', role: message.role, content: content as ContentPart[] });
  }
  for (const [at, call] of (message.tool_calls ?? []).entries()) {
    const { name, arguments: args } = call.function;
    items.push({
      id: `fc_${index}_${at}`,
      type: 'function_call',
      status: 'completed',
      call_id: call.id,
      name,
      arguments: args,
    });
  }
  return items;
}

type Part = ContentPart | InputImagePart;

/** User parts as they come; the demo reads text of either kind alike. Images pass as a union of their own. */
function partsOf(parts: readonly ChatPart[]): Part[] {
  return parts.map((part): Part => {
    if (part.type === 'image_url') {
      return { type: 'input_image', image_url: part.image_url?.url ?? '', detail: part.image_url?.detail ?? 'auto' };
    }
    if (part.type === 'refusal') return { type: 'refusal', refusal: part.refusal ?? '' };
    return { type: 'input_text', text: part.text ?? '' };
  });
}

function isInput(part: Part): part is Extract<Part, { type: 'input_text' | 'input_image' }> {
  return part.type === 'input_text' || part.type === 'input_image';
}

function complete(body: ChatRequest, response: ServerResponse, context: Context): void {
  if (!Array.isArray(body?.messages) || typeof body.model !== 'string') {
    sendError(response, 400, "Missing required parameter: 'messages'.", 'invalid_request_error', null);
    return;
  }
  const call = callOf(body);
  const take = body.stream === true ? streamTo(response, body, () => stream.pause()) : collectFor(response, body);
  const stream = context.model.stream(call, take);
  let over = false;
  response.on('drain', () => stream.resume());
  response.on('finish', () => {
    over = true;
  });
  response.on('close', () => {
    if (over) return;
    stream.abort();
    context.onAborted();
  });
}

/** Deterministic but different from call to call, as the ids of a real provider are. */
let completions = 0;

function head(body: ChatRequest, object: string) {
  completions += 1;
  return { id: `chatcmpl-demo${completions}`, object, created: 1_700_000_000, model: body.model };
}

function streamTo(response: ServerResponse, body: ChatRequest, pause: () => void): (event: ModelEvent) => void {
  const shared = { ...head(body, 'chat.completion.chunk'), system_fingerprint: 'fp_demo' };
  const wantsUsage = body.stream_options?.include_usage === true;
  let usage: Usage | undefined;
  let called = false;
  const write = (data: unknown) => {
    if (!response.write(`data: ${JSON.stringify(data)}\n\n`)) pause();
  };
  const chunk = (delta: object, finish: string | null = null) =>
    write({
      ...shared,
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      ...(wantsUsage ? { usage: null } : {}),
    });
  return (event) => {
    switch (event.type) {
      case 'start':
        response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
        chunk({ role: 'assistant', content: '', refusal: null });
        return;
      case 'text':
        return chunk({ content: event.delta });
      case 'refusal':
        return chunk({ refusal: event.delta });
      case 'reasoning':
        return chunk({ reasoning_content: event.delta });
      case 'tool_call':
        called = true;
        return chunk({
          tool_calls: [
            { index: event.index, id: event.callId, type: 'function', function: { name: event.name, arguments: '' } },
          ],
        });
      case 'tool_arguments':
        return chunk({ tool_calls: [{ index: event.index, function: { arguments: event.delta } }] });
      case 'usage':
        usage = event.usage;
        return;
      case 'end':
        if (event.reason === 'error') {
          if (!response.headersSent) return sendFailure(response, event.error);
          write({ error: event.error.body() });
          response.end('data: [DONE]\n\n');
          return;
        }
        chunk({}, finishReason(event.reason, called));
        if (wantsUsage && usage !== undefined) write({ ...shared, choices: [], usage: chatUsage(usage) });
        response.end('data: [DONE]\n\n');
        return;
      case 'model':
        return;
    }
  };
}

function collectFor(response: ServerResponse, body: ChatRequest): (event: ModelEvent) => void {
  const said = { text: '', refusal: '', reasoning: '' };
  const calls = new Map<number, ChatToolCall>();
  let usage: Usage | undefined;
  return (event) => {
    switch (event.type) {
      case 'text':
      case 'refusal':
      case 'reasoning':
        said[event.type] += event.delta;
        return;
      case 'tool_call':
        calls.set(event.index, {
          id: event.callId ?? '',
          type: 'function',
          function: { name: event.name, arguments: '' },
        });
        return;
      case 'tool_arguments': {
        const call = calls.get(event.index);
        if (call !== undefined) call.function.arguments += event.delta;
        return;
      }
      case 'usage':
        usage = event.usage;
        return;
      case 'end': {
        if (event.reason === 'error') return sendFailure(response, event.error);
        const message = {
          role: 'assistant',
          content: said.text === '' ? null : said.text,
          refusal: said.refusal === '' ? null : said.refusal,
          ...(said.reasoning === '' ? {} : { reasoning_content: said.reasoning }),
          ...(calls.size === 0 ? {} : { tool_calls: [...calls.values()] }),
        };
        const choice = { index: 0, message, logprobs: null, finish_reason: finishReason(event.reason, calls.size > 0) };
        const counted = usage === undefined ? {} : { usage: chatUsage(usage) };
        return sendJson(response, 200, { ...head(body, 'chat.completion'), choices: [choice], ...counted });
      }
      default:
        return;
    }
  };
}

function sendFailure(response: ServerResponse, error: ApiError): void {
  const limited = error.kind === 'rate_limited';
  if (limited) response.setHeader('retry-after', '1');
  sendJson(response, limited ? 429 : 500, { error: error.body() });
}

function finishReason(reason: 'stop' | 'max_output_tokens' | 'content_filter', called: boolean): string {
  if (reason === 'max_output_tokens') return 'length';
  if (reason === 'content_filter') return 'content_filter';
  return called ? 'tool_calls' : 'stop';
}

function chatUsage(usage: Usage) {
  return {
    prompt_tokens: usage.input_tokens,
    completion_tokens: usage.output_tokens,
    total_tokens: usage.total_tokens,
    prompt_tokens_details: { cached_tokens: usage.input_tokens_details.cached_tokens },
    completion_tokens_details: { reasoning_tokens: usage.output_tokens_details.reasoning_tokens },
  };
}
