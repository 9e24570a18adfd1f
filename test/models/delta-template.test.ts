import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DeltaTemplate } from '../../src/models/responses/delta-template.ts';

const event = {
  type: 'response.output_text.delta',
  sequence_number: 7,
  item_id: 'msg_1',
  output_index: 0,
  content_index: 0,
};
const openai = (delta: string, number = 7, more: object = {}) =>
  JSON.stringify({ ...event, sequence_number: number, delta, logprobs: [], ...more });

function taught(text: string): DeltaTemplate {
  const template = new DeltaTemplate();
  template.learn(text, JSON.parse(text));
  return template;
}

describe('a template of text deltas', () => {
  test('reads what differs in its text and its number', () => {
    const template = taught(openai('Hello', 7));
    expect(template.read(openai(' there', 8))).toBe(' there');
    expect(template.read(openai('Hello', 1234))).toBe('Hello');
    expect(template.read(openai('Grüezi 👋', 0))).toBe('Grüezi 👋');
  });

  test('reads padding too, and events that are written with spaces or in another order', () => {
    const padded = taught(openai('Hello', 7, { obfuscation: 'xY3' }));
    expect(padded.read(openai('you', 8, { obfuscation: 'longer than before' }))).toBe('you');
    const python = (delta: string, number: number) =>
      `{"content_index": 0, "delta": "${delta}", "item_id": "msg_1", "sequence_number": ${number}, "type": "response.output_text.delta"}`;
    expect(taught(python('Hello', 7)).read(python('you', 19))).toBe('you');
    const last = (delta: string, number: number) => `{"delta":"${delta}","sequence_number":${number}}`;
    expect(taught(last('Hello', 7)).read(last('you', 19))).toBe('you');
  });

  test('reads events without a number', () => {
    const bare = (delta: string) => JSON.stringify({ type: 'response.output_text.delta', delta });
    expect(taught(bare('Hello')).read(bare('you'))).toBe('you');
  });

  test.each([
    ['another item', openai('x').replace('msg_1', 'msg_2')],
    ['another type', openai('x').replace('output_text', 'refusal')],
    ['a text that is escaped', openai('say "x"')],
    ['a backslash', openai('a\\b')],
    ['a line feed', openai('a\nb')],
    ['an empty text', openai('')],
    ['more fields', openai('x', 7, { more: 1 })],
    ['a number that is none', openai('x').replace(':7,', ':7e1,')],
    ['a number with a leading zero', openai('x').replace(':7,', ':07,')],
    ['a negative number', openai('x').replace(':7,', ':-7,')],
    ['a number that is too long to be exact', openai('x').replace(':7,', ':1234567890123456,')],
    ['no number', openai('x').replace(':7,', ':,')],
    ['a raw control character', openai('x').replace('"x"', '"\u0007"')],
    ['half an event', openai('x').slice(0, -1)],
    ['an event and more', `${openai('x')} `],
    ['nothing', ''],
  ])('leaves %s to a parser', (_name, text) => {
    expect(taught(openai('Hello')).read(text)).toBeUndefined();
  });

  test('learns nothing from an event whose text stands elsewhere', () => {
    // The first place that looks like the text is another field's.
    const text = '{"part":{"delta":"x"},"type":"response.output_text.delta","delta":"x","sequence_number":1}';
    expect(taught(text).read(text.replaceAll('"x"', '"y"'))).toBeUndefined();
    expect(new DeltaTemplate().read(text)).toBeUndefined();
  });

  test('forgets, and gives up on streams that repeat nothing', () => {
    const template = taught(openai('Hello'));
    template.forget();
    expect(template.read(openai('Hello'))).toBeUndefined();
    const tired = new DeltaTemplate();
    for (let at = 0; at < 5; at += 1) {
      const text = openai('Hello', at, { [`field_${at}`]: 1 });
      tired.learn(text, JSON.parse(text));
    }
    expect(tired.read(openai('Hello', 1, { field_4: 1 }))).toBeUndefined();
    expect(tired.read(openai('Hello', 1, { field_3: 1 }))).toBe('Hello');
  });

  test('says what a parser says, or nothing', () => {
    const template = taught(openai('Hello', 7, { obfuscation: 'abc' }));
    const base = openai('Hello', 7, { obfuscation: 'abc' });
    const mutation = fc.record({
      at: fc.nat(base.length),
      remove: fc.nat(6),
      insert: fc.oneof(
        fc.string({ maxLength: 4 }),
        fc.constantFrom('"', '\\', ',', ':', '0', '1', '}', '"delta":"', '\n'),
      ),
    });
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
        let text = base;
        for (const { at, remove, insert } of mutations) text = text.slice(0, at) + insert + text.slice(at + remove);
        const read = template.read(text);
        if (read === undefined) return;
        const { delta, obfuscation, sequence_number: number, ...rest } = JSON.parse(text);
        expect(read).toBe(delta);
        expect(typeof obfuscation).toBe('string');
        expect(Number.isSafeInteger(number)).toBe(true);
        expect({ ...rest, sequence_number: 7 }).toEqual({ ...event, logprobs: [] });
      }),
      { numRuns: 5_000 },
    );
  });
});
