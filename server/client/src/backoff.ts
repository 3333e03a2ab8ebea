// How long to wait before the next try: exponential with full jitter, so that the clients of a
// server that restarts do not come back all at once.

import type { Clock } from "./clock.js";

export interface BackoffOptions {
  /** The upper end of the first wait; it doubles with every failure. 500 ms unless told. */
  baseMs?: number;
  /** No wait is longer. 30 s unless told. */
  capMs?: number;
}

export class Backoff {
  readonly #clock: Clock;
  readonly #base: number;
  readonly #cap: number;
  #failures = 0;

  constructor(clock: Clock, options: BackoffOptions = {}) {
    this.#clock = clock;
    this.#base = options.baseMs ?? 500;
    this.#cap = options.capMs ?? 30_000;
  }

  /** A wait between 0 and `base * 2^failures`, at most the cap. Counts one more failure. */
  next(): number {
    // Beyond 2^30 the cap has long been reached, and the power must stay finite.
    const ceiling = Math.min(this.#cap, this.#base * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return this.#clock.random() * ceiling;
  }

  reset(): void {
    this.#failures = 0;
  }
}
