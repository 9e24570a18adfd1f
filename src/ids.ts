import { randomBytes } from 'node:crypto';

/**
 * The prefixes that OpenAI's API gives to what it names (docs/wire.md §5), and ours for threads. Those of hosted tools'
 * outputs are not documented.
 */
export type IdPrefix =
  | 'resp'
  | 'conv'
  | 'msg'
  | 'fc'
  | 'fco'
  | 'ctc'
  | 'ctco'
  | 'call'
  | 'rs'
  | 'req'
  | 'thr'
  | 'run'
  | HostedPrefix;

type HostedPrefix =
  | 'apc'
  | 'apco'
  | 'ci'
  | 'cmp'
  | 'cu'
  | 'cuo'
  | 'fs'
  | 'ig'
  | 'lsh'
  | 'lsho'
  | 'mcp'
  | 'mcpa'
  | 'mcpl'
  | 'mcpr'
  | 'prog'
  | 'progo'
  | 'sh'
  | 'sho'
  | 'ts'
  | 'tso'
  | 'ws';

/** Mints an id. Injected, so that tests can count. */
export type MintId = (prefix: IdPrefix) => string;

const poolBytes = 4096;
const randomPerId = 18;
let pool = Buffer.alloc(0);
let used = 0;
let mintedAtMs = 0;
let timeText = '';

/**
 * An unguessable id: prefix, 12 hex digits of the time in ms, 36 of randomness (144 bits). The time comes first so
 * that neighbours in time are neighbours in a database's index.
 */
export const mintId: MintId = (prefix) => {
  if (used + randomPerId > pool.length) {
    pool = randomBytes(poolBytes);
    used = 0;
  }
  const random = pool.toString('hex', used, used + randomPerId);
  used += randomPerId;
  const nowMs = Date.now();
  if (nowMs !== mintedAtMs) {
    mintedAtMs = nowMs;
    timeText = nowMs.toString(16).padStart(12, '0');
  }
  return `${prefix}_${timeText}${random}`;
};

/** `call_` ids stay within the 64 characters that OpenAI allows for a `call_id` (docs/wire.md §3). */
export const maxCallIdLength = 64;
