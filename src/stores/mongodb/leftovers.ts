import type { Call, Values } from './call.ts';
import { removeRest } from './conversations.ts';
import { isEmptyTree, sweepTree } from './deletion.ts';
import type { Deployment } from './deployment.ts';
import {
  asDocument,
  at,
  documentVersion,
  type EntryDocument,
  entries,
  ownerOf,
  rootPosition,
  tenantKey,
  text,
} from './documents.ts';
import type { Work } from './work.ts';

const entriesAtOnce = 500;
/** With so many of them the walk waits for the next round. */
const maxSuspects = 1_000;
/** Whoever is at it now is done by then. */
const settledAfterMs = 10 * 60_000;

/** `tree`: nothing is left in it but empty entries. `conversation`: something is there of it, and it is not. */
type Suspect = {
  readonly kind: 'tree' | 'conversation';
  readonly tenant: string;
  readonly id: string;
  readonly seenAtMs: number;
};

type Means = { readonly deployment: Pick<Deployment, 'run'>; workOf(call: Call): Work };

/**
 * What no mark leads to: the emptied entries of a tree whose last deletion died, and what was appended to a conversation so
 * late that its mark was gone, by a process that died before it could take it back. A walk through all entries finds them,
 * some in each round; what is still so in a later round is removed.
 */
export class Leftovers {
  readonly #means: Means;
  readonly #suspects = new Map<string, Suspect>();
  /** The `_id` that the walk has come to. */
  #after = '';

  constructor(means: Means) {
    this.#means = means;
  }

  /** Takes those that were found long enough ago, each once. */
  take(nowMs: number): readonly Suspect[] {
    const due = [...this.#suspects].filter(([, { seenAtMs }]) => seenAtMs < nowMs - settledAfterMs);
    for (const [key] of due) this.#suspects.delete(key);
    return due.map(([, suspect]) => suspect);
  }

  /** Removes what is still left over. */
  async remove({ kind, tenant, id }: Suspect): Promise<void> {
    const { deployment, workOf } = this.#means;
    await deployment.run(async (call) => {
      if (kind === 'tree') return sweepTree(workOf(call), tenant, id);
      // Asked by a change that changes nothing: a server that is out of date confirms none.
      const root = at(tenant, { threadId: id, position: rootPosition });
      const { isMatched } = await call.update(entries, root, { $set: { v: documentVersion } });
      if (!isMatched) await removeRest(workOf(call), tenant, id);
    });
  }

  /** One step of the walk. Resolves with whether it goes on in this round. */
  async look(nowMs: number): Promise<boolean> {
    if (this.#suspects.size >= maxSuspects) return false;
    const { deployment } = this.#means;
    const documents = await deployment.run((call) => entriesAfter(call, this.#after));
    const emptied = documents.filter(({ kind, hasItems }) => kind !== 'conversation' && hasItems === undefined);
    for (const [tenant, list] of Map.groupBy(documents, (each) => each.tenant)) {
      const owners = await deployment.run((call) => ownerless(call, tenant, list));
      for (const id of owners) this.#suspect('conversation', tenant, id, nowMs);
    }
    for (const [tenant, list] of Map.groupBy(emptied, (each) => each.tenant)) {
      for (const tree of new Set(list.map((each) => each.tree))) {
        if (await deployment.run((call) => isEmptyTree(call, tenant, tree))) this.#suspect('tree', tenant, tree, nowMs);
      }
    }
    const isAll = documents.length < entriesAtOnce;
    this.#after = isAll ? '' : (documents.at(-1)?._id ?? '');
    return !isAll;
  }

  #suspect(kind: Suspect['kind'], tenant: string, id: string, nowMs: number): void {
    const key = `${kind} ${tenantKey(tenant, id)}`;
    if (!this.#suspects.has(key)) this.#suspects.set(key, { kind, tenant, id, seenAtMs: nowMs });
  }
}

async function entriesAfter(call: Call, after: string): Promise<readonly EntryDocument[]> {
  const projection = { tenant: 1, thread: 1, position: 1, kind: 1, tree: 1, hasItems: 1, 'root.conversationId': 1 };
  const filter = { _id: { $gt: after } };
  const found = await call.find(entries, { filter, sort: { _id: 1 }, limit: entriesAtOnce, projection });
  return found.map(asDocument);
}

/** The conversations that these are of and that have no root: neither one that is there, nor the mark of a deletion. */
async function ownerless(call: Call, tenant: string, documents: readonly EntryDocument[]): Promise<readonly string[]> {
  const roots = new Set(documents.filter(({ position }) => position === rootPosition).map(({ thread }) => thread));
  const owners = new Set(documents.map(ownerOf).filter((owner) => owner !== undefined));
  const asked = [...owners].filter((owner) => !roots.has(owner));
  if (asked.length === 0) return [];
  const filter: Values = { tenant: text(tenant), thread: { $in: asked.map(text) }, position: rootPosition };
  const found = await call.find(entries, { filter, limit: asked.length, projection: { _id: 0, thread: 1 } });
  for (const each of found) roots.add(asDocument(each).thread);
  return asked.filter((owner) => !roots.has(owner));
}
