import { z } from 'zod';

/** `null` in an optional field of a request means the same as leaving it out (docs/wire.md §2). */
export function optional<T extends z.ZodType>(schema: T) {
  return schema.nullish();
}

export type JsonObject = { readonly [key: string]: unknown };

const notAnObject = { params: { expected: 'object' }, message: 'expected an object' };

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Bytes of a `text` field, an `arguments` string, an `output` string; from the Open Responses description. */
export const maxTextLength = 10_485_760;
/** Length of an `image_url`, data URLs included; from OpenAI's description of `InputImageContentParamAutoParam`. */
export const maxImageUrlLength = 20_971_520;
/** Length of a `file_data`; from the Open Responses description. */
export const maxFileDataLength = 33_554_432;
/** Length of a `file_url`. Not stated by either description. */
export const maxFileUrlLength = 8_192;
/** Items in one `input`. Neither description states a limit; every list has one here. */
export const maxInputItems = 50_000;
/** Parts in one message or output. Not stated by either description. */
export const maxParts = 2_000;
/** Tools in one request. OpenAI's documentation names 128 functions for chat completions. */
export const maxTools = 512;

/** At most 16 pairs, keys up to 64 characters, values strings up to 512 (docs/wire.md §1). */
export const metadataSchema = z
  .custom<Metadata>(isObject, notAnObject)
  .superRefine((map, context) => {
    const entries = Object.entries(map);
    if (entries.length > 16) {
      const params = { code: 'object_above_max_properties' };
      context.addIssue({ code: 'custom', params, message: 'at most 16 pairs are allowed' });
      return;
    }
    for (const [key, value] of entries) {
      if (key.length > 64) {
        const params = { code: 'string_above_max_length' };
        context.addIssue({ code: 'custom', params, message: 'keys have at most 64 characters' });
      } else if (typeof value !== 'string') {
        context.addIssue({ code: 'invalid_type', expected: 'string', path: [key], input: value });
      } else if (value.length > 512) {
        context.addIssue({ code: 'too_big', origin: 'string', maximum: 512, path: [key], input: value });
      }
    }
  })
  .meta({
    type: 'object',
    maxProperties: 16,
    propertyNames: { maxLength: 64 },
    additionalProperties: { type: 'string', maxLength: 512 },
  });

export type Metadata = Readonly<Record<string, string>>;

/**
 * An id that a client gave to an item: kept as it is where well-formed (R9). It stands in paths, where `.` and `..` are
 * no names: a client that resolves them would delete the conversation instead of the item.
 */
export const itemIdSchema = z
  .string()
  .min(1)
  .max(256)
  .regex(
    /^(?!\.{1,2}$)[A-Za-z0-9_.:-]+$/,
    'an id has letters, digits, underscores, dashes, dots and colons only, and is not `.` or `..`',
  );

/** Joins a call with its output. The bound is OpenAI's and the Open Responses standard's. */
export const callIdSchema = z.string().min(1).max(64);

/** A value that exists in OpenAI's API and that this server does not have: refused by name, never ignored. */
export function unsupported(what: string) {
  return { params: { code: 'unsupported_value' }, message: `${what} is not supported by this server` };
}

/** A free-form JSON object (a JSON Schema, for one): its nulls and unknown keys are left alone. */
export const jsonObjectSchema = z
  .custom<JsonObject>(isObject, notAnObject)
  .meta({ type: 'object', additionalProperties: true });

/** A free-form object of which this field must, and these may, be strings. It is handed on as it came, key for key. */
export function objectWith<Required extends string>(required: Required, ...optionals: readonly string[]) {
  const strings = [required, ...optionals];
  return z
    .custom<JsonObject & Readonly<Record<Required, string>>>(isObject, notAnObject)
    .superRefine((object, context) => {
      for (const name of strings) {
        const given: JsonObject = object;
        const input = Object.hasOwn(given, name) ? given[name] : undefined;
        if (typeof input === 'string' || (name !== required && (input === undefined || input === null))) continue;
        context.addIssue({ code: 'invalid_type', expected: 'string', path: [name], input });
      }
    })
    .meta({
      type: 'object',
      properties: Object.fromEntries(strings.map((name) => [name, { type: 'string' }])),
      required: [required],
      additionalProperties: true,
    });
}

/** A whole number; out of range it has the codes that OpenAI's API gives to integers (docs/wire.md §5). */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  return z
    .int()
    .refine((value) => value >= min, {
      params: { code: 'integer_below_min_value' },
      message: `at least ${min} is required`,
    })
    .refine((value) => value <= max, {
      params: { code: 'integer_above_max_value' },
      message: `at most ${max} is allowed`,
    })
    .meta({ minimum: min, maximum: max });
}
