/**
 * Reads a query as OpenAI's SDKs write it: arrays as `include[]=a&include[]=b`; a bare `include=a`, repeated or not, is
 * the same (docs/wire.md §1). Of any other name that is repeated, the last one counts.
 */
export function parseQuery(text: string): Record<string, unknown> {
  const query: Record<string, unknown> = {};
  for (const [key, value] of new URLSearchParams(text)) {
    const name = key.replace(/\[\d*\]$/, '');
    if (name === 'include') {
      const list = query['include'];
      if (Array.isArray(list)) list.push(value);
      else query['include'] = [value];
    } else {
      Object.defineProperty(query, name, { value, enumerable: true, configurable: true, writable: true });
    }
  }
  return query;
}
