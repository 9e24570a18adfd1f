import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { banner } from '../../src/banner.ts';
import { helpText } from '../../src/help.ts';
import { allSettings, environmentName, flagName, propertyName } from '../../src/settings.ts';
import { configurationPage } from '../../tools/docs.ts';
import { load } from './load.ts';

describe('docs/configuration.md', () => {
  const page = configurationPage();

  it('is what `npm run docs` makes of the table', () => {
    expect(readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')).toBe(page);
  });

  it('has every setting once, in its three spellings', () => {
    for (const [key] of allSettings()) {
      const row = `| \`${propertyName(key)}\` | \`${environmentName(key)}\` | \`${flagName(key)}\` |`;
      expect(page.split(row).length - 1, key).toBe(1);
    }
  });

  it('has an example that loads', () => {
    const example = /```properties\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
    const config = load({ properties: example, files: { '/run/secrets/vllm-key': 'k' } });
    expect(config.providers.get('my-vllm')?.apiKey).toBe('k');
    expect(config.models.map((each) => each.alias)).toEqual(['gpt-4o', 'gpt-*']);
    expect(config.store).toMatchObject({ type: 'sqlite', default: true });
  });
});

describe('--help', () => {
  it('lists every flag, in lines that fit', () => {
    const text = helpText();
    for (const [key] of allSettings())
      expect(text).toMatch(new RegExp(`^  ${flagName(key).replaceAll('.', '\\.')}[ [=]`, 'm'));
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });
});

describe('banner', () => {
  const show = (flags: readonly string[], models: readonly string[] = ['demo/echo', 'ollama/*']) =>
    banner({ version: '1.2.3', url: 'http://127.0.0.1:8080', config: load({ flags }), models });

  it.each<[string, readonly string[], readonly string[], readonly string[]]>([
    [
      'as it comes',
      [],
      ['http://127.0.0.1:8080/v1\n', 'gone when the server stops', 'is not stored, unless', 'ollama/*', '1.2.3'],
      ['as at OpenAI', 'callers need'],
    ],
    [
      'with sqlite',
      ['--store.type=sqlite', '--sqlite.path=data/x.sqlite'],
      ['sqlite: durable, in data/x.sqlite'],
      ['gone when', 'power cut'],
    ],
    ['with a faster sqlite', ['--store.type=sqlite', '--sqlite.synchronous=normal'], ['power cut'], ['gone when']],
    ["with OpenAI's rule", ['--store.default'], ['is stored, as at OpenAI'], ['is not stored']],
    ['beyond loopback', ['--server.host=0.0.0.0'], ['callers need the key of a provider'], ['none needed']],
    ['on loopback', [], ['none needed: everybody on this machine'], ['callers need']],
    [
      'for everybody',
      ['--server.host=::', '--auth.mode=none'],
      ['everybody who reaches this server'],
      ['callers need'],
    ],
    ['never with a secret', ['--providers.x.api-key=sk-Secret'], ['Models'], ['sk-Secret']],
  ])('%s', (_, flags, present, absent) => {
    const text = show(flags);
    for (const each of present) expect(text).toContain(each);
    for (const each of absent) expect(text).not.toContain(each);
  });

  it('says so when nothing can be called', () => {
    expect(show([], [])).toContain('none: set open-responses.providers.NAME.base-url');
  });

  it('takes an address with /v1 too', () => {
    const text = banner({ version: '1', url: 'http://[::1]:1/v1/', config: load(), models: [] });
    expect(text).toContain('http://[::1]:1/v1\n');
    expect(text).not.toContain('/v1/v1');
  });
});
