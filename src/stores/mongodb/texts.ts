import { ObjectId } from 'mongodb';
import type { Call } from './call.ts';
import {
  asDocument,
  at,
  type ChunksOf,
  chunks,
  type EntryDocument,
  entries,
  freshToken,
  inThread,
  optional,
  type Texts,
} from './documents.ts';

/** Up to here texts lie in their entry's document; a document ends at 16 MB. */
const maxInlineBytes = 1024 * 1024;
/** A character takes up to 3 bytes, so that a part stays below 1 MiB. */
const partChars = 300_000;
/** Parts in one message. */
const partsAtOnce = 12;
/** What is older than this is written anew before an entry names it: the clean-up must never be near. */
const maxAgeMs = 10 * 60_000;

/** Where the texts of an entry lie: in its document, or in chunks that were written before it. */
export type StoredTexts = Pick<EntryDocument, 'items' | 'response' | 'chunks' | 'hasItems' | 'bytes' | 'responseBytes'>;

/** Texts on their way into an entry of one thread. */
export class TextWriter {
  readonly stored: StoredTexts;
  readonly #writtenAt: number;

  private constructor(stored: StoredTexts, writtenAt: number) {
    this.stored = stored;
    this.#writtenAt = writtenAt;
  }

  static async write(call: Call, tenant: string, thread: string, texts: Texts): Promise<TextWriter> {
    const { items, response } = texts;
    const responseBytes = Buffer.byteLength(response ?? '');
    const bytes = Buffer.byteLength(items ?? '') + responseBytes;
    const common = { bytes, responseBytes, ...optional('hasItems', items === undefined ? undefined : (true as const)) };
    const writtenAt = Date.now();
    if (bytes <= maxInlineBytes) {
      return new TextWriter({ ...common, ...optional('items', items), ...optional('response', response) }, writtenAt);
    }
    const named = await writeChunks(call, tenant, thread, texts);
    return new TextWriter({ ...common, chunks: named }, writtenAt);
  }

  /** False where they were written so long ago that they must be written again. */
  get isFresh(): boolean {
    return this.stored.chunks === undefined || Date.now() - this.#writtenAt < maxAgeMs;
  }
}

async function writeChunks(call: Call, tenant: string, thread: string, texts: Texts): Promise<ChunksOf> {
  const { items, response } = texts;
  const owner = freshToken();
  const whole = `${items ?? ''}${response ?? ''}`;
  const createdAt = Date.now();
  let batch: object[] = [];
  let part = 0;
  for (let from = 0; from < whole.length; part += 1) {
    const to = cutAt(whole, from + partChars);
    batch.push({
      _id: new ObjectId(),
      ...inThread(tenant, thread),
      owner,
      part,
      text: whole.slice(from, to),
      createdAt,
    });
    from = to;
    if (batch.length < partsAtOnce && from < whole.length) continue;
    await call.insertAll(chunks, batch as never);
    batch = [];
  }
  return { owner, parts: part, ...optional('itemsLength', items?.length), hasResponse: response !== undefined };
}

/** Never between the halves of a character. */
function cutAt(whole: string, near: number): number {
  if (near >= whole.length) return whole.length;
  const unit = whole.charCodeAt(near - 1);
  return unit >= 0xd800 && unit < 0xdc00 ? near - 1 : near;
}

/** Removes the chunks that an entry named, or was to name. */
export async function removeChunks(
  call: Call,
  document: Pick<EntryDocument, 'tenant' | 'thread' | 'chunks'>,
): Promise<void> {
  const { tenant, thread, chunks: named } = document;
  if (named === undefined) return;
  await call.remove(chunks, { ...inThread(tenant, thread), owner: named.owner });
}

/**
 * The texts of an entry. Undefined where the entry is gone. An entry that changes while its chunks are read is looked at
 * again, so `document` may not be what the texts belong to: the returned one is.
 */
export async function readTexts(
  call: Call,
  document: EntryDocument,
): Promise<{ readonly document: EntryDocument; readonly texts: Texts } | undefined> {
  let current = document;
  for (let attempt = 0; attempt < 10; attempt += 1) {
    if (current.chunks === undefined) {
      return { document: current, texts: { items: current.items, response: current.response } };
    }
    const texts = await readChunks(call, current, current.chunks);
    if (texts !== undefined) return { document: current, texts };
    const place = { threadId: current.thread, position: current.position };
    const again = await call.findOne(entries, at(current.tenant, place));
    if (again === undefined) return undefined;
    current = asDocument(again);
    await call.pause(attempt);
  }
  // An entry whose chunks are missing for good: it was being deleted when its server died.
  return { document: current, texts: { items: undefined, response: undefined } };
}

async function readChunks(call: Call, document: EntryDocument, named: ChunksOf): Promise<Texts | undefined> {
  const parts: string[] = [];
  while (parts.length < named.parts) {
    const found = await call.find(chunks, {
      filter: {
        ...inThread(document.tenant, document.thread),
        owner: named.owner,
        part: { $gte: parts.length, $lt: parts.length + partsAtOnce },
      },
      sort: { part: 1 },
      limit: partsAtOnce,
      projection: { _id: 0, part: 1, text: 1 },
    });
    const before = parts.length;
    for (const each of found) if (each['part'] === parts.length) parts.push(String(each['text']));
    if (parts.length === before) return undefined;
  }
  const whole = parts.join('');
  const { itemsLength, hasResponse } = named;
  return {
    items: itemsLength === undefined ? undefined : whole.slice(0, itemsLength),
    response: hasResponse ? whole.slice(itemsLength ?? 0) : undefined,
  };
}
