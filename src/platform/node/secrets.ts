/** Keys and names that nobody can guess. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** So many random bytes in hexadecimal, from the system's generator. */
export const randomHex = (bytes: number): string => randomBytes(bytes).toString("hex");

/** Whether two texts are the same, in a time that tells nothing of where they differ, nor of their lengths. */
export function equalSecrets(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
