import type { CreateResponse } from '../api/create-response.ts';
import type { FunctionTool } from '../api/tools.ts';
import { invalidRequest } from '../errors.ts';
import type { ModelCall } from '../model.ts';

export type ToolPlan = Pick<ModelCall, 'tools' | 'toolChoice'>;

/**
 * Which tools go upstream, and what the model must do with them. `allowed_tools` is a hard constraint: only those go,
 * and `required` with one of them forces it (docs/wire.md §3).
 *
 * @throws ApiError 400 where the choice names a tool that the request does not offer.
 */
export function planTools(request: Pick<CreateResponse, 'tools' | 'tool_choice'>): ToolPlan {
  const tools = request.tools ?? [];
  const choice = request.tool_choice ?? 'auto';
  if (typeof choice === 'string') {
    if (choice === 'required' && tools.length === 0) {
      throw invalidRequest("Tool choice 'required' needs 'tools'.", 'tool_choice', 'invalid_value');
    }
    return { tools, toolChoice: choice };
  }
  switch (choice.type) {
    case 'function':
      find(tools, choice.name);
      return { tools, toolChoice: { name: choice.name } };
    case 'allowed_tools': {
      const allowed = [...new Set(choice.tools.map((each) => allowedTool(tools, each)))];
      const [only] = allowed;
      const isForced = choice.mode === 'required' && allowed.length === 1 && only !== undefined;
      return { tools: allowed, toolChoice: isForced ? { name: only.name } : choice.mode };
    }
    default:
      throw notOffered(choice.type);
  }
}

function allowedTool(
  tools: readonly FunctionTool[],
  named: { readonly type: string; readonly name?: unknown },
): FunctionTool {
  if (named.type !== 'function' || typeof named.name !== 'string') throw notOffered(named.type);
  return find(tools, named.name);
}

function find(tools: readonly FunctionTool[], name: string): FunctionTool {
  const tool = tools.find((each) => each.name === name);
  if (tool === undefined) throw notOffered(name);
  return tool;
}

function notOffered(name: string): Error {
  return invalidRequest(`Tool choice '${name}' not found in 'tools'.`, 'tool_choice', 'invalid_value');
}
