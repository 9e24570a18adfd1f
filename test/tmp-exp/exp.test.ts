import { gzipSync } from 'node:zlib';
import { it } from 'vitest';
import { serve, start } from '../support/harness.ts';
import { RawSocket } from '../support/raw-socket.ts';

it('a 413', async () => {
  const server = await serve({ 'http.max-body': '1MiB' });
  for (let i = 0; i < 10; i++) {
    try {
      const a = await server.post('/v1/responses', { model: 'demo', input: 'x'.repeat(30 * 1024 * 1024) });
      console.log('413?', a.status, a.headers.get('connection'));
    } catch (e) { console.log('413 failed', (e as any).cause); }
    try {
      const stream = new ReadableStream({ async start(c) { for (let j = 0; j < 200; j++) c.enqueue(new Uint8Array(100_000)); c.close(); } });
      const a = await fetch(`${server.url}/v1/responses`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: stream, duplex: 'half' } as any);
      console.log('413 chunked?', a.status, (await a.text()).slice(0, 50));
    } catch (e) { console.log('413 chunked failed', (e as any).cause); }
  }
});
it('b corrupt gzip', async () => {
  const server = await serve();
  const s = await RawSocket.open(server.url);
  const body = gzipSync(Buffer.alloc(20_000_000, 'abc')); 
  const big = Buffer.concat([Buffer.from('garbage'), Buffer.alloc(5_000_000)]);
  s.send('POST /v1/responses HTTP/1.1', ['host: localhost', 'content-type: application/json', 'content-encoding: gzip'], big);
  console.log((await s.answer()).status, body.length);
  s.send('GET /healthz HTTP/1.1', ['host: localhost']);
  const r = await Promise.race([s.answer().then((a) => a.status), new Promise((r) => setTimeout(() => r('STUCK'), 3000))]);
  console.log('second', r);
});
it('b2 text/plain big', async () => {
  const server = await serve();
  const s = await RawSocket.open(server.url);
  const big = Buffer.concat([Buffer.from('garbage'), Buffer.alloc(5_000_000)]);
  s.send('POST /v1/responses HTTP/1.1', ['host: localhost', 'content-type: text/plain'], big);
  console.log((await s.answer()).status);
  s.send('GET /healthz HTTP/1.1', ['host: localhost']);
  const r = await Promise.race([s.answer().then((a) => a.status), new Promise((r) => setTimeout(() => r('STUCK'), 3000))]);
  console.log('second', r);
});
it('c garbage while streaming', async () => {
  const server = await serve({ 'demo.chunk-delay': '30ms' });
  const s = await RawSocket.open(server.url);
  s.send('POST /v1/responses HTTP/1.1', ['host: localhost', 'content-type: application/json'], JSON.stringify({ model: 'demo', input: 'hello', stream: true }));
  await new Promise((r) => setTimeout(r, 100));
  s.write('garbage garbage\r\n\r\n');
  await s.closed;
  console.log(s.rest.slice(-900));
});
it('d timeouts', async () => {
  try { const r = await start({ 'http.body-timeout': '2s' }); console.log('started'); await r.close(); } catch (e) { console.log('crash', e); }
});
it('e no host', async () => {
  const server = await serve();
  for (const line of ['GET /v1/models HTTP/1.1', 'GET /v1/models HTTP/1.0']) {
    const s = await RawSocket.open(server.url);
    s.send(line);
    await s.closed; console.log(JSON.stringify(s.rest));
  }
  const s = await RawSocket.open(server.url);
  s.send('GET /v1/models HTTP/1.1', ['host: localhost', 'expect: foo', 'connection: close']);
  await s.closed; console.log(JSON.stringify(s.rest));
  const t = await RawSocket.open(server.url);
  t.send('GET /v1/responses/' + 'x'.repeat(5000) + ' HTTP/1.1', ['host: localhost', 'connection: close']);
  await t.closed; console.log(JSON.stringify(t.rest).slice(0, 700));
  for (const p of ['/v1/models/', '/v1/responses/%', '/v1/responses/%ff', '/v1/responses/%00', '/v1/responses/a%2Fb', '/v1/responses/', '/v1/responses/a/', '/V1/models', '//v1/models', '/v1//models', '/v1/responses/a;b', '/v1/conversations/a/items/' + 'x'.repeat(600)]) {
    const a = await server.get(p); console.log(p.slice(0, 80), a.status, JSON.stringify(a.body).slice(0, 160), a.headers.get('x-request-id'));
  }
});
