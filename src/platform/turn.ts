/** Lets signals, timers and output have their turn: kernels run synchronously, and a loop of them would hold all else up. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => soon(resolve));

/**
 * Runs something after what the system has waiting: Node's setImmediate; a browser has none, and there a message to oneself
 * comes after input, timers and drawing had theirs (setTimeout would wait 4 ms).
 */
const soon: (run: () => void) => void = typeof setImmediate === "function" ? (run) => setImmediate(run) : byMessages();

function byMessages(): (run: () => void) => void {
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  Object.assign(port1, { onmessage: () => waiting.shift()?.() }); // by its setter, which Node's types lack
  return (run) => {
    waiting.push(run);
    port2.postMessage(null);
  };
}
