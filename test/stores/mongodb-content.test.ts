import { BSON, type Document, MongoNetworkError, ObjectId } from 'mongodb';
import { expect, it, onTestFinished } from 'vitest';
import { appendItems, appendTurn } from '../../src/stores/mongodb/append.ts';
import { createConversation } from '../../src/stores/mongodb/conversations.ts';
import { Deployment } from '../../src/stores/mongodb/deployment.ts';
import { Sweeper } from '../../src/stores/mongodb/sweep.ts';
import { describeMongo, freshMongoDatabase } from '../support/databases.ts';
import {
  conversationContextIds,
  conversationIds,
  conversationTurn,
  findItem,
  findItems,
  follow,
  headOfConversation,
  headOfResponse,
  idsOf,
  inputIds,
  items,
  makeConversation,
  message,
  record,
  responseContextIds,
  turn,
  viewIds,
} from '../support/store-fixtures.ts';
import { callThrough, everything, lookInto, openMongo, type Pass, refusal, tenant, workOf } from './mongodb-support.ts';

const hourMs = 3_600_000;
const maxDocumentBytes = 16 * 1024 * 1024;

async function fresh() {
  const { uri } = await freshMongoDatabase();
  const store = await openMongo(uri, { timeoutMs: 30_000 });
  const client = await lookInto(uri);
  const of = (name: string) => client.db().collection(`openresponses_${name}`);
  return { uri, store, client, entries: of('entries'), chunks: of('chunks') };
}

function withoutMark(documents: readonly Document[]): Document[] {
  return documents.filter(({ product }) => product === undefined);
}

/** A clean-up that takes place now, as if it were later. */
async function sweepAt(uri: string, nowMs: number): Promise<void> {
  const deployment = await Deployment.open({ uri, database: undefined, timeoutMs: 10_000 });
  onTestFinished(() => deployment.close());
  const sweeper = new Sweeper({ deployment, workOf, keepUp: async () => {} });
  await sweeper.round(nowMs);
  sweeper.stop();
}

describeMongo('what lies in MongoDB', () => {
  it('48 MiB in one turn, and 50,000 items in one, are read back whole, in documents far below 16 MB', async () => {
    const { store, client } = await fresh();
    const huge = message('huge', '☕'.repeat(16 * 1024 * 1024));
    expect(await store.appendTurn(tenant, turn('r1', undefined, { input: [huge] }))).toBe('appended');
    const found = await findItem(store, tenant, 'huge');
    expect(JSON.stringify(found?.item) === huge.json).toBe(true);
    const many = Array.from({ length: 50_000 }, (_, index) => message(`${index}`.padStart(64, 'm'), 'x'));
    const place = await headOfResponse(store, tenant, 'r1');
    await store.deleteResponse(tenant, 'r1');
    expect(await store.appendTurn(tenant, turn('r2', place, { input: many }))).toBe('appended');
    expect(await responseContextIds(store, tenant, 'r2')).toEqual([...many.map(({ id }) => id), 'out-r2']);
    expect((await store.getResponse(tenant, 'r2'))?.output).toHaveLength(1);
    const sizes = (await everything(client)).map((document) => BSON.calculateObjectSize(document));
    expect(Math.max(...sizes)).toBeLessThan(maxDocumentBytes / 4);
  }, 120_000);

  it('a character is never cut in two, wherever a part ends', async () => {
    const { store } = await fresh();
    for (const before of ['', 'x']) {
      const text = `${before}${'🫖'.repeat(700_000)}`;
      const id = `item-${before}`;
      await store.appendTurn(tenant, turn(`r-${before}`, undefined, { input: [message(id, text)] }));
      const item = (await findItem(store, tenant, id))?.item;
      expect(JSON.stringify(item) === message(id, text).json).toBe(true);
    }
  });

  it('a long chain is a few questions, and large entries come in parts', async () => {
    const { store } = await fresh();
    const expected: string[] = [];
    let after: string | undefined;
    for (let index = 0; index < 12; index += 1) {
      const base = after === undefined ? undefined : await headOfResponse(store, tenant, after);
      const input = [message(`i${index}`, 'y'.repeat(index % 3 === 0 ? 3_000_000 : 900_000))];
      await store.appendTurn(tenant, turn(`r${index}`, base, { input }));
      after = `r${index}`;
      expected.push(`i${index}`, `out-r${index}`);
    }
    expect(await responseContextIds(store, tenant, 'r11')).toEqual(expected);
    const view = { kind: 'input_of', responseId: 'r11' } as const;
    expect(await viewIds(store, tenant, view, 'desc', 3)).toEqual(expected.slice(0, -1).toReversed());
  }, 60_000);

  it('R4 R5 R6 nothing of what was deleted stays anywhere', async () => {
    const { store, client } = await fresh();
    const secret = 'The-secret-of-the-tea';
    const long = secret.repeat(100_000);
    await store.createConversation(tenant, { id: 'old', metadata: { topic: secret }, createdAt: 1 });
    await makeConversation(store, tenant, 'conv', ['plain']);
    for (const [index, text] of [secret, long].entries()) {
      const secrets = { input: [message(`${secret}${index}`, text)], responseJson: `{"x":"${text}"}`, user: secret };
      await store.appendTurn(tenant, turn(`r${index}`, undefined, secrets));
      for (const id of ['old', 'conv']) {
        const base = await headOfConversation(store, tenant, id);
        await store.appendTurn(tenant, conversationTurn(`${id}-${index}`, base, { responseJson: `{"x":"${text}"}` }));
        await store.appendItems(tenant, id, items(message(`${id}-s-${index}`, text), message(`${id}-p-${index}`)));
        await store.appendTurn(tenant, record(`${id}-rec-${index}`, base, { ...secrets, conversationId: id }));
      }
    }
    await store.acquireLease(tenant, 'old', secret, 1_000);
    const holding = async (): Promise<number> =>
      (await everything(client)).filter((each) => JSON.stringify(each).includes(secret)).length;
    expect(await holding()).toBeGreaterThan(10);
    for (const index of [0, 1]) {
      expect(await store.deleteResponse(tenant, `r${index}`)).toBe(true);
      expect(await store.deleteResponse(tenant, `conv-${index}`)).toBe(true);
      expect(await store.deleteResponse(tenant, `conv-rec-${index}`)).toBe(true);
      expect(await store.deleteItem(tenant, 'conv', `conv-s-${index}`)).toBe('deleted');
    }
    expect(await store.deleteConversation(tenant, 'old')).toBe(true);
    expect(await holding()).toBe(0);
    expect(await everything(client)).not.toContainEqual(expect.objectContaining({ part: expect.anything() }));
    expect(await conversationIds(store, tenant, 'conv')).toHaveLength(7);
  }, 60_000);

  it('R4 R5 no document is left of a tree in which everything is deleted, but the mark of a conversation', async () => {
    const { uri, store, client } = await fresh();
    await follow(store, tenant, 'r1');
    await follow(store, tenant, 'r2', 'r1');
    await follow(store, tenant, 'fork', 'r1');
    await makeConversation(store, tenant, 'conv', ['a']);
    for (const id of ['r1', 'fork', 'r2']) await store.deleteResponse(tenant, id);
    await store.deleteConversation(tenant, 'conv');
    const left = withoutMark(await everything(client));
    expect(left).toMatchObject([{ thread: 'conv', position: -1, root: { ancestors: [] } }]);
    await sweepAt(uri, Date.now() + 0.5 * hourMs);
    expect(withoutMark(await everything(client))).toHaveLength(1);
    await sweepAt(uri, Date.now() + 2 * hourMs);
    expect(withoutMark(await everything(client))).toEqual([]);
  });

  it('a deletion that died on the way is invisible at once, and finished by the clean-up', async () => {
    const { uri, store, client, entries } = await fresh();
    await makeConversation(store, tenant, 'conv', ['a']);
    await makeConversation(store, tenant, 'kept', ['b']);
    const base = await headOfConversation(store, tenant, 'conv');
    const input = [message('large', 'x'.repeat(2_000_000))];
    await store.appendTurn(tenant, conversationTurn('r1', base, { input }));
    await store.appendTurn(tenant, record('failed', base, { conversationId: 'conv' }));
    await follow(store, tenant, 'fork', 'r1');
    await store.appendItems(tenant, 'kept', items({ id: 'a', target: { threadId: 'conv', position: 0 } }));
    await entries.updateOne({ thread: 'conv', position: -1 }, { $set: { deletedAt: Date.now() } });
    expect(await store.getConversation(tenant, 'conv')).toBeUndefined();
    expect(await store.getResponse(tenant, 'r1')).toBeUndefined();
    expect(await store.deleteResponse(tenant, 'r1')).toBe(false);
    expect(await findItem(store, tenant, 'large')).toBeUndefined();
    expect(await conversationIds(store, tenant, 'kept')).toEqual(['b']);
    expect(await responseContextIds(store, tenant, 'fork')).toEqual(['in-fork', 'out-fork']);
    expect(await store.readContext(tenant, { kind: 'response', id: 'r1' }, 9_999)).toBe('missing');
    await sweepAt(uri, Date.now());
    expect(await entries.countDocuments({ thread: 'conv' })).toBe(3);
    await sweepAt(uri, Date.now() + 2 * hourMs);
    const left = withoutMark(await everything(client)).map(({ thread }) => thread);
    expect(new Set(left)).toEqual(new Set(['kept', 'thr_fork']));
    expect(await responseContextIds(store, tenant, 'fork')).toEqual(['in-fork', 'out-fork']);
  });

  it('a conversation that died while it was made is not there, and is cleaned up', async () => {
    const { uri, store, client, entries } = await fresh();
    await makeConversation(store, tenant, 'conv', ['a']);
    await entries.updateOne({ thread: 'conv', position: -1 }, { $set: { deletedAt: Date.now() } });
    expect(await findItem(store, tenant, 'a')).toBeUndefined();
    expect(await store.acquireLease(tenant, 'conv', 'run', 1_000)).toBe('missing');
    await sweepAt(uri, Date.now() + 2 * hourMs);
    expect(withoutMark(await everything(client))).toEqual([]);
  });

  it('chunks that no entry names go after a day, and no others', async () => {
    const { uri, store, client, chunks } = await fresh();
    const input = [message('large', 'x'.repeat(2_000_000))];
    await store.appendTurn(tenant, turn('r1', undefined, { input }));
    const [some] = await chunks.find().toArray();
    const createdAt = Date.now();
    const orphans = Array.from({ length: 5 }, (_, part) => ({ ...some, owner: 'nobody', part, createdAt }));
    await chunks.insertMany(orphans.map(({ _id, ...rest }: Document) => rest));
    await sweepAt(uri, Date.now() + 23 * hourMs);
    expect(await chunks.countDocuments({ owner: 'nobody' })).toBe(5);
    await sweepAt(uri, Date.now() + 25 * hourMs);
    expect(await chunks.countDocuments({ owner: 'nobody' })).toBe(0);
    expect(idsOf([(await findItem(store, tenant, 'large'))!.item])).toEqual(['large']);
    expect(await client.db().collection('openresponses_chunks').countDocuments()).toBe(7);
  });

  it('what can not be cleaned up does not keep the rest from it, be it more than a thousand', async () => {
    const { uri, client, entries, chunks } = await fresh();
    const mark = (thread: unknown, deletedAt: number) => ({
      tenant,
      thread,
      position: -1,
      kind: 'conversation',
      deletedAt,
    });
    await entries.insertMany([
      ...[1, 2, 3].map((thread) => mark(thread, thread)),
      ...Array.from({ length: 1_100 }, (_, index) => mark(`conv-${index}`, 10 + index)),
    ]);
    await chunks.insertOne({ tenant: 5, thread: 'x', owner: 'bad', part: 0, createdAt: 1 });
    await chunks.insertOne({ tenant, thread: 'x', owner: 'nobody', part: 0, createdAt: 2 });
    await sweepAt(uri, Date.now());
    const left = withoutMark(await everything(client)).map(({ thread, owner }) => owner ?? thread);
    expect(left).toEqual([1, 2, 3, 'bad']);
  }, 60_000);

  it('a clean-up in which too much fails goes on behind it the next time, until it is stopped', async () => {
    const { uri, client, entries } = await fresh();
    const mark = (thread: unknown, deletedAt: number) => ({
      tenant,
      thread,
      position: -1,
      kind: 'conversation',
      deletedAt,
    });
    await entries.insertMany([...Array.from({ length: 30 }, (_, index) => mark(index, index + 1)), mark('conv', 50)]);
    const deployment = await Deployment.open({ uri, database: undefined, timeoutMs: 10_000 });
    onTestFinished(() => deployment.close());
    const sweeper = new Sweeper({ deployment, workOf, keepUp: async () => {} });
    await sweeper.round(Date.now());
    expect(await entries.countDocuments({ thread: 'conv' })).toBe(1);
    await sweeper.round(Date.now());
    expect(withoutMark(await everything(client))).toHaveLength(30);
    expect(await entries.countDocuments({ thread: 'conv' })).toBe(0);
    await entries.insertOne(mark('late', 60));
    const last = sweeper.round(Date.now());
    sweeper.stop();
    await last;
    expect(await entries.countDocuments({ thread: 'late' })).toBe(1);
  });

  it('a conversation that was deleted stays so, whatever of its making arrives late', async () => {
    const { store, client } = await fresh();
    const sent: Document[] = [];
    const call = callThrough(client, (command, send) => {
      sent.push(command);
      return send();
    });
    const entry = items(message('a'));
    const common = { metadataJson: '{}', createdAt: 1 };
    await createConversation(workOf(call), tenant, { ...common, id: 'conv', entry });
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
    const births = sent.filter(({ update }) => update !== undefined);
    expect(births).toHaveLength(1);
    expect(await store.deleteConversation(tenant, 'conv')).toBe(true);
    for (const late of births) await client.db().command(late);
    expect(await store.getConversation(tenant, 'conv')).toBeUndefined();
    expect(await store.deleteConversation(tenant, 'conv')).toBe(false);
  });

  it.each([
    ['deleted', 'made'],
    ['cleaned up', 'refused'],
  ])('a conversation that is %s while the answer to its making is lost is %s', async (harm, expected) => {
    const { uri, store, client, entries } = await fresh();
    let births = 0;
    const call = callThrough(client, async (command, send) => {
      if (command['update'] === undefined) return send();
      births += 1;
      if (births > 1) return send();
      if (harm === 'deleted') {
        await send();
        await store.deleteConversation(tenant, 'conv');
      } else {
        await entries.updateOne({ thread: 'conv', position: -1 }, { $set: { swept: true } });
      }
      throw new MongoNetworkError('lost');
    });
    const entry = items(message('a'));
    const made = createConversation(workOf(call), tenant, { id: 'conv', metadataJson: '{}', createdAt: 1, entry });
    if (expected === 'made') await made;
    else await refusal(made);
    expect(await store.getConversation(tenant, 'conv')).toBeUndefined();
    await sweepAt(uri, Date.now() + 2 * hourMs);
    expect(withoutMark(await everything(client))).toEqual([]);
  });

  it('R6 R9 an id that more entries hold than one answer names is found and deleted in all of them', async () => {
    const { store, entries } = await fresh();
    await makeConversation(store, tenant, 'conv', ['a', 'same']);
    await store.appendItems(tenant, 'conv', items(message('other')));
    const shape = await entries.findOne({ thread: 'conv', position: 1 });
    const [, ids] = (await entries.findOne({ thread: 'conv', position: 0 }))?.['ids'] ?? [];
    await entries.deleteOne({ thread: 'conv', position: 1 });
    // As if runs had repeated it.
    const repeated = { ...shape, ids: [ids], items: `[${message('same').json}]` };
    await entries.insertMany(
      Array.from({ length: 450 }, (_, index) => ({ ...repeated, _id: new ObjectId(), position: index + 1 })),
    );
    expect(await store.appendItems(tenant, 'conv', items(message('b'), message('a')))).toEqual({
      outcome: 'duplicate',
      itemId: 'a',
    });
    const page = { limit: 1, order: 'asc', after: 'same' } as const;
    await store.appendTurn(tenant, turn('fork', { threadId: 'conv', position: 0 }));
    const inFork = await store.listItems(tenant, { kind: 'input_of', responseId: 'fork' }, page);
    expect(inFork).toMatchObject({ items: [{ id: 'in-fork' }] });
    expect(await store.deleteItem(tenant, 'conv', 'same')).toBe('deleted');
    expect(await store.getItem(tenant, 'conv', 'same')).toBeUndefined();
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
    expect(await store.deleteItem(tenant, 'conv', 'same')).toBe('missing');
  }, 60_000);

  it('R5 what is added to a conversation while it is deleted is taken back, and nobody is told that it is there', async () => {
    const { store, client, entries, chunks } = await fresh();
    const large = message('large', 'x'.repeat(1_500_000));
    const deletingBefore = (id: string) => {
      let isFirst = true;
      const pass: Pass = async (command, send) => {
        if (command['insert'] === 'openresponses_entries' && isFirst) {
          isFirst = false;
          expect(await store.deleteConversation(tenant, id)).toBe(true);
        }
        return send();
      };
      return workOf(callThrough(client, pass));
    };
    for (const id of ['post', 'turn', 'record']) await makeConversation(store, tenant, id, ['a']);
    const post = { id: 'post', entry: items(large), nowMs: 1_000 };
    expect(await appendItems(deletingBefore('post'), tenant, post)).toEqual({ outcome: 'missing' });
    const ofTurn = conversationTurn('r1', { threadId: 'turn', position: 0 }, { input: [large] });
    expect(await appendTurn(deletingBefore('turn'), tenant, ofTurn)).toBe('lost');
    const base = { threadId: 'record', position: 0 };
    const failed = record('r2', base, { conversationId: 'record', input: [large] });
    expect(await appendTurn(deletingBefore('record'), tenant, failed)).toBe('lost');
    expect(await entries.countDocuments({ position: { $gte: 0 } })).toBe(0);
    expect(await chunks.countDocuments()).toBe(0);
  });

  it('a turn that is there already frees its lease, and is not stored a second time', async () => {
    const { store, entries } = await fresh();
    await makeConversation(store, tenant, 'conv', ['a']);
    const base = await headOfConversation(store, tenant, 'conv');
    const made = conversationTurn('r1', base, { holder: 'run' });
    expect(await store.appendTurn(tenant, made)).toBe('appended');
    await store.acquireLease(tenant, 'conv', 'run', 60_000);
    expect(await store.appendTurn(tenant, made)).toBe('appended');
    expect(await store.acquireLease(tenant, 'conv', 'next', 60_000)).toBe('acquired');
    const elsewhere = { ...made, base: { threadId: 'conv', position: 1 }, status: 'incomplete' };
    expect(await store.appendTurn(tenant, elsewhere)).toBe('lost');
    expect(await entries.countDocuments({ responseId: 'r1' })).toBe(1);
  });

  it('an append to a thread whose root went with an emptied tree lives on alone', async () => {
    const { uri, store, entries } = await fresh();
    await follow(store, tenant, 'r1');
    const place = await follow(store, tenant, 'r2', 'r1');
    await entries.deleteOne({ thread: place.threadId, position: 0 });
    for (const reader of [store, await openMongo(uri)]) {
      expect(await responseContextIds(reader, tenant, 'r2')).toEqual(['in-r2', 'out-r2']);
      expect(await inputIds(reader, tenant, 'r2')).toEqual(['in-r2']);
    }
    const other = await openMongo(uri);
    await follow(other, tenant, 'r3', 'r2');
    expect(await responseContextIds(other, tenant, 'r3')).toEqual(['in-r2', 'out-r2', 'in-r3', 'out-r3']);
    expect(await other.deleteResponse(tenant, 'r2')).toBe(true);
    expect(await other.deleteResponse(tenant, 'r3')).toBe(true);
    expect(await entries.countDocuments()).toBe(0);
  });

  it('what one process remembers of a thread that another one removed does no harm', async () => {
    const { uri, store } = await fresh();
    const other = await openMongo(uri);
    const place = await follow(store, tenant, 'r1');
    await other.deleteResponse(tenant, 'r1');
    expect(await store.appendTurn(tenant, turn('r2', place))).toBe('appended');
    for (const reader of [store, other]) {
      expect(await responseContextIds(reader, tenant, 'r2')).toEqual(['in-r2', 'out-r2']);
    }
    await follow(other, tenant, 'r3', 'r2');
    expect(await responseContextIds(store, tenant, 'r3')).toEqual(['in-r2', 'out-r2', 'in-r3', 'out-r3']);
  });

  it('two servers that add to one conversation lose nothing and double nothing', async () => {
    const { uri, store } = await fresh();
    const other = await openMongo(uri);
    await makeConversation(store, tenant, 'conv');
    const posts = [store, other].flatMap((each, server) =>
      Array.from({ length: 25 }, (_, index) => {
        const ids = [`${server}-${index}`, 'shared'].slice(0, index === 0 ? 2 : 1);
        return each.appendItems(tenant, 'conv', items(...ids.map((id) => message(id))));
      }),
    );
    const outcomes = (await Promise.all(posts)).map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome === 'duplicate')).toHaveLength(1);
    const ids = await conversationContextIds(other, tenant, 'conv');
    expect(ids).toHaveLength(50);
    expect(new Set(ids).size).toBe(50);
  });

  it('what is no string never becomes part of a question', async () => {
    const { store } = await fresh();
    await makeConversation(store, tenant, 'conv', ['a']);
    const operator = { $ne: '', toWellFormed: () => operator, isWellFormed: () => true } as never;
    const place = { threadId: operator, position: 0 };
    const attempts = [
      () => store.getConversation(tenant, operator),
      () => store.getConversation(operator, 'conv'),
      () => store.deleteConversation(tenant, operator),
      () => store.getResponse(tenant, operator),
      () => findItems(store, tenant, [operator]),
      () => store.getItem(tenant, 'conv', operator),
      () => store.acquireLease(tenant, 'conv', operator, 1_000),
      () => store.releaseLease(tenant, 'conv', operator),
      () => store.appendTurn(tenant, turn('r1', place)),
      () => store.appendTurn(tenant, conversationTurn('r1', { threadId: 'conv', position: operator })),
    ];
    for (const attempt of attempts) await expect(attempt()).rejects.toThrow(TypeError);
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a']);
  });
});
