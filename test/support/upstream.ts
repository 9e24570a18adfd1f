import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export type UpstreamRequest = {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The body as it came, and parsed where it is JSON. */
  readonly raw: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of many shapes.
  readonly body: any;
  /** Resolves when the client has gone before the answer was complete. */
  readonly gone: Promise<void>;
};

/** What answers one request. */
export type Handler = (reply: Reply, request: UpstreamRequest) => void | Promise<void>;

/** A request's answer under way, over a real socket. */
export class Reply {
  readonly response: ServerResponse;
  readonly request: UpstreamRequest;
  /** Bytes handed to the socket by `bytes` and `endless`. */
  written = 0;

  constructor(response: ServerResponse, request: UpstreamRequest) {
    this.response = response;
    this.request = request;
  }

  json(body: unknown, status = 200, headers: Record<string, string> = {}): void {
    this.response.writeHead(status, { 'content-type': 'application/json', ...headers });
    this.response.end(JSON.stringify(body));
  }

  /** Sends a status line and headers, and nothing else yet. */
  open(status = 200, headers: Record<string, string> = { 'content-type': 'text/event-stream' }): void {
    this.response.writeHead(status, headers);
    this.response.flushHeaders();
  }

  /** One event of a stream. */
  event(data: unknown): void {
    this.response.write(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`);
  }

  /** Bytes as they are; with `size`, in pieces of that many, each in a turn of its own so that the client reads it alone. */
  async bytes(bytes: Buffer | string, size = Number.POSITIVE_INFINITY): Promise<void> {
    const all = Buffer.from(bytes);
    for (let at = 0; at < all.length; at += size) {
      if (this.response.destroyed) return;
      this.written += Math.min(size, all.length - at);
      this.response.write(all.subarray(at, Math.min(at + size, all.length)));
      if (size < all.length) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Writes the same event until the client goes, as fast as it reads. */
  async endless(data: unknown): Promise<void> {
    const bytes = Buffer.from(`data: ${JSON.stringify(data)}\n\n`);
    while (!this.response.destroyed) {
      this.written += bytes.length;
      if (this.response.write(bytes)) await new Promise((resolve) => setImmediate(resolve));
      else await Promise.race([once(this.response, 'drain'), once(this.response, 'close')]);
    }
  }

  end(): void {
    this.response.end();
  }

  /** Breaks the connection. */
  cut(): void {
    this.response.socket?.destroy();
  }
}

export type Upstream = {
  /** A base URL, `/v1` included. */
  readonly url: string;
  /** Every request so far. */
  readonly requests: readonly UpstreamRequest[];
  /** What answers from now on: one handler for all, or one after the other, the last for all that follow. */
  use(script: Handler | readonly Handler[]): void;
  /** The `index`-th request, as soon as it has arrived. */
  request(index?: number): Promise<UpstreamRequest>;
  close(): Promise<void>;
};

/** A real HTTP server on a free loopback port that plays an upstream. */
export async function startUpstream(script: Handler | readonly Handler[] = answerText('Hello')): Promise<Upstream> {
  let handlers: Handler[] = [script].flat() as Handler[];
  const requests: UpstreamRequest[] = [];
  const waiting = new Set<() => void>();
  const sockets = new Set<Socket>();
  const server = createServer(async (incoming, response) => {
    const gone = new Promise<void>((resolve) => {
      response.on('close', () => {
        if (!response.writableFinished) resolve();
      });
    });
    response.on('error', () => {});
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of incoming) chunks.push(chunk);
    } catch {
      return;
    }
    const raw = Buffer.concat(chunks).toString();
    const { method = '', url = '', headers } = incoming;
    const request: UpstreamRequest = { method, path: url, headers, raw, body: parsed(raw), gone };
    requests.push(request);
    for (const wake of waiting) wake();
    const handler = handlers.length > 1 ? handlers.shift() : handlers[0];
    await handler?.(new Reply(response, request), request);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    use(next) {
      handlers = [next].flat() as Handler[];
    },
    request(index = 0) {
      return new Promise((resolve) => {
        const look = () => {
          const request = requests[index];
          if (request === undefined) return;
          waiting.delete(look);
          resolve(request);
        };
        waiting.add(look);
        look();
      });
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function parsed(raw: string): unknown {
  try {
    return JSON.parse(raw);
  } catch {
    return undefined;
  }
}

const frame = { id: 'chatcmpl-1', created: 1_700_000_000, model: 'test-model-1' };

export const usage = {
  prompt_tokens: 11,
  completion_tokens: 7,
  total_tokens: 18,
  prompt_tokens_details: { cached_tokens: 3 },
  completion_tokens_details: { reasoning_tokens: 2 },
};

/** A chunk of a stream. */
export function chunk(delta: object, finishReason: string | null = null, more: object = {}): object {
  const choices = [{ index: 0, delta, finish_reason: finishReason, ...more }];
  return { ...frame, object: 'chat.completion.chunk', choices };
}

/** The last chunk of a stream with `include_usage`. */
export const usageChunk = { ...frame, object: 'chat.completion.chunk', choices: [], usage };

/** A whole answer. */
export function completion(message: object, finishReason = 'stop', more: object = {}): object {
  const choices = [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: finishReason, ...more }];
  return { ...frame, object: 'chat.completion', choices, usage };
}

/** The chunks of a text: one per word, then the finish reason and the usage. */
export function textChunks(text: string, finishReason = 'stop'): object[] {
  const words = text.match(/\S*\s*/g)?.filter((word) => word !== '') ?? [];
  return [
    chunk({ role: 'assistant', content: '' }),
    ...words.map((content) => chunk({ content })),
    chunk({}, finishReason),
    usageChunk,
  ];
}

/** An event stream's bytes, `[DONE]` included. */
export function sseText(chunks: readonly unknown[]): string {
  return [...chunks.map((data) => (typeof data === 'string' ? data : JSON.stringify(data))), '[DONE]']
    .map((data) => `data: ${data}\n\n`)
    .join('');
}

/** Answers with a text, as a stream or whole, as the request asks. */
export function answerText(text: string, finishReason = 'stop'): Handler {
  return (reply, request) => {
    if (request.body?.stream === true) answerSse(textChunks(text, finishReason))(reply, request);
    else reply.json(completion({ content: text }, finishReason));
  };
}

export type ScriptedCall = { readonly id: string; readonly name: string; readonly arguments: string };

/** Answers with function calls, as a stream (arguments in pieces of five characters) or whole. */
export function answerCalls(calls: readonly ScriptedCall[], text?: string): Handler {
  return (reply, request) => {
    if (request.body?.stream === true) {
      const before = text === undefined ? [] : [chunk({ content: text })];
      const chunks = calls.flatMap((call, index) => callChunks(call, index));
      answerSse([...before, ...chunks, chunk({}, 'tool_calls'), usageChunk])(reply, request);
    } else {
      const whole = calls.map(({ id, ...described }) => ({ id, type: 'function', function: described }));
      reply.json(completion({ content: text ?? null, tool_calls: whole }, 'tool_calls'));
    }
  };
}

function callChunks(call: ScriptedCall, index: number): object[] {
  const { id, name } = call;
  const opened = { index, id, type: 'function', function: { name, arguments: '' } };
  const pieces = call.arguments.match(/.{1,5}/gs) ?? [];
  return [
    chunk({ tool_calls: [opened] }),
    ...pieces.map((piece) => chunk({ tool_calls: [{ index, function: { arguments: piece } }] })),
  ];
}

/** Answers with a stream of these chunks and `[DONE]`. */
export function answerSse(chunks: readonly unknown[]): Handler {
  return (reply) => {
    reply.open();
    reply.response.end(sseText(chunks));
  };
}

/** Answers with a status, a body (JSON unless a string) and headers. */
export function answerStatus(status: number, body: unknown = '', headers: Record<string, string> = {}): Handler {
  return (reply) => {
    if (typeof body !== 'string') return reply.json(body, status, headers);
    reply.response.writeHead(status, { 'content-type': 'text/plain', ...headers });
    reply.response.end(body);
  };
}

/** Answers with bytes as they are; `size` cuts them (see `Reply.bytes`). */
export function answerBytes(
  bytes: Buffer | string,
  headers = { 'content-type': 'text/event-stream' },
  size?: number,
): Handler {
  return async (reply) => {
    reply.open(200, headers);
    await reply.bytes(bytes, size);
    reply.end();
  };
}

/** Never answers. */
export const hang: Handler = () => {};

/** Begins a stream and falls silent. */
export function hangAfter(chunks: readonly unknown[]): Handler {
  return (reply) => {
    reply.open();
    for (const data of chunks) reply.event(data);
  };
}

/** Breaks the connection before any answer. */
export const cutAtOnce: Handler = (reply) => reply.cut();

/** Begins a stream and breaks the connection once these chunks have left. */
export function cutAfter(chunks: readonly unknown[]): Handler {
  return (reply) => {
    reply.open();
    const text = chunks.map((data) => `data: ${JSON.stringify(data)}\n\n`).join('');
    reply.response.write(text, () => reply.cut());
  };
}

/** Streams a text without end, as fast as the client reads it. */
export const endless: Handler = (reply) => {
  reply.open();
  return reply.endless(chunk({ content: 'again and again ' }));
};

/** The base URL of a port that refuses connections: it was free a moment ago. */
export async function refusedUrl(): Promise<string> {
  const upstream = await startUpstream();
  await upstream.close();
  return upstream.url;
}
