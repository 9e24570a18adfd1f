import { ConfigError } from './config-error.ts';

export type Property = {
  readonly key: string;
  readonly value: string;
  /** Where it begins, counted from 1. */
  readonly line: number;
};

const escapes = new Map([
  ['n', '\n'],
  ['t', '\t'],
  ['r', '\r'],
  ...['\\', '=', ':', '#', '!', ' '].map((same): [string, string] => [same, same]),
]);

/**
 * Reads a properties file: `key = value` per line, `#` and `!` comments, `\` at a line's end to go on in the next one.
 *
 * It differs from Java's format in one point: only `=` ends a key. Java also takes `:` and blanks, which would cut
 * `open-responses.models.llama3:8b=…` in two. And it is strict where Java guesses: a line without `=`, an unknown
 * escape (`C:\data`) and a key given twice are errors.
 *
 * Messages never quote a line, for it may hold a secret. `file` is the name that they show.
 */
export function parseProperties(content: string, file: string): readonly Property[] {
  if (/[\0\ufffd]/.test(content)) throw new ConfigError(`${file} is not a text file in UTF-8.`);
  const found = new Map<string, Property>();
  for (const { text, line } of logicalLines(content.replace(/^\ufeff/, ''), file)) {
    const property = parseLine(text, line, file);
    const earlier = found.get(property.key);
    if (earlier !== undefined) {
      throw new ConfigError(
        `${property.key} stands twice in ${file}: in lines ${earlier.line} and ${line}. Remove one.`,
      );
    }
    found.set(property.key, property);
  }
  return [...found.values()];
}

type Line = { readonly text: string; readonly line: number };

/** The lines that say something, continued ones joined. */
function logicalLines(content: string, file: string): readonly Line[] {
  const result: Line[] = [];
  let open: Line | undefined;
  for (const [index, raw] of content.split(/\r\n|\n|\r/).entries()) {
    const part = raw.trimStart();
    if (open === undefined && (part === '' || part.startsWith('#') || part.startsWith('!'))) continue;
    const goesOn = /(?<!\\)(?:\\\\)*\\$/.test(part);
    const joined: Line = {
      text: (open?.text ?? '') + (goesOn ? part.slice(0, -1) : part),
      line: open?.line ?? index + 1,
    };
    if (!goesOn) result.push(joined);
    open = goesOn ? joined : undefined;
  }
  if (open !== undefined) throw new ConfigError(`${file}:${open.line} ends with \\, but no line follows.`);
  return result;
}

function parseLine(text: string, line: number, file: string): Property {
  const at = separator(text);
  if (at === -1) {
    throw new ConfigError(`${file}:${line} has no =. Write key=value; only = ends a key, neither : nor a blank does.`);
  }
  const key = unescaped(text.slice(0, at).trim(), line, file);
  if (key === '') throw new ConfigError(`${file}:${line} has no key before its =.`);
  return { key, value: unescaped(trim(text.slice(at + 1)), line, file), line };
}

/** The first `=` that no backslash escapes. */
function separator(text: string): number {
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '=') return at;
  }
  return -1;
}

/** Trims blanks, but keeps a last one that is escaped. */
function trim(text: string): string {
  const trimmed = text.trim();
  return /(?<!\\)(?:\\\\)*\\$/.test(trimmed) ? `${trimmed} ` : trimmed;
}

function unescaped(text: string, line: number, file: string): string {
  return text.replace(/\\(u[0-9a-fA-F]{4}|[\s\S]|$)/g, (_, after: string) => {
    if (/^u./.test(after)) return String.fromCharCode(Number.parseInt(after.slice(1), 16));
    const plain = escapes.get(after);
    if (plain !== undefined) return plain;
    throw new ConfigError(
      `${file}:${line} has a backslash that begins no known escape. Known are \\n, \\t, \\r, \\\\, \\uXXXX and a backslash before = : # ! or a blank; write \\\\ for the backslash itself.`,
    );
  });
}
