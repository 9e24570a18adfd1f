import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ThinkTags } from '../../src/models/chat-completions/think-tags.ts';

/** What is told apart, pieces of a kind joined. */
function told(pieces: readonly string[], names: readonly string[] = ['think']) {
  const tags = new ThinkTags(names);
  const all = [...pieces.flatMap((piece) => tags.feed(piece)), ...tags.end()];
  const joined = (kind: string) =>
    all
      .filter((piece) => piece.kind === kind)
      .map(({ text }) => text)
      .join('');
  return { reasoning: joined('reasoning'), text: joined('text'), kinds: all.map(({ kind }) => kind) };
}

describe('reasoning in tags', () => {
  test.each([
    ['<think>hm</think>yes', 'hm', 'yes'],
    ['\n <think>\nhm\n</think>\n\nyes', 'hm\n', 'yes'],
    ['<think>\n\n</think>\n\nyes', '', 'yes'],
    ['yes <think>hm</think>', '', 'yes <think>hm</think>'],
    ['<think>hm</think>yes <think>no</think>', 'hm', 'yes <think>no</think>'],
    ['<think>hm</thin> </think>yes', 'hm</thin> ', 'yes'],
    ['<think>hm', 'hm', ''],
    ['<think>hm</thi', 'hm</thi', ''],
    ['<think>', '', ''],
    ['<thinking>hm</thinking>', '', '<thinking>hm</thinking>'],
    ['<thi', '', '<thi'],
    ['  \n', '', '  \n'],
    [`${' '.repeat(40)}<think>hm</think>`, '', `${' '.repeat(40)}<think>hm</think>`],
    ['a < b', '', 'a < b'],
    ['', '', ''],
  ])('%j', (all, reasoning, text) => {
    expect(told([all])).toMatchObject({ reasoning, text });
  });

  test('are told the same wherever the text is cut', () => {
    const piece = fc.constantFrom('<think>', '</think>', '<thi', 'nk>', 'hm', ' ', '\n', '<', '</', 'yes');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 10 }), fc.array(fc.nat(60), { maxLength: 10 }), (words, cuts) => {
        const all = words.join('');
        const ends = [...cuts.map((cut) => Math.min(cut, all.length)), all.length].toSorted((one, two) => one - two);
        const pieces = ends.map((end, index) => all.slice(ends[index - 1] ?? 0, end));
        const { reasoning, text } = told([all]);
        expect(told(pieces)).toMatchObject({ reasoning, text });
      }),
      { numRuns: 2_000 },
    );
  });

  test('never keep more back than a tag and a little space', () => {
    const tags = new ThinkTags(['think']);
    expect(tags.feed(' '.repeat(33))).toHaveLength(1);
    const other = new ThinkTags(['think']);
    other.feed('<think>');
    expect(other.feed(`${'x'.repeat(1_000)}</think`)).toEqual([{ kind: 'reasoning', text: 'x'.repeat(1_000) }]);
  });

  test('are not looked for where a profile names none, or reasoning came elsewhere', () => {
    expect(told(['<think>hm</think>yes'], []).text).toBe('<think>hm</think>yes');
    const tags = new ThinkTags(['think']);
    tags.disarm();
    expect(tags.feed('<think>')).toEqual([{ kind: 'text', text: '<think>' }]);
  });

  test('may begin again where the upstream says so', () => {
    const tags = new ThinkTags(['thought']);
    expect(tags.feed('<thought>a</thought>b').map(({ kind }) => kind)).toEqual(['reasoning', 'text']);
    tags.rearm();
    expect(tags.feed('<thought>c').map(({ kind }) => kind)).toEqual(['reasoning']);
  });
});
