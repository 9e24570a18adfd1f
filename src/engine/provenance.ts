import { createHash } from 'node:crypto';
import type { Item, ReasoningItem } from '../api/items.ts';
import type { ProviderData } from '../model.ts';
import { isSealed, type Sealer } from './sealer.ts';

/** An id of ours for a reasoning item: what stands behind the last underscore tells the provider. OpenAI's own have none. */
const ownId = /^rs_[0-9a-f]{48}_([0-9a-f]{4})$/;
const tags = new Map<string, string>();

function tagOf(provider: string): string {
  const known = tags.get(provider);
  if (known !== undefined) return known;
  const tag = createHash('sha256').update(provider).digest('hex').slice(0, 4);
  // Providers are configured, so that there are few.
  tags.set(provider, tag);
  return tag;
}

/**
 * The id of a reasoning item that this provider said. What an upstream encrypted itself is passed on as it is, so that
 * nothing but the id can tell whose it is.
 */
export function reasoningId(minted: string, provider: string): string {
  return `${minted}_${tagOf(provider)}`;
}

/** Items as one provider may see them, and what it said itself. */
export type Seen = {
  readonly items: readonly Item[];
  readonly providerData: ReadonlyMap<string, readonly ProviderData[]>;
};

const none: ReadonlyMap<string, readonly ProviderData[]> = new Map();

/**
 * Opens what this provider wants to have back, and takes out what others said: their sealed data, and what their
 * upstreams encrypted. A value that can't be opened is accepted and left out.
 */
export function seenBy(provider: string, items: readonly Item[], tenant: string, sealer: Sealer): Seen {
  if (!items.some((item) => item.type === 'reasoning' && item.encrypted_content !== undefined)) {
    return { items, providerData: none };
  }
  const providerData = new Map<string, readonly ProviderData[]>();
  const seen = items.map((item) => {
    if (item.type !== 'reasoning' || item.encrypted_content === undefined) return item;
    if (isSealed(item.encrypted_content)) {
      const opened = sealer.open(tenant, item.encrypted_content);
      if (opened?.provider === provider) providerData.set(item.id, opened.data);
      return withoutEncrypted(item);
    }
    const tag = ownId.exec(item.id)?.[1];
    return tag === undefined || tag === tagOf(provider) ? item : withoutEncrypted(item);
  });
  return { items: seen, providerData };
}

function withoutEncrypted({ encrypted_content: _, ...item }: ReasoningItem): ReasoningItem {
  return item;
}
