import type { ModelEvent, ModelSink, ModelStream } from '../../model.ts';
import type { Beat } from './performance.ts';

/** Events between two visits to the event loop, when there is no delay between them. */
const eventsPerTick = 64;

/** Plays a performance to a sink: never before it has returned, never while paused, never after an abort or the end. */
export function play(beats: Iterator<Beat>, chunkDelayMs: number, sink: ModelSink, onDone: () => void): ModelStream {
  return new Player(beats, chunkDelayMs, sink, onDone);
}

class Player implements ModelStream {
  readonly #beats: Iterator<Beat>;
  readonly #chunkDelayMs: number;
  readonly #sink: ModelSink;
  readonly #onDone: () => void;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #paused = false;
  /** The next tick came due while paused. */
  #due = false;
  #done = false;

  constructor(beats: Iterator<Beat>, chunkDelayMs: number, sink: ModelSink, onDone: () => void) {
    this.#beats = beats;
    this.#chunkDelayMs = chunkDelayMs;
    this.#sink = sink;
    this.#onDone = onDone;
    this.#soon();
  }

  abort(): void {
    this.#finish();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    if (!this.#due || this.#done) return;
    this.#due = false;
    this.#soon();
  }

  #soon(): void {
    this.#immediate = setImmediate(() => this.#tick());
  }

  #later(delayMs: number): NodeJS.Timeout {
    this.#timer = setTimeout(() => this.#tick(), delayMs);
    return this.#timer;
  }

  #tick(): void {
    for (let sent = 0; sent < eventsPerTick; sent += 1) {
      if (this.#done) return;
      if (this.#paused) {
        this.#due = true;
        return;
      }
      const next = this.#beats.next();
      if (next.done === true) {
        this.#finish();
        return;
      }
      const beat = next.value;
      if (beat.type === 'hold') {
        // Nobody waits for the end of a scripted silence: it must not keep a process alive.
        this.#later(beat.holdMs).unref();
        return;
      }
      this.#deliver(beat);
      if (this.#chunkDelayMs > 0 && isPiece(beat) && !this.#done) {
        this.#later(this.#chunkDelayMs);
        return;
      }
    }
    if (!this.#done) this.#soon();
  }

  #deliver(event: ModelEvent): void {
    if (event.type === 'end') this.#finish();
    let taken = false;
    try {
      this.#sink(event);
      taken = true;
    } finally {
      if (!taken) this.#finish();
    }
  }

  #finish(): void {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#onDone();
  }
}

function isPiece(event: ModelEvent): boolean {
  return (
    event.type === 'text' || event.type === 'refusal' || event.type === 'reasoning' || event.type === 'tool_arguments'
  );
}
