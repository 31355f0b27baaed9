// SHA-256 by Node and in plain TypeScript. Oracle: NIST's examples for FIPS 180-4; and Node's own for pieces of any length.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as browser from "./browser/hash.ts";
import * as node from "./hash.ts";

describe.each([
  ["by Node", node],
  ["in plain TypeScript", browser],
])("%s", (_, { createHasher, sha256Of }) => {
  test("gives NIST's digests", () => {
    expect(sha256Of("")).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(sha256Of("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(sha256Of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")).toBe(
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    );
    const hasher = createHasher();
    for (let i = 0; i < 1000; i++) hasher.update("a".repeat(1000));
    expect(hasher.hex()).toBe("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  });

  test("refuses to go on after the end", () => {
    const hasher = createHasher();
    hasher.hex();
    expect(() => hasher.update("a")).toThrow();
    expect(() => hasher.hex()).toThrow();
  });
});

test("both agree on any pieces, of any length about a block's", () => {
  for (let length = 0; length <= 200; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => 7 * i);
    expect(browser.sha256Of(bytes)).toBe(node.sha256Of(bytes));
  }
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string({ unit: "grapheme" }))), (pieces) => {
      const [a, b] = [node.createHasher(), browser.createHasher()];
      for (const piece of pieces) {
        a.update(piece);
        b.update(piece);
      }
      expect(b.hex()).toBe(a.hex());
    }),
    { numRuns: 200, seed: 1 },
  );
});
