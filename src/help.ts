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

Serves the OpenAI Responses and Conversations APIs over chat-completions models.

  --config FILE  read settings from FILE instead of open-responses.properties
  --help         print this
  --version      print the version

Settings, with their defaults:

${settings.join('\n')}

Each can also be set as a property (open-responses.server.port=8080) or in the
environment (OPEN_RESPONSES_SERVER_PORT=8080). Flags are stronger than the
environment, and the environment is stronger than the file. What is on or off has
an opposite: --no-stream.done. Secrets can be read from files: --providers.NAME.api-key-file.

Example:
  open-responses --providers.ollama.base-url http://127.0.0.1:11434/v1 --default-provider ollama

All about each setting: docs/configuration.md
`;
}
