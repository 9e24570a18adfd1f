import type { Budget } from './budget.ts';

/**
 * A string for a regular expression, best effort: literals, classes, groups, the first alternative, and quantifiers.
 * Look-arounds and back-references are passed over. Client's expressions are only read here and never run, as one can
 * be written to run for hours.
 */
export function patternExample(pattern: string, minLength: number, maxLength: number, budget: Budget): string {
  let best = '';
  for (const repeats of [1, 0, 2, 4, 8, 16, 64, 256, 1_024]) {
    budget.takeSteps(Math.min(pattern.length, maxPatternChars));
    best = sample(pattern, repeats);
    budget.takeSteps(Math.floor(best.length / 16));
    if (best.length >= minLength && best.length <= maxLength) return best;
    if (best.length > maxSampleChars) break;
  }
  return best;
}

const maxSampleChars = 10_000;
const maxPatternChars = 2_000;
const maxGroupDepth = 20;

type Reader = { readonly pattern: string; at: number; readonly repeats: number; depth: number };

function sample(pattern: string, repeats: number): string {
  if (pattern.length > maxPatternChars) return '';
  return alternatives({ pattern, at: 0, repeats, depth: 0 });
}

/** Reads up to the end or to a closing bracket; the first alternative is the sample. */
function alternatives(reader: Reader): string {
  let text = '';
  let first: string | undefined;
  while (reader.at < reader.pattern.length && reader.pattern[reader.at] !== ')') {
    if (reader.pattern[reader.at] === '|') {
      reader.at += 1;
      first ??= text;
      text = '';
      continue;
    }
    const piece = atom(reader);
    const count = quantifier(reader);
    if (piece === '') continue;
    text += piece.repeat(Math.min(count, Math.ceil(Math.max(0, maxSampleChars + 1 - text.length) / piece.length)));
  }
  return (first ?? text).slice(0, maxSampleChars + 1);
}

function atom(reader: Reader): string {
  const mark = reader.pattern[reader.at] ?? '';
  reader.at += 1;
  switch (mark) {
    case '^':
    case '$':
      return '';
    case '.':
      return 'a';
    case '(':
      return group(reader);
    case '[':
      return characterClass(reader);
    case '\\':
      return escaped(reader);
    default:
      return mark;
  }
}

function group(reader: Reader): string {
  const opening = /^\?(?:[:=!]|<[=!]|<[^>]*>)/.exec(reader.pattern.slice(reader.at, reader.at + 80));
  reader.at += opening?.[0].length ?? 0;
  reader.depth += 1;
  if (reader.depth > maxGroupDepth) {
    reader.at = reader.pattern.length;
    return '';
  }
  const text = alternatives(reader);
  reader.depth -= 1;
  reader.at += 1;
  return opening !== null && /[=!]$/.test(opening[0]) ? '' : text;
}

function escaped(reader: Reader): string {
  const mark = reader.pattern[reader.at] ?? '';
  reader.at += 1;
  const known: Record<string, string> = {
    d: '1',
    D: 'a',
    w: 'a',
    W: '-',
    s: ' ',
    S: 'a',
    b: '',
    B: '',
    t: '\t',
    n: '\n',
    r: '\r',
  };
  if (mark === 'u' || mark === 'x') {
    const code = (mark === 'u' ? /^(?:\{([0-9a-f]+)\}|([0-9a-f]{4}))/i : /^([0-9a-f]{2})()/i).exec(
      reader.pattern.slice(reader.at, reader.at + 10),
    );
    reader.at += code?.[0].length ?? 0;
    const point = Number.parseInt(code?.[1] || code?.[2] || '61', 16);
    return point <= 0x10ffff ? String.fromCodePoint(point) : 'a';
  }
  if (mark === 'p' || mark === 'P') {
    const named = /^\{([^}]*)\}/.exec(reader.pattern.slice(reader.at, reader.at + 40));
    reader.at += named?.[0].length ?? 0;
    if (mark === 'P') return '-';
    return /^(?:N|Nd|Number)/.test(named?.[1] ?? '') ? '1' : /^(?:Lu|Upper)/.test(named?.[1] ?? '') ? 'A' : 'a';
  }
  return known[mark] ?? mark;
}

function characterClass(reader: Reader): string {
  const negated = reader.pattern[reader.at] === '^';
  if (negated) reader.at += 1;
  const members: string[] = [];
  const body: string[] = [];
  while (reader.at < reader.pattern.length && reader.pattern[reader.at] !== ']') {
    const start = reader.at;
    const member = atom1(reader);
    members.push(member);
    body.push(reader.pattern.slice(start, reader.at));
  }
  reader.at += 1;
  if (!negated) return members.find((each) => /[\p{L}\p{N}]/u.test(each)) ?? members[0] ?? '';
  return ['a', '1', 'A', '-', '_', ' '].find((each) => !excluded(each, members, body)) ?? '~';
}

function atom1(reader: Reader): string {
  const mark = reader.pattern[reader.at] ?? '';
  reader.at += 1;
  return mark === '\\' ? escaped(reader) : mark;
}

/** Whether a negated class names the character: itself, by a range around it, or by its kind. */
function excluded(char: string, members: readonly string[], body: readonly string[]): boolean {
  if (members.includes(char)) return true;
  if (body.some((each) => (each === '\\w' && /\w/.test(char)) || (each === '\\d' && /\d/.test(char)))) return true;
  return members.some((each, index) => {
    const end = members[index + 2];
    return members[index + 1] === '-' && end !== undefined && each <= char && char <= end;
  });
}

function quantifier(reader: Reader): number {
  const mark = reader.pattern[reader.at];
  if (mark !== '*' && mark !== '+' && mark !== '?' && mark !== '{') return 1;
  const found = /^(?:([*+?])|\{(\d{1,6})(?:(,)(\d{0,6}))?\})\??/.exec(reader.pattern.slice(reader.at, reader.at + 20));
  if (found === null) return 1;
  reader.at += found[0].length;
  if (found[1] === '?') return Math.min(reader.repeats, 1);
  if (found[1] === '*') return reader.repeats;
  if (found[1] === '+') return Math.max(reader.repeats, 1);
  const least = Number(found[2]);
  if (found[3] === undefined) return least;
  const most = found[4] === '' || found[4] === undefined ? Number.POSITIVE_INFINITY : Number(found[4]);
  return Math.min(Math.max(least, reader.repeats), most);
}
