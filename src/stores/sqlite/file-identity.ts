import { closeSync, existsSync, fstatSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { UnusableDatabase } from '../../store-admin.ts';

/** Which file it is, whatever its path names later. As long as it is open, no other file can have the same. */
export type FileIdentity = { readonly dev: bigint; readonly ino: bigint };

function identityOf(descriptor: number): FileIdentity {
  const { dev, ino } = fstatSync(descriptor, { bigint: true });
  return { dev, ino };
}

/** What is written to a file that was deleted or replaced is lost with the process, and SQLite does not tell. */
export function isInPlace(path: string, { dev, ino }: FileIdentity): boolean {
  try {
    const now = statSync(path, { bigint: true, throwIfNoEntry: false });
    return now?.dev === dev && now.ino === ino;
  } catch {
    // Its folder is gone, or may not be looked into any more.
    return false;
  }
}

export function goneMessage(path: string): string {
  return `The SQLite database can't serve now: ${path} was deleted or replaced while it was in use; restart the server`;
}

/** Conversations are nobody else's business on this machine. SQLite gives its other files the mode of the first. */
export function createFile(path: string): FileIdentity {
  try {
    // One folder at most: a whole tree is more likely a slip of the pen. (Node also never returns from a recursive mkdir
    // below /proc.)
    const folder = dirname(path);
    if (!existsSync(folder)) mkdirSync(folder);
    const descriptor = openSync(path, 'a', 0o600);
    try {
      return identityOf(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UnusableDatabase(`The SQLite database can't be created: ${reason}`, { cause });
  }
}
