import type { MongoClientOptions } from 'mongodb';
import { MongoClient, MongoError } from 'mongodb';
import { StoreUnavailable } from '../../store.ts';
import { UnusableDatabase } from '../../store-admin.ts';
import type { Asking, Values } from './call.ts';
import { Call } from './call.ts';
import { failureOf, plainError, Refused, reasonOf, unavailable } from './failures.ts';
import { Heartbeats } from './heartbeats.ts';

export type Access = {
  /** Of the deployment, with all its options. It is a secret, and never part of a message. */
  readonly uri: string;
  /** Without it the one that the URI names, else `openresponses`. */
  readonly database: string | undefined;
  /** How long one operation may take, the wait for a connection included. */
  readonly timeoutMs: number;
};

const defaultDatabase = 'openresponses';
/** What may be under way or waiting at a time. */
const maxOperations = 10_000;
const maxBytes = 256 * 1024 * 1024;
/** How long the driver may take to end what it was told to end. */
const graceMs = 100;

/** The deployment that the store is connected to, and the bounds of what is asked of it. */
export class Deployment {
  readonly timeoutMs: number;
  readonly #access: Access;
  /** The driver, and how it is asked; another one after the driver got stuck. */
  #link: Link;
  readonly #running = new Set<Promise<unknown>>();
  #bytes = 0;
  #closed: Promise<void> | undefined;

  private constructor(access: Access, link: Link) {
    this.#access = access;
    this.#link = this.#watched(link);
    this.timeoutMs = access.timeoutMs;
  }

  /**
   * @throws UnusableDatabase for an address or a user that will not do tomorrow either.
   * @throws StoreUnavailable where nobody answers now.
   */
  static async open(access: Access): Promise<Deployment> {
    const client = clientFor(access);
    try {
      const link = linkOf(client, access);
      await within(access.timeoutMs, client.connect());
      return new Deployment(access, link);
    } catch (thrown) {
      // It may be busy connecting: nobody waits for that.
      void client.close().catch(() => undefined);
      throw asStartFailure(thrown);
    }
  }

  /** One operation, which ends in time. `bytes`: how much of the caller's it holds meanwhile. */
  async run<T>(work: (call: Call) => Promise<T>, { timeoutMs = this.timeoutMs, bytes = 0 } = {}): Promise<T> {
    if (this.#closed !== undefined) throw new StoreUnavailable('The store is closed');
    if (this.#running.size >= maxOperations || (this.#bytes > 0 && this.#bytes + bytes > maxBytes)) {
      throw unavailable('too many operations wait for it');
    }
    this.#bytes += bytes;
    const ending = new AbortController();
    const { promise: over, reject } = Promise.withResolvers<never>();
    let lastTimer: NodeJS.Timeout | undefined;
    const timer = setTimeout(() => {
      const late = unavailable(`it did not answer within ${timeoutMs} ms`);
      ending.abort(late);
      lastTimer = setTimeout(reject, graceMs, late);
    }, timeoutMs);
    const running = work(new Call(() => this.#link.asking, timeoutMs, ending.signal));
    this.#running.add(running);
    try {
      return await Promise.race([running, over]);
    } finally {
      clearTimeout(timer);
      clearTimeout(lastTimer);
      this.#bytes -= bytes;
      this.#running.delete(running);
    }
  }

  /** Ends what was accepted, then every connection. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    await Promise.allSettled(this.#running);
    await this.#link.client.close();
  }

  #watched(link: Link): Link {
    new Heartbeats(link.client, () => this.#replace(link));
    return link;
  }

  /** A driver that has lost sight of its server for good makes way for a new one, which connects when it is asked. */
  #replace(stuck: Link): void {
    if (this.#closed !== undefined || this.#link !== stuck) return;
    this.#link = this.#watched(linkOf(clientFor(this.#access), this.#access));
    // What waits for it fails as for a broken connection, and goes to the new one.
    void stuck.client.close().catch(() => undefined);
  }
}

type Link = { readonly client: MongoClient; readonly asking: Asking };

function linkOf(client: MongoClient, access: Access): Link {
  return { client, asking: askingOf(client, access) };
}

function clientFor({ uri, timeoutMs }: Access): MongoClient {
  const named = new Set([...uri.matchAll(/[?&]([^=&#]+)=/g)].map(([, name = '']) => name.toLowerCase()));
  const wanted: MongoClientOptions = {
    appName: 'open-responses',
    connectTimeoutMS: Math.min(timeoutMs, 10_000),
    // A firewall that forgets idle connections does so after minutes.
    maxIdleTimeMS: 60_000,
    // After one broken connection the driver clears its pool and asks the server first; its own half second keeps all waiting.
    minHeartbeatFrequencyMS: 100,
  };
  const options = Object.entries(wanted).filter(([name]) => !named.has(name.toLowerCase()));
  try {
    const client = new MongoClient(uri, {
      ...Object.fromEntries(options),
      serverSelectionTimeoutMS: timeoutMs,
      waitQueueTimeoutMS: timeoutMs,
    });
    client.on('error', () => undefined);
    return client;
  } catch (thrown) {
    // The driver's message may quote the address.
    const kind = thrown instanceof MongoError ? ` (${thrown.name})` : '';
    throw new UnusableDatabase(`The address is no URI that the MongoDB driver takes${kind}`);
  }
}

/**
 * What is acknowledged is on the journals of a majority, and what is read is: so every server process reads what any of
 * them had acknowledged, and nothing that is read is ever taken back.
 */
function askingOf(client: MongoClient, { uri, database }: Access): Asking {
  const { w, journal, wtimeoutMS } = client.options.writeConcern ?? {};
  if (w === 0) throw new UnusableDatabase('The URI says w=0: a store needs its writes to be acknowledged');
  const concern = { w: w ?? 'majority', j: journal ?? true };
  const writeConcern: Values = wtimeoutMS === undefined ? concern : { ...concern, wtimeout: wtimeoutMS };
  const readConcern = { level: levelOf(client.options.readConcern?.level, concern.w === 'majority') };
  const [, named = ''] = /^[^/]*\/\/[^/?]*\/([^?]*)/.exec(uri) ?? [];
  const name = database ?? (named === '' ? defaultDatabase : client.options.dbName);
  return { db: client.db(name), writeConcern, readConcern };
}

/**
 * With another `w`, a number or a tag, the primary acknowledges a write before it counts as a majority's, even where
 * that many are one: then reading follows the primary alone, or a process would not see its own writes.
 */
function levelOf(asked: string | undefined, isMajority: boolean): string {
  switch (asked) {
    case undefined:
      return isMajority ? 'majority' : 'local';
    case 'local':
    case 'linearizable':
      return asked;
    case 'majority':
      if (isMajority) return asked;
      throw new UnusableDatabase(
        'The URI says readConcernLevel=majority: without w=majority a store would miss its writes',
      );
    default:
      throw new UnusableDatabase('The URI says a readConcernLevel that is none of majority, local and linearizable');
  }
}

async function within<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(unavailable(`it did not answer within ${timeoutMs} ms`)), timeoutMs);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** What no restart heals: rights, users, passwords. */
const hopelessCodes: ReadonlySet<number> = new Set([13, 18, 8000]);

/** A starting server's view: what a restart can not heal is unusable. */
export function asStartFailure(thrown: unknown): unknown {
  if (thrown instanceof Refused) return hopeless(thrown.code) ?? thrown;
  if (thrown instanceof UnusableDatabase || thrown instanceof StoreUnavailable) return thrown;
  const failure = failureOf(thrown);
  if (failure.kind === 'transient') return unavailable(failure.reason, thrown);
  if (failure.kind === 'refused') {
    return hopeless(failure.code) ?? new Refused(failure.reason, failure.code, thrown);
  }
  if (!(thrown instanceof MongoError)) return thrown;
  return new UnusableDatabase(`The MongoDB database can't be used: ${plainError(thrown).message}`);
}

function hopeless(code: number): UnusableDatabase | undefined {
  if (!hopelessCodes.has(code)) return undefined;
  return new UnusableDatabase(`The MongoDB database can't be used: ${reasonOf(code)}`);
}
