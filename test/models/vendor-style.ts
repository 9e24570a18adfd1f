import type { Handler } from '../support/upstream.ts';
import { readAnswer } from './fixture-files.ts';

// biome-ignore lint/suspicious/noExplicitAny: vendors' chunks have many shapes.
type Chunk = any;

type Block = { readonly raw: string; readonly chunk: Chunk };

/** The events of a vendor's stream, each with its framing: comments and other lines have no chunk. */
function blocksOf(vendor: string, name: string): Block[] {
  const text = readAnswer(vendor, name).bytes.toString().replaceAll('\r\n', '\n');
  return text
    .split('\n\n')
    .filter((raw) => raw !== '')
    .map((raw) => {
      const data = /^data: (\{.*)$/m.exec(raw)?.[1];
      return { raw, chunk: data === undefined ? undefined : JSON.parse(data) };
    });
}

const saidIn = (chunk: Chunk): string => chunk?.choices?.[0]?.delta?.content ?? '';

/** A text as this vendor streams it: its own chunks, with other words in them. */
function streamOf(vendor: string, text: string): string {
  const blocks = blocksOf(vendor, 'text');
  const first = blocks.findIndex(({ chunk }) => saidIn(chunk) !== '');
  const last = blocks.findLastIndex(({ chunk }) => saidIn(chunk) !== '');
  const template = JSON.stringify(blocks[first]?.chunk);
  const words = (text.match(/\S+\s*/g) ?? []).map((word) => {
    const chunk: Chunk = JSON.parse(template);
    chunk.choices[0].delta.content = word;
    return `data: ${JSON.stringify(chunk)}`;
  });
  const ending: Chunk = structuredClone(blocks[last]?.chunk);
  ending.choices[0].delta.content = '';
  const endings = ending.choices[0].finish_reason == null ? [] : [`data: ${JSON.stringify(ending)}`];
  const before = blocks.slice(0, first).map(({ raw }) => raw);
  const after = blocks.slice(last + 1).map(({ raw }) => raw);
  return [...before, ...words, ...endings, ...after].map((raw) => `${raw}\n\n`).join('');
}

/** The same as a whole answer, with what stands beside the choices in the vendor's last chunks. */
function wholeOf(vendor: string, name: string, message: object, finishReason: string): object {
  const chunks = blocksOf(vendor, name).flatMap(({ chunk }) => (chunk === undefined ? [] : [chunk]));
  const beside: Chunk = Object.assign({}, ...chunks.map(({ choices: _, ...rest }: Chunk) => rest));
  const { usage = beside.x_groq?.usage } = chunks.findLast(({ usage }: Chunk) => usage != null) ?? {};
  const choices = [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: finishReason }];
  return { ...beside, object: 'chat.completion', choices, usage };
}

function callsIn(vendor: string): object[] {
  const calls = new Map<number, Chunk>();
  for (const { chunk } of blocksOf(vendor, 'calls')) {
    for (const part of chunk?.choices?.[0]?.delta?.tool_calls ?? []) {
      const index = part.index ?? calls.size;
      const known = calls.get(index);
      if (known === undefined) calls.set(index, structuredClone(part));
      else if (typeof known.function.arguments === 'string') known.function.arguments += part.function.arguments ?? '';
    }
  }
  return [...calls.values()];
}

/** Plays an upstream in the style of a vendor's fixtures: a text, calls where it is offered tools, JSON where asked. */
export function inTheStyleOf(vendor: string): Handler {
  return (reply, { body }) => {
    const calls = body.tools !== undefined;
    const text = body.response_format === undefined ? 'Grüezi, this is an answer of several words.' : '{"answer": 42}';
    if (body.stream === true) {
      reply.open();
      reply.response.end(calls ? readAnswer(vendor, 'calls').bytes : streamOf(vendor, text));
    } else if (calls) {
      reply.json(wholeOf(vendor, 'calls', { content: null, tool_calls: callsIn(vendor) }, 'tool_calls'));
    } else {
      reply.json(wholeOf(vendor, 'text', { content: text }, 'stop'));
    }
  };
}
