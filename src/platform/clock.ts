/** The clock that library code is given, and the one that whoever starts it gives. */

/** Time, passed in so that tests can hold it still. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. For durations. */
  monotonicMs(): number;
  /** Milliseconds since 1970, UTC. For dates. */
  epochMs(): number;
}

export const systemClock: Clock = { monotonicMs: () => performance.now(), epochMs: () => Date.now() };
