import { type LoadedPackage, loadPackage } from '../../src/models/ai-sdk/load.ts';
import { createAiSdkProvider } from '../../src/models/ai-sdk/provider.ts';
import type { Handler, UpstreamRequest } from '../support/upstream.ts';
import { type Setting, upstreamScene } from './support.ts';

export type AiSdkSetting = Setting & { readonly loaded?: LoadedPackage };

/** A model through a package, over a scripted vendor. */
export async function aiSdkScene(
  packageName: string,
  script: Handler | readonly Handler[],
  setting: AiSdkSetting = {},
) {
  const loaded = setting.loaded ?? (await loadPackage(packageName, 'acme'));
  const { options, ...rest } = await upstreamScene(script, setting);
  return { ...rest, ...createAiSdkProvider({ ...options, loaded }), warnings: rest.warned };
}

/** Events of a stream as a vendor sends them, without `[DONE]`. */
export function answerEvents(events: readonly unknown[]): Handler {
  return (reply) => {
    reply.open();
    for (const event of events) reply.event(event);
    reply.end();
  };
}

export const claude = 'claude-sonnet-4-5';

/** A stream of Anthropic's Messages API: its blocks, one after the other. */
export function messagesEvents(blocks: readonly object[][], stopReason = 'end_turn'): object[] {
  const usage = { input_tokens: 11, cache_read_input_tokens: 3, cache_creation_input_tokens: 2, output_tokens: 1 };
  const message = { id: 'msg_up', type: 'message', role: 'assistant', model: 'claude-test-1', content: [], usage };
  return [
    { type: 'message_start', message },
    { type: 'ping' },
    ...blocks.flatMap(([start, ...deltas], index) => [
      { type: 'content_block_start', index, content_block: start },
      ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
      { type: 'content_block_stop', index },
    ]),
    {
      type: 'message_delta',
      delta: { stop_reason: stopReason, stop_sequence: null },
      usage: { output_tokens: 7, output_tokens_details: { thinking_tokens: 4 } },
    },
    { type: 'message_stop' },
  ];
}

/** A block of text, one delta per word. */
export function textBlock(text: string): object[] {
  return [{ type: 'text', text: '' }, ...words(text).map((word) => ({ type: 'text_delta', text: word }))];
}

export function thinkingBlock(text: string, signature: string): object[] {
  const deltas = words(text).map((thinking) => ({ type: 'thinking_delta', thinking }));
  return [{ type: 'thinking', thinking: '', signature: '' }, ...deltas, { type: 'signature_delta', signature }];
}

/** A call, its arguments in pieces of five characters. */
export function toolBlock(id: string, name: string, json: string): object[] {
  const pieces = json.match(/.{1,5}/gs) ?? [];
  return [
    { type: 'tool_use', id, name, input: {} },
    ...pieces.map((piece) => ({ type: 'input_json_delta', partial_json: piece })),
  ];
}

/** Answers as Anthropic would. */
export function answerBlocks(blocks: readonly object[][], stopReason?: string): Handler {
  return answerEvents(messagesEvents(blocks, stopReason));
}

export const gemini = 'gemini-3-pro-preview';

/** A stream of Google's generateContent: one chunk per part, the last with why it ended. */
export function geminiEvents(parts: readonly object[], finishReason = 'STOP'): object[] {
  const usageMetadata = {
    promptTokenCount: 11,
    candidatesTokenCount: 5,
    thoughtsTokenCount: 2,
    cachedContentTokenCount: 3,
    totalTokenCount: 18,
  };
  const candidate = (part: object, reason?: string) => ({
    candidates: [{ content: { role: 'model', parts: [part] }, index: 0, ...(reason && { finishReason: reason }) }],
    responseId: 'up-1',
    ...(reason && { usageMetadata }),
  });
  return parts.map((part, index) => candidate(part, index === parts.length - 1 ? finishReason : undefined));
}

export function textParts(text: string): object[] {
  return words(text).map((word) => ({ text: word }));
}

/** Answers as Google would. */
export function answerParts(parts: readonly object[], finishReason?: string): Handler {
  return answerEvents(geminiEvents(parts, finishReason));
}

function words(text: string): string[] {
  return text.match(/\S*\s*/g)?.filter((word) => word !== '') ?? [];
}

/** What a vendor needs for the scenarios of the contract. */
export type Vendor = {
  readonly packageName: string;
  readonly modelName: string;
  readonly text: (text: string) => Handler;
  readonly call: (id: string, name: string, json: string) => Handler;
  /** How it says no. */
  readonly refusal: (status: number, message: string) => object;
  /** Whether the request asks for an answer in JSON. */
  readonly wantsJson: (request: UpstreamRequest) => boolean;
};

export const vendors: readonly Vendor[] = [
  {
    packageName: '@ai-sdk/anthropic',
    modelName: claude,
    text: (text) => answerBlocks([textBlock(text)]),
    call: (id, name, json) => answerBlocks([toolBlock(id, name, json)], 'tool_use'),
    refusal: (_status, message) => ({ type: 'error', error: { type: 'some_error', message } }),
    wantsJson: ({ body }) => body.output_config?.format !== undefined,
  },
  {
    packageName: '@ai-sdk/google',
    modelName: gemini,
    text: (text) => answerParts(textParts(text)),
    call: (id, name, json) =>
      answerParts([{ functionCall: { id, name, args: JSON.parse(json) }, thoughtSignature: 'c2lnbmVk' }]),
    refusal: (status, message) => ({ error: { code: status, message, status: 'SOME_STATUS' } }),
    wantsJson: ({ body }) => body.generationConfig?.responseMimeType === 'application/json',
  },
];
