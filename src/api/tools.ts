import { z } from 'zod';
import { type JsonObject, jsonObjectSchema, maxTools, objectWith, optional, unsupported } from './primitives.ts';

const functionName = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[A-Za-z0-9_-]+$/, 'a function name has letters, digits, underscores and dashes only');

const functionToolSchema = z.strictObject({
  type: z.literal('function'),
  name: functionName,
  description: optional(z.string()),
  parameters: optional(jsonObjectSchema),
  strict: optional(z.boolean()),
});

/** Tools of OpenAI's API that this server can't run or pass on yet: refused by name. */
const laterToolTypes = [
  'apply_patch',
  'code_interpreter',
  'computer',
  'computer_use_preview',
  'custom',
  'file_search',
  'image_generation',
  'local_shell',
  'mcp',
  'namespace',
  'programmatic_tool_calling',
  'shell',
  'tool_search',
  'web_search',
  'web_search_2025_08_26',
  'web_search_preview',
  'web_search_preview_2025_03_11',
] as const;

const laterToolSchema = z
  .looseObject({ type: z.enum(laterToolTypes) })
  .superRefine((tool, context) =>
    context.addIssue({ code: 'custom', path: ['type'], ...unsupported(`The tool \`${tool.type}\``) }),
  );

export const toolsSchema = z
  .array(z.discriminatedUnion('type', [functionToolSchema, laterToolSchema]))
  .max(maxTools)
  .superRefine((tools, context) => {
    const names = new Set<string>();
    for (const [index, tool] of tools.entries()) {
      const name = tool.type === 'function' ? tool.name : undefined;
      if (name === undefined) continue;
      if (names.has(name)) {
        context.addIssue({
          code: 'custom',
          path: [index, 'name'],
          params: { code: 'invalid_value' },
          message: `two tools are called \`${name}\``,
        });
      }
      names.add(name);
    }
  })
  .transform((tools) => tools.filter((tool): tool is FunctionTool => tool.type === 'function'));

export type FunctionTool = z.infer<typeof functionToolSchema>;

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
  z.strictObject({ type: z.enum(laterToolTypes).exclude(['custom', 'mcp', 'namespace']) }),
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
