import { z } from 'zod';
import {
  maxFileDataLength,
  maxFileUrlLength,
  maxImageUrlLength,
  maxTextLength,
  objectWith,
  optional,
  unsupported,
} from './primitives.ts';

const cacheBreakpoint = optional(z.strictObject({ mode: optional(z.literal('explicit')) }));

const inputTextSchema = z.strictObject({
  type: z.literal('input_text'),
  text: z.string().max(maxTextLength),
  prompt_cache_breakpoint: cacheBreakpoint,
});

const imageUrl = z
  .string()
  .max(maxImageUrlLength)
  .regex(/^(?:https?:\/\/|data:image\/)/i, 'expected an http(s) URL or a data URL of an image');

const inputImageSchema = z
  .strictObject({
    type: z.literal('input_image'),
    image_url: optional(imageUrl),
    file_id: optional(z.string()),
    detail: optional(z.enum(['low', 'high', 'auto', 'original'])),
    prompt_cache_breakpoint: cacheBreakpoint,
  })
  .superRefine((part, context) => {
    if (part.file_id != null) {
      context.addIssue({ code: 'custom', path: ['file_id'], ...unsupported('An image given by `file_id`') });
    } else if (part.image_url == null) {
      context.addIssue({
        code: 'custom',
        path: ['image_url'],
        params: { code: 'missing_required_parameter' },
        message: 'an image needs `image_url`',
      });
    }
  });

/** A file by URL, or with its content: a data URL or bare base64 (docs/wire.md §3). */
const inputFileSchema = z
  .strictObject({
    type: z.literal('input_file'),
    file_id: optional(z.string()),
    file_url: optional(
      z
        .string()
        .max(maxFileUrlLength)
        .regex(/^https?:\/\//i, 'expected an http(s) URL'),
    ),
    file_data: optional(z.string().max(maxFileDataLength)),
    filename: optional(z.string().max(1_024)),
    detail: optional(z.enum(['low', 'high', 'auto'])),
    prompt_cache_breakpoint: cacheBreakpoint,
  })
  .superRefine((part, context) => {
    if (part.file_id != null) {
      context.addIssue({ code: 'custom', path: ['file_id'], ...unsupported('A file given by `file_id`') });
    } else if ((part.file_url == null) === (part.file_data == null)) {
      const params = { code: part.file_url == null ? 'missing_required_parameter' : 'invalid_value' };
      const message = 'a file needs either `file_data` or `file_url`';
      context.addIssue({ code: 'custom', path: ['file_data'], params, message });
    }
  });

/** `annotations` and `logprobs` come back in items that a client read from us, and go into the store as they are. */
const outputTextSchema = z.strictObject({
  type: z.literal('output_text'),
  text: z.string().max(maxTextLength),
  annotations: optional(z.array(objectWith('type')).max(1_000)),
  logprobs: optional(z.array(objectWith('token')).max(50_000)),
});

const refusalSchema = z.strictObject({ type: z.literal('refusal'), refusal: z.string().max(maxTextLength) });

/** What a user, a system or a developer message may hold, and the output of a function. */
export const inputPartSchema = z.discriminatedUnion('type', [inputTextSchema, inputImageSchema, inputFileSchema]);

/** What an assistant message may hold. `input_text` is in OpenAI's `EasyInputMessage` for every role. */
export const assistantPartSchema = z.discriminatedUnion('type', [outputTextSchema, refusalSchema, inputTextSchema]);

export type InputPart = z.infer<typeof inputPartSchema>;
export type AssistantPart = z.infer<typeof assistantPartSchema>;

/** A token with its log probability. Entries are always full: `bytes` and `top_logprobs` present (docs/wire.md §6). */
export type LogProb = {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
  readonly top_logprobs: readonly { token: string; logprob: number; bytes: readonly number[] }[];
};

export type InputTextPart = { readonly type: 'input_text'; readonly text: string };
export type InputImagePart = {
  readonly type: 'input_image';
  readonly image_url: string;
  readonly detail: 'low' | 'high' | 'auto' | 'original';
};
/** Exactly one of `file_url` and `file_data` is there. */
export type InputFilePart = {
  readonly type: 'input_file';
  readonly file_url?: string;
  readonly file_data?: string;
  readonly filename?: string;
  readonly detail?: 'low' | 'high' | 'auto';
};
export type OutputTextPart = {
  readonly type: 'output_text';
  readonly text: string;
  readonly annotations: readonly unknown[];
  readonly logprobs: readonly unknown[];
};
export type RefusalPart = { readonly type: 'refusal'; readonly refusal: string };
export type SummaryTextPart = { readonly type: 'summary_text'; readonly text: string };
export type ReasoningTextPart = { readonly type: 'reasoning_text'; readonly text: string };

/** A part as it is stored and shown. */
export type ContentPart = InputTextPart | InputImagePart | InputFilePart | OutputTextPart | RefusalPart;
