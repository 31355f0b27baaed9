/** SHA-256, by Node. browser/hash.ts is its twin. */
import { createHash } from "node:crypto";

/** SHA-256 as 64 hexadecimal digits, fed piece by piece. */
export interface Hasher {
  update(data: Uint8Array | string): Hasher;
  hex(): string;
}

export function createHasher(): Hasher {
  const hash = createHash("sha256");
  const self: Hasher = {
    update(data) {
      hash.update(data);
      return self;
    },
    hex: () => hash.digest("hex"),
  };
  return self;
}

/** SHA-256 of bytes, or of a string's UTF-8, in hexadecimal. */
export const sha256Of = (data: Uint8Array | string): string => createHasher().update(data).hex();
