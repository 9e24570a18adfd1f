/** Another program that writes to the database: holds its lock, each time for so long. Usage: lock-holder.ts FILE */
import { DatabaseSync } from 'node:sqlite';

const database = new DatabaseSync(process.argv[2] ?? '', { timeout: 5_000 });

process.on('message', (message) => {
  const { holdMs } = message as { holdMs: number };
  database.exec('BEGIN IMMEDIATE');
  const since = performance.now();
  setTimeout(() => {
    database.exec('ROLLBACK');
    process.send?.({ heldMs: performance.now() - since });
  }, holdMs);
});
process.on('disconnect', () => process.exit(0));
process.send?.({});
