import { type AskOptions, ask, type Question, type UpstreamAnswer } from './ask.ts';

/** Whether a provider looks at the keys that callers bring. `unknown`: it did not say. */
export type KeyCheck = 'strict' | 'open' | 'unknown';

/** A key that no provider has ever given out: whoever accepts it accepts anything. */
export const inventedKey = 'sk-open-responses-does-this-upstream-check-keys';

/** Answers of a proxy or of an overloaded server: they come before any look at a key, or instead of it. */
const passing: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);

const list: Question = {
  method: 'GET',
  resource: '/models',
  what: 'whether it checks keys',
  reads: (status) => status === 400,
};

/**
 * Asks a provider with a key that is none: first for its models, and where that says nothing, as with vendors that list
 * them to anybody, by a call that can't succeed. Never rejects.
 * @param resource what calls are posted to.
 */
export async function checkKeys(options: Omit<AskOptions, 'credential'>, resource: string): Promise<KeyCheck> {
  const asked = { ...options, credential: inventedKey };
  const listed = await answerTo(asked, list);
  if (listed !== undefined && refusesKey(listed.status, listed.body)) return 'strict';
  // Costs nothing, as it names no model.
  const called = await answerTo(asked, {
    method: 'POST',
    resource,
    body: '{}',
    what: 'whether it checks keys',
    reads: () => false,
  });
  if (called === undefined || passing.has(called.status)) return 'unknown';
  return isRefusal(called.status) ? 'strict' : 'open';
}

async function answerTo(options: AskOptions, question: Question): Promise<UpstreamAnswer | undefined> {
  try {
    return await ask(options, question);
  } catch {
    return undefined;
  }
}

function isRefusal(status: number): boolean {
  return status === 401 || status === 403;
}

/** Google answers 400 for a key that is none. Another 400 is about something else. */
function refusesKey(status: number, body: string): boolean {
  return isRefusal(status) || (status === 400 && /api[ _-]?key/i.test(body));
}
