import type { Call } from './call.ts';
import {
  asDocument,
  at,
  type ChunkDocument,
  type ChunksOf,
  chunkId,
  chunks,
  documentVersion,
  type EntryDocument,
  entries,
  freshToken,
  inThread,
  optional,
  type Texts,
  text,
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
  readonly #tenant: string;
  readonly #thread: string;
  readonly #texts: Texts;
  readonly #writtenAt = Date.now();

  private constructor(tenant: string, thread: string, texts: Texts, stored: StoredTexts) {
    this.#tenant = tenant;
    this.#thread = thread;
    this.#texts = texts;
    this.stored = stored;
  }

  static async write(call: Call, tenant: string, thread: string, texts: Texts): Promise<TextWriter> {
    const { items, response } = texts;
    const responseBytes = Buffer.byteLength(response ?? '');
    const bytes = Buffer.byteLength(items ?? '') + responseBytes;
    const common = { bytes, responseBytes, ...optional('hasItems', items === undefined ? undefined : (true as const)) };
    if (bytes <= maxInlineBytes) {
      const inline = { ...common, ...optional('items', items), ...optional('response', response) };
      return new TextWriter(tenant, thread, texts, inline);
    }
    const parts = partsOf(texts);
    const owner = freshToken();
    const length = optional('itemsLength', items?.length);
    const named: ChunksOf = { owner, parts: parts.length, ...length, hasResponse: response !== undefined };
    const writer = new TextWriter(tenant, thread, texts, { ...common, chunks: named });
    await writeChunks(call, tenant, thread, owner, parts);
    return writer;
  }

  /** False where they were written so long ago that they must be written again. */
  get isFresh(): boolean {
    return this.stored.chunks === undefined || Date.now() - this.#writtenAt < maxAgeMs;
  }

  /**
   * To be called when the entry at `position` names the texts, and before anybody is told so. A clean-up whose clock is
   * far ahead may have come first: it dooms chunks, asks whether an entry names them, and then removes what is still
   * doomed. So what is not doomed by now stays, and all else is saved or written again.
   */
  async secure(call: Call, position: number): Promise<void> {
    const { chunks: named } = this.stored;
    if (named === undefined) return;
    const [tenant, thread] = [this.#tenant, this.#thread];
    const ours = { ...inThread(tenant, thread), owner: named.owner };
    const isDoomed = { doomed: { $exists: true } };
    const safe = await call.find(chunks, {
      filter: { ...ours, doomed: { $exists: false } },
      limit: named.parts,
      projection: { _id: 1 },
      isLatest: true,
    });
    if (safe.length === named.parts) return;
    await call.updateAll(chunks, { ...ours, ...isDoomed }, { $unset: { doomed: '' } });
    await writeChunks(call, tenant, thread, named.owner, partsOf(this.#texts));
    const place = at(tenant, { threadId: thread, position });
    const namer = await call.findLatest(entries, { ...place, 'chunks.owner': named.owner }, { _id: 1 });
    // Deleted meanwhile: whoever did that may have removed the chunks before they came back.
    if (namer === undefined) await removeChunks(call, { tenant, thread, chunks: named });
  }
}

function partsOf({ items, response }: Texts): readonly string[] {
  const whole = `${items ?? ''}${response ?? ''}`;
  const parts: string[] = [];
  for (let from = 0; from < whole.length; ) {
    const to = cutAt(whole, from + partChars);
    parts.push(whole.slice(from, to));
    from = to;
  }
  return parts;
}

/** Those that are there already stay as they are. */
async function writeChunks(
  call: Call,
  tenant: string,
  thread: string,
  owner: string,
  parts: readonly string[],
): Promise<void> {
  const createdAt = Date.now();
  for (let from = 0; from < parts.length; from += partsAtOnce) {
    const some = parts.slice(from, from + partsAtOnce).map((each, index): ChunkDocument => {
      const part = from + index;
      const _id = chunkId(tenant, thread, owner, part);
      const where = { tenant: text(tenant), thread: text(thread), owner, part };
      return { _id, v: documentVersion, ...where, text: each, createdAt };
    });
    await call.insertAll(chunks, some);
  }
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
  // An entry goes before its chunks, so this is damage, which nobody may take for an empty entry.
  throw new DamagedEntry(current);
}

/** An entry whose chunks are missing, some or all. Nobody can read it any more; it can be removed. */
export class DamagedEntry extends Error {
  constructor({ thread, position }: EntryDocument) {
    super(`The stored entry ${position} of ${thread} names texts that are not in the database`);
  }
}

/** Whether chunks are missing, asked by a change that changes nothing: a server that is out of date confirms none. */
export async function lacksChunks(call: Call, document: EntryDocument): Promise<boolean> {
  const { tenant, thread, chunks: named } = document;
  if (named === undefined) return false;
  const ours = { ...inThread(tenant, thread), owner: named.owner };
  return (await call.updateAll(chunks, ours, { $set: { v: documentVersion } })) < named.parts;
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
