import { expect } from 'vitest';
import type { Json } from './harness.ts';

/** What a client was told before the server died. */
export type Acknowledged = { readonly id: string; readonly text: string; readonly index: number };

/**
 * Runs turns of one chain until the server is gone, and of one conversation; keeps what was acknowledged: the 200 of a
 * JSON answer, or `response.completed` of a stream.
 */
export async function runTurns(url: string, state: TurnState, turns: number): Promise<void> {
  for (let done = 0; done < turns; done++) {
    const index = state.next++;
    const isStream = index % 2 === 0;
    const inConversation = state.conversation !== undefined && index % 3 === 0;
    const where = inConversation
      ? { conversation: state.conversation }
      : { previous_response_id: state.chain.at(-1)?.id ?? null, store: true };
    let answer: Json;
    try {
      answer = await ask(url, { model: 'demo', input: `Say exactly: turn ${index}`, stream: isStream, ...where });
    } catch {
      return;
    }
    if (answer === undefined) return;
    const told = { id: answer.id, text: `turn ${index}`, index };
    if (inConversation) state.conversationTurns.push(told);
    else state.chain.push(told);
  }
}

export type TurnState = {
  next: number;
  conversation: string | undefined;
  readonly chain: Acknowledged[];
  readonly conversationTurns: Acknowledged[];
};

/** A conversation to run turns in, and nothing told yet. */
export async function newTurnState(url: string): Promise<TurnState> {
  const headers = { 'content-type': 'application/json' };
  const created = await json(url, '/v1/conversations', { method: 'POST', headers, body: '{}' });
  return { next: 0, conversation: created.id, chain: [], conversationTurns: [] };
}

/** Everything that was acknowledged is there, whole and once; what was not may be there, but whole. */
export async function checkTurns(url: string, state: TurnState): Promise<void> {
  for (const { id, text } of [...state.chain, ...state.conversationTurns]) {
    const response = await json(url, `/v1/responses/${id}`);
    expect(response).toMatchObject({ id, status: 'completed' });
    expect(response.output.map((item: Json) => item.content[0].text)).toEqual([text]);
  }
  const newest = state.chain.at(-1);
  if (newest !== undefined) {
    const chain = await itemTexts(url, `/v1/responses/${newest.id}/input_items`);
    const expected = state.chain.flatMap(({ text }) => [`Say exactly: ${text}`, text]).slice(0, -1);
    expect(chain).toEqual(expected);
  }
  const items = await itemTexts(url, `/v1/conversations/${state.conversation}/items`);
  expect(new Set(items).size).toBe(items.length);
  for (const { text } of state.conversationTurns) {
    const at = items.indexOf(text);
    expect(items[at - 1]).toBe(`Say exactly: ${text}`);
  }
  expect(items.length % 2).toBe(0);
}

async function json(url: string, path: string, init?: RequestInit): Promise<Json> {
  const answer = await fetch(`${url}${path}`, init);
  expect(answer.status, path).toBe(200);
  return answer.json();
}

async function itemTexts(url: string, path: string): Promise<string[]> {
  const texts: string[] = [];
  let after = '';
  for (;;) {
    const page = await json(url, `${path}?order=asc&limit=100${after}`);
    texts.push(...page.data.map((item: Json) => item.content[0].text));
    if (!page.has_more) return texts;
    after = `&after=${page.last_id}`;
  }
}

async function ask(url: string, body: object): Promise<Json> {
  const answer = await fetch(`${url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  // The lease of a run that died with the server lives on for its time.
  if (answer.status === 400 && text.includes('conversation_locked')) return ask(url, body);
  if (answer.status !== 200) throw new Error(text);
  if (!text.startsWith('event:')) return JSON.parse(text);
  const last = text.split('\n\n').find((block) => block.startsWith('event: response.completed'));
  return last === undefined ? undefined : JSON.parse(last.slice(last.indexOf('data: ') + 6)).response;
}
