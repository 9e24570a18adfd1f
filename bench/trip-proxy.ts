import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands between a store and its database, and counts how often the store has to wait for an answer. */
export type TripProxy = { readonly port: number; count(): number; close(): Promise<void> };

/**
 * A round trip begins with bytes to the database that come after bytes from it, on whichever connection. What is sent
 * together is one, and so is an answer in many pieces.
 */
export async function startTripProxy(target: { readonly host: string; readonly port: number }): Promise<TripProxy> {
  let trips = 0;
  let isAsking = false;
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const database = connect({ ...target, host: target.host.replace(/^\[|\]$/g, ''), noDelay: true });
    for (const [socket, other] of [
      [client, database],
      [database, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', () => {
      if (!isAsking) trips += 1;
      isAsking = true;
    });
    database.on('data', () => {
      isAsking = false;
    });
    client.pipe(database);
    database.pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    count: () => trips,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
