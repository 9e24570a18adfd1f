import type { ServerResponse } from 'node:http';

/**
 * Ends the connection of a client that takes nothing of the rest of its answer for so long. Each part that it takes
 * counts: the socket's own timer begins anew with it.
 */
export function expectReading(raw: ServerResponse, timeoutMs: number): void {
  const { socket } = raw;
  socket?.setTimeout(timeoutMs);
  // First, as Node itself then sets the time that a connection may be idle.
  raw.prependOnceListener('finish', () => socket?.setTimeout(0));
}
