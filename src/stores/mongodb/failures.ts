import {
  MongoError,
  MongoNetworkError,
  MongoServerError,
  MongoServerSelectionError,
  MongoWriteConcernError,
} from 'mongodb';
import { StoreUnavailable } from '../../store.ts';

/** What a failed command says about the database. */
export type Failure =
  /** It may be different in a moment: an election, a connection that broke. The command may or may not have been done. */
  | { readonly kind: 'transient'; readonly reason: string }
  /** Another try is no use while somebody does not change something: a full disk, rights that are missing. */
  | { readonly kind: 'refused'; readonly reason: string; readonly code: number }
  | { readonly kind: 'defect' };

/** The server's error codes that a short wait, or another server of the same deployment, may cure. */
const transientCodes: ReadonlyMap<number, string> = new Map(
  (
    [
      ['a host is unreachable', 6],
      ['a host is not found', 7],
      ['a lock took too long', 24, 46, 107],
      ['a cursor is gone', 43, 175, 237, 314],
      ['the time for a command ran out', 50, 202, 262, 290],
      ['not enough members confirmed a write in time', 64],
      ['the network is too slow', 89],
      ['the server shuts down', 91, 11600],
      ['the server is starting', 94, 203, 13436],
      ['the replica set is being changed', 109, 303, 308],
      ['writes collided', 112],
      ['an operation collided with another one', 117, 215, 272, 12586, 12587],
      ['no server fits', 133],
      ['a majority can not be read from yet', 134, 239, 246, 250],
      ['a connection broke', 145, 172, 279, 317, 384, 398, 9001],
      ['the configuration can not be reached', 149, 199, 56846],
      ['the routing is out of date', 63, 150, 234, 249, 304, 13388],
      ['the routing changes', 338, 342, 343, 406, 453],
      ['the primary stepped down', 189],
      ['its keys are not there yet', 211],
      ['a primary is being elected', 216],
      ['the building of an index was interrupted', 276],
      ['an index is being built', 285],
      ['the operation was interrupted', 90, 355, 11601, 46841, 10045600],
      ['it asks to try again', 358, 412, 50915, 91331],
      ['it is overloaded', 365, 402, 407, 433, 449, 450, 462, 16500],
      ['it wants to know the user again', 391],
      ['the server is not the primary', 10058, 10107, 13435],
      ['the primary changes', 11602],
    ] as const
  ).flatMap(([reason, ...codes]) => codes.map((code) => [code, reason])),
);

/** Those that say that the database does not want, or can't, until somebody acts. */
const refusedCodes: ReadonlyMap<number, string> = new Map([
  [1, 'it reports an internal error'],
  [8, 'it reports an unknown error'],
  [13, 'the user may not do that'],
  [18, 'it does not accept the user or the password'],
  [20, 'it does not allow that operation'],
  [79, 'it does not know the write concern'],
  [100, 'it has too few members for the write concern'],
  [146, 'it is out of memory'],
  [261, 'it has too many sessions'],
  [264, 'it has too many files open'],
  [371, 'somebody has blocked writing'],
  [8000, 'it refuses the user, or a limit of the plan is reached'],
  [10003, 'a collection is capped'],
  [11000, 'a unique index of somebody else refuses the document'],
  [14031, 'its disk is full'],
]);

export function reasonOf(code: number): string {
  return refusedCodes.get(code) ?? transientCodes.get(code) ?? `it answers with the code ${code}`;
}

export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof MongoServerSelectionError) {
    const { cause } = thrown;
    // A wrong password is found where a connection is made.
    const inner = cause instanceof MongoServerError ? failureOf(cause) : undefined;
    if (inner?.kind === 'refused') return inner;
    return { kind: 'transient', reason: 'no server can be reached' };
  }
  if (thrown instanceof MongoNetworkError) return { kind: 'transient', reason: 'a connection broke' };
  if (thrown instanceof MongoServerError) {
    const code = Number(thrown.code);
    const transient = transientCodes.get(code);
    if (transient !== undefined) return { kind: 'transient', reason: transient };
    const reason = refusedCodes.get(code);
    if (reason !== undefined) return { kind: 'refused', reason, code };
    // The write was done by one server, whatever kept the others from confirming it.
    if (thrown instanceof MongoWriteConcernError) {
      return { kind: 'refused', reason: 'a write was not confirmed', code };
    }
    if (thrown.hasErrorLabel('RetryableWriteError') || thrown.hasErrorLabel('RetryableError')) {
      return { kind: 'transient', reason: 'it asks to try again' };
    }
    return { kind: 'defect' };
  }
  // What is left of the driver's own errors tells of a pool or a client that is closing, or of a queue that is too long.
  if (thrown instanceof MongoError && lostByDriver.has(thrown.name)) {
    return { kind: 'transient', reason: 'no connection can be had' };
  }
  // Not every failure of a socket is wrapped by the driver.
  if (thrown instanceof Error && 'code' in thrown && socketCodes.test(String(thrown.code))) {
    return { kind: 'transient', reason: 'a connection broke' };
  }
  return { kind: 'defect' };
}

const socketCodes = /^(?:E[A-Z]+|ERR_(?:SSL|TLS|STREAM|SOCKET)_\w+)$/;

const lostByDriver: ReadonlySet<string> = new Set([
  'MongoPoolClearedError',
  'PoolClearedOnNetworkError',
  'MongoWaitQueueTimeoutError',
  'MongoPoolClosedError',
  'MongoServerClosedError',
  'MongoTopologyClosedError',
  'MongoClientClosedError',
  'MongoNotConnectedError',
  'MongoExpiredSessionError',
  'MongoUnexpectedServerResponseError',
]);

/** Refused by the database itself, with its code: a starting server tells from it what a restart can't heal. */
export class Refused extends StoreUnavailable {
  readonly code: number;

  constructor(reason: string, code: number, cause: unknown) {
    super(messageOf(reason), { cause: plainError(cause) });
    this.code = code;
  }
}

function messageOf(reason: string): string {
  return `The MongoDB database can't serve now: ${reason}`;
}

export function unavailable(reason: string, cause?: unknown): StoreUnavailable {
  const options = cause === undefined ? undefined : { cause: plainError(cause) };
  return new StoreUnavailable(messageOf(reason), options);
}

/**
 * An error as it may go into a log: the driver's own ones carry the state of the whole deployment and commands with
 * their values along. What looks like the user and the password of an address is cut out.
 */
export function plainError(thrown: unknown): Error {
  const plain = new Error(withoutSecrets(thrown instanceof Error ? thrown.message : String(thrown)));
  plain.name = thrown instanceof Error ? thrown.name : 'Error';
  if (thrown instanceof MongoServerError && typeof thrown.codeName === 'string') plain.name += ` ${thrown.codeName}`;
  delete plain.stack;
  return plain;
}

function withoutSecrets(message: string): string {
  // A duplicate's message names the values of the key.
  return message
    .replaceAll(/\/\/[^\s/]*@/g, '//***@')
    .replace(/ dup key: .*$/s, '')
    .slice(0, 1_000);
}
