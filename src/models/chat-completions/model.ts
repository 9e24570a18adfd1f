import type { Model } from '../../model.ts';
import type { Profile } from '../profiles.ts';
import { createUpstreamModel, type UpstreamOptions } from '../upstream/model.ts';
import type { Protocol } from '../upstream/protocol.ts';
import { ChatDecoder } from './decoder.ts';
import { toChatRequest } from './request.ts';

/** What calls of this protocol are posted to. */
export const chatResource = '/chat/completions';

export type ChatCompletionsOptions = UpstreamOptions & { readonly profile: Profile };

/** A provider that speaks Chat Completions, with the habits of its profile. */
export function createChatCompletionsModel(options: ChatCompletionsOptions): Model {
  const { profile } = options;
  return createUpstreamModel(options, chatCompletions(profile), profile.features);
}

function chatCompletions(profile: Profile): Protocol {
  return {
    resource: chatResource,
    failures: { contextOverflow: profile.contextOverflow, params },
    body: (call) => toChatRequest(call, profile),
    decoder: (context, emit) => new ChatDecoder({ ...context, profile }, emit),
  };
}

const params = [
  [/^messages\b.*/, 'input'],
  [/^max_(?:completion_)?tokens$/, 'max_output_tokens'],
  [/^response_format\b.*/, 'text.format'],
  [/^reasoning_effort$/, 'reasoning.effort'],
  [/^verbosity$/, 'text.verbosity'],
  [/^logprobs$/, 'include'],
] as const;
