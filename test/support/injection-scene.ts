import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { text as textOfStream } from 'node:stream/consumers';
import { expect, onTestFinished } from 'vitest';
import { eventsOf, type Json, type StoreType } from './harness.ts';
import { exact, oddStrings } from './injection-corpus.ts';
import { mayBeId } from './injection-fields.ts';
import { RawSocket } from './raw-socket.ts';
import { serveScripted } from './scripted-server.ts';
import { answerText, type Handler, type Upstream } from './upstream.ts';
import { checkError, checkEvents } from './wire-schemas.ts';

export const canaryKey = 'canary-key';
export const attackerKey = 'attacker-key';
/** Stands in everything that the canary keeps: nobody else may ever see it. */
const mark = 'canary-4b1d-9c55';

/** The strings of the corpus that an item may have as its id. */
export const wellFormedIds: readonly string[] = oddStrings.filter((each) => mayBeId('input[0].id', each));

export type Reply = { readonly status: number; readonly text: string; readonly body: Json };

/** What somebody other than the canary may get: as documented, never a 5xx, and without anything of the canary's. */
export function checkReply(reply: Reply, what: string): void {
  expect(reply.text, what).not.toContain(mark);
  if (reply.status === 200) return;
  expect(reply.status, `${what}: ${reply.text}`).toBeGreaterThanOrEqual(400);
  expect(reply.status, `${what}: ${reply.text}`).toBeLessThan(500);
  checkError(reply.status, reply.body);
}

/** Fails where two values differ, and shows where; whole, they would fill the screen. */
export function expectSame(actual: unknown, expected: unknown, what = ''): void {
  const [is, shouldBe] = [exact(actual), exact(expected)];
  if (is === shouldBe) return;
  let at = 0;
  while (is[at] === shouldBe[at]) at += 1;
  const near = (text: string) => text.slice(Math.max(0, at - 80), at + 80);
  expect(near(is), what).toBe(near(shouldBe));
}

/** An upstream that lists one model and says hello. */
export const hello: Handler = (reply, request) => {
  if (request.method === 'GET') reply.json({ object: 'list', data: [{ id: 'm', object: 'model' }] });
  else answerText('Hello')(reply, request);
};

/** A server of the test's own, with a canary in its store. */
export class InjectionScene {
  readonly url: string;
  readonly upstream: Upstream;
  /** The canary's, of each kind one. */
  theirs = { conversation: '', response: '', item: '' };
  readonly #agent = new Agent({ keepAlive: true });
  #paths: readonly string[] = [];
  #before: readonly string[] = [];
  #socket: RawSocket | undefined;

  static async open(store: StoreType): Promise<InjectionScene> {
    const { server, upstream } = await serveScripted(hello, { 'upstream.unsupported': 'drop' }, store);
    const scene = new InjectionScene(server.url, upstream);
    onTestFinished(() => scene.#agent.destroy());
    await scene.#fill();
    return scene;
  }

  private constructor(url: string, upstream: Upstream) {
    this.url = url;
    this.upstream = upstream;
  }

  /** A request as it is written: no client tidies the path. */
  async ask(method: string, path: string, body?: Json, key = attackerKey): Promise<Reply> {
    const headers: Record<string, string> = { authorization: `Bearer ${key}` };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const outgoing = httpRequest(`${this.url}/`, { agent: this.#agent, method, path, headers }, resolve);
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    const answer = await promise;
    const text = await textOfStream(answer);
    const isJson = answer.headers['content-type']?.startsWith('application/json') === true;
    const reply = { status: answer.statusCode ?? 0, text, body: isJson ? JSON.parse(text) : undefined };
    if (key !== canaryKey) checkReply(reply, `${method} ${path.slice(0, 300)}`);
    return reply;
  }

  /** The status of an answer, with the code of its error. */
  async outcome(method: string, path: string, body?: Json): Promise<string> {
    const reply = await this.ask(method, path, body);
    return `${reply.status} ${reply.body?.error?.code}`;
  }

  async get(path: string): Promise<Json> {
    const reply = await this.ask('GET', path);
    expect(reply.status, `${path}: ${reply.text.slice(0, 1_000)}`).toBe(200);
    return reply.body;
  }

  async post(path: string, body: Json, key?: string): Promise<Json> {
    const reply = await this.ask('POST', path, body, key);
    expect(reply.status, `${path}: ${reply.text.slice(0, 1_000)}`).toBe(200);
    return reply.body;
  }

  /** The last snapshot of a response that is streamed; all its events are checked. */
  async stream(body: Json): Promise<Json> {
    const { status, text } = await this.ask('POST', '/v1/responses', { ...body, stream: true });
    expect(status, text.slice(0, 1_000)).toBe(200);
    const events = eventsOf(text);
    checkEvents(events);
    return events.at(-1)?.data.response;
  }

  /** A request as bytes, so that a header may hold what no client would send. A string is sent as UTF-8. */
  async raw(line: string, headers: Readonly<Record<string, string>>, body?: Json): Promise<Reply> {
    const fields = { host: new URL(this.url).host, 'content-type': 'application/json', ...headers };
    const socket = this.#socket ?? (await RawSocket.open(this.url));
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
    socket.send(`${line} HTTP/1.1`, lines, body === undefined ? '' : JSON.stringify(body));
    const reply = await socket.answer();
    this.#socket = reply.headers['connection'] === 'close' ? undefined : socket;
    checkReply(reply, `${line} ${JSON.stringify(headers).slice(0, 300)}`);
    return reply;
  }

  /** The canary has all that it had, nobody else brought it before a model, and it goes on as if nothing had been. */
  async unharmed(): Promise<void> {
    expect(await this.#look()).toEqual(this.#before);
    const { requests } = this.upstream;
    const leaks = requests.filter((each) => each.headers.authorization !== `Bearer ${canaryKey}`);
    expect(leaks.filter((each) => each.raw.includes(mark))).toEqual([]);
    this.upstream.use(hello);
    const next = { model: 'm', input: 'next', previous_response_id: this.theirs.response, store: false };
    await this.post('/v1/responses', next, canaryKey);
    const seen = requests.at(-1)?.body.messages.map((each: Json) => each.content);
    expect(seen).toEqual([`${mark} one`, 'Hello', `${mark} two`, 'Hello', 'next']);
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(({} as Json).polluted).toBeUndefined();
  }

  async #fill(): Promise<void> {
    const post = (path: string, body: Json) => this.post(path, body, canaryKey);
    const items = wellFormedIds.slice(-20).map((id) => ({ id, role: 'user', content: `${mark} ${id}` }));
    const metadata = { $where: mark, 'a.b': mark };
    const conversation = (await post('/v1/conversations', { metadata, items })).id;
    const made = { model: 'm', store: true, user: mark, metadata };
    const turn = await post('/v1/responses', { ...made, input: `${mark} turn`, conversation });
    const one = await post('/v1/responses', { ...made, input: `${mark} one` });
    const two = await post('/v1/responses', { ...made, input: `${mark} two`, previous_response_id: one.id });
    const fork = await post('/v1/responses', { ...made, input: `${mark} fork`, previous_response_id: one.id });
    const responses = [turn, one, two, fork].map((each) => `/v1/responses/${each.id}`);
    this.theirs = { conversation, response: two.id, item: items[0]?.id ?? '' };
    this.#paths = [
      `/v1/conversations/${conversation}`,
      `/v1/conversations/${conversation}/items?limit=100`,
      ...items.map((item) => `/v1/conversations/${conversation}/items/${item.id}`),
      ...responses,
      ...responses.map((path) => `${path}/input_items?limit=100`),
    ];
    this.#before = await this.#look();
    for (const path of this.#paths) expect(await this.outcome('GET', path), path).toBe('404 null');
  }

  async #look(): Promise<string[]> {
    const replies = await Promise.all(this.#paths.map((path) => this.ask('GET', path, undefined, canaryKey)));
    for (const { status, text } of replies) expect([status, text.includes(mark)], text).toEqual([200, true]);
    return replies.map((reply) => reply.text);
  }
}
