import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SseDecoder, sniff } from '../../src/models/upstream/sse.ts';

function decode(pieces: readonly Buffer[], maxEventChars = 1_000) {
  const events: string[] = [];
  const decoder = new SseDecoder((data) => events.push(data), maxEventChars);
  const taken = pieces.map((piece) => decoder.feed(piece));
  return { events, rest: decoder.end(), taken };
}

/** The bytes, cut at these places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

describe('an event stream', () => {
  test.each([
    ['LF', 'data: a\n\ndata: b\n\n', ['a', 'b'], undefined],
    ['CRLF', 'data: a\r\n\r\ndata: b\r\n\r\n', ['a', 'b'], undefined],
    ['CR', 'data: a\r\rdata: b\r\r', ['a', 'b'], undefined],
    ['line ends of all kinds', 'data: a\n\r\ndata: b\r\ndata: c\r\r\n', ['a', 'b\nc'], undefined],
    ['no space, and two', 'data:a\n\ndata:  b\n\n', ['a', ' b'], undefined],
    ['several lines of data', 'data: a\ndata:\ndata: b\n\n', ['a\n\nb'], undefined],
    [
      'other fields and comments',
      ': ping\nevent: x\nid: 7\nretry: 9\ndatum: z\ndata: a\n\n: bye\n\n',
      ['a'],
      undefined,
    ],
    ['empty data', 'data\n\ndata:\n\n', ['', ''], undefined],
    ['a byte order mark', '\uFEFFdata: a\n\n', ['a'], undefined],
    ['one that is not at the beginning', 'data: a\n\n\uFEFFdata: b\n\n', ['a'], undefined],
    ['an unclosed event', 'data: a\n\ndata: b\n', ['a'], 'b'],
    ['an unclosed line', 'data: a\n\ndata: b', ['a'], 'b'],
    [
      'characters that are line ends elsewhere',
      'data: a\u2028b\u0085c\u000bd\n\n',
      ['a\u2028b\u0085c\u000bd'],
      undefined,
    ],
    ['nothing', '', [], undefined],
  ])('%s', (_name, text, events, rest) => {
    expect(decode([Buffer.from(text)])).toMatchObject({ events, rest });
    expect(decode([...Buffer.from(text)].map((byte) => Buffer.from([byte])))).toMatchObject({ events, rest });
  });

  test('is the same however its bytes are cut', () => {
    const line = fc.constantFrom(
      'data: {"a":"é"}',
      'data:x',
      'data',
      ': c',
      'event: e',
      '',
      'data: 👩‍🚀日',
      'data: [DONE]',
    );
    const lineEnd = fc.constantFrom('\n', '\r\n', '\r');
    const stream = fc.array(fc.tuple(line, lineEnd), { maxLength: 30 });
    fc.assert(
      fc.property(stream, fc.boolean(), fc.array(fc.nat(), { maxLength: 40 }), (lines, mark, places) => {
        const bytes = Buffer.from((mark ? '\uFEFF' : '') + lines.flat().join(''));
        expect(decode(cut(bytes, places))).toMatchObject({ ...decode([bytes]), taken: expect.anything() });
      }),
      { numRuns: 2_000 },
    );
  });

  test('agrees with a plain reading of the standard', () => {
    const text = fc.string({
      unit: fc.constantFrom('d', 'data', ':', ' ', '\n', '\r', '\r\n', 'x', '\n\n', 'é'),
      maxLength: 60,
    });
    fc.assert(
      fc.property(text, fc.array(fc.nat(), { maxLength: 20 }), (stream, places) => {
        expect(decode(cut(Buffer.from(stream), places)).events).toEqual(plainly(stream));
      }),
      { numRuns: 3_000 },
    );
  });

  test('is refused where an event grows past the limit, in one line or in many', () => {
    const piece = Buffer.from('x'.repeat(300));
    expect(decode([Buffer.from('data: '), piece, piece, piece, piece]).taken).toEqual([true, true, true, true, false]);
    const lines = Buffer.from(`data: ${'x'.repeat(300)}\n`);
    expect(decode([lines, lines, lines, lines]).taken).toEqual([true, true, true, false]);
    const fine = Buffer.from(`data: ${'x'.repeat(900)}\n\n`);
    expect(decode([fine, fine, fine]).taken).toEqual([true, true, true]);
  });
});

/** WHATWG HTML 9.2.6, word for word and slowly. */
function plainly(stream: string): string[] {
  const events: string[] = [];
  let data = '';
  let any = false;
  const lines = stream.split(/\r\n|\n|\r/);
  for (const line of lines.slice(0, -1)) {
    if (line === '') {
      if (any) events.push(data.slice(0, -1));
      data = '';
      any = false;
      continue;
    }
    const [, field = line, value = ''] = /^([^:]*):\x20?(.*)$/s.exec(line) ?? [];
    if (field !== 'data') continue;
    data += `${value}\n`;
    any = true;
  }
  return events;
}

test('a body of no type is told by its first byte', () => {
  const kinds = ['{"a":1}', ' \r\n\t{', '[', '<html>', ' <', 'data: x', ': ping', ' \n', ''].map((text) =>
    sniff(Buffer.from(text)),
  );
  expect(kinds).toEqual(['json', 'json', 'json', 'html', 'html', 'sse', 'sse', undefined, undefined]);
});
