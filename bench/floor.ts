/**
 * The floor: what a proxy in Node costs that understands nothing. node:http in, undici's `dispatch` out, bytes both
 * ways. Like the server it writes once per turn of the event loop. Usage: floor.ts ORIGIN
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Agent, type Dispatcher } from 'undici';

const origin = process.argv[2] ?? '';
const agent = new Agent({ connections: 1024, pipelining: 1, allowH2: false });

/** Sends an answer on as it comes. */
class PassOn implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  #isCorked = false;

  constructor(response: ServerResponse) {
    this.#response = response;
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
    const response = this.#response;
    if (!this.#isCorked) {
      this.#isCorked = true;
      response.cork();
      setImmediate(() => {
        this.#isCorked = false;
        response.uncork();
        if (!response.writableNeedDrain) return;
        controller.pause();
        response.once('drain', () => controller.resume());
      });
    }
    response.write(bytes);
  }

  onResponseEnd(): void {
    this.#response.end();
  }

  onResponseError(): void {
    if (this.#response.headersSent) this.#response.destroy();
    else this.#response.writeHead(502).end();
  }
}

function passOn(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const { authorization, 'content-type': type } = request.headers;
  const headers = { 'content-type': type ?? '', authorization: authorization ?? '' };
  const path = request.url ?? '/';
  agent.dispatch({ origin, path, method: 'POST', headers, body }, new PassOn(response));
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
