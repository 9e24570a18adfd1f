import type { JsonObject } from '../../api/primitives.ts';
import { type CallableTool, isCallable, type ModelCall } from '../../model.ts';
import type { Budget } from './budget.ts';
import type { Conversation } from './conversation.ts';
import { hintsFrom, isPlaceName } from './hints.ts';
import { placesIn } from './reading.ts';
import { exampleOf } from './schema-example.ts';
import { asSchema, typesOf } from './schema-merge.ts';
import { contentStems, maxAnalysedChars, stem, stems } from './words.ts';

/** `arguments` of a custom tool are its input. */
export type FunctionCall = {
  readonly name: string;
  readonly arguments: string;
  readonly namespace?: string | undefined;
  readonly kind?: 'custom';
};

/** Calls in one turn of the model, and in all its turns for one question. */
const maxCallsPerTurn = 16;
const maxCallsPerQuestion = 64;
/** A name's own word is enough by itself, a describing word needs a second one. */
const nameWeight = 3;
const threshold = 2;
/** Of one description, and of all together. */
const maxDescriptionChars = 1_000;
const maxDescribingChars = 50_000;
const maxToolsPerWord = 32;
/** Properties among which one for a place is looked for. */
const maxSlots = 200;
/** Longer arguments are neither read nor repeated. */
const maxComparedChars = 20_000;

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
export function callsFor(call: ModelCall, conversation: Conversation, budget: Budget): FunctionCall[] {
  if (call.tools.length === 0 || call.toolChoice === 'none') return [];
  if (conversation.results.length >= maxCallsPerQuestion) return [];
  const text = conversation.prompt.slice(0, maxAnalysedChars);
  const planned = plannedCalls(call, text, budget);
  const open = unanswered(planned, conversation);
  return open.slice(0, call.parallelToolCalls === false ? 1 : maxCallsPerTurn);
}

function plannedCalls(call: ModelCall, text: string, budget: Budget): FunctionCall[] {
  const choice = call.toolChoice;
  const tools = call.tools.filter(isCallable);
  if (typeof choice === 'object') {
    const named = choice.type === 'hosted' ? undefined : tools.find((tool) => isNamed(tool, choice));
    return named === undefined ? [] : callsOf(named, text, budget);
  }
  const asked = askedTools(tools, text);
  const calls = asked.flatMap(({ tool, words }) => callsOf(tool, words, budget));
  const first = tools[0];
  return calls.length === 0 && choice === 'required' && first !== undefined ? callsOf(first, text, budget) : calls;
}

function isNamed(tool: CallableTool, { name, namespace }: { name: string; namespace?: string | undefined }): boolean {
  return tool.name === name && tool.namespace?.name === namespace;
}

function unanswered(planned: readonly FunctionCall[], conversation: Conversation): FunctionCall[] {
  const answered = new Map<string, number>();
  for (const result of conversation.results) {
    const key = keyOf(result);
    answered.set(key, (answered.get(key) ?? 0) + 1);
  }
  return planned.filter((each) => {
    const key = keyOf(each);
    const times = answered.get(key) ?? 0;
    answered.set(key, times - 1);
    return times <= 0;
  });
}

/** Long arguments are compared as they are written, others whatever blanks are between them. */
function keyOf(call: FunctionCall): string {
  if (call.arguments.length > maxComparedChars) return `${call.name} ${call.arguments}`;
  try {
    return `${call.name} ${JSON.stringify(JSON.parse(call.arguments))}`;
  } catch {
    return `${call.name} ${call.arguments}`;
  }
}

type Asked = { readonly tool: CallableTool; words: string };

/**
 * Each tool that the text asks for, with the clauses that speak of it: in `the weather in Paris and Rome, and the time
 * in Tokyo` the second clause belongs to the first tool. When no clause alone suffices, the whole text is tried.
 */
function askedTools(tools: readonly CallableTool[], text: string): Asked[] {
  const asked: Asked[] = [];
  const telling = tellingWords(tools);
  let newest: Asked | undefined;
  for (const clause of clausesOf(text)) {
    const tool = bestTool(tools, telling, clause);
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
  const whole = asked.length === 0 ? bestTool(tools, telling, text) : undefined;
  return whole === undefined ? asked : [{ tool: whole, words: text }];
}

/** The text in pieces that join to it again. At most 100. */
function clausesOf(text: string): string[] {
  return text.split(/(?<=[.!?;]\s)|(?<=\n)|(?=,? (?:and|then|also) )|(?=, )/i, 100);
}

/** What each word says for which tools. */
type Telling = ReadonlyMap<string, readonly { readonly tool: CallableTool; readonly weight: number }[]>;

/** Reads the names and the beginnings of the descriptions once. A word that many tools have tells none from another. */
function tellingWords(tools: readonly CallableTool[]): Telling {
  const words = new Map<string, { tool: CallableTool; weight: number }[]>();
  const add = (word: string, tool: CallableTool, weight: number) => {
    const known = words.get(word);
    if (known === undefined) words.set(word, [{ tool, weight }]);
    else if (known.length < maxToolsPerWord) known.push({ tool, weight });
  };
  let left = maxDescribingChars;
  for (const tool of tools) {
    const named = stems(tool.name);
    const generic = [...named].every((each) => genericWords.has(each));
    for (const each of named) add(each, tool, generic || !genericWords.has(each) ? nameWeight : 1);
    const description = (tool.description ?? '').slice(0, Math.min(left, maxDescriptionChars));
    left -= description.length;
    for (const each of contentStems(description)) {
      if (!named.has(each) && !genericWords.has(each)) add(each, tool, 1);
    }
  }
  return words;
}

function bestTool(tools: readonly CallableTool[], telling: Telling, text: string): CallableTool | undefined {
  const scores = new Map<CallableTool, number>();
  for (const word of spokenStems(text)) {
    for (const { tool, weight } of telling.get(word) ?? []) scores.set(tool, (scores.get(tool) ?? 0) + weight);
  }
  let best: CallableTool | undefined;
  let bestScore = threshold - 1;
  for (const tool of tools) {
    const score = scores.get(tool) ?? 0;
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
  if (/\d\s?[-+*/x×÷^]\s?\d/.test(text))
    for (const each of ['math', 'calculate', 'calculator', 'expression']) words.add(stem(each));
  return words;
}

/** One call, or one for each place where the function takes one and the text names several. */
function callsOf(tool: CallableTool, text: string, budget: Budget): FunctionCall[] {
  const { name } = tool;
  const namespace = tool.namespace?.name;
  if (tool.type === 'custom') return [{ name, namespace, arguments: text.trim(), kind: 'custom' }];
  const schema = asSchema(tool.parameters);
  const slot = placeSlot(asSchema(schema['properties']), budget);
  const hints = hintsFrom(text, budget);
  const first = exampleOf(schema, { hints, optional: 'hinted' }, budget);
  const values = typeof first === 'object' && first !== null && !Array.isArray(first) ? first : {};
  const only = { name, namespace, arguments: JSON.stringify(values) };
  const places = slot === undefined ? [] : placesIn(text);
  const taken = slot === undefined ? undefined : Reflect.get(values, slot);
  // Long arguments are not written once more for each place.
  const repeats = slot !== undefined && places.length > 1 && only.arguments.length <= maxComparedChars;
  if (!repeats || !places.includes(String(taken))) return [only];
  return places
    .slice(0, maxCallsPerQuestion)
    .map((place) => ({ name, namespace, arguments: JSON.stringify({ ...values, [slot]: place }) }));
}

/** The first of the properties that takes a place. */
function placeSlot(properties: JsonObject, budget: Budget): string | undefined {
  return budget
    .keysOf(properties)
    .slice(0, maxSlots)
    .find((name) => isPlaceName(name) && typesOf(asSchema(properties[name])['type']).includes('string'));
}
