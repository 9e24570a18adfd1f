import { createHash } from 'node:crypto';
import type { CallIdRule } from '../profiles.ts';

/** An id of a call in the form that a vendor takes: the same for the same id in every turn. */
export function toCallId(id: string, rule: CallIdRule | undefined): string {
  if (rule === undefined || rule.pattern.test(id)) return id;
  const digest = createHash('sha256').update(id).digest('hex');
  return BigInt(`0x${digest}`).toString(36).slice(0, rule.length);
}
