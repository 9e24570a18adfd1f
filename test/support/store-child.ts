import { DatabaseSync } from 'node:sqlite';
import { createSqliteStore } from '../../src/stores/sqlite/store.ts';
import { conversationTurn, follow, headOfConversation, turn } from './store-fixtures.ts';

/**
 * A process of its own on a database file: `store-child.ts MODE PATH NAME COUNT`. It tells its parent what was done.
 *
 * - `append`: COUNT turns into the conversation `shared`, each tried until it gets a place, and as many to a chain.
 * - `endless`: turns until it is killed; each is told once it is stored.
 * - `lock`: holds the file's lock until it is told to let go.
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

if (mode === 'append') await append();
else if (mode === 'endless') await endless();
else if (mode === 'lock') await lock();
else throw new Error(`No such mode: ${mode}`);
process.disconnect?.();
