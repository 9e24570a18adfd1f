import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openForWriting } from '../../src/stores/sqlite/connection.ts';
import { GroupCommit } from '../../src/stores/sqlite/group-commit.ts';
import type { WriterOperation } from '../../src/stores/sqlite/messages.ts';
import { turn } from '../support/store-fixtures.ts';

const lease: WriterOperation = { kind: 'release_lease', tenant: 't', id: 'conv', holder: 'h' };
const append: WriterOperation = { kind: 'append_turn', tenant: 't', turn: turn('r1') };

let folder = '';
let database: DatabaseSync;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'open-responses-'));
  database = openForWriting({ path: join(folder, 'state.db'), synchronous: 'full', busyTimeoutMs: 100 });
});

afterEach(async () => {
  database.close();
  await rm(folder, { recursive: true });
});

/** SQLite's number for how a commit waits for the disk: 2 is full, 1 normal. */
function synchronous(): unknown {
  return database.prepare('PRAGMA synchronous').get()?.['synchronous'];
}

test.each<[string, WriterOperation[], number]>([
  ['of a turn', [append], 2],
  ['of leases alone', [lease, lease], 1],
  ['of a lease and a turn', [lease, append], 2],
  ['of a turn and a lease', [append, lease], 2],
])('a group %s waits for the disk as it must', (_name, operations, expected) => {
  const seen: unknown[] = [];
  // Told within the transaction, right before it is committed.
  const watched = new Proxy(database, {
    get(target, name) {
      if (name !== 'exec') {
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      }
      return (sql: string) => {
        if (sql === 'COMMIT') seen.push(synchronous());
        target.exec(sql);
      };
    },
  });
  const answers = new GroupCommit(watched, 'full').commit(
    operations.map((operation, number) => ({ number, operation })),
  );
  expect(answers.map((answer) => answer.outcome.kind)).toEqual(operations.map(() => 'done'));
  expect(seen).toEqual([expected]);
  expect(synchronous()).toBe(2);
});
