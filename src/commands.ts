import { type Config, loadConfig } from './config.ts';
import { ConfigError } from './config-error.ts';
import { explained, openStoreAdmin } from './open-store.ts';
import type { RecordStats, SchemaState, StoreAdmin, StoreStats } from './store-admin.ts';

/** What a command prints, and the code that it ends with. */
export type CommandResult = { readonly output: string; readonly exitCode: number };

/** `migrate --check` found something to do: neither a success nor a failure. */
const pendingExitCode = 3;

type Command = {
  /** The words that call it. */
  readonly words: readonly string[];
  /** Its own switches. */
  readonly switches: readonly string[];
  run(admin: StoreAdmin, switches: ReadonlySet<string>): Promise<CommandResult>;
};

const commands: readonly Command[] = [
  {
    words: ['migrate'],
    switches: ['--check'],
    run: (admin, switches) => (switches.has('--check') ? checkSchema(admin) : migrate(admin)),
  },
  {
    words: ['store', 'stats'],
    switches: ['--json'],
    run: (admin, switches) => showStats(admin, switches.has('--json')),
  },
];

/**
 * Runs the operator's command that the arguments name, if they name one; its settings are the server's own.
 * @throws ConfigError for what can't be meant, and whatever asking the database throws.
 */
export async function runCommand(argv: readonly string[]): Promise<CommandResult | undefined> {
  const command = commands.find(({ words }) => words.every((word, at) => argv[at] === word));
  if (command === undefined) {
    if (argv[0] === 'store') throw new ConfigError('Unknown command store: there is `store stats`.');
    return undefined;
  }
  const rest = argv.slice(command.words.length);
  const switches = new Set(rest.filter((argument) => command.switches.includes(argument)));
  const config: Config = loadConfig({ argv: rest.filter((argument) => !switches.has(argument)) });
  const admin = await openStoreAdmin(config);
  try {
    return await explained(config, () => command.run(admin, switches));
  } finally {
    await admin.close();
  }
}

async function checkSchema(admin: StoreAdmin): Promise<CommandResult> {
  const state = await admin.schema();
  if (state.pending.length === 0) return { output: `${upToDate(state)}\n`, exitCode: 0 };
  const lines = state.pending.map((each) => `  ${each}\n`).join('');
  const has = state.version === 0 ? 'nothing of ours yet' : `version ${state.version}`;
  return {
    output: `The schema is to be migrated: the database has ${has}, this release needs version ${state.needed}.\n${lines}`,
    exitCode: pendingExitCode,
  };
}

async function migrate(admin: StoreAdmin): Promise<CommandResult> {
  const before = await admin.schema();
  if (before.pending.length === 0) return { output: `${upToDate(before)}\n`, exitCode: 0 };
  const { version } = await admin.migrate();
  const done =
    before.version === version ? 'completed' : `migrated from version ${before.version} to version ${version}`;
  return { output: `The schema was ${done}.\n`, exitCode: 0 };
}

function upToDate({ version }: SchemaState): string {
  return `The schema is up to date: version ${version}.`;
}

async function showStats(admin: StoreAdmin, asJson: boolean): Promise<CommandResult> {
  const stats = await admin.stats();
  return { output: asJson ? `${JSON.stringify(jsonOf(stats), undefined, 2)}\n` : tableOf(stats), exitCode: 0 };
}

function jsonOf({ records, diskBytes, foreign }: StoreStats): object {
  const rows = records.map(({ kind, count, bytes, oldestAt, newestAt }) => ({
    kind,
    count,
    bytes,
    oldest: timeOf(oldestAt) ?? null,
    newest: timeOf(newestAt) ?? null,
  }));
  return { records: rows, disk_bytes: diskBytes ?? null, foreign };
}

function tableOf({ records, diskBytes, foreign }: StoreStats): string {
  const rows = [['kind', 'count', 'bytes', 'oldest', 'newest'], ...records.map(cellsOf)];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        column === 1 || column === 2 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
  if (records.length === 0) lines.push('nothing of ours yet');
  if (diskBytes !== undefined) lines.push('', `On disk, indexes included: ${diskBytes} bytes`);
  if (foreign.length > 0) lines.push('', 'Left alone:', ...foreign.map((each) => `  ${each}`));
  return `${lines.join('\n')}\n`;
}

function cellsOf({ kind, count, bytes, oldestAt, newestAt }: RecordStats): string[] {
  return [kind, String(count), String(bytes), timeOf(oldestAt) ?? '-', timeOf(newestAt) ?? '-'];
}

function timeOf(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}
