import type { Answer } from './answer-reader.ts';
import type { Group } from './load.ts';

/** How the requests of one connection follow each other, where they are not all the same. */
export type Follow =
  /** Each continues the one before; after so many turns a new chain begins. */
  | { readonly kind: 'chain'; readonly turns: number }
  /** A conversation of the connection's own, and after so many turns the next one. All are made before the warm-up. */
  | { readonly kind: 'conversation'; readonly turns: number; readonly conversations: number };

/** What one connection asks, request by request. */
export class Course {
  readonly #group: Group;
  readonly #same: Buffer | undefined;
  readonly #reads: readonly Buffer[];
  readonly #conversations: string[] = [];
  #turn = 0;
  #lastId = '';

  constructor(group: Group) {
    this.#group = group;
    this.#reads = (group.readIds ?? []).map((id) => this.#request(`${group.path}/${id}`, ''));
    this.#same =
      group.follow === undefined && group.readIds === undefined ? this.#request(group.path, group.body) : undefined;
  }

  /** A text that the answer to the last request must hold. */
  get wanted(): string | undefined {
    const { readIds } = this.#group;
    return readIds === undefined ? undefined : `"id":"${readIds[(this.#turn - 1) % readIds.length]}"`;
  }

  /** Whether what is asked next only prepares for what is measured. */
  get isPreparing(): boolean {
    const { follow } = this.#group;
    return follow?.kind === 'conversation' && this.#conversations.length < follow.conversations;
  }

  next(): Buffer {
    if (this.#same !== undefined) return this.#same;
    if (this.isPreparing) return this.#request('/v1/conversations', '{}');
    const { path, body } = this.#group;
    const turn = this.#turn;
    this.#turn += 1;
    const read = this.#reads[turn % this.#reads.length];
    if (read !== undefined) return read;
    return this.#request(path, `${body.slice(0, -1)}${this.#link(turn)}}`);
  }

  /** Takes what it has to know for the next request. @throws Error where it is not in the answer. */
  heard({ status, body }: Answer): void {
    const { follow } = this.#group;
    if (follow === undefined) return;
    const id = /^\{"id":"([^"]+)"/.exec(body)?.[1];
    if (id === undefined || status !== 200) throw new Error(`status ${status}, no id: ${body.slice(0, 300)}`);
    if (this.isPreparing) this.#conversations.push(id);
    else this.#lastId = id;
  }

  #link(turn: number): string {
    const { follow } = this.#group;
    switch (follow?.kind) {
      case undefined:
        return '';
      case 'chain':
        return turn % follow.turns === 0 ? '' : `,"previous_response_id":"${this.#lastId}"`;
      case 'conversation': {
        const at = Math.floor(turn / follow.turns) % this.#conversations.length;
        return `,"conversation":"${this.#conversations[at]}"`;
      }
      default:
        return follow satisfies never;
    }
  }

  #request(path: string, body: string): Buffer {
    const { port, method = 'POST' } = this.#group;
    const head = [`${method} ${path} HTTP/1.1`, `host: 127.0.0.1:${port}`, 'authorization: Bearer bench-key'];
    if (method === 'GET') return Buffer.from(`${head.join('\r\n')}\r\n\r\n`);
    head.push('content-type: application/json', `content-length: ${Buffer.byteLength(body)}`);
    return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
  }
}
