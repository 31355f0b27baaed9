// Oracle: the definition of BPE, run slowly, over random texts; and the merges that Hugging Face's BpeTrainer makes
// (tokenizers 0.23.3, min_frequency 2, byte-level alphabet), written out.
import fc from "fast-check";
import { expect, test } from "vitest";
import { bytesByChar, byteToChar } from "./byte-alphabet.ts";
import { GPT2_PATTERN } from "./pretokenize.ts";
import { formatTokenizerJson } from "./tokenizer-json.ts";
import { trainBpe } from "./train-bpe.ts";

/** BPE training by its definition: count all pairs anew for every merge. */
function trainSlowly(texts: readonly string[], merges: number, minFrequency: number): string[] {
  const numbers = new Map(bytesByChar.map((byte, i) => [byteToChar[byte], i]));
  const pattern = new RegExp(
    GPT2_PATTERN.replaceAll("\\s", "\\p{White_Space}").replace("\\S", "\\P{White_Space}"),
    "gu",
  );
  let words = texts
    .flatMap((text) => text.match(pattern) ?? [])
    .map((word) => Array.from(new TextEncoder().encode(word), (byte) => byteToChar[byte]));
  const made: string[] = [];
  while (made.length < merges) {
    const counts = new Map<string, number>();
    for (const word of words)
      for (let i = 0; i + 1 < word.length; i++) {
        const pair = `${word[i]} ${word[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    const order = ([pair]: [string, number]) => pair.split(" ").map((token) => numbers.get(token)!);
    const [best] = [...counts].sort((x, y) => y[1] - x[1] || order(x)[0] - order(y)[0] || order(x)[1] - order(y)[1]);
    if (!best || best[1] < minFrequency) break;
    const [left, right] = best[0].split(" ");
    numbers.set(left + right, numbers.size);
    made.push(best[0]);
    words = words.map((word) => {
      const joined: string[] = [];
      for (let i = 0; i < word.length; i++) {
        if (word[i] === left && word[i + 1] === right) joined.push(left + word[++i]);
        else joined.push(word[i]);
      }
      return joined;
    });
  }
  return made;
}

test("makes the merges of the definition, ties included, whatever the text", async () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", " ", "é", "'", "s", "\n"), maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(letters, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 3 }),
      async (texts, min) => {
        fc.pre(texts.some((text) => text !== ""));
        const { tokenizer } = await trainBpe(texts, { vocabSize: 256 + 40, specialTokens: [], minFrequency: min });
        expect(tokenizer.toJson().model.merges).toEqual(trainSlowly(texts, 40, min));
      },
    ),
    { seed: 1, numRuns: 150 },
  );
});

test("makes the merges of Hugging Face's trainer", async () => {
  const texts = [
    "It's the cat's hat, she said. They're the cats' hats; we'll see the 1234 hats at 12:34!\n\n  The end, the end…",
    "Führer führt für Übung. 漢字かな、漢字。 😀😀😀 aaaa aaaaaaa bananas bandana",
  ];
  const { tokenizer } = await trainBpe(texts, { vocabSize: 310 });
  expect(tokenizer.toJson().model.merges).toEqual(
    (
      "a a|h e|a t|a n|t he|Ġ the|h at|Ã ¼|ð Ł|Ġ s|Ġ hat|ĺ Ģ|aa aa|ðŁ ĺĢ|' s|1 2|3 4|T he|b an|c at|e n|f Ã¼|h r|¢ å|" +
      "¼ ¢å|ã Ģ|ã ģ|æ ¼¢å|Ġ aaaa|Ġ 12|Ġ The|Ġ ban|Ġ cat|Ġ en|Ġ fÃ¼|Ń Ĺ|an a|Ġhat s|ðŁĺĢ ðŁĺĢ|æ¼¢å ŃĹ|Ġen d"
    ).split("|"),
  );
});

test("numbers special tokens first, then bytes by character, then merges, and writes the same bytes every time", async () => {
  const texts = ["low lower lowest", "new newer newest", "wide wider widest"];
  const options = { vocabSize: 270, specialTokens: ["<|endoftext|>", "<|pad|>"] };
  const { tokenizer, report } = await trainBpe(texts, options);
  expect(["<|endoftext|>", "<|pad|>", "!", "~", "¡", "Ā"].map((token) => tokenizer.idOf(token))).toEqual([
    0, 1, 2, 95, 96, 190,
  ]);
  expect(tokenizer.endOfText).toBe(0);
  expect(report).toEqual({ documents: 3, characters: 49, distinct: 9, requestedVocabSize: 270, vocabSize: 270 });
  const again = await trainBpe(texts, options);
  expect(formatTokenizerJson(again.tokenizer.toJson())).toBe(formatTokenizerJson(tokenizer.toJson()));
  expect(again.tokenizer.hash).toBe(tokenizer.hash);
});

test("stops where no pair occurs twice, and says how many tokens there are", async () => {
  const { tokenizer, report } = await trainBpe(["abcabc xyz"], { vocabSize: 1000 });
  expect(report).toMatchObject({ requestedVocabSize: 1000, vocabSize: 259 });
  expect(tokenizer.vocabSize).toBe(259);
  expect(tokenizer.toJson().model.merges).toEqual(["a b", "ab c"]);
});

test("leaves a special token in the text out of the counts", async () => {
  const plain = await trainBpe(["one two", "two three"], { vocabSize: 262 });
  const marked = await trainBpe(["one two<|endoftext|>two three"], { vocabSize: 262 });
  expect(marked.tokenizer.hash).toBe(plain.tokenizer.hash);
});

test("keeps a token named like a property of JavaScript's objects", async () => {
  const { tokenizer } = await trainBpe(["constructor constructor"], { vocabSize: 266, specialTokens: [] });
  const { vocab } = JSON.parse(formatTokenizerJson(tokenizer.toJson())).model;
  expect(Object.hasOwn(vocab, "constructor")).toBe(true);
  expect(tokenizer.encode("constructor")).toEqual(Int32Array.of(vocab.constructor));
});

test.for([
  [
    { vocabSize: 256 },
    "vocabulary size 256 for byte-level BPE; expected a whole number from 257 (256 bytes and 1 special",
  ],
  [{ vocabSize: 300.5 }, "vocabulary size 300.5"],
  [{ vocabSize: 300, specialTokens: ["x"] }, 'special token "x" is an ordinary token too'],
  [{ vocabSize: 300, specialTokens: ["<a>", "<a>"] }, "special token <a> is given twice"],
  [{ vocabSize: 300, specialTokens: [""] }, "a special token is empty"],
  [{ vocabSize: 300, minFrequency: 0 }, "minimum frequency 0; expected a whole number of 1 or more"],
] as const)("refuses %o", async ([options, message]) => {
  await expect(trainBpe(["some text"], options)).rejects.toThrow(message);
});

test("refuses an empty text", async () => {
  await expect(trainBpe(["", "<|endoftext|>"], { vocabSize: 300 })).rejects.toThrow(
    "the text to train on is empty (2 documents)",
  );
});

test("stops at once when aborted, with the signal's reason", async () => {
  const controller = new AbortController();
  controller.abort(new Error("enough"));
  await expect(trainBpe(["text"], { vocabSize: 300, signal: controller.signal })).rejects.toThrow("enough");
});
