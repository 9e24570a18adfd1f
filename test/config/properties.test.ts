import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/config.ts';
import { parseProperties } from '../../src/properties.ts';

describe('properties syntax', () => {
  it.each<[string, string, readonly [string, string][]]>([
    ['nothing', '', []],
    ['comments and blank lines', '# a=1\n\n  ! b=2\n\t\n#\\\nc=3', [['c', '3']]],
    ['trimmed blanks', '  a \t =  b c \t', [['a', 'b c']]],
    ['a colon in a key', 'llama3:8b=x:y', [['llama3:8b', 'x:y']]],
    ['a blank in a key', 'a b=c', [['a b', 'c']]],
    ['a later =', 'a=b=c', [['a', 'b=c']]],
    ['an escaped =', 'a\\=b=c', [['a=b', 'c']]],
    ['an empty value', 'a=', [['a', '']]],
    ['no comment after a value', 'a=b # c', [['a', 'b # c']]],
    ['a continued line', 'a=b,\\\n   c,\\\r\n\td', [['a', 'b,c,d']]],
    ['a continued key', 'a.\\\n  b=c', [['a.b', 'c']]],
    ['a # in a continued line', 'a=b\\\n#c', [['a', 'b#c']]],
    [
      'an escaped backslash at the end',
      'a=b\\\\\nc=d',
      [
        ['a', 'b\\'],
        ['c', 'd'],
      ],
    ],
    ['escapes', 'a=\\n\\t\\r\\\\\\u00e9\\u20AC\\ud83d\\ude00', [['a', '\n\t\r\\é€😀']]],
    ['escaped blanks at the ends', 'a=\\ b\\ ', [['a', ' b ']]],
    ['no escape after an escaped backslash', 'a=\\\\n', [['a', '\\n']]],
    [
      'a byte order mark, CRLF and CR',
      '\ufeffa=1\r\nb=2\rc=3',
      [
        ['a', '1'],
        ['b', '2'],
        ['c', '3'],
      ],
    ],
    ['other letters', 'ключ=значение', [['ключ', 'значение']]],
    ['names that objects have', '__proto__=1', [['__proto__', '1']]],
  ])('%s', (_, text, expected) => {
    expect(parseProperties(text, 'x.properties').map(({ key, value }) => [key, value])).toEqual(expected);
  });

  it('counts lines from where a property begins', () => {
    const lines = parseProperties('\r\n# x\r\na=1\\\r\n2\r\nb=3', 'x.properties').map(({ key, line }) => [key, line]);
    expect(lines).toEqual([
      ['a', 3],
      ['b', 5],
    ]);
  });

  it.each<[string, string, string]>([
    ['a key given twice', 'a=1\nb=2\n\na=3', 'a stands twice in x.properties: in lines 1 and 4'],
    ['a line without =', 'a=1\nsecret: 1', 'x.properties:2 has no ='],
    ['a line without a key', ' = secret', 'x.properties:1 has no key'],
    ['an unknown escape', 'a=C:\\secret', 'x.properties:1 has a backslash that begins no known escape'],
    ['a cut \\u', 'a=secret\\u12', 'x.properties:1 has a backslash'],
    ['an open end', 'a=1\nb=secret\\', 'x.properties:2 ends with \\, but no line follows'],
    ['UTF-16', 'a\0=\x001\0', 'x.properties is not a text file in UTF-8'],
    ['Latin-1', 'a=\ufffd', 'x.properties is not a text file in UTF-8'],
  ])('%s is refused', (_, text, message) => {
    const parse = () => parseProperties(text, 'x.properties');
    expect(parse).toThrow(ConfigError);
    expect(parse).toThrow(message);
    expect(parse).not.toThrow(/secret|[\r\n]/);
  });
});
