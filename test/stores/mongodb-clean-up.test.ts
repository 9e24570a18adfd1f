import type { Document } from 'mongodb';
import { expect, it, vi } from 'vitest';
import { createConversation } from '../../src/stores/mongodb/conversations.ts';
import { Sweeper } from '../../src/stores/mongodb/sweep.ts';
import type { Work } from '../../src/stores/mongodb/work.ts';
import { describeMongo, freshMongoDatabase } from '../support/databases.ts';
import {
  conversationIds,
  conversationTurn,
  findItem,
  headOfConversation,
  items,
  makeConversation,
  message,
  viewIds,
} from '../support/store-fixtures.ts';
import { callThrough, everything, lookInto, openMongo, type Pass, refusal, tenant, workOf } from './mongodb-support.ts';

const hourMs = 3_600_000;
const half = 0.5 * hourMs;

async function fresh() {
  const { uri } = await freshMongoDatabase();
  const store = await openMongo(uri);
  const client = await lookInto(uri);
  /** A clean-up that takes place now, as if it were later; its commands pass through a hand. */
  const sweepIn = async (laterMs: number, pass: Pass = (_, send) => send()): Promise<void> => {
    const run = (work: (call: Work['call']) => Promise<unknown>) => work(callThrough(client, pass));
    const sweeper = new Sweeper({ deployment: { run } as never, workOf, keepUp: async () => {} });
    await sweeper.round(Date.now() + laterMs);
    sweeper.stop();
  };
  /** Makes a conversation with items; `beforeBirth` comes between its items and its coming to life. */
  const make = (beforeBirth: () => Promise<unknown>): Promise<undefined> => {
    const pass: Pass = async (command, send) => {
      if (command['update'] !== undefined) await beforeBirth();
      return send();
    };
    const entry = items(message('a'), message('b'));
    const given = { id: 'conv', metadataJson: '{}', createdAt: 1, entry };
    return createConversation(workOf(callThrough(client, pass)), tenant, given);
  };
  const left = async () => (await everything(client)).filter(({ product }) => product === undefined);
  return { store, entries: client.db().collection('openresponses_entries'), sweepIn, make, left };
}

function filterOf(command: Document): Document {
  return command['deletes']?.[0]?.q ?? {};
}

describeMongo('the clean-up of MongoDB, and conversations that are being made', () => {
  it('one whose items a clean-up has taken never comes to life, and its maker is told', async () => {
    const { store, sweepIn, make, left } = await fresh();
    const making = make(async () => {
      await sweepIn(half);
      // Only the mark of it is left, for an hour.
      expect(await left()).toMatchObject([{ position: -1, swept: true }]);
    });
    expect((await refusal(making)).message).toContain('cleaned up');
    expect(await store.getConversation(tenant, 'conv')).toBeUndefined();
    expect(await store.acquireLease(tenant, 'conv', 'run', 1_000)).toBe('missing');
    await sweepIn(2 * hourMs);
    expect(await left()).toEqual([]);
  });

  it('one that wants to come to life while its items are being taken does not either', async () => {
    const { store, sweepIn, make, left } = await fresh();
    const [arrived, birth] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const making = make(() => {
      arrived.resolve();
      return birth.promise;
    });
    const refused = refusal(making);
    await arrived.promise;
    await sweepIn(half, async (command, send) => {
      if (command['delete'] === 'openresponses_entries') {
        birth.resolve();
        await refused;
      }
      return send();
    });
    expect((await refused).message).toContain('cleaned up');
    expect(await store.getConversation(tenant, 'conv')).toBeUndefined();
    expect(await left()).toMatchObject([{ position: -1 }]);
  });

  it('one that comes to life before a clean-up can mark it keeps everything', async () => {
    const { store, sweepIn, make, left } = await fresh();
    const [arrived, birth] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const making = make(() => {
      arrived.resolve();
      return birth.promise;
    });
    await arrived.promise;
    const seen: string[] = [];
    await sweepIn(2 * hourMs, async (command, send) => {
      seen.push(Object.keys(command)[0] ?? '');
      if (command['update'] === 'openresponses_entries') {
        birth.resolve();
        await making;
      }
      return send();
    });
    // It was found, and then left alone.
    expect(seen.filter((name) => name !== 'find')).toEqual(['update']);
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'b']);
    for (const document of await left()) expect(document).not.toHaveProperty('swept');
  });

  it('a clean-up that comes late removes no mark but its own', async () => {
    const { store, entries, sweepIn, left } = await fresh();
    await makeConversation(store, tenant, 'conv', ['a']);
    await store.deleteConversation(tenant, 'conv');
    let removals = 0;
    await sweepIn(2 * hourMs, async (command, send) => {
      if (filterOf(command)['position'] === -1) {
        removals += 1;
        // Another server's clean-up was faster, and the place is somebody's again.
        await entries.deleteOne({ thread: 'conv', position: -1 });
        await store.createConversation(tenant, { id: 'conv', metadata: { of: 'another' }, createdAt: 2 });
      }
      return send();
    });
    expect(removals).toBe(1);
    expect((await store.getConversation(tenant, 'conv'))?.metadata).toEqual({ of: 'another' });
    expect(await left()).toHaveLength(1);
  });
});

describeMongo('the order of what is stored, and the clock', () => {
  it.each([
    ['stands still', 0],
    ['goes backwards', -60_000],
  ])('R10 the newest of an id is the one that was stored last where the clock %s', async (_, stepMs) => {
    const { store, entries } = await fresh();
    const realMs = Date.now();
    let steps = 0;
    vi.spyOn(Date, 'now').mockImplementation(() => realMs + steps * stepMs);
    const ids = Array.from({ length: 7 }, (_, index) => `conv-${index}`);
    try {
      for (const id of ids) {
        steps += 1;
        await makeConversation(store, tenant, id);
        await store.appendItems(tenant, id, items(message('same', `of ${id}`)));
      }
      const sequences = (await entries.find({ position: 0 }).sort({ _id: 1 }).toArray()).map(
        ({ sequence }) => sequence,
      );
      expect(sequences).toHaveLength(ids.length);
      expect(sequences).toEqual([...new Set(sequences)].toSorted((one, other) => one - other));
      // More of them go than are looked at together.
      for (const id of ids.toReversed()) {
        const found = await findItem(store, tenant, 'same');
        expect([found?.place.threadId, JSON.stringify(found?.item)]).toEqual([id, message('same', `of ${id}`).json]);
        expect(await store.deleteConversation(tenant, id)).toBe(true);
      }
      expect(await findItem(store, tenant, 'same')).toBeUndefined();
    } finally {
      vi.restoreAllMocks();
    }
  });

  it('turns and posts follow each other as they were stored where the clock goes backwards', async () => {
    const { store } = await fresh();
    const realMs = Date.now();
    let steps = 0;
    vi.spyOn(Date, 'now').mockImplementation(() => realMs - steps * 60_000);
    try {
      await makeConversation(store, tenant, 'conv', ['first']);
      const expected = ['first'];
      for (let index = 0; index < 4; index += 1) {
        steps += 1;
        const createdAt = 1_000 - index;
        const base = await headOfConversation(store, tenant, 'conv');
        await store.appendTurn(tenant, conversationTurn(`r${index}`, base, { createdAt }));
        await store.appendItems(tenant, 'conv', { ...items(message(`post-${index}`)), createdAt });
        expected.push(`in-r${index}`, `out-r${index}`, `post-${index}`);
      }
      expect(await conversationIds(store, tenant, 'conv')).toEqual(expected);
      const view = { kind: 'conversation', id: 'conv' } as const;
      expect(await viewIds(store, tenant, view, 'desc', 2)).toEqual(expected.toReversed());
    } finally {
      vi.restoreAllMocks();
    }
  });
});
