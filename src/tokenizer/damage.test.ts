// Tokenizer files, damaged: tokenizer.json, SentencePiece models and rank files, as bytes and field by field. Oracle: the
// promise itself: a file is read, and then encodes and decodes, or it is refused in the library's own words; nothing hangs,
// and no vocabulary comes out that is larger than the file. Real files under shared/ are damaged too.
import { readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { sharedPath, testShared } from "../../test/support/shared.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { DataError, FormatError, UnsupportedError, UsageError } from "../platform/errors.ts";
import { loadTokenizer } from "./load.ts";
import { formatTokenizerJson } from "./tokenizer-json.ts";
import { trainBpe } from "./train-bpe.ts";
import { trainCharacters } from "./train-characters.ts";

const sample = "  the cat\n\tsat 123 on\u00e9 \u6f22 <|endoftext|> \ud83d\ude00";

/** Reads, encodes, decodes. @returns whether it was refused */
function survives(path: string, bytes: Uint8Array): boolean {
  writeFileSync(path, bytes);
  try {
    const tokenizer = loadTokenizer(path);
    // An id may be given without the ones below it, but none beyond what a vocabulary may have.
    expect(tokenizer.vocabSize).toBeLessThanOrEqual(2 ** 21);
    const ids = tokenizer.encode(sample);
    expect(ids.length).toBeLessThanOrEqual(4 * Buffer.byteLength(sample));
    for (const id of ids) expect(id).toBeLessThan(tokenizer.vocabSize);
    tokenizer.decode(ids);
    return false;
  } catch (error) {
    const ours = [FormatError, UnsupportedError, DataError, UsageError].some((kind) => error instanceof kind);
    if (!ours) throw error;
    const { message } = error as Error;
    expect(message.length).toBeLessThan(1000);
    // Where: the file, or the folder that gives the tokenizer its name; and what of it: a field, a token, a byte, a line.
    expect(
      [basename(path), basename(dirname(path))].some((name) => message.includes(name)),
      message,
    ).toBe(true);
    expect(message).toMatch(
      /"[\w.[\]]+"|token |merge|byte \d|line|pieces|UTF-8|no tokenizer|not JSON|pattern|processor|decoder|model|SentencePiece|normalizer|ranks|the vocabulary/,
    );
    return true;
  }
}

/** Some bytes overwritten, and perhaps the end cut off. */
const damage = (interesting: string) =>
  fc.record({
    changes: fc.array(
      fc.record({
        at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        to: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from(interesting))),
      }),
      { maxLength: 4 },
    ),
    cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { freq: 5 }),
  });

function damaged(good: Uint8Array, { changes, cut }: { changes: { at: number; to: number }[]; cut: number | null }) {
  const bytes = Uint8Array.from(good);
  for (const { at, to } of changes) bytes[Math.floor(at * bytes.length)] = to;
  return cut === null ? bytes : bytes.subarray(0, Math.floor(cut * bytes.length));
}

const jsonCharacters = '0123456789[]{},:"-.\\ \u0000';

async function smallFiles(): Promise<[name: string, json: object][]> {
  const bpe = await trainBpe(["low lower lowest 0 1 2"], { vocabSize: 265 });
  const characters = await trainCharacters(["the cat sat\n"], { unknown: "bytes" });
  return [
    ["byte-level BPE", JSON.parse(formatTokenizerJson(bpe.tokenizer.toJson()))],
    ["characters", JSON.parse(formatTokenizerJson(characters.tokenizer.toJson()))],
  ];
}

test("tokenizer.json with bytes changed, or its end cut off", async () => {
  const path = join(temporaryFolder(), "tokenizer.json");
  for (const [, json] of await smallFiles()) {
    const good = Buffer.from(JSON.stringify(json));
    expect(survives(path, good)).toBe(false);
    let refused = 0;
    fc.assert(
      fc.property(damage(jsonCharacters), (what) => {
        if (survives(path, damaged(good, what))) refused++;
      }),
      { numRuns: 150, seed: 11 },
    );
    expect(refused).toBeGreaterThan(20);
  }
});

/** Every place in a JSON value: its parent and key. */
function placesIn(
  value: unknown,
  found: [Record<string, unknown>, string][] = [],
): [Record<string, unknown>, string][] {
  if (typeof value !== "object" || value === null) return found;
  for (const key of Object.keys(value)) {
    found.push([value as Record<string, unknown>, key]);
    // Of long lists the first entries stand for all.
    if (found.length < 400) placesIn((value as Record<string, unknown>)[key], found);
  }
  return found;
}

test("tokenizer.json with fields of other values, or without them", async () => {
  const path = join(temporaryFolder(), "tokenizer.json");
  const values = [null, true, -1, 0.5, 4e9, 1e300, "", "a b", "\ud800", [], {}, [null], { type: "Sequence" }, "BPE"];
  for (const [, json] of await smallFiles()) {
    let refused = 0;
    fc.assert(
      fc.property(
        fc.array(fc.record({ place: fc.nat(), value: fc.option(fc.constantFrom(...values), { nil: undefined }) }), {
          minLength: 1,
          maxLength: 3,
        }),
        (changes) => {
          const copy = structuredClone(json);
          for (const { place, value } of changes) {
            const places = placesIn(copy);
            const [parent, key] = places[place % places.length];
            if (value === undefined) delete parent[key];
            else parent[key] = value;
          }
          if (survives(path, Buffer.from(JSON.stringify(copy)))) refused++;
        },
      ),
      { numRuns: 250, seed: 12 },
    );
    expect(refused).toBeGreaterThan(20);
  }
});

test("a refusal names the field, down to a member of a sequence", () => {
  const path = join(temporaryFolder(), "tokenizer.json");
  const model = { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"] };
  const split = { type: "Split", pattern: { Regex: "a" }, behavior: "Isolated" };
  const refused = (changes: object, message: string) => {
    writeFileSync(path, JSON.stringify({ added_tokens: [], model, ...changes }));
    expect(() => loadTokenizer(path)).toThrow(`${path}: ${message}`);
  };
  refused(
    { pre_tokenizer: { type: "Sequence" } },
    '"pre_tokenizer.pretokenizers" is missing, expected a list of components',
  );
  refused(
    { pre_tokenizer: { type: "Sequence", pretokenizers: [split, { ...split, behavior: { type: "Sequence" } }] } },
    '"pre_tokenizer.pretokenizers[1].behavior" is {"type":"Sequence"}, expected "Removed" or "Isolated" or ',
  );
  refused(
    { normalizer: { type: "Sequence", normalizers: [{ type: "Replace", content: "" }] } },
    '"normalizer.normalizers[0].pattern" is missing, expected a pattern, {"String": ...} or {"Regex": ...}',
  );
  // It would cut a text into pieces of no length, without end.
  refused(
    { pre_tokenizer: { type: "FixedLength", length: 0 } },
    '"pre_tokenizer.length" is 0, expected a whole number from 1',
  );
  refused(
    { post_processor: { type: "TemplateProcessing", single: [{ Sequence: { id: "A" } }, null] } },
    '"post_processor.single[1]" is null, expected a "SpecialToken" or a "Sequence"',
  );
  refused(
    { decoder: { type: "Sequence", decoders: [{ type: "Strip", start: -1 }] } },
    '"decoder.decoders[0].start" is -1, expected a whole number from 0',
  );
  refused(
    { model: { ...model, merges: undefined } },
    '"model.merges" is missing, expected a list of merges, "left right" or [left, right]',
  );
  refused({ model: { ...model, unk_token: 7 } }, '"model.unk_token" is 7, expected a string');
  refused({ model: { type: "Unigram", vocab: [["a", -1], "b"] } }, '"model.vocab[1]" is "b", expected [token, score]');
  const deep = (n: number): object => ({ type: "Sequence", normalizers: n === 0 ? [] : [deep(n - 1)] });
  refused({ normalizer: deep(40) }, "nests more than 64 deep");
  refused(
    { normalizer: deep(20) },
    `"normalizer${".normalizers[0]".repeat(17)}" is {"type":"Sequence","normalizers":[`,
  );
});

test("patterns that match nothing, or the empty text, come to an end", () => {
  const path = join(temporaryFolder(), "tokenizer.json");
  const vocab = Object.fromEntries([..."abc thesaton123 "].map((token, i) => [token, i]));
  for (const pattern of [{ Regex: "" }, { String: "" }, { Regex: "(?=x)" }, { Regex: "(" }, { Regex: "\\" }])
    for (const behavior of ["Isolated", "Removed", "MergedWithPrevious", "nonsense"])
      for (const invert of [true, false])
        survives(
          path,
          Buffer.from(
            JSON.stringify({
              normalizer: { type: "Replace", pattern, content: "" },
              pre_tokenizer: { type: "Split", pattern, behavior, invert },
              model: { type: "BPE", vocab, merges: [], unk_token: "a" },
            }),
          ),
        );
});

for (const [name, file, characters, runs] of [
  ["LLaMA-2's tokenizer.json", "data/tokenizers/llama2.tokenizer.json", jsonCharacters, 4],
  ["LLaMA-3's rank file", "data/tokenizers/llama3.tokenizer.model", "0123456789 \n=+/", 6],
  ["a SentencePiece model of 512 tokens", "data/weights/tok512.model", "\u0000\u0001\u007f\u0080\u00ff", 150],
] as const)
  testShared(
    `${name}, damaged`,
    [file],
    () => {
      const good = readFileSync(sharedPath(file));
      const path = join(temporaryFolder(), file.split("/").at(-1)!);
      fc.assert(
        fc.property(damage(characters), (what) => {
          survives(path, damaged(good, what));
        }),
        { numRuns: runs, seed: 13 },
      );
    },
    60_000,
  );
