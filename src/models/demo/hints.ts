import type { Budget } from './budget.ts';
import { type Reading, readText } from './reading.ts';
import type { Hints } from './schema-example.ts';
import { stems } from './words.ts';

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
const personNames = new Set(['name', 'person'].flatMap((each) => [...stems(each)]));

/** Longer names are not taken apart. */
const maxNameChars = 64;
const maxQueryChars = 500;

export function isPlaceName(name: string): boolean {
  return [...stems(name.slice(0, maxNameChars))].some((each) => placeNames.has(each));
}

/**
 * Hints for a schema out of the user's words: what stands in quotation marks, in order; places for a `city` or a
 * `location`; what follows the property's own name (`quantity: 3`, `title is Dune`); e-mail addresses, dates and URLs;
 * an arithmetic `expression`; the whole text for a `query`; numbers in order. Each quoted text and number is used once.
 * The words are read once; when the budget for looking into them is spent, there are no more hints.
 */
export function hintsFrom(text: string, budget: Budget): Hints {
  const reading = readText(text, budget);
  let quoted: string[] | undefined;
  let numbers: number[] | undefined;
  const allowed =
    <T>(accepts: (value: T) => boolean) =>
    (value: T) =>
      budget.mayCompare() && accepts(value);
  return {
    string: (name, format, accepts) => {
      if (!budget.mayLookUp()) return undefined;
      quoted ??= [...reading.quoted()];
      return stringHint(reading, name, format, allowed(accepts), quoted);
    },
    number: (name, accepts) => {
      if (!budget.mayLookUp()) return undefined;
      numbers ??= [...reading.numbers()];
      const near = reading.numberBeside(name);
      const value = near !== undefined && accepts(near) ? near : numbers.find(allowed(accepts));
      const at = value === undefined ? -1 : numbers.indexOf(value);
      if (at >= 0) numbers.splice(at, 1);
      return value;
    },
    strings: (name) => {
      if (!budget.mayLookUp()) return [];
      if (isPlaceName(name)) return reading.places();
      quoted ??= [...reading.quoted()];
      return quoted.splice(0);
    },
    mentions: (value) => reading.mentions(value),
  };
}

function stringHint(
  reading: Reading,
  name: string,
  format: string | undefined,
  accepts: (value: string) => boolean,
  quoted: string[],
): string | undefined {
  const kind = formatOf(format ?? name.slice(-maxNameChars).toLowerCase());
  const formatted = kind === undefined ? undefined : reading.formatted(kind);
  if (formatted !== undefined && accepts(formatted)) return formatted;
  if (format !== undefined) return undefined;
  const following = reading.saidOf(name);
  if (following !== undefined && accepts(following)) return following;
  const own = stems(name.slice(0, maxNameChars));
  const isOneOf = (names: ReadonlySet<string>) => [...own].some((each) => names.has(each));
  if (isOneOf(placeNames)) {
    const place = reading.places().find(accepts);
    if (place !== undefined) return place;
  }
  const at = quoted.findIndex(accepts);
  if (at >= 0) return quoted.splice(at, 1)[0];
  if (isOneOf(expressionNames)) return accepted(reading.expression(), accepts);
  const whole = isOneOf(wholeTextNames) ? reading.text.trim().slice(0, maxQueryChars) : '';
  if (whole !== '' && accepts(whole)) return whole;
  return isOneOf(personNames) ? accepted(reading.person(), accepts) : undefined;
}

function accepted(value: string | undefined, accepts: (value: string) => boolean): string | undefined {
  return value !== undefined && accepts(value) ? value : undefined;
}

function formatOf(name: string): 'email' | 'uri' | 'date-time' | 'date' | undefined {
  if (name.endsWith('email')) return 'email';
  if (name === 'uri' || name.endsWith('url')) return 'uri';
  if (name === 'date-time') return 'date-time';
  return name.endsWith('date') ? 'date' : undefined;
}
