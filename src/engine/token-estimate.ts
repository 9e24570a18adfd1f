/**
 * A guess at how many tokens texts have, for models whose vocabulary nobody has told us. It goes over the characters once
 * and counts what byte-pair vocabularies of today take as one piece. Fitted to `o200k_base` and measured against it on
 * other texts by bench/token-estimate.ts; docs/tokens.md has the errors.
 */
export function estimateTokens(texts: readonly string[]): number {
  const totalChars = texts.reduce((sum, text) => sum + text.length, 0);
  // All of it, or pieces from everywhere that are together no more than the bound.
  const share = Math.min(1, maxReadChars / Math.max(totalChars, 1));
  let due = 0;
  let readChars = 0;
  let tokens = 0;
  for (const text of texts) {
    for (let start = 0; start < text.length; start += pieceChars) {
      const end = Math.min(start + pieceChars, text.length);
      due += (end - start) * share;
      if (share < 1 && due < pieceChars) continue;
      due -= pieceChars;
      readChars += end - start;
      tokens += tokensOf(text, start, end);
    }
  }
  return readChars === 0 ? 0 : Math.ceil((tokens * totalChars) / readChars);
}

/** Characters that are looked at; it takes a few milliseconds. The rest is taken to be like them. */
const maxReadChars = 262_144;
const pieceChars = 1_024;

/** What characters have in common that matters here. */
type Script = 'letter' | 'digit' | 'space' | 'newline' | 'mark' | 'weighted';

/** Letters of a word that are one token as a rule, and what each further one adds. */
const plainLetters = 5;
const perFurtherLetter = 0.07;
/** Longer than any usual word: syllable by syllable; and longer than any word: no syllables. */
const maxWordLetters = 14;
const lettersPerToken = 3.5;
const maxCompoundLetters = 40;
const perNonsenseLetter = 0.5;
const digitsPerToken = 3;
/** Marks in a row that are one token as a rule, and what those in longer rows are worth. */
const plainMarks = 3;
const perMark = 0.36;
/** Letters and digits without a blank, both cases among them: keys, hashes, base64. */
const minRandomChars = 24;
const perRandomChar = 0.68;

/** Scripts outside ASCII, by their first code unit, with what one code unit is worth; sorted. */
const weights: readonly (readonly [from: number, weight: number])[] = [
  [0x80, 0.5], // Latin-1's signs, and letters of Latin scripts outside words
  [0x370, 0.45], // Greek
  [0x400, 0.245], // Cyrillic
  [0x530, 0.5], // Armenian, Hebrew
  [0x600, 0.35], // Arabic
  [0x900, 0.35], // Devanagari and its relatives
  [0xe00, 0.34], // Thai, Lao
  [0xf00, 1], // scripts that vocabularies have little of
  [0x2000, 0.7], // typographic marks, arrows, signs
  [0x3000, 0.6], // marks of East Asian texts
  [0x3040, 0.72], // kana
  [0x3100, 1],
  [0x3400, 0.7], // Han
  [0xa000, 1],
  [0xac00, 0.7], // Hangul
  [0xd800, 1.15], // halves of emoji and other rare characters
  [0xe000, 1],
  [0xff00, 0.6], // full-width forms
];

function tokensOf(text: string, start: number, end: number): number {
  let tokens = 0;
  let at = start;
  let before: Script | undefined;
  /** Up to here nothing looks random: each character is looked at once for this. */
  let plainUntil = start;
  while (at < end) {
    const script = scriptOf(text.charCodeAt(at));
    const from = at;
    if (script === 'weighted') {
      tokens += weightOf(text.charCodeAt(at));
      at += 1;
    } else if (script === 'letter' || script === 'digit') {
      const run = at < plainUntil ? undefined : longRun(text, at, end);
      plainUntil = Math.max(plainUntil, run?.end ?? 0);
      at = run?.isRandom === true ? run.end : runEnd(text, at, end, script);
      if (run?.isRandom === true) tokens += (at - from) * perRandomChar;
      else if (script === 'letter') tokens += wordTokens(text, from, at);
      // A blank before a number is a token of its own.
      else tokens += Math.ceil((at - from) / digitsPerToken) + (before === 'space' ? 1 : 0);
    } else {
      at = runEnd(text, at, end, script);
      const length = at - from;
      if (script === 'mark') tokens += length <= plainMarks ? 1 : length * perMark;
      // The last blank goes with the word behind it; line ends go with the marks before them.
      else if (script === 'space') tokens += length > 1 ? 1 : 0;
      else if (before !== 'mark') tokens += 1;
    }
    before = script;
  }
  return tokens;
}

/** Words are split where a capital follows a small letter. */
function wordTokens(text: string, start: number, end: number): number {
  let tokens = 0;
  let from = start;
  for (let at = start + 1; at <= end; at += 1) {
    if (at < end && !(isUpper(text.charCodeAt(at)) && !isUpper(text.charCodeAt(at - 1)))) continue;
    const length = at - from;
    if (length > maxCompoundLetters) tokens += length * perNonsenseLetter;
    else if (length > maxWordLetters) tokens += length / lettersPerToken;
    else tokens += 1 + Math.max(0, length - plainLetters) * perFurtherLetter;
    from = at;
  }
  return tokens;
}

function runEnd(text: string, start: number, end: number, script: Script): number {
  let at = start + 1;
  while (at < end && scriptOf(text.charCodeAt(at)) === script) at += 1;
  return at;
}

/** Letters, digits and the few marks of keys and base64, without a blank between them. */
function longRun(text: string, start: number, end: number): { readonly end: number; readonly isRandom: boolean } {
  let at = start;
  let [digits, uppers, lowers] = [0, 0, 0];
  for (; at < end; at += 1) {
    const code = text.charCodeAt(at);
    if (code >= 0x30 && code <= 0x39) digits += 1;
    else if (isUpper(code)) uppers += 1;
    else if (code >= 0x61 && code <= 0x7a) lowers += 1;
    else if (code !== 0x2b && code !== 0x2f && code !== 0x2d && code !== 0x5f) break;
  }
  const length = at - start;
  const isMixed = digits * 20 > length && uppers * 5 > length && lowers * 5 > length;
  return { end: at, isRandom: length >= minRandomChars && isMixed };
}

function scriptOf(code: number): Script {
  if (code >= 0x80) return code >= 0xc0 && code < 0x250 ? 'letter' : 'weighted';
  if ((code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a)) return 'letter';
  if (code >= 0x30 && code <= 0x39) return 'digit';
  if (code === 0x0a || code === 0x0d) return 'newline';
  return code === 0x20 || code === 0x09 ? 'space' : 'mark';
}

function isUpper(code: number): boolean {
  return code >= 0x41 && code <= 0x5a;
}

function weightOf(code: number): number {
  let weight = 1;
  for (const [from, value] of weights) {
    if (code < from) break;
    weight = value;
  }
  return weight;
}
