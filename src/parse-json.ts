/**
 * What stand-ins begin with: half a surrogate pair. No name of a well-formed text begins with it, unless it is escaped
 * there, and then it gets a stand-in itself.
 */
const mark = '\udfff';

/**
 * `JSON.parse`, right about names with backslashes whatever was parsed before.
 *
 * V8 looks a name up among those that came next in earlier objects before it undoes the escapes: it compares as many
 * characters of the text as the name will have (nodejs/node#63785; V8 13.6 and 14.6 at least). Once `{"f\\u":1}` was
 * parsed, for anybody, `{"f\u00fcr":1}` has the name `f\u`. Those characters include the first backslash. So it takes
 * two: a name that is escaped, and an earlier one with a real backslash. `JSON.parse` is given neither here: an escaped
 * name is written plainly where it can be, and gets a stand-in where it can't (quotes, backslashes, control characters,
 * halves of surrogate pairs), which is exchanged in what was parsed. A body thus is read right, and is no trap for what
 * else is parsed in this process.
 *
 * The other calls of `JSON.parse` in this server are left alone where they are hot. Names of a vocabulary are never
 * escaped, so only names that clients, models and upstreams chose can be misread, where `JSON.stringify` had to escape
 * them: in loose items that come from a store, in annotations. The wrong name is the beginning of the right
 * one as it was written, so nobody learns anything of anybody.
 *
 * @param text nests no deeper than `lookOver` allows and is well-formed Unicode, as all is that came as UTF-8.
 * @param hasEscapedNames false where it is known that no name has a backslash: that costs nothing then.
 * @throws SyntaxError where `JSON.parse` would, with its message.
 */
export function parseJson(text: string, hasEscapedNames = text.includes('\\')): unknown {
  if (!hasEscapedNames) return JSON.parse(text);
  const names = new Names();
  let value: unknown;
  try {
    value = JSON.parse(withNames(text, (name) => names.harmless(name)));
  } catch (error) {
    // What is wrong is said of the text as it was sent; but even now no escaped name may come before V8.
    JSON.parse(withNames(text, (name) => names.blank(name)));
    throw error;
  }
  return names.standIns.size === 0 ? value : restored(value, names.standIns);
}

/** Names as they stand in a text, with their quotes, and what stands for them. */
class Names {
  /** The names that stand-ins stand for. */
  readonly standIns = new Map<string, string>();
  readonly #harmless = new Map<string, string>();
  readonly #quotedStandIns = new Map<string, string>();

  /** @throws SyntaxError for an escape that does not exist, and for a raw control character. */
  harmless(escaped: string): string {
    const known = this.#harmless.get(escaped);
    if (known !== undefined) return known;
    // A string by itself is no name: it is always read right.
    const name: string = JSON.parse(escaped);
    const shortest = JSON.stringify(name);
    const harmless = shortest.includes('\\') ? this.#standIn(name) : shortest;
    this.#harmless.set(escaped, harmless);
    return harmless;
  }

  /** A name of the same length, so that positions stay. The first that was no string is left for the parser to find. */
  blank(escaped: string): string {
    return this.#harmless.has(escaped) ? `"${'_'.repeat(escaped.length - 2)}"` : escaped;
  }

  /** One for each name, however that is spelled: of a name that is given twice the last counts. */
  #standIn(name: string): string {
    const known = this.#quotedStandIns.get(name);
    if (known !== undefined) return known;
    const standIn = `${mark}${this.standIns.size}`;
    this.standIns.set(standIn, name);
    const quoted = `"${standIn}"`;
    this.#quotedStandIns.set(name, quoted);
    return quoted;
  }
}

/** The text with something else for each name that has a backslash. Time is linear: no search goes back. */
function withNames(text: string, replacement: (escaped: string) => string): string {
  const pieces: string[] = [];
  let copied = 0;
  let slash = text.indexOf('\\');
  let start = text.indexOf('"');
  while (start !== -1 && slash !== -1) {
    // Outside of strings a backslash is a mistake, which the parser will find.
    if (slash < start) slash = text.indexOf('\\', start);
    let end = text.indexOf('"', start + 1);
    let isEscaped = false;
    while (slash !== -1 && slash < end) {
      isEscaped = true;
      const next = slash + 2;
      if (end < next) end = text.indexOf('"', next);
      slash = text.indexOf('\\', next);
    }
    if (end === -1) break;
    if (isEscaped && text[afterSpace(text, end + 1)] === ':') {
      pieces.push(text.slice(copied, start), replacement(text.slice(start, end + 1)));
      copied = end + 1;
    }
    start = text.indexOf('"', end + 1);
  }
  if (copied === 0) return text;
  pieces.push(text.slice(copied));
  return pieces.join('');
}

function afterSpace(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at += 1;
  return at;
}

/** With the names that stand-ins stand for, in the same order. */
function restored(value: unknown, standIns: ReadonlyMap<string, string>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const each: unknown = value[index];
      if (typeof each === 'object') value[index] = restored(each, standIns);
    }
    return value;
  }
  const object = value as Record<string, unknown>;
  let hasStandIn = false;
  for (const name of Object.keys(object)) {
    if (name.startsWith(mark)) hasStandIn = true;
    const each = object[name];
    // A `__proto__` is the object's own here, so that this is no more than a value, too.
    if (typeof each === 'object') object[name] = restored(each, standIns);
  }
  return hasStandIn ? renamed(object, standIns) : object;
}

function renamed(object: Record<string, unknown>, standIns: ReadonlyMap<string, string>): unknown {
  const result: Record<string, unknown> = {};
  for (const name of Object.keys(object)) {
    const value = object[name];
    // Assigned, it would be the prototype.
    if (name === '__proto__') Object.defineProperty(result, name, { ...ownProperty, value });
    else result[standIns.get(name) ?? name] = value;
  }
  return result;
}

const ownProperty = { configurable: true, enumerable: true, writable: true };
