import { Client, type ClientConfig } from 'pg';
import { StoreUnavailable } from '../../store.ts';
import { UnusableDatabase } from '../../store-admin.ts';
import { asStoreError, ConnectionLost, Refusal, unavailable } from './failures.ts';
import { oneLine, type ServerLimits, type SessionSetup } from './session.ts';

export type ConnectOptions = {
  /** As `pg` understands it. With `pgbouncer=true` in its query, nothing is prepared ahead. */
  readonly uri: string;
  readonly timeoutMs: number;
};

const keepAliveAfterMs = 10_000;

/** @throws UnusableDatabase where the URI is none. */
export function sessionSetup({ uri, timeoutMs }: ConnectOptions, ownSettings = plannerSettings): SessionSetup {
  const config: ClientConfig = {
    connectionString: uri,
    application_name: 'open-responses',
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveAfterMs,
  };
  const isPooled = /[?&]pgbouncer=true(?:&|$)/.test(uri);
  // What `pg` takes for an address otherwise would be asked for by a name of its own making.
  if (!/^(?:postgres|postgresql|socket):/.test(uri)) throw badUri();
  try {
    // Nothing connects yet: this only reads the URI and the files that it names.
    new Client(config);
  } catch {
    throw badUri();
  }
  const limits = limitsOf(timeoutMs);
  // Behind a pooler a session is not ours alone: what was set there would meet others, and not always us.
  return { config, canPrepare: !isPooled, limits, settings: isPooled ? '' : settingsOf(limits, ownSettings) };
}

/** What is wrong with it can't be told without showing it, password and all. */
function badUri(): UnusableDatabase {
  return new UnusableDatabase('it is no URI of a PostgreSQL database, or a file that it names can’t be read');
}

/**
 * Every statement of the store is made for an index, and the tables may be empty when it is planned: so plans are not
 * left to what the server believes about their size.
 */
const plannerSettings = `SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
  SET enable_mergejoin = off; SET jit = off;`;

/** For counting everything, which no index helps. */
export const adminSettings = 'SET jit = off;';

function limitsOf(timeoutMs: number): ServerLimits {
  const partMs = (part: number): number => Math.max(1, Math.floor(timeoutMs * part));
  return { statementMs: partMs(0.9), lockMs: partMs(0.5), idleMs: partMs(1) };
}

function settingsOf({ statementMs, lockMs, idleMs }: ServerLimits, ownSettings: string): string {
  return `SET statement_timeout = ${statementMs}; SET lock_timeout = ${lockMs};
  SET idle_in_transaction_session_timeout = ${idleMs};
  SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off;
  SET search_path = pg_catalog; ${ownSettings}
  SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') <> 'remote_apply'`;
}

/** What a restart can't heal, by SQLSTATE. */
const unusableCodes = ['28', '3D000', '42501', '0A000', '42P'];

/** What is to be said about a failure while the store is opened. */
export function openingError(thrown: unknown): unknown {
  if (thrown instanceof StoreUnavailable || thrown instanceof UnusableDatabase) return thrown;
  if (thrown instanceof Refusal) {
    if (unusableCodes.some((code) => thrown.code.startsWith(code))) {
      return new UnusableDatabase(`the server refuses: ${thrown.sentence} (SQLSTATE ${thrown.code})`);
    }
    return unavailable(`${thrown.sentence} (SQLSTATE ${thrown.code})`);
  }
  if (thrown instanceof ConnectionLost) return asStoreError(thrown);
  // What `pg` itself finds: a password that is missing, a certificate that is not trusted, a server without TLS.
  const reason = thrown instanceof Error ? oneLine(thrown.message) : 'an unknown failure';
  return new UnusableDatabase(`the connection can't be made: ${reason}`);
}
