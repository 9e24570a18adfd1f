import type { ModelEvent } from '../../src/model.ts';
import { dialectOf } from '../../src/models/responses/dialects.ts';
import { createResponsesModel } from '../../src/models/responses/model.ts';
import type { Handler } from '../support/upstream.ts';
import { type Setting, upstreamScene } from './support.ts';

export type ResponsesSetting = Setting & { readonly store?: boolean };

/** A model over a scripted upstream that speaks Responses. */
export async function responsesScene(script: Handler | readonly Handler[], setting: ResponsesSetting = {}) {
  const { options, ...rest } = await upstreamScene(script, setting);
  const { profile = 'openai', store = false } = setting;
  return { ...rest, model: createResponsesModel({ ...options, dialect: dialectOf(profile), store }) };
}

/** What was said, with neighbouring deltas of a kind joined: what an answer says however it is cut. */
export function joined(events: readonly ModelEvent[]): ModelEvent[] {
  const result: ModelEvent[] = [];
  for (const event of events) {
    const last = result.at(-1);
    if (event.type === 'text' && last?.type === 'text') {
      result[result.length - 1] = { ...last, delta: last.delta + event.delta };
    } else if (event.type === 'refusal' && last?.type === 'refusal') {
      result[result.length - 1] = { ...last, delta: last.delta + event.delta };
    } else if (event.type === 'reasoning' && last?.type === 'reasoning' && event.summary?.part === last.summary?.part) {
      result[result.length - 1] = { ...last, delta: last.delta + event.delta };
    } else if (event.type === 'tool_arguments' && last?.type === 'tool_arguments' && last.index === event.index) {
      result[result.length - 1] = { ...last, delta: last.delta + event.delta };
    } else {
      result.push(event);
    }
  }
  return result;
}
