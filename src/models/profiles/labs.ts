import type { JsonObject } from '../../api/primitives.ts';
import type { Profile } from '../profiles.ts';
import { compatible, effortField, effortFields, usualOverflow } from './base.ts';

/** Gemini's `thinking_config`, which can't stand beside `reasoning_effort`: the way to get summaries of thoughts. */
function thinkingConfig(more: JsonObject = {}): JsonObject {
  return { extra_body: { google: { thinking_config: { include_thoughts: true, ...more } } } };
}

/** What `reasoning_effort` stands for, by Google's table. */
const geminiBudgets = { minimal: 1_024, low: 1_024, medium: 8_192, high: 24_576, xhigh: 24_576, max: 24_576 } as const;

/** Vendors of models of their own. */
export const gemini: Profile = {
  ...compatible,
  name: 'gemini',
  title: 'Google Gemini (OpenAI-compatible endpoint)',
  baseUrl: 'https://generativelanguage.googleapis.com/v1beta/openai',
  remote: true,
  hostsOthers: false,
  systemMessages: 'first',
  // `function_response.name: Name cannot be empty`.
  toolNames: true,
  features: {
    ...compatible.features,
    logprobs: false,
    penalties: false,
    singleCalls: false,
    images: 'data',
    serviceTier: true,
  },
  strict: { schemas: true, functions: false },
  reasoning: {
    fields: [],
    tags: ['thought'],
    effort: effortField({ xhigh: 'high', max: 'high' }),
    summarized: effortFields(
      (effort) =>
        effort === 'none' ? { reasoning_effort: 'none' } : thinkingConfig({ thinking_budget: geminiBudgets[effort] }),
      thinkingConfig(),
    ),
    replay: { when: 'never' },
    callData: { lost: { google: { thought_signature: 'skip_thought_signature_validator' } } },
  },
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [/token count .*exceeds the maximum number of tokens/i],
  },
  notes: [
    'Gemini 3 refuses a call in the history without its thought signature: signatures travel with the reasoning items, and a call from elsewhere gets the value that Google documents for it.',
    'Summaries of thoughts come only where the request asks for `reasoning.summary`; they are told from the answer by their `<thought>` tags.',
    'Which efforts a model knows differs: not every one can be turned off, and some know only `low` and `high`.',
    'Errors come as a list with one entry.',
  ],
  sources: [
    { url: 'https://ai.google.dev/gemini-api/docs/openai', read: '2026-11-21' },
    {
      url: 'https://discuss.ai.google.dev/t/openai-api-compatibility-broken-due-to-thought-signature-on-gemini-3-pro-preview/109823',
      read: '2026-11-21',
    },
    { url: 'https://github.com/noho/dayu-agent/issues/45', read: '2026-11-21' },
    { url: 'https://discuss.ai.google.dev/tag/openai-compatibility/417', read: '2026-11-21' },
    { url: 'https://github.com/google-gemini/gemini-cli/issues/6678', read: '2026-11-21' },
  ],
};

/** The three levels that it has, as it maps the others itself. */
const deepseekLevels = { minimal: 'low', low: 'low', medium: 'high', high: 'high', xhigh: 'high', max: 'max' } as const;

export const deepseek: Profile = {
  ...compatible,
  name: 'deepseek',
  title: 'DeepSeek',
  baseUrl: 'https://api.deepseek.com',
  remote: true,
  hostsOthers: false,
  // Thinking, which is on by default, ignores the penalties.
  features: { ...compatible.features, penalties: false, singleCalls: false, jsonSchema: false, images: 'none' },
  // `strict` needs its beta address.
  strict: { schemas: false, functions: false },
  reasoning: {
    ...compatible.reasoning,
    fields: ['reasoning_content'],
    tags: [],
    effort: effortFields((effort) =>
      effort === 'none'
        ? { thinking: { type: 'disabled' } }
        : { thinking: { type: 'enabled' }, reasoning_effort: deepseekLevels[effort] },
    ),
    replay: { when: 'always', as: 'field', field: 'reasoning_content', required: true },
  },
  contextOverflow: { codes: ['context_length_exceeded'], messages: [/maximum context length/i] },
  notes: [
    'It thinks unless `reasoning.effort` is `none`. `minimal` and `low` are its `low`, `medium` to `xhigh` its `high`.',
    'In turns with calls its reasoning must come back, or it answers 400: it does, in all later turns.',
    'While it thinks it takes `temperature` and ignores it.',
  ],
  sources: [{ url: 'https://api-docs.deepseek.com/guides/thinking_mode', read: '2026-11-21' }],
};

export const xai: Profile = {
  ...compatible,
  name: 'xai',
  title: 'xAI',
  baseUrl: 'https://api.x.ai/v1',
  remote: true,
  hostsOthers: false,
  maxTokensField: 'max_completion_tokens',
  // Its reasoning models answer 400 to the penalties.
  features: { ...compatible.features, penalties: false },
  reasoning: {
    ...compatible.reasoning,
    fields: ['reasoning_content'],
    tags: [],
    effort: effortField({ minimal: 'low', max: 'xhigh' }),
  },
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [/maximum prompt length/i, /context (?:length|window)/i],
  },
  notes: [
    'Some of its models refuse `reasoning.effort`, and most show no reasoning here.',
    'Sources of live search (`citations`) become annotations at the end of the text.',
    'Its reasoning tokens are counted apart from those of the answer: here they are added, as OpenAI counts them.',
  ],
  sources: [
    { url: 'https://docs.x.ai/docs/guides/reasoning', read: '2026-11-21' },
    { url: 'https://docs.x.ai/docs/guides/live-search', read: '2026-11-21' },
    { url: 'https://github.com/vercel/ai/tree/main/packages/xai', read: '2026-11-21' },
    { url: 'https://github.com/vercel/ai/releases/tag/%40ai-sdk%2Fxai%404.0.8', read: '2026-11-21' },
  ],
};

export const anthropic: Profile = {
  ...compatible,
  name: 'anthropic',
  title: 'Anthropic (OpenAI-compatible endpoint)',
  baseUrl: 'https://api.anthropic.com/v1',
  remote: true,
  hostsOthers: false,
  // It moves them to the front itself, joined; so the same text is sent either way.
  systemMessages: 'first',
  // All of these it takes and ignores.
  features: {
    ...compatible.features,
    logprobs: false,
    penalties: false,
    jsonSchema: false,
    jsonObject: false,
  },
  strict: { schemas: false, functions: false },
  reasoning: {
    ...compatible.reasoning,
    fields: [],
    tags: [],
    effort: {
      kind: 'budget',
      tokens: { none: 0, minimal: 1_024, low: 2_048, medium: 8_192, high: 16_384, xhigh: 24_576, max: 32_000 },
      minTokens: 1_024,
    },
  },
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [/prompt is too long/i, /exceed context limit/i],
  },
  notes: [
    'Meant by Anthropic for trying its models out. It ignores schemas, JSON mode, penalties and log probabilities: requests that ask for them are refused here rather than answered without.',
    '`reasoning.effort` becomes a budget of `thinking` tokens, kept below `max_output_tokens`; an effort is left out where less than 1,024 tokens remain. What it thought is never shown.',
    'A `temperature` above 1 counts as 1.',
  ],
  sources: [
    { url: 'https://platform.claude.com/docs/en/api/openai-sdk', read: '2026-11-21' },
    { url: 'https://github.com/anthropics/claude-code/issues/62560', read: '2026-11-21' },
  ],
};

export const mistral: Profile = {
  ...compatible,
  name: 'mistral',
  title: 'Mistral AI',
  baseUrl: 'https://api.mistral.ai/v1',
  remote: true,
  hostsOthers: false,
  // A system message behind an assistant's is a 400.
  systemMessages: 'first',
  // Unknown fields are a 422; usage comes with the last chunk anyway.
  includeUsage: false,
  toolNames: true,
  emptyContent: '',
  callIds: { pattern: /^[A-Za-z0-9]{9}$/, length: 9, says: '9 letters and digits' },
  features: { ...compatible.features, logprobs: false, files: 'url' },
  parametersRequired: true,
  fileParts: 'document_url',
  reasoning: {
    ...compatible.reasoning,
    fields: [],
    // What it thinks comes in typed parts of the content.
    tags: [],
    // The two that all its adjustable models know.
    effort: effortField({ minimal: 'high', low: 'high', medium: 'high', xhigh: 'high', max: 'high' }),
    replay: { when: 'always', as: 'parts', field: 'content', required: false },
  },
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [/too large for model/i, ...usualOverflow.messages],
  },
  notes: [
    'Its models know two efforts in common, off and on: every effort but `none` is its `high`.',
    'Reasoning comes and goes back in `thinking` parts of the content. Files go as `document_url`.',
  ],
  sources: [
    { url: 'https://docs.mistral.ai/capabilities/reasoning', read: '2026-11-21' },
    { url: 'https://docs.mistral.ai/capabilities/reasoning/adjustable', read: '2026-11-21' },
    { url: 'https://github.com/jackmpcollins/magentic/issues/276', read: '2026-11-21' },
    { url: 'https://github.com/vercel/ai/tree/main/packages/mistral', read: '2026-11-21' },
    { url: 'https://docs.rs/crate/swink-agent-adapters', read: '2026-11-21' },
  ],
};
