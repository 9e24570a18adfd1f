import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { ProviderData } from '../model.ts';

/** What a provider said and wants to have back. */
export type Sealed = { readonly provider: string; readonly data: readonly ProviderData[] };

/** What our sealed values begin with. The digit is the version of the format. */
const mark = 'orsp1.';
const nonceBytes = 12;
const tagBytes = 16;
/** Keys of tenants that are kept; the oldest is made anew. */
const maxKeys = 1_000;

/**
 * Seals what providers want to have back, so that it can travel with clients: encrypted and authenticated (AES-256-GCM),
 * each tenant with a key of its own, derived from the server's secret. Nobody can read, change or make up a value, or
 * use another tenant's.
 */
export class Sealer {
  readonly #secret: Buffer;
  readonly #keys = new Map<string, Buffer>();

  /** @param secret of at least 32 characters, the same on every server of one database. */
  constructor(secret: string) {
    this.#secret = Buffer.from(secret);
  }

  seal(tenant: string, sealed: Sealed): string {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#key(tenant), nonce);
    const text = JSON.stringify(sealed);
    const bytes = Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]);
    return mark + bytes.toString('base64url');
  }

  /** Undefined for what was not sealed here for this tenant: another server's value, another tenant's, a changed one. */
  open(tenant: string, value: string): Sealed | undefined {
    if (!isSealed(value)) return undefined;
    const bytes = Buffer.from(value.slice(mark.length), 'base64url');
    if (bytes.length < nonceBytes + tagBytes) return undefined;
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key(tenant), bytes.subarray(0, nonceBytes));
      decipher.setAuthTag(bytes.subarray(-tagBytes));
      const text = Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]);
      // Authentic, so that it has the form that `seal` gave it.
      return JSON.parse(text.toString()) as Sealed;
    } catch {
      return undefined;
    }
  }

  #key(tenant: string): Buffer {
    const known = this.#keys.get(tenant);
    if (known !== undefined) return known;
    const key = Buffer.from(hkdfSync('sha256', this.#secret, '', `open-responses provider data\n${tenant}`, 32));
    this.#keys.set(tenant, key);
    for (const oldest of this.#keys.keys()) {
      if (this.#keys.size <= maxKeys) break;
      this.#keys.delete(oldest);
    }
    return key;
  }
}

/** A secret for a server that was given none. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** Whether a value has the form of ours, whoever sealed it. */
export function isSealed(value: string): boolean {
  return value.startsWith(mark);
}
