import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSqliteStore } from '../../src/stores/sqlite/store.ts';
import { conversationOracle } from '../contracts/conversation-oracle.ts';
import type { StoreHarness } from '../contracts/store.ts';
import { reopenableHarness, storeContract } from '../contracts/store.ts';

async function harness(synchronous: 'full' | 'normal'): Promise<StoreHarness> {
  const folder = await mkdtemp(join(tmpdir(), 'open-responses-'));
  return reopenableHarness(
    (now) => createSqliteStore({ path: join(folder, 'state.db'), synchronous, now }),
    () => rm(folder, { recursive: true }),
  );
}

storeContract('SQLite', () => harness('full'));
storeContract('SQLite, synchronous=normal', () => harness('normal'));
conversationOracle('SQLite', () => harness('normal'));
