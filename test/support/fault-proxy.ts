import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** `up` is from the client to the server, `down` the way back. */
export type Direction = 'up' | 'down';

/** Picks where a fault begins: at the first piece of bytes, as it came off the socket, that holds this text. */
export type FaultStart = { readonly containing?: string | undefined };

export type CutOptions = FaultStart & { readonly bytes: number; readonly direction: Direction };

/** What went through so far, in bytes; `held` waits for its delay, `swallowed` is lost. */
export type ProxyCounts = {
  readonly accepted: number;
  readonly up: number;
  readonly down: number;
  readonly held: number;
  readonly swallowed: number;
};

/** Connections at a time. One more is refused. */
const maxConnections = 1_000;
/** Faults that wait for their connection. */
const maxArmed = 1_000;
/** Bytes that one direction of one connection holds back before its sender has to wait. */
const maxHeldBytes = 1024 * 1024;
const maxDelayMs = 3_600_000;

/** Numbers from 0 to below 1 (mulberry32): the same seed gives the same ones. */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Starts a proxy on a free loopback port, in front of a server that may or may not be there. */
export async function startFaultProxy(target: { readonly host: string; readonly port: number }): Promise<FaultProxy> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return new FaultProxy(server, target);
}

type Drops = FaultStart & { left: number };
type ArmedCut = CutOptions & { readonly done: (happened: boolean) => void };
type ClaimedCut = { left: number; readonly done: (happened: boolean) => void };

/**
 * A TCP proxy that passes bytes on and breaks things when told to. Every fault begins at a byte or at a call, none at a
 * time. A cut is a reset (RST) on both sides.
 */
export class FaultProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #open = new Set<Connection>();
  #armed: ArmedCut[] = [];
  #drops: Drops = { left: 0 };
  #delayMs = 0;
  #isBlackhole = false;
  #isRefusing = false;
  #counts = { accepted: 0, up: 0, down: 0, swallowed: 0 };

  constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (client) => this.#accept(client));
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#open.size;
  }

  get counts(): ProxyCounts {
    let held = 0;
    for (const { flows } of this.#open) held += flows.up.heldBytes + flows.down.heldBytes;
    return { ...this.#counts, held };
  }

  /**
   * The same URI with the proxy in place of its host. A MongoDB URI should say `directConnection=true`: else the driver
   * goes on to the addresses that the server names, past the proxy.
   */
  uri(of: string): string {
    const match = /^((?:postgres(?:ql)?|mongodb):\/\/(?:[^/?#]*@)?)([^/?#@]+)(.*)$/s.exec(of);
    if (match === null || /[?&]host(?:addr)?=/i.test(match[3] ?? '')) {
      throw new Error('only postgres:// and mongodb:// URIs that name their host before the path can be led through');
    }
    return `${match[1]}127.0.0.1:${this.port}${match[3]}`;
  }

  /**
   * Cuts the connection that is the next to carry bytes in that direction, after exactly that many of them were passed
   * on; with `bytes: 0` none of them is. Each call arms one cut, of one connection. Resolves with true when it has
   * happened and the connection is gone, with false when that connection or the proxy ended before.
   */
  cutAfter(options: CutOptions): Promise<boolean> {
    if (!Number.isInteger(options.bytes) || options.bytes < 0) throw new RangeError('bytes must be a whole number');
    if (this.#armed.length >= maxArmed) throw new RangeError(`at most ${maxArmed} cuts may wait`);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#armed.push({ ...options, done: resolve });
    return promise;
  }

  /** Cuts every open connection. */
  cutAll(): void {
    for (const connection of this.#open) connection.cut();
  }

  /** Holds every piece of bytes, and every end, back for this long, both ways; 0 lets go of what is held at once. */
  delay(ms: number): void {
    if (!(ms >= 0 && ms <= maxDelayMs)) throw new RangeError(`ms must be 0 to ${maxDelayMs}`);
    this.#delayMs = ms;
    for (const { flows } of this.#open) for (const flow of Object.values(flows)) flow.pump();
  }

  /** Ends one direction of the open connections: its receiver sees the end, and the other direction goes on. */
  halfClose(direction: Direction = 'down'): void {
    for (const { flows } of this.#open) flows[direction].end();
  }

  /**
   * Swallows whatever is sent, and hides that a side has gone: connections stay open, also new ones. What was swallowed
   * is lost for good; switched off, sides that have gone meanwhile are told.
   */
  blackhole(on: boolean): void {
    this.#isBlackhole = on;
    if (on) return;
    for (const connection of this.#open) connection.wake();
  }

  /** Resets new connections at once. The open ones go on. */
  refuse(on: boolean): void {
    this.#isRefusing = on;
  }

  /**
   * Lets the next `count` requests reach the server and cuts each one's connection when the first bytes of its answer
   * come: what was asked has happened, and nobody is told. `containing` leaves the other requests alone, such as those
   * before a COMMIT. Replaces an earlier call; 0 switches it off.
   */
  dropAnswers(count: number, start: FaultStart = {}): void {
    if (!Number.isInteger(count) || count < 0) throw new RangeError('count must be a whole number');
    this.#drops = { ...start, left: count };
  }

  /** Cuts what is open, and leaves nothing behind. */
  async close(): Promise<void> {
    this.#isRefusing = true;
    this.#isBlackhole = false;
    for (const cut of this.#armed.splice(0)) cut.done(false);
    const gone = [...this.#open].map((connection) => connection.gone);
    this.cutAll();
    if (this.#server.listening) {
      this.#server.close();
      await once(this.#server, 'close');
    }
    await Promise.all(gone);
  }

  #accept(client: Socket): void {
    // A client that was reset may still report it.
    client.on('error', () => {});
    if (this.#isRefusing || this.#open.size >= maxConnections) {
      client.resetAndDestroy();
      return;
    }
    this.#counts.accepted += 1;
    const server = connect({ ...this.#target, allowHalfOpen: true });
    const connection = new Connection(client, server, {
      delayMs: () => this.#delayMs,
      isBlackhole: () => this.#isBlackhole,
      pass: (through, direction, bytes) => this.#pass(through, direction, bytes),
    });
    this.#open.add(connection);
    void connection.gone.then(() => this.#open.delete(connection));
  }

  /** One piece of bytes whose time has come. */
  #pass(connection: Connection, direction: Direction, bytes: Buffer): void {
    if (this.#isBlackhole || connection.flows[direction].isEnded) {
      this.#counts.swallowed += bytes.length;
      return;
    }
    if (direction === 'up') this.#claimDrop(connection, bytes);
    else if (connection.dropsAnswer) {
      this.#counts.swallowed += bytes.length;
      connection.cut();
      return;
    }
    this.#claimCut(connection, direction, bytes);
    const cut = connection.cuts[direction];
    if (cut === undefined || bytes.length < cut.left) {
      if (cut !== undefined) cut.left -= bytes.length;
      this.#counts[direction] += bytes.length;
      connection.flows[direction].write(bytes);
      return;
    }
    this.#counts[direction] += cut.left;
    this.#counts.swallowed += bytes.length - cut.left;
    connection.cutBehind(direction, bytes.subarray(0, cut.left), cut);
  }

  #claimDrop(connection: Connection, bytes: Buffer): void {
    if (connection.dropsAnswer || this.#drops.left === 0 || !startsFault(this.#drops, bytes)) return;
    this.#drops.left -= 1;
    connection.dropsAnswer = true;
  }

  #claimCut(connection: Connection, direction: Direction, bytes: Buffer): void {
    if (connection.cuts[direction] !== undefined) return;
    const index = this.#armed.findIndex((each) => each.direction === direction && startsFault(each, bytes));
    const [cut] = index === -1 ? [] : this.#armed.splice(index, 1);
    if (cut !== undefined) connection.cuts[direction] = { left: cut.bytes, done: cut.done };
  }
}

function startsFault({ containing }: FaultStart, bytes: Buffer): boolean {
  return containing === undefined || bytes.includes(containing);
}

type Rules = {
  readonly delayMs: () => number;
  readonly isBlackhole: () => boolean;
  readonly pass: (connection: Connection, direction: Direction, bytes: Buffer) => void;
};

/** A client, and the connection to the server that was made for it. */
class Connection {
  readonly flows: Readonly<Record<Direction, Flow>>;
  /** Resolves when both sockets are closed. */
  readonly gone: Promise<void>;
  readonly cuts: Partial<Record<Direction, ClaimedCut>> = {};
  dropsAnswer = false;
  readonly #sockets: readonly Socket[];
  readonly #rules: Rules;
  #isEnding = false;

  constructor(client: Socket, server: Socket, rules: Rules) {
    this.#rules = rules;
    this.#sockets = [client, server];
    const closed = this.#sockets.map((socket) => {
      socket.setNoDelay(true);
      const { promise, resolve } = Promise.withResolvers<void>();
      // A reset that fails is told as an error, and by no close.
      socket.on('error', () => {
        if (socket.destroyed) resolve();
      });
      socket.once('close', (hadError) => {
        resolve();
        if (hadError) this.#lost();
      });
      return promise;
    });
    this.flows = {
      up: new Flow(client, server, rules, (bytes) => this.#pass('up', bytes)),
      down: new Flow(server, client, rules, (bytes) => this.#pass('down', bytes)),
    };
    this.gone = Promise.all(closed).then(() => {
      for (const flow of Object.values(this.flows)) flow.stop();
      for (const cut of Object.values(this.cuts)) cut.done(false);
    });
  }

  cut(): void {
    this.#isEnding = true;
    for (const flow of Object.values(this.flows)) flow.stop();
    for (const socket of this.#sockets) {
      // A connection whose end is being told can't be reset any more: Node would neither close it nor say so.
      if (socket.writableEnded || socket.connecting) socket.destroy();
      else socket.resetAndDestroy();
    }
  }

  /** Passes the last bytes on, and cuts once the system has taken them. */
  cutBehind(direction: Direction, last: Buffer, { done }: ClaimedCut): void {
    this.#isEnding = true;
    delete this.cuts[direction];
    void this.gone.then(() => done(true));
    for (const flow of Object.values(this.flows)) flow.stop();
    if (last.length === 0) this.cut();
    else this.flows[direction].write(last, () => this.cut());
  }

  /** After a black hole: what happened in it shows now. */
  wake(): void {
    if (this.#sockets.some((socket) => socket.errored !== null)) this.cut();
    else for (const flow of Object.values(this.flows)) flow.pump();
  }

  #pass(direction: Direction, bytes: Buffer): void {
    if (!this.#isEnding) this.#rules.pass(this, direction, bytes);
  }

  #lost(): void {
    if (!this.#isEnding && !this.#rules.isBlackhole()) this.cut();
  }
}

type Held = { readonly bytes: Buffer; readonly arrivedAtMs: number };

/** One direction of a connection: what came waits for its delay, in order, then for the receiver to take it. */
class Flow {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #rules: Rules;
  readonly #pass: (bytes: Buffer) => void;
  readonly #held: Held[] = [];
  #timer: NodeJS.Timeout | undefined;
  #endedAtMs: number | undefined;
  #isStopped = false;
  heldBytes = 0;
  /** Whether the receiver was told that nothing more comes. */
  isEnded = false;

  constructor(from: Socket, to: Socket, rules: Rules, pass: (bytes: Buffer) => void) {
    this.#from = from;
    this.#to = to;
    this.#rules = rules;
    this.#pass = pass;
    from.on('data', (bytes: Buffer) => {
      this.#held.push({ bytes, arrivedAtMs: performance.now() });
      this.heldBytes += bytes.length;
      this.pump();
    });
    from.on('end', () => {
      this.#endedAtMs = performance.now();
      this.pump();
    });
    to.on('drain', () => this.#balance());
  }

  /** Passes on what is due. */
  pump(): void {
    clearTimeout(this.#timer);
    const nowMs = performance.now();
    for (let next = this.#held[0]; next !== undefined && !this.#isStopped; next = this.#held[0]) {
      if (this.#waits(next.arrivedAtMs, nowMs)) return;
      this.#held.shift();
      this.heldBytes -= next.bytes.length;
      this.#pass(next.bytes);
    }
    this.#balance();
    if (this.#isStopped || this.#endedAtMs === undefined || this.#rules.isBlackhole()) return;
    if (!this.#waits(this.#endedAtMs, nowMs)) this.end();
  }

  write(bytes: Buffer, onTaken?: () => void): void {
    this.#to.write(bytes, onTaken);
    this.#balance();
  }

  end(): void {
    this.isEnded = true;
    this.#to.end();
  }

  /** Nothing more is passed on. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#held.length = 0;
    this.heldBytes = 0;
  }

  /** Sets the clock where it is too early. */
  #waits(sinceMs: number, nowMs: number): boolean {
    const restMs = sinceMs + this.#rules.delayMs() - nowMs;
    if (restMs <= 0) return false;
    this.#timer = setTimeout(() => this.pump(), restMs);
    this.#balance();
    return true;
  }

  /** The sender waits while too much is held, or while the receiver reads slower than it. */
  #balance(): void {
    if (this.heldBytes > maxHeldBytes || this.#to.writableNeedDrain) this.#from.pause();
    else this.#from.resume();
  }
}
