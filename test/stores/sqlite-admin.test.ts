import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openSqliteAdmin } from '../../src/stores/sqlite/admin.ts';

test('what a migration will do is said before it is done', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'open-responses-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const operator = openSqliteAdmin({ path: join(folder, 'store.sqlite') });
  const pending = ['create the tables threads, entries, items and leases'];
  expect(await operator.schema()).toMatchObject({ version: 0, pending });
  expect((await operator.migrate()).pending).toEqual([]);
  expect((await operator.schema()).pending).toEqual([]);
});
