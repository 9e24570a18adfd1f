import type { EntryPlace } from '../store.ts';
import type { Ancestor, EntryRow, ReadRows, Stretch, ThreadRow } from './rows.ts';
import { maxAncestors } from './rows.ts';
import { got, type Steps } from './steps.ts';

export type Lineage = Pick<ThreadRow, 'tree' | 'ancestors' | 'continues'>;

/** What a new thread `id` that grows out of `base`, in the thread `parent`, notes about where it comes from. */
export function lineageOf(id: string, base: EntryPlace | undefined, parent: ThreadRow | undefined): Lineage {
  // Where the parent is gone there is nothing left to see of it, and nothing to share a fate with.
  if (base === undefined || parent === undefined) return { tree: id, ancestors: [], continues: undefined };
  const own: readonly Ancestor[] = base.position < 0 ? [] : [[base.threadId, base.position]];
  if (parent.ancestors.length + own.length <= maxAncestors) {
    return { tree: parent.tree, ancestors: [...parent.ancestors, ...own], continues: parent.continues };
  }
  return { tree: parent.tree, ancestors: own, continues: parent.id };
}

/** What a thread saw of others, oldest first. */
export function* stretchesBefore(rows: ReadRows, tenant: string, thread: ThreadRow): Steps<Stretch[]> {
  const ancestors = thread.continues === undefined ? thread.ancestors : yield* got(rows.ancestors(tenant, thread));
  return ancestors.map(([threadId, to]) => stretch(threadId, thread.tree, to));
}

/** For backends that look the lists up one by one: one look-up for every `maxAncestors` forks. */
export function joinAncestors(
  thread: ThreadRow,
  find: (threadId: string) => ThreadRow | undefined,
): readonly Ancestor[] {
  const parts: (readonly Ancestor[])[] = [];
  for (let next: ThreadRow | undefined = thread; next !== undefined; ) {
    parts.push(next.ancestors);
    next = next.continues === undefined ? undefined : find(next.continues);
  }
  return parts.reverse().flat();
}

export function stretch(threadId: string, tree: string, to: number): Stretch {
  return { threadId, tree, from: 0, to, inputOnly: false };
}

/** One entry's input. */
export function inputStretch(entry: EntryRow): Stretch {
  const { threadId, tree, position } = entry;
  return { threadId, tree, from: position, to: position, inputOnly: true };
}
