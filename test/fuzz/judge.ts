/**
 * Whether a refusal is clear: of a class of ours, one line, not long, in no engine's own words. Called by child.ts and the
 * test of past findings.
 */
import * as ours from "../../src/platform/errors.ts";

/** What V8 says of programs, not of files. Parsers' words about a text ("Unexpected token ...") stand behind ours. */
const engineWords =
  /undefined|is not a function|is not iterable|call stack|Cannot (read|convert|mix|set)|\[object |Invalid (array|typed array|string) length|Array buffer allocation|BigInt|out of memory|NaN is not/i;
/** A path, a field, what is wrong, what came, what to do. */
const maxMessage = 700;

/** @returns null for a clear one, else what is wrong with it */
export function unclear(error: unknown): string | null {
  if (!(error instanceof Error)) return `throws ${typeof error}`;
  const known = Object.values(ours).some((one) => typeof one === "function" && error instanceof one);
  if (!known) return `is a ${error.name}: ${error.message.slice(0, 200)}`;
  if (error.message.length > maxMessage) return `has ${error.message.length} characters`;
  if (/[\p{Cc}\u2028\u2029]/u.test(error.message)) return "has a newline or another control character";
  const found = engineWords.exec(error.message);
  return found ? `says "${found[0]}": ${error.message.slice(0, 300)}` : null;
}
