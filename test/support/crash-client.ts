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
