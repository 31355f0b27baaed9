/** Published tokenizers and real text under shared/, for the tests and the bench of src/tokenizer. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { specialToken, type TokenizerJson } from "../../src/tokenizer/tokenizer-json.ts";
import { sharedPath } from "./shared.ts";

const read = (path: string) => readFileSync(sharedPath(path));
const readGz = (path: string) => gunzipSync(read(path)).toString("utf8");

/** What gpt2Json needs. */
export const gpt2Files = ["data/tokenizers/gpt2.encoder.json", "data/tokenizers/gpt2.vocab.bpe"];

/** GPT-2's tokenizer.json as Hugging Face has it, from OpenAI's two files. */
export function gpt2Json(): TokenizerJson {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [specialToken("<|endoftext|>", 50256)],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: { ...byteLevel, trim_offsets: false },
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      vocab: JSON.parse(read(gpt2Files[0]).toString("utf8")),
      merges: read(gpt2Files[1]).toString("utf8").trimEnd().split("\n").slice(1),
    },
  };
}

/** llama.cpp's 46 test texts and the ids that it expects, for "gpt-2", "llama-spm" or "llama-bpe". */
export const ggmlFiles = (name: string) =>
  ["inp", "out"].map((kind) => `data/tokenizers/ggml-vocab-${name}.gguf.${kind}`);
export function ggmlCases(name: string): { text: string; ids: number[] }[] {
  const [inp, out] = ggmlFiles(name).map((path) => read(path).toString("utf8"));
  const texts = inp.split("\n__ggml_vocab_test__\n").slice(0, -1);
  const lines = out.split("\n");
  return texts.map((text, i) => ({ text, ids: (lines[i].match(/\d+/g) ?? []).map(Number) }));
}

/** Documents of three kinds of real text, about `units` UTF-16 units of each. */
export const realTextFiles = [
  "data/tinystories/train.txt.gz",
  "data/wikitext2/wiki.valid.raw",
  "data/text/c4_sample.jsonl.gz",
];
export function realTexts(units: number): string[] {
  const stories = readGz(realTextFiles[0]).slice(0, units).split("\n<|endoftext|>\n");
  const articles = read(realTextFiles[1])
    .toString("utf8")
    .slice(0, units)
    .split(/\n(?= = [^=])/);
  const pages: string[] = [];
  let left = units;
  for (const line of readGz(realTextFiles[2]).split("\n")) {
    if (left <= 0 || line === "") break;
    pages.push(JSON.parse(line).text);
    left -= pages[pages.length - 1].length;
  }
  return [...stories, ...articles, ...pages];
}

/**
 * Text that is hard to cut right: letters, marks, digits, white space and emoji of many scripts close together, half
 * pairs of surrogates, and any code point at all.
 */
export const roughText = (options: { without?: string } = {}): fc.Arbitrary<string> => {
  const hard = [
    ..."aZs'\u2019tTrReEvVlLmMdD  \n\r\t\v\u00a0\u3000\u200b\u0301.,-_(){}<|>é漢字かナ한٣½²Ⅷ𝟘😀👩🏽\u200d\u2581\u180e\u2028\ud83d\udc00",
  ];
  const extra = ["'ll", "'RE", "<|endoftext|>", "\ufeff", "\u0085", "'\u017f", "  \n\n  ", "123456"];
  const kept = [...hard, ...extra].filter((piece) => ![...(options.without ?? "")].some((c) => piece.includes(c)));
  const any = fc
    .oneof(
      fc.integer({ min: 0, max: 0x2ff }),
      fc.integer({ min: 0x300, max: 0xffff }),
      fc.integer({ min: 0x10000, max: 0x10ffff }),
    )
    .map((codePoint) => String.fromCodePoint(codePoint))
    .filter((char) => !(options.without ?? "").includes(char));
  const unit = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...kept) }, { weight: 1, arbitrary: any });
  return fc.array(unit, { maxLength: 40 }).map((pieces) => pieces.join(""));
};
