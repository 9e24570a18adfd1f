import { DatabaseSync } from 'node:sqlite';
import { createSqliteStore } from '../../src/stores/sqlite/store.ts';
import { conversationTurn, follow, headOfConversation, turn } from './store-fixtures.ts';

/**
 * A process of its own on a database file: `store-child.ts MODE PATH NAME COUNT`. It tells its parent what was done.
 *
 * - `append`: COUNT turns into the conversation `shared`, each tried until it gets a place, and as many to a chain.
 * - `endless`: turns until it is killed; each is told once it is stored.
 * - `lock`: holds the file's lock until it is told to let go.
 * - `fill`: small changes until the disk is full, and what happens then; for a process whose files can't grow.
 */
const [mode, path = '', name = '', count = '0'] = process.argv.slice(2);

function tell(message: unknown): void {
  process.send?.(message);
}

async function append(): Promise<void> {
  const store = await createSqliteStore({ path, synchronous: 'normal', now: Date.now });
  tell('ready');
  await new Promise((resolve) => process.once('message', resolve));
  for (let index = 0; index < Number(count); index += 1) {
    const id = `${name}-${index}`;
    for (;;) {
      const base = await headOfConversation(store, 'tenant', 'shared');
      if ((await store.appendTurn('tenant', conversationTurn(id, base))) === 'appended') break;
    }
    await follow(store, 'tenant', `chain-${id}`, index === 0 ? undefined : `chain-${name}-${index - 1}`);
  }
  await store.close();
}

async function endless(): Promise<void> {
  const store = await createSqliteStore({ path, synchronous: 'full', now: Date.now });
  for (let index = 0; ; index += 1) {
    const ids = Array.from({ length: 8 }, (_, racer) => `${name}-${index}-${racer}`);
    await Promise.all(
      ids.map(async (id) => {
        await store.appendTurn('tenant', turn(id));
        tell(id);
      }),
    );
  }
}

async function lock(): Promise<void> {
  const database = new DatabaseSync(path);
  database.exec('BEGIN EXCLUSIVE');
  tell('ready');
  await new Promise((resolve) => process.once('message', resolve));
  database.exec('COMMIT');
  database.close();
}

async function fill(): Promise<void> {
  // Otherwise the signal of a file that is too large would end the process.
  process.on('SIGXFSZ', () => undefined);
  const store = await createSqliteStore({ path, synchronous: 'normal', now: Date.now });
  await store.createConversation('tenant', { id: 'c', metadata: {}, createdAt: 1 });
  // What is the same as before is not written.
  let count = 1_000;
  const change = () => {
    count += 1;
    return store.updateConversation('tenant', 'c', { count: String(count) });
  };
  const attempt = (name: string, done: Promise<unknown>) =>
    done.then(
      () => `${name} done`,
      () => `${name} refused`,
    );
  // A reader of an old state, so that the log can't be emptied meanwhile.
  const other = new DatabaseSync(path);
  other.exec('BEGIN; SELECT count(*) FROM threads');
  let outcome = '';
  while (outcome !== 'change refused') outcome = await attempt('change', change());
  tell(outcome);
  tell(await attempt('ping', store.ping()));
  other.exec('COMMIT; PRAGMA wal_checkpoint(TRUNCATE)');
  other.close();
  tell((await attempt('ping', store.ping())).replace('done', 'answered'));
  tell(await attempt('change', change()));
  await store.close();
}

if (mode === 'append') await append();
else if (mode === 'endless') await endless();
else if (mode === 'lock') await lock();
else if (mode === 'fill') await fill();
else throw new Error(`No such mode: ${mode}`);
process.disconnect?.();
