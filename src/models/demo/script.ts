import { ApiError } from '../../errors.ts';
import type { ModelCall, ModelEnd } from '../../model.ts';
import { Budget } from './budget.ts';
import { type Conversation, type Result, readConversation } from './conversation.ts';
import { type Answer, recall, unknown } from './facts.ts';
import { callsFor, type FunctionCall } from './functions.ts';
import { guided, readGuidance } from './guidance.ts';
import { hintsFrom } from './hints.ts';
import { exampleOf } from './schema-example.ts';
import { maxAnalysedChars, sentencesOf, shortened, unquoted } from './words.ts';

/** A part of an answer, in the order in which it is said. `hold` says nothing for so long. */
export type Line =
  | { readonly type: 'text' | 'reasoning' | 'refusal'; readonly text: string }
  | ({ readonly type: 'call'; readonly callId: string } & FunctionCall)
  | { readonly type: 'hold'; readonly holdMs: number };

export type Script = { readonly lines: readonly Line[]; readonly end: ModelEnd };

const stop: ModelEnd = { type: 'end', reason: 'stop' };
const holdMs = 600_000;
const maxCount = 1_000;
const maxEchoChars = 200;
const maxResultChars = 20_000;

/**
 * What the demo says to a call. Pure: the same call has the same script. Throws `invalid_request` for a schema that is
 * more work than the budget allows.
 */
export function scriptFor(call: ModelCall, budget: Budget = new Budget()): Script {
  const conversation = readConversation(call);
  const command = /^demo:\s*(fail midway|fail|refuse|filter|empty|slow)\s*[.!]?$/i.exec(conversation.prompt)?.[1];
  if (command !== undefined) return scripted(command.toLowerCase());
  const think = /^demo:\s*think\b[\s.,:;!-]*/i.exec(conversation.prompt);
  const rest = think === null ? conversation.prompt : conversation.prompt.slice(think[0].length);
  const asked = rest === '' ? conversation : { ...conversation, prompt: rest };
  const thinks = think !== null || ['high', 'xhigh', 'max'].includes(call.reasoningEffort ?? '');
  const thoughts: Line[] = thinks ? [{ type: 'reasoning', text: thoughtsOn(asked) }] : [];
  return { lines: [...thoughts, ...answerTo(call, asked, budget)], end: stop };
}

function scripted(command: string): Script {
  switch (command) {
    case 'fail':
      return { lines: [], end: failure('The demo model failed, as it was asked to.') };
    case 'fail midway': {
      const text = 'This answer begins well and then breaks off, as it was asked to, in the middle of a';
      return { lines: [{ type: 'text', text }], end: failure('The demo model failed midway, as it was asked to.') };
    }
    case 'refuse':
      return { lines: [{ type: 'refusal', text: 'I refuse to answer this, as I was asked to.' }], end: stop };
    case 'filter':
      return {
        lines: [{ type: 'text', text: 'This answer is held back by a content filter' }],
        end: { type: 'end', reason: 'content_filter' },
      };
    case 'slow': {
      const error = new ApiError('upstream_timeout', 'The demo model took too long, as it was asked to.');
      return { lines: [{ type: 'hold', holdMs }], end: { type: 'end', reason: 'error', error } };
    }
    default:
      return { lines: [], end: stop };
  }
}

function failure(message: string): ModelEnd {
  return { type: 'end', reason: 'error', error: new ApiError('upstream_failed', message) };
}

function thoughtsOn(conversation: Conversation): string {
  const said = shortened(conversation.prompt, maxEchoChars);
  return `The user says: "${said}" I look for a function, then for a fact that I was told, then I answer.`;
}

function answerTo(call: ModelCall, conversation: Conversation, budget: Budget): Line[] {
  const known = recall(conversation);
  // What was told is recalled without the help of a function.
  const knows = known !== undefined && known.brief !== unknown;
  const calls = call.toolChoice === 'auto' && knows ? [] : callsFor(call, conversation, budget);
  if (calls.length > 0) return withIds(calls, conversation);
  const format = call.format;
  if (format?.type === 'json_schema') {
    const texts = [conversation.prompt, known?.text ?? '', ...conversation.results.map((result) => result.text)];
    const words = texts.map((text) => text.slice(0, maxAnalysedChars)).join('\n');
    const value = exampleOf(format.schema, { hints: hintsFrom(words, budget), optional: 'all' }, budget);
    return [{ type: 'text', text: JSON.stringify(value) }];
  }
  const answer = spokenAnswer(call, conversation, known);
  if (format?.type === 'json_object') return [{ type: 'text', text: JSON.stringify({ answer: answer.text }) }];
  return [{ type: 'text', text: guided(answer, readGuidance(conversation.guidance, conversation.prompt)) }];
}

/** Call ids count the calls of the conversation, so that they are the same every time and never meet twice in it. */
function withIds(calls: readonly FunctionCall[], conversation: Conversation): Line[] {
  let number = conversation.callIds.size;
  return calls.map((each) => {
    do number += 1;
    while (conversation.callIds.has(`call_demo_${number}`));
    return { type: 'call', callId: `call_demo_${number}`, ...each };
  });
}

function spokenAnswer(call: ModelCall, conversation: Conversation, known: Answer | undefined): Answer {
  const { prompt, results } = conversation;
  if (results.length > 0) return resultsAnswer(results);
  const said = repeated(prompt) ?? counted(prompt) ?? aboutInstructions(conversation);
  if (said !== undefined) return { text: said, brief: said };
  const images = imagesAnswer(conversation);
  if (images !== undefined) return { text: images, brief: images };
  return known ?? introduction(call, conversation);
}

function resultsAnswer(results: readonly Result[]): Answer {
  const lines = results.map((result) => {
    const seen = result.images.length === 0 ? '' : describeImages(result.images);
    const shown = shortened(result.text, maxResultChars);
    return `${result.name} returned: ${[shown, seen].filter((each) => each !== '').join(' and ')}`;
  });
  return { text: lines.join('\n'), brief: results.at(-1)?.text ?? '' };
}

const sayForm =
  /^(?:(?:please|now|just) )*(?:(?:can|could|would|will) you (?:please )?)?(?:say|repeat|echo|(?:reply|respond|answer) with)\b(?: (?:exactly|only|just|back|after me|this|the following|(?:exactly )?one word|the (?:word|words|text|phrase|sentence)))*(?:\s*:\s*|\s+)(?=\S)/i;
const sayLater =
  /(?:^|[.!?\n]\s*)(?:please )?(?:say|repeat|echo|(?:reply|respond|answer) with)(?: (?:exactly|only|just|this|the (?:word|words|text|phrase)))*:\s*(?=\S)/i;

/** What `Say hello`, `Repeat after me: …` and `Say exactly: …` ask to be said, verbatim, without marks around the whole. */
function repeated(prompt: string): string | undefined {
  const beginning = prompt.slice(0, 2_000);
  const found = sayForm.exec(beginning) ?? sayLater.exec(beginning);
  return found === null ? undefined : unquoted(prompt.slice(found.index + found[0].length));
}

function counted(prompt: string): string | undefined {
  const found = /\bcount (?:from (\d{1,6}) )?(?:up )?to (\d{1,9})\b/i.exec(prompt.slice(0, 2_000));
  if (found === null) return undefined;
  const from = Number(found[1] ?? 1);
  const length = Math.min(Math.max(Number(found[2]) - from + 1, 0), maxCount);
  return Array.from({ length }, (_, index) => from + index).join(', ') || String(from);
}

function aboutInstructions({ prompt, guidance }: Conversation): string | undefined {
  const asked = sentencesOf(prompt).find((each) => each.length < 200);
  if (asked === undefined) return undefined;
  if (
    /\bwhat (?:are|were) your (?:system )?(?:instructions|prompt)\b|\bwhat is your system prompt\b/i.test(
      prompt.slice(0, 2_000),
    )
  ) {
    return guidance.trim() === '' ? 'I have no instructions.' : `My instructions are: ${guidance.trim()}`;
  }
  const name = /^(?:what(?:'s| is) your name|who are you)\b/i.test(asked) ? readGuidance(guidance, '').name : undefined;
  return name === undefined ? undefined : `My name is ${name}.`;
}

function imagesAnswer({ prompt, newImages, allImages }: Conversation): string | undefined {
  if (newImages.length > 0) return `I was given ${describeImages(newImages)}.`;
  const asks = /\b(?:images?|pictures?|photos?)\b/i.test(prompt.slice(0, 2_000)) && allImages.length > 0;
  return asks ? `I was given ${describeImages(allImages)}.` : undefined;
}

/** `2 images: image/png, 68 bytes; https://example.com/cat.jpg`. */
function describeImages(urls: readonly string[]): string {
  return `${urls.length} ${urls.length === 1 ? 'image' : 'images'}: ${urls.map(describeImage).join('; ')}`;
}

function describeImage(url: string): string {
  const data = /^data:([^;,]{0,100})((?:;[^;,]{0,100}){0,5}),/i.exec(url.slice(0, 1_000));
  if (data === null) return shortened(url, 2_000);
  const payload = url.slice(data[0].length);
  const encoded = /;base64$/i.test(data[2] ?? '');
  const bytes = Buffer.byteLength(payload, encoded ? 'base64' : 'utf8') - (encoded ? 0 : 2 * escapesIn(payload));
  return `${data[1] || 'text/plain'}, ${bytes} bytes`;
}

/** How many bytes are written as `%20`. */
function escapesIn(payload: string): number {
  let count = 0;
  for (let at = 0; at < payload.length; at += 1) {
    if (payload.charCodeAt(at) !== 37) continue;
    if (isHex(payload.charCodeAt(at + 1)) && isHex(payload.charCodeAt(at + 2))) count += 1;
  }
  return count;
}

function isHex(code: number): boolean {
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 70) || (code >= 97 && code <= 102);
}

function introduction(call: ModelCall, { prompt, messageCount }: Conversation): Answer {
  if (messageCount === 0) return { text: 'There is no message to answer yet.', brief: 'Nothing' };
  const echo = prompt === '' ? 'Your message has no text.' : `You said: "${shortened(prompt, maxEchoChars)}".`;
  const place = `This is message ${messageCount} of our conversation.`;
  const brief = /[\p{L}\p{N}]+/u.exec(prompt.slice(0, maxAnalysedChars))?.[0] ?? 'Nothing';
  if (call.verbosity === 'low') return { text: `${echo} ${place}`, brief };
  const more =
    'I answer from a script: I repeat, I count, I recall what I was told, and I call the functions I am given.';
  const text = `I am a scripted demo model. ${echo} ${place}`;
  return { text: call.verbosity === 'high' ? `${text} ${more}` : text, brief };
}
