import type { CreateResponse } from '../api/create-response.ts';
import type { JsonObject } from '../api/primitives.ts';
import type { Tool } from '../api/tools.ts';
import { invalidRequest } from '../errors.ts';
import { isCallable, type ModelCall, type ModelTool, type ModelToolChoice } from '../model.ts';

export type ToolPlan = Pick<ModelCall, 'tools' | 'toolChoice'>;

/**
 * Which tools go upstream, and what the model must do with them. `allowed_tools` is a hard constraint: only those go,
 * and `required` with one of them forces it (docs/wire.md §3). The tools of a namespace go one by one.
 *
 * @throws ApiError 400 where the choice names a tool that the request does not offer.
 */
export function planTools(request: Pick<CreateResponse, 'tools' | 'tool_choice'>): ToolPlan {
  const tools = (request.tools ?? []).flatMap(toModelTools);
  const choice = request.tool_choice ?? 'auto';
  if (typeof choice === 'string') {
    if (choice === 'required' && tools.length === 0) {
      throw invalidRequest("Tool choice 'required' needs 'tools'.", 'tool_choice', 'invalid_value');
    }
    return { tools, toolChoice: choice };
  }
  if (choice.type !== 'allowed_tools') {
    const [tool] = find(tools, choice);
    return { tools, toolChoice: forced(tool, choice) };
  }
  const allowed = [...new Set(choice.tools.flatMap((each) => find(tools, each)))];
  const [only] = allowed;
  const isForced = choice.mode === 'required' && allowed.length === 1 && only !== undefined;
  return { tools: allowed, toolChoice: isForced ? forced(only, choice.tools[0] ?? choice) : choice.mode };
}

function toModelTools(tool: Tool): ModelTool[] {
  if (tool.type !== 'namespace') return [tool];
  const namespace = { name: tool.name, description: tool.description };
  return tool.tools.map((inner) => ({ ...inner, namespace }));
}

type Named = JsonObject & { readonly type: string };

/** The tools that a choice means: one, or all of a namespace. @throws ApiError where there is none. */
function find(tools: readonly ModelTool[], named: Named): [ModelTool, ...ModelTool[]] {
  const [first, ...others] = tools.filter((tool) => isMeant(tool, named));
  if (first !== undefined) return named.type === 'namespace' ? [first, ...others] : [first];
  const { name = named['server_label'] ?? named.type } = named;
  throw invalidRequest(
    `Tool choice '${String(name).slice(0, 200)}' not found in 'tools'.`,
    'tool_choice',
    'invalid_value',
  );
}

function isMeant(tool: ModelTool, named: Named): boolean {
  const { name } = named;
  if (named.type === 'namespace') return isCallable(tool) && name !== undefined && tool.namespace?.name === name;
  if (tool.type !== named.type) return false;
  if (!isCallable(tool)) return named['server_label'] === undefined || tool['server_label'] === named['server_label'];
  const { namespace } = named;
  return tool.name === name && (namespace === undefined || namespace === null || tool.namespace?.name === namespace);
}

function forced(tool: ModelTool, choice: JsonObject): ModelToolChoice {
  if (!isCallable(tool)) return { type: 'hosted', choice };
  const { type, name } = tool;
  return { type, name, ...(tool.namespace === undefined ? {} : { namespace: tool.namespace.name }) };
}
