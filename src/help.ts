import { allSettings, flagName } from './settings.ts';

/** What `--help` prints: made from the table of settings. */
export function helpText(): string {
  const rows = allSettings().map(([key, { kind, default: fallback }]) => {
    const value = kind.isSwitch ? `[=${kind.allowed.replaceAll(/, | or /g, '|')}]` : ' VALUE';
    const shown = key === 'models.ALIAS' ? ' PROVIDER/MODEL' : value;
    return [`  ${flagName(key)}${shown}`, fallback === undefined || fallback === '' ? '' : fallback] as const;
  });
  const width = Math.max(...rows.map(([flag]) => flag.length));
  const settings = rows.map(([flag, fallback]) => `${flag.padEnd(width)}  ${fallback}`.trimEnd());
  return `Usage: open-responses [serve] [options]
       open-responses migrate [--check] [options]
       open-responses store stats [--json] [options]

Serves the OpenAI Responses and Conversations APIs over chat-completions models.

  serve          what it does without a command
  migrate        brings the schema of the store's database up to date, as a starting server does;
                 with --check it changes nothing, and ends with 3 where there is something to do
  store stats    tells what the store's database holds: counts, bytes, oldest and newest, per kind

  --config FILE  read settings from FILE instead of open-responses.properties
  --workers N    serve with N processes, or auto: one for each CPU (short for --server.workers)
  --help         print this
  --version      print the version

Settings, with their defaults:

${settings.join('\n')}

Each can also be set as a property (open-responses.server.port=8080) or in the
environment (OPEN_RESPONSES_SERVER_PORT=8080). Flags are stronger than the
environment, and the environment is stronger than the file. What is on or off has
an opposite: --no-stream.done. Secrets can be read from files:
--providers.NAME.api-key-file, --postgres.uri-file, --mongodb.uri-file.

Example:
  open-responses --providers.ollama.base-url http://127.0.0.1:11434/v1 --default-provider ollama

All about each setting: docs/configuration.md
`;
}
