import type { Config } from './config.ts';
import { ConfigError } from './config-error.ts';
import type { Store } from './store.ts';
import { type StoreAdmin, UnusableDatabase } from './store-admin.ts';
import { withWatchedWrites } from './stores/watched-writes.ts';

/**
 * The store that the configuration names, ready to serve: what a database needs is loaded only where it is used.
 * @throws ConfigError where the database is not for this program or can't be made; whatever opening it throws otherwise.
 */
export async function openStore(config: Config): Promise<Store> {
  if (config.store.type === 'in-memory') {
    return (await import('./stores/memory/store.ts')).createMemoryStore({ ...config.memory, now: Date.now });
  }
  return withWatchedWrites(await explained(config, () => openDatabase(config)), () => performance.now());
}

async function openDatabase(config: Config): Promise<Store> {
  const now = Date.now;
  switch (config.store.type) {
    case 'sqlite': {
      const { createSqliteStore } = await import('./stores/sqlite/store.ts');
      return createSqliteStore({ ...config.sqlite, autoMigrate: config.store.autoMigrate, now });
    }
    case 'postgres':
      return (await import('./stores/postgres/store.ts')).createPostgresStore({ ...postgresOptions(config), now });
    case 'mongodb':
      return (await import('./stores/mongodb/store.ts')).createMongoStore({ ...mongoOptions(config), now });
    case 'in-memory':
      throw new Error('The in-memory store is no database');
    default:
      return config.store.type satisfies never;
  }
}

/**
 * The same database for an operator's commands; nothing in it changes.
 * @throws ConfigError as above, and where there is nothing to look into.
 */
export async function openStoreAdmin(config: Config): Promise<StoreAdmin> {
  return explained(config, async () => {
    switch (config.store.type) {
      case 'in-memory':
        throw new ConfigError(
          'open-responses.store.type is in-memory: what a server keeps in its own memory ends with it, and no other process can look at it.',
        );
      case 'sqlite':
        return (await import('./stores/sqlite/admin.ts')).openSqliteAdmin(config.sqlite);
      case 'postgres':
        return (await import('./stores/postgres/admin.ts')).openPostgresAdmin(postgresOptions(config));
      case 'mongodb':
        return (await import('./stores/mongodb/admin.ts')).openMongoAdmin(mongoOptions(config));
      default:
        return config.store.type satisfies never;
    }
  });
}

function postgresOptions({ store, postgres }: Config) {
  const { uri, poolSize, schema } = postgres;
  return {
    uri: required('postgres', uri),
    poolSize,
    schema,
    timeoutMs: store.timeoutMs,
    autoMigrate: store.autoMigrate,
  };
}

function mongoOptions({ store, mongodb }: Config) {
  const { uri, database } = mongodb;
  return { uri: required('mongodb', uri), database, timeoutMs: store.timeoutMs, autoMigrate: store.autoMigrate };
}

function required(type: 'postgres' | 'mongodb', uri: string | undefined): string {
  if (uri !== undefined) return uri;
  throw new ConfigError(
    `open-responses.store.type is ${type}: set open-responses.${type}.uri too (OPEN_RESPONSES_${type.toUpperCase()}_URI).`,
  );
}

/** What can't be used now or later is a matter of the configuration; the message says which part of it. */
export async function explained<T>(config: Config, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof UnusableDatabase)) throw error;
    const key = config.store.type === 'sqlite' ? 'sqlite.path' : `${config.store.type}.uri`;
    throw new ConfigError(`open-responses.${key}: ${error.message}`);
  }
}
