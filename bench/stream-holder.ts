/**
 * Opens many streams and holds them open, in a process of its own. Takes tasks as messages: `open` answers when each
 * stream has brought its first piece of text, `look` at once, `close` when all connections are gone.
 */
import { connect, type Socket } from 'node:net';

export type HolderTask =
  | {
      readonly kind: 'open';
      readonly port: number;
      readonly path: string;
      readonly body: string;
      readonly count: number;
      /** What every piece of text has in it. */
      readonly text: string;
    }
  | { readonly kind: 'look' }
  | { readonly kind: 'close' };

export type HolderState = {
  /** Streams that are open and have brought text. */
  readonly flowing: number;
  /** The least that any of them has brought, in reads with text. */
  readonly leastReads: number;
  readonly failure: string | undefined;
};

/** So many at a time, so that none waits in a full queue of the listener. */
const openingAtOnce = 50;
const openLimitMs = 60_000;

const held = new Set<HeldStream>();
let failure: string | undefined;

class HeldStream {
  readonly first = Promise.withResolvers<void>();
  readonly socket: Socket;
  reads = 0;
  #head = '';

  constructor({ port, path, body, text }: Extract<HolderTask, { kind: 'open' }>) {
    const head = [`POST ${path} HTTP/1.1`, `host: 127.0.0.1:${port}`, 'authorization: Bearer bench-key'];
    head.push('content-type: application/json', `content-length: ${Buffer.byteLength(body)}`);
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
    this.socket.on('data', (bytes: Buffer) => this.#data(bytes, text));
    this.socket.on('error', (error) => this.#gone(error.message));
    this.socket.on('close', () => this.#gone('it was closed'));
  }

  #data(bytes: Buffer, text: string): void {
    if (this.#head.length < 12) {
      this.#head += bytes.toString('latin1', 0, 400);
      if (!this.#head.startsWith('HTTP/1.1 200')) this.#gone(this.#head);
    }
    if (!bytes.includes(text)) return;
    this.reads += 1;
    this.first.resolve();
  }

  #gone(why: string): void {
    if (held.delete(this)) failure ??= `a stream did not stay open: ${why}`;
    this.first.resolve();
  }
}

async function open(task: Extract<HolderTask, { kind: 'open' }>): Promise<void> {
  const timer = setTimeout(() => {
    failure ??= `the streams were not open after ${openLimitMs} ms`;
    for (const each of held) each.first.resolve();
  }, openLimitMs);
  for (let at = 0; at < task.count && failure === undefined; at += openingAtOnce) {
    const some = Array.from({ length: Math.min(openingAtOnce, task.count - at) }, () => new HeldStream(task));
    for (const each of some) held.add(each);
    await Promise.all(some.map((each) => each.first.promise));
  }
  clearTimeout(timer);
}

async function close(): Promise<void> {
  const all = [...held];
  held.clear();
  await Promise.all(
    all.map(({ socket }) => {
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      socket.destroy();
      return closed;
    }),
  );
  failure = undefined;
}

function look(): HolderState {
  const reads = [...held].map((each) => each.reads);
  return {
    flowing: reads.filter((count) => count > 0).length,
    leastReads: reads.reduce((least, count) => Math.min(least, count), Number.POSITIVE_INFINITY),
    failure,
  };
}

async function work(task: HolderTask): Promise<HolderState> {
  switch (task.kind) {
    case 'open':
      await open(task);
      return look();
    case 'look':
      return look();
    case 'close': {
      const last = look();
      await close();
      return last;
    }
    default:
      return task satisfies never;
  }
}

process.on('message', (message) => {
  void work(message as HolderTask).then((state) => process.send?.(state));
});
process.on('disconnect', () => process.exit(0));
process.send?.({});
