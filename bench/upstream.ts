/**
 * A scripted chat-completions upstream, as cheap as it gets: raw sockets and answers that are bytes already. Each event
 * of a stream is an HTTP chunk of its own, as servers of models send them; `chunksPerWrite` of them leave in one write,
 * and the next write follows in the next turn of the event loop.
 */
import { hash } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createServer, type Socket } from 'node:net';
import {
  answerText,
  chatAnswer,
  chunksPerWrite,
  chunkTexts,
  common,
  models,
  pacedGapMs,
  slowGapMs,
  usage,
} from './script.ts';

function jsonAnswer(body: string): Buffer {
  const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
  return Buffer.from(head + body);
}

function event(data: string): string {
  const text = `data: ${data}\n\n`;
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

function chunk(delta: object, finishReason: string | null, more: object = {}): string {
  const choices = [{ index: 0, delta, logprobs: null, finish_reason: finishReason }];
  const object = 'chat.completion.chunk';
  return event(JSON.stringify({ ...common, object, system_fingerprint: 'fp_bench', choices, usage: null, ...more }));
}

const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
const opening = streamHead + chunk({ role: 'assistant', content: '' }, null);
const pieces = chunkTexts.map((content) => chunk({ content }, null));
const ending = `${
  chunk({}, 'stop') +
  event(JSON.stringify({ ...common, object: 'chat.completion.chunk', choices: [], usage })) +
  event('[DONE]')
}0\r\n\r\n`;

const paddedPieces = chunkTexts.map((content, at) =>
  chunk({ content }, null, { obfuscation: 'x'.repeat(1 + ((at * 7) % 13)) }),
);

const fastWrites: readonly Buffer[] = grouped(pieces, chunksPerWrite);
const paddedWrites: readonly Buffer[] = grouped(paddedPieces, chunksPerWrite);
const pacedWrites: readonly Buffer[] = [
  Buffer.from(opening),
  ...pieces.map((piece) => Buffer.from(piece)),
  Buffer.from(ending),
];
const [firstPiece = '', ...laterPieces] = pieces;
const steadyWrites: readonly Buffer[] = [opening + firstPiece, ...laterPieces, ending].map((text) => Buffer.from(text));
const fastAnswer = jsonAnswer(chatAnswer(answerText));
const listOfModels = jsonAnswer(JSON.stringify({ object: 'list', data: [] }));

function grouped(events: readonly string[], size: number): Buffer[] {
  const groups: string[] = [];
  for (let at = 0; at < events.length; at += size) groups.push(events.slice(at, at + size).join(''));
  groups[0] = opening + (groups[0] ?? '');
  groups[groups.length - 1] += ending;
  return groups.map((text) => Buffer.from(text));
}

function streamFast(socket: Socket, writes: readonly Buffer[], at = 0): void {
  const bytes = writes[at];
  if (bytes === undefined || socket.destroyed) return;
  const next = (): void => streamFast(socket, writes, at + 1);
  if (socket.write(bytes)) setImmediate(next);
  else socket.once('drain', next);
}

function streamPaced(socket: Socket, writes: readonly Buffer[], gapMs: number, from = 0): void {
  let at = from;
  const timer = setInterval(() => {
    const bytes = writes[at++];
    if (bytes === undefined || socket.destroyed) clearInterval(timer);
    else socket.write(bytes);
  }, gapMs);
}

/** The first write goes out at once. */
function streamSteadily(socket: Socket, gapMs: number): void {
  const [first] = steadyWrites;
  if (first !== undefined) socket.write(first);
  streamPaced(socket, steadyWrites, gapMs, 1);
}

/** What is asked stands at both ends of the body: the model first, `stream` behind the messages. */
function answer(socket: Socket, body: Buffer): void {
  const start = body.toString('latin1', 0, 100);
  const isStream = body.toString('latin1', Math.max(0, body.length - 200)).includes('"stream":true');
  if (start.includes(models.digest)) {
    const { messages } = JSON.parse(body.toString()) as { messages: unknown };
    socket.write(jsonAnswer(chatAnswer(hash('sha256', JSON.stringify(messages)))));
  } else if (!isStream) socket.write(fastAnswer);
  else if (start.includes(models.paced)) streamPaced(socket, pacedWrites, pacedGapMs);
  else if (start.includes(models.steady)) streamSteadily(socket, pacedGapMs);
  else if (start.includes(models.slow)) streamSteadily(socket, slowGapMs);
  else streamFast(socket, start.includes(models.padded) ? paddedWrites : fastWrites);
}

/** Puts requests together, one at a time. */
class RequestReader {
  readonly #onBody: (body: Buffer) => void;
  #parts: Buffer[] = [];
  #total = 0;
  /** Of the whole request, once its head is there. */
  #length: number | undefined;
  #bodyAt = 0;

  constructor(onBody: (body: Buffer) => void) {
    this.#onBody = onBody;
  }

  feed(piece: Buffer): void {
    this.#parts.push(piece);
    this.#total += piece.length;
    if (this.#length === undefined && !this.#takeHead()) return;
    if (this.#length === undefined || this.#total < this.#length) return;
    const body = this.#whole().subarray(this.#bodyAt, this.#length);
    this.#parts = [];
    this.#total = 0;
    this.#length = undefined;
    this.#onBody(body);
  }

  #takeHead(): boolean {
    const all = this.#whole();
    const end = all.indexOf('\r\n\r\n');
    if (end < 0) return false;
    this.#bodyAt = end + 4;
    this.#length = this.#bodyAt + Number(/content-length: *(\d+)/i.exec(all.toString('latin1', 0, end))?.[1] ?? 0);
    return true;
  }

  #whole(): Buffer {
    const [first, ...more] = this.#parts;
    if (first !== undefined && more.length === 0) return first;
    const whole = Buffer.concat(this.#parts);
    this.#parts = [whole];
    return whole;
  }
}

const server = createServer({ noDelay: true }, (socket) => {
  const reader = new RequestReader((body) => {
    if (body.length === 0) socket.write(listOfModels);
    else answer(socket, body);
  });
  socket.on('data', (piece: Buffer) => reader.feed(piece));
  socket.on('error', () => socket.destroy());
});

process.on('disconnect', () => process.exit(0));
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
