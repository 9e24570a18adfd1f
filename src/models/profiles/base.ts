import type { JsonObject } from '../../api/primitives.ts';
import type { Effort, EffortForm, Profile } from '../profiles.ts';

/** Efforts as fields of the body. `unasked`: what is sent where no effort is asked for. */
export function effortFields(make: (effort: Effort) => JsonObject, unasked?: JsonObject): EffortForm {
  return {
    kind: 'fields',
    by: {
      none: make('none'),
      minimal: make('minimal'),
      low: make('low'),
      medium: make('medium'),
      high: make('high'),
      xhigh: make('xhigh'),
      max: make('max'),
    },
    ...(unasked !== undefined && { unasked }),
  };
}

/** Efforts as `reasoning_effort`, under the vendor's own words where they differ. */
export function effortField(words: Partial<Record<Effort, string>> = {}): EffortForm {
  return effortFields((effort) => ({ reasoning_effort: words[effort] ?? effort }));
}

/** Efforts that vendors with three levels know. */
export const threeLevels = { minimal: 'low', xhigh: 'high', max: 'high' } as const;

/** Where servers that follow OpenAI put what exceeds a context, in their own words. */
export const usualOverflow: Profile['contextOverflow'] = {
  codes: ['context_length_exceeded'],
  messages: [/context (?:length|window|size)/i, /prompt (?:is )?too long/i],
};

/** What most servers that speak chat completions take, and nothing that only some do. Each profile says what differs. */
export const compatible: Omit<Profile, 'name' | 'title' | 'baseUrl' | 'remote' | 'sources'> = {
  hostsOthers: true,
  ignoresKeys: false,
  systemRole: 'system',
  systemMessages: 'anywhere',
  maxTokensField: 'max_tokens',
  includeUsage: true,
  refusals: false,
  toolNames: false,
  emptyContent: null,
  callIds: undefined,
  features: {
    logprobs: true,
    verbosity: false,
    reasoningEffort: true,
    penalties: true,
    forcedCalls: true,
    singleCalls: true,
    jsonSchema: true,
    jsonObject: true,
    images: 'url',
    files: 'none',
    grammars: false,
    serviceTier: false,
    hostedTools: false,
  },
  strict: { schemas: true, functions: true },
  parametersRequired: false,
  customTools: false,
  forcedTool: 'object',
  fileParts: 'file',
  hints: { promptCacheKey: false, safetyIdentifier: false },
  serviceTiers: {},
  reasoning: {
    fields: ['reasoning_content', 'reasoning'],
    tags: ['think'],
    effort: effortField(),
    summarized: undefined,
    replay: { when: 'never' },
    callData: undefined,
  },
  contextOverflow: usualOverflow,
  notes: [],
};
