import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { ModelEvent } from '../../src/model.ts';
import { createDemoModel } from '../../src/models/demo/demo.ts';
import { modelCall, run, textOf, userSays } from '../contracts/model.ts';

const call = (text: string, streamed = true) => modelCall({ items: [userSays(text)], streamed });
const pieces = (events: readonly ModelEvent[]) =>
  events.flatMap((event) => (event.type === 'text' ? [event.delta] : []));

afterEach(() => {
  vi.useRealTimers();
});

describe('pieces', () => {
  test('have chunkChars characters and never split a pair', async () => {
    const model = createDemoModel({ chunkDelayMs: 0, chunkChars: 3 });
    const { events, ended } = run(model, call('Say ab😀cd😀😀e'));
    await ended;
    expect(pieces(events)).toEqual(['ab😀', 'cd😀', '😀e']);
    expect(events[1]).toEqual({ type: 'model', name: 'test-model' });
  });

  test('come one after the other, chunkDelayMs apart', async () => {
    vi.useFakeTimers();
    const model = createDemoModel({ chunkDelayMs: 100, chunkChars: 1 });
    const { events } = run(model, call('Say abc'));
    await vi.advanceTimersByTimeAsync(50);
    expect(pieces(events)).toEqual(['a']);
    await vi.advanceTimersByTimeAsync(100);
    expect(pieces(events)).toEqual(['a', 'b']);
    await vi.advanceTimersByTimeAsync(500);
    expect(events.at(-1)?.type).toBe('end');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('are one, at once, when nobody watches', async () => {
    const model = createDemoModel({ chunkDelayMs: 60_000, chunkChars: 1 });
    const { events, ended } = run(model, call('Say abc', false));
    await ended;
    expect(pieces(events)).toEqual(['abc']);
  });

  test('let the event loop breathe', async () => {
    const model = createDemoModel({ chunkDelayMs: 0, chunkChars: 1 });
    const { events, ended } = run(model, call(`Say ${'a'.repeat(10_000)}`));
    const seen: number[] = [];
    const look = () => {
      seen.push(events.length);
      if (events.at(-1)?.type !== 'end') setImmediate(look);
    };
    look();
    await ended;
    expect(seen.length).toBeGreaterThan(50);
  });
});

describe('abort', () => {
  test('clears every timer, and nothing follows', async () => {
    for (const text of ['Say abc', 'demo: slow']) {
      vi.useFakeTimers();
      const model = createDemoModel({ chunkDelayMs: 100, chunkChars: 1 });
      const { events, stream } = run(model, call(text));
      await vi.advanceTimersByTimeAsync(150);
      const before = events.length;
      expect(before).toBeGreaterThan(0);
      stream.abort();
      expect(vi.getTimerCount()).toBe(0);
      await vi.advanceTimersByTimeAsync(1_000_000);
      stream.resume();
      await vi.advanceTimersByTimeAsync(1_000);
      expect(events).toHaveLength(before);
      vi.useRealTimers();
    }
  });

  test('is harmless after the end', async () => {
    const { stream, ended, events } = run(createDemoModel({ chunkDelayMs: 0, chunkChars: 9 }), call('Hello'));
    await ended;
    const before = events.length;
    stream.abort();
    stream.pause();
    stream.resume();
    await sleep(5);
    expect(events).toHaveLength(before);
  });

  test('a sink that throws ends the call', async () => {
    const model = createDemoModel({ chunkDelayMs: 0, chunkChars: 1, maxConcurrent: 1 });
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const thrown = new Promise((resolve) => process.once('uncaughtException', resolve));
    const seen: string[] = [];
    model.stream(call('Say abc'), (event) => {
      seen.push(event.type);
      if (event.type === 'text') throw new Error('from the sink');
    });
    const error = await thrown;
    for (const listener of listeners) process.on('uncaughtException', listener);
    expect(error).toMatchObject({ message: 'from the sink' });
    await sleep(5);
    expect(seen).toEqual(['start', 'model', 'text']);
    expect(await run(model, call('Hello')).ended).toMatchObject({ reason: 'stop' });
  });
});

describe('pause', () => {
  test('holds everything back until resumed, at any piece', async () => {
    for (const chunkDelayMs of [0, 1]) {
      const model = createDemoModel({ chunkDelayMs, chunkChars: 1 });
      const { events, stream, ended } = run(model, call('Say abcdef'), (event, own) => {
        if (event.type === 'text' && event.delta === 'c') own?.pause();
      });
      await sleep(20);
      expect(pieces(events)).toEqual(['a', 'b', 'c']);
      stream.resume();
      stream.resume();
      await ended;
      expect(textOf(events)).toBe('abcdef');
    }
  });

  test('before the first event', async () => {
    const { events, stream, ended } = run(createDemoModel({ chunkDelayMs: 0, chunkChars: 9 }), call('Say abc'));
    stream.pause();
    await sleep(5);
    expect(events).toEqual([]);
    stream.resume();
    expect(events).toEqual([]);
    await ended;
    expect(textOf(events)).toBe('abc');
  });

  test('and resume inside an event lose nothing', async () => {
    const { events, ended } = run(
      createDemoModel({ chunkDelayMs: 0, chunkChars: 1 }),
      call('Say abc'),
      (_event, own) => {
        own?.pause();
        own?.resume();
      },
    );
    await ended;
    expect(textOf(events)).toBe('abc');
  });
});

test('demo: slow ends after ten minutes', async () => {
  vi.useFakeTimers();
  const { events } = run(createDemoModel({ chunkDelayMs: 0, chunkChars: 9 }), call('demo: slow', false));
  await vi.advanceTimersByTimeAsync(599_000);
  expect(events.map((event) => event.type)).toEqual(['start', 'model']);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(events.at(-1)).toMatchObject({ type: 'end', reason: 'error', error: { kind: 'upstream_timeout' } });
});

test('maxConcurrent refuses one more before its start, and has room again after an end or an abort', async () => {
  const model = createDemoModel({ chunkDelayMs: 0, chunkChars: 9, maxConcurrent: 1 });
  const slow = run(model, call('demo: slow'));
  const second = run(model, call('Hello'));
  expect(await second.ended).toMatchObject({ reason: 'error', error: { kind: 'rate_limited', retryAfterMs: 1_000 } });
  expect(second.events).toHaveLength(1);
  slow.stream.abort();
  slow.stream.abort();
  expect(await run(model, call('Hello')).ended).toMatchObject({ reason: 'stop' });
  expect(await run(model, call('Hello')).ended).toMatchObject({ reason: 'stop' });
});

test('settings that make no sense are refused', () => {
  expect(() => createDemoModel({ chunkDelayMs: 0, chunkChars: 0 })).toThrow(RangeError);
  expect(() => createDemoModel({ chunkDelayMs: -1, chunkChars: 1 })).toThrow(RangeError);
});
