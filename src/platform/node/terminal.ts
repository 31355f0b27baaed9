/** Lines that a person types, or a pipe gives; and the standard input whole. */
import { createInterface } from "node:readline";

export interface LineReader {
  /** Prints the prompt (to a terminal alone) and waits for a line; null at the input's end. */
  read(prompt: string): Promise<string | null>;
  /** Called at each Ctrl-C; without a listener the process ends as usual. Returns what takes it off again. */
  onInterrupt(listener: () => void): () => void;
  close(): void;
}

/** Editing and history (arrow keys) where the input is a terminal; prompts go to the standard error. */
export function createLineReader(): LineReader {
  const terminal = process.stdin.isTTY === true;
  const reader = createInterface({
    input: process.stdin,
    output: terminal ? process.stderr : undefined,
    terminal,
    historySize: 1000,
  });
  // Lines that come while nobody waits are kept: a pipe gives them all at once.
  const lines: string[] = [];
  let waiting: ((line: string | null) => void) | null = null;
  let ended = false;
  const listeners = new Set<() => void>();
  reader.on("line", (line) => {
    if (waiting) waiting(line);
    else lines.push(line);
    waiting = null;
  });
  reader.on("close", () => {
    ended = true;
    waiting?.(null);
    waiting = null;
  });
  // In a terminal that readline reads, Ctrl-C is a key; elsewhere, or sent by kill, it is a signal.
  const interrupted = () => {
    for (const listener of listeners) listener();
  };
  reader.on("SIGINT", interrupted);
  process.on("SIGINT", interrupted);
  return {
    read(prompt) {
      const line = lines.shift();
      if (line !== undefined) return Promise.resolve(line);
      if (ended) return Promise.resolve(null);
      if (terminal) {
        reader.setPrompt(prompt);
        reader.prompt();
      }
      return new Promise((resolve) => {
        waiting = resolve;
      });
    },
    onInterrupt(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      process.off("SIGINT", interrupted);
      reader.close();
    },
  };
}

/** The standard input to its end, as UTF-8. */
export async function readStandardInput(): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin) pieces.push(piece);
  return Buffer.concat(pieces).toString("utf8");
}
