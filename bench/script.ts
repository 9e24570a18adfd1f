/** What the upstream of the benches says, known to it and to whoever checks what arrives. All of it is ASCII. */

export const chunkCount = 200;
/** Chunks that leave in one write: what a fast model has made since the last one. */
export const chunksPerWrite = 8;
export const pacedGapMs = 5;
/** Between two chunks of a model that is slow enough for many streams to be open at once. */
export const slowGapMs = 1_000;

/** Names of models, by what the upstream does when it is called by them. */
export const models = {
  /** Everything at once. */
  fast: 'bench-fast',
  /** Everything at once, each chunk with random padding behind its text, as OpenAI sends them. */
  padded: 'bench-padded',
  /** A chunk every `pacedGapMs`. */
  paced: 'bench-paced',
  /** The first chunk at once, so that no timer stands before the first token; then one every `pacedGapMs`. */
  steady: 'bench-steady',
  /** The first chunk at once, then one every `slowGapMs`. */
  slow: 'bench-slow',
  /** Answers with a digest of the messages that it was sent. */
  digest: 'bench-digest',
} as const;

const words = 'the server keeps what it was told and passes on what it hears without adding much of its own time'.split(
  ' ',
);

/** The pieces of the answer, as a model would cut it: about a word each. */
export const chunkTexts: readonly string[] = Array.from(
  { length: chunkCount },
  (_, at) => `${at === 0 ? '' : ' '}${words[at % words.length]}`,
);

/** The whole answer, streamed or not. */
export const answerText = chunkTexts.join('');

/** What every answer and every chunk of the upstream has in common. */
export const common = {
  id: 'chatcmpl-benchbenchbenchbenchbench',
  created: 1_700_000_000,
  model: 'bench-model-2026-01-01',
};
export const usage = { prompt_tokens: 80, completion_tokens: 200, total_tokens: 280 };

/** A whole answer of the upstream. */
export function chatAnswer(content: string): string {
  const message = { role: 'assistant', content, refusal: null };
  const choices = [{ index: 0, message, logprobs: null, finish_reason: 'stop' }];
  return JSON.stringify({ ...common, object: 'chat.completion', choices, usage, system_fingerprint: 'fp_bench' });
}

/** The least that a hello server can say. */
export const helloText = JSON.stringify({ hello: 'world' });

export const question =
  'Please tell me in a few sentences how a server can stay thin while it keeps the state of many conversations, ' +
  'what it has to write down before it answers, and what it should rather leave to the database. ' +
  'Mention the cost of each step where you know it.';

/** The body of a request to the server. */
export function responsesBody(options: { stream: boolean; store: boolean; model?: string }): string {
  const { stream, store, model = models.fast } = options;
  return JSON.stringify({ model, instructions: 'Answer briefly.', input: question, stream, store });
}

/** The same as the server asks it upstream: what the floor passes on. */
export function chatBody(options: { stream: boolean; model?: string }): string {
  const { stream, model = models.fast } = options;
  const messages = [
    { role: 'system', content: 'Answer briefly.' },
    { role: 'user', content: question },
  ];
  const streaming = stream ? { stream: true, stream_options: { include_usage: true } } : {};
  return JSON.stringify({ model, messages, ...streaming });
}

/** The id of an item that a bench has put into a conversation, by its place. All are of one length. */
export function itemId(conversationId: string, at: number): string {
  return `msg_${conversationId}_${String(at).padStart(9, '0')}`;
}
