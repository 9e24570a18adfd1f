import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { expect, onTestFinished } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { freshMongoDatabase, freshPostgresSchema, mongoUri, postgresUri } from './databases.ts';
import { checkEvents, checkResponse } from './wire-schemas.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of many shapes.
export type Json = any;

export type StoreType = 'in-memory' | 'sqlite' | 'postgres' | 'mongodb';

/** Those that survive their server and that several servers can share. What is missing here, the run has said loudly. */
export const sharedStoreTypes: readonly StoreType[] = [
  'sqlite',
  ...(postgresUri() === undefined ? [] : ['postgres' as const]),
  ...(mongoUri() === undefined ? [] : ['mongodb' as const]),
];
export const storeTypes: readonly StoreType[] = ['in-memory', ...sharedStoreTypes];

/** An event as it came over the wire. */
export type WireEvent = { readonly event: string; readonly data: Json };

export type Answer = { readonly status: number; readonly headers: Headers; readonly body: Json };

/** A server of a test's own, on a free port, and ways to ask it. Ends with the test. */
export class TestServer {
  readonly running: RunningServer;
  readonly url: string;

  constructor(running: RunningServer) {
    this.running = running;
    this.url = running.url;
  }

  /** OpenAI's own client. `key` becomes the bearer token. */
  client(key = 'test-key'): OpenAI {
    return new OpenAI({ baseURL: `${this.url}/v1`, apiKey: key, maxRetries: 0 });
  }

  async send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const init: RequestInit = { method, headers: { ...headers } };
    if (body !== undefined) {
      init.body = typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body);
      init.headers = { 'content-type': 'application/json', ...headers };
    }
    const answer = await fetch(`${this.url}${path}`, init);
    const text = await answer.text();
    const isJson = answer.headers.get('content-type')?.includes('application/json') === true;
    return { status: answer.status, headers: answer.headers, body: isJson && text !== '' ? JSON.parse(text) : text };
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.send('GET', path, undefined, headers);
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return this.send('POST', path, body, headers);
  }

  delete(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.send('DELETE', path, undefined, headers);
  }

  /** POST /v1/responses as JSON; expects success, in the form that both descriptions ask for. */
  async respond(body: object, headers: Record<string, string> = {}): Promise<Json> {
    const answer = await this.post('/v1/responses', body, headers);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    checkResponse(answer.body);
    return answer.body;
  }

  /** POST /v1/responses as a stream, read to its end; every event is checked, and their order. */
  async stream(body: object, headers: Record<string, string> = {}): Promise<{ events: WireEvent[]; text: string }> {
    const answer = await fetch(`${this.url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ ...body, stream: true }),
    });
    const text = await answer.text();
    expect(answer.status, text).toBe(200);
    expect(answer.headers.get('content-type')).toContain('text/event-stream');
    const events = eventsOf(text);
    checkEvents(events);
    return { events, text };
  }

  /** The last snapshot of a stream. */
  async streamed(body: object, headers: Record<string, string> = {}): Promise<Json> {
    const { events } = await this.stream(body, headers);
    return events.at(-1)?.data.response;
  }

  /** A request whose stream stays open; `next` waits for the next event of a type. */
  async open(body: object, headers: Record<string, string> = {}): Promise<OpenStream> {
    const abort = new AbortController();
    const answer = await fetch(`${this.url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ ...body, stream: true }),
      signal: abort.signal,
    });
    return new OpenStream(answer, abort);
  }
}

export class OpenStream {
  readonly status: number;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #abort: AbortController;
  readonly #decoder = new TextDecoder();
  readonly seen: WireEvent[] = [];
  #text = '';

  constructor(answer: Response, abort: AbortController) {
    if (answer.body === null) throw new Error('no body');
    this.status = answer.status;
    this.#reader = answer.body.getReader();
    this.#abort = abort;
  }

  /** Reads on until an event of this type has come. */
  async until(type: string): Promise<Json> {
    for (;;) {
      const found = this.seen.find((each) => each.event === type);
      if (found !== undefined) return found.data;
      if (!(await this.#read())) throw new Error(`the stream ended without ${type}: ${this.#text}`);
    }
  }

  /** Reads to the end. */
  async rest(): Promise<WireEvent[]> {
    while (await this.#read());
    return this.seen;
  }

  leave(): void {
    this.#abort.abort();
  }

  async #read(): Promise<boolean> {
    const { done, value } = await this.#reader.read();
    if (done) return false;
    this.#text += this.#decoder.decode(value, { stream: true });
    const end = this.#text.lastIndexOf('\n\n');
    if (end === -1) return true;
    this.seen.push(...eventsOf(this.#text.slice(0, end + 2)));
    this.#text = this.#text.slice(end + 2);
    return true;
  }
}

/** The events of a stream's text, comments and `[DONE]` left out. */
export function eventsOf(text: string): WireEvent[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('event: '))
    .map((block) => {
      const [first = '', second = '', ...more] = block.split('\n');
      expect(more).toEqual([]);
      expect(second.startsWith('data: ')).toBe(true);
      return { event: first.slice('event: '.length), data: JSON.parse(second.slice('data: '.length)) };
    });
}

/** Starts a server for the test that runs. Settings are named as in the documentation, without `open-responses.`. */
export async function serve(
  settings: Record<string, string> = {},
  env: Record<string, string> = {},
): Promise<TestServer> {
  const running = await start(settings, env);
  onTestFinished(() => running.close({ force: true }));
  return new TestServer(running);
}

/** The same for a group of tests: whoever asks must close it. */
export async function start(
  settings: Record<string, string> = {},
  env: Record<string, string> = {},
): Promise<RunningServer> {
  const given = { 'server.port': '0', 'log.level': 'silent', 'demo.chunk-delay': '0', ...settings };
  const argv = Object.entries(given).map(([name, value]) => `--${name}=${value}`);
  return startServer(loadConfig({ argv, env, cwd: tmpdir() }));
}

/** Settings for an empty store of that type, which goes with the test. */
export async function storeSettings(type: StoreType): Promise<Record<string, string>> {
  switch (type) {
    case 'in-memory':
      return { 'store.type': type };
    case 'sqlite': {
      const folder = await mkdtemp(join(tmpdir(), 'open-responses-'));
      onTestFinished(() => rm(folder, { recursive: true, force: true }));
      return { 'store.type': type, 'sqlite.path': join(folder, 'test.sqlite') };
    }
    case 'postgres': {
      const { uri, schema } = await freshPostgresSchema();
      return { 'store.type': type, 'postgres.uri': uri, 'postgres.schema': schema };
    }
    case 'mongodb': {
      const { uri, database } = await freshMongoDatabase();
      return { 'store.type': type, 'mongodb.uri': uri, 'mongodb.database': database };
    }
    default:
      return type satisfies never;
  }
}

/** The text of a response's messages. */
export function textOf(response: Json): string {
  return response.output
    .filter((item: Json) => item.type === 'message')
    .flatMap((item: Json) => item.content)
    .map((part: Json) => part.text ?? part.refusal ?? '')
    .join('');
}
