// Time and chance, so that tests can bring their own.

export interface Clock {
  /** Milliseconds that never go back. */
  now(): number;
  /** Calls `run` after so many milliseconds. The result cancels it. */
  after(milliseconds: number, run: () => void): () => void;
  /** A number from 0 to below 1. */
  random(): number;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(milliseconds, run) {
    const timer = setTimeout(run, milliseconds);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};
