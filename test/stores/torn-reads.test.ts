import type { MongoClient } from 'mongodb';
import { expect, it, vi } from 'vitest';
import type { ContextSource, ItemView, Store } from '../../src/store.ts';
import { RootFacts } from '../../src/stores/mongodb/root-facts.ts';
import { MongoReadRows } from '../../src/stores/mongodb/rows.ts';
import { PgReadRows } from '../../src/stores/postgres/read-rows.ts';
import { statementsFor } from '../../src/stores/postgres/statements.ts';
import { readContext, readPage } from '../../src/stores/reading.ts';
import type { ReadRows } from '../../src/stores/rows.ts';
import { runSteps, type Steps } from '../../src/stores/steps.ts';
import { describeMongo, describePostgres, freshMongoDatabase, freshPostgresSchema } from '../support/databases.ts';
import {
  conversationTurn,
  follow,
  headOfConversation,
  headOfResponse,
  idsOf,
  items,
  makeConversation,
  message,
  turn,
  wholeContext,
} from '../support/store-fixtures.ts';
import { callThrough, lookInto, openMongo, tenant } from './mongodb-support.ts';
import { openPostgres, openSession } from './postgres-support.ts';

// Some read a lot, time and again.
vi.setConfig({ testTimeout: 60_000 });

const mebi = 1024 * 1024;

/** A reading whose every question is told of before it is asked, with the answer to when those before it are answered. */
type Asked = (index: number, others: () => Promise<unknown>) => Promise<void>;
type Subject = {
  readonly store: Store;
  /** Of such a size that several of them are not answered at once. */
  readonly largeChars: number;
  rows(asked: Asked): ReadRows;
  /** A deletion that has taken effect and has come this far: all but the first entry is removed. */
  half(conversationId: string): Promise<void>;
};

/** Numbers questions, and keeps those that are under way. */
function numbered(asked: Asked): <T>(send: () => Promise<T>) => Promise<T> {
  let count = 0;
  const open = new Set<Promise<unknown>>();
  return (send) => {
    const index = count;
    count += 1;
    const before = async (): Promise<unknown> => {
      // What is asked together with this is under way then.
      await new Promise((resolve) => setImmediate(resolve));
      return Promise.allSettled([...open].filter((each) => each !== answer));
    };
    const answer = asked(index, before).then(send);
    open.add(answer);
    answer.then(
      () => open.delete(answer),
      () => open.delete(answer),
    );
    return answer;
  };
}

async function mongo(): Promise<Subject> {
  const { uri } = await freshMongoDatabase();
  const store = await openMongo(uri);
  const client = await lookInto(uri);
  const rows = (asked: Asked) => {
    const through = numbered(asked);
    return new MongoReadRows(
      callThrough(client, (_, send) => through(send)),
      new RootFacts(),
    );
  };
  return { store, largeChars: 3 * mebi, rows, half: (id) => deleteHalf(client, id) };
}

async function deleteHalf(client: MongoClient, thread: string): Promise<void> {
  const entries = client.db().collection('openresponses_entries');
  await entries.updateOne({ thread, position: -1 }, { $set: { deletedAt: Date.now(), by: 'another' } });
  await entries.deleteMany({ thread, position: { $gte: 1 } });
}

async function postgres(): Promise<Subject> {
  const at = await freshPostgresSchema();
  const store = await openPostgres(at);
  const session = await openSession(at.uri);
  const rows = (asked: Asked) => {
    const through = numbered(asked);
    return new PgReadRows(statementsFor(at.schema), async (statement, values) =>
      through(async () => (await session.ask(statement, values, performance.now() + 20_000)).rows),
    );
  };
  // There is no such thing here: a deletion is one commit.
  return { store, largeChars: 6 * mebi, rows, half: async (id) => void (await store.deleteConversation(tenant, id)) };
}

/** All that a reading may have come to where something happened before each of its questions, and before none. */
async function outcomes(
  { rows }: Subject,
  make: (run: number) => Promise<{ read: (rows: ReadRows) => Steps<string>; meanwhile: () => Promise<unknown> }>,
): Promise<Set<string>> {
  const found = new Set<string>();
  for (let at = 1; ; at += 1) {
    const { read, meanwhile } = await make(at);
    let isLast = true;
    const reading = rows(async (index, others) => {
      if (index !== at) return;
      isLast = false;
      await others();
      await meanwhile();
    });
    const outcome = await runSteps(read(reading));
    found.add(outcome);
    if (isLast) return found;
  }
}

function* contextIds(rows: ReadRows, from: ContextSource): Steps<string> {
  const context = yield* readContext(rows, tenant, from, wholeContext);
  return typeof context === 'string' ? context : context.entries.flatMap((entry) => idsOf(entry.items)).join(' ');
}

const pageOf = (order: 'asc' | 'desc', after?: string) =>
  function* (rows: ReadRows, view: ItemView): Steps<string> {
    const page = yield* readPage(rows, tenant, view, { limit: 100, order, after });
    return typeof page === 'string' ? page : `${idsOf(page.items).join(' ')}${page.hasMore ? ' …' : ''}`;
  };

function cases(open: () => Promise<Subject>): void {
  // Several questions are needed for the large ones; what was deleted before leaves a gap that means nothing.
  const kinds = ['small', 'large', 'with gaps', 'a single item'] as const;

  /** A conversation, and the ids that it holds. */
  async function conversation(
    { store, largeChars }: Subject,
    id: string,
    kind: (typeof kinds)[number],
  ): Promise<string[]> {
    await makeConversation(store, tenant, id);
    const text = 'x'.repeat(kind === 'large' ? largeChars : 10);
    const ids = kind === 'a single item' ? ['a'] : ['a', 'b', 'c', 'd'];
    for (const each of ids) await store.appendItems(tenant, id, items(message(each, text)));
    if (kind !== 'with gaps') return ids;
    await store.deleteItem(tenant, id, 'b');
    await store.deleteItem(tenant, id, 'd');
    return ['a', 'c'];
  }

  it.each(kinds)('R5 a conversation that is deleted while it is read is whole or missing: %s', async (kind) => {
    const subject = await open();
    const { store, half } = subject;
    let whole: string[] = [];
    for (const deletion of ['whole', 'half'] as const) {
      for (const read of kind === 'large' ? (['context'] as const) : (['context', 'page'] as const)) {
        const found = await outcomes(subject, async (run) => {
          const id = `${deletion}-${read}-${run}`;
          whole = await conversation(subject, id, kind);
          return {
            read: (rows) =>
              read === 'context'
                ? contextIds(rows, { kind: 'conversation', id })
                : pageOf('asc')(rows, { kind: 'conversation', id }),
            meanwhile: () => (deletion === 'whole' ? store.deleteConversation(tenant, id) : half(id)),
          };
        });
        expect([...found].toSorted(), `${deletion} ${read}`).toEqual([whole.join(' '), 'missing'].toSorted());
      }
    }
  });

  it('R5 a page behind a cursor is whole or missing, both ways', async () => {
    const subject = await open();
    for (const [order, expected] of [
      ['asc', 'c'],
      ['desc', ''],
    ] as const) {
      const found = await outcomes(subject, async (run) => {
        const id = `${order}-${run}`;
        await conversation(subject, id, 'with gaps');
        const read = pageOf(order, 'a');
        return {
          read: (rows) => read(rows, { kind: 'conversation', id }),
          meanwhile: () => subject.store.deleteConversation(tenant, id),
        };
      });
      expect([...found].toSorted()).toEqual([expected, 'missing'].toSorted());
    }
  });

  it('R5 a fork of a conversation that is deleted meanwhile shows all of it or nothing', async () => {
    const subject = await open();
    const { store, half } = subject;
    for (const kind of ['large', 'with gaps'] as const) {
      for (const deletion of ['whole', 'half'] as const) {
        const found = await outcomes(subject, async (run) => {
          const id = `${kind}-${deletion}-${run}`;
          await conversation(subject, id, kind);
          const base = await headOfConversation(store, tenant, id);
          await store.appendTurn(tenant, turn(`r-${id}`, base, { input: [message('x')], output: [message('y')] }));
          return {
            read: (rows) => contextIds(rows, { kind: 'response', id: `r-${id}` }),
            meanwhile: () => (deletion === 'whole' ? store.deleteConversation(tenant, id) : half(id)),
          };
        });
        const whole = kind === 'large' ? 'a b c d' : 'a c';
        expect([...found].toSorted(), `${kind} ${deletion}`).toEqual([`${whole} x y`, 'x y']);
      }
    }
  });

  it('R5 the context and the input of a response of a conversation are whole or missing', async () => {
    const subject = await open();
    const { store, half } = subject;
    const input = pageOf('desc');
    for (const deletion of ['whole', 'half'] as const) {
      for (const read of ['context', 'input'] as const) {
        const found = await outcomes(subject, async (run) => {
          const id = `${deletion}-${read}-${run}`;
          await conversation(subject, id, 'with gaps');
          const base = await headOfConversation(store, tenant, id);
          const given = { input: [message('x')], output: [message('y')] };
          await store.appendTurn(tenant, conversationTurn(`r-${id}`, base, given));
          return {
            read: (rows) =>
              read === 'context'
                ? contextIds(rows, { kind: 'response', id: `r-${id}` })
                : input(rows, { kind: 'input_of', responseId: `r-${id}` }),
            meanwhile: () => (deletion === 'whole' ? store.deleteConversation(tenant, id) : half(id)),
          };
        });
        const whole = read === 'context' ? 'a c x y' : 'x c a';
        expect([...found].toSorted(), `${deletion} ${read}`).toEqual([whole, 'missing'].toSorted());
      }
    }
  });

  it('R4 a response that is deleted while it is read is whole or missing; one before it goes alone', async () => {
    const subject = await open();
    const { store } = subject;
    const chain = async (run: string): Promise<string> => {
      for (const [index, name] of ['p', 'q', 'r'].entries()) {
        const base = index === 0 ? undefined : await headOfResponse(store, tenant, `${'pq'[index - 1]}-${run}`);
        const given = { input: [message(`${name}1`)], output: [message(`${name}2`)] };
        await store.appendTurn(tenant, turn(`${name}-${run}`, base, given));
      }
      return `r-${run}`;
    };
    const input = pageOf('asc');
    for (const [victim, expected] of [
      ['r', ['missing', 'p1 p2 q1 q2 r1 r2']],
      ['q', ['p1 p2 q1 q2 r1 r2', 'p1 p2 r1 r2']],
      ['p', ['p1 p2 q1 q2 r1 r2', 'q1 q2 r1 r2']],
    ] as const) {
      for (const read of ['context', 'input'] as const) {
        const found = await outcomes(subject, async (run) => {
          const name = `${victim}-${read}-${run}`;
          const id = await chain(name);
          return {
            read: (rows) =>
              read === 'context'
                ? contextIds(rows, { kind: 'response', id })
                : input(rows, { kind: 'input_of', responseId: id }),
            meanwhile: () => store.deleteResponse(tenant, `${victim}-${name}`),
          };
        });
        const seen = expected.map((each) => (read === 'input' ? each.replace(/ r2$/, '') : each));
        expect([...found].toSorted(), `${victim} ${read}`).toEqual([...seen].toSorted());
      }
    }
  });

  it('R4 a chain whose root is gone is read as what is left of it', async () => {
    const subject = await open();
    await follow(subject.store, tenant, 'r1');
    await follow(subject.store, tenant, 'r2', 'r1');
    await follow(subject.store, tenant, 'r3', 'r2');
    await subject.store.deleteResponse(tenant, 'r1');
    let questions = 0;
    const rows = subject.rows(async () => {
      questions += 1;
    });
    const found = await runSteps(contextIds(rows, { kind: 'response', id: 'r3' }));
    expect(found).toBe('in-r2 out-r2 in-r3 out-r3');
    expect(questions).toBeLessThanOrEqual(4);
  });
}

/** How many questions a context takes where items were deleted before, and where none were. */
async function questionsOf({ store, rows }: Subject): Promise<{ gaps: number; whole: number; chain: number }> {
  for (const id of ['gaps', 'whole']) {
    await makeConversation(store, tenant, id);
    for (const each of ['a', 'b', 'c']) await store.appendItems(tenant, id, items(message(each)));
  }
  await store.deleteItem(tenant, 'gaps', 'b');
  await follow(store, tenant, 'r1');
  await follow(store, tenant, 'r2', 'r1');
  await follow(store, tenant, 'r3', 'r2');
  await store.deleteResponse(tenant, 'r2');
  const count = async (from: ContextSource): Promise<number> => {
    let questions = 0;
    const counted = rows(async () => {
      questions += 1;
    });
    await runSteps(contextIds(counted, from));
    return questions;
  };
  return {
    gaps: await count({ kind: 'conversation', id: 'gaps' }),
    whole: await count({ kind: 'conversation', id: 'whole' }),
    chain: await count({ kind: 'response', id: 'r3' }),
  };
}

describeMongo('questions to MongoDB', () => {
  it('are few: a head is two that are asked at once, and so are entries and whether the conversation is there', async () => {
    expect(await questionsOf(await mongo())).toEqual({ gaps: 5, whole: 4, chain: 2 });
  });
});
describePostgres('questions to PostgreSQL', () => {
  it('are two, whatever was deleted before', async () => {
    expect(await questionsOf(await postgres())).toEqual({ gaps: 2, whole: 2, chain: 2 });
  });
});

describeMongo('what is deleted while MongoDB is read', () => cases(mongo));
describePostgres('what is deleted while PostgreSQL is read', () => cases(postgres));
