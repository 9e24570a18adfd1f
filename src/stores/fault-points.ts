/** Places at which a test may end the process, to see what a crash there leaves behind. */
export type FaultPoint = 'before_append' | 'after_append' | 'during_migration';

let handler: ((point: FaultPoint) => void) | undefined;

/** Does nothing unless a test in this process has set a handler. */
export function reach(point: FaultPoint): void {
  handler?.(point);
}

/** For tests alone. */
export function setFaultHandler(next: ((point: FaultPoint) => void) | undefined): void {
  handler = next;
}
