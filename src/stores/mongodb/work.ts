import type { Call, Values } from './call.ts';
import { at, type EntryDocument, entries, freshToken, liveRoot, text } from './documents.ts';
import type { AppendsInDoubt } from './in-doubt.ts';
import type { KeyedQueue } from './keyed-queue.ts';
import type { RootFacts } from './root-facts.ts';
import type { MongoReadRows } from './rows.ts';

/** What one change of the store works with. */
export type Work = {
  readonly call: Call;
  readonly rows: MongoReadRows;
  readonly facts: RootFacts;
  readonly inDoubt: AppendsInDoubt;
  /** Changes of this process that would only get into each other's way take turns. */
  readonly turns: KeyedQueue;
};

/** How often a change is tried that another one was faster at. A deadline ends it before, too. */
export const maxAttempts = 1_000;

type Target = Pick<EntryDocument, 'tenant' | 'thread' | 'position' | 'rev'>;

/**
 * Changes an entry that is as it was seen, or does not. Also where an answer was lost it tells truly whether this change
 * was made, unless another one came after it: then false, and the caller looks again.
 */
export async function changeEntry(work: Work, seen: Target, $set: Values, $unset: Values): Promise<boolean> {
  const { call } = work;
  const place = at(seen.tenant, { threadId: seen.thread, position: seen.position });
  const by = freshToken();
  const change = {
    $set: { ...$set, rev: seen.rev + 1, by },
    ...(Object.keys($unset).length === 0 ? {} : { $unset }),
  };
  const { isMatched, isUnsure } = await call.update(entries, { ...place, rev: seen.rev }, change);
  if (isMatched || !isUnsure) return isMatched;
  const found = await call.findLatest(entries, place, { _id: 0, by: 1 });
  return found?.['by'] === by;
}

/** Frees a conversation's lease. True: it was this holder's. */
export async function unlock(work: Work, tenant: string, id: string, holder: string): Promise<boolean> {
  const held = { ...liveRoot(tenant, id), 'lease.holder': text(holder) };
  return (await work.call.update(entries, held, { $unset: { lease: '' } })).isMatched;
}

/**
 * Whether a conversation is there, asked by a change that changes nothing. A question could be answered by a server that
 * has been deposed without knowing it; a change is confirmed by a majority.
 */
export async function isAlive(work: Work, tenant: string, id: string): Promise<boolean> {
  const { isMatched } = await work.call.update(entries, liveRoot(tenant, id), { $set: { position: -1 } });
  return isMatched;
}
