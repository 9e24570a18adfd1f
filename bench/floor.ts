/**
 * The floor: what a proxy in Node costs that understands nothing. node:http in, undici's `dispatch` out, bytes both
 * ways. Each piece that undici hands out is written on at once; nothing is gathered here. Usage: floor.ts ORIGIN
 *
 * Idle clients of one connection each wait in a list: that costs less than undici's own pool, and a floor is to be low.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client, type Dispatcher } from 'undici';

const origin = process.argv[2] ?? '';
const idle: Client[] = [];
const options: Client.Options = { pipelining: 1, allowH2: false, headersTimeout: 0, bodyTimeout: 0 };

/** Sends an answer on as it comes. */
class PassOn implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  readonly #client: Client;

  constructor(response: ServerResponse, client: Client) {
    this.#response = response;
    this.#client = client;
  }

  /** Told apart from handlers of an older kind by having this. */
  onRequestStart(): void {}

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    const passed: Record<string, string | string[]> = {};
    for (const name of ['content-type', 'content-length']) {
      const value = headers[name];
      if (value !== undefined) passed[name] = value;
    }
    this.#response.writeHead(status, passed);
  }

  onResponseData(controller: Dispatcher.DispatchController, bytes: Buffer): void {
    if (this.#response.write(bytes)) return;
    controller.pause();
    this.#response.once('drain', () => controller.resume());
  }

  onResponseEnd(): void {
    idle.push(this.#client);
    this.#response.end();
  }

  onResponseError(): void {
    idle.push(this.#client);
    if (this.#response.headersSent) this.#response.destroy();
    else this.#response.writeHead(502).end();
  }
}

function passOn(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const { authorization, 'content-type': type } = request.headers;
  const headers = ['content-type', type ?? '', 'authorization', authorization ?? ''];
  const path = request.url ?? '/';
  const client = idle.pop() ?? new Client(origin, options);
  client.dispatch({ path, method: 'POST', headers, body }, new PassOn(response, client));
}

const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (piece: Buffer) => parts.push(piece));
  request.on('end', () =>
    passOn(request, response, parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)),
  );
});

process.on('disconnect', () => process.exit(0));
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
