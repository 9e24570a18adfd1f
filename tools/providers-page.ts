import type { JsonObject } from '../src/api/primitives.ts';
import { type EffortForm, efforts, type Profile, profiles, type Replay } from '../src/models/profiles.ts';
import { dialectOf } from '../src/models/responses/dialects.ts';

const introduction = `# Providers

<!-- Made from src/models/profiles.ts by \`npm run docs\`. Don't edit it here. -->

What this server knows of each vendor's Chat Completions. A provider of the name of a profile has that profile; another one
says which in \`open-responses.providers.NAME.profile\`, or is \`generic\` ([configuration.md](configuration.md)). A profile has
no list of models: what a model can't do although its vendor can, the vendor refuses, and its error reaches the client.

**None of this was tried against the vendors.** It is from the pages under *Sources*, as stored copies of them said on the day
that stands there, and vendors change. The tests play answers in each vendor's form
([test/models/fixtures](../test/models/fixtures/README.md)). If something differs, the profile is the place to correct it.

## What each takes

What a vendor doesn't take, this server refuses before it calls, or leaves out with a warning where the operator chose that.
Where a vendor has no custom tools, they are offered as functions with one string. Images and files in outputs of calls
follow in a user's message, where the vendor takes them at all.
`;

const legend = `- **Images**, **Files**: \`url\`, by any URL; \`data\`, with their content in the request; *no*.
- **Answer as**: which \`text.format\` it obeys besides plain text. **Strict**: whether its \`strict\` is sent with schemas of
  answers, and of functions.
- **Forced calls**: \`tool_choice\` of \`required\` or of one tool; *alone* where the tool is then offered alone.
- **One call**: \`parallel_tool_calls: false\`.
- **Custom tools**: whether it has them itself, and so their grammars.
- **Tiers**: \`service_tier\` other than \`auto\` and \`default\`. **Hints**: \`prompt_cache_key\` and \`safety_identifier\`.
- **Reasoning**: where its text is read from. **Sent back**: when the vendor gets its own reasoning again.`;

/** The page docs/providers.md, whole. */
export function providersPage(): string {
  const all = [...profiles.values()];
  return `${introduction}\n${table(all)}\n\n${legend}\n\n${all.map(section).join('\n\n')}\n`;
}

const columns: readonly (readonly [title: string, cell: (profile: Profile) => string])[] = [
  ['Profile', ({ name, title }) => `[\`${name}\`](#${anchor(title)})`],
  ['Images', ({ features }) => kind(features.images)],
  ['Files', ({ features }) => kind(features.files)],
  ['Answer as', ({ features }) => listed([features.jsonSchema && 'schema', features.jsonObject && 'JSON'])],
  ['Strict', ({ strict }) => listed([strict.schemas && 'answers', strict.functions && 'functions'])],
  ['Forced calls', ({ features, forcedTool }) => forcedCalls(features.forcedCalls, forcedTool)],
  ['One call', ({ features }) => yes(features.singleCalls)],
  ['Custom tools', ({ customTools }) => yes(customTools)],
  ['Logprobs', ({ features }) => yes(features.logprobs)],
  ['Penalties', ({ features }) => yes(features.penalties)],
  ['Verbosity', ({ features }) => yes(features.verbosity)],
  ['Tiers', ({ features }) => yes(features.serviceTier)],
  ['Hints', ({ hints }) => yes(hints.promptCacheKey && hints.safetyIdentifier)],
  ['Reasoning', ({ reasoning }) => readFrom(reasoning)],
  ['Sent back', ({ reasoning }) => sentBack(reasoning.replay, reasoning.callData !== undefined)],
];

function table(all: readonly Profile[]): string {
  const rows = all.map((profile) => columns.map(([, cell]) => cell(profile)));
  return [columns.map(([title]) => title), columns.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

function section(profile: Profile): string {
  const lines = [...facts(profile), ...profile.notes].map((line) => `- ${line}`);
  const effort = effortLines(profile);
  const sources = profile.sources.map(({ url, read }) => `- <${url}> (${read})`);
  return [
    `## ${profile.title}`,
    lines.join('\n'),
    `\`reasoning.effort\` is sent as (\`…\` is the effort itself):\n\n${effort.join('\n')}`,
    ...(sources.length > 0 ? [`Sources:\n\n${sources.join('\n')}`] : []),
  ].join('\n\n');
}

/** What its fields say, as sentences; usual answers are left out. */
function facts(profile: Profile): string[] {
  const { name, baseUrl, remote, systemRole, systemMessages, maxTokensField, callIds, serviceTiers } = profile;
  const isNative = baseUrl !== undefined && dialectOf(name).nativeAt === baseUrl;
  const tiers = Object.entries(serviceTiers).map(([ours, theirs]) => `\`${ours}\` is its \`${theirs}\``);
  return [
    `\`${name}\`, at ${baseUrl === undefined ? 'the address that you configure' : `\`${baseUrl}\` unless you configure another`}. ${remote ? 'It can be called without being configured, with the key of the caller.' : 'It is there once you configure it.'}`,
    ...(isNative
      ? ['At this address its own Responses API is spoken; what stands here is for `api=chat-completions`.']
      : []),
    `Instructions have the role \`${systemRole}\`${systemMessages === 'first' ? '; all system messages are joined, and lead the conversation' : ''}.`,
    `\`max_output_tokens\` is its \`${maxTokensField}\`.`,
    ...(callIds === undefined ? [] : [`Ids of calls have ${callIds.says}; others are replaced.`]),
    ...(tiers.length > 0 ? [`Of the service tiers, ${tiers.join(' and ')}.`] : []),
  ];
}

function effortLines({ reasoning }: Profile): string[] {
  const { effort, summarized } = reasoning;
  const asked =
    summarized === undefined ? [] : ['- where the request asks for a summary:', ...indented(forms(summarized))];
  return [...forms(effort), ...asked];
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

/** One line per form, with all efforts that have it. */
function forms(form: EffortForm): string[] {
  if (form.kind === 'none') return ['- not at all'];
  const byForm = new Map<string, string[]>();
  for (const effort of efforts) {
    const body = form.kind === 'budget' ? thinking(form.tokens[effort]) : form.by[effort];
    const shown = json(body).replaceAll(`"${effort}"`, '"…"');
    byForm.set(shown, [...(byForm.get(shown) ?? []), `\`${effort}\``]);
  }
  const lines = [...byForm].map(([shown, names]) => `- ${names.join(', ')}: ${shown}`);
  const unasked = form.kind === 'fields' ? form.unasked : undefined;
  return unasked === undefined ? lines : [...lines, `- none asked for: ${json(unasked)}`];
}

function thinking(tokens: number): JsonObject {
  return { thinking: tokens === 0 ? { type: 'disabled' } : { type: 'enabled', budget_tokens: tokens } };
}

function json(value: JsonObject): string {
  return `\`${JSON.stringify(value)}\``;
}

function readFrom({ fields, tags, replay }: Profile['reasoning']): string {
  const parts = replay.when !== 'never' && replay.as === 'parts' && '`content` parts';
  return listed([parts, ...fields.map((name) => `\`${name}\``), ...tags.map((tag) => `\`<${tag}>\``)]);
}

function sentBack(replay: Replay, hasCallData: boolean): string {
  if (replay.when === 'never') return hasCallData ? 'signatures' : 'no';
  const form =
    replay.as === 'details' ? '`reasoning_details`' : replay.as === 'parts' ? '`content` parts' : `\`${replay.field}\``;
  return `${form}, ${replay.when === 'loop' ? 'in tool loops' : 'always'}`;
}

function forcedCalls(areTaken: boolean, form: Profile['forcedTool']): string {
  if (!areTaken) return 'no';
  return form === 'alone' ? 'yes, alone' : 'yes';
}

function kind(value: 'none' | 'data' | 'url'): string {
  return value === 'none' ? 'no' : `\`${value}\``;
}

function yes(value: boolean): string {
  return value ? 'yes' : 'no';
}

function listed(names: readonly (string | false)[]): string {
  const present = names.filter((name) => name !== false);
  return present.length === 0 ? 'no' : present.join(', ');
}

/** The anchor that GitHub gives a heading. */
function anchor(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^\w -]/g, '')
    .replaceAll(' ', '-');
}
