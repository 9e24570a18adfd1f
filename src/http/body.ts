import { isUtf8 } from 'node:buffer';
import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ApiError, invalidRequest } from '../errors.ts';
import { parseJson } from '../parse-json.ts';
import { lookOver } from './json-bounds.ts';

/**
 * JSON bodies: decompressed, bounded after decompression, UTF-8, bounded in depth and in what parsing costs before they
 * are parsed (deep values parse well and then overflow whatever walks them).
 */
export function acceptJson(app: FastifyInstance, maxBytes: number): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(/^application\/json\s*(?:;|$)/i, (request: FastifyRequest, payload: Readable, done) => {
    if (hasNoUse(request)) {
      payload.resume();
      done(null);
      return;
    }
    readJson(request, payload, { maxBytes, done });
  });
  app.addContentTypeParser('*', (request: FastifyRequest, payload: Readable, done) => {
    payload.resume();
    if (hasNoUse(request)) done(null);
    else done(wrongType(request.headers['content-type']));
  });
}

/** A body that means nothing (RFC 9110, 9.3): some clients send one all the same. */
function hasNoUse({ method }: FastifyRequest): boolean {
  return method === 'GET' || method === 'DELETE' || method === 'HEAD';
}

/** The body of a request that must have one. @throws ApiError 415 without a content type, 400 without a body. */
export function requireBody(request: FastifyRequest): unknown {
  if (request.body !== undefined) return request.body;
  if (request.headers['content-type'] === undefined && Number(request.headers['content-length'] ?? 0) > 0) {
    throw wrongType(undefined);
  }
  throw invalidRequest('The request has no body: a JSON object was expected.');
}

/** By callback: most bodies are one chunk, and a promise for each is felt. */
type Reading = { readonly maxBytes: number; readonly done: (error: Error | null, body?: unknown) => void };

function readJson(request: FastifyRequest, payload: Readable, { maxBytes, done }: Reading): void {
  const type = request.headers['content-type'] ?? '';
  let source: Readable;
  try {
    // Most clients name no charset.
    const charset = type.length <= plainType.length ? undefined : charsetOf(type);
    if (charset !== undefined && !/^utf-?8$/i.test(charset)) throw wrongType(type);
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes);
    source = decompressed(payload, request.headers['content-encoding']);
  } catch (error) {
    done(asError(error));
    return;
  }
  readAll(source, maxBytes, (error, bytes) => {
    if (error !== undefined) {
      done(error);
      return;
    }
    let body: unknown;
    try {
      body = parse(bytes);
    } catch (thrown) {
      done(asError(thrown));
      return;
    }
    done(null, body);
  });
}

const plainType = 'application/json';

function charsetOf(type: string): string | undefined {
  return /charset\s*=\s*"?([^";\s]+)/i.exec(type)?.[1];
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error('a body could not be read', { cause: thrown });
}

/** @throws ApiError 400 */
function parse(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined;
  if (!isUtf8(bytes)) throw notJson('it is not UTF-8');
  const { excess, hasEscapedNames } = lookOver(bytes);
  if (excess !== undefined) throw invalidRequest(`The body of your request ${excess}.`);
  try {
    return parseJson(bytes.toString('utf8', hasMark(bytes) ? 3 : 0), hasEscapedNames);
  } catch (error) {
    throw notJson(error instanceof Error ? error.message : 'it could not be read');
  }
}

function decompressed(payload: Readable, encoding: string | undefined): Readable {
  const decoder = decoderOf(encoding?.trim().toLowerCase() ?? 'identity');
  if (decoder === undefined) return payload;
  payload.on('error', (error) => decoder.destroy(error));
  return payload.pipe(decoder);
}

function decoderOf(encoding: string): ReturnType<typeof createGunzip> | undefined {
  switch (encoding) {
    case '':
    case 'identity':
      return undefined;
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'deflate':
      return createInflate();
    case 'br':
      return createBrotliDecompress();
    case 'zstd':
      return createZstdDecompress();
    default:
      throw new ApiError('unsupported_media_type', 'Supported content encodings: gzip, deflate, br, zstd.');
  }
}

/** Calls back once. */
function readAll(source: Readable, maxBytes: number, then: (error: Error | undefined, bytes: Buffer) => void): void {
  const chunks: Buffer[] = [];
  let total = 0;
  let isSettled = false;
  const settle = (error: Error | undefined, bytes: Buffer): void => {
    if (isSettled) return;
    isSettled = true;
    then(error, bytes);
  };
  source.on('data', (chunk: Buffer) => {
    total += chunk.length;
    if (total > maxBytes) {
      source.pause();
      chunks.length = 0;
      settle(tooLarge(maxBytes), nothing);
    } else {
      chunks.push(chunk);
    }
  });
  source.on('end', () => {
    const [first = nothing, ...others] = chunks;
    settle(undefined, others.length === 0 ? first : Buffer.concat(chunks));
  });
  source.on('error', (error) => settle(notJson(`it could not be read (${error.message})`), nothing));
  source.on('close', () => {
    // An error costs a stack: not for every body that was read to its end.
    if (!isSettled && !source.readableEnded) settle(notJson('it ended early'), nothing);
  });
}

const nothing = Buffer.alloc(0);

/** Windows tools put a byte order mark before what they write; RFC 8259 lets a reader ignore it. */
function hasMark(bytes: Buffer): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
}

function notJson(why: string): ApiError {
  return invalidRequest(`The body of your request is not valid JSON: ${why}.`, undefined, 'invalid_json');
}

function tooLarge(maxBytes: number): ApiError {
  return new ApiError('too_large', `The body of your request exceeds this server's limit of ${maxBytes} bytes.`, {
    code: 'request_too_large',
  });
}

function wrongType(type: string | undefined): ApiError {
  const got = type === undefined ? 'no content type' : `'${type.slice(0, 100)}'`;
  return new ApiError('unsupported_media_type', `Unsupported content type: expected 'application/json', got ${got}.`);
}
