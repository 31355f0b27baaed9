/**
 * A time limit on synchronous work that code of ours cannot look into: a library's parser, a regular expression that
 * backtracks. The engine ends the work amid whatever it does, loops and regular expressions included; native calls run to
 * their end first. What the work changed outside itself may be half done, so only work on its own data belongs here.
 *
 * One call costs some 40 microseconds (it starts a watch on a thread of Node's): wrap a text, not a character. Called by
 * infer/ and tokenizer/. Work whose memory can grow too needs limits of its own.
 */
import { Script } from "node:vm";
import { UnsupportedError } from "./errors.ts";

const call = new Script("globalThis[Symbol.for('bitnet.limited')]()");
const slot = Symbol.for("bitnet.limited");

/**
 * @param limitMs milliseconds that `work` may take
 * @param tooLong the error's words where it takes longer: what, and what to do
 * @returns what `work` returns; its errors pass through
 * @throws UnsupportedError where the time is over
 */
export function withinTime<T>(limitMs: number, tooLong: () => string, work: () => T): T {
  const scope = globalThis as unknown as Record<symbol, unknown>;
  const outer = scope[slot];
  let result: { value: T } | null = null;
  scope[slot] = () => {
    scope[slot] = outer;
    result = { value: work() };
  };
  try {
    call.runInThisContext({ timeout: limitMs });
  } catch (cause) {
    if ((cause as { code?: unknown } | null)?.code === "ERR_SCRIPT_EXECUTION_TIMEOUT")
      throw new UnsupportedError(`${tooLong()} (stopped after ${limitMs / 1000} s)`, { cause });
    throw cause;
  } finally {
    scope[slot] = outer;
  }
  return result!.value;
}
