import { type Item, isCall, isCallOutput } from '../../api/items.ts';
import type { ContentPart, InputImagePart } from '../../api/parts.ts';
import type { ModelCall } from '../../model.ts';

/** A function call of the current turn whose output is known. */
export type Result = {
  readonly name: string;
  readonly arguments: string;
  readonly text: string;
  readonly images: readonly string[];
};

/** What the scripts need to know of a call's items. */
export type Conversation = {
  /** The words of the newest user message that has any. */
  readonly prompt: string;
  /** The words of all user messages, oldest first; the last of them is the prompt. */
  readonly userTexts: readonly string[];
  /** User and assistant messages so far, the newest included. */
  readonly messageCount: number;
  /** Images of the user messages that no answer stands behind yet, and of all. */
  readonly newImages: readonly string[];
  readonly allImages: readonly string[];
  /** The instructions, then the system and developer messages. */
  readonly guidance: string;
  /** The calls since the newest user message. */
  readonly results: readonly Result[];
  readonly callIds: ReadonlySet<string>;
};

type Content = { readonly text: string; readonly images: readonly string[] };

/** The text of an item, and the URLs of its images. */
export function textOf(item: Item): Content {
  switch (item.type) {
    case 'message':
      return contentOf(item.content);
    case 'function_call':
      return { text: `${item.name} ${item.arguments}`, images: [] };
    case 'custom_tool_call':
      return { text: `${item.name} ${item.input}`, images: [] };
    case 'function_call_output':
    case 'custom_tool_call_output':
      return typeof item.output === 'string' ? { text: item.output, images: [] } : contentOf(item.output);
    case 'reasoning':
      return { text: item.summary.map((part) => part.text).join('\n'), images: [] };
    default:
      return { text: '', images: [] };
  }
}

function contentOf(parts: readonly (ContentPart | InputImagePart)[]): Content {
  const texts: string[] = [];
  const images: string[] = [];
  for (const part of parts) {
    if (part.type === 'input_image') images.push(part.image_url);
    else if (part.type === 'input_file') texts.push(`[file ${part.filename ?? part.file_url ?? ''}]`);
    else if (part.type === 'refusal') texts.push(part.refusal);
    else texts.push(part.text);
  }
  return { text: texts.join('\n'), images };
}

export function readConversation(call: ModelCall): Conversation {
  const userTexts: string[] = [];
  const allImages: string[] = [];
  let newImages: string[] = [];
  let answered = false;
  let messageCount = 0;
  const guidance = call.instructions === undefined ? [] : [call.instructions];
  for (const item of call.items) {
    if (item.type !== 'message') {
      answered = true;
      continue;
    }
    const { text, images } = textOf(item);
    if (item.role === 'system' || item.role === 'developer') {
      guidance.push(text);
      continue;
    }
    messageCount += 1;
    if (item.role === 'user') {
      if (answered) newImages = [];
      answered = false;
      newImages.push(...images);
      allImages.push(...images);
      if (text.trim() !== '') userTexts.push(text);
    } else {
      answered = true;
    }
  }
  const prompt = userTexts.at(-1)?.trim() ?? '';
  const guided = guidance.join('\n');
  return { prompt, userTexts, messageCount, newImages, allImages, guidance: guided, ...readCalls(call.items) };
}

function readCalls(items: readonly Item[]): Pick<Conversation, 'results' | 'callIds'> {
  const turn = items.findLastIndex((item) => item.type === 'message' && item.role === 'user');
  const callIds = new Set<string>();
  const open = new Map<string, { name: string; arguments: string }>();
  const results: Result[] = [];
  for (const [index, item] of items.entries()) {
    if (isCall(item)) {
      callIds.add(item.call_id);
      const given = item.type === 'function_call' ? item.arguments : item.input;
      if (index > turn) open.set(item.call_id, { name: item.name, arguments: given });
    } else if (isCallOutput(item)) {
      const asked = open.get(item.call_id);
      if (asked !== undefined) results.push({ name: asked.name, arguments: asked.arguments, ...textOf(item) });
    }
  }
  return { results, callIds };
}
