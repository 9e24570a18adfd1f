import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { lookOver } from '../../src/http/json-bounds.ts';
import { parseJson } from '../../src/parse-json.ts';
import { storeTypes } from '../support/harness.ts';
import { hasEscapedName, type Node, nodes, textOfNode, trapFor, valueOfNode } from '../support/json-texts.ts';
import { bearer } from '../support/open-server.ts';
import { serveScripted } from '../support/scripted-server.ts';

/** As a body is read. */
function parseBytes(text: string): unknown {
  const { excess, hasEscapedNames } = lookOver(Buffer.from(text));
  expect(excess).toBeUndefined();
  return parseJson(text, hasEscapedNames);
}

/** Values in their order, with every name. Plain `JSON.parse` may not be asked. */
function described(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(described);
  if (typeof value !== 'object' || value === null) return value;
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  for (const property of Object.values(Object.getOwnPropertyDescriptors(value))) {
    expect(property).toMatchObject({ configurable: true, enumerable: true, writable: true });
  }
  return { entries: Object.entries(value).map(([name, each]) => [name, described(each)]) };
}

/** Parses a text that leaves every name in its place for which V8 could mistake one of this text. */
function setTraps(node: Node): void {
  JSON.parse(textOfNode(node, '', trapFor));
}

function errorOf(parse: () => unknown): Error | undefined {
  try {
    parse();
    return undefined;
  } catch (thrown) {
    return thrown as Error;
  }
}

describe('the defect', () => {
  it('an escaped name is taken for one that was seen before, unless this V8 no longer does that', () => {
    JSON.parse('{"first":"1","f\\\\u":"2"}');
    const plain = JSON.parse('{"first":"1","f\\u00fcr":"2"}');
    expect([
      { first: '1', 'f\\u': '2' },
      { first: '1', für: '2' },
    ]).toContainEqual(plain);
    expect(parseBytes('{"first":"1","f\\u00fcr":"2"}')).toEqual({ first: '1', für: '2' });
  });

  it.each([
    ['"', '\\"', '\\\\'],
    ['\n', '\\n', '\\\\'],
    ['^\\d+$', '^\\\\d+$', '^\\\\\\\\d+'],
    ['größe', 'gr\\u00f6\\u00dfe', 'gr\\\\u0'],
    ['\ud800', '\\ud800', '\\\\'],
    ['__proto__', '\\u005f_proto__', '\\\\u005f_pr'],
    ['a', '\\u0061', '\\\\'],
  ])('%j is read as itself', (name, escaped, trap) => {
    for (const before of ['', '"before":0,', '"\\t":0,']) {
      JSON.parse(`{${before}"${trap}":0}`);
      const value = parseBytes(`{${before}"${escaped}":0}`) as object;
      expect(Object.keys(value).at(-1)).toBe(name);
      expect(Object.keys(value)).toHaveLength(before === '' ? 1 : 2);
    }
  });

  it('no text that was parsed here misleads JSON.parse, neither a good one nor one that breaks off', () => {
    // Names are compared as a list: an object of these names would be a trap, too.
    const namesIn = (value: unknown) => Object.keys(value as object);
    expect(namesIn(parseBytes('{"second":"1","f\\\\u":"2"}'))).toEqual(['second', 'f\\u']);
    expect(namesIn(JSON.parse('{"second":"1","f\\u00fcr":"2"}'))).toEqual(['second', 'für']);
    expect(errorOf(() => parseBytes('{"a":{"third":"1","f\\\\u":"2"},}'))).toBeInstanceOf(SyntaxError);
    expect(errorOf(() => parseBytes('{"a":{"third":"1","f\\\\u":"2"},"\\x":1}'))).toBeInstanceOf(SyntaxError);
    expect(namesIn(JSON.parse('{"third":"1","f\\u00fcr":"2"}'))).toEqual(['third', 'für']);
  });
});

describe('any text', () => {
  const spaces = fc.constantFrom('', ' ', '\n\t\r ');

  it('is read as it is defined, whatever was parsed before', () => {
    fc.assert(
      fc.property(nodes, spaces, (node, space) => {
        setTraps(node);
        const text = textOfNode(node, space);
        expect(lookOver(Buffer.from(text)).hasEscapedNames).toBe(hasEscapedName(node));
        const expected = described(valueOfNode(node));
        expect(described(parseBytes(text))).toEqual(expected);
        expect(described(parseJson(text))).toEqual(expected);
        expect(described(parseJson(text, true))).toEqual(expected);
      }),
      { numRuns: 3_000 },
    );
  });

  it('of a name that is given more than once the last counts, in the first place, however they are spelled', () => {
    const text = '{"a":0,"\\n":1,"b":0,"\\u000a":2,"\\u000A":3,"\\n":4,"\\u0062":5,"a":6}';
    expect(Object.entries(parseBytes(text) as object)).toEqual(Object.entries({ a: 6, '\n': 4, b: 5 }));
  });

  it('is accepted where JSON.parse accepts it, and refused with the same error at the same position', () => {
    const edit = fc.record({
      at: fc.nat(),
      removed: fc.nat({ max: 2 }),
      added: fc.oneof(
        fc.constant(''),
        fc.constantFrom(
          '"',
          '\\',
          '\\"',
          '\\u00',
          '\\x',
          ':',
          ',',
          '{',
          '}',
          '[',
          ']',
          '0',
          ' ',
          '\n',
          '\0',
          '"a\\n":',
        ),
      ),
    });
    let accepted = 0;
    fc.assert(
      fc.property(nodes, spaces, fc.array(edit, { minLength: 1, maxLength: 3 }), (node, space, edits) => {
        let text = textOfNode(node, space);
        for (const { at, removed, added } of edits) {
          const start = at % (text.length + 1);
          text = (text.slice(0, start) + added + text.slice(start + removed)).toWellFormed();
        }
        const expected = errorOf(() => JSON.parse(text));
        for (const parse of [parseBytes, parseJson]) {
          const error = errorOf(() => parse(text));
          expect(error?.constructor).toBe(expected?.constructor);
          expect(reasonOf(error)).toEqual(reasonOf(expected));
        }
        if (expected === undefined) accepted += 1;
      }),
      { numRuns: 3_000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  /** Without the piece of the text that some messages quote: there, names may be blanked. */
  function reasonOf(error: Error | undefined): string | undefined {
    return error?.message.replace(/, (?:\.\.\.)?".*"(?:\.\.\.)? is not/s, ' is not');
  }
});

describe('ordinary texts', () => {
  it('are given to JSON.parse as they are, and once', () => {
    const text = JSON.stringify({
      model: 'm',
      input: [
        { role: 'user', content: 'She said: "a:b".\n{"\\"}": \\\\ ü' },
        { role: 'user', content: 'x\n'.repeat(99) },
      ],
      größe: { 'x y': 1, ['k'.repeat(100)]: 'a\\' },
      list: ['"', '\\', '\n', ':', '":'],
    });
    const { hasEscapedNames } = lookOver(Buffer.from(text));
    const spy = vi.spyOn(JSON, 'parse');
    onTestFinished(() => spy.mockRestore());
    parseJson(text, hasEscapedNames);
    expect(spy.mock.calls).toEqual([[text]]);
    spy.mockClear();
    parseJson('{"a":["b"]}');
    expect(spy.mock.calls).toEqual([['{"a":["b"]}']]);
    spy.mockClear();
    expect(parseJson('{"\\u0061":"\\n"}', true)).toEqual({ a: '\n' });
    expect(spy.mock.calls).toEqual([['"\\u0061"'], ['{"a":"\\n"}']]);
  });

  it('a backslash in a name is noticed wherever it stands', () => {
    for (const length of [0, 1, 62, 63, 64, 65, 66, 127, 128, 129, 1000]) {
      for (const rest of [0, 1, 70]) {
        for (const sequence of ['\\n', '\\"', '\\\\', '\\\\\\"']) {
          const name = `${'k'.repeat(length)}${sequence}${'k'.repeat(rest)}`;
          const found = (text: string) => lookOver(Buffer.from(text)).hasEscapedNames;
          expect(found(`{"${name}" :0}`), name).toBe(true);
          expect(found(`["${name}",{"a":"${name}"}, "${name}" ]`), name).toBe(false);
        }
      }
    }
  });
});

describe('texts that are made to be slow', () => {
  const many = (count: number, each: (index: number) => string) => Array.from({ length: count }, (_, at) => each(at));

  it('many names', () => {
    const names = many(49_000, (at) => `"\\n${at}":${at}`);
    expect(Object.entries(parseBytes(`{${names.join()}}`) as object).at(-1)).toEqual(['\n48999', 48_999]);
    const plain = many(49_000, (at) => `"\\u00fc${at}":${at}`);
    expect(Object.entries(parseBytes(`{${plain.join()}}`) as object).at(-1)).toEqual(['ü48999', 48_999]);
    expect(errorOf(() => parseBytes(`{${names.join()}`))).toBeInstanceOf(SyntaxError);
    const objects = parseBytes(`[${many(400_000, () => '{"\\n":0}').join()}]`) as object[];
    expect(objects).toHaveLength(400_000);
    expect(objects.at(-1)).toEqual({ '\n': 0 });
  });

  it.each<[string, string, string]>([
    ['line breaks', '\\n'.repeat(500_000), '\n'.repeat(500_000)],
    ['backslashes', '\\\\'.repeat(4_000_000), '\\'.repeat(4_000_000)],
    ['quotes', '\\"'.repeat(1_000_000), '"'.repeat(1_000_000)],
    ['both', '\\\\\\"'.repeat(1_000_000), '\\"'.repeat(1_000_000)],
    ['letters that are escaped', '\\u0061'.repeat(200_000), 'a'.repeat(200_000)],
  ])('long names and texts of %s', (_, escaped, plain) => {
    const [[name, value] = []] = Object.entries(parseBytes(`{"${escaped}":"${escaped}"}`) as object);
    // Compared here: a difference of this length can't be printed.
    expect(name === plain && value === plain).toBe(true);
  });

  it('white space, colons and backslashes where none belong', () => {
    const space = ' '.repeat(10_000);
    expect(parseBytes(`[${many(500, () => `"\\n"${space}`).join()},{"\\n"${space}:1}]`)).toHaveLength(501);
    const long = `"${'k'.repeat(1_000_000)}"`;
    for (const text of [`${long}${':'.repeat(40_000)}`, `"\\n"${':'.repeat(40_000)}`, '\\'.repeat(4_000_000)]) {
      expect(errorOf(() => parseBytes(text))).toBeInstanceOf(SyntaxError);
    }
  });

  it('as deep as a body may be', () => {
    let value = parseBytes(`${'{"\\n":'.repeat(256)}1${'}'.repeat(256)}`);
    for (let depth = 0; depth < 256; depth++) value = (value as Record<string, unknown>)['\n'];
    expect(value).toBe(1);
  });
});

describe('over HTTP', () => {
  const json = { 'content-type': 'application/json' };

  /** The answer's text: what is parsed in this process is what is tested. */
  async function send(url: string, key: string, body: string): Promise<string> {
    const answer = await fetch(url, { method: 'POST', headers: { ...json, ...bearer(key) }, body });
    const text = await answer.text();
    expect(answer.status, text).toBe(200);
    return text;
  }

  function body(name: string, field: 'metadata' | 'tools'): string {
    if (field === 'metadata') return `{"model":"m","input":"x","metadata":{"owner":"me","${name}":"2"}}`;
    const parameters = `{"type":"object","patternProperties":{"owner":{},"${name}":{"type":"string"}}}`;
    return `{"model":"m","input":"x","tools":[{"type":"function","name":"f","parameters":${parameters}}]}`;
  }

  it.each<[string, string, string]>([
    ['a name with an umlaut', 'f\\u00fcr', 'f\\\\u'],
    ['a pattern', '^\\\\w+$', '^\\\\\\\\w'],
    ['a quote', '\\"', '\\\\'],
    ['a line break', 'a\\nb', 'a\\\\n'],
  ])('%s is what its tenant sent, whatever another tenant sent before', async (_, name, trap) => {
    const { server, upstream } = await serveScripted();
    const url = `${server.url}/v1/responses`;
    const written = (escaped: string) => JSON.stringify(JSON.parse(`"${escaped}"`));
    for (const [key, each] of [
      ['one', trap],
      ['two', name],
      ['one', trap],
      ['two', name],
    ] as const) {
      // Nobody else in this process may have parsed it rightly, or wrongly, either.
      JSON.parse(body(trap, 'metadata'));
      JSON.parse(body(trap, 'tools'));
      expect(await send(url, key, body(each, 'metadata'))).toContain(`"metadata":{"owner":"me",${written(each)}:"2"}`);
      expect(await send(url, key, body(each, 'tools'))).toContain(`{"owner":{},${written(each)}:{"type":"string"}}`);
      expect(upstream.requests.at(-1)?.raw).toContain(`{"owner":{},${written(each)}:{"type":"string"}}`);
    }
  });

  it.each(storeTypes)('the metadata of a conversation is read back as it was written, from %s', async (store) => {
    const { server } = await serveScripted(undefined, {}, store);
    const url = `${server.url}/v1/conversations`;
    const metadata = (name: string) => `{"fifth":"me","${name}":"2"}`;
    for (const name of ['\\"', 'a\\nb', '\\\\w']) {
      const { id } = JSON.parse(await send(url, 'two', `{"metadata":${metadata('x')}}`)) as { id: string };
      const updated = await send(`${url}/${id}`, 'two', `{"metadata":${metadata(name)}}`);
      JSON.parse(metadata('\\\\'));
      JSON.parse(metadata('a\\\\n'));
      JSON.parse(metadata('\\\\\\\\'));
      expect(updated).toContain(metadata(name));
      const read = await fetch(`${url}/${id}`, { headers: bearer('two') });
      expect(await read.text()).toContain(metadata(name));
      expect(await send(`${url}/${id}`, 'two', `{"metadata":${metadata(name)}}`)).toContain(metadata(name));
    }
  });

  it('what a tenant sends leaves no trap for what else is parsed in this process', async () => {
    const { server } = await serveScripted();
    const metadata = (name: string) => `{"fourth":"me","${name}":"2"}`;
    const request = `{"model":"m","input":"x","store":true,"metadata":${metadata('f\\\\u')}}`;
    expect(await send(`${server.url}/v1/responses`, 'one', request)).toContain(metadata('f\\\\u'));
    expect(Object.keys(JSON.parse(metadata('f\\u00fcr')))).toEqual(['fourth', 'für']);
  });

  it('what is wrong is said of the body as it was sent', async () => {
    const { server } = await serveScripted();
    const { body: answer } = await server.post('/v1/responses', '{"m\\u00f6del":"m",\n"input":x}');
    expect(answer.error).toMatchObject({ code: 'invalid_json' });
    expect(answer.error.message).toContain("Unexpected token 'x'");
    const { body: second } = await server.post('/v1/responses', '{"m\\u00f6del":"m",\n"input" "x"}');
    expect(second.error.message).toContain('line 2 column 9');
  });

  it('a text of nothing but backslashes holds up nobody', async () => {
    const { server } = await serveScripted();
    const text = '\\'.repeat(4_000_000);
    const answer = await server.respond({ model: 'm', input: text, metadata: { '\\': '\\' } });
    expect(Object.entries(answer.metadata)).toEqual([['\\', '\\']]);
  });
});
