import type { ProviderConfig } from '../config.ts';
import type { ModelFeatures } from '../model.ts';

/** How a vendor's chat completions differ from OpenAI's, as data. A further vendor is one more entry below. */
export type Profile = {
  readonly name: string;
  /** Without a trailing slash. Undefined: the operator must give one. */
  readonly baseUrl: string | undefined;
  /** True: the vendor's own service, there without being configured. False: runs at the operator's, once configured. */
  readonly remote: boolean;
  /** Whether it takes any key for a good one. */
  readonly ignoresKeys: boolean;
  /** The role of `instructions`. With `system`, developer messages become system messages too. */
  readonly systemRole: 'developer' | 'system';
  readonly maxTokensField: 'max_completion_tokens' | 'max_tokens';
  /** Whether a stream reports its usage only when `stream_options.include_usage` asks for it. */
  readonly includeUsage: boolean;
  /** Whether an assistant message may carry `refusal`; without it a refusal is sent back as plain text. */
  readonly refusals: boolean;
  readonly features: ModelFeatures;
  /** Where the vendor puts its reasoning text, in order of preference: the first that holds any is taken. */
  readonly reasoningFields: readonly string[];
  /** What tells an input that exceeds the model's context from other bad requests: either is enough. */
  readonly contextOverflow: { readonly codes: readonly string[]; readonly messages: readonly RegExp[] };
};

const openai: Profile = {
  name: 'openai',
  baseUrl: 'https://api.openai.com/v1',
  remote: true,
  ignoresKeys: false,
  systemRole: 'developer',
  maxTokensField: 'max_completion_tokens',
  includeUsage: true,
  refusals: true,
  features: {
    logprobs: true,
    verbosity: true,
    reasoningEffort: true,
    penalties: true,
    forcedCalls: true,
    singleCalls: true,
  },
  reasoningFields: [],
  contextOverflow: { codes: ['context_length_exceeded'], messages: [/maximum context length/i] },
};

const ollama: Profile = {
  name: 'ollama',
  baseUrl: 'http://127.0.0.1:11434/v1',
  remote: false,
  ignoresKeys: true,
  systemRole: 'system',
  maxTokensField: 'max_tokens',
  includeUsage: true,
  refusals: false,
  // Log probabilities came in November 2025; its list of supported fields leaves `tool_choice` and
  // `parallel_tool_calls` out.
  features: {
    logprobs: true,
    verbosity: false,
    reasoningEffort: true,
    penalties: true,
    forcedCalls: false,
    singleCalls: false,
  },
  reasoningFields: ['reasoning', 'reasoning_content'],
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [/context (?:length|window|size)/i, /prompt (?:is )?too long/i],
  },
};

/** Any other server that speaks chat completions: what most of them take, and nothing that only some do. */
const generic: Profile = {
  name: 'generic',
  baseUrl: undefined,
  remote: false,
  ignoresKeys: false,
  systemRole: 'system',
  maxTokensField: 'max_tokens',
  includeUsage: true,
  refusals: false,
  features: {
    logprobs: true,
    verbosity: false,
    reasoningEffort: true,
    penalties: true,
    forcedCalls: true,
    singleCalls: true,
  },
  // `reasoning_content`: DeepSeek, llama.cpp; `reasoning`: OpenRouter, vLLM.
  reasoningFields: ['reasoning_content', 'reasoning'],
  contextOverflow: {
    // `exceed_context_size_error`: llama.cpp.
    codes: ['context_length_exceeded', 'exceed_context_size_error'],
    messages: [/context (?:length|window|size)/i, /prompt (?:is )?too long/i],
  },
};

export const profiles: ReadonlyMap<string, Profile> = new Map(
  [openai, ollama, generic].map((profile) => [profile.name, profile]),
);

/**
 * The profile of a provider: the one it names, else that of its own name, else `generic`. Undefined where it names one
 * that does not exist.
 */
export function profileFor(provider: Pick<ProviderConfig, 'name' | 'profile'>): Profile | undefined {
  if (provider.profile !== undefined) return profiles.get(provider.profile);
  return profiles.get(provider.name) ?? generic;
}
