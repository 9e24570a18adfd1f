import type { Json } from './harness.ts';

const sql = [
  "'; DROP TABLE entries; --",
  '" OR 1=1',
  "' OR '1'='1",
  "') OR ('1'='1' --",
  "' UNION SELECT response FROM entries --",
  '1; DELETE FROM threads',
  "'; SELECT pg_sleep(600); --",
  "'; ATTACH DATABASE '/tmp/x' AS x; --",
  "x' || (SELECT metadata FROM threads LIMIT 1) || '",
  '/* */',
  '--',
  '#',
  ';',
  "'",
  '"',
  '`',
  "''",
  "E'\\x41'",
  "U&'\\0041'",
  '$$; DROP TABLE entries; $$',
  '$$',
  '$tag$x$tag$',
  '$1',
  '$2::text',
  '?',
  '?1',
  ':tenant',
  '@id',
  '%s',
  '\\x41',
  '0x41',
  '{1,2}',
  '{NULL}',
  '(1,2)',
  '[1,2)',
  'NULL',
  'null',
  'true',
  'DEFAULT',
  '0',
  '-1',
  '1e3',
  'Infinity',
] as const;

/** What LIKE, regular expressions, COPY and backslash escapes give a meaning to. */
const patterns = [
  '%',
  '_',
  '%_%',
  '\\%',
  '*',
  '.*',
  '^',
  '^.*$',
  '/.*/',
  '(a+)+$',
  '[',
  '(?',
  '\\',
  '\\\\',
  "\\'",
  '\\.',
  '\\N',
  '\\t',
  '\\d+',
  '\\u0000',
  'a\tb',
] as const;

const noSql = [
  '$where',
  '$ne',
  '$gt',
  '$',
  '$set',
  '$[]',
  '$a.$b',
  '$$ROOT',
  '$ref',
  '$id',
  '_id',
  '{"$ne":1}',
  '{"$gt":""}',
  '{"$regex":".*"}',
  '{"$where":"sleep(1000)"}',
  '{"$oid":"507f1f77bcf86cd799439011"}',
  '507f1f77bcf86cd799439011',
  '{"$date":"2026-01-01T00:00:00Z"}',
  '{"$numberLong":"1"}',
  '{"$binary":{"base64":"","subType":"00"}}',
  "'; return true; var x='",
  "true, $where: '1 == 1'",
  '||1==1//',
  'a.b',
  '.',
  '..',
  'a.',
  '.a',
  'a:b',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '__proto__.polluted',
  'constructor.prototype.polluted',
] as const;

const unicode = [
  '\u0000',
  'a\u0000b',
  '\u0001\u001f\u007f',
  // The same letter, composed and decomposed.
  '\u00e4',
  'a\u0308',
  '\u2615',
  '\u{1fad6}',
  '\ud800',
  'x\udc00y',
  '\u2028\u2029',
  '\ufeff',
  '\ufffd',
  '\u202e',
  '\u00a0',
  '\u00df',
  'SS',
  '\u0131',
  '\uff07 OR 1=1',
  ' ',
  ' a',
  'a ',
  'a',
  'A',
] as const;

/** What the way to the store and back might take for something else: URLs, headers, event streams, shells, templates. */
const transport = [
  '%00',
  '%27',
  '%2527',
  '%c0%ae',
  '+',
  '&after=x',
  '../../etc/passwd',
  '..%2f..%2f',
  '?limit=1#x',
  '\r\nx-injected: 1',
  'data: {}\n\n',
  'event: response.completed\ndata: {}\n\n',
  '[DONE]',
  '</script>',
  '&#39;',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is data.
  '${7*7}',
  '{{7*7}}',
  '$(id)',
  '`id`',
] as const;

/** As long as ids, names and metadata may be, and longer. */
const long = [
  'i'.repeat(256),
  'j'.repeat(257),
  '\u2615'.repeat(64),
  '\u2615'.repeat(256),
  '\u2615'.repeat(512),
  "'".repeat(1_024),
  '['.repeat(1_500),
  'x\u0000'.repeat(1_000),
] as const;

/** Strings that some database, or some careless code, might take for more than data. Each is there once. */
export const oddStrings: readonly string[] = [...sql, ...patterns, ...noSql, ...unicode, ...transport, ...long];

/** What stands in JSON where a string, a number or a boolean belongs. */
export const oddObjects: readonly Json[] = [
  { $ne: 1 },
  { $gt: '' },
  { $regex: '.*' },
  { $where: 'true' },
  { $oid: '507f1f77bcf86cd799439011' },
  { $date: '2026-01-01T00:00:00Z' },
  {},
  [],
  ['x'],
  [{ $ne: 1 }],
];

/** Names for properties that nobody has. */
export const oddKeys: readonly string[] = ['$where', '$set', '$ref', 'a.b', '__proto__', 'constructor', '', '\u0000'];

/** Segments of a path that are no text once decoded. */
export const brokenSegments: readonly string[] = ['%', '%zz', '%ff', '%ed%a0%80', '%c0%af', 'a%'];

/** Queries that ask for operators instead of values. */
export const oddQueries: readonly string[] = [
  'after[$gt]=',
  'after[$regex]=.*',
  'after[$ne]=1',
  'after[$in][]=x&after[$in][]=y',
  'after[$where]={"$gt":""}',
  'limit[$ne]=1',
  'limit={"$ne":1}',
  'limit[$gt]=',
  'order[$ne]=asc',
  'order[]=asc;--',
  'include[$ne]=1',
  '$where=true',
  'filter[$ne]=1',
  'tenant=anonymous',
  '__proto__[x]=1',
  'constructor[prototype][x]=1',
];

/** Strings that are nearly a real id: none of them may find what the id finds. */
export function nearMisses(id: string): string[] {
  const body = id.slice(0, -1);
  const all = [
    `${id} `,
    ` ${id}`,
    `${id}\u0000`,
    `${id}\u0000x`,
    `${id}\n`,
    `${id}\u200b`,
    `${id}'--`,
    `${id}' OR '1'='1`,
    `${id}%`,
    `${body}%`,
    `${body}_`,
    `${body}.`,
    `${body}?`,
    `${body}[0-9a-z]`,
    `^${id}$`,
    `/${id}/`,
    `"${id}"`,
    `'${id}'`,
    `{"$eq":"${id}"}`,
    `{"$regex":"^${body}"}`,
    body,
    id.toUpperCase(),
    id.replace('_', '-'),
    id.replaceAll(/[a-z0-9]/g, '_'),
    id.slice(id.indexOf('_') + 1),
    '%',
    '_'.repeat(id.length),
  ];
  return all.filter((each) => each !== id);
}

/** Whether a string may stand in a header, as bytes of UTF-8. */
export function fitsHeader(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what HTTP forbids.
  return !/[\u0000-\u0008\u000a-\u001f\u007f]/.test(text);
}

/**
 * The JSON text of a value, where half a surrogate pair equals U+FFFD: a store may keep either. Anything else must be the
 * same, the order of keys included.
 */
export function exact(value: unknown): string {
  return JSON.stringify(value).replaceAll(/\\(?:ud[89a-f][0-9a-f]{2}|.)/g, (escaped) =>
    escaped.startsWith('\\ud') ? '\ufffd' : escaped,
  );
}
