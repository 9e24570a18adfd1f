import { fstatSync, statSync } from 'node:fs';

/** Which file it is, whatever its path names later. As long as it is open, no other file can have the same. */
export type FileIdentity = { readonly dev: bigint; readonly ino: bigint };

export function identityOf(descriptor: number): FileIdentity {
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
