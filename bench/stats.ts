/** What a set of measured values says. */
export type Summary = { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number };

export function summarise(values: readonly number[]): Summary {
  const sorted = Float64Array.from(values).sort();
  return {
    count: sorted.length,
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    max: sorted.at(-1) ?? Number.NaN,
  };
}

export function median(values: readonly number[]): number {
  return quantile(Float64Array.from(values).sort(), 0.5);
}

function quantile(sorted: Float64Array, share: number): number {
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** Three significant digits, thousands apart. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  const rounded = Number(value.toFixed(Math.min(digits, 3)));
  return rounded.toLocaleString('en-US', { minimumFractionDigits: Math.min(digits, 3) });
}

/** The median over the rounds, and from where to where they went. */
export function spread(values: readonly number[]): string {
  const rough = `${figure(Math.min(...values))}–${figure(Math.max(...values))}`;
  return `${figure(median(values))} (${rough})`;
}

/** A table in Markdown; the first column is text, the others are figures. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const rule = head.map((_, at) => (at === 0 ? '---' : '---:'));
  return [head, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** Whether a target was met. Machines differ: a miss is printed, and fails nothing. */
export function verdict(isMet: boolean): string {
  return isMet ? 'met' : '**MISSED**';
}
