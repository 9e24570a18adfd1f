import { ApiError } from '../../errors.ts';
import type { ModelCall, ModelEvent, ModelSink, ModelStream } from '../../model.ts';
import type { FailureContext } from '../upstream/failures.ts';
import type { Loose } from '../upstream/loose.ts';
import { OfferedTools } from '../upstream/offered-tools.ts';
import { PartDecoder } from './decoder.ts';
import { packageError } from './failure.ts';
import type { LoadedPackage } from './load.ts';
import { toCallOptions } from './request.ts';
import { CallTransport, noKey, type TransportSettings } from './transport.ts';

/** How long the end of a stream may take after the model has said why it ended. */
const graceMs = 5_000;

export type AiSdkSettings = TransportSettings & {
  readonly loaded: LoadedPackage;
  /** The server's own key. */
  readonly apiKey: string | undefined;
  /** Whether calls go out with a credential of the server's: the client's own is then never used. */
  readonly ownCredential: boolean;
  /** Values that must not appear in any message. */
  readonly secrets: readonly string[];
  readonly onWarning: (warning: Loose) => void;
};

/**
 * One call under way, through a package. Its parts come by promises, one each: that is the AI SDK's way, and costs more
 * than the protocols that are spoken here directly.
 */
export class AiSdkCall implements ModelStream {
  readonly #settings: AiSdkSettings;
  readonly #call: ModelCall;
  readonly #sink: ModelSink;
  readonly #context: FailureContext;
  readonly #transport: CallTransport;
  readonly #abort = new AbortController();
  readonly #decoder: PartDecoder;
  readonly #tools: OfferedTools;
  #reader: ReadableStreamDefaultReader<unknown> | undefined;
  #isOver = false;
  /** Set while nothing is to be read. */
  #paused: PromiseWithResolvers<void> | undefined;
  #cancelDeadline: (() => void) | undefined;
  #cancelGrace: (() => void) | undefined;

  constructor(settings: AiSdkSettings, call: ModelCall, sink: ModelSink) {
    const { provider, loaded, ownCredential, secrets } = settings;
    this.#settings = settings;
    this.#call = call;
    this.#sink = sink;
    this.#context = {
      provider,
      facts: loaded.habits.failures,
      model: call.model,
      clientCredential: !ownCredential && call.credential !== undefined,
      secrets,
    };
    this.#transport = new CallTransport(settings, this.#context, call.via);
    this.#tools = new OfferedTools(call.tools, { namespaces: false, customTools: false });
    const decoderSettings = {
      provider,
      tools: this.#tools,
      packageError: (error: unknown) => this.#errorOf(error),
      onWarning: settings.onWarning,
    };
    this.#decoder = new PartDecoder(decoderSettings, (event) => this.#deliver(event));
  }

  begin(): void {
    const { schedule, upstream } = this.#settings;
    if (upstream.timeoutMs > 0) this.#cancelDeadline = schedule(upstream.timeoutMs, () => this.#timedOut());
    void this.#run();
  }

  abort(): void {
    this.#close();
  }

  pause(): void {
    this.#paused ??= Promise.withResolvers();
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  async #run(): Promise<void> {
    try {
      // No event comes before `stream` has returned, whatever fails.
      await undefined;
      const stream = await this.#send();
      if (this.#isOver) {
        stream.cancel().catch(() => {});
        return;
      }
      this.#deliver({ type: 'start' });
      await this.#read(stream);
      this.#finish();
    } catch (error) {
      this.#fail(this.#errorOf(error));
    }
  }

  async #send(): Promise<ReadableStream<unknown>> {
    const { loaded, apiKey, baseUrl, ownCredential } = this.#settings;
    const key = apiKey ?? (ownCredential ? undefined : this.#call.credential) ?? noKey;
    const { fetch } = this.#transport;
    const model = loaded.model(this.#call.model, { baseURL: baseUrl, apiKey: key, fetch });
    const options = await toCallOptions(this.#call, loaded, model, this.#tools);
    const { stream } = await model.doStream({ ...options, abortSignal: this.#abort.signal });
    return stream;
  }

  /** Reads nothing while paused: then the package stops reading, and the connection is paused. */
  async #read(stream: ReadableStream<unknown>): Promise<void> {
    const reader = stream.getReader();
    this.#reader = reader;
    while (!this.#isOver) {
      if (this.#paused !== undefined) {
        await this.#paused.promise;
        continue;
      }
      const { done, value } = await reader.read();
      if (done || this.#isOver) return;
      this.#decoder.part(value);
      if (this.#decoder.failed) return;
      if (this.#decoder.finished) this.#startGrace();
    }
  }

  #startGrace(): void {
    this.#cancelGrace ??= this.#settings.schedule(graceMs, () => this.#finish());
  }

  #finish(): void {
    if (this.#isOver) return;
    const end = this.#decoder.close();
    // `close` may have said something, and the sink have aborted.
    if (end.reason === 'error') this.#fail(this.#transport.failure ?? end.error);
    else this.#end(end);
  }

  #timedOut(): void {
    if (this.#decoder.finished) {
      this.#finish();
      return;
    }
    const { provider, upstream } = this.#settings;
    const message = `Provider \`${provider}\` did not finish within ${upstream.timeoutMs} ms.`;
    this.#fail(new ApiError('upstream_timeout', message));
  }

  #fail(error: ApiError): void {
    // What comes after the finish reason is dispensable (R11).
    if (this.#decoder.finished && !this.#decoder.failed) this.#finish();
    else this.#end({ type: 'end', reason: 'error', error });
  }

  #end(end: ModelEvent): void {
    if (this.#isOver) return;
    this.#close();
    this.#tell(end);
  }

  #close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelDeadline?.();
    this.#cancelGrace?.();
    // A reader that waits in a pause must see that it is over.
    this.resume();
    this.#abort.abort();
    this.#reader?.cancel().catch(() => {});
  }

  #errorOf(error: unknown): ApiError {
    const { loaded, now } = this.#settings;
    return this.#transport.failure ?? packageError(this.#context, error, loaded.habits, now());
  }

  #deliver(event: ModelEvent): void {
    if (!this.#isOver) this.#tell(event);
  }

  #tell(event: ModelEvent): void {
    try {
      this.#sink(event);
    } catch (error) {
      this.#close();
      this.#settings.logger.warn({ err: error, provider: this.#settings.provider }, 'the sink of a model call threw');
    }
  }
}
