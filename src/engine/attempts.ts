import type { Item } from '../api/items.ts';
import type { ApiError, ErrorKind } from '../errors.ts';
import type { ResolvedModel } from '../model.ts';
import { shortened } from './truncation.ts';

/** Who is asked, and with which items. */
export type Attempt = {
  readonly resolved: ResolvedModel;
  readonly items: readonly Item[];
  /** How often the items were shortened. */
  readonly cuts: number;
};

/** 0.7 ** 16: three thousandths of the text are left. */
const maxCuts = 16;

/** Failures that another model need not share. A request that one refuses as wrong, others refuse too. */
const passing: ReadonlySet<ErrorKind> = new Set([
  'rate_limited',
  'upstream_failed',
  'upstream_unavailable',
  'upstream_timeout',
]);
const passingCodes: ReadonlySet<string> = new Set(['model_not_found', 'context_length_exceeded']);

/**
 * What is tried after a failure with nothing said: fewer items, where the request allows that, then the next model.
 * Undefined where the failure stands. A caller whose own key was refused is sent on to nobody else's.
 */
export function nextAttempt(
  failed: Attempt,
  error: ApiError,
  all: { readonly items: readonly Item[]; readonly truncates: boolean },
): Attempt | undefined {
  const { resolved, items, cuts } = failed;
  if (all.truncates && error.code === 'context_length_exceeded' && cuts < maxCuts) {
    const fewer = shortened(items);
    if (fewer !== undefined) return { resolved, items: fewer, cuts: cuts + 1 };
  }
  const { fallback } = resolved;
  if (fallback === undefined) return undefined;
  if (!passing.has(error.kind) && !passingCodes.has(error.code ?? '')) return undefined;
  // Its context may be longer.
  return { resolved: fallback, items: all.items, cuts: 0 };
}
