import { z } from 'zod';
import { type JsonObject, jsonObjectSchema, maxTextLength, maxTools, objectWith, optional } from './primitives.ts';

const functionName = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9_-]+$/, 'a function name has letters, digits, underscores and dashes only');

/** Fields of the August 2026 description that only an upstream which has them can act on. */
const callableExtras = {
  defer_loading: optional(z.boolean()),
  allowed_callers: optional(z.array(z.string().max(64)).min(1).max(16)),
};

const functionToolSchema = z.strictObject({
  type: z.literal('function'),
  name: functionName,
  description: optional(z.string()),
  parameters: optional(jsonObjectSchema),
  strict: optional(z.boolean()),
  output_schema: optional(jsonObjectSchema),
  ...callableExtras,
});

const customToolSchema = z.strictObject({
  type: z.literal('custom'),
  name: functionName,
  description: optional(z.string()),
  format: optional(
    z.discriminatedUnion('type', [
      z.strictObject({ type: z.literal('text') }),
      z.strictObject({
        type: z.literal('grammar'),
        syntax: z.enum(['lark', 'regex']),
        definition: z.string().max(maxTextLength),
      }),
    ]),
  ),
  ...callableExtras,
});

/** A group of functions and custom tools under one name, as coding agents send them. */
const namespaceSchema = z.strictObject({
  type: z.literal('namespace'),
  name: functionName,
  description: z.string(),
  tools: z
    .array(z.discriminatedUnion('type', [functionToolSchema, customToolSchema]))
    .min(1)
    .max(maxTools),
});

/** Tools that run upstream. Only a model whose upstream speaks Responses has them; their fields are that upstream's to check. */
export const hostedToolTypes = [
  'apply_patch',
  'code_interpreter',
  'computer',
  'computer_use_preview',
  'file_search',
  'image_generation',
  'local_shell',
  'mcp',
  'programmatic_tool_calling',
  'shell',
  'tool_search',
  'web_search',
  'web_search_2025_08_26',
  'web_search_preview',
  'web_search_preview_2025_03_11',
] as const;

const hostedToolSchema = z.looseObject({ type: z.enum(hostedToolTypes) });

export const toolsSchema = z
  .array(z.discriminatedUnion('type', [functionToolSchema, customToolSchema, namespaceSchema, hostedToolSchema]))
  .max(maxTools)
  .superRefine((tools, context) => {
    const names = new Set<string>();
    let count = 0;
    const visit = (tool: Tool, prefix: string, path: (string | number)[]): void => {
      count += 1;
      if (!('name' in tool) || typeof tool.name !== 'string' || !isNamed(tool)) return;
      const name = prefix + tool.name;
      if (names.has(name)) {
        const message = `two tools are called \`${tool.name}\``;
        context.addIssue({ code: 'custom', path: [...path, 'name'], params: { code: 'invalid_value' }, message });
      }
      names.add(name);
    };
    for (const [index, tool] of tools.entries()) {
      if (tool.type !== 'namespace') visit(tool, '', [index]);
      else for (const [at, inner] of tool.tools.entries()) visit(inner, `${tool.name}\n`, [index, 'tools', at]);
    }
    if (count > maxTools) context.addIssue({ code: 'too_big', origin: 'array', maximum: maxTools, input: tools });
  });

function isNamed({ type }: Tool): boolean {
  return type === 'function' || type === 'custom';
}

export type FunctionTool = z.infer<typeof functionToolSchema>;
export type CustomTool = z.infer<typeof customToolSchema>;
export type NamespaceTool = z.infer<typeof namespaceSchema>;
export type HostedTool = z.infer<typeof hostedToolSchema>;
/** A tool as a request names it. */
export type Tool = FunctionTool | CustomTool | NamespaceTool | HostedTool;

const modes = z.enum(['none', 'auto', 'required']);

const objectChoiceSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('function'), name: z.string().min(1) }),
  z.strictObject({
    type: z.literal('allowed_tools'),
    mode: z.enum(['auto', 'required']),
    tools: z.array(objectWith('type', 'name')).min(1).max(maxTools),
  }),
  z.strictObject({ type: z.literal('custom'), name: z.string().min(1) }),
  z.strictObject({ type: z.literal('mcp'), server_label: z.string().min(1), name: optional(z.string()) }),
  z.strictObject({ type: z.enum(hostedToolTypes).exclude(['mcp']) }),
]);

/** A mode, or an object that names a tool or the tools allowed (docs/wire.md §3). */
export const toolChoiceSchema = z.union([modes, objectChoiceSchema]);

export type ToolChoice = z.infer<typeof toolChoiceSchema>;

/** A function as a snapshot shows it: every key present, `strict` true when omitted (docs/wire.md §2). */
export type FunctionToolEcho = {
  readonly type: 'function';
  readonly name: string;
  readonly description: string | null;
  readonly parameters: JsonObject | null;
  readonly strict: boolean | null;
};

/** Any tool as a snapshot shows it. Those that are no functions as they were given, without nulls. */
export type ToolEcho = FunctionToolEcho | (JsonObject & { readonly type: string });
