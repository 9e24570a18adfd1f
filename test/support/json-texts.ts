import fc from 'fast-check';

/** A JSON value with everything that a text can say of it: names may come twice, in any order, spelled in any way. */
export type Node =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'string'; readonly value: Spelled }
  | { readonly kind: 'list'; readonly nodes: readonly Node[] }
  | { readonly kind: 'object'; readonly pairs: readonly (readonly [Spelled, Node])[] };

/** A string as it stands between its quotes. */
export type Spelled = string;

const plain = ['a', 'f', 'u', 'un', '0', '1', '12', '', 'ü', '€', '😀', '\u2028', 'toString', '__proto__', '_'];
const escapedOnly = ['\\\\', '\\"', '\\n', '\\r', '\\t', '\\b', '\\f', '\\\\u', '\\\\n', '\\u0000', '\\u001F'];
const escapedToo = ['\\u00fc', '\\u00FC', '\\u0061', '\\u0030', '\\/', '\\u005f', '\\u2028', '\\u0022', '\\u005c'];
const halves = ['\\ud83d', '\\ude00', '\\udfff', '\\udfff0', '\\ud83d\\ude00', '\\uDFFF1'];
const piece = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...plain) },
  fc.constantFrom(...escapedOnly),
  fc.constantFrom(...escapedToo),
  fc.constantFrom(...halves),
  // Beyond what is looked at byte by byte.
  { weight: 1, arbitrary: fc.constantFrom('x'.repeat(63), 'y'.repeat(64), 'z'.repeat(70)) },
);
const spelled: fc.Arbitrary<Spelled> = fc.array(piece, { maxLength: 4 }).map((pieces) => pieces.join(''));
const literal = fc.constantFrom('0', '-0', '1.5e3', '-12', '1e400', 'true', 'false', 'null');

export const nodes: fc.Arbitrary<Node> = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    literal.map((text): Node => ({ kind: 'literal', text })),
    spelled.map((value): Node => ({ kind: 'string', value })),
    fc.array(tie('node'), { maxLength: 4 }).map((list): Node => ({ kind: 'list', nodes: list })),
    fc.array(fc.tuple(spelled, tie('node')), { maxLength: 5 }).map((pairs): Node => ({ kind: 'object', pairs })),
  ),
})).node;

/** @param space what stands wherever white space may. */
export function textOfNode(node: Node, space = '', name: (spelled: Spelled) => Spelled = (same) => same): string {
  switch (node.kind) {
    case 'literal':
      return `${space}${node.text}${space}`;
    case 'string':
      return `${space}"${node.value}"${space}`;
    case 'list':
      return `${space}[${space}${node.nodes.map((each) => textOfNode(each, space, name)).join()}]${space}`;
    case 'object': {
      const pairs = node.pairs.map(([key, each]) => `${space}"${name(key)}"${space}:${textOfNode(each, space, name)}`);
      return `${space}{${space}${pairs.join()}}${space}`;
    }
    default:
      return node satisfies never;
  }
}

/** The value by definition: names and strings are read one by one, as plain strings. */
export function valueOfNode(node: Node): unknown {
  switch (node.kind) {
    case 'literal':
      return JSON.parse(node.text);
    case 'string':
      return JSON.parse(`"${node.value}"`);
    case 'list':
      return node.nodes.map(valueOfNode);
    case 'object': {
      const object = {};
      for (const [key, each] of node.pairs) {
        const value = valueOfNode(each);
        const own = { configurable: true, enumerable: true, writable: true, value };
        Object.defineProperty(object, JSON.parse(`"${key}"`), own);
      }
      return object;
    }
    default:
      return node satisfies never;
  }
}

export function hasEscapedName(node: Node): boolean {
  if (node.kind === 'list') return node.nodes.some(hasEscapedName);
  return node.kind === 'object' && node.pairs.some(([key, each]) => key.includes('\\') || hasEscapedName(each));
}

/**
 * The name for which V8 mistakes an escaped one, once it was seen in the same place: as much of the text as the name
 * has characters.
 */
export function trapFor(key: Spelled): Spelled {
  const { length } = JSON.parse(`"${key}"`) as string;
  return JSON.stringify(key.slice(0, length)).slice(1, -1);
}
