import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Item } from '../../src/api/items.ts';
import { pair } from '../../src/engine/pairing.ts';
import { ApiError } from '../../src/errors.ts';

let counter = 0;
const nextId = () => `i${counter++}`;
const call = (callId: string, status: 'completed' | 'incomplete' = 'completed'): Item => ({
  id: nextId(),
  type: 'function_call',
  status,
  call_id: callId,
  name: 'f',
  arguments: '{}',
});
const output = (callId: string, text = 'ok'): Item => ({
  id: nextId(),
  type: 'function_call_output',
  status: 'completed',
  call_id: callId,
  output: text,
});
const message = (text: string): Item => ({
  id: nextId(),
  type: 'message',
  status: 'completed',
  role: 'user',
  content: [{ type: 'input_text', text }],
});

const nowhere = { start: 0, end: 0 };
const shown = (items: readonly Item[]) =>
  items.map((item) => {
    if (item.type === 'function_call') return `call ${item.call_id}`;
    if (item.type === 'function_call_output') return `output ${item.call_id} ${String(item.output)}`;
    return item.type === 'message' ? (item.content[0] as { text: string }).text : item.type;
  });

describe('pairing', () => {
  it.each<[string, Item[], string[]]>([
    ['a call and its output', [call('a'), output('a')], ['call a', 'output a ok']],
    ['a message between them moves behind', [call('a'), message('m'), output('a')], ['call a', 'output a ok', 'm']],
    [
      'parallel calls stay together, outputs in the order of the calls',
      [call('a'), call('b'), output('b'), output('a')],
      ['call a', 'call b', 'output a ok', 'output b ok'],
    ],
    [
      'an id that a vendor uses again in each turn',
      [call('0'), output('0', 'one'), message('m'), call('0'), output('0', 'two')],
      ['call 0', 'output 0 one', 'm', 'call 0', 'output 0 two'],
    ],
    ['a call that was cut short is left out', [call('a', 'incomplete'), message('m')], ['m']],
  ])('of %s', (_name, input, expected) => {
    expect(shown(pair({ history: [], newestTurn: nowhere, input }).items)).toEqual(expected);
  });

  it('leaves out what an older turn lost, and counts it', () => {
    const history = [call('old'), message('m'), output('gone')];
    const { items, leftOut } = pair({ history, newestTurn: { start: 1, end: 2 }, input: [message('n')] });
    expect(shown(items)).toEqual(['m', 'n']);
    expect(leftOut).toBe(2);
  });

  it('refuses an output of the input for which no call waits, and leaves out one of an older turn', () => {
    const answered = [call('a'), output('a', 'x')];
    const second = output('a', 'y');
    const refusal = 'No tool call found for function call output with call_id a.';
    expect(() => pair({ history: [], newestTurn: nowhere, input: [...answered, second] })).toThrow(refusal);
    expect(() => pair({ history: answered, newestTurn: nowhere, input: [second] })).toThrow(refusal);
    const older = pair({ history: [...answered, second], newestTurn: nowhere, input: [] });
    expect(shown(older.items)).toEqual(['call a', 'output a x']);
    expect(older.leftOut).toBe(1);
  });

  it('asks for an answer to what the newest turn left open', () => {
    const history = [call('open')];
    expect(() => pair({ history, newestTurn: { start: 0, end: 1 }, input: [] })).toThrow(
      'No tool output found for function call open.',
    );
    expect(pair({ history, newestTurn: nowhere, input: [] }).items).toEqual([]);
  });

  it('whatever comes in, each call that goes out is followed by its output, and nothing else is lost', () => {
    const item = fc.oneof(
      fc.constantFrom('a', 'b', 'c').map((id) => () => call(id)),
      fc.constantFrom('a', 'b', 'c').map((id) => () => output(id)),
      fc.constantFrom('x', 'y').map((text) => () => message(text)),
    );
    fc.assert(
      fc.property(fc.array(item, { maxLength: 12 }), fc.array(item, { maxLength: 8 }), (before, now) => {
        const history = before.map((make) => make());
        const input = now.map((make) => make());
        let paired: ReturnType<typeof pair>;
        try {
          paired = pair({ history, newestTurn: nowhere, input });
        } catch (error) {
          expect(error).toBeInstanceOf(ApiError);
          return;
        }
        const all = [...history, ...input];
        expect(paired.items.length + paired.leftOut).toBe(all.length);
        expect(paired.items.filter((each) => each.type === 'message')).toEqual(
          all.filter((each) => each.type === 'message'),
        );
        const waiting: string[] = [];
        for (const each of paired.items) {
          if (each.type === 'function_call') waiting.push(each.call_id);
          else if (each.type === 'function_call_output') expect(each.call_id).toBe(waiting.shift());
          else expect(waiting).toEqual([]);
        }
        expect(waiting).toEqual([]);
      }),
    );
  });
});
