import type { Profile } from '../profiles.ts';
import { compatible, effortField, effortFields, threeLevels, usualOverflow } from './base.ts';

/** Servers that operators run themselves. */
export const ollama: Profile = {
  ...compatible,
  name: 'ollama',
  title: 'Ollama',
  baseUrl: 'http://127.0.0.1:11434/v1',
  remote: false,
  ignoresKeys: true,
  toolNames: true,
  // Its list of supported fields leaves `tool_choice` and `parallel_tool_calls` out; images are read from data URLs alone.
  features: { ...compatible.features, forcedCalls: false, singleCalls: false, images: 'data' },
  strict: { schemas: true, functions: false },
  reasoning: {
    ...compatible.reasoning,
    fields: ['reasoning', 'reasoning_content'],
    effort: effortField(threeLevels),
    replay: { when: 'loop', as: 'field', field: 'reasoning', required: false },
  },
  notes: [
    'It takes any key for a good one.',
    'It obeys no `tool_choice`; `none` is kept by offering no tools.',
    'What exceeds the context of a loaded model it cuts off without a word: give the model a context that is large enough.',
  ],
  sources: [
    { url: 'https://docs.ollama.com/api/openai-compatibility', read: '2026-11-21' },
    { url: 'https://github.com/ollama/ollama/blob/main/openai/openai.go', read: '2026-11-21' },
  ],
};

export const llamacpp: Profile = {
  ...compatible,
  name: 'llamacpp',
  title: 'llama.cpp (llama-server)',
  baseUrl: 'http://127.0.0.1:8080/v1',
  remote: false,
  systemMessages: 'first',
  forcedTool: 'alone',
  strict: { schemas: true, functions: false },
  reasoning: {
    ...compatible.reasoning,
    fields: ['reasoning_content'],
    // The second form is for builds before `reasoning_effort` was read (b10434, August 2026).
    effort: effortFields((effort) => ({
      reasoning_effort: effort,
      chat_template_kwargs: effort === 'none' ? { enable_thinking: false } : { reasoning_effort: effort },
    })),
    replay: { when: 'always', as: 'field', field: 'reasoning_content', required: false },
  },
  contextOverflow: {
    codes: ['context_length_exceeded', 'exceed_context_size_error'],
    messages: usualOverflow.messages,
  },
  notes: [
    'A named tool is forced by offering it alone, as the server takes the object that names it for `auto`.',
    'What `reasoning.effort` does depends on the chat template of the model; `none` turns thinking off where the template can.',
  ],
  sources: [
    { url: 'https://github.com/ggml-org/llama.cpp/pull/26045', read: '2026-11-21' },
    { url: 'https://github.com/thomas9120/LLama-GUI/pull/300', read: '2026-11-21' },
    { url: 'https://github.com/oobabooga/textgen/issues/7257', read: '2026-11-21' },
  ],
};

export const lmstudio: Profile = {
  ...compatible,
  name: 'lmstudio',
  title: 'LM Studio',
  baseUrl: 'http://127.0.0.1:1234/v1',
  remote: false,
  ignoresKeys: true,
  systemMessages: 'first',
  forcedTool: 'alone',
  features: { ...compatible.features, logprobs: false, singleCalls: false, jsonObject: false, images: 'data' },
  strict: { schemas: true, functions: false },
  reasoning: {
    ...compatible.reasoning,
    fields: ['reasoning_content', 'reasoning'],
    effort: effortField(threeLevels),
  },
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [...usualOverflow.messages, /keep the first \d+ tokens/i],
  },
  notes: [
    'It takes `tool_choice` as a word only, so that a named tool is forced by offering it alone.',
    'It knows JSON schemas, but no plain JSON mode.',
    'Whether `reasoning.effort` does anything depends on the model.',
    'Some errors come with status 200, as an event of the stream: they are errors here.',
  ],
  sources: [
    { url: 'https://lmstudio.ai/docs/advanced/structured-output', read: '2026-11-21' },
    { url: 'https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/988', read: '2026-11-21' },
    { url: 'https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/2322', read: '2026-11-21' },
    { url: 'https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/546', read: '2026-11-21' },
    { url: 'https://www.ruby-toolbox.com/projects/ruby_llm-providers-lms', read: '2026-11-21' },
  ],
};

export const sglang: Profile = {
  ...compatible,
  name: 'sglang',
  title: 'SGLang',
  baseUrl: 'http://127.0.0.1:30000/v1',
  remote: false,
  systemMessages: 'first',
  reasoning: {
    ...compatible.reasoning,
    fields: ['reasoning_content'],
    effort: effortField(),
    replay: { when: 'always', as: 'field', field: 'reasoning_content', required: false },
  },
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [...usualOverflow.messages, /maximum (?:allowed )?length/i],
  },
  notes: [
    'Start it with `--reasoning-parser` and `--tool-call-parser`: without the first, reasoning that leads the text in `<think>` is told apart here.',
    '`none` turns thinking off for chat templates that can; gpt-oss can only be turned down.',
  ],
  sources: [
    { url: 'https://docs.sglang.io/docs/advanced_features/separate_reasoning', read: '2026-11-21' },
    {
      url: 'https://github.com/sgl-project/sglang/blob/main/python/sglang/srt/entrypoints/openai/protocol.py',
      read: '2026-11-21',
    },
  ],
};

export const vllm: Profile = {
  ...compatible,
  name: 'vllm',
  title: 'vLLM',
  baseUrl: 'http://127.0.0.1:8000/v1',
  remote: false,
  systemMessages: 'first',
  maxTokensField: 'max_completion_tokens',
  reasoning: {
    ...compatible.reasoning,
    fields: ['reasoning', 'reasoning_content'],
    effort: effortField(),
    replay: { when: 'always', as: 'field', field: 'reasoning', required: false },
  },
  contextOverflow: {
    codes: ['context_length_exceeded'],
    messages: [...usualOverflow.messages, /maximum model length/i],
  },
  notes: [
    'Start it with `--reasoning-parser`, `--enable-auto-tool-choice` and `--tool-call-parser`.',
    'Older releases call the field of its reasoning `reasoning_content`; both are read, and both are understood when it comes back.',
    '`reasoning.effort` also tells the chat template whether to think.',
  ],
  sources: [
    { url: 'https://docs.vllm.ai/en/v0.26.0/features/reasoning_outputs/', read: '2026-11-21' },
    {
      url: 'https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/openai/chat_completion/protocol.py',
      read: '2026-11-21',
    },
    { url: 'https://github.com/harbor-framework/harbor/pull/996', read: '2026-11-21' },
  ],
};

/** Any other server that speaks chat completions: what most of them take, and nothing that only some do. */
export const generic: Profile = {
  ...compatible,
  name: 'generic',
  title: 'Any other server',
  baseUrl: undefined,
  remote: false,
  contextOverflow: {
    // `exceed_context_size_error`: llama.cpp.
    codes: ['context_length_exceeded', 'exceed_context_size_error'],
    messages: usualOverflow.messages,
  },
  notes: ['What a provider gets that names no profile, and whose name is none.'],
  sources: [],
};
