/**
 * What any answer costs in Node: a plain node:http server that gives the same JSON to whatever it is asked. It takes a
 * body to its end where there is one, and looks at nothing. Usage: hello.ts JSON
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const text = process.argv[2] ?? '';
const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };

function answer(response: ServerResponse): void {
  response.writeHead(200, headers);
  response.end(text);
}

const server = createServer((request, response) => {
  if (request.headers['content-length'] === undefined) {
    answer(response);
    return;
  }
  request.on('data', () => {});
  request.on('end', () => answer(response));
});

process.on('disconnect', () => process.exit(0));
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
