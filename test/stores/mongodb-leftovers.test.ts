import { expect, it, onTestFinished } from 'vitest';
import { appendTurn } from '../../src/stores/mongodb/append.ts';
import { deleteConversation } from '../../src/stores/mongodb/conversations.ts';
import { deleteResponse } from '../../src/stores/mongodb/deletion.ts';
import { Sweeper } from '../../src/stores/mongodb/sweep.ts';
import type { Work } from '../../src/stores/mongodb/work.ts';
import { describeMongo, freshMongoDatabase } from '../support/databases.ts';
import {
  conversationTurn,
  findItems,
  follow,
  headOfConversation,
  headOfResponse,
  makeConversation,
  message,
  record,
  responseContextIds,
  turn,
} from '../support/store-fixtures.ts';
import { callThrough, everything, lookInto, openMongo, type Pass, tenant, workOf } from './mongodb-support.ts';

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

async function fresh() {
  const { uri } = await freshMongoDatabase();
  const store = await openMongo(uri);
  const client = await lookInto(uri);
  const through = (pass: Pass): Work => workOf(callThrough(client, pass));
  /** A process that dies as soon as one of its commands was answered. */
  const dyingAfter = (name: 'insert' | 'update' | 'delete'): Work => {
    let isDead = false;
    return through(async (command, send) => {
      if (isDead) throw new Error('killed');
      const answer = await send();
      isDead = command[name] !== undefined;
      return answer;
    });
  };
  /** The changes that clean-ups have asked for. */
  const swept: string[] = [];
  const pass: Pass = (command, send) => {
    const [name = ''] = Object.keys(command);
    if (name !== 'find') swept.push(name);
    return send();
  };
  const run = (work: (call: Work['call']) => Promise<unknown>) => work(callThrough(client, pass));
  const sweeper = new Sweeper({ deployment: { run } as never, workOf, keepUp: async () => {} });
  onTestFinished(() => sweeper.stop());
  const sweepIn = (laterMs: number) => sweeper.round(Date.now() + laterMs);
  const left = async () => (await everything(client)).filter((each) => 'thread' in each);
  const entries = client.db().collection('openresponses_entries');
  return { uri, store, entries, through, dyingAfter, sweepIn, swept, left };
}

/** A conversation with a turn and a record of a run on it that failed. */
async function withRecord(store: Awaited<ReturnType<typeof openMongo>>): Promise<void> {
  await makeConversation(store, tenant, 'conv', ['a']);
  await store.appendTurn(tenant, conversationTurn('r1', await headOfConversation(store, tenant, 'conv')));
  const changes = { conversationId: 'conv', input: [message('in-rec')] };
  await store.appendTurn(tenant, record('rec', await headOfConversation(store, tenant, 'conv'), changes));
}

describeMongo('a deletion in MongoDB that dies after its mark', () => {
  it('R5 hides the records of the conversation, too, until the clean-up removes them', async () => {
    const { store, dyingAfter, sweepIn, left } = await fresh();
    // An older item of the same id as one of the record.
    await makeConversation(store, tenant, 'older', ['out-rec']);
    await withRecord(store);
    const base = await headOfConversation(store, tenant, 'conv');
    const view = { kind: 'input_of', responseId: 'rec' } as const;
    expect(await store.getResponse(tenant, 'rec')).toBeDefined();
    expect(await store.listItems(tenant, view, { limit: 9, order: 'asc' })).toMatchObject({
      items: [{ id: 'a' }, {}, {}, {}],
    });
    expect((await findItems(store, tenant, ['in-rec'])).size).toBe(1);
    await expect(deleteConversation(dyingAfter('update'), tenant, 'conv')).rejects.toThrow('killed');
    expect(JSON.stringify(await left())).toContain('in-rec');
    const nothingIsThere = async (other: string) => {
      expect(await store.getResponse(tenant, 'rec')).toBeUndefined();
      expect(await store.listItems(tenant, view, { limit: 9, order: 'asc' })).toBe('missing');
      expect(await store.readContext(tenant, { kind: 'response', id: 'rec' }, 9_999)).toBe('missing');
      const found = await findItems(store, tenant, ['in-rec', 'out-rec', 'a']);
      expect([...found].map(([id, { place }]) => [id, place.threadId])).toEqual([['out-rec', 'older']]);
      expect(await store.deleteResponse(tenant, 'rec')).toBe(false);
      expect(await store.deleteConversation(tenant, 'conv')).toBe(false);
      // What could be referred to before, neither.
      await makeConversation(store, tenant, other);
      const reference = { id: 'in-rec', target: { threadId: 'thr_rec', position: 0 } };
      await store.appendItems(tenant, other, { items: [reference], textBytes: 1, createdAt: 1 });
      expect(await store.getItem(tenant, other, 'in-rec')).toBeUndefined();
      await store.deleteConversation(tenant, other);
    };
    await nothingIsThere('other');
    expect(await store.appendTurn(tenant, record('late', base, { conversationId: 'conv' }))).toBe('lost');
    await sweepIn(11 * minuteMs);
    await nothingIsThere('another');
    expect((await left()).map(({ position }) => position)).toEqual([-1, 0, -1, -1, -1]);
    await sweepIn(dayMs);
    expect((await left()).map(({ thread }) => thread)).toEqual(['older', 'older']);
  });

  it('R5 leaves other records alone', async () => {
    const { store, dyingAfter } = await fresh();
    await makeConversation(store, tenant, 'conv', ['a']);
    await makeConversation(store, tenant, 'other');
    const base = await headOfConversation(store, tenant, 'other');
    await store.appendTurn(tenant, record('of-other', base, { conversationId: 'other' }));
    await store.appendTurn(tenant, record('of-none'));
    await store.appendTurn(tenant, record('of-fork', await headOfConversation(store, tenant, 'conv')));
    await expect(deleteConversation(dyingAfter('update'), tenant, 'conv')).rejects.toThrow('killed');
    for (const id of ['of-other', 'of-none', 'of-fork']) {
      expect(await store.getResponse(tenant, id)).toBeDefined();
      expect((await findItems(store, tenant, [`in-${id}`])).size).toBe(1);
      expect(await store.deleteResponse(tenant, id)).toBe(true);
    }
  });
});

describeMongo('the last traces of a tree in MongoDB', () => {
  it('R4 are those that were there when it was empty, however late they are removed', async () => {
    const { uri, store, through } = await fresh();
    const base = await follow(store, tenant, 'r1');
    const [arrived, removal] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const halted = through(async (command, send) => {
      if (command['delete'] === 'openresponses_entries') {
        arrived.resolve();
        await removal.promise;
      }
      return send();
    });
    const deletion = deleteResponse(halted, tenant, 'r1');
    await arrived.promise;
    // A run that had read the context of r1 before, and what grows out of it.
    expect(await store.appendTurn(tenant, turn('r2', base))).toBe('appended');
    await follow(store, tenant, 'r3', 'r2');
    await follow(store, tenant, 'r4', 'r2');
    await follow(store, tenant, 'r5', 'r4');
    expect(await store.deleteResponse(tenant, 'r4')).toBe(true);
    removal.resolve();
    expect(await deletion).toBe(true);
    const expected = ['in-r2', 'out-r2', 'in-r5', 'out-r5'];
    for (const each of [store, await openMongo(uri)]) {
      expect(await responseContextIds(each, tenant, 'r5')).toEqual(expected);
      expect(await responseContextIds(each, tenant, 'r3')).toEqual(['in-r2', 'out-r2', 'in-r3', 'out-r3']);
    }
  });

  it('go also where they are more than one step takes', async () => {
    const { store, entries, left } = await fresh();
    await follow(store, tenant, 'r0');
    const [empty] = await entries.find({}, { projection: { items: 0, hasItems: 0, responseId: 0 } }).toArray();
    const copies = Array.from({ length: 1_200 }, (_, index) => {
      return { ...empty, _id: `["tenant","thr_r0",${index + 1}]` as never, position: index + 1 };
    });
    await entries.insertMany(copies);
    expect(await store.deleteResponse(tenant, 'r0')).toBe(true);
    expect(await left()).toEqual([]);
  });
});

describeMongo('the clean-up of MongoDB, and what no mark leads to', () => {
  it('R4 removes a tree whose last deletion died once it was empty', async () => {
    const { store, dyingAfter, sweepIn, left } = await fresh();
    await store.appendTurn(tenant, turn('r1', undefined, { user: 'bob' }));
    await expect(deleteResponse(dyingAfter('update'), tenant, 'r1')).rejects.toThrow('killed');
    expect(await left()).toHaveLength(1);
    // Whoever did it may be about to go on.
    await sweepIn(0);
    await sweepIn(9 * minuteMs);
    expect(await left()).toHaveLength(1);
    await sweepIn(11 * minuteMs);
    expect(await left()).toEqual([]);
  });

  it('leaves a tree alone that holds something, also where that came between two rounds', async () => {
    const { uri, store, dyingAfter, sweepIn, left } = await fresh();
    for (const [id, after] of [['r1'], ['r2', 'r1'], ['r3', 'r1'], ['s1']] as const) {
      await follow(store, tenant, id, after);
    }
    const late = await headOfResponse(store, tenant, 's1');
    await store.deleteResponse(tenant, 'r1');
    await expect(deleteResponse(dyingAfter('update'), tenant, 's1')).rejects.toThrow('killed');
    await sweepIn(dayMs);
    expect(await store.appendTurn(tenant, turn('s2', late))).toBe('appended');
    const before = await left();
    await sweepIn(2 * dayMs);
    await sweepIn(3 * dayMs);
    expect(await left()).toEqual(before);
    const other = await openMongo(uri);
    expect(await responseContextIds(other, tenant, 's2')).toEqual(['in-s2', 'out-s2']);
    expect(await responseContextIds(other, tenant, 'r3')).toEqual(['in-r3', 'out-r3']);
  });

  it.each([
    ['turn', 'conv'],
    ['record', 'thr_late'],
  ] as const)('R5 removes a %s that came after the mark was gone, of a process that died', async (kind, thread) => {
    const { store, through, sweepIn, left } = await fresh();
    await withRecord(store);
    const base = await headOfConversation(store, tenant, 'conv');
    let isDead = false;
    const work = through(async (command, send) => {
      if (isDead) throw new Error('killed');
      if (command['insert'] === 'openresponses_entries') {
        await store.deleteConversation(tenant, 'conv');
        await sweepIn(61 * minuteMs);
        expect(await left()).not.toContainEqual(expect.objectContaining({ thread: 'conv', position: -1 }));
        isDead = true;
      }
      return send();
    });
    const input = [message('large', 'x'.repeat(2 * 1024 * 1024))];
    const late =
      kind === 'turn'
        ? conversationTurn('late', base, { input })
        : record('late', base, { conversationId: 'conv', input });
    await expect(appendTurn(work, tenant, late)).rejects.toThrow('killed');
    expect(await left()).toContainEqual(expect.objectContaining({ thread, responseId: 'late' }));
    expect(await store.getResponse(tenant, 'late')).toBeUndefined();
    expect(await findItems(store, tenant, ['large'])).toEqual(new Map());
    await sweepIn(2 * dayMs);
    await sweepIn(3 * dayMs);
    expect(await left()).toEqual([]);
  });

  it('R5 leaves alone what is of a conversation that is there, or is being made or deleted', async () => {
    const { store, entries, sweepIn, swept, left } = await fresh();
    await withRecord(store);
    const before = await left();
    await sweepIn(dayMs);
    await sweepIn(2 * dayMs);
    expect(await left()).toEqual(before);
    expect(swept).toEqual([]);
    // A root that is found missing, and is there when it is to be acted upon.
    const root = await entries.findOneAndDelete({ thread: 'conv', position: -1 });
    await sweepIn(3 * dayMs);
    await entries.insertOne(root ?? {});
    await sweepIn(4 * dayMs);
    expect(await left()).toHaveLength(before.length);
    expect(await store.getResponse(tenant, 'rec')).toBeDefined();
  });

  it('walks on from where it was, through more than one step', async () => {
    const { store, entries, dyingAfter, sweepIn, swept, left } = await fresh();
    await makeConversation(store, tenant, 'conv', ['a']);
    const first = await entries.findOne({ thread: 'conv', position: 0 });
    const copies = Array.from({ length: 1_100 }, (_, index) => ({
      ...first,
      _id: `["tenant","conv",${index + 1}]` as never,
      position: index + 1,
    }));
    await entries.insertMany(copies);
    await follow(store, tenant, 'z');
    await expect(deleteResponse(dyingAfter('update'), tenant, 'z')).rejects.toThrow('killed');
    await sweepIn(dayMs);
    expect(swept).toEqual([]);
    await sweepIn(2 * dayMs);
    expect(swept).toEqual(['delete']);
    expect(await left()).toHaveLength(1_102);
    expect(await left()).not.toContainEqual(expect.objectContaining({ thread: 'thr_z' }));
  });
});
