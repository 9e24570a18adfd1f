import { EventEmitter } from 'node:events';
import type { MongoClient } from 'mongodb';
import { beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { Heartbeats } from '../../src/stores/mongodb/heartbeats.ts';

const address = 'host:1';

beforeEach(() => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
});

/** A driver that only tells what it does. */
function watched(connectTimeoutMS: number) {
  const driver = new EventEmitter();
  const onStuck = vi.fn();
  const client = Object.assign(driver, { options: { connectTimeoutMS, heartbeatFrequencyMS: 10_000 } });
  new Heartbeats(client as unknown as MongoClient, onStuck);
  return {
    onStuck,
    begins: (awaited = false) => driver.emit('serverHeartbeatStarted', { connectionId: address, awaited }),
    tells: (event: string) => driver.emit(event, { connectionId: address, address }),
    loses: () => driver.emit('serverDescriptionChanged', { address, newDescription: { type: 'Unknown' } }),
  };
}

it.each([
  [false, 3_000],
  [true, 13_000],
])('a check that should be over and is not, is told (awaited: %s)', async (awaited, limitMs) => {
  const { onStuck, begins } = watched(2_000);
  begins(awaited);
  await vi.advanceTimersByTimeAsync(limitMs - 1);
  expect(onStuck).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(onStuck).toHaveBeenCalledOnce();
});

it.each(['serverHeartbeatSucceeded', 'serverHeartbeatFailed', 'serverClosed'])('%s ends a check', async (event) => {
  const { onStuck, begins, tells } = watched(2_000);
  begins();
  tells(event);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(onStuck).not.toHaveBeenCalled();
});

it('a check that begins with the loss of its server has a second', async () => {
  for (const connectTimeoutMs of [30_000, 0]) {
    const { onStuck, begins, loses } = watched(connectTimeoutMs);
    loses();
    begins();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(onStuck).toHaveBeenCalledOnce();
  }
});

it('connectTimeoutMS=0 in the address is no limit', async () => {
  const { onStuck, begins, loses } = watched(0);
  loses();
  await vi.advanceTimersByTimeAsync(100);
  begins();
  await vi.advanceTimersByTimeAsync(3_600_000);
  begins(true);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(onStuck).not.toHaveBeenCalled();
});
