import type { JsonObject } from '../../api/primitives.ts';
import { patternExample } from './pattern-example.ts';

/** Longer strings than this are not invented, whatever `minLength` asks for. */
const maxStringLength = 100_000;

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
  take: (format: string | undefined, accepts: (value: string) => boolean) => string | undefined,
): string {
  const least = Math.min(count(schema['minLength'], 0), maxStringLength);
  const most = count(schema['maxLength'], maxStringLength);
  const accepts = (value: string) => [...value].length >= least && [...value].length <= most;
  const pattern = schema['pattern'];
  if (typeof pattern === 'string') return patternExample(pattern, least, most);
  const format = typeof schema['format'] === 'string' ? schema['format'] : undefined;
  const taken = take(format, accepts);
  if (taken !== undefined) return taken;
  const invented = format === undefined ? undefined : formatExamples.get(format)?.(variant);
  if (invented !== undefined) return invented;
  const text = variant === 0 ? 'example' : `example ${variant + 1}`;
  // A cut example would lose the number that tells it from its neighbours, so short ones are counted out.
  if (text.length > most) {
    const number = String(variant + 1).padStart(least, '0');
    return number.slice(Math.max(0, number.length - most));
  }
  return text.length >= least ? text : text.padEnd(least, '.');
}

function count(value: unknown, fallback: number): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.floor(value) : fallback;
}

/** A number within its schema's bounds, a multiple of what it asks for; a higher variant gives another where there is one. */
export function numberExample(
  schema: JsonObject,
  whole: boolean,
  variant: number,
  take: (accepts: (value: number) => boolean) => number | undefined,
): number {
  const { least, most } = bounds(schema, whole);
  const step = stepOf(schema, whole);
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

function stepOf(schema: JsonObject, whole: boolean): number | undefined {
  const given = schema['multipleOf'];
  const multiple = typeof given === 'number' && given > 0 ? given : undefined;
  if (!whole) return multiple;
  if (multiple === undefined) return 1;
  return Number.isInteger(multiple) ? multiple : leastWhole(multiple);
}

/** The smallest whole multiple of a fraction, if one is near. */
function leastWhole(multiple: number): number {
  for (let times = 1; times <= 1_000; times += 1) {
    const product = clean(multiple * times);
    if (Number.isInteger(product)) return product;
  }
  return 1;
}

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
