import type { z } from 'zod';

/** What is wrong with a value: a code of docs/wire.md §5, the path of the field, and a sentence for the caller. */
export type Problem = { readonly code: string; readonly param: string | null; readonly message: string };

export type Validation<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: Problem };

export type ValidateOptions = {
  /** `reject`: an unknown field is a problem. `ignore`: it is dropped (R16). */
  readonly unknownFields: 'reject' | 'ignore';
};

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** SDK helpers add these to the items that they hand back; they are dropped wherever they stand (docs/wire.md §2). */
const sdkFields = new Set(['parsed', 'parsed_arguments']);

/**
 * Checks a value against a schema. The value must be the caller's to give away: unknown fields that may be ignored
 * (null, or an SDK helper's, or any in lenient mode) are removed from it in place.
 */
export function validate<T extends z.ZodType>(
  schema: T,
  value: unknown,
  options: ValidateOptions,
): Validation<z.output<T>> {
  const first = schema.safeParse(value, { reportInput: true });
  if (first.success) return { ok: true, value: first.data };
  const issues = flatten(first.error.issues, []);
  if (!dropIgnorable(value, issues, options)) return { ok: false, problem: problemOf(issues) };
  const second = schema.safeParse(value, { reportInput: true });
  if (second.success) return { ok: true, value: second.data };
  return { ok: false, problem: problemOf(flatten(second.error.issues, [])) };
}

/** Removes what may be ignored; true when anything was removed, so that a second look is worth it. */
function dropIgnorable(value: unknown, issues: readonly Issue[], options: ValidateOptions): boolean {
  let dropped = false;
  for (const issue of issues) {
    if (issue.code !== 'unrecognized_keys') continue;
    const owner = valueAt(value, issue.path);
    if (owner === undefined) continue;
    for (const key of issue.keys) {
      if (options.unknownFields === 'ignore' || owner[key] === null || sdkFields.has(key)) {
        delete owner[key];
        dropped = true;
      }
    }
  }
  return dropped;
}

function valueAt(value: unknown, path: Path): Record<PropertyKey, unknown> | undefined {
  let at = value;
  for (const key of path) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>) : undefined;
}

/** Replaces each failed union by the issues of the branch that came furthest, with full paths. */
function flatten(issues: readonly Issue[], prefix: Path): Issue[] {
  return issues.flatMap((issue) => {
    const path = [...prefix, ...issue.path];
    if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [{ ...issue, path }];
    const branches = issue.errors.map((branch) => flatten(branch, path));
    const deeper = branches.filter((branch) => branch.some((each) => !isRootMismatch(each, path)));
    if (deeper.length > 0) return deeper[0] ?? [];
    return [{ ...issue, path }];
  });
}

function isRootMismatch(issue: Issue, path: Path): boolean {
  return issue.path.length === path.length && (issue.code === 'invalid_type' || issue.code === 'invalid_value');
}

/** Unknown fields are told last: a wrong type says more about what went wrong. */
function problemOf(issues: readonly Issue[]): Problem {
  const issue = issues.find((each) => each.code !== 'unrecognized_keys') ?? issues[0];
  if (issue === undefined) return { code: 'invalid_value', param: null, message: 'Invalid value.' };
  return describe(issue);
}

function describe(issue: Issue): Problem {
  const param = pathText(issue.path);
  const name = param === null ? 'the body' : `'${param}'`;
  switch (issue.code) {
    case 'invalid_type':
      return typeProblem(issue.expected, issue.input, param, name);
    case 'unrecognized_keys': {
      const key = pathText([...issue.path, issue.keys[0] ?? '']);
      return { code: 'unknown_parameter', param: key, message: `Unknown parameter: '${key}'.` };
    }
    case 'invalid_value':
      return isMissing(issue.input)
        ? missing(param, name)
        : { code: 'invalid_value', param, message: `Invalid value for ${name}: expected ${oneOf(issue.values)}.` };
    case 'too_big':
      return {
        code: `${sizeKind(issue.origin)}_above_max_${sizeUnit(issue.origin)}`,
        param,
        message: `Invalid ${name}: at most ${issue.maximum}${unitText(issue.origin)} allowed.`,
      };
    case 'too_small':
      return {
        code: `${sizeKind(issue.origin)}_below_min_${sizeUnit(issue.origin)}`,
        param,
        message: `Invalid ${name}: at least ${issue.minimum}${unitText(issue.origin)} required.`,
      };
    case 'invalid_union':
      return unionProblem(issue, param, name);
    case 'custom':
      return customProblem(issue, param, name);
    default:
      return { code: 'invalid_value', param, message: `Invalid value for ${name}: ${issue.message}.` };
  }
}

function unionProblem(issue: Extract<Issue, { code: 'invalid_union' }>, param: string | null, name: string): Problem {
  if (isMissing(issue.input)) return missing(param, name);
  if (issue.errors.length === 0) {
    const seen = discriminatorOf(issue);
    if (seen === undefined) return missing(param, name);
    return {
      code: 'invalid_value',
      param,
      message: `Invalid value for ${name}: ${short(seen)} is not among the supported values.`,
    };
  }
  const first = issue.errors.flat().filter((each) => each.code === 'invalid_type' || each.code === 'invalid_value');
  const wrongValue = first.find((each) => each.code === 'invalid_value');
  if (wrongValue !== undefined && typeof issue.input === 'string')
    return describe({ ...wrongValue, path: [...issue.path] });
  const expected = [...new Set(first.map((each) => (each.code === 'invalid_type' ? each.expected : 'string')))];
  return typeProblem(expected.join(' or '), issue.input, param, name);
}

function discriminatorOf(issue: Extract<Issue, { code: 'invalid_union' }>): unknown {
  const key = issue.path.at(-1);
  const owner = issue.input;
  if (key === undefined || typeof owner !== 'object' || owner === null) return owner;
  return (owner as Record<PropertyKey, unknown>)[key];
}

function customProblem(issue: Extract<Issue, { code: 'custom' }>, param: string | null, name: string): Problem {
  const code = issue.params?.['code'];
  if (typeof code === 'string') {
    const message =
      code === 'unsupported_value' ? `${capital(issue.message)}.` : `Invalid value for ${name}: ${issue.message}.`;
    return { code, param, message };
  }
  if (isMissing(issue.input)) return missing(param, name);
  const expected = issue.params?.['expected'];
  return typeProblem(typeof expected === 'string' ? expected : 'another type', issue.input, param, name);
}

function typeProblem(expected: string, input: unknown, param: string | null, name: string): Problem {
  if (isMissing(input)) return missing(param, name);
  return {
    code: 'invalid_type',
    param,
    message: `Invalid type for ${name}: expected ${expected === 'int' ? 'integer' : expected}, but got ${typeText(input)} instead.`,
  };
}

function missing(param: string | null, name: string): Problem {
  return { code: 'missing_required_parameter', param, message: `Missing required parameter: ${name}.` };
}

/** Null in a required field is a wrong type, not a missing field. */
function isMissing(input: unknown): boolean {
  return input === undefined;
}

function pathText(path: Path): string | null {
  if (path.length === 0) return null;
  let text = '';
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  return text.slice(0, 256);
}

function sizeKind(origin: string): string {
  if (origin === 'number') return 'decimal';
  if (origin === 'int') return 'integer';
  return origin === 'string' || origin === 'array' ? origin : 'object';
}

function sizeUnit(origin: string): string {
  if (origin === 'number' || origin === 'int') return 'value';
  return origin === 'string' || origin === 'array' ? 'length' : 'properties';
}

function unitText(origin: string): string {
  if (origin === 'string') return ' characters are';
  return origin === 'array' ? ' entries are' : ' is';
}

function typeText(input: unknown): string {
  if (input === null) return 'null';
  if (Array.isArray(input)) return 'an array';
  if (typeof input === 'number') {
    if (!Number.isFinite(input)) return Number.isNaN(input) ? 'something else' : 'a number out of range';
    return Number.isInteger(input) ? 'an integer' : 'a decimal';
  }
  if (typeof input === 'object') return 'an object';
  return `a ${typeof input}`;
}

function oneOf(values: readonly unknown[]): string {
  const shown = values.map((value) => `'${String(value)}'`).join(', ');
  return values.length > 1 ? `one of ${shown}` : shown;
}

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? 'it';
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
