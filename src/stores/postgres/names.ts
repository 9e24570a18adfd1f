import { createHash } from 'node:crypto';

/**
 * How ids and names lie in columns of type TEXT, which can hold any character but U+0000, and in indexes, which can hold
 * no row of more than about 2,700 bytes. U+0001 introduces what had to be changed: `0` stands for U+0000, `1` for
 * U+0001 itself, `#` for a digest in the place of a string that is too long.
 *
 * A JSON text needs none of it: there, a control character is always escaped.
 */
const mark = '\u0001';
const digestMark = `${mark}#`;
const digestForm = /^.#[0-9a-f]{64}$/s;

/** Up to four keys lie in one row of an index. */
const maxKeyBytes = 512;

/** Any text, to be got back with `decodeText`. */
export function encodeText(text: string): string {
  if (!text.includes(mark) && !text.includes('\0')) return text;
  return text.replaceAll(mark, `${mark}1`).replaceAll('\0', `${mark}0`);
}

/** What `encodeText` was given. A digest stays one. */
export function decodeText(stored: string): string {
  if (!stored.includes(mark) || isDigest(stored)) return stored;
  return stored.replaceAll(`${mark}0`, '\0').replaceAll(`${mark}1`, mark);
}

/** A tenant or an item's id, which are looked for and never read back. No two strings have the same key. */
export function keyOf(name: string): string {
  const encoded = encodeText(name);
  const isShort = encoded.length <= maxKeyBytes / 4 || Buffer.byteLength(encoded) <= maxKeyBytes;
  return isShort ? encoded : `${digestMark}${createHash('sha256').update(encoded).digest('hex')}`;
}

/**
 * The id of a thread or a response, which are read back: where one is too long for an index its digest is its name from
 * then on, and leads to the same row.
 */
export function placeKeyOf(id: string): string {
  return isDigest(id) ? id : keyOf(id);
}

function isDigest(name: string): boolean {
  return name.startsWith(digestMark) && digestForm.test(name);
}

/** A list of texts as a parameter of type `text[]`. */
export function textArray(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${text.replace(/[\\"]/g, '\\$&')}"`).join(',')}}`;
}

/** A list of numbers or booleans as a parameter. */
export function plainArray(values: readonly (number | boolean)[]): string {
  return `{${values.join(',')}}`;
}
