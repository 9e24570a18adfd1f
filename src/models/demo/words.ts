/** Characters of one text that the scripts look at. What is repeated or handed back is never shortened by it. */
export const maxAnalysedChars = 20_000;

const stopWords = new Set(
  (
    'a about all also am an and any are as at be been but by can could did do does for from give given had has have he ' +
    'her here him his how i if in into is it its let me more my no not now of on one or other our out please she ' +
    'so some tell that the their them then there these they this those to up us use used using want was we were what ' +
    'when where which who why will with would you your yours ask asked say said told know remember called named'
  ).split(' '),
);

/** A word without its commonest English endings, so that `cities` meets `city` and `calculating` meets `calculate`. */
export function stem(word: string): string {
  let stemmed = word.toLowerCase();
  if (stemmed.length > 4 && stemmed.endsWith('ies')) stemmed = `${stemmed.slice(0, -3)}y`;
  else if (stemmed.length > 5 && stemmed.endsWith('ing')) stemmed = stemmed.slice(0, -3);
  else if (stemmed.length > 4 && /(?:ed|ly)$/.test(stemmed)) stemmed = stemmed.slice(0, -2);
  else if (stemmed.length > 3 && stemmed.endsWith('s') && !stemmed.endsWith('ss')) stemmed = stemmed.slice(0, -1);
  return stemmed.length > 4 && stemmed.endsWith('e') ? stemmed.slice(0, -1) : stemmed;
}

/** The stems of every word of a text, snake_case and camelCase names taken apart. */
export function stems(text: string): Set<string> {
  const spaced = text.slice(0, maxAnalysedChars).replace(/(\p{Ll})(?=\p{Lu})/gu, '$1 ');
  return new Set((spaced.match(/[\p{L}\p{N}]+/gu) ?? []).map(stem));
}

const stoppedStems = new Set([...stopWords].map(stem));

/** The stems of the words that say what a text is about. */
export function contentStems(text: string): Set<string> {
  return new Set([...stems(text)].filter((each) => !stoppedStems.has(each)));
}

/**
 * Sentences and lines, and clauses that begin a new statement with `and my …`, `and I …`. At most 500. Blanks within
 * them are single ones.
 */
export function sentencesOf(text: string): string[] {
  return text
    .slice(0, maxAnalysedChars)
    .split(/(?<=[.!?])\s+|\n+|,? (?:and|but) (?=(?:my|i|i'm|i’m|the|remember)\b)/i, 500)
    .map((each) => each.replace(/\s+/g, ' ').trim())
    .filter((each) => each !== '');
}

/** Without the marks that enclose or end it. */
export function bare(text: string): string {
  const trimmed = text.trim();
  let end = trimmed.length;
  while (end > 0 && '.!?,;'.includes(trimmed.charAt(end - 1))) end -= 1;
  return unquoted(trimmed.slice(0, end).trim());
}

const closingMarks = new Map([
  ['"', '"'],
  ['“', '”'],
  ["'", "'"],
  ['‘', '’'],
  ['`', '`'],
]);

/** Without a pair of quotation marks around the whole of it. */
export function unquoted(text: string): string {
  const closing = closingMarks.get(text.charAt(0));
  const encloses = closing !== undefined && text.length > 1 && text.indexOf(closing, 1) === text.length - 1;
  return encloses ? text.slice(1, -1) : text;
}

/** At most `maxChars` characters, a cut one marked with an ellipsis; never half a surrogate pair. */
export function shortened(text: string, maxChars: number): string {
  if (text.length <= maxChars) return text;
  return `${text.slice(0, safeEnd(text, maxChars))}…`;
}

/** The index at or just after `end` that does not split a surrogate pair. */
export function safeEnd(text: string, end: number): number {
  if (end >= text.length) return text.length;
  const before = text.charCodeAt(end - 1);
  const after = text.charCodeAt(end);
  const splits = before >= 0xd800 && before <= 0xdbff && after >= 0xdc00 && after <= 0xdfff;
  return splits ? end + 1 : end;
}

export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
