import { describe, expect, it } from 'vitest';
import { cwd, failure, load, refusal, type Sources } from './load.ts';

describe('precedence', () => {
  const flags = ['--server.port=1'];
  const env = { OPEN_RESPONSES_SERVER_PORT: '2' };
  const properties = 'open-responses.server.port=3';

  it.each<[string, Sources, number]>([
    ['a flag', { flags, env, properties }, 1],
    ['the environment', { env, properties }, 2],
    ['the file', { properties }, 3],
    ['the default', {}, 8080],
    ['not an empty variable', { env: { OPEN_RESPONSES_SERVER_PORT: '' }, properties }, 3],
  ])('%s wins', (_, sources, port) => {
    expect(load(sources).server.port).toBe(port);
  });

  it('is decided setting by setting', () => {
    const config = load({
      flags: ['--store.type=sqlite'],
      env: { OPEN_RESPONSES_STORE_TYPE: 'in-memory', OPEN_RESPONSES_SQLITE_PATH: 'env.sqlite' },
      properties: 'open-responses.sqlite.path=file.sqlite\nopen-responses.sqlite.synchronous=normal',
    });
    expect(config.store.type).toBe('sqlite');
    expect(config.sqlite).toEqual({ path: 'env.sqlite', synchronous: 'normal' });
  });

  it('lets a switch be turned back off', () => {
    const env = { OPEN_RESPONSES_STORE_DEFAULT: 'true', OPEN_RESPONSES_DEMO_ENABLED: 'true' };
    const config = load({ flags: ['--no-store.default', '--demo.enabled=auto'], env });
    expect(config.store.default).toBe(false);
    expect(config.demo.enabled).toBeUndefined();
  });

  it('checks what is overridden too', () => {
    expect(refusal({ flags, env, properties: 'open-responses.server.port=x' })).toContain(
      'open-responses.properties:1',
    );
  });

  it('takes --config instead of the file in the working directory', () => {
    const files = { 'etc/other.properties': 'open-responses.server.port=5', '/abs.properties': '' };
    expect(load({ flags: ['--config', 'etc/other.properties'], properties, files }).server.port).toBe(5);
    expect(load({ flags: ['--config=/abs.properties'], properties, files }).server.port).toBe(8080);
  });
});

describe('flags', () => {
  it.each<[string, readonly string[], boolean]>([
    ['alone', ['--store.default'], true],
    ['before another', ['--store.default', '--server.port=1'], true],
    ['with =', ['--store.default=false'], false],
    ['with a value', ['--store.default', 'false'], false],
    ['negated', ['--no-store.default'], false],
    ['after --', ['--', '--store.default'], true],
  ])('a switch: %s', (_, flags, value) => {
    expect(load({ flags }).store.default).toBe(value);
  });

  it('takes names with dots, colons, slashes and stars', () => {
    const flags = ['--models.gpt-4.1', 'ollama/a', '--models.llama3:8b=ollama/llama3:8b', '--models.x/*=ollama/b'];
    expect(load({ flags }).models).toEqual([
      { alias: 'gpt-4.1', targets: ['ollama/a'] },
      { alias: 'llama3:8b', targets: ['ollama/llama3:8b'] },
      { alias: 'x/*', targets: ['ollama/b'] },
    ]);
  });

  it.each<[readonly string[], string]>([
    [['--server.port'], '--server.port (flag) needs a value'],
    [['--server.port', '--store.default'], '--server.port (flag) needs a value'],
    [['--server.port=1', '--server.port=2'], '--server.port (flag) is given twice'],
    [['--stream.done', '--no-stream.done'], '--no-stream.done (flag) and --stream.done (flag) contradict'],
    [['--no-server.port'], '--no-server.port (flag) is unknown: --server.port is not a switch'],
    [['--no-stream.done=true'], '--no-stream.done (flag) takes no value'],
    [['--config'], '--config (flag) needs the path of a file'],
    [['--config='], '--config (flag) needs the path of a file'],
    [['--config', 'a', '--config', 'b'], '--config (flag) is given twice'],
    [['--config', 'missing.properties'], 'missing.properties (--config) does not exist'],
    [['start'], 'Unknown command start: there are serve, migrate and store stats'],
    [['--server.port=1', 'start'], 'Unexpected argument start'],
    [['--store.default', 'maybe'], '--store.default (flag) is "maybe": it must be true or false'],
    [['-p', '80'], '-p (flag) is unknown'],
    [['--'.concat('x'.repeat(9))], '(flag) is unknown. open-responses --help lists'],
    [['--=1'], '-- (flag) is unknown'],
  ])('%j is refused', (flags, message) => {
    expect(refusal({ flags })).toContain(message);
  });
});

describe('unknown keys', () => {
  it.each<[string, Sources, string]>([
    ['file', { properties: 'open-responses.server.prot=1' }, 'open-responses.server.port'],
    ['file', { properties: '\nopen-responses.port=1' }, 'open-responses.server.port'],
    ['file', { properties: 'server.port=1' }, 'open-responses.server.port'],
    [
      'file',
      { properties: 'open-responses.providers.my-vllm.baseurl=http://a' },
      'open-responses.providers.my-vllm.base-url',
    ],
    ['variable', { env: { OPEN_RESPONSES_SERVER_PROT: '1' } }, 'OPEN_RESPONSES_SERVER_PORT'],
    ['variable', { env: { OPEN_RESPONSES_PORT: '8080' } }, 'OPEN_RESPONSES_SERVER_PORT'],
    ['variable', { env: { OPEN_RESPONSES_STORE: '' } }, 'OPEN_RESPONSES_STORE_TYPE'],
    [
      'variable',
      { env: { OPEN_RESPONSES_PROVIDERS_MY_VLLM_BASEURL: 'http://a' } },
      'OPEN_RESPONSES_PROVIDERS_MY_VLLM_BASE_URL',
    ],
    ['flag', { flags: ['--server.prot=1'] }, '--server.port'],
    ['flag', { flags: ['--port', '1'] }, '--server.port'],
    ['flag', { flags: ['-port', '1'] }, '--server.port'],
    ['flag', { flags: ['--no-stream.don'] }, '--stream.done'],
    ['flag', { flags: ['--confg', 'x'] }, '--config'],
    ['flag', { flags: ['--base-url=http://a'] }, '--providers.NAME.base-url'],
    ['flag', { flags: ['--providers.ollama.baseurl=http://a'] }, '--providers.ollama.base-url'],
  ])('%s %j suggests %s', (_, sources, suggestion) => {
    const message = refusal(sources);
    const [name = ''] = [
      ...Object.keys(sources.env ?? {}),
      ...(sources.flags ?? []).map((each) => each.split('=')[0]),
      sources.properties?.trim().split('=')[0],
    ];
    expect(message.startsWith(`${name} (`)).toBe(true);
    expect(message.endsWith(`Did you mean ${suggestion}?`), message).toBe(true);
  });

  it.each<[Sources, string]>([
    [{ properties: '\n\nopen-responses.zzz.qqq=1' }, 'open-responses.zzz.qqq (open-responses.properties:3) is unknown'],
    [{ env: { OPEN_RESPONSES_QQQ: '1' } }, 'OPEN_RESPONSES_QQQ (environment variable) is unknown'],
    [{ env: { OPEN_RESPONSES_: '1' } }, 'OPEN_RESPONSES_ (environment variable) is unknown'],
    [{ flags: ['--zzz.qqq'] }, '--zzz.qqq (flag) is unknown'],
    [{ properties: 'open-responses.toString=1' }, 'open-responses.toString (open-responses.properties:1) is unknown'],
    [{ properties: 'open-responses.__proto__=1' }, 'open-responses.__proto__ (open-responses.properties:1) is unknown'],
  ])('%j are named without a guess', (sources, message) => {
    expect(refusal(sources)).toContain(message);
    expect(refusal(sources)).not.toContain('Did you mean');
  });

  it('leaves other variables alone', () => {
    expect(load({ env: { PATH: '/bin', OPENAI_ORG: 'x', OPEN_RESPONSESX: '1', open_responses_x: '1' } })).toEqual(
      load(),
    );
  });

  it('passes over what Kubernetes adds for a service of this name', () => {
    const env = {
      OPEN_RESPONSES_PORT: 'tcp://10.0.0.1:8080',
      OPEN_RESPONSES_SERVICE_HOST: '10.0.0.1',
      OPEN_RESPONSES_SERVICE_PORT: '8080',
      OPEN_RESPONSES_SERVICE_PORT_HTTP: '8080',
      OPEN_RESPONSES_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
      OPEN_RESPONSES_PORT_8080_TCP_PROTO: 'tcp',
      OPEN_RESPONSES_PORT_8080_TCP_PORT: '8080',
      OPEN_RESPONSES_PORT_8080_TCP_ADDR: '10.0.0.1',
      OPEN_RESPONSES_DB_PORT: 'tcp://10.0.0.2:5432',
      OPEN_RESPONSES_DB_SERVICE_HOST: '10.0.0.2',
    };
    expect(load({ env })).toEqual(load());
    expect(load({ env: { ...env, OPEN_RESPONSES_SERVER_PORT: '9' } }).server.port).toBe(9);
    expect(refusal({ env: { OPEN_RESPONSES_SERVICE_HOST: '10.0.0.1' } })).toContain('is unknown');
    expect(refusal({ env: { ...env, OPEN_RESPONSES_SERVICE_HOSTS: '10.0.0.1' } })).toContain('is unknown');
  });
});

describe('the properties file', () => {
  it('may be missing, but not be unreadable', () => {
    expect(load({})).toEqual(load({ properties: '' }));
    const refused = (code: string) => refusal({ files: { 'open-responses.properties': failure(code) } });
    expect(refused('EACCES')).toBe('open-responses.properties may not be read by this user.');
    expect(refused('EISDIR')).toBe('open-responses.properties is a folder.');
    expect(refused('EIO')).toBe("open-responses.properties can't be read (EIO).");
  });

  it('names the file that --config named', () => {
    const flags = ['--config', 'etc/x.properties'];
    expect(refusal({ flags, files: { 'etc/x.properties': 'open-responses.server.port=x' } })).toContain(
      'open-responses.server.port (etc/x.properties:1) is "x"',
    );
    expect(cwd).not.toBe('etc');
  });
});
