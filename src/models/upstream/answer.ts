import { StringDecoder } from 'node:string_decoder';
import { headerOf, type ResponseHeaders } from './exchange.ts';
import type { AnswerDecoder } from './protocol.ts';
import { SseDecoder, sniff } from './sse.ts';

/** What a 2xx brings, by its headers. `unknown` is told by its first byte, as some servers declare no type or a wrong one. */
export function answerKind(headers: ResponseHeaders): 'sse' | 'unknown' | 'html' | 'compressed' {
  const encoding = headerOf(headers, 'content-encoding');
  if (encoding !== undefined && encoding !== '' && encoding !== 'identity') return 'compressed';
  const type = headerOf(headers, 'content-type')?.toLowerCase() ?? '';
  if (type.includes('text/event-stream')) return 'sse';
  return type.includes('html') ? 'html' : 'unknown';
}

/**
 * Brings the bytes of a 2xx to the decoder: as a stream of events or as one whole answer, whichever the upstream chose.
 * The caller bounds the bytes.
 */
export class AnswerReader {
  readonly #decoder: AnswerDecoder;
  readonly #sse: SseDecoder;
  readonly #utf8 = new StringDecoder('utf8');
  #kind: 'sse' | 'json' | undefined;
  #body = '';

  constructor(kind: 'sse' | 'unknown', decoder: AnswerDecoder, maxEventChars: number) {
    this.#kind = kind === 'sse' ? 'sse' : undefined;
    this.#decoder = decoder;
    this.#sse = new SseDecoder((data) => decoder.data(data), maxEventChars);
  }

  /** Undefined: read. Else why this answer can't be read. */
  feed(bytes: Buffer): 'too long' | 'html' | undefined {
    if (this.#kind === undefined) {
      const kind = sniff(bytes);
      if (kind === 'html') return 'html';
      this.#kind = kind;
    }
    if (this.#kind === 'sse') return this.#sse.feed(bytes) ? undefined : 'too long';
    this.#body += this.#utf8.write(bytes);
    return undefined;
  }

  end(): void {
    if (this.#kind === 'sse') {
      const rest = this.#sse.end();
      if (rest !== undefined) this.#decoder.unclosed(rest);
    } else if (this.#kind === 'json') {
      this.#decoder.whole(this.#body + this.#utf8.end());
      this.#body = '';
    }
  }
}
