import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { createDispatcher } from '../../src/models/http-client.ts';
import { profileFor, profiles } from '../../src/models/profiles.ts';
import { modelCall, run, textOf } from '../contracts/model.ts';
import { answerText, hang } from '../support/upstream.ts';
import { scene, upstreamConfig } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'open-responses-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('a proxy', () => {
  test('is used where configured, and not for the hosts that are excepted', async () => {
    await using proxy = await scene(answerText('by proxy'));
    const httpProxy = new URL(proxy.upstream.url).origin;
    await using it = await scene(answerText('direct'), { upstream: { httpProxy } });
    const proxied = run(it.model, modelCall());
    await proxied.ended;
    expect(textOf(proxied.events)).toBe('by proxy');
    expect(proxy.upstream.requests[0]?.path).toBe(`${it.upstream.url}/chat/completions`);
    await using excepted = await scene(answerText('direct'), { upstream: { httpProxy, noProxy: '127.0.0.1' } });
    const direct = run(excepted.model, modelCall());
    await direct.ended;
    expect(textOf(direct.events)).toBe('direct');
  });

  test('of the environment is not used', async () => {
    await using proxy = await scene(hang);
    const address = new URL(proxy.upstream.url).origin;
    for (const name of ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY']) vi.stubEnv(name, address);
    try {
      await using none = await scene(answerText('direct'));
      await using other = await scene(answerText('direct'), {
        upstream: { httpsProxy: address, noProxy: '127.0.0.1' },
      });
      for (const { model } of [none, other]) {
        const { events, ended } = run(model, modelCall());
        await ended;
        expect(textOf(events)).toBe('direct');
      }
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test('that asks for a password fails the call, and says nothing of the address', async () => {
    await using proxy = await scene((reply) => reply.json({}, 407));
    await using it = await scene(hang, { upstream: { httpProxy: new URL(proxy.upstream.url).origin } });
    const end = await run(it.model, modelCall()).ended;
    expect(end).toMatchObject({ reason: 'error' });
    expect(JSON.stringify(end)).not.toContain('127.0.0.1');
  });
});

describe('a file of certificates', () => {
  test('is read at the start', async () => {
    const caFile = join(folder, 'ca.pem');
    writeFileSync(caFile, rootCertificates[0] ?? '');
    await createDispatcher({ ...upstreamConfig, caFile }).close();
  });
  test('must exist and hold one', () => {
    const caFile = join(folder, 'empty.pem');
    writeFileSync(caFile, 'nothing');
    expect(() => createDispatcher({ ...upstreamConfig, caFile })).toThrow(/holds no PEM certificate/);
    expect(() => createDispatcher({ ...upstreamConfig, caFile: join(folder, 'none.pem') })).toThrow(/ENOENT/);
  });
});

test("a provider's profile is the one it names, else its own, else generic", () => {
  const found = [
    { name: 'mine', profile: 'openai' },
    { name: 'ollama', profile: undefined },
    { name: 'mine', profile: undefined },
    { name: 'mine', profile: 'nobody' },
  ].map((provider) => profileFor(provider)?.name);
  expect(found).toEqual(['openai', 'ollama', 'generic', undefined]);
  expect(profiles.has('generic')).toBe(true);
});
