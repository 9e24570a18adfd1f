import type { Profile } from '../profiles.ts';
import { compatible, effortField, effortFields, threeLevels, usualOverflow } from './base.ts';

/** Vendors that run other people's models. */
export const groq: Profile = {
  ...compatible,
  name: 'groq',
  title: 'Groq',
  baseUrl: 'https://api.groq.com/openai/v1',
  remote: true,
  maxTokensField: 'max_completion_tokens',
  // It answers 400 to `logprobs`; its models don't act on the penalties.
  features: { ...compatible.features, logprobs: false, penalties: false, serviceTier: true },
  serviceTiers: { default: 'on_demand', priority: 'performance' },
  reasoning: {
    ...compatible.reasoning,
    fields: ['reasoning'],
    effort: effortField(threeLevels),
    replay: { when: 'loop', as: 'field', field: 'reasoning', required: false },
  },
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [/reduce the length of the messages/i, /maximum context length/i],
  },
  notes: [
    'Reasoning comes in `reasoning`, or in `<think>` at the beginning of the text where the model is left to its default format: both are told apart from the answer.',
    '`none` turns reasoning off for the models that can do without; gpt-oss refuses it.',
    'Usage is read from `x_groq` too.',
  ],
  sources: [
    { url: 'https://console.groq.com/docs/openai', read: '2026-11-21' },
    { url: 'https://console.groq.com/docs/reasoning', read: '2026-11-21' },
    { url: 'https://console.groq.com/docs/api-reference', read: '2026-11-21' },
    { url: 'https://console.groq.com/docs/service-tiers', read: '2026-11-21' },
    { url: 'https://github.com/vercel/ai/tree/main/packages/groq', read: '2026-11-21' },
  ],
};

const togetherLevels = { ...threeLevels, low: 'low', medium: 'medium', high: 'high' } as const;

export const together: Profile = {
  ...compatible,
  name: 'together',
  title: 'Together AI',
  baseUrl: 'https://api.together.xyz/v1',
  remote: true,
  // Its `logprobs` is a number, and its answer has a form of its own.
  features: { ...compatible.features, logprobs: false, singleCalls: false },
  strict: { schemas: true, functions: false },
  reasoning: {
    ...compatible.reasoning,
    fields: ['reasoning', 'reasoning_content'],
    effort: effortFields((effort) =>
      effort === 'none' ? { reasoning: { enabled: false } } : { reasoning_effort: togetherLevels[effort] },
    ),
    replay: { when: 'loop', as: 'field', field: 'reasoning', required: false },
  },
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [...usualOverflow.messages, /tokens`? \+ `?max_new_tokens`? must be/i],
  },
  notes: [
    'Which efforts a model knows differs: hybrid models can be turned off, gpt-oss only be turned down; what a model refuses comes back as its 400.',
  ],
  sources: [
    { url: 'https://docs.together.ai/docs/inference/chat/reasoning', read: '2026-11-21' },
    { url: 'https://github.com/BerriAI/litellm/pull/38263', read: '2026-11-21' },
  ],
};

export const openrouter: Profile = {
  ...compatible,
  name: 'openrouter',
  title: 'OpenRouter',
  baseUrl: 'https://openrouter.ai/api/v1',
  remote: true,
  features: { ...compatible.features, verbosity: true, files: 'url', serviceTier: true },
  reasoning: {
    ...compatible.reasoning,
    fields: ['reasoning', 'reasoning_content'],
    tags: [],
    effort: effortFields((effort) => ({ reasoning: { effort: effort === 'max' ? 'xhigh' : effort } })),
    replay: { when: 'always', as: 'details', field: 'reasoning', required: false },
  },
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [...usualOverflow.messages, /maximum number of tokens allowed/i],
  },
  notes: [
    'Its `reasoning_details` (signed, encrypted or plain) go back unchanged in later turns, as thinking models behind it need them in tool loops.',
    'What a parameter does depends on the model and the host behind it.',
  ],
  sources: [
    { url: 'https://openrouter.ai/docs/use-cases/reasoning-tokens', read: '2026-11-21' },
    { url: 'https://openrouter.ai/docs/api-reference/streaming', read: '2026-11-21' },
    { url: 'https://openrouter.ai/docs/api/reference/errors-and-debugging', read: '2026-11-21' },
    {
      url: 'https://github.com/OpenRouterTeam/ai-sdk-provider/blob/main/src/schemas/reasoning-details.ts',
      read: '2026-11-21',
    },
    { url: 'https://openrouter.ai/docs/client-sdks/typescript/models/urlcitation', read: '2026-11-21' },
  ],
};
