import { describe, expect, it } from 'vitest';
import type { Item } from '../../src/api/items.ts';
import { shortened } from '../../src/engine/truncation.ts';

function says(role: 'user' | 'assistant', text: string): Item {
  const content = [{ type: 'input_text', text }] as const;
  return { id: `msg_${text}`, type: 'message', status: 'completed', role, content };
}

function call(id: string, size = 10): Item {
  const name = 'f'.repeat(size);
  return { id: `fc_${id}`, type: 'function_call', status: 'completed', call_id: id, name, arguments: '' };
}

function output(id: string): Item {
  return { id: `fco_${id}`, type: 'function_call_output', status: 'completed', call_id: id, output: 'o'.repeat(10) };
}

const thought: Item = { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: 'r'.repeat(10) }] };
const ids = (items: readonly Item[] | undefined) => items?.map((item) => item.id.replace(/_.*_/, '_'));

describe('truncation', () => {
  it('takes from the beginning, to at most 0.7 of the text', () => {
    const items = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'].map((name) => says('user', name.repeat(10)));
    const kept = shortened(items);
    expect(kept).toEqual(items.slice(3));
  });

  it('keeps the newest item, however large it is', () => {
    const items = [says('user', 'x'), says('user', 'y'.repeat(1_000))];
    expect(shortened(items)).toEqual(items.slice(1));
    expect(shortened(items.slice(1))).toBeUndefined();
    expect(shortened([])).toBeUndefined();
  });

  it('keeps calls with their outputs, their reasoning, and what was said before them', () => {
    const loop = [thought, says('assistant', 'l'.repeat(10)), call('1'), call('2'), output('1'), output('2')];
    const items = [says('user', 'u'.repeat(30)), ...loop, says('user', 'v'.repeat(10))];
    // 0.7 of 100 bytes: the loop with its 60 and the last message.
    expect(ids(shortened(items))).toEqual(ids(items.slice(1)));
    // 0.7 of 70: the loop does not fit as a whole, so none of it stays.
    expect(ids(shortened(items.slice(1)))).toEqual(ids(items.slice(-1)));
  });

  it('always comes to an end, each time with less', () => {
    let items: readonly Item[] | undefined = [
      ...Array.from({ length: 50 }, (_, at) => says('user', `${at}`.repeat(5))),
      ...[call('1'), output('1')],
    ];
    let times = 0;
    for (; items !== undefined; items = shortened(items)) {
      expect(items.at(-1)?.id).toBe('fco_1');
      expect(items.at(-2)?.id).toBe('fc_1');
      times += 1;
    }
    expect(times).toBeGreaterThan(3);
    expect(times).toBeLessThan(17);
  });
});
