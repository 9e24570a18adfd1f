import { inspect } from 'node:util';
import { MongoServerError, MongoWriteConcernError } from 'mongodb';
import { expect, it } from 'vitest';
import { StoreUnavailable } from '../../src/store.ts';
import { appendTurn } from '../../src/stores/mongodb/append.ts';
import type { Values } from '../../src/stores/mongodb/call.ts';
import { entries } from '../../src/stores/mongodb/documents.ts';
import { failureOf, plainError, Refused, unavailable } from '../../src/stores/mongodb/failures.ts';
import { describeMongo, freshMongoDatabase } from '../support/databases.ts';
import { conversationTurn, headOfConversation, makeConversation, turn } from '../support/store-fixtures.ts';
import { callThrough, lookInto, openMongo, refusal, tenant, workOf } from './mongodb-support.ts';

const transient = [
  43, 46, 64, 94, 175, 211, 216, 237, 249, 279, 285, 290, 317, 342, 355, 358, 365, 391, 402, 406, 407, 433, 449, 462,
  11601, 12587,
];
const refused = [1, 261, 264, 371, 14031];

function failed(code: number): MongoServerError {
  return new MongoServerError({ ok: 0, code, errmsg: 'no', message: 'no' });
}

function unconfirmed(code: number): MongoWriteConcernError {
  return new MongoWriteConcernError({ ok: 1, n: 1, writeConcernError: { code, errmsg: 'not yet' } });
}

it('what a database says of itself is no defect of ours', () => {
  for (const code of transient) expect(failureOf(failed(code)).kind, String(code)).toBe('transient');
  for (const code of refused) expect(failureOf(failed(code)).kind, String(code)).toBe('refused');
  for (const code of [2, 9, 14]) expect(failureOf(failed(code)).kind, String(code)).toBe('defect');
});

it('a write that is not confirmed may be there, whatever the reason, and is never a defect', async () => {
  for (const code of [2, 79, 100, 4_711]) {
    const call = callThrough(undefined, async () => {
      throw unconfirmed(code);
    });
    await expect(call.insert(entries, { _id: 1 }, { _id: 1 })).rejects.toBeInstanceOf(StoreUnavailable);
    expect(call.mayHaveWritten).toBe(true);
  }
});

it('a write that fails in a way that nobody knows may be there, and is a defect', async () => {
  const call = callThrough(undefined, async () => {
    throw failed(4_711);
  });
  await expect(call.insert(entries, { _id: 1 }, { _id: 1 })).rejects.not.toBeInstanceOf(StoreUnavailable);
  expect(call.mayHaveWritten).toBe(true);
});

it('a database that has no time is asked again, after a pause, and a write is done once', async () => {
  const asked: string[] = [];
  const answers = [
    () => Promise.reject(failed(462)),
    () => Promise.reject(unconfirmed(11_601)),
    () => Promise.resolve({ ok: 1, n: 0, writeErrors: [{ code: 6, errmsg: 'a shard is unreachable' }] }),
    () => Promise.resolve({ ok: 1, n: 0, writeErrors: [{ code: 11_000, errmsg: 'duplicate' }] }),
    () => Promise.resolve({ cursor: { firstBatch: [{ maker: 'us' }] } }),
  ];
  const call = callThrough(undefined, (command) => {
    asked.push(Object.keys(command)[0] ?? '');
    return answers.shift()?.() ?? Promise.resolve({ ok: 1, n: 1 });
  });
  expect(await call.insert(entries, { maker: 'us' }, { place: 1 })).toBe('inserted');
  expect(asked).toEqual(['insert', 'insert', 'insert', 'insert', 'find', 'update']);
});

it.each([[[{ maker: 'somebody else' }]], [[{}]], [[]]])(
  'a place that holds %j after a lost answer is taken',
  async (found) => {
    const asked: string[] = [];
    const call = callThrough(undefined, async (command) => {
      asked.push(Object.keys(command)[0] ?? '');
      if (asked.length === 1) throw failed(462);
      if (command['find'] !== undefined) return { cursor: { firstBatch: found } };
      return { ok: 1, n: 0, writeErrors: [{ code: 11_000, errmsg: 'duplicate' }] };
    });
    expect(await call.insert(entries, { maker: 'us' }, { place: 1 })).toBe('taken');
    expect(asked).toEqual(['insert', 'insert', 'find']);
  },
);

it('no message tells the user, the password or the values of a document', () => {
  const told = [
    new MongoServerError({
      code: 9,
      message: 'can not reach mongodb://user:hush-hush@host:1/x, mongodb+srv://u:hush-hush@h',
    }),
    new MongoServerError({ code: 11_000, message: 'E11000 duplicate key: place dup key: { tenant: "hush-hush" }' }),
    new Error('connect //hush-hush@host'),
    'mongodb://hush-hush@host',
  ].map((thrown) => plainError(thrown));
  for (const error of told) {
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain('hush-hush');
    expect(error.message).toMatch(/host|place/);
  }
  const cause = new MongoServerError({ code: 8000, message: 'user at //user:hush-hush@host', password: 'hush-hush' });
  for (const error of [unavailable('no', cause), new Refused('no', 8000, cause)]) {
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain('hush-hush');
  }
});

describeMongo('a write that MongoDB does not confirm', () => {
  it('is confirmed by a change before the same turn is told again as appended', async () => {
    const { uri } = await freshMongoDatabase();
    const client = await lookInto(uri);
    await openMongo(uri);
    const asked: Values[] = [];
    let isFirst = true;
    const work = workOf(
      callThrough(client, async (command, send) => {
        asked.push(command);
        const answer = await send();
        // Another process had it done, and this one did not see it when it looked.
        if (command['find'] !== undefined && isFirst) {
          isFirst = false;
          expect(await appendTurn(workOf(callThrough(client, (_, go) => go())), tenant, turn('r1'))).toBe('appended');
        }
        return answer;
      }),
    );
    expect(await appendTurn(work, tenant, turn('r1'))).toBe('appended');
    expect(asked.at(-1)).toMatchObject({ update: entries, updates: [{ u: { $set: { v: 1 } } }] });
  });

  it('leaves the append of a turn in doubt until somebody has looked', async () => {
    const { uri } = await freshMongoDatabase();
    const store = await openMongo(uri);
    await makeConversation(store, tenant, 'conv', ['a']);
    const base = await headOfConversation(store, tenant, 'conv');
    const call = callThrough(await lookInto(uri), async (command, send) => {
      const answer = await send();
      if (command['insert'] !== undefined) throw unconfirmed(4_711);
      return answer;
    });
    const work = workOf(call);
    await refusal(appendTurn(work, tenant, conversationTurn('r1', base)));
    expect(work.inDoubt.get(tenant, 'r1')).toEqual({ threadId: 'conv', position: 1 });
    expect((await store.getResponse(tenant, 'r1'))?.status).toBe('completed');
  });
});
