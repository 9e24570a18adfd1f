import type { JsonObject } from '../api/primitives.ts';
import type { ProviderConfig } from '../config.ts';
import type { ModelFeatures } from '../model.ts';
import { groq, openrouter, together } from './profiles/hosts.ts';
import { anthropic, deepseek, gemini, mistral, xai } from './profiles/labs.ts';
import { openai } from './profiles/openai.ts';
import { generic, llamacpp, lmstudio, ollama, sglang, vllm } from './profiles/own-servers.ts';

/** How a vendor's chat completions differ from OpenAI's, as data. A further vendor is one more entry of the table. */
export type Profile = {
  readonly name: string;
  /** The vendor's name, for people. */
  readonly title: string;
  /** Without a trailing slash. Undefined: the operator must give one. */
  readonly baseUrl: string | undefined;
  /** True: the vendor's own service, there without being configured. False: runs at the operator's, once configured. */
  readonly remote: boolean;
  /** Whether its models have names like `vendor/model`: then such a name is not that vendor's, unless it is configured. */
  readonly hostsOthers: boolean;
  /** Whether it takes any key for a good one. */
  readonly ignoresKeys: boolean;
  /** The role of `instructions`. With `system`, developer messages become system messages too. */
  readonly systemRole: 'developer' | 'system';
  /**
   * Where system messages may stand. `anywhere`, as many as there are; or only `first`, and then one: all of them are
   * joined and lead the conversation, as chat templates refuse them elsewhere.
   */
  readonly systemMessages: 'anywhere' | 'first';
  readonly maxTokensField: 'max_completion_tokens' | 'max_tokens';
  /** Whether `stream_options.include_usage` is sent: the others report usage unasked, and some refuse the field. */
  readonly includeUsage: boolean;
  /** Whether an assistant message may carry `refusal`; without it a refusal is sent back as plain text. */
  readonly refusals: boolean;
  /** Whether `tool` messages carry the `name` of what was called. Some vendors need it, some refuse it. */
  readonly toolNames: boolean;
  /** The `content` of an assistant message that only calls. */
  readonly emptyContent: null | '';
  /** What ids of calls must look like. Those that don't are replaced, the same by the same each time. */
  readonly callIds: CallIdRule | undefined;
  /** What can be asked for at all; the engine refuses the rest. */
  readonly features: ModelFeatures;
  /** Where `strict` may be sent: with the schema of the answer, and with functions. */
  readonly strict: { readonly schemas: boolean; readonly functions: boolean };
  /** Whether a function must have parameters, if only an empty object. */
  readonly parametersRequired: boolean;
  /** Whether it has custom tools of its own. Elsewhere they are offered as functions with one string. */
  readonly customTools: boolean;
  /**
   * How a call of one tool is forced: by an `object` that names it; or by offering it alone, and `required`, where the
   * object is refused or taken for `auto`.
   */
  readonly forcedTool: 'object' | 'alone';
  /** The form of files, where `features.files` allows them: OpenAI's `file` part, or Mistral's `document_url`. */
  readonly fileParts: 'file' | 'document_url';
  /** Whether these hints are sent on. They ask for nothing that could be missed. */
  readonly hints: { readonly promptCacheKey: boolean; readonly safetyIdentifier: boolean };
  /** Names of service tiers that differ: OpenAI's to the vendor's. The others are sent as they are. */
  readonly serviceTiers: Readonly<Record<string, string>>;
  readonly reasoning: ReasoningProfile;
  /** What tells an input that exceeds the model's context from other bad requests: either is enough. */
  readonly contextOverflow: { readonly codes: readonly string[]; readonly messages: readonly RegExp[] };
  /** What an operator should know, as sentences for docs/providers.md. */
  readonly notes: readonly string[];
  readonly sources: readonly Source[];
};

/** `pattern`: which ids may stay. `length`: of those made instead, which have lower-case letters and digits. */
export type CallIdRule = { readonly pattern: RegExp; readonly length: number; readonly says: string };

/** Where something is known from, and when that was read. */
export type Source = { readonly url: string; readonly read: string };

export const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const;
export type Effort = (typeof efforts)[number];

/** How a vendor thinks aloud, and what it wants to have back. */
export type ReasoningProfile = {
  /** Where its reasoning text is, in order of preference: the first that holds any is taken. */
  readonly fields: readonly string[];
  /** Names of tags around reasoning that leads the text of an answer: `think` for `<think>…</think>`. */
  readonly tags: readonly string[];
  readonly effort: EffortForm;
  /** What is sent instead where the client asks for a summary. Undefined: nothing else. */
  readonly summarized: EffortForm | undefined;
  readonly replay: Replay;
  /** Opaque data on calls (`extra_content`), which must come back with them. Undefined: there is none. */
  readonly callData: CallData | undefined;
};

/**
 * How `reasoning.effort` goes out. `fields`: what is added to the body, by effort, and where no effort is asked for.
 * `budget`: Anthropic's `thinking`, which counts tokens and must stay below the limit of the answer; 0 turns it off.
 */
export type EffortForm =
  | { readonly kind: 'fields'; readonly by: Readonly<Record<Effort, JsonObject>>; readonly unasked?: JsonObject }
  | { readonly kind: 'budget'; readonly tokens: Readonly<Record<Effort, number>>; readonly minTokens: number }
  | { readonly kind: 'none' };

/**
 * When reasoning is sent back to the provider that said it: never; within a tool loop, that is since the last user
 * message; or always. `as`: in a field of the message; as Mistral's `thinking` parts of its content; or as OpenRouter's
 * `reasoning_details`, unchanged, and in a field where there were none.
 */
export type Replay =
  | { readonly when: 'never' }
  | {
      readonly when: 'loop' | 'always';
      readonly as: 'field' | 'parts' | 'details';
      /** The field of the message; unused for `parts`. */
      readonly field: string;
      /** Whether a message that calls needs the field even where nothing was thought, or it is lost: it is empty then. */
      readonly required: boolean;
    };

/** `lost`: what takes its place on the first call of a message, where the vendor documents such a value. */
export type CallData = { readonly lost: JsonObject | undefined };

/** Every profile, by name. */
export const profiles: ReadonlyMap<string, Profile> = new Map(
  [
    openai,
    anthropic,
    deepseek,
    gemini,
    groq,
    mistral,
    openrouter,
    together,
    xai,
    ollama,
    llamacpp,
    lmstudio,
    sglang,
    vllm,
    generic,
  ].map((profile) => [profile.name, profile]),
);

/**
 * The profile of a provider: the one it names, else that of its own name, else `generic`. Undefined where it names one
 * that does not exist.
 */
export function profileFor(provider: Pick<ProviderConfig, 'name' | 'profile'>): Profile | undefined {
  if (provider.profile !== undefined) return profiles.get(provider.profile);
  return profiles.get(provider.name) ?? generic;
}
