import { StoreUnavailable } from '../../store.ts';

/** What the server answered instead of rows. Its own words may hold values, and so are kept out of messages. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  /** The SQLSTATE. */
  readonly code: string;
  /** True where the connection ends with it: what it did to a commit under way is not known. */
  readonly isFatal: boolean;
  /** The server's sentence, for start-up errors, where nobody's data is concerned. */
  readonly sentence: string;
  /** How many statements of its batch had succeeded before. */
  readonly at: number;

  constructor(code: string, isFatal: boolean, sentence: string, where: string, at: number) {
    super(`PostgreSQL refused ${where}: SQLSTATE ${code}`);
    this.code = code;
    this.isFatal = isFatal;
    this.sentence = sentence;
    this.at = at;
  }
}

/** The connection broke. Whether the server did what it was asked is not known where `wasSent`. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
  /** A code of the network's, or `ended`. */
  readonly reason: string;
  readonly wasSent: boolean;

  constructor(reason: string, wasSent: boolean) {
    super(`the connection was lost (${reason})`);
    this.reason = reason;
    this.wasSent = wasSent;
  }
}

const unavailablePrefix = "The PostgreSQL database can't serve now: ";

/** Which failures say that the database can't serve now, by SQLSTATE or the class of it. */
const unavailableCodes: readonly (readonly [start: string, reason: string])[] = [
  ['57014', 'a statement took too long'],
  ['57P03', 'it is starting or stopping'],
  ['57P', 'it is stopping'],
  ['55P03', 'a lock was held for too long'],
  ['40', 'changes kept getting in each other’s way'],
  ['53100', 'the disk is full'],
  ['53200', 'out of memory'],
  ['53300', 'it has too many connections'],
  ['53', 'it is out of resources'],
  ['58', 'reading or writing failed'],
  ['25006', 'it is read-only'],
  ['25P03', 'a transaction was idle for too long'],
  ['26000', 'a prepared statement is gone'],
  ['42501', 'the role lacks a right'],
  ['42P01', 'a table is gone'],
  ['28', 'the login was refused'],
  ['3D000', 'there is no such database'],
  ['08', 'the connection failed'],
  ['XX', 'it failed inside'],
];

/** Undefined where it is no matter of availability, but a defect of ours. */
export function unavailableReason(thrown: unknown): string | undefined {
  if (thrown instanceof StoreUnavailable) return thrown.message.replace(unavailablePrefix, '');
  if (thrown instanceof ConnectionLost) return thrown.message;
  if (!(thrown instanceof Refusal)) return undefined;
  // A pooler says so when it has no connection to give; the server itself, when we broke the protocol.
  if (thrown.code === '08P01' && !thrown.isFatal) return undefined;
  const known = unavailableCodes.find(([start]) => thrown.code.startsWith(start));
  if (known === undefined) return thrown.isFatal ? `SQLSTATE ${thrown.code}` : undefined;
  return `${known[1]} (SQLSTATE ${thrown.code})`;
}

/** What a caller of the store may see of anything that was thrown. */
export function asStoreError(thrown: unknown): unknown {
  const reason = unavailableReason(thrown);
  return reason === undefined ? thrown : unavailable(reason);
}

export function unavailable(reason: string): StoreUnavailable {
  return new StoreUnavailable(`${unavailablePrefix}${reason}`);
}

export function tooSlow(): StoreUnavailable {
  return unavailable('it did not answer in time');
}

/**
 * Whether another try may well succeed: a deadlock, a lock that was held, a change that came between, a statement that
 * the connection forgot. All of them were rolled back.
 */
export function isPassing(thrown: unknown): boolean {
  if (!(thrown instanceof Refusal) || thrown.isFatal) return false;
  return thrown.code.startsWith('40') || ['55P03', '23505', '26000'].includes(thrown.code);
}

/** What the connection broke off may have been done. */
export function isDoubtful(thrown: unknown): boolean {
  return thrown instanceof ConnectionLost ? thrown.wasSent : thrown instanceof Refusal && thrown.isFatal;
}

/** A server that turned read-only was perhaps failed over: a new connection may lead to the one that writes. */
export function spoilsConnection(thrown: unknown): boolean {
  if (thrown instanceof Refusal) return thrown.isFatal || ['25006', '25P02', '26000'].includes(thrown.code);
  return thrown instanceof ConnectionLost;
}
