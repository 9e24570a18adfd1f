import { includeSchema } from '../../api/create-response.ts';
import type { ModelFeatures } from '../../model.ts';
import type { FailureFacts } from '../upstream/failures.ts';
import type { ToolKinds } from '../upstream/offered-tools.ts';

/** How a vendor's Responses API differs from OpenAI's, as data. A further vendor is one more entry of the table below. */
export type Dialect = ToolKinds & {
  /** The address at which this is what is spoken unless the configuration says otherwise. */
  readonly nativeAt: string | undefined;
  readonly features: ModelFeatures;
  /** Values of `include` that it knows; others are not sent. With `reasoning.encrypted_content` that is always asked for. */
  readonly includes: readonly string[];
  /**
   * Whether reasoning items are sent under their ids. OpenAI binds what it encrypts to the id that it gave, and takes
   * such an item without one; others require one.
   */
  readonly reasoningIds: boolean;
  /** Whether it takes `encrypted_content` back. */
  readonly encryptedReasoning: boolean;
  /** Whether it takes the plain text of its own reasoning back. */
  readonly reasoningText: boolean;
  /** `reasoning.summary`. */
  readonly summaries: boolean;
  /** Efforts that have another name here. */
  readonly efforts: Readonly<Record<string, string>>;
  /** Whether an assistant's message goes as one string: some require ids and statuses of messages that have parts. */
  readonly assistantText: boolean;
  /** The role that developer messages get. */
  readonly developerRole: 'developer' | 'system';
  /** Whether outputs of calls may be lists of parts. Without it they are text, and images follow as a user's message. */
  readonly outputParts: boolean;
  /** `defer_loading`, `allowed_callers` and `output_schema` of tools. */
  readonly toolExtras: boolean;
  readonly promptCacheKey: boolean;
  readonly safetyIdentifier: boolean;
  /** Whether its streams are padded unless `stream_options` says not to. */
  readonly obfuscates: boolean;
  /** POST /responses/input_tokens. */
  readonly inputTokens: boolean;
  readonly contextOverflow: FailureFacts['contextOverflow'];
};

/**
 * OpenAI. Fields and values: its OpenAPI description of 2026-08-21. That ids of reasoning items may be left out, and
 * must not be other than its own: packages/openai of github.com/vercel/ai, codex-rs/protocol of github.com/openai/codex.
 */
const openai: Dialect = {
  nativeAt: 'https://api.openai.com/v1',
  features: {
    logprobs: true,
    verbosity: true,
    reasoningEffort: true,
    // Its description of the Responses API has none.
    penalties: false,
    forcedCalls: true,
    singleCalls: true,
    jsonSchema: true,
    jsonObject: true,
    images: 'url',
    files: 'url',
    grammars: true,
    serviceTier: true,
    hostedTools: true,
  },
  includes: includeSchema.options,
  reasoningIds: false,
  encryptedReasoning: true,
  reasoningText: false,
  summaries: true,
  efforts: {},
  assistantText: false,
  developerRole: 'developer',
  outputParts: true,
  namespaces: true,
  customTools: true,
  toolExtras: true,
  promptCacheKey: true,
  safetyIdentifier: true,
  obfuscates: true,
  inputTokens: true,
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [/maximum context length/i, /exceeds the context window/i],
  },
};

/** Any other server: the Open Responses standard of 2026-04-24, in the forms that most of them take. */
const generic: Dialect = {
  nativeAt: undefined,
  features: {
    logprobs: true,
    verbosity: false,
    reasoningEffort: true,
    // The standard has them.
    penalties: true,
    forcedCalls: true,
    singleCalls: true,
    jsonSchema: true,
    jsonObject: true,
    images: 'url',
    files: 'url',
    grammars: false,
    serviceTier: false,
    // Who has none says so in an error of its own.
    hostedTools: true,
  },
  includes: ['reasoning.encrypted_content', 'message.output_text.logprobs'],
  reasoningIds: true,
  encryptedReasoning: true,
  reasoningText: false,
  summaries: true,
  efforts: {},
  assistantText: true,
  developerRole: 'developer',
  outputParts: true,
  namespaces: false,
  customTools: false,
  toolExtras: false,
  promptCacheKey: true,
  safetyIdentifier: true,
  obfuscates: false,
  inputTokens: false,
  contextOverflow: {
    codes: ['context_length_exceeded', 'exceed_context_size_error'],
    messages: [/context (?:length|window|size)/i, /prompt (?:is )?too long/i],
  },
};

/**
 * xAI. docs.x.ai/developers/model-capabilities/text/comparison, and LangChain's types XAIResponsesCreateParams and
 * XAIResponsesInclude (read 2026-11-21): `include` has the one value, there are no service tiers, and log probabilities
 * are asked for by a field of its own.
 */
const xai: Dialect = {
  ...generic,
  features: { ...generic.features, penalties: false, logprobs: false },
  includes: ['reasoning.encrypted_content'],
  assistantText: false,
  safetyIdentifier: false,
};

/**
 * OpenRouter. openrouter.ai/docs/api_reference/responses/overview (beta, read 2026-11-21): keeps no state. In the examples
 * of its SDK's types the id of a reasoning item may be missing; those of OpenAI's models are bound to theirs, as at OpenAI.
 */
const openrouter: Dialect = {
  ...generic,
  reasoningIds: false,
  assistantText: false,
};

/**
 * Groq. console.groq.com/docs/api-reference#responses-create (read in copies, 2026-11-21): `store` may be false or null
 * only, tiers are auto, default and flex. What it does not list is not sent.
 */
const groq: Dialect = {
  ...generic,
  features: { ...generic.features, logprobs: false, penalties: false, files: 'none', serviceTier: true },
  includes: [],
  encryptedReasoning: false,
  summaries: false,
  promptCacheKey: false,
  safetyIdentifier: false,
};

/**
 * Ollama. docs.ollama.com/api/openai-compatibility and openai/responses.go of github.com/ollama/ollama (read 2026-11-21):
 * functions only, no choice of them; `include` is ignored; what it calls encrypted is the plain text of its thoughts.
 */
const ollama: Dialect = {
  ...generic,
  features: {
    ...generic.features,
    logprobs: false,
    penalties: false,
    forcedCalls: false,
    singleCalls: false,
    images: 'data',
    files: 'none',
    hostedTools: false,
  },
  includes: [],
  efforts: { minimal: 'low', xhigh: 'max' },
  developerRole: 'system',
  promptCacheKey: false,
  safetyIdentifier: false,
};

/** LM Studio. lmstudio.ai/blog/lmstudio-v0.3.29 (2025-10-06): functions and remote MCP servers, efforts of gpt-oss. */
const lmstudio: Dialect = {
  ...generic,
  features: { ...generic.features, files: 'none', logprobs: false },
  includes: [],
  encryptedReasoning: false,
  efforts: { minimal: 'low', xhigh: 'high', max: 'high' },
  promptCacheKey: false,
  safetyIdentifier: false,
};

/**
 * vLLM. vllm/entrypoints/openai/responses/utils.py of github.com/vllm-project/vllm (read 2026-11-21), and its pull request
 * 28248 (2025-11): an earlier reasoning item is read from the first part of its `content`, and refused with
 * `encrypted_content`; an output goes into the chat template as it is, so that text is safest.
 */
const vllm: Dialect = {
  ...generic,
  features: { ...generic.features, files: 'none' },
  includes: ['message.output_text.logprobs'],
  encryptedReasoning: false,
  reasoningText: true,
  developerRole: 'system',
  outputParts: false,
  safetyIdentifier: false,
};

/** SGLang. Not looked up: its types are taken to be those of vLLM, as both come from OpenAI's Python package. */
const sglang: Dialect = { ...vllm, features: { ...vllm.features, logprobs: false } };

/**
 * llama.cpp. server_chat_convert_responses_to_chatcmpl in its server (read in a fork, 2026-11-21): functions, outputs that
 * are text, assistant messages with parts; reasoning is read from `content`.
 */
const llamacpp: Dialect = {
  ...generic,
  features: { ...generic.features, files: 'none', logprobs: false, hostedTools: false },
  includes: [],
  encryptedReasoning: false,
  reasoningText: true,
  assistantText: false,
  developerRole: 'system',
  outputParts: false,
  promptCacheKey: false,
  safetyIdentifier: false,
};

const dialects: ReadonlyMap<string, Dialect> = new Map(
  Object.entries({ openai, xai, openrouter, groq, ollama, lmstudio, vllm, sglang, llamacpp }),
);

/** What an upstream of that profile speaks where it speaks Responses. */
export function dialectOf(profile: string): Dialect {
  return dialects.get(profile) ?? generic;
}
