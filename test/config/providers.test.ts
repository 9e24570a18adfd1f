import { describe, expect, it } from 'vitest';
import { failure, load, refusal, type Sources } from './load.ts';

const secret = 'sk-VerySecret123';

describe('providers', () => {
  it('come from every source and are merged field by field', () => {
    const config = load({
      flags: ['--providers.my-vllm.headers=X-Team=a, X-Note="b, c=\\"d\\""'],
      env: {
        OPEN_RESPONSES_PROVIDERS_MY_VLLM_BASE_URL: 'https://VLLM.example/v1///',
        OPEN_RESPONSES_PROVIDERS_MY_VLLM_API: 'responses',
        OPEN_RESPONSES_PROVIDERS_OLLAMA_PROFILE: 'ollama',
      },
      properties: `open-responses.providers.my-vllm.api-key = ${secret}\nopen-responses.providers.my-vllm.base-url=http://x\nopen-responses.providers.my-vllm.store=true`,
    });
    expect(Object.fromEntries(config.providers)).toEqual({
      'my-vllm': {
        name: 'my-vllm',
        profile: undefined,
        api: 'responses',
        baseUrl: 'https://vllm.example/v1',
        apiKey: secret,
        headers: { 'x-team': 'a', 'x-note': 'b, c="d"' },
        store: true,
      },
      ollama: {
        name: 'ollama',
        profile: 'ollama',
        api: undefined,
        baseUrl: undefined,
        apiKey: undefined,
        headers: {},
        store: false,
      },
    });
  });

  it('speak what is known here only', () => {
    expect(refusal({ flags: ['--providers.a.api=completions'] })).toContain(
      '"completions": it must be chat-completions, responses or ai-sdk',
    );
    expect(refusal({ flags: ['--providers.a.store=maybe'] })).toContain('it must be true or false');
  });

  it.each<[Record<string, string>, string, string | undefined, string | undefined]>([
    [{ OPENAI_API_KEY: 'a', OPENAI_BASE_URL: 'http://a/v1' }, '', 'a', 'http://a/v1'],
    [{ OPENAI_API_KEY: 'a', OPEN_RESPONSES_PROVIDERS_OPENAI_API_KEY: 'b' }, '', 'b', undefined],
    [{ OPENAI_API_KEY: 'a' }, 'open-responses.providers.openai.api-key=c', 'a', undefined],
    [{ OPENAI_API_KEY: '' }, 'open-responses.providers.openai.api-key=c', 'c', undefined],
    [{ OPENAI_API_KEY_FILE: 'key' }, '', 'from-file', undefined],
    [{ OPENAI_API_KEY: 'a', OPEN_RESPONSES_PROVIDERS_OPENAI_API_KEY_FILE: 'key' }, '', 'from-file', undefined],
  ])('%j and %j', (env, properties, apiKey, baseUrl) => {
    const openai = load({ env, properties, files: { key: 'from-file\n' } }).providers.get('openai');
    expect(openai).toMatchObject({ apiKey, baseUrl });
  });

  it('has no openai where nothing speaks of it', () => {
    expect(load({ env: { OPENAI_API_KEY: '', OPENAI_BASE_URL: '' } }).providers.size).toBe(0);
  });

  it.each<[Sources, string]>([
    [{ flags: ['--providers.demo.base-url=http://a'] }, 'choose another name than demo'],
    [{ env: { OPEN_RESPONSES_PROVIDERS_DEMO_BASE_URL: 'http://a' } }, 'choose another name than demo'],
    [{ properties: 'open-responses.providers.My.base-url=http://a' }, 'lower-case letters'],
    [{ properties: 'open-responses.providers.a.b.base-url=http://a' }, 'lower-case letters'],
    [{ flags: ['--providers.__proto__.base-url=http://a'] }, 'lower-case letters'],
    [{ env: { OPEN_RESPONSES_PROVIDERS_1X_BASE_URL: 'http://a' } }, 'lower-case letters'],
    [{ env: { OPEN_RESPONSES_PROVIDERS_BASE_URL: 'http://a' } }, 'Did you mean OPEN_RESPONSES_PROVIDERS_NAME_BASE_URL'],
    [{ flags: ['--providers.base-url=http://a'] }, 'Did you mean --providers.NAME.base-url'],
  ])('%j is refused', (sources, message) => {
    expect(refusal(sources)).toContain(message);
  });
});

describe('secrets', () => {
  const missing = { key: failure('ENOENT') };

  it.each<[string, Sources]>([
    ['a flag', { flags: ['--providers.x.api-key-file', 'key'] }],
    ['a variable', { env: { OPEN_RESPONSES_PROVIDERS_X_API_KEY_FILE: 'key' } }],
    ['a property', { properties: 'open-responses.providers.x.api-key-file=/srv/app/key' }],
  ])('are read from a file that %s names', (_, sources) => {
    const files = { key: `\ufeff  ${secret}\r\n\n` };
    expect(load({ ...sources, files }).providers.get('x')?.apiKey).toBe(secret);
    expect(refusal({ ...sources, files: { key: ' \n' } })).toMatch(/names a file that is empty: ".*key"/);
    expect(refusal({ ...sources, files: missing })).toMatch(/names a file that does not exist: ".*key"/);
    const twoLines = refusal({ ...sources, files: { key: `${secret}\n${secret}` } });
    expect(twoLines).toContain('a key of printable ASCII characters without spaces');
    expect(twoLines).not.toContain(secret);
  });

  it('may be headers, a line each', () => {
    const env = { OPEN_RESPONSES_PROVIDERS_X_HEADERS_FILE: 'h' };
    const headers = load({ env, files: { h: 'X-A=1\r\nX-B = two words , X-C="3"\n\nX-D=a=b\n' } }).providers.get(
      'x',
    )?.headers;
    expect(headers).toEqual({ 'x-a': '1', 'x-b': 'two words', 'x-c': '3', 'x-d': 'a=b' });
  });

  it('of a stronger source win over files of a weaker one, and files over values', () => {
    const files = { key: 'from-file' };
    const property = 'open-responses.providers.x.api-key';
    const env = { OPEN_RESPONSES_PROVIDERS_X_API_KEY: 'from-env' };
    expect(load({ env, properties: `${property}-file=key`, files }).providers.get('x')?.apiKey).toBe('from-env');
    const flags = ['--providers.x.api-key-file=key'];
    expect(load({ flags, env, files }).providers.get('x')?.apiKey).toBe('from-file');
  });

  it.each<[string, Sources]>([
    ['flags', { flags: [`--providers.x.api-key=${secret}`, '--providers.x.api-key-file=key'] }],
    [
      'variables',
      { env: { OPEN_RESPONSES_PROVIDERS_X_API_KEY_FILE: 'key', OPEN_RESPONSES_PROVIDERS_X_API_KEY: secret } },
    ],
    ['other variables', { env: { OPENAI_API_KEY: secret, OPENAI_API_KEY_FILE: 'key' } }],
    [
      'properties',
      { properties: `open-responses.providers.x.headers=A=${secret}\nopen-responses.providers.x.headers-file=key` },
    ],
  ])('are not given twice by %s', (_, sources) => {
    const message = refusal({ ...sources, files: { key: secret } });
    expect(message).toContain('are both set. Remove one.');
    expect(message).not.toContain(secret);
  });

  it.each<[Sources]>([
    [{ flags: [`--providers.x.api-key=${secret} ${secret}`] }],
    [{ flags: [`--providers.x.apikey=${secret}`] }],
    [{ flags: ['--providers.x.apikey', secret] }],
    [{ flags: ['--providers.x.api-key=', secret] }],
    [{ flags: ['--providers.x.base-url=http://a', secret] }],
    [{ flags: [secret] }],
    [{ flags: [`--providers.x.api-key=${secret}`, `--providers.x.api-key=${secret}`] }],
    [{ flags: [`--providers.x.headers=Authorization ${secret}`] }],
    [{ flags: [`--providers.x.headers=A=${secret},a=${secret}`] }],
    [{ flags: [`--providers.x.headers=Host=${secret}`] }],
    [{ flags: [`--providers.x.headers=A="${secret}`] }],
    [{ env: { OPEN_RESPONSES_PROVIDERS_X_API_KEY: `${secret}\u0001` } }],
    [{ env: { OPEN_RESPONSES_PROVIDERS_X_APIKEY: secret } }],
    [{ env: { OPENAI_API_KEY: `${secret}ü` } }],
    [{ env: { OPENAI_BASE_URL: `https://me:${secret}@a.example/v1` } }],
    [{ env: { OPENAI_BASE_URL: `https://a.example/v1?key=${secret}` } }],
    [{ env: { OPENAI_BASE_URL: `https://a.example/v1#${secret}` } }],
    [{ env: { OPENAI_BASE_URL: `me:${secret}@a.example/v1` } }],
    [{ env: { HTTPS_PROXY: `socks5://me:${secret}@proxy:1080` } }],
    [{ properties: `open-responses.providers.x.api-key ${secret}` }],
    [{ properties: `open-responses.providers.x.api-key \\\n${secret}` }],
    [{ properties: `${secret}==` }],
    [{ properties: `open-responses.providers.x.api-key=${secret}\\q` }],
    [{ properties: `open-responses.providers.x.api-key=${secret}\nopen-responses.providers.x.api-key=${secret}` }],
  ])('never appear: %j', (sources) => {
    expect(refusal(sources)).not.toContain('VerySecret');
  });
});

describe('aliases', () => {
  it('are written in lower case with - in the environment', () => {
    const env = { OPEN_RESPONSES_MODELS_GPT_4O: 'ollama/llama3.2' };
    expect(load({ env }).models).toEqual([{ alias: 'gpt-4o', targets: ['ollama/llama3.2'] }]);
    expect(refusal({ env: { OPEN_RESPONSES_MODELS_: 'a/b' } })).toContain('has an alias that is empty');
  });

  it('of stronger sources come first and replace those of the same name', () => {
    const config = load({
      flags: ['--models.b=flag/1'],
      env: { OPEN_RESPONSES_MODELS: 'gpt-*=env/1,a=env/2' },
      properties: 'open-responses.models.a=file/1\nopen-responses.models.b=file/2\nopen-responses.models.*=file/3',
    });
    expect(config.models.map(({ alias, targets }) => `${alias}=${targets.join()}`)).toEqual([
      'b=flag/1',
      'gpt-*=env/1',
      'a=env/2',
      '*=file/3',
    ]);
  });

  it('are not set twice in one source', () => {
    const env = { OPEN_RESPONSES_MODELS: 'gpt-4o=a/b', OPEN_RESPONSES_MODELS_GPT_4O: 'a/c' };
    expect(refusal({ env })).toContain('both set the alias gpt-4o');
  });
});

describe('proxies', () => {
  it.each<[Record<string, string>, object]>([
    [
      { HTTPS_PROXY: 'http://p:1', HTTP_PROXY: 'http://q:2', NO_PROXY: 'localhost,.example' },
      { httpsProxy: 'http://p:1/', httpProxy: 'http://q:2/', noProxy: 'localhost,.example' },
    ],
    [{ https_proxy: 'http://low:1', HTTPS_PROXY: 'http://up:1' }, { httpsProxy: 'http://low:1/' }],
    [{ https_proxy: '', HTTPS_PROXY: 'http://up:1' }, { httpsProxy: 'http://up:1/' }],
    [{ HTTP_PROXY: 'proxy.example:3128' }, { httpProxy: 'http://proxy.example:3128/' }],
    [{ HTTP_PROXY: 'http://me:pw@proxy.example:3128' }, { httpProxy: 'http://me:pw@proxy.example:3128/' }],
    [
      { HTTP_PROXY: '', NO_PROXY: '' },
      { httpProxy: undefined, noProxy: undefined },
    ],
  ])('%j', (env, expected) => {
    expect(load({ env }).upstream).toMatchObject(expected);
  });

  it('are refused by name when they are no http proxies', () => {
    expect(refusal({ env: { HTTPS_PROXY: 'socks5://p:1' } })).toBe(
      "HTTPS_PROXY (environment variable) has a value that it can't have: it must be an http or https address.",
    );
  });
});
