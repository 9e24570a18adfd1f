import type { MongoClient } from 'mongodb';

/** How much longer than it may take a check is waited for, before it counts as lost. */
const graceMs = 1_000;
/** A check that begins so soon after its server was lost sight of was brought about by that. */
const sameMomentMs = 20;

/**
 * Watches the driver's checks of its servers, and tells when one should have been over, one way or the other. In the
 * release that is used (7.9.0) a check waits without end when its connection ends in the moment in which it is sent: a
 * server that stops ends all connections at once, and the first that is noticed brings the check about. Until the check
 * is over the driver takes the server for gone, so that somebody has to replace the driver.
 */
export class Heartbeats {
  /** By server. */
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #lostAtMs = new Map<string, number>();

  constructor(client: MongoClient, onStuck: () => void) {
    const { connectTimeoutMS, heartbeatFrequencyMS } = client.options;
    client.on('serverDescriptionChanged', ({ address, newDescription }) => {
      if (newDescription.type === 'Unknown') this.#lostAtMs.set(address, performance.now());
    });
    client.on('serverHeartbeatStarted', ({ connectionId: address, awaited }) => {
      const isDoubtful = performance.now() - (this.#lostAtMs.get(address) ?? Number.NEGATIVE_INFINITY) < sameMomentMs;
      const usualMs = connectTimeoutMS + (awaited ? heartbeatFrequencyMS : 0);
      clearTimeout(this.#timers.get(address));
      // To the driver 0 is no limit at all.
      if (connectTimeoutMS === 0 && !isDoubtful) return;
      this.#timers.set(address, setTimeout(onStuck, (isDoubtful ? 0 : usualMs) + graceMs).unref());
    });
    const over = (address: string): void => {
      clearTimeout(this.#timers.get(address));
      this.#timers.delete(address);
    };
    client.on('serverHeartbeatSucceeded', ({ connectionId }) => over(connectionId));
    client.on('serverHeartbeatFailed', ({ connectionId }) => over(connectionId));
    client.on('serverClosed', ({ address }) => {
      over(address);
      this.#lostAtMs.delete(address);
    });
  }
}
