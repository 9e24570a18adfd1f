import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { validate } from '../../src/api/validate.ts';

type Refusal = readonly [body: unknown, code: string, param: string | null];

const missing = 'missing_required_parameter';
const type = 'invalid_type';
const unknown = 'unknown_parameter';

/** JSON as it comes over the wire, `__proto__` keys and all. */
export function wire(text: string): unknown {
  return JSON.parse(text);
}

export function reject<T extends z.ZodType>(schema: T, body: unknown) {
  return validate(schema, body, { unknownFields: 'reject' });
}

function label(body: unknown): string {
  const text = JSON.stringify(body) ?? 'undefined';
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}

/** Every refusal has its code and its path, and a sentence without anything from the inside. */
export function refuses(name: string, schema: z.ZodType, table: readonly Refusal[]): void {
  describe(name, () => {
    it.each(table.map(([body, code, param]) => [label(body), body, code, param] as const))(
      'refuses %s',
      (_label, body, code, param) => {
        const result = reject(schema, body);
        expect(result).toMatchObject({ ok: false, problem: { code, param } });
        if (result.ok) return;
        const { message } = result.problem;
        expect(message).toMatch(/^[A-Z`].{8,600}\.$/s);
        expect(message).not.toMatch(/undefined|\[object|NaN|\bZod|=>|\n|Infinity/);
        if (code === missing || code === unknown || code === type) expect(message).toContain(param ?? 'the body');
      },
    );
  });
}

export const m = { model: 'm' };
export const withItem = (item: unknown) => ({ ...m, input: [item] });
export const withPart = (part: unknown) => withItem({ role: 'user', content: [part] });
export const withSaid = (part: unknown) => withItem({ role: 'assistant', content: [part] });
export const withTool = (tool: unknown) => ({ ...m, tools: [tool] });
export const pairs = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, 'v']));
export const long = (length: number) => 'x'.repeat(length);
export const tooLong = 10_485_761;
