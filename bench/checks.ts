import type { Answer } from './answer-reader.ts';
import { answerText, chunkCount, helloText } from './script.ts';

/** What an answer has to be: of the server or of the upstream itself, whole or streamed, a list of items, or hello. */
export type CheckName = 'json' | 'stream' | 'chat-json' | 'chat-stream' | 'items' | 'hello';

/** Every so many answers are parsed whole; the others are looked at where it matters. */
const thoroughEvery = 20;

const completed = 'event: response.completed\ndata: ';
const delta = '"type":"response.output_text.delta"';
const answerJson = JSON.stringify(answerText);

/** What is wrong with an answer; undefined where nothing is. `items`: how many a list must have. */
export function wrongWith(name: CheckName, answer: Answer, number: number, items?: number): string | undefined {
  const { status, body } = answer;
  if (status !== 200) return `status ${status}: ${body.slice(0, 300)}`;
  const isThorough = number % thoroughEvery === 0;
  switch (name) {
    case 'json':
      if (!body.includes('"status":"completed"') || !body.includes(`"text":${answerJson}`)) return `not it: ${body}`;
      return isThorough ? wrongResponse(JSON.parse(body)) : undefined;
    case 'stream':
      return wrongStream(body, isThorough);
    case 'chat-json':
      return body.includes(`"content":${answerJson}`) ? undefined : `not it: ${body}`;
    case 'chat-stream': {
      const chunks = occurrences(body, '"delta":{"content":');
      if (!body.endsWith('data: [DONE]\n\n')) return `does not end: ${body.slice(-300)}`;
      return chunks === chunkCount ? undefined : `${chunks} chunks`;
    }
    case 'items':
      if (!body.startsWith('{"object":"list","data":[{')) return `no list: ${body}`;
      return isThorough ? wrongList(JSON.parse(body), items) : undefined;
    case 'hello':
      return body === helloText ? undefined : `not it: ${body}`;
    default:
      return name satisfies never;
  }
}

function wrongStream(body: string, isThorough: boolean): string | undefined {
  const at = body.lastIndexOf(completed);
  if (at < 0) return `no response.completed: ${body.slice(-500)}`;
  if (!body.endsWith('\n\ndata: [DONE]\n\n')) return `does not end: ${body.slice(-300)}`;
  const deltas = occurrences(body, delta);
  // What arrived together may have left together.
  if (deltas < 1 || deltas > chunkCount) return `${deltas} deltas`;
  const start = at + completed.length;
  const wrong = wrongResponse(
    (JSON.parse(body.slice(start, body.indexOf('\n', start))) as { response: unknown }).response,
  );
  return wrong ?? (isThorough ? wrongEvents(body) : undefined);
}

/** Parses every event: the deltas make the text, and the numbers have no gap. */
function wrongEvents(body: string): string | undefined {
  let text = '';
  let next = 0;
  for (const line of body.split('\n')) {
    if (!line.startsWith('data: {')) continue;
    const event = JSON.parse(line.slice(6)) as { type: string; sequence_number: number; delta?: string };
    if (event.sequence_number !== next++) return `event ${next - 1} has the number ${event.sequence_number}`;
    if (event.type === 'response.output_text.delta') text += event.delta;
  }
  return text === answerText ? undefined : `the deltas make another text: ${text}`;
}

type ResponseLike = { status?: unknown; output?: { content?: { text?: unknown }[] }[] };

function wrongResponse(value: unknown): string | undefined {
  const { status, output } = value as ResponseLike;
  if (status !== 'completed') return `status ${String(status)}`;
  const text = output?.[0]?.content?.[0]?.text;
  return text === answerText ? undefined : `another text: ${String(text)}`;
}

function wrongList(value: unknown, wanted: number | undefined): string | undefined {
  const { data } = value as { data: { id?: unknown; content?: { text?: unknown }[] }[] };
  if (wanted !== undefined && data.length !== wanted) return `${data.length} items instead of ${wanted}`;
  const isWhole = data.every(({ id, content }) => typeof id === 'string' && typeof content?.[0]?.text === 'string');
  return isWhole ? undefined : `an item without an id or a text: ${JSON.stringify(data)}`;
}

function occurrences(text: string, part: string): number {
  let count = 0;
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + part.length)) count += 1;
  return count;
}
