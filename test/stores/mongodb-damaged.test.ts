import type { Document } from 'mongodb';
import { expect, it } from 'vitest';
import { deleteItem, deleteResponse } from '../../src/stores/mongodb/deletion.ts';
import { Command, temporaryFolder } from '../support/command.ts';
import { describeMongo, freshMongoDatabase } from '../support/databases.ts';
import { type Json, TestServer } from '../support/harness.ts';
import { errorOf } from '../support/open-server.ts';
import { conversationIds, items, makeConversation, message, turn } from '../support/store-fixtures.ts';
import { callThrough, everything, lookInto, openMongo, refusal, tenant, workOf } from './mongodb-support.ts';

const secret = 'a-secret-of-the-tea';
/** Too large for one document. */
const large = `${secret} `.repeat(80_000);

/** A server with its log, and a way to what lies in its database. */
async function served() {
  const { uri, database } = await freshMongoDatabase();
  const settings = {
    ...{ 'server.port': '0', 'log.level': 'info', 'demo.chunk-delay': '0' },
    ...{ 'store.type': 'mongodb', 'mongodb.uri': uri, 'mongodb.database': database },
  };
  const args = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  const command = new Command(await temporaryFolder(), args);
  const server = new TestServer({ url: await command.url() } as TestServer['running']);
  const client = await lookInto(uri);
  const of = (name: string) => client.db().collection(`openresponses_${name}`);
  const [entries, chunks] = [of('entries'), of('chunks')];
  /** Takes one of the chunks away of the entry that `filter` finds. */
  const damage = async (filter: Document): Promise<Document> => {
    const entry = await entries.findOne({ ...filter, chunks: { $exists: true } });
    if (entry === null) throw new Error('There is no such large entry');
    const { owner, parts } = entry['chunks'];
    expect(parts).toBeGreaterThan(2);
    expect((await chunks.deleteOne({ owner, part: 1 })).deletedCount).toBe(1);
    return entry;
  };
  /** What of a secret, or of chunks, the database still holds. */
  const rests = async () =>
    (await everything(client)).filter((each) => each['part'] !== undefined || JSON.stringify(each).includes(secret));
  return { command, server, entries, damage, rests };
}

/** The lines above `info` that tell of failures, as soon as the line of that request is there. */
async function failuresIn(command: Command, answer: { readonly headers: Headers }): Promise<Json[]> {
  const id = answer.headers.get('x-request-id');
  await command.until(({ logged }) => logged.call(command, 'request').find(({ reqId }) => reqId === id));
  return command.lines().filter(({ level, reqId }) => level > 30 && reqId === id);
}

async function expectDamage(command: Command, server: TestServer, path: string, entry: Document): Promise<void> {
  const answer = await server.get(path);
  expect(errorOf(answer)).toMatch(/^500 /);
  expect(JSON.stringify(answer.body)).not.toMatch(/secret|openresponses_|names texts/);
  const failures = await failuresIn(command, answer);
  expect(failures).toHaveLength(1);
  const message = `The stored entry ${entry['position']} of ${entry['thread']} names texts that are not in the database`;
  expect(failures[0].err.message).toBe(message);
  expect(command.err).not.toContain(secret);
}

const ask = { model: 'demo', store: true };

describeMongo('an entry in MongoDB whose chunks are missing', () => {
  it('R4 of a chain is a 500 that the log explains, harms no other, and goes with its response', async () => {
    const { command, server, entries, damage, rests } = await served();
    const before = await server.respond({ ...ask, input: 'before' });
    const broken = await server.respond({ ...ask, input: large, previous_response_id: before.id });
    const after = await server.respond({ ...ask, input: 'after', previous_response_id: broken.id });
    const other = await server.respond({ ...ask, input: 'other' });
    const entry = await damage({ responseId: broken.id });
    await expectDamage(command, server, `/v1/responses/${broken.id}`, entry);
    await expectDamage(command, server, `/v1/responses/${after.id}/input_items`, entry);
    for (const { id } of [before, after, other]) expect((await server.get(`/v1/responses/${id}`)).status).toBe(200);
    expect(await rests()).not.toEqual([]);
    const deleted = await server.delete(`/v1/responses/${broken.id}`);
    expect([deleted.status, deleted.body]).toEqual([200, { id: broken.id, object: 'response', deleted: true }]);
    expect(await failuresIn(command, deleted)).toEqual([]);
    expect(await rests()).toEqual([]);
    expect((await server.get(`/v1/responses/${broken.id}`)).status).toBe(404);
    expect((await server.delete(`/v1/responses/${broken.id}`)).status).toBe(404);
    // Its place stays taken, and those around it go on.
    const page = await server.get(`/v1/responses/${after.id}/input_items?order=asc`);
    expect(page.body.data.map(({ content }: Json) => content[0].text)).toEqual(['before', expect.any(String), 'after']);
    await server.respond({ ...ask, input: 'more', previous_response_id: after.id });
    for (const { id } of [before, after]) expect((await server.delete(`/v1/responses/${id}`)).status).toBe(200);
    expect(await entries.countDocuments({ responseId: { $in: [before.id, broken.id, after.id] } })).toBe(0);
  }, 60_000);

  it('R4 of one response alone leaves no document behind', async () => {
    const { server, entries, damage } = await served();
    const broken = await server.respond({ ...ask, input: large });
    await damage({ responseId: broken.id });
    expect((await server.delete(`/v1/responses/${broken.id}`)).status).toBe(200);
    expect(await entries.countDocuments()).toBe(0);
  }, 60_000);

  it.each(['item', 'response', 'conversation'])(
    'R5 R6 of a conversation goes with its %s',
    async (by) => {
      const { command, server, entries, damage, rests } = await served();
      const { id } = (await server.post('/v1/conversations', { items: [{ role: 'user', content: 'first' }] })).body;
      const at = `/v1/conversations/${id}`;
      const broken = await server.respond({ model: 'demo', input: large, conversation: id });
      const next = await server.respond({ model: 'demo', input: 'next', conversation: id });
      const [output] = broken.output;
      const entry = await damage({ responseId: broken.id });
      await expectDamage(command, server, `${at}/items/${output.id}`, entry);
      await expectDamage(command, server, `${at}/items`, entry);
      expect((await server.get(`/v1/responses/${next.id}`)).status).toBe(200);
      expect((await server.delete(`${at}/items/msg_0`)).status).toBe(404);
      expect(await entries.countDocuments({ responseId: broken.id, 'chunks.parts': { $gt: 0 } })).toBe(1);
      const paths: Record<string, string> = {
        item: `${at}/items/${output.id}`,
        response: `/v1/responses/${broken.id}`,
      };
      const deleted = await server.delete(paths[by] ?? at);
      expect([deleted.status, await failuresIn(command, deleted)]).toEqual([200, []]);
      expect(await rests()).toEqual([]);
      expect((await server.get(`/v1/responses/${broken.id}`)).status).toBe(404);
      expect((await server.get(`${at}/items/${output.id}`)).status).toBe(404);
      const page = await server.get(`${at}/items?order=asc`);
      if (by === 'conversation') {
        expect(page.status).toBe(404);
        // The mark of the deletion.
        expect(await entries.find().toArray()).toMatchObject([{ thread: id, position: -1, root: { ancestors: [] } }]);
        return;
      }
      const texts = page.body.data.map(({ content }: Json) => content[0].text);
      expect(texts).toEqual(['first', 'next', expect.any(String)]);
      await server.respond({ model: 'demo', input: 'more', conversation: id });
      expect((await server.delete(at)).status).toBe(200);
      expect(await entries.find().toArray()).toMatchObject([{ thread: id, position: -1 }]);
    },
    60_000,
  );

  it('is taken for damaged by a deletion only where a majority confirms it', async () => {
    const { uri } = await freshMongoDatabase();
    const store = await openMongo(uri);
    const client = await lookInto(uri);
    await store.appendTurn(tenant, turn('r1', undefined, { input: [message('large', large)] }));
    await makeConversation(store, tenant, 'conv');
    await store.appendItems(tenant, 'conv', items(message('a'), message('b', large)));
    // A server that answers out of date: it has not seen the chunks yet.
    const call = callThrough(client, (command, send) => {
      if (command['find'] === 'openresponses_chunks') return Promise.resolve({ cursor: { firstBatch: [] } });
      return send();
    });
    await refusal(deleteResponse(workOf(call), tenant, 'r1'));
    await refusal(deleteItem(workOf(call), tenant, { id: 'conv', itemId: 'a', nowMs: 1_000 }));
    expect((await store.getResponse(tenant, 'r1'))?.status).toBe('completed');
    expect(await conversationIds(store, tenant, 'conv')).toEqual(['a', 'b']);
  }, 60_000);
});
