/** Ctrl-C and SIGTERM: the first asks the work to end where it can, the second ends the process at once. */

/** What a command throws that ended early because it was asked to. */
export class Interrupted extends Error {
  override name = "Interrupted";
  constructor(readonly exitCode: number) {
    super("interrupted");
  }
}

/** As shells count: 128 and the signal's number. */
const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

export interface Interruption {
  /** Aborted by the first signal, with an `Interrupted` as its reason. */
  readonly signal: AbortSignal;
  /** Leaves signals to the system again. */
  release(): void;
}

/** @param onFirst says to people what happens now */
export function listenForInterrupts(onFirst: () => void = () => {}): Interruption {
  const controller = new AbortController();
  const listeners = (Object.keys(exitCodes) as (keyof typeof exitCodes)[]).map((name) => {
    const listener = () => {
      if (controller.signal.aborted) process.exit(exitCodes[name]);
      controller.abort(new Interrupted(exitCodes[name]));
      onFirst();
    };
    process.on(name, listener);
    return () => process.off(name, listener);
  });
  return {
    signal: controller.signal,
    release() {
      for (const stop of listeners) stop();
    },
  };
}
