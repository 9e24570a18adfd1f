import type { JsonObject } from '../../api/primitives.ts';

/**
 * What is used of the AI SDK's provider specification (`LanguageModelV3` and `LanguageModelV4` of `@ai-sdk/provider`),
 * in our own words. What a package says back is not believed: see `Loose`.
 */
export type SpecVersion = 'v3' | 'v4';

/** By the name under which a package looks for what is meant for it. Comes as metadata, goes back as options. */
export type ProviderOptions = JsonObject;

type WithOptions = { readonly providerOptions?: ProviderOptions };

/** v3 holds the base64 text or the URL itself; v4 says which it is. */
export type PromptFileData =
  | string
  | URL
  | { readonly type: 'data'; readonly data: string }
  | { readonly type: 'url'; readonly url: URL };

export type TextPart = WithOptions & { readonly type: 'text'; readonly text: string };
export type FilePart = {
  readonly type: 'file';
  readonly mediaType: string;
  readonly data: PromptFileData;
  readonly filename?: string;
};
export type ReasoningPart = WithOptions & { readonly type: 'reasoning'; readonly text: string };
export type ToolCallPart = WithOptions & {
  readonly type: 'tool-call';
  readonly toolCallId: string;
  readonly toolName: string;
  readonly input: unknown;
};
export type AssistantPart = TextPart | ReasoningPart | ToolCallPart;

/** A part of a tool's output. v3 has a type for each kind of file and of data, v4 only `file`. */
export type OutputPart = { readonly type: string; readonly [field: string]: unknown };
export type ToolResultPart = {
  readonly type: 'tool-result';
  readonly toolCallId: string;
  readonly toolName: string;
  readonly output:
    | { readonly type: 'text'; readonly value: string }
    | { readonly type: 'content'; readonly value: readonly OutputPart[] };
};

export type PromptMessage =
  | { readonly role: 'system'; readonly content: string }
  | { readonly role: 'user'; readonly content: readonly (TextPart | FilePart)[] }
  | { readonly role: 'assistant'; readonly content: readonly AssistantPart[] }
  | { readonly role: 'tool'; readonly content: readonly ToolResultPart[] };

export type FunctionDefinition = {
  readonly type: 'function';
  readonly name: string;
  readonly description?: string;
  readonly inputSchema: JsonObject;
};

export type SpecToolChoice =
  | { readonly type: 'auto' | 'none' | 'required' }
  | { readonly type: 'tool'; readonly toolName: string };

export type CallOptions = {
  prompt: readonly PromptMessage[];
  maxOutputTokens?: number;
  temperature?: number;
  topP?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  responseFormat?: {
    readonly type: 'json';
    readonly schema?: JsonObject;
    readonly name?: string;
    readonly description?: string;
  };
  tools?: readonly FunctionDefinition[];
  toolChoice?: SpecToolChoice;
  /** v4 only. */
  reasoning?: string;
  providerOptions?: ProviderOptions;
  abortSignal?: AbortSignal;
};

/** A model of a package. */
export type LanguageModel = {
  readonly specificationVersion: SpecVersion;
  /** Patterns of the URLs that the vendor reads itself, by media type. */
  readonly supportedUrls: unknown;
  doStream(options: CallOptions): PromiseLike<{ readonly stream: ReadableStream<unknown> }>;
};

/** What every package's `create…` takes. */
export type ProviderSettings = {
  readonly baseURL: string;
  /** Never left out: packages would look into the environment for one. */
  readonly apiKey: string;
  readonly fetch: typeof globalThis.fetch;
};
