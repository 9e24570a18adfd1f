/** An HTTP answer, whole. */
export type Answer = { readonly status: number; readonly body: string };

/** Reads one HTTP/1.1 answer after the other from a connection's bytes: with a length, or in chunks. ASCII bodies only. */
export class AnswerReader {
  #rest: Buffer | undefined;
  #hasHead = false;
  #status = 0;
  #isChunked = false;
  /** Bytes of the body, or of the chunk that is arriving, that are still to come. */
  #left = 0;
  /** Bytes between two chunks that carry nothing. */
  #skip = 0;
  #isLast = false;
  #sizeLine = '';
  #body = '';

  /** The answer, once it is whole. @throws Error where the bytes are no such answer. */
  feed(bytes: Buffer): Answer | undefined {
    const rest = this.#hasHead ? bytes : this.#takeHead(bytes);
    if (rest === undefined) return undefined;
    const isWhole = this.#isChunked ? this.#takeChunks(rest) : this.#takeLength(rest);
    if (!isWhole) return undefined;
    const answer = { status: this.#status, body: this.#body };
    this.#hasHead = false;
    this.#body = '';
    return answer;
  }

  #takeHead(bytes: Buffer): Buffer | undefined {
    const all = this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes]);
    const end = all.indexOf('\r\n\r\n');
    this.#rest = end < 0 ? all : undefined;
    if (end < 0) return undefined;
    const head = all.toString('latin1', 0, end);
    if (!head.startsWith('HTTP/1.1 ')) throw new Error(`no HTTP answer: ${head.slice(0, 100)}`);
    const length = /content-length: *(\d+)/i.exec(head)?.[1];
    this.#status = Number(head.slice(9, 12));
    this.#isChunked = length === undefined;
    if (this.#isChunked && !/transfer-encoding: *chunked/i.test(head)) throw new Error(`no length: ${head}`);
    this.#left = Number(length ?? 0);
    this.#skip = 0;
    this.#isLast = false;
    this.#hasHead = true;
    return all.subarray(end + 4);
  }

  #takeLength(bytes: Buffer): boolean {
    if (bytes.length > this.#left) throw new Error('bytes behind the end of an answer');
    this.#body += bytes.toString('latin1');
    this.#left -= bytes.length;
    return this.#left === 0;
  }

  #takeChunks(bytes: Buffer): boolean {
    let at = 0;
    while (at < bytes.length) {
      if (this.#left > 0) {
        const end = Math.min(bytes.length, at + this.#left);
        this.#body += bytes.toString('latin1', at, end);
        this.#left -= end - at;
        if (this.#left === 0) this.#skip = 2;
        at = end;
      } else if (this.#skip > 0) {
        at += 1;
        this.#skip -= 1;
        if (this.#isLast && this.#skip === 0) {
          if (at < bytes.length) throw new Error('bytes behind the end of an answer');
          return true;
        }
      } else {
        at = this.#takeSize(bytes, at);
      }
    }
    return false;
  }

  #takeSize(bytes: Buffer, at: number): number {
    const end = bytes.indexOf(10, at);
    this.#sizeLine += bytes.toString('latin1', at, end < 0 ? bytes.length : end);
    if (end < 0) return bytes.length;
    this.#left = Number.parseInt(this.#sizeLine, 16);
    if (Number.isNaN(this.#left)) throw new Error(`no size of a chunk: ${this.#sizeLine.slice(0, 50)}`);
    this.#sizeLine = '';
    this.#isLast = this.#left === 0;
    if (this.#isLast) this.#skip = 2;
    return end + 1;
  }
}
