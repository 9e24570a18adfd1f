import { expect, it } from 'vitest';
import { checkTurns, newTurnState, runTurns } from '../support/crash-client.ts';
import { seededRandom } from '../support/fault-proxy.ts';
import { sharedStoreTypes, storeSettings } from '../support/harness.ts';
import { migrationChild, serverChild } from '../support/server-child.ts';

const turns = 150;
const seeds = [1, 2, 3];
const lease = { 'conversation.lease': '300ms' };

it.each(sharedStoreTypes)(
  'SIGKILL at random moments loses nothing acknowledged, doubles nothing, tears nothing (%s)',
  {
    timeout: 120_000,
  },
  async (store) => {
    const settings = { ...lease, ...(await storeSettings(store)) };
    let server = await serverChild(settings);
    const state = await newTurnState(server.url);
    let kills = 0;
    while (state.next < turns) {
      const work = runTurns(server.url, state, turns - state.next);
      // The moment is random on purpose: within a turn, its commit or its answer.
      const { child } = server;
      const killer = setTimeout(() => child.kill('SIGKILL'), 20 + Math.random() * 250);
      await work;
      clearTimeout(killer);
      if (state.next >= turns) break;
      await server.ended;
      kills += 1;
      server = await serverChild(settings);
    }
    server.child.kill('SIGKILL');
    await server.ended;
    const { url } = await serverChild(settings);
    expect(kills).toBeGreaterThan(2);
    expect(state.chain.length).toBeGreaterThan(turns / 3);
    await checkTurns(url, state);
  },
);

const deaths = sharedStoreTypes.flatMap((store) =>
  (['before_append', 'after_append'] as const).flatMap((point) => seeds.map((seed) => ({ store, point, seed }))),
);

it.each(deaths)(
  'SIGKILL $point: nothing lost, doubled or torn ($store, seed $seed)',
  {
    timeout: 60_000,
  },
  async ({ store, point, seed }) => {
    const settings = { ...lease, ...(await storeSettings(store)) };
    const random = seededRandom(seed);
    const first = await serverChild(settings);
    const state = await newTurnState(first.url);
    first.child.kill('SIGKILL');
    await first.ended;
    let told = 0;
    for (let death = 0; death < 3; death += 1) {
      const times = 1 + Math.floor(random() * 8);
      const server = await serverChild(settings, { point, times });
      await runTurns(server.url, state, 50);
      await server.ended;
      // It died at that append, so that many before it were told.
      told += times - 1;
      expect(state.chain.length + state.conversationTurns.length).toBe(told);
    }
    const { url } = await serverChild(settings);
    await checkTurns(url, state);
    // The turn that died with its server is stored whole, or not at all.
    const items = await fetch(`${url}/v1/conversations/${state.conversation}/items?limit=100`);
    const { data } = (await items.json()) as { data: unknown[] };
    const extra = data.length / 2 - state.conversationTurns.length;
    expect(extra).toBeGreaterThanOrEqual(0);
    expect(extra).toBeLessThanOrEqual(point === 'before_append' ? 0 : 3);
  },
);

it.each(sharedStoreTypes)(
  'SIGKILL at each step of a migration in turn leaves what the next one finishes (%s)',
  {
    timeout: 60_000,
  },
  async (store) => {
    const settings = await storeSettings(store);
    let deaths = 0;
    // Each one takes up what the one before left, and gets a step further where steps are kept.
    for (let times = 1; (await migrationChild(settings, times)) === undefined; times += 1) deaths += 1;
    expect(deaths).toBeGreaterThan(0);
    expect(deaths).toBeLessThan(100);
    await checkServes(settings);
  },
);

it.each(sharedStoreTypes.flatMap((store) => seeds.map((seed) => ({ store, seed }))))(
  'SIGKILL during a migration leaves what two others finish at once ($store, seed $seed)',
  {
    timeout: 60_000,
  },
  async ({ store, seed }) => {
    const settings = await storeSettings(store);
    const times = 1 + Math.floor(seededRandom(seed)() * 3);
    await migrationChild(settings, times);
    const versions = await Promise.all([migrationChild(settings), migrationChild(settings)]);
    expect(versions[0]).toBeGreaterThan(0);
    expect(versions[1]).toBe(versions[0]);
    await checkServes(settings);
  },
);

async function checkServes(settings: Record<string, string>): Promise<void> {
  const { url } = await serverChild(settings);
  const state = await newTurnState(url);
  await runTurns(url, state, 6);
  expect(state.chain.length + state.conversationTurns.length).toBe(6);
  await checkTurns(url, state);
}
