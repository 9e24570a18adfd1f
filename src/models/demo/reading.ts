import type { Budget } from './budget.ts';
import { bare, maxAnalysedChars, stem } from './words.ts';

/**
 * A text that has been read once, so that asking it for a name or a value is a look into a table, however many
 * properties and values a schema has. Nothing is read before it is asked for.
 */
export type Reading = {
  readonly text: string;
  /** What stands in quotation marks, in order. */
  readonly quoted: () => readonly string[];
  readonly numbers: () => readonly number[];
  /** The proper names behind `in`, `at`, `for` and the like. */
  readonly places: () => readonly string[];
  /** What is said of a property by its name: `unit: kelvin`, `title is Dune`, `city = Rome`. */
  readonly saidOf: (name: string) => string | undefined;
  /** `5 days`, `days: 5`, `page 2`: the number beside one of the property's words. */
  readonly numberBeside: (name: string) => number | undefined;
  /** Whether these words stand in the text, as whole words in any case. */
  readonly mentions: (value: string) => boolean;
  /** An e-mail address, a URL, a point in time, a date: the first of its kind. */
  readonly formatted: (kind: 'email' | 'uri' | 'date-time' | 'date') => string | undefined;
  readonly expression: () => string | undefined;
  /** Whom the text is about. */
  readonly person: () => string | undefined;
};

const maxHints = 200;
/** Places of a text that a table has an entry for. */
const maxEntries = 1_000;
/** Longer names and values are not looked for. */
const maxSpokenChars = 64;
const maxMentionChars = 200;

export function readText(given: string, budget: Budget): Reading {
  const text = given.slice(0, maxAnalysedChars);
  const told = once(() => statements(text));
  const beside = once(() => numbersBeside(text));
  const spots = once(() => wordSpots(text.toLowerCase()));
  const formats = new Map<string, string | undefined>();
  return {
    text,
    quoted: once(() => quotedIn(text)),
    numbers: once(() => numbersIn(text)),
    places: once(() => placesIn(text)),
    saidOf: (name) => {
      const at = told().get(spokenName(name));
      const value = at === undefined ? undefined : /^[^\n.;,!?]{1,200}/.exec(text.slice(at, at + 200))?.[0];
      const said = bare(value?.split(/ (?:and|with|in) /)[0] ?? '');
      return said === '' ? undefined : said;
    },
    numberBeside: (name) => {
      const words = name.slice(0, maxSpokenChars).split(/[_-]|(?<=\p{Ll})(?=\p{Lu})/u);
      for (const word of words) {
        const found = word.length > 2 ? beside().get(stem(word)) : undefined;
        if (found !== undefined) return found;
      }
      return undefined;
    },
    mentions: (value) => mentioned(value, spots(), budget),
    formatted: (kind) => {
      if (!formats.has(kind)) formats.set(kind, formatPatterns[kind].exec(text)?.[0]);
      return formats.get(kind);
    },
    expression: once(() => expressionIn(text)),
    person: once(() => personIn(text)),
  };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function firstOf(text: string, form: RegExp, most: number): RegExpExecArray[] {
  return text.matchAll(form).take(most).toArray();
}

const properName = "\\p{Lu}[\\p{L}\\p{N}''.-]*(?: \\p{Lu}[\\p{L}\\p{N}''.-]*){0,3}";
const placeList = new RegExp(
  `\\b(?:in|at|for|near|to|from|of|around|is|about)\\s+(${properName}(?:(?:,? (?:and|or|&) |, )${properName}){0,20})`,
  'gu',
);

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

function quotedIn(text: string): string[] {
  const marks =
    /"([^"\n]{1,500})"|“([^“”\n]{1,500})”|(?<![\p{L}\p{N}])'([^'\n]{1,500})'(?![\p{L}\p{N}])|`([^`\n]{1,500})`/gu;
  return firstOf(text, marks, maxHints).map((match) => match.slice(1).find((each) => each !== undefined) ?? '');
}

function numbersIn(text: string): number[] {
  const form = /(?<![\w.])-?\d{1,15}(?:\.\d{1,10})?(?![\w.]*\d)/g;
  return firstOf(text, form, maxHints).map((match) => Number(match[0]));
}

function spokenName(name: string): string {
  const cut = name.slice(0, maxSpokenChars);
  return cut
    .replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2')
    .replace(/[_-]+/g, ' ')
    .toLowerCase();
}

/** Up to six words that end just before something is said of them, and where that begins. The first mention counts. */
function statements(text: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const match of firstOf(text, / (?:is|named|called) |: ?| ?= ?/gi, maxEntries)) {
    const end = match.index + match[0].length;
    if (!/^\s*[^\s.;,!?]/.test(text.slice(end, end + 200))) continue;
    const before = text.slice(Math.max(0, match.index - maxSpokenChars), match.index);
    const starts = firstOf(before, /(?<![\p{L}\p{N}])\S/gu, maxSpokenChars).slice(-6);
    for (const start of starts) {
      const words = before.slice(start.index).toLowerCase();
      if (!found.has(words)) found.set(words, end);
    }
  }
  return found;
}

/** Numbers by the stems of the words before and behind them. A word with an ending of up to four letters counts, too. */
function numbersBeside(text: string): Map<string, number> {
  const found = new Map<string, number>();
  const add = (word: string | undefined, value: number) => {
    if (word === undefined) return;
    for (const key of [stem(word), ...[0, 1, 2, 3, 4].map((ending) => word.slice(0, word.length - ending))]) {
      if (key.length > 1 && !found.has(key.toLowerCase())) found.set(key.toLowerCase(), value);
    }
  };
  for (const match of firstOf(text, /-?\d{1,15}(?:\.\d{1,10})?/g, maxEntries)) {
    const end = match.index + match[0].length;
    const before = text.slice(Math.max(0, match.index - 30), match.index);
    const value = Number(match[0]);
    add(/^ ?(\p{L}{1,30})/u.exec(text.slice(end, end + 31))?.[1], value);
    add(/(?<![\p{L}\p{N}])([\p{L}\p{N}]{1,30})(?: is |: ?| ?= ?| )$/iu.exec(before)?.[1], value);
  }
  return found;
}

type Spots = { readonly lower: string; readonly words: ReadonlyMap<string, readonly number[]> };

/** Where each word and each mark of a lowercase text stands. */
function wordSpots(lower: string): Spots {
  const words = new Map<string, number[]>();
  for (const match of lower.matchAll(wordOrMark)) {
    const known = words.get(match[0]);
    if (known === undefined) words.set(match[0], [match.index]);
    else known.push(match.index);
  }
  return { lower, words };
}

const wordOrMark = /[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu;
const letterAtEnd = /[\p{L}\p{N}]$/u;
const letterAtStart = /^[\p{L}\p{N}]/u;

function mentioned(value: string, { lower, words }: Spots, budget: Budget): boolean {
  if (!budget.mayCompare() || value.length > maxMentionChars) return false;
  const wanted = value.toLowerCase();
  const first = /[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/u.exec(wanted);
  if (first === null) return false;
  for (const spot of words.get(first[0]) ?? []) {
    const start = spot - first.index;
    const end = start + wanted.length;
    if (!budget.mayCompare()) return false;
    if (start < 0 || !lower.startsWith(wanted, start)) continue;
    const inside = letterAtEnd.test(lower.slice(Math.max(0, start - 2), start));
    if (!inside && !letterAtStart.test(lower.slice(end, end + 2))) return true;
  }
  return false;
}

const formatPatterns = {
  email: /(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+/,
  uri: /https?:\/\/[^\s"'<>]{1,500}[^\s"'<>.,;!?)]/,
  'date-time': /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)/,
  date: /\b\d{4}-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])\b/,
};

function expressionIn(text: string): string | undefined {
  const found = /[-(]?\d[\d\s.()]{0,100}(?:[-+*/x×÷^%][\d\s.()-]{1,100}){1,50}/.exec(text)?.[0].trim();
  return found?.replace(/(?<![.\s])[.\s]+$/, '');
}

function personIn(text: string): string | undefined {
  const subject = /(?<=^|[.!?]\s)(\p{Lu}\p{Ll}+) (?:is|was|has|lives|works|likes)\b/u.exec(text)?.[1];
  return subject ?? /\b(?=\p{Lu})(?<!^|[.!?]\s+)\p{Lu}\p{Ll}+(?: \p{Lu}\p{Ll}+){0,3}/u.exec(text)?.[0];
}
