import { Client, type ClientConfig, type Connection } from 'pg';
import { type CancelKey, requestCancel } from './cancel.ts';
import { ConnectionLost, Refusal, tooSlow } from './failures.ts';

/** A statement with a constant text; values are always parameters. Without a name it is not kept prepared. */
export type Statement = { readonly name: string; readonly text: string };
export type Value = string | null;
export type Question = { readonly statement: Statement; readonly values: readonly Value[] };
/** The columns of a row in the form of texts. */
export type Row = readonly Value[];
/** What came of one statement. */
export type Result = { readonly rows: readonly Row[]; readonly tag: string };

/** How long the server goes on by itself: less than we wait, so that it is the one to say so. */
export type ServerLimits = { readonly statementMs: number; readonly lockMs: number; readonly idleMs: number };

export type SessionSetup = {
  readonly config: ClientConfig;
  readonly limits: ServerLimits;
  /** Sent once, before anything else; empty where each transaction has to say it for itself. */
  readonly settings: string;
  /** False behind a pooler that gives each transaction another connection: then nothing is prepared ahead. */
  readonly canPrepare: boolean;
};

/** How long one cancel request may take, and the pause before the next. */
const cancelRequestMs = 1_000;
const cancelPauseMs = 250;

type ServerError = { readonly code?: string; readonly severity?: string; readonly message?: string };

/**
 * Several statements that go to the server in one piece, with one end: they are one transaction, unless they open one,
 * and cost one round trip. `pg` calls the methods as the answers arrive.
 */
class Batch {
  readonly #questions: readonly Question[];
  readonly #prepared: Set<string> | undefined;
  readonly #doubtful: Set<string>;
  readonly #parsed: string[] = [];
  readonly #results: Result[] = [];
  readonly #settled: PromiseWithResolvers<readonly Result[]>;
  #rows: Row[] = [];

  constructor(questions: readonly Question[], prepared: Set<string> | undefined, doubtful: Set<string>) {
    this.#questions = questions;
    this.#prepared = prepared;
    this.#doubtful = doubtful;
    this.#settled = Promise.withResolvers();
  }

  get done(): Promise<readonly Result[]> {
    return this.#settled.promise;
  }

  submit(connection: Connection): null {
    connection.stream.cork();
    for (const { statement, values } of this.#questions) {
      const name = this.#nameFor(connection, statement);
      connection.bind({ statement: name, values: values as Value[] }, true);
      connection.execute(null, true);
    }
    connection.sync();
    connection.stream.uncork();
    return null;
  }

  handleDataRow({ fields }: { readonly fields: Row }): void {
    this.#rows.push(fields);
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.#results.push({ rows: this.#rows, tag: text });
    this.#rows = [];
  }

  handleRowDescription(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
  handleCopyInResponse(): void {}
  handleCopyData(): void {}

  handleReadyForQuery(): void {
    this.#settled.resolve(this.#results);
  }

  handleError(error: ServerError): void {
    // Whether the server came as far as these is not known. To close what is not there is harmless.
    for (const name of this.#parsed) {
      this.#prepared?.delete(name);
      this.#doubtful.add(name);
    }
    const at = this.#results.length;
    this.#settled.reject(asFailure(error, this.#questions[at]?.statement.name ?? 'the commit', at));
  }

  #nameFor(connection: Connection, { name, text }: Statement): string {
    if (this.#prepared === undefined || name === '') {
      connection.parse({ name: '', text, types: [] }, true);
      return '';
    }
    if (!this.#prepared.has(name)) {
      if (this.#doubtful.delete(name)) connection.close({ type: 'S', name }, true);
      connection.parse({ name, text, types: [] }, true);
      this.#prepared.add(name);
      this.#parsed.push(name);
    }
    return name;
  }
}

function asFailure(error: ServerError, where: string, at: number): Refusal | ConnectionLost {
  if (typeof error.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code) && error.severity !== undefined) {
    const isFatal = error.severity === 'FATAL' || error.severity === 'PANIC';
    return new Refusal(error.code, isFatal, oneLine(error.message ?? ''), where, at);
  }
  return new ConnectionLost(reasonOf(error), true);
}

/** Only a code: a message of the network's may name what is nobody's business. */
export function reasonOf(error: ServerError): string {
  return typeof error.code === 'string' && /^[A-Z_]{3,40}$/.test(error.code) ? error.code : 'ended';
}

export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim().slice(0, 300);
}

/** One connection, used by one operation at a time. */
export class Session {
  readonly #client: Client;
  readonly #config: ClientConfig;
  readonly #prepared: Set<string> | undefined;
  readonly #doubtful = new Set<string>();
  #isOpen = false;
  #isGone = false;
  #isCancelled = false;
  /** Called once when the connection is gone, by whatever cause. */
  onEnd: () => void = () => undefined;
  /** When it was last used, on the clock of `performance.now()`. */
  usedAtMs = performance.now();

  private constructor({ config, canPrepare }: SessionSetup) {
    this.#client = new Client(config);
    this.#config = config;
    this.#prepared = canPrepare ? new Set() : undefined;
    // Without it, a connection that breaks would end the process.
    this.#client.on('error', () => this.#ended());
    this.#client.on('end', () => this.#ended());
  }

  /** Rejects with what `pg` threw, with a `Refusal`, or with `StoreUnavailable` when it takes too long. */
  static async open(setup: SessionSetup, deadlineMs: number): Promise<Session> {
    const session = new Session(setup);
    const timer = setTimeout(() => session.destroy(), Math.max(1, deadlineMs - performance.now()));
    try {
      await session.#client.connect();
      session.#isOpen = true;
      session.#requireAlive();
      if (setup.settings !== '') await session.#client.query(setup.settings);
      session.#requireAlive();
      return session;
    } catch (error) {
      session.destroy();
      if (performance.now() >= deadlineMs) throw tooSlow();
      throw connectFailure(error);
    } finally {
      clearTimeout(timer);
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Then it is good for nothing but to be ended: what is asked next would meet a cancel request that is late. */
  get isCancelled(): boolean {
    return this.#isCancelled;
  }

  /**
   * Asks some questions in one round trip; all succeed or none has any effect, unless one of them ends a transaction.
   * Past the deadline the connection is given up.
   */
  async run(questions: readonly Question[], deadlineMs: number): Promise<readonly Result[]> {
    if (!this.#isOpen || this.#isCancelled) throw new ConnectionLost('ended', false);
    const batch = new Batch(questions, this.#prepared, this.#doubtful);
    const timer = setTimeout(() => this.destroy(), Math.max(1, deadlineMs - performance.now()));
    this.#client.query(batch);
    try {
      return await batch.done;
    } finally {
      clearTimeout(timer);
      this.usedAtMs = performance.now();
    }
  }

  /** One question. */
  async ask(statement: Statement, values: readonly Value[], deadlineMs: number): Promise<Result> {
    const [result] = await this.run([{ statement, values }], deadlineMs);
    return result ?? { rows: [], tag: '' };
  }

  /**
   * Has the server stop what it is doing here, which without its client it would go on with. Nothing more can be asked.
   * The connection lasts until the server has answered and it is ended, or until the time is over.
   */
  async cancel(timeoutMs: number): Promise<void> {
    if (this.#isCancelled) return;
    this.#isCancelled = true;
    const deadlineMs = performance.now() + timeoutMs;
    const key = this.#cancelKey;
    while (this.#isOpen && performance.now() < deadlineMs) {
      // Again and again: a server that has not begun with a statement yet does not heed it.
      const leftMs = Math.min(cancelRequestMs, deadlineMs - performance.now());
      if (key !== undefined) await requestCancel(this.#config, key, leftMs);
      await pause(Math.min(cancelPauseMs, Math.max(1, deadlineMs - performance.now())));
    }
    if (this.#isOpen) this.destroy();
  }

  /** Ends the connection whatever it is doing. The server may not notice before its statement is over. */
  destroy(): void {
    this.#ended();
    const { connection } = this.#client as unknown as { readonly connection: Connection };
    connection.stream.destroy();
  }

  /** Says goodbye; a server that does not answer that is not waited for. */
  async end(): Promise<void> {
    const patienceMs = 500;
    this.#isOpen = false;
    const timer = setTimeout(() => this.destroy(), patienceMs);
    await this.#client.end().catch(() => undefined);
    clearTimeout(timer);
  }

  /** Some poolers give none. */
  get #cancelKey(): CancelKey | undefined {
    const { processID, secretKey } = this.#client as unknown as Partial<CancelKey>;
    if (typeof processID !== 'number' || typeof secretKey !== 'number') return undefined;
    return { processID, secretKey };
  }

  /** A server that is being stopped may say so in one piece with an answer: then nobody was there to be told. */
  #requireAlive(): void {
    if (this.#isGone) throw new ConnectionLost('ended', false);
  }

  #ended(): void {
    this.#isOpen = false;
    if (this.#isGone) return;
    this.#isGone = true;
    this.onEnd();
  }
}

function pause(ms: number): Promise<void> {
  // The connection that is cancelled keeps the process alive.
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}

function connectFailure(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const failure = asFailure(error, 'the connection', 0);
  if (failure instanceof Refusal) return failure;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  const isNetwork =
    code === undefined
      ? /terminated|timeout|ended|hang up/i.test(error.message)
      : /^(E[A-Z]+|EAI_AGAIN)$/.test(code) && !code.startsWith('ERR_');
  return isNetwork ? new ConnectionLost(code ?? 'ended', false) : error;
}
