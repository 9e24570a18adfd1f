import type { Hints } from './schema-example.ts';
import { bare, maxAnalysedChars, stems } from './words.ts';

const placeNames = new Set(
  [
    'city',
    'location',
    'place',
    'town',
    'country',
    'destination',
    'origin',
    'address',
    'region',
    'where',
    'capital',
  ].flatMap((each) => [...stems(each)]),
);
const wholeTextNames = new Set(
  [
    'query',
    'q',
    'question',
    'search',
    'text',
    'message',
    'input',
    'prompt',
    'content',
    'topic',
    'keyword',
    'request',
    'task',
  ].flatMap((each) => [...stems(each)]),
);
const expressionNames = new Set(['expression', 'formula', 'equation', 'math'].flatMap((each) => [...stems(each)]));

const properName = "\\p{Lu}[\\p{L}\\p{N}''.-]*(?: \\p{Lu}[\\p{L}\\p{N}''.-]*){0,3}";
const placeList = new RegExp(
  `\\b(?:in|at|for|near|to|from|of|around|is|about)\\s+(${properName}(?:(?:,? (?:and|or|&) |, )${properName}){0,20})`,
  'gu',
);
const maxHints = 200;
const maxQueryChars = 500;

/** The proper names behind `in`, `at`, `for` and the like: `in Paris and Rome` has two, `in Paris, France` one. */
export function placesIn(text: string): string[] {
  const places: string[] = [];
  for (const match of text.slice(0, maxAnalysedChars).matchAll(placeList)) {
    const list = match[1] ?? '';
    const listed = / (?:and|or|&) /.test(list);
    const parts = listed ? list.split(/,? (?:and|or|&) |, /) : [list];
    places.push(...parts.map(bare));
    if (places.length >= maxHints) break;
  }
  return [...new Set(places)].filter((each) => each !== '' && each !== 'I').slice(0, maxHints);
}

export function isPlaceName(name: string): boolean {
  return [...stems(name)].some((each) => placeNames.has(each));
}

/**
 * Hints for a schema out of the user's words: what stands in quotation marks, in order; places for a `city` or a
 * `location`; what follows the property's own name (`quantity: 3`, `title is Dune`); e-mail addresses, dates and URLs;
 * an arithmetic `expression`; the whole text for a `query`; numbers in order. Each quoted text and number is used once.
 */
export function hintsFrom(text: string): Hints {
  const words = text.slice(0, maxAnalysedChars);
  const quoted = quotedIn(words);
  const numbers = [...words.matchAll(/(?<![\w.])-?\d{1,15}(?:\.\d{1,10})?(?![\w.]*\d)/g)].slice(0, maxHints);
  const unused = { quoted: [...quoted], numbers: numbers.map((match) => Number(match[0])) };
  return {
    string: (name, format, accepts) => stringHint(words, name, format, accepts, unused.quoted),
    number: (name, accepts) => {
      const near = nearNumber(words, name);
      const value = near !== undefined && accepts(near) ? near : unused.numbers.find(accepts);
      const at = value === undefined ? -1 : unused.numbers.indexOf(value);
      if (at >= 0) unused.numbers.splice(at, 1);
      return value;
    },
    strings: (name) => (isPlaceName(name) ? placesIn(words) : unused.quoted.splice(0)),
    mentions: (value) =>
      value !== '' && new RegExp(`(?<![\\p{L}\\p{N}])${escaped(value)}(?![\\p{L}\\p{N}])`, 'iu').test(words),
  };
}

function quotedIn(text: string): string[] {
  const marks =
    /"([^"\n]{1,500})"|“([^”\n]{1,500})”|(?<![\p{L}\p{N}])'([^'\n]{1,500})'(?![\p{L}\p{N}])|`([^`\n]{1,500})`/gu;
  return [...text.matchAll(marks)]
    .slice(0, maxHints)
    .map((match) => match.slice(1).find((each) => each !== undefined) ?? '');
}

function stringHint(
  text: string,
  name: string,
  format: string | undefined,
  accepts: (value: string) => boolean,
  quoted: string[],
): string | undefined {
  const formatted = formattedHint(text, name, format);
  if (formatted !== undefined && accepts(formatted)) return formatted;
  if (format !== undefined) return undefined;
  const following = afterName(text, name);
  if (following !== undefined && accepts(following)) return following;
  if (isPlaceName(name)) {
    const place = placesIn(text).find(accepts);
    if (place !== undefined) return place;
  }
  const at = quoted.findIndex(accepts);
  if (at >= 0) return quoted.splice(at, 1)[0];
  const own = [...stems(name)];
  if (own.some((each) => expressionNames.has(each))) return expressionIn(text);
  const whole = text.trim().slice(0, maxQueryChars);
  if (whole !== '' && own.some((each) => wholeTextNames.has(each)) && accepts(whole)) return whole;
  if (!own.some((each) => each === 'name' || each === 'person')) return undefined;
  const subject = /(?<=^|[.!?]\s)(\p{Lu}\p{Ll}+) (?:is|was|has|lives|works|likes)\b/u.exec(text)?.[1];
  return subject ?? /(?<!^|[.!?]\s+)\b\p{Lu}\p{Ll}+(?: \p{Lu}\p{Ll}+){0,3}/u.exec(text)?.[0];
}

function formattedHint(text: string, name: string, format: string | undefined): string | undefined {
  const kind = format ?? name.toLowerCase();
  if (kind.endsWith('email')) return /[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+/.exec(text)?.[0];
  if (kind === 'uri' || kind.endsWith('url')) return /https?:\/\/[^\s"'<>]{1,500}[^\s"'<>.,;!?)]/.exec(text)?.[0];
  if (kind === 'date-time') return /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)/.exec(text)?.[0];
  if (kind.endsWith('date')) return /\b\d{4}-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])\b/.exec(text)?.[0];
  return undefined;
}

/** What is said of a property by its name: `unit: kelvin`, `title is Dune`, `city = Rome`. */
function afterName(text: string, name: string): string | undefined {
  const spoken = escaped(name.replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2').replace(/[_-]+/g, ' '));
  const found = new RegExp(
    `(?<![\\p{L}\\p{N}])${spoken}(?: is |: ?| ?= ?| named | called )([^\\n.;,!?]{1,200})`,
    'iu',
  ).exec(text);
  const value = found?.[1]?.split(/ (?:and|with|in) /)[0];
  return value === undefined || bare(value) === '' ? undefined : bare(value);
}

/** `5 days`, `days: 5`, `page 2`: the number beside the property's name. */
function nearNumber(text: string, name: string): number | undefined {
  const words = name
    .split(/[_-]|(?<=\p{Ll})(?=\p{Lu})/u)
    .filter((each) => each.length > 2)
    .slice(0, 8);
  for (const word of words) {
    const stemmed = escaped([...stems(word)][0] ?? word);
    const beside = new RegExp(
      `(-?\\d{1,15}(?:\\.\\d{1,10})?) ?${stemmed}|\\b${stemmed}\\p{L}{0,4}(?: is |: ?| ?= ?| )(-?\\d{1,15}(?:\\.\\d{1,10})?)`,
      'iu',
    );
    const found = beside.exec(text);
    if (found !== null) return Number(found[1] ?? found[2]);
  }
  return undefined;
}

function expressionIn(text: string): string | undefined {
  return /[-(]?\d[\d\s.()]{0,100}(?:[-+*/x×÷^%][\d\s.()-]{1,100}){1,50}/
    .exec(text)?.[0]
    .trim()
    .replace(/[.\s]+$/, '');
}

function escaped(text: string): string {
  return text.slice(0, 200).replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
