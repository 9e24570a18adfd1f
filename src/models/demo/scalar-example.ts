import type { JsonObject } from '../../api/primitives.ts';
import type { Budget } from './budget.ts';
import { patternExample } from './pattern-example.ts';

const formatExamples = new Map<string, (variant: number) => string>([
  ['date-time', (variant) => `2026-01-${twoDigits(variant)}T12:00:00Z`],
  ['date', (variant) => `2026-01-${twoDigits(variant)}`],
  ['time', (variant) => `12:00:${twoDigits(variant)}Z`],
  ['duration', (variant) => `P${variant + 1}D`],
  ['email', (variant) => `user${variant + 1}@example.com`],
  ['hostname', (variant) => `host${variant + 1}.example.com`],
  ['ipv4', (variant) => `192.0.2.${(variant % 254) + 1}`],
  ['ipv6', (variant) => `2001:db8::${(variant + 1).toString(16)}`],
  ['uri', (variant) => `https://example.com/${variant + 1}`],
  ['url', (variant) => `https://example.com/${variant + 1}`],
  ['uuid', (variant) => `00000000-0000-4000-8000-${String(variant + 1).padStart(12, '0')}`],
]);

function twoDigits(variant: number): string {
  return String((variant % 28) + 1).padStart(2, '0');
}

/** A string within its schema's bounds; `take` is asked first, unless there is a pattern, which is never run (see there). */
export function stringExample(
  schema: JsonObject,
  variant: number,
  budget: Budget,
  take: (format: string | undefined, accepts: (value: string) => boolean) => string | undefined,
): string {
  const least = count(schema['minLength'], 0);
  const most = count(schema['maxLength'], Number.POSITIVE_INFINITY);
  const pattern = schema['pattern'];
  if (typeof pattern === 'string') return patternExample(pattern, least, most, budget);
  const format = typeof schema['format'] === 'string' ? schema['format'] : undefined;
  const taken = take(format, (value) => hasLength(value, least, most));
  if (taken !== undefined) return taken;
  const invented = format === undefined ? undefined : formatExamples.get(format)?.(variant);
  if (invented !== undefined) return invented;
  const text = variant === 0 ? 'example' : `example ${variant + 1}`;
  if (text.length >= least && text.length <= most) return text;
  budget.takeChars(least);
  // A cut example would lose the number that tells it from its neighbours, so short ones are counted out.
  if (text.length > most) {
    const number = String(variant + 1).padStart(least, '0');
    return number.slice(Math.max(0, number.length - most));
  }
  return text.padEnd(least, '.');
}

/** Whether a text has so many characters, pairs of surrogates counted once; these are looked for only where it matters. */
function hasLength(text: string, least: number, most: number): boolean {
  if (text.length < least || text.length > most * 2) return false;
  if (text.length <= most && text.length >= least * 2) return true;
  const { length } = [...text];
  return length >= least && length <= most;
}

function count(value: unknown, fallback: number): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.floor(value) : fallback;
}

/** A number within its schema's bounds, a multiple of what it asks for; a higher variant gives another where there is one. */
export function numberExample(
  schema: JsonObject,
  whole: boolean,
  variant: number,
  budget: Budget,
  take: (accepts: (value: number) => boolean) => number | undefined,
): number {
  const { least, most } = bounds(schema, whole);
  const step = stepOf(schema, whole, budget);
  const onStep = (value: number) => step === undefined || Math.abs(value / step - Math.round(value / step)) < 1e-9;
  const accepts = (value: number) => value >= least && value <= most && onStep(value);
  const taken = take(accepts);
  if (taken !== undefined) return taken;
  const stride = step ?? (Number.isFinite(most - least) ? Math.min(1, (most - least) / 1_000) : 1);
  for (const start of [1, least, most]) {
    if (!Number.isFinite(start)) continue;
    const aligned = step === undefined ? start : clean((start === most ? Math.floor : Math.ceil)(start / step) * step);
    const value = clean(aligned + (start === most ? -1 : 1) * stride * variant);
    if (accepts(value)) return value;
    if (accepts(aligned)) return aligned;
  }
  return Number.isFinite(least) ? least : Number.isFinite(most) ? most : 1;
}

function stepOf(schema: JsonObject, whole: boolean, budget: Budget): number | undefined {
  const given = schema['multipleOf'];
  const multiple = typeof given === 'number' && given > 0 ? given : undefined;
  if (!whole) return multiple;
  if (multiple === undefined) return 1;
  return Number.isInteger(multiple) ? multiple : leastWhole(multiple, budget);
}

/** The smallest whole multiple of a fraction, if one is near. */
function leastWhole(multiple: number, budget: Budget): number {
  budget.takeSteps(leastWholeSteps);
  for (let times = 1; times <= 1_000; times += 1) {
    const product = multiple * times;
    if (Math.abs(product - Math.round(product)) > 1e-9 * Math.max(1, product)) continue;
    if (Number.isInteger(clean(product))) return clean(product);
  }
  return 1;
}

/** What it costs to try a thousand products, compared with looking at a part of a schema. */
const leastWholeSteps = 20;

function bounds(schema: JsonObject, whole: boolean): { least: number; most: number } {
  const margin = whole ? 1 : 1e-6;
  const minimum = numberOr(schema['minimum'], Number.NEGATIVE_INFINITY);
  const maximum = numberOr(schema['maximum'], Number.POSITIVE_INFINITY);
  const above = excluded(schema['exclusiveMinimum'], minimum, Number.NEGATIVE_INFINITY);
  const below = excluded(schema['exclusiveMaximum'], maximum, Number.POSITIVE_INFINITY);
  const least = Math.max(minimum, beyond(above, margin, whole));
  const most = Math.min(maximum, -beyond(-below, margin, whole));
  return whole ? { least: Math.ceil(least), most: Math.floor(most) } : { least, most };
}

/** The least number above an excluded one. */
function beyond(limit: number, margin: number, whole: boolean): number {
  if (!Number.isFinite(limit)) return limit;
  return whole ? Math.floor(limit) + 1 : limit + margin * Math.max(1, Math.abs(limit));
}

/** Draft 4 writes `true` beside the bound, later drafts write the bound itself. */
function excluded(value: unknown, bound: number, none: number): number {
  return value === true ? bound : numberOr(value, none);
}

function numberOr(value: unknown, fallback: number): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : fallback;
}

function clean(value: number): number {
  return Number(value.toPrecision(12));
}
