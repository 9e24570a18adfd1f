import type { WriteOperation, WriteResult } from '../writing.ts';
import type { WriterSetup } from './connection.ts';
import type { FileIdentity } from './file-identity.ts';

/** What the main thread and the writer's thread say to each other. */
export type WriterData = WriterSetup & { readonly file: FileIdentity };

/** `ping` changes no data, but has to get the lock that a change needs, and room on the disk after that was missing. */
export type WriterOperation = WriteOperation | { readonly kind: 'ping' };

export type Submission = { readonly number: number; readonly operation: WriterOperation };

export type ToWriter =
  | { readonly kind: 'submit'; readonly submissions: readonly Submission[] }
  | { readonly kind: 'close' };

export type FromWriter =
  | { readonly kind: 'open' }
  /** The database can't be used at all; the thread ends. */
  | { readonly kind: 'unusable'; readonly message: string }
  | { readonly kind: 'unavailable'; readonly message: string }
  | { readonly kind: 'answers'; readonly answers: readonly Answer[] };

export type Answer = { readonly number: number; readonly outcome: Outcome };

export type Outcome =
  | { readonly kind: 'done'; readonly result: WriteResult }
  | { readonly kind: 'unavailable' | 'failed'; readonly message: string };
