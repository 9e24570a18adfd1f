import { writeFileSync } from 'node:fs';
import { allSettings, environmentName, flagName, otherVariables, propertyName, type Setting } from '../src/settings.ts';
import { providersPage } from './providers-page.ts';

/** The groups of the page, by the first parts of their keys. */
const groups: readonly { readonly title: string; readonly starts: readonly string[] }[] = [
  { title: 'Server', starts: ['server'] },
  { title: 'HTTP and callers', starts: ['http', 'auth'] },
  { title: 'Store', starts: ['store', 'memory', 'sqlite', 'postgres', 'mongodb', 'context', 'conversation'] },
  { title: 'Streams', starts: ['stream'] },
  { title: 'Providers and models', starts: ['providers', 'models', 'default-provider', 'reasoning', 'secret'] },
  { title: 'Calls of providers', starts: ['upstream'] },
  { title: 'Demo', starts: ['demo'] },
  { title: 'Log', starts: ['log'] },
];

const introduction = `# Configuration

<!-- Made from src/settings.ts by \`npm run docs\`. Don't edit it here. -->

Nothing has to be set: \`npm start\` serves on \`http://127.0.0.1:8080/v1\`, keeps everything in memory, and calls OpenAI with
the key that the caller sends.

## How to set something

Every setting has one name in three spellings:

| Spelling | Example | Where |
|---|---|---|
| property | \`open-responses.store.type=sqlite\` | a properties file |
| environment variable | \`OPEN_RESPONSES_STORE_TYPE=sqlite\` | upper case, with \`_\` for every \`.\` and \`-\` |
| flag | \`--store.type sqlite\` or \`--store.type=sqlite\` | the property without \`open-responses.\` |

The strongest first:

1. flags (\`npm start -- --server.port 9000\`),
2. environment variables,
3. the properties file: \`open-responses.properties\` in the working directory, or the one that \`--config FILE\` names,
4. the default.

Aliases of models are merged one by one: those of a stronger source come first, and replace those of the same name.

**Mistakes stop the start**, with exit code 2 and one line that names the setting, where it was given, and what is allowed. An
unknown key counts as a mistake, in any source; so does a bad value that a stronger source overrides. An environment variable
that is empty counts as not set. The variables that Kubernetes adds for a service called \`open-responses\` are passed over.

### Values

- **Times** are whole numbers with a unit: \`250ms\`, \`30s\`, \`5m\`, \`1h\`, at most \`596h\`. They must be above 0 where the
  tables don't allow it; \`0\` needs no unit.
- **Sizes** are whole numbers of bytes above 0, or have a unit: \`1024\`, \`1024B\`, \`64KiB\`, \`48MiB\`, \`1GiB\`.
- **On or off** is \`true\` or \`false\`. The flag may stand alone (\`--store.default\`) and has an opposite (\`--no-store.default\`).
- **Lists** are separated by commas.

### Properties files

\`key = value\` per line, in UTF-8. \`#\` or \`!\` begins a comment line, a \`\\\` at the end of a line goes on in the next one, and
\`\\n\`, \`\\t\`, \`\\\\\` and \`\\uXXXX\` are escapes, so a backslash is written \`\\\\\`. Only \`=\` ends a key, so that names of models
may hold a colon: \`open-responses.models.llama3:8b=ollama/llama3:8b\`. Giving a key twice is a mistake.

### Secrets

A secret never appears in a message or a log. Each can be read from a file instead, whose content is trimmed; its path is
taken from the working directory:

| | |
|---|---|
| property | \`open-responses.providers.NAME.api-key-file=/run/secrets/key\` |
| environment variable | \`OPEN_RESPONSES_PROVIDERS_NAME_API_KEY_FILE=/run/secrets/key\` |
| flag | \`--providers.NAME.api-key-file /run/secrets/key\` |

Secrets are the keys and headers of providers, the addresses of databases (\`open-responses.postgres.uri-file\`) and
\`open-responses.secret\`.

Prefer a file or the environment: other users of the machine can read a process's flags. Giving both a secret and its file in
the same source is a mistake.

### Names of providers and aliases

A provider's name has lower-case letters, digits and \`-\`, first a letter; \`demo\` is taken. In the environment it is written in
upper case with \`_\` for \`-\`: \`OPEN_RESPONSES_PROVIDERS_MY_VLLM_BASE_URL\` belongs to \`my-vllm\`. Likewise
\`OPEN_RESPONSES_MODELS_GPT_4O\` is the alias \`gpt-4o\`. An alias with other characters (\`gpt-4.1\`, \`gpt-*\`) goes into
\`OPEN_RESPONSES_MODELS="gpt-4.1=ollama/llama3.2,gpt-*=ollama/llama3.2"\`.

### An example

\`\`\`properties
open-responses.server.port = 9000
open-responses.store.type = sqlite
open-responses.sqlite.path = /var/lib/open-responses/data.sqlite
# For clients that never send "store":
open-responses.store.default = true

open-responses.providers.ollama.base-url = http://127.0.0.1:11434/v1
open-responses.providers.my-vllm.base-url = https://vllm.example/v1
open-responses.providers.my-vllm.api-key-file = /run/secrets/vllm-key
open-responses.default-provider = ollama
open-responses.models.gpt-4o = my-vllm/Qwen/Qwen3-32B
open-responses.models.gpt-* = ollama/llama3:8b
\`\`\`

## All settings
`;

/** The page docs/configuration.md, whole. */
export function configurationPage(): string {
  const rows = allSettings();
  const sections = groups.map(({ title, starts }) => {
    const own = rows.filter(([key]) => starts.includes(key.split('.')[0] ?? ''));
    return `### ${title}\n\n${settingsTable(own)}`;
  });
  return `${introduction}\n${sections.join('\n\n')}\n\n### Other variables\n\n${otherTable()}\n`;
}

function settingsTable(rows: readonly (readonly [string, Setting<unknown>])[]): string {
  const lines = rows.map(([key, setting]) =>
    [
      `\`${propertyName(key)}\``,
      `\`${environmentName(key)}\``,
      `\`${flagName(key)}\``,
      setting.default === undefined || setting.default === '' ? 'none' : `\`${setting.default}\``,
      `${setting.description}${setting.secret ? ' **Secret.**' : ''} Value: ${setting.kind.label}.`,
    ]
      .map((cell) => cell.replaceAll('|', '\\|'))
      .join(' | '),
  );
  const head = '| Property | Environment variable | Flag | Default | Description |\n|---|---|---|---|---|';
  return [head, ...lines.map((line) => `| ${line} |`)].join('\n');
}

function otherTable(): string {
  const lines = Object.values(otherVariables).map(
    ({ names, description }) => `| ${names.map((name) => `\`${name}\``).join(', ')} | ${description} |`,
  );
  return ['| Variable | Meaning |', '|---|---|', ...lines].join('\n');
}

if (import.meta.main) {
  writeFileSync(new URL('../docs/configuration.md', import.meta.url), configurationPage());
  writeFileSync(new URL('../docs/providers.md', import.meta.url), providersPage());
}
