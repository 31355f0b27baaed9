// Oracle: a regular expression over the text for added tokens; encoding piece by piece for what lies between.
import fc from "fast-check";
import { expect, test } from "vitest";
import { createTokenizer } from "./load.ts";
import { specialToken } from "./tokenizer-json.ts";
import { trainBpe } from "./train-bpe.ts";

const trained = await trainBpe(["once upon a time, once upon a time"], { vocabSize: 300 });

test.for([
  ["that begin alike", ["<a>", "<ab>", "<a>b", "<<a"]],
  ["that begin each in its own way, one of bytes past ASCII", ["<a>", "[b]", "éé", "]a"]],
] as const)("added tokens %s: the leftmost is taken, and of those at one place the longest", ([, names]) => {
  const file = trained.tokenizer.toJson();
  const size = trained.tokenizer.vocabSize;
  const added = names.map((name, i) => specialToken(name, size + i));
  const plain = createTokenizer({ ...file, added_tokens: [] });
  const tokenizer = createTokenizer({ ...file, added_tokens: added });
  const longestFirst = [...names].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map((name) => name.replace(/[[\]]/g, "\\$&")).join("|"), "g");
  const unit = fc.constantFrom("<", "a", "b", ">", "[", "]", "é", "<a>", "<ab>", " once", "\ud83d");
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 20 }), (units) => {
      const text = units.join("");
      const expected: number[] = [];
      let start = 0;
      for (const { 0: name, index } of text.matchAll(pattern)) {
        expected.push(...plain.encode(text.slice(start, index)), size + names.indexOf(name as never));
        start = index + name.length;
      }
      expected.push(...plain.encode(text.slice(start)));
      expect([...tokenizer.encode(text)]).toEqual(expected);
      expect(tokenizer.encode(text, { parseSpecialTokens: false })).toEqual(plain.encode(text));
    }),
    { seed: 23, numRuns: 1000 },
  );
});
