import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Json } from './harness.ts';

export type RawAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** The body as JSON; undefined where it is none. */
  readonly body: Json;
};

/** A socket to a server, for what no HTTP client would send. Ends with the test. */
export class RawSocket {
  readonly socket: Socket;
  /** Resolves when the connection is gone, in whatever way. */
  readonly closed: Promise<void>;
  #bytes = Buffer.alloc(0);
  #isClosed = false;
  #wake: () => void = () => {};

  static async open(url: string): Promise<RawSocket> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname === '0.0.0.0' ? '127.0.0.1' : hostname);
    await once(socket, 'connect');
    return new RawSocket(socket);
  }

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
      this.#wake();
    });
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isClosed = true;
        this.#wake();
        resolve();
      });
    });
    onTestFinished(() => void socket.destroy());
  }

  write(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  /** A request with a body, its length given. */
  send(line: string, headers: readonly string[] = [], body: string | Uint8Array = ''): void {
    const bytes = Buffer.from(body);
    const length = bytes.length === 0 ? [] : [`content-length: ${bytes.length}`];
    this.write(Buffer.concat([Buffer.from(`${[line, ...headers, ...length].join('\r\n')}\r\n\r\n`), bytes]));
  }

  /** The next answer. Rejects where the connection ends before it. */
  async answer(): Promise<RawAnswer> {
    for (;;) {
      const taken = this.#take();
      if (taken !== undefined) return taken;
      if (this.#isClosed) throw new Error(`the connection ended after: ${JSON.stringify(this.#bytes.toString())}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** What came and was not taken as an answer. */
  get rest(): string {
    return this.#bytes.toString();
  }

  #take(): RawAnswer | undefined {
    const end = this.#bytes.indexOf('\r\n\r\n');
    if (end === -1) return undefined;
    const [first = '', ...lines] = this.#bytes.subarray(0, end).toString('latin1').split('\r\n');
    const headers = Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const status = Number(first.split(' ')[1]);
    const found = this.#body(end + 4, status, headers);
    if (found === undefined) return undefined;
    this.#bytes = this.#bytes.subarray(found.next);
    return { status, headers, text: found.text, body: json(found.text) };
  }

  #body(
    start: number,
    status: number,
    headers: Readonly<Record<string, string>>,
  ): { text: string; next: number } | undefined {
    const length = status === 204 || status < 200 ? '0' : headers['content-length'];
    if (length !== undefined) {
      const next = start + Number(length);
      return this.#bytes.length < next ? undefined : { text: this.#bytes.subarray(start, next).toString(), next };
    }
    if (headers['transfer-encoding'] !== 'chunked') {
      return this.#isClosed ? { text: this.#bytes.subarray(start).toString(), next: this.#bytes.length } : undefined;
    }
    const chunks: Buffer[] = [];
    for (let at = start; ; ) {
      const line = this.#bytes.indexOf('\r\n', at);
      if (line === -1) return undefined;
      const size = Number.parseInt(this.#bytes.subarray(at, line).toString(), 16);
      if (this.#bytes.length < line + 4 + size) return undefined;
      if (size === 0) return { text: Buffer.concat(chunks).toString(), next: line + 4 };
      chunks.push(this.#bytes.subarray(line + 2, line + 2 + size));
      at = line + 4 + size;
    }
  }
}

function json(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
