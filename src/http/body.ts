import { isUtf8 } from 'node:buffer';
import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ApiError, invalidRequest } from '../errors.ts';
import { excessOf } from './json-bounds.ts';

/**
 * JSON bodies: decompressed, bounded after decompression, UTF-8, bounded in depth and in what parsing costs before they
 * are parsed (deep values parse well and then overflow whatever walks them).
 */
export function acceptJson(app: FastifyInstance, maxBytes: number): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(/^application\/json\s*(?:;|$)/i, async (request: FastifyRequest, payload: Readable) =>
    hasNoUse(request) ? void payload.resume() : readJson(request, payload, maxBytes),
  );
  app.addContentTypeParser('*', async (request: FastifyRequest, payload: Readable) => {
    payload.resume();
    if (hasNoUse(request)) return undefined;
    throw wrongType(request.headers['content-type']);
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

async function readJson(request: FastifyRequest, payload: Readable, maxBytes: number): Promise<unknown> {
  const charset = /charset\s*=\s*"?([^";\s]+)/i.exec(request.headers['content-type'] ?? '')?.[1];
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) throw wrongType(request.headers['content-type']);
  const length = Number(request.headers['content-length'] ?? 0);
  if (length > maxBytes) throw tooLarge(maxBytes);
  const bytes = await readAll(decompressed(payload, request.headers['content-encoding']), maxBytes);
  if (bytes.length === 0) return undefined;
  if (!isUtf8(bytes)) throw notJson('it is not UTF-8');
  const excess = excessOf(bytes);
  if (excess !== undefined) throw invalidRequest(`The body of your request ${excess}.`);
  try {
    return JSON.parse(bytes.toString('utf8', hasMark(bytes) ? 3 : 0));
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

/** Listeners rather than async iteration: most bodies are one chunk. */
function readAll(source: Readable, maxBytes: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let total = 0;
  source.on('data', (chunk: Buffer) => {
    total += chunk.length;
    if (total > maxBytes) {
      source.pause();
      chunks.length = 0;
      reject(tooLarge(maxBytes));
    } else {
      chunks.push(chunk);
    }
  });
  source.on('end', () => resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)));
  source.on('error', (error) => reject(notJson(`it could not be read (${error.message})`)));
  source.on('close', () => {
    // An error costs a stack: not for every body that was read to its end.
    if (!source.readableEnded) reject(notJson('it ended early'));
  });
  return promise;
}

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
