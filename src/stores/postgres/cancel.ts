import { Client, type ClientConfig, type Connection } from 'pg';

/** Names a connection to the server that serves it, and proves that it is ours. */
export type CancelKey = { readonly processID: number; readonly secretKey: number };

/** `pg` has all that a cancel request needs, and declares little of it. */
type Wire = {
  readonly host: string;
  readonly port: number;
  readonly ssl: unknown;
  readonly sslNegotiation: string;
  readonly connection: Connection & {
    connect(portOrPath: number | string, host?: string): void;
    requestSsl(): void;
    cancel(processID: number, secretKey: number): void;
  };
};

/**
 * Asks for the end of the statement that runs on a connection, on a connection of its own: no login, no place among
 * those of `max_connections`. There is no answer. Resolves when the server has closed it, which it does when the statement
 * was told, or when the time is over. A server or pooler that does not know the key does nothing.
 */
export function requestCancel(config: ClientConfig, key: CancelKey, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const wire = wireTo(config);
    if (wire === undefined) return resolve();
    const { connection, host, port } = wire;
    const timer = setTimeout(() => over(), timeoutMs);
    const over = (): void => {
      clearTimeout(timer);
      connection.stream.destroy();
      resolve();
    };
    const isEncrypted = Boolean(wire.ssl);
    const send = (): void => connection.cancel(key.processID, key.secretKey);
    connection.on('error', over);
    connection.on('end', over);
    connection.on('connect', () => {
      if (!isEncrypted) send();
      else if (wire.sslNegotiation !== 'direct') connection.requestSsl();
    });
    connection.on('sslconnect', send);
    if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`);
    else connection.connect(port, host);
  });
}

/** Undefined where a file that the address names can't be read any more. */
function wireTo(config: ClientConfig): Wire | undefined {
  try {
    return new Client(config) as unknown as Wire;
  } catch {
    return undefined;
  }
}
