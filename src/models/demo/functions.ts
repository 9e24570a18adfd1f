import type { FunctionTool } from '../../api/tools.ts';
import type { ModelCall } from '../../model.ts';
import type { Conversation } from './conversation.ts';
import { hintsFrom, isPlaceName, placesIn } from './hints.ts';
import { exampleOf } from './schema-example.ts';
import { asSchema, typesOf } from './schema-merge.ts';
import { contentStems, maxAnalysedChars, stem, stems } from './words.ts';

export type FunctionCall = { readonly name: string; readonly arguments: string };

/** Calls in one turn of the model, and in all its turns for one question. */
const maxCallsPerTurn = 16;
const maxCallsPerQuestion = 64;
/** A name's own word is enough by itself, a describing word needs a second one. */
const nameWeight = 3;
const threshold = 2;

const genericWords = new Set(
  'get set fetch list find look make do call show function tool current data info information user value'
    .split(' ')
    .map(stem),
);

/** Words that mean a tool's word without being it. */
const synonyms: Readonly<Record<string, string>> = {
  temperature: 'weather',
  forecast: 'weather',
  rain: 'weather',
  sunny: 'weather',
  plus: 'calculate',
  times: 'calculate',
  divided: 'calculate',
};

/**
 * The calls that the newest question asks for and that have no output yet. A function is asked for when the user's
 * words share a telling word with its name, or two with its description. Nothing is called under `none`; `required`
 * and a name force one call, until that question has its output.
 */
export function callsFor(call: ModelCall, conversation: Conversation): FunctionCall[] {
  if (call.tools.length === 0 || call.toolChoice === 'none') return [];
  if (conversation.results.length >= maxCallsPerQuestion) return [];
  const text = conversation.prompt.slice(0, maxAnalysedChars);
  const planned = plannedCalls(call, text);
  const open = unanswered(planned, conversation);
  return open.slice(0, call.parallelToolCalls === false ? 1 : maxCallsPerTurn);
}

function plannedCalls(call: ModelCall, text: string): FunctionCall[] {
  const choice = call.toolChoice;
  if (typeof choice === 'object') {
    const named = call.tools.find((tool) => tool.name === choice.name);
    return named === undefined ? [] : callsOf(named, text);
  }
  const asked = askedTools(call.tools, text);
  const calls = asked.flatMap(({ tool, words }) => callsOf(tool, words));
  const first = call.tools[0];
  return calls.length === 0 && choice === 'required' && first !== undefined ? callsOf(first, text) : calls;
}

function unanswered(planned: readonly FunctionCall[], conversation: Conversation): FunctionCall[] {
  const answered = new Map<string, number>();
  for (const result of conversation.results) answered.set(keyOf(result), (answered.get(keyOf(result)) ?? 0) + 1);
  return planned.filter((each) => {
    const times = answered.get(keyOf(each)) ?? 0;
    answered.set(keyOf(each), times - 1);
    return times <= 0;
  });
}

function keyOf(call: FunctionCall): string {
  try {
    return `${call.name} ${JSON.stringify(JSON.parse(call.arguments))}`;
  } catch {
    return `${call.name} ${call.arguments}`;
  }
}

type Asked = { readonly tool: FunctionTool; words: string };

/**
 * Each tool that the text asks for, with the clauses that speak of it: in `the weather in Paris and Rome, and the time
 * in Tokyo` the second clause belongs to the first tool. When no clause alone suffices, the whole text is tried.
 */
function askedTools(tools: readonly FunctionTool[], text: string): Asked[] {
  const asked: Asked[] = [];
  let newest: Asked | undefined;
  for (const clause of clausesOf(text)) {
    const tool = bestTool(tools, clause);
    if (tool === undefined || tool === newest?.tool) {
      if (newest !== undefined) newest.words += clause;
      continue;
    }
    newest = asked.find((each) => each.tool === tool);
    if (newest === undefined) {
      newest = { tool, words: clause };
      asked.push(newest);
    } else {
      newest.words += clause;
    }
  }
  const whole = asked.length === 0 ? bestTool(tools, text) : undefined;
  return whole === undefined ? asked : [{ tool: whole, words: text }];
}

/** The text in pieces that join to it again. At most 100. */
function clausesOf(text: string): string[] {
  return text.split(/(?<=[.!?;]\s)|(?<=\n)|(?=,? (?:and|then|also) )|(?=, )/i, 100);
}

function bestTool(tools: readonly FunctionTool[], text: string): FunctionTool | undefined {
  const words = spokenStems(text);
  let best: FunctionTool | undefined;
  let bestScore = threshold - 1;
  for (const tool of tools) {
    const score = scoreOf(tool, words);
    if (score > bestScore) {
      best = tool;
      bestScore = score;
    }
  }
  return best;
}

function spokenStems(text: string): Set<string> {
  const words = contentStems(text);
  for (const word of text.toLowerCase().match(/\p{L}+/gu) ?? []) {
    const meant = Object.hasOwn(synonyms, word) ? synonyms[word] : undefined;
    if (meant !== undefined) words.add(stem(meant));
  }
  if (/\d\s*[-+*/x×÷^]\s*\d/.test(text))
    for (const each of ['math', 'calculate', 'calculator', 'expression']) words.add(stem(each));
  return words;
}

function scoreOf(tool: FunctionTool, words: ReadonlySet<string>): number {
  const named = stems(tool.name);
  const telling = [...named].filter((each) => !genericWords.has(each));
  let score = 0;
  for (const each of named) {
    if (words.has(each)) score += telling.length === 0 || telling.includes(each) ? nameWeight : 1;
  }
  for (const each of contentStems(tool.description ?? '')) {
    if (words.has(each) && !named.has(each) && !genericWords.has(each)) score += 1;
  }
  return score;
}

/** One call, or one for each place where the function takes one and the text names several. */
function callsOf(tool: FunctionTool, text: string): FunctionCall[] {
  const schema = asSchema(tool.parameters);
  const slot = Object.entries(asSchema(schema['properties'])).find(
    ([name, property]) => isPlaceName(name) && typesOf(asSchema(property)['type']).includes('string'),
  )?.[0];
  const hints = hintsFrom(text);
  const first = exampleOf(schema, { hints, optional: 'hinted' });
  const values = typeof first === 'object' && first !== null && !Array.isArray(first) ? first : {};
  const places = slot === undefined ? [] : placesIn(text);
  const taken = slot === undefined ? undefined : Reflect.get(values, slot);
  if (slot === undefined || places.length < 2 || !places.includes(String(taken))) {
    return [{ name: tool.name, arguments: JSON.stringify(values) }];
  }
  return places.map((place) => ({ name: tool.name, arguments: JSON.stringify({ ...values, [slot]: place }) }));
}
