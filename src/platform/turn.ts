/** Lets signals, timers and output have their turn: kernels run synchronously, and a loop of them would hold all else up. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
