import type { Profile } from '../profiles.ts';
import { compatible, effortField } from './base.ts';

export const openai: Profile = {
  ...compatible,
  name: 'openai',
  title: 'OpenAI',
  baseUrl: 'https://api.openai.com/v1',
  remote: true,
  hostsOthers: false,
  systemRole: 'developer',
  maxTokensField: 'max_completion_tokens',
  refusals: true,
  // `Invalid 'messages[…].tool_calls[0].id': string too long`, above 40 characters.
  callIds: { pattern: /^.{1,40}$/s, length: 32, says: 'at most 40 characters' },
  features: { ...compatible.features, verbosity: true, files: 'data', grammars: true, serviceTier: true },
  customTools: true,
  hints: { promptCacheKey: true, safetyIdentifier: true },
  reasoning: { ...compatible.reasoning, fields: [], tags: [], effort: effortField() },
  contextOverflow: { codes: ['context_length_exceeded'], messages: [/maximum context length/i] },
  notes: [
    'Chat completions show no reasoning; its Responses API does.',
    'Custom tools and their grammars are its own; the calls of custom tools are streamed in a form that its description leaves out, and are read in either form.',
  ],
  sources: [
    { url: 'https://github.com/openai/openai-openapi', read: '2026-11-21' },
    { url: 'https://github.com/openai/openai-openapi/issues/576', read: '2026-11-21' },
    { url: 'https://github.com/microsoft/autogen/issues/6377', read: '2026-11-21' },
    {
      url: 'https://community.openai.com/t/streaming-chunk-format-with-multiple-choices-or-tool-calls/1351422',
      read: '2026-11-21',
    },
  ],
};
