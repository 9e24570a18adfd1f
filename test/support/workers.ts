import { expect } from 'vitest';
import { Command, type CommandOptions, temporaryFolder } from './command.ts';
import { type RawAnswer, RawSocket } from './raw-socket.ts';

/** Two workers over one database. */
export const two = ['--workers=2', '--store.type=sqlite', '--sqlite.path=test.sqlite', '--server.port=0'];
/** What each process logs, once it does. */
export const listening = /^Server listening at /;
/** What the primary logs of a worker that ended. */
export const died = 'a worker ended and will be replaced';
/** And of its successor. */
export const replaced = 'a worker serves in place of another';

/** The command, and where it serves. */
export type Running = { readonly command: Command; readonly url: string; readonly folder: string };

/** Resolves once both workers serve, in a folder of their own. */
export async function serve(more: readonly string[] = [], options: CommandOptions = {}): Promise<Running> {
  const folder = await temporaryFolder();
  return serveIn(folder, more, options);
}

/** The same in a folder that the test has filled. */
export async function serveIn(folder: string, more: readonly string[], options: CommandOptions = {}): Promise<Running> {
  const command = new Command(folder, [...two, ...more], options);
  const url = await command.url();
  await untilListening(command, 2);
  return { command, url, folder };
}

/** The processes that have ever listened, in the order in which they began to. */
export function workersOf(command: Command): number[] {
  return command
    .lines()
    .filter(({ msg }) => listening.test(msg))
    .map(({ pid }) => pid);
}

/** The banner and the log come by different pipes. */
export function untilListening(command: Command, count: number): Promise<number[]> {
  return command.until(() => {
    const pids = workersOf(command);
    return pids.length >= count ? pids : undefined;
  });
}

/** Which process answered: each logs the requests that it served, by their id. */
export async function servedBy({ command }: Running, answer: RawAnswer): Promise<number> {
  const id = answer.headers['x-request-id'];
  return command.until(() => command.logged('request').find(({ reqId }) => reqId === id)?.pid);
}

/** Posts over a connection that stays open. */
export async function ask(socket: RawSocket, body: object, path = '/v1/responses'): Promise<RawAnswer> {
  const lines = ['host: localhost', 'content-type: application/json'];
  socket.send(`POST ${path} HTTP/1.1`, lines, JSON.stringify(body));
  return socket.answer();
}

/** Asks over a connection that stays open. */
export async function get(socket: RawSocket, path: string): Promise<RawAnswer> {
  socket.send(`GET ${path} HTTP/1.1`, ['host: localhost']);
  return socket.answer();
}

/** Never a signal to whatever `undefined` would stand for. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('there is none');
  return value;
}

/** A connection to each of two workers, by their pid. */
export async function oneEach(running: Running): Promise<Map<number, RawSocket>> {
  const found = new Map<number, RawSocket>();
  // They take turns, unless one is slow to take a connection.
  for (let attempts = 0; found.size < 2 && attempts < 50; attempts += 1) {
    const socket = await RawSocket.open(running.url);
    found.set(await servedBy(running, await get(socket, '/healthz')), socket);
  }
  expect(found.size).toBe(2);
  return found;
}
