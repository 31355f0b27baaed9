// Oracle: an array of arrays, which this stands for.
import { expect, test } from "vitest";
import { TokenBytes } from "./token-bytes.ts";

test("gives each token's bytes back, empty ones too, and nothing where there is no token", () => {
  const tokens = [[1], undefined, [], [2, 3, 4], Array.from({ length: 1000 }, (_, i) => i % 256), undefined, [5]];
  const bytes = new TokenBytes(tokens.length, (id) => tokens[id] && Uint8Array.from(tokens[id]));
  const got = tokens.map((_, id) => bytes.get(id));
  expect(got.map((own) => own && Array.from(own))).toEqual(tokens);
  expect(bytes.get(tokens.length)).toBeUndefined();
  expect(bytes.get(-1)).toBeUndefined();
});
