// Oracle: the tokens of the whole text, encoded in one piece by the library where it is quick enough, else by the encoder.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { gpt2Files, gpt2Json, roughText } from "../../test/support/tokenizers.ts";
import type { BpeTokenizer } from "./bpe-tokenizer.ts";
import { Encoder } from "./encoder.ts";
import { IdBuffer } from "./id-buffer.ts";
import { createTokenizer, loadTokenizer } from "./load.ts";
import { partEnd } from "./parts.ts";
import { specialToken } from "./tokenizer-json.ts";
import { trainBpe } from "./train-bpe.ts";
import { trainCharacters } from "./train-characters.ts";
import { SLACK_BEFORE, Utf8Buffer } from "./utf8-buffer.ts";

/** Rough text with words around, so that there are places to cut. */
const texts = fc
  .array(fc.oneof(roughText(), fc.constantFrom("the cat", " a b", "  two", "Once upon a time")), { maxLength: 12 })
  .map((pieces) => pieces.join(" and so "));

/** The tokens of a text's parts of about `units`, end to end. */
function inParts(tokenizer: BpeTokenizer, text: string, units: number): number[] {
  const encoder = new Encoder(tokenizer.tables);
  const out = new IdBuffer();
  const buffer = new Utf8Buffer();
  for (let start = 0; start < text.length; ) {
    const end = partEnd(text, start, units);
    const stop = buffer.write(text.slice(start, end));
    const part = { unitsBefore: start, isLast: end === text.length };
    encoder.encode(buffer, SLACK_BEFORE, stop, out, { addSpecialTokens: true }, part);
    start = end;
  }
  return [...out.ids.subarray(0, out.length)];
}

test("parts are cut before a space between two letters, near the size asked for, and never anywhere else", () => {
  expect(partEnd("one two three", 0, 8)).toBe(7);
  expect(partEnd("one two three", 0, 100)).toBe(13);
  expect(partEnd("a1 b2 c3 d4 e5", 0, 3)).toBe(14);
  fc.assert(
    fc.property(texts, fc.integer({ min: 1, max: 60 }), (text, units) => {
      for (let start = 0; start < text.length; ) {
        const end = partEnd(text, start, units);
        expect(end).toBeGreaterThan(start);
        if (end < text.length) expect(text.slice(end - 1, end + 2)).toMatch(/^[A-Za-z] [A-Za-z]$/);
        start = end;
      }
    }),
    { seed: 20, numRuns: 500 },
  );
});

describe("the tokens of a text's parts, end to end, are those of the whole", () => {
  const same = (tokenizer: BpeTokenizer) => {
    expect(tokenizer.cuts).toBe(true);
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 60 }), (text, units) => {
        if (text === "") return;
        expect(inParts(tokenizer, text, units)).toEqual([...tokenizer.encode(text, { addSpecialTokens: true })]);
      }),
      { seed: 21, numRuns: 300 },
    );
  };
  testShared("GPT-2", gpt2Files, () => same(createTokenizer(gpt2Json()) as BpeTokenizer));
  const spm = ["data/tokenizers/llama2.tokenizer.json", "data/weights/tok512.model"];
  testShared("LLaMA-2, and a SentencePiece model that removes spaces", spm, () => {
    for (const file of spm) same(loadTokenizer(sharedPath(file)) as BpeTokenizer);
  });
  test("characters", async () => {
    const { tokenizer } = await trainCharacters(["abc "], { unknown: "bytes" });
    same(tokenizer as BpeTokenizer);
  });
});

test("a text is not cut where an added token, a merge or a run of unknown characters could lie across", async () => {
  const { tokenizer } = await trainBpe(["once upon a time"], { vocabSize: 257, minFrequency: 1 });
  const file = tokenizer.toJson();
  const named = { ...file, added_tokens: [...file.added_tokens, specialToken("end of text", 257)] };
  expect((createTokenizer(named) as BpeTokenizer).cuts).toBe(false);
  const characters = (await trainCharacters(["ab <?"])).tokenizer.toJson();
  const ids = characters.model.vocab as Record<string, number>;
  const withModel = (model: object) =>
    createTokenizer({ ...characters, model: { ...characters.model, ...model } }) as BpeTokenizer;
  expect(withModel({}).cuts).toBe(true);
  const joined = withModel({ vocab: { ...ids, "a ": 6 }, merges: ["a  "] });
  expect(joined.cuts).toBe(false);
  expect([...joined.encode("ba b")]).toEqual([ids.b, 6, ids.b]);
  expect(withModel({ unk_token: "?", fuse_unk: true }).cuts).toBe(false);
});

test("a character that cannot be encoded is refused by its place in the whole text, whichever part it lies in", async () => {
  const { tokenizer } = await trainCharacters(["ab "]);
  const text = `${"ab ".repeat(200_000)}x`;
  expect(() => tokenizer.encode(text)).toThrow('"x" (U+0078) at character 600000 (in " ab ab ab x")');
});
