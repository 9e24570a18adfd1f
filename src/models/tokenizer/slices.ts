/**
 * The time that a byte-pair tokenizer takes grows with the square of the longest word: a megabyte without a blank would
 * take hours. So a text is counted in slices, cut where no token can reach across: before a single blank. Where there is
 * none within `maxSliceChars`, and within runs of more than `maxRunChars` of one kind, the cut may split a token, which
 * adds at most a few to hundreds.
 */
const maxSliceChars = 4_096;
const maxRunChars = 256;

/** What a run consists of. Tokenizers split between these; what is `any` may join either side. */
type Kind = 'letter' | 'mark' | 'space' | 'digit' | 'any';

/** The slices of a text, in order; together they are the text. */
export function* slicesOf(text: string): Generator<string, undefined> {
  let start = 0;
  let gap = 0;
  let runStart = 0;
  let runKind: Kind = 'any';
  for (let at = 0; at < text.length; at += 1) {
    const kind = kindOf(text.charCodeAt(at));
    if (endsRun(text, at, kind, runKind)) runStart = at;
    if (kind !== 'any') runKind = kind;
    if (isGap(text, at)) gap = at;
    if (isLowSurrogate(text.charCodeAt(at))) continue;
    const isLongRun = at - runStart >= maxRunChars;
    if (!isLongRun && at - start < maxSliceChars) continue;
    const end = isLongRun || gap <= start ? at : gap;
    yield text.slice(start, end);
    start = end;
    if (isLongRun) runStart = at;
  }
  if (start < text.length) yield text.slice(start);
}

/** Letters, marks and blanks end where another kind begins; digits are taken by threes at most. */
function endsRun(text: string, at: number, kind: Kind, runKind: Kind): boolean {
  if (kind === 'digit' || runKind === 'digit') return true;
  if (kind === 'any') return at > 0 && isEastAsianMark(text.charCodeAt(at)) && isEastAsian(text.charCodeAt(at - 1));
  return kind !== runKind && runKind !== 'any';
}

/** A single blank between two words: it goes with the one behind it. */
function isGap(text: string, at: number): boolean {
  return (
    text.charCodeAt(at) === 0x20 &&
    at > 0 &&
    kindOf(text.charCodeAt(at - 1)) !== 'space' &&
    at + 1 < text.length &&
    kindOf(text.charCodeAt(at + 1)) !== 'space'
  );
}

function kindOf(code: number): Kind {
  if (code >= 0x80) return isWideSpace(code) ? 'space' : 'any';
  if ((code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a)) return 'letter';
  if (code >= 0x30 && code <= 0x39) return 'digit';
  return code === 0x20 || (code >= 0x09 && code <= 0x0d) ? 'space' : 'mark';
}

/** The white space of regular expressions outside ASCII. */
function isWideSpace(code: number): boolean {
  return (
    code === 0xa0 ||
    code === 0x1680 ||
    (code >= 0x2000 && code <= 0x200a) ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0x202f ||
    code === 0x205f ||
    code === 0x3000 ||
    code === 0xfeff
  );
}

/** Kana, Han and Hangul: letters of texts that have no blanks. */
function isEastAsian(code: number): boolean {
  return (code >= 0x3041 && code <= 0x3096) || (code >= 0x30a1 && code <= 0x30fa) || isHan(code) || isHangul(code);
}

function isHan(code: number): boolean {
  return code >= 0x4e00 && code <= 0x9fa5;
}

function isHangul(code: number): boolean {
  return code >= 0xac00 && code <= 0xd7a3;
}

/** 、 。 「 」 and their like, and full-width ! , . : ; ? */
function isEastAsianMark(code: number): boolean {
  return (
    (code >= 0x3001 && code <= 0x3003) ||
    (code >= 0x3008 && code <= 0x3011) ||
    code === 0xff01 ||
    code === 0xff0c ||
    code === 0xff0e ||
    code === 0xff1a ||
    code === 0xff1b ||
    code === 0xff1f
  );
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}
