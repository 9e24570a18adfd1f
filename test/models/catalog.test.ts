import { describe, expect, it } from 'vitest';
import type { ModelAlias } from '../../src/config.ts';
import type { ResolvedModel } from '../../src/model.ts';
import { Catalog } from '../../src/models/catalog.ts';
import type { Provider } from '../../src/models/providers.ts';

function provider(name: string, parts: Partial<Provider> = {}): Provider {
  return { name, isConfigured: false, hostsOthers: false, hasOwnKey: false, model: {}, ...parts } as Provider;
}

const configured = { isConfigured: true } as const;
const asker = { provider: undefined, credential: 'client-key', via: [] };

function catalog(providers: readonly Provider[], defaultProvider: string, aliases: readonly ModelAlias[] = []) {
  const named = new Map(providers.map((each) => [each.name, each]));
  return new Catalog({ providers: named, defaultProvider, aliases, demo: undefined, now: Date.now });
}

/** Who is asked, in turn: provider, model, and whether the caller's key goes there. */
function chain(resolved: ResolvedModel | undefined): string[] {
  if (resolved === undefined) return [];
  const { provider, upstreamName, takesCredential, fallback } = resolved;
  return [`${provider} ${upstreamName}${takesCredential ? ' with the key' : ''}`, ...chain(fallback)];
}

describe('a name like vendor/model', () => {
  const host = provider('openrouter', { hostsOthers: true });
  it.each<[string, readonly Provider[], string, string, string]>([
    [
      'is the vendor’s where the default has none of such names',
      [provider('openai'), provider('mistral')],
      'openai',
      'mistral/m',
      'mistral m',
    ],
    [
      'stays with a default that hosts others',
      [host, provider('mistral')],
      'openrouter',
      'mistral/m',
      'openrouter mistral/m',
    ],
    [
      'is the vendor’s where that is configured',
      [host, provider('mistral', configured)],
      'openrouter',
      'mistral/m',
      'mistral m',
    ],
    [
      'is the default’s own, named in full',
      [host, provider('mistral')],
      'openrouter',
      'openrouter/a/b',
      'openrouter a/b',
    ],
    ['is always the vendor’s with @', [host, provider('mistral')], 'openrouter', 'mistral@m', 'mistral m'],
    ['is the default’s where there is no such vendor', [host], 'openrouter', 'x/y', 'openrouter x/y'],
  ])('%s', (_what, providers, defaultProvider, name, expected) => {
    const resolved = catalog(providers, defaultProvider).resolve(name, asker);
    expect(chain(resolved)).toEqual([`${expected} with the key`]);
  });
});

describe('an alias of several models', () => {
  const a = provider('a');
  const b = provider('b', configured);
  const c = provider('c', { ...configured, hasOwnKey: true });

  it('names them in turn, and the caller’s key goes to the first alone', () => {
    const aliases = [{ alias: 'best', targets: ['a/1', 'b/2', 'c/x/3'] }];
    expect(chain(catalog([a, b, c], 'a', aliases).resolve('best', asker))).toEqual([
      'a 1 with the key',
      'b 2',
      'c x/3',
    ]);
  });

  it('hands what a * stood for to each of them', () => {
    const aliases = [{ alias: 'gpt-*', targets: ['b/oss-*', 'c/*'] }];
    expect(chain(catalog([a, b, c], 'a', aliases).resolve('gpt-5', asker))).toEqual(['b oss-5 with the key', 'c 5']);
  });

  it('is refused where a later one has no key but the caller’s', () => {
    expect(() => catalog([a, b], 'b', [{ alias: 'best', targets: ['b/1', 'a/2'] }])).toThrow(
      /best: 'a\/2' is asked after another model.*providers\.a\.api-key/,
    );
  });

  it('is refused where one names nobody', () => {
    expect(() => catalog([a], 'a', [{ alias: 'best', targets: ['a/1', 'x/2'] }])).toThrow(/'x\/2' names no provider/);
  });

  it('needs the caller’s key where the first one does', () => {
    const list = catalog([a, b, c], 'b', [{ alias: 'best', targets: ['a/1', 'b/2'] }]);
    expect(() => list.resolve('best', { ...asker, credential: undefined })).toThrow();
  });

  it('is told in the order in which they are asked', () => {
    expect(catalog([a, b, c], 'a', [{ alias: 'best', targets: ['b/1', 'c/2'] }]).describe()).toContain(
      'best: b/1, else c/2',
    );
  });
});

describe('what can be called, for the operator', () => {
  it.each([
    [false, '/'],
    [true, '@'],
  ])('names vendors that nobody configured in one line (the default hosts others: %s)', (hostsOthers, separator) => {
    const providers = [
      provider('main', { ...configured, hostsOthers, baseUrl: 'http://m' }),
      provider('x'),
      provider('y'),
    ];
    const lines = catalog(providers, 'main').describe();
    expect(lines).toEqual([
      "any other name, and main/MODEL: http://m, with the client's own key",
      `NAME${separator}MODEL, with the client's own key, where NAME is: x, y`,
    ]);
  });
});
