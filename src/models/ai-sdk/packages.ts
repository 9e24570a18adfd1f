import type { JsonObject } from '../../api/primitives.ts';
import type { ModelFeatures } from '../../model.ts';
import type { FailureFacts } from '../upstream/failures.ts';

/** How a package and the vendor behind it differ from the others, as data. */
export type Habits = {
  /** The `create…` that the package exports. Undefined: it is found by the package's name. */
  readonly factory: string | undefined;
  /** The vendor's own address, as the package has it. Undefined: the operator must give one. */
  readonly baseUrl: string | undefined;
  /** The name under which the package looks for its own options. */
  readonly optionsName: string;
  /** `reasoningEffort` is true where `efforts` has it, or the package's version of the specification. */
  readonly features: Omit<ModelFeatures, 'reasoningEffort'>;
  /** Options for `reasoning.effort`, for packages of v3. Those of v4 know efforts themselves. */
  readonly efforts: Readonly<Record<string, JsonObject>> | undefined;
  /** Options that make the vendor tell its thoughts, where the request asks for `reasoning.summary`. */
  readonly summarized: JsonObject | undefined;
  /** Options for `parallel_tool_calls: false`. */
  readonly singleCalls: JsonObject | undefined;
  /** Options that keep the beginning of a prompt, where the request names a `prompt_cache_key`: some vendors do so only then. */
  readonly cached: JsonObject | undefined;
  /** Where in the options a `safety_identifier` belongs. */
  readonly safetyIdentifier: readonly string[];
  /** Where in the options a service tier belongs, and the vendor's word for each of ours. */
  readonly serviceTier: { readonly field: string; readonly words: Readonly<Record<string, string>> } | undefined;
  /** Whether the one kind of text that it reads from files is `text/plain`. */
  readonly plainTextOnly: boolean;
  /** Whether images and files may stand in the output of a tool. Else they follow in a user message. */
  readonly filesInOutputs: boolean;
  /** How the vendor lists its models, and the header in which it takes a key. */
  readonly listing: {
    readonly resource: string;
    readonly keyHeader: 'authorization' | 'x-api-key' | 'x-goog-api-key';
    readonly headers: Readonly<Record<string, string>>;
  };
  readonly failures: FailureFacts;
  /** The statuses that errors in the middle of a stream stand for, by their type: packages of v3 pass them on as they are. */
  readonly errorStatuses: Readonly<Record<string, number>>;
};

const commonOverflow = [
  /context (?:length|window|size)/i,
  /prompt (?:is )?too long/i,
  /token count .*exceeds/i,
  /maximum (?:context|number of tokens)/i,
];

/** Any other package. What its vendor does not take, the package or the vendor refuses itself. */
const unknown: Habits = {
  factory: undefined,
  baseUrl: undefined,
  optionsName: '',
  features: {
    logprobs: false,
    verbosity: false,
    penalties: true,
    forcedCalls: true,
    singleCalls: false,
    jsonSchema: true,
    jsonObject: true,
    images: 'url',
    files: 'url',
    grammars: false,
    serviceTier: false,
    hostedTools: false,
  },
  efforts: undefined,
  summarized: undefined,
  singleCalls: undefined,
  cached: undefined,
  safetyIdentifier: [],
  serviceTier: undefined,
  plainTextOnly: false,
  filesInOutputs: false,
  listing: { resource: '/models', keyHeader: 'authorization', headers: {} },
  failures: { contextOverflow: { codes: ['context_length_exceeded'], messages: commonOverflow }, params: [] },
  errorStatuses: {},
};

/** Thinking budgets in tokens, for versions that know no efforts. */
const budgets = { minimal: 1_024, low: 2_048, medium: 8_192, high: 16_384, xhigh: 24_576, max: 32_000 } as const;

function budgetOptions(none: JsonObject, make: (tokens: number) => JsonObject): Record<string, JsonObject> {
  const made = Object.entries(budgets).map(([effort, tokens]) => [effort, make(tokens)]);
  return { none, ...Object.fromEntries(made) };
}

/**
 * Tried with 4.0.105 (v4) and 3.0.138 (v3). Sources, read on 2026-11-21: the package's own `src`;
 * https://platform.claude.com/docs/en/api/resources/beta/subresources/models/methods/list;
 * https://github.com/anthropics/claude-code/issues/4951 and …/12186 (what exceeds a context).
 */
const anthropic: Habits = {
  ...unknown,
  factory: 'createAnthropic',
  baseUrl: 'https://api.anthropic.com/v1',
  optionsName: 'anthropic',
  // JSON without a schema, and the penalties, it leaves out with a warning.
  features: { ...unknown.features, penalties: false, singleCalls: true, jsonObject: false },
  efforts: budgetOptions({ thinking: { type: 'disabled' } }, (budgetTokens) => ({
    thinking: { type: 'enabled', budgetTokens },
  })),
  singleCalls: { disableParallelToolUse: true },
  cached: { cacheControl: { type: 'ephemeral' } },
  safetyIdentifier: ['metadata', 'userId'],
  plainTextOnly: true,
  filesInOutputs: true,
  listing: {
    resource: '/models?limit=1000',
    keyHeader: 'x-api-key',
    headers: { 'anthropic-version': '2023-06-01' },
  },
  failures: {
    contextOverflow: { codes: [], messages: [/prompt is too long/i, /exceed context limit/i] },
    params: [],
  },
  errorStatuses: {
    invalid_request_error: 400,
    authentication_error: 401,
    permission_error: 403,
    not_found_error: 404,
    request_too_large: 413,
    rate_limit_error: 429,
    api_error: 500,
    overloaded_error: 529,
  },
};

/**
 * Tried with 4.0.121 (v4). Sources, read on 2026-11-21: the package's own `src`; https://ai.google.dev/api/models;
 * https://github.com/google-gemini/gemini-cli/issues/6678 (what exceeds a context).
 */
const google: Habits = {
  ...unknown,
  factory: 'createGoogle',
  baseUrl: 'https://generativelanguage.googleapis.com/v1beta',
  optionsName: 'google',
  features: { ...unknown.features, serviceTier: true },
  efforts: budgetOptions({ thinkingConfig: { thinkingBudget: 0 } }, (tokens) => ({
    thinkingConfig: { thinkingBudget: Math.min(tokens, 24_576) },
  })),
  summarized: { thinkingConfig: { includeThoughts: true } },
  serviceTier: { field: 'serviceTier', words: { default: 'standard', flex: 'flex', priority: 'priority' } },
  filesInOutputs: true,
  listing: { resource: '/models?pageSize=1000', keyHeader: 'x-goog-api-key', headers: {} },
  failures: {
    contextOverflow: { codes: [], messages: [/token count .*exceeds the maximum number of tokens/i] },
    params: [],
  },
};

const known: ReadonlyMap<string, Habits> = new Map([
  ['@ai-sdk/anthropic', anthropic],
  ['@ai-sdk/google', google],
]);

/** What is known of a package, or what holds for most. */
export function habitsOf(packageName: string): Habits {
  // `@ai-sdk/mistral` looks under `mistral`.
  return known.get(packageName) ?? { ...unknown, optionsName: packageName.split('/').at(-1) ?? packageName };
}
