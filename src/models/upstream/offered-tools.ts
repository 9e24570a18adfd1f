import { createHash } from 'node:crypto';
import type { JsonObject } from '../../api/primitives.ts';
import { type CallableTool, isCallable, type ModelTool } from '../../model.ts';
import { isObject, parsed } from './loose.ts';

/** The longest name that every upstream takes for a function. */
const maxNameLength = 64;

/** Which kinds of tools an upstream has beside plain functions. */
export type ToolKinds = { readonly namespaces: boolean; readonly customTools: boolean };

/** What a name in a call means to us. */
export type NamedTool = {
  readonly name: string;
  readonly namespace: string | undefined;
  /** A custom tool: what is called may be a function that stands for it. */
  readonly isCustom: boolean;
};

/**
 * How the tools of a call are named to an upstream that has no namespaces or no custom tools, and what its names mean.
 * A tool of a namespace is offered as `namespace__name`, a custom tool as a function of one string.
 */
export class OfferedTools {
  readonly #kinds: ToolKinds;
  readonly #byOffered = new Map<string, CallableTool>();
  readonly #offered = new Map<string, string>();

  constructor(tools: readonly ModelTool[], kinds: ToolKinds) {
    this.#kinds = kinds;
    const callable = tools.filter(isCallable);
    const taken = new Set(callable.filter(({ namespace }) => namespace === undefined).map(({ name }) => name));
    for (const tool of callable) {
      const namespace = tool.namespace?.name;
      const offered = kinds.namespaces || namespace === undefined ? tool.name : joined(namespace, tool.name, taken);
      if (namespace !== undefined) this.#offered.set(key(tool.name, namespace), offered);
      taken.add(offered);
      this.#byOffered.set(key(offered, kinds.namespaces ? namespace : undefined), tool);
    }
  }

  /** The upstream's name of a tool: one that is offered, or one that was called in an earlier turn. */
  nameOf(name: string, namespace: string | undefined): string {
    if (namespace === undefined || this.#kinds.namespaces) return name;
    return this.#offered.get(key(name, namespace)) ?? joined(namespace, name, new Set());
  }

  /** What the upstream calls by this name. */
  named(name: string, namespace: string | undefined): NamedTool {
    const tool = this.#byOffered.get(key(name, namespace));
    if (tool === undefined) return { name, namespace, isCustom: false };
    return { name: tool.name, namespace: tool.namespace?.name, isCustom: tool.type === 'custom' };
  }
}

/** The parameters of a function that stands for a custom tool. */
export const customParameters: JsonObject = {
  type: 'object',
  properties: { input: { type: 'string', description: 'The input of the tool, as it is.' } },
  required: ['input'],
  additionalProperties: false,
};

/** A custom tool's input as the arguments of the function that stands for it. */
export function wrapInput(input: string): string {
  return JSON.stringify({ input });
}

/**
 * A custom tool's input, out of the arguments of the function that stands for it: the property `input`, or the only
 * property that is a string; a JSON string; what is none of these is the input itself.
 */
export function unwrapInput(text: string): string {
  const value = parsed(text);
  if (typeof value === 'string') return value;
  if (!isObject(value)) return text;
  if (typeof value['input'] === 'string') return value['input'];
  const strings = Object.values(value).filter((each) => typeof each === 'string');
  return strings.length === 1 ? (strings[0] ?? text) : text;
}

function key(name: string, namespace: string | undefined): string {
  return namespace === undefined ? name : `${namespace}\n${name}`;
}

function joined(namespace: string, name: string, taken: ReadonlySet<string>): string {
  const plain = `${namespace}__${name}`;
  if (plain.length <= maxNameLength && !taken.has(plain)) return plain;
  // The same for the same tool in every turn, so that a model finds its earlier calls under the names that it knows.
  const digest = createHash('sha256').update(key(name, namespace)).digest('hex').slice(0, 8);
  return `${plain.slice(0, maxNameLength - digest.length - 1)}_${digest}`;
}
