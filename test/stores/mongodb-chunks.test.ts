import { type Document, MongoNetworkError } from 'mongodb';
import { expect, it, onTestFinished, vi } from 'vitest';
import { StoreUnavailable } from '../../src/store.ts';
import { appendTurn } from '../../src/stores/mongodb/append.ts';
import { deleteItem, removeOrphans } from '../../src/stores/mongodb/deletion.ts';
import { Deployment } from '../../src/stores/mongodb/deployment.ts';
import { Sweeper } from '../../src/stores/mongodb/sweep.ts';
import { describeMongo, freshMongoDatabase } from '../support/databases.ts';
import {
  conversationIds,
  conversationTurn,
  findItems,
  items,
  makeConversation,
  message,
  responseContextIds,
  turn,
} from '../support/store-fixtures.ts';
import { callThrough, lookInto, openMongo, type Pass, tenant, workOf } from './mongodb-support.ts';

const dayMs = 24 * 3_600_000;
const input = [message('large', 'x'.repeat(2_000_000))];

async function fresh() {
  const { uri } = await freshMongoDatabase();
  const store = await openMongo(uri);
  const client = await lookInto(uri);
  const of = (name: string) => client.db().collection(`openresponses_${name}`);
  const deployment = await Deployment.open({ uri, database: undefined, timeoutMs: 10_000 });
  onTestFinished(() => deployment.close());
  const sweeper = new Sweeper({ deployment, workOf, keepUp: async () => {} });
  const through = (pass: Pass) => workOf(callThrough(client, pass));
  return { uri, store, entries: of('entries'), chunks: of('chunks'), sweeper, through };
}

/** Whether a command writes an entry or its change. */
function isOfEntries(command: Document, kind: 'insert' | 'update'): boolean {
  return command[kind] === 'openresponses_entries';
}

describeMongo('chunks and a clean-up whose clock is a day ahead', () => {
  it('a turn whose chunks go before its entry comes writes them again before it is told', async () => {
    const { store, chunks, sweeper, through } = await fresh();
    const work = through(async (command, send) => {
      if (isOfEntries(command, 'insert')) {
        await sweeper.round(Date.now() + 2 * dayMs);
        expect(await chunks.countDocuments()).toBe(0);
      }
      return send();
    });
    expect(await appendTurn(work, tenant, turn('r1', undefined, { input }))).toBe('appended');
    expect(await responseContextIds(store, tenant, 'r1')).toEqual(['large', 'out-r1']);
    await sweeper.round(Date.now() + 2 * dayMs);
    expect(await chunks.countDocuments()).toBe(7);
  });

  it('a change of an entry does so too', async () => {
    const { store, chunks, sweeper, through } = await fresh();
    await makeConversation(store, tenant, 'conv');
    await store.appendItems(tenant, 'conv', items(message('a'), ...input));
    const work = through(async (command, send) => {
      if (isOfEntries(command, 'update')) await sweeper.round(Date.now() + 2 * dayMs);
      return send();
    });
    expect(await deleteItem(work, tenant, { id: 'conv', itemId: 'a', nowMs: 1_000 })).toBe('deleted');
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['large']);
    expect(await chunks.countDocuments()).toBe(7);
  });

  it.each([
    ['dooms', 'update', 0],
    ['removes', 'delete', 7],
  ])(
    'a turn that comes when a clean-up has looked for it, and before it %s, keeps its chunks',
    async (_, step, doomed) => {
      const { store, chunks, through } = await fresh();
      const reached = Promise.withResolvers<void>();
      const told = Promise.withResolvers<void>();
      let sweeping: Promise<void> = Promise.resolve();
      const work = through(async (command, send) => {
        if (!isOfEntries(command, 'insert')) return send();
        const slow = through(async (ofSweep, sendOn) => {
          if (ofSweep[step] === 'openresponses_chunks') {
            reached.resolve();
            await told.promise;
          }
          return sendOn();
        });
        const owner = String((command['documents'] as Document[])[0]?.['chunks']?.owner);
        sweeping = removeOrphans(slow, tenant, 'thr_r1', [owner]);
        await reached.promise;
        expect(await chunks.countDocuments({ doomed: true })).toBe(doomed);
        return send();
      });
      expect(await appendTurn(work, tenant, turn('r1', undefined, { input }))).toBe('appended');
      told.resolve();
      await sweeping;
      expect(await responseContextIds(store, tenant, 'r1')).toEqual(['large', 'out-r1']);
      expect(await chunks.countDocuments({ doomed: { $exists: false } })).toBe(7);
    },
  );

  it('nothing is written again for an entry that is deleted meanwhile', async () => {
    const { store, entries, chunks, through } = await fresh();
    let isInserted = false;
    const work = through(async (command, send) => {
      if (isInserted && command['find'] === 'openresponses_chunks') {
        isInserted = false;
        await store.deleteResponse(tenant, 'r1');
      }
      const answer = await send();
      isInserted ||= isOfEntries(command, 'insert');
      return answer;
    });
    expect(await appendTurn(work, tenant, turn('r1', undefined, { input }))).toBe('appended');
    expect([await entries.countDocuments(), await chunks.countDocuments()]).toEqual([0, 0]);
  });

  it('a clean-up goes by the clock that is behind: its own, or that of the database', async () => {
    const { chunks, sweeper } = await fresh();
    const orphan = (owner: string, createdAt: number) => ({ v: 1, tenant, thread: 'x', owner, part: 0, createdAt });
    const realMs = Date.now();
    await chunks.insertMany([
      orphan('new', realMs),
      orphan('old', realMs - 2 * dayMs),
      orphan('older', realMs - 9 * dayMs),
    ]);
    const clock = vi.spyOn(Date, 'now').mockReturnValue(realMs - 5 * dayMs);
    onTestFinished(() => clock.mockRestore());
    const left = async () => (await chunks.find().toArray()).map(({ owner }) => owner);
    await sweeper.next();
    expect(await left()).toEqual(['new', 'old']);
    clock.mockReturnValue(realMs + 5 * dayMs);
    await sweeper.next();
    expect(await left()).toEqual(['new']);
  });

  it('an entry whose chunks are missing is an error to whoever reads it, and never an empty one', async () => {
    const { store, chunks } = await fresh();
    await store.appendTurn(tenant, turn('r1', undefined, { input }));
    await chunks.deleteOne({ part: 3 });
    const readings = [
      store.getResponse(tenant, 'r1'),
      store.readContext(tenant, { kind: 'response', id: 'r1' }, 9_999_999),
      findItems(store, tenant, ['large']),
    ];
    for (const outcome of await Promise.allSettled(readings)) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { message: expect.stringContaining('names texts') },
      });
      expect(outcome).not.toMatchObject({ reason: expect.any(StoreUnavailable) });
    }
  });

  it('an entry that loses its place leaves no chunks behind', async () => {
    const { store, chunks, through } = await fresh();
    await makeConversation(store, tenant, 'conv', ['a']);
    const base = { threadId: 'conv', position: 0 };
    expect(await store.appendTurn(tenant, conversationTurn('r1', base))).toBe('appended');
    expect(await store.appendTurn(tenant, conversationTurn('r2', base, { input }))).toBe('lost');
    expect(await chunks.countDocuments()).toBe(0);
    // Also where it was not seen to be lost at once.
    let tries = 0;
    const work = through(async (command, send) => {
      if (!isOfEntries(command, 'insert')) return send();
      tries += 1;
      if (tries === 1) throw new MongoNetworkError('lost');
      return send();
    });
    expect(await appendTurn(work, tenant, conversationTurn('r3', base, { input }))).toBe('lost');
    expect([tries, await chunks.countDocuments()]).toEqual([2, 0]);
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'in-r1', 'out-r1']);
  });
});
