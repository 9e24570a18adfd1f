import { figure, verdict } from './stats.ts';

/** What is to be reached at least, and what to go on towards from there. */
export type Target = { readonly least: number; readonly towards: number };

/** For what is better the more it is. */
export function atLeast(value: number, { least, towards }: Target): string {
  return `≥ ${figure(least)}: ${verdict(value >= least)}; ≥ ${figure(towards)}: ${verdict(value >= towards)}`;
}

/** For what is better the less it is. */
export function atMost(value: number, { least, towards }: Target): string {
  return `≤ ${figure(least)}: ${verdict(value <= least)}; ≤ ${figure(towards)}: ${verdict(value <= towards)}`;
}
