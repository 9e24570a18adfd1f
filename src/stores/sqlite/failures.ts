import { StoreUnavailable } from '../../store.ts';

/** SQLite's primary result codes that say that the database can't serve now, whatever was asked of it. */
const unavailableCodes: ReadonlyMap<number, string> = new Map([
  [5, 'it is locked by another process'],
  [6, 'it is locked'],
  [7, 'out of memory'],
  [8, 'it is read-only'],
  [10, 'reading or writing failed'],
  [11, 'the file is damaged'],
  [13, 'the disk is full'],
  [14, 'the file cannot be opened'],
  [26, 'the file is not an SQLite database'],
]);

const busyCode = 5;

/** Undefined where the failure is no matter of availability, but a defect of ours. */
export function unavailableReason(thrown: unknown): string | undefined {
  return unavailableCodes.get(primaryCode(thrown));
}

export function isBusy(thrown: unknown): boolean {
  return primaryCode(thrown) === busyCode;
}

export function asUnavailable(thrown: unknown): unknown {
  const reason = unavailableReason(thrown);
  if (reason === undefined) return thrown;
  return new StoreUnavailable(`The SQLite database can't serve now: ${reason}`, { cause: thrown });
}

function primaryCode(thrown: unknown): number {
  if (!(thrown instanceof Error) || !('errcode' in thrown) || typeof thrown.errcode !== 'number') return 0;
  return thrown.errcode & 0xff;
}
