// Oracle: the formats' own rules; each bad file is built here, byte by byte where it is binary.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { byteTokenName } from "./code-points.ts";
import { createTokenizer, loadTokenizer, saveTokenizer } from "./load.ts";
import { sentencePieceToJson } from "./sentencepiece.ts";
import { ranksToJson } from "./tiktoken.ts";
import { formatTokenizerJson } from "./tokenizer-json.ts";
import { trainBpe } from "./train-bpe.ts";

const trained = async () => (await trainBpe(["low lower lowest 0 1 2"], { vocabSize: 260 })).tokenizer;

/** Protobuf: a length-delimited field, a varint field, a float field. */
const message = (number: number, content: number[] | string): number[] => {
  const bytes = typeof content === "string" ? [...new TextEncoder().encode(content)] : content;
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7];
  return [(number << 3) | 2, ...length, ...bytes];
};
const varint = (number: number, value: number) => [
  ...(number < 16 ? [number << 3] : [((number << 3) & 127) | 128, number >> 4]),
  value,
];
const float = (number: number, value: number) => [(number << 3) | 5, ...new Uint8Array(Float32Array.of(value).buffer)];
const piece = (text: string, score: number, kind?: number) =>
  message(1, [...message(1, text), ...float(2, score), ...(kind ? varint(3, kind) : [])]);

/** A SentencePiece BPE model: unk, bos, eos, the 256 bytes, a few pieces; settings may be overridden. */
function sentencePiece({ modelType = 2, dummyPrefix = 1, map = "" } = {}): number[] {
  return [
    ...piece("<unk>", 0, 2),
    ...piece("<s>", 0, 3),
    ...piece("</s>", 0, 3),
    ...Array.from({ length: 256 }, (_, byte) => piece(byteTokenName(byte), 0, 6)).flat(),
    ...piece("ab", -0),
    ...piece("▁ab", -1),
    ...["▁", "a", "b", "c"].flatMap((text, i) => piece(text, -2 - i)),
    ...message(2, [...varint(3, modelType), ...varint(35, 1)]),
    ...message(3, [...message(1, "identity"), ...message(2, map), ...varint(3, dummyPrefix), ...varint(4, 0)]),
  ];
}

describe("a tokenizer saved", () => {
  test("is the same when loaded, from its file or its folder, and saved again has the same bytes", async () => {
    const folder = temporaryFolder();
    const tokenizer = await trained();
    expect(saveTokenizer(tokenizer, folder)).toEqual([
      join(folder, "tokenizer.json"),
      join(folder, "tokenizer_config.json"),
    ]);
    for (const path of [folder, join(folder, "tokenizer.json")]) {
      const loaded = loadTokenizer(path);
      expect([loaded.hash, loaded.engine, loaded.endOfText]).toEqual([tokenizer.hash, "byte-level", 0]);
      expect(loaded.encode("lower 12")).toEqual(tokenizer.encode("lower 12"));
      saveTokenizer(loaded, join(folder, "again.json"));
      expect(readFileSync(join(folder, "again.json"))).toEqual(readFileSync(join(folder, "tokenizer.json")));
    }
  });

  test("lists its tokens in the order of their ids, digits too", async () => {
    const text = formatTokenizerJson((await trained()).toJson());
    const ids = [...text.matchAll(/^ {6}"(?!id")(?:[^"\\]|\\.)+": (\d+)/gm)].map((match) => Number(match[1]));
    expect(ids).toEqual(Array.from({ length: 260 }, (_, i) => i));
  });

  test("has a hash that spaces and the order of keys in the file do not change, and any token does", async () => {
    const tokenizer = await trained();
    const { model, ...rest } = tokenizer.toJson();
    expect(createTokenizer(JSON.parse(JSON.stringify({ model, ...rest }))).hash).toBe(tokenizer.hash);
    expect(tokenizer.hash).toMatch(/^[0-9a-f]{64}$/);
    const other = await trainBpe(["low lower lowest 0 1 2"], { vocabSize: 259 });
    expect(other.tokenizer.hash).not.toBe(tokenizer.hash);
  });
});

describe("roles", () => {
  test("bos and eos come from tokenizer_config.json beside, or from the caller", async () => {
    const folder = temporaryFolder();
    const { tokenizer } = await trainBpe(["text text"], {
      vocabSize: 260,
      specialTokens: ["<|endoftext|>", "<begin>", "<end>"],
    });
    saveTokenizer(tokenizer, join(folder, "tokenizer.json"));
    writeFileSync(
      join(folder, "tokenizer_config.json"),
      JSON.stringify({ bos_token: "<begin>", eos_token: { content: "<end>" } }),
    );
    const loaded = loadTokenizer(folder);
    expect([loaded.bos, loaded.eos, loaded.endOfText]).toEqual([1, 2, 0]);
    const asked = loadTokenizer(folder, { bos: null, endOfText: "<end>" });
    expect([asked.bos, asked.eos, asked.endOfText]).toEqual([null, 2, 2]);
    expect(() => loadTokenizer(folder, { eos: "<no>" })).toThrow('the eos token "<no>" is not in the vocabulary');
  });

  test("a tokenizer_config.json that is no JSON is refused by name", async () => {
    const folder = temporaryFolder();
    saveTokenizer(await trained(), folder);
    writeFileSync(join(folder, "tokenizer_config.json"), "{");
    expect(() => loadTokenizer(folder)).toThrow("tokenizer_config.json: is not JSON");
  });
});

describe("other tokenizers", () => {
  const wordPiece = {
    added_tokens: [{ id: 0, content: "[UNK]", special: true }],
    normalizer: { type: "Lowercase" },
    pre_tokenizer: { type: "Whitespace" },
    post_processor: null,
    decoder: { type: "WordPiece", prefix: "##", cleanup: false },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: { "[UNK]": 0, play: 1, "##ing": 2, the: 3 },
    },
  };

  test("WordPiece", () => {
    const tokenizer = createTokenizer(wordPiece);
    expect(tokenizer.engine).toBe("general");
    expect([...tokenizer.encode("The playing xyz")]).toEqual([3, 1, 2, 0]);
    expect(tokenizer.decode([3, 1, 2])).toBe("the playing");
    expect([tokenizer.decode([]), tokenizer.vocabSize]).toEqual(["", 4]);
    expect(tokenizer.decode([3, 4, 1])).toBe("the play");
    expect([...tokenizer.encode("[UNK]")]).toEqual([0]);
    expect([...tokenizer.encode("[UNK]", { parseSpecialTokens: false })]).toEqual([0, 0, 0]);
  });

  test("Unigram, whose vocabulary is a list; saved and loaded it is the same", () => {
    const mark = { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true };
    const tokenizer = createTokenizer({
      added_tokens: [{ id: 0, content: "<unk>", special: true }],
      normalizer: null,
      pre_tokenizer: mark,
      post_processor: null,
      decoder: mark,
      model: {
        type: "Unigram",
        unk_id: 0,
        vocab: [
          ["<unk>", 0],
          ["▁a", -1],
          ["b", -2],
          ["▁ab", -1.5],
        ],
      },
    });
    expect([...tokenizer.encode("ab a")]).toEqual([3, 1]);
    expect(tokenizer.decode([3, 1])).toBe("ab a");
    const path = join(temporaryFolder(), "tokenizer.json");
    saveTokenizer(tokenizer, path);
    expect(loadTokenizer(path).hash).toBe(tokenizer.hash);
    expect([...loadTokenizer(path).encode("ab a")]).toEqual([3, 1]);
  });

  test("one engine can be asked for, and says why it cannot", () => {
    expect(() => createTokenizer(wordPiece, { engine: "byte-level", name: "wp" })).toThrow(
      "wp: the byte-level engine cannot run this tokenizer: the model is not BPE",
    );
  });

  test("what is not known, or cannot be run, is refused by name when the file is opened", () => {
    const refusals = [
      [{ normalizer: { type: "Nonesuch" } }, 't: the normalizer "Nonesuch" is not supported'],
      [{ pre_tokenizer: { type: "Nonesuch" } }, 't: the pre-tokenizer "Nonesuch" is not supported'],
      [{ decoder: { type: "Nonesuch" } }, 't: the decoder "Nonesuch" is not supported'],
      [{ post_processor: { type: "Nonesuch" } }, 't: the post-processor "Nonesuch" is not supported'],
      [{ model: { type: "Nonesuch", vocab: {} }, added_tokens: [] }, 't: the model "Nonesuch" is not supported'],
      [
        { model: { type: "BPE", vocab: { a: 0 }, merges: [], dropout: 0.1 }, added_tokens: [] },
        't: "model.dropout" is 0.1: merges left out by chance are not supported',
      ],
      [
        { normalizer: { type: "Precompiled", precompiled_charsmap: "AAAA" } },
        '"precompiled_charsmap" ends amid its trie',
      ],
      [
        { pre_tokenizer: { type: "Split", pattern: { Regex: "(" }, behavior: "Isolated" } },
        't: the pattern "(" cannot be run',
      ],
      [
        { model: { ...wordPiece.model, unk_token: "no" } },
        'the unknown token "no" of "model.unk_token" is not in the vocabulary',
      ],
    ] as const;
    for (const [change, message] of refusals)
      expect(() => createTokenizer({ ...wordPiece, ...change }, { name: "t" })).toThrow(message);
    const piece = { SpecialToken: { id: "[UNK]" } };
    const text = { Sequence: { id: "A" } };
    const template = (single: object[]) => ({ type: "TemplateProcessing", single, special_tokens: {} });
    const around = (post_processor: object) => () => createTokenizer({ ...wordPiece, post_processor }, { name: "t" });
    expect(around(template([piece]))).toThrow("t: the post-processor leaves the text out");
    expect(around(template([text, text]))).toThrow("takes the text more than once");
    expect(around(template([{ SpecialToken: { id: "x" } }, text]))).toThrow(
      'puts "x" beside the text, which is no token',
    );
    expect(around({ type: "Sequence", processors: [template([piece, text]), template([piece, text])] })).toThrow(
      "puts tokens beside the text twice",
    );
    expect([
      ...createTokenizer({ ...wordPiece, post_processor: template([piece, text]) }).encode("the", {
        addSpecialTokens: true,
      }),
    ]).toEqual([0, 3]);
  });
});

describe("a SentencePiece file", () => {
  const write = (bytes: number[]) => {
    const path = join(temporaryFolder(), "tokenizer.model");
    writeFileSync(path, Uint8Array.from(bytes));
    return path;
  };

  test("is read, whatever its name", () => {
    const tokenizer = loadTokenizer(write(sentencePiece()));
    const tokens = (text: string) => [...tokenizer.encode(text)].map((id) => tokenizer.tokenOf(id));
    expect(tokens("ab abc é")).toEqual(["▁ab", "▁ab", "c", "▁", "<0xC3>", "<0xA9>"]);
    expect(tokenizer.decode(tokenizer.encode("ab abc é"))).toBe("ab abc é");
    expect([tokenizer.bos, tokenizer.eos, tokenizer.endOfText]).toEqual([1, 2, 2]);
  });

  // As transformers 5.24 has it for LLaMA-2's tokenizer.model: an explicit add_bos_token or add_eos_token decides. Where
  // nothing is said, bos stands before a text, as LLaMA-2's own program and llama.cpp have it.
  test.for([
    ["nothing", {}, [1], []],
    ["add_bos_token", { add_bos_token: true }, [1], []],
    ["no bos", { add_bos_token: false }, [], []],
    ["add_eos_token", { add_bos_token: true, add_eos_token: true }, [1], [2]],
    ["eos alone", { add_bos_token: false, add_eos_token: true }, [], [2]],
    ["null", { add_bos_token: null }, [1], []],
  ] as const)("follows tokenizer_config.json beside it: %s", ([, config, before, behind]) => {
    const path = write(sentencePiece());
    writeFileSync(join(path, "..", "tokenizer_config.json"), JSON.stringify(config));
    const tokenizer = loadTokenizer(path);
    const text = [...tokenizer.encode("ab")];
    expect([...tokenizer.encode("ab", { addSpecialTokens: true })]).toEqual([...before, ...text, ...behind]);
  });

  test("a token to be added that is not there is refused", () => {
    const path = write(sentencePiece());
    writeFileSync(
      join(path, "..", "tokenizer_config.json"),
      JSON.stringify({ add_bos_token: true, bos_token: "<begin>" }),
    );
    expect(() => loadTokenizer(path)).toThrow(
      'tokenizer_config.json beside it asks for add_bos_token, but its token "<begin>" is not in the vocabulary',
    );
  });

  test.for([
    ["of unigrams", { modelType: 1 }, "a SentencePiece model of unigram, not BPE, is not supported"],
    ["with a character map", { map: "xyz" }, 'the normalizer "identity" (a character map) is not supported'],
    ["without the space before a text", { dummyPrefix: 0 }, "without the space before a text is not supported"],
  ] as const)("%s is refused by name", ([, settings, message]) => {
    expect(() => loadTokenizer(write(sentencePiece(settings)))).toThrow(message);
  });

  test("cut short anywhere is refused, or lacks its settings, never misread", () => {
    const whole = sentencePiece();
    for (let length = 3; length < whole.length; length += 7)
      expect(() => sentencePieceToJson(Uint8Array.from(whole.slice(0, length)), "m"), String(length)).toThrow(
        /cut short|not BPE/,
      );
  });

  test("with a piece twice, a bad wire type or bytes that are no text is refused", () => {
    expect(() => loadTokenizer(write([...piece("a", 0), ...piece("a", 0), ...sentencePiece()]))).toThrow(
      'pieces 0 and 1 are both "a"',
    );
    expect(() => loadTokenizer(write([...piece("a", 0), 0x0b]))).toThrow(
      "protobuf wire type 3 of field 1, at byte 10;",
    );
    expect(() => loadTokenizer(write([...piece("a", 0), ...message(1, message(1, [0xff]))]))).toThrow(
      "a piece, at byte 14, is not UTF-8",
    );
  });
});

describe("a rank file", () => {
  const base64 = (bytes: number[]) => Buffer.from(bytes).toString("base64");
  const bytes = Array.from({ length: 256 }, (_, byte) => `${base64([byte])} ${byte}`);
  const write = (lines: string[]) => {
    const path = join(temporaryFolder(), "tokenizer.model");
    writeFileSync(path, lines.join("\n"));
    return path;
  };

  test.for([
    ["of another tokenizer", bytes, "has 256 ranks; only LLaMA-3's 128000 are supported"],
    ["without all bytes", bytes.slice(0, 255), "byte 255 has no token; is the file cut short?"],
    ["with a rank left out", [...bytes, "YWI= 257"], "line 257: rank 257 where 256 is next"],
    ["with a token twice", [...bytes, "AA== 256"], "line 257: repeats a token"],
    ["with a line of something else", [...bytes, "ab 1 2"], 'line 257: is "ab 1 2"; expected "<base64> <rank>"'],
    ["with bad base64", [...bytes, "YWJjZ 256"], "line 257: YWJjZ is not base64"],
  ] as const)("%s is refused", ([, lines, message]) => {
    expect(() => loadTokenizer(write([...lines]))).toThrow(message);
  });

  test("joins whatever makes a token, the best-ranked first, and takes a whole token before all", () => {
    // Ranks: the bytes by their characters, then "bc", "ab", "abc" (made of "a" and "bc").
    const byteTokens = Object.keys(trainedBytes);
    const json = ranksToJson([...byteTokens, "bc", "ab", "abc"]);
    expect(json.model.merges).toEqual(["b c", "a b", "a bc", "ab c"]);
    const tokenizer = createTokenizer(json);
    expect([...tokenizer.encode("abc abd")].map((id) => tokenizer.tokenOf(id))).toEqual(["abc", "Ġ", "ab", "d"]);
    expect(tokenizer.endOfText).toBe(256 + 3 + 1);
  });
});

const trainedBytes = (await trainBpe(["x"], { vocabSize: 256, specialTokens: [] })).tokenizer.toJson().model
  .vocab as Record<string, number>;

describe("what is no tokenizer", () => {
  const write = (content: string) => {
    const path = join(temporaryFolder(), "tokenizer.json");
    writeFileSync(path, content);
    return path;
  };
  const minimal = (change: object) =>
    JSON.stringify({ added_tokens: [], model: { type: "BPE", vocab: { a: 0 }, merges: [] }, ...change });

  test.for([
    ["{", "is not JSON"],
    ["{}", 'has no "model"'],
    [minimal({ model: { type: "BPE" } }), 'the model has no "vocab"'],
    [minimal({ model: { vocab: { a: -1 } } }), 'token "a" has id -1, not one of 0 to 2097151'],
    [minimal({ model: { vocab: { a: 4e9 } } }), 'token "a" has id 4000000000'],
    [minimal({ model: { vocab: { a: 0, b: 0 } } }), 'tokens "a" and "b" have one id, 0'],
    [minimal({ added_tokens: [{ id: 0, content: "<x>" }] }), 'tokens "a" and "<x>" have one id, 0'],
    [minimal({ added_tokens: [{ id: 1 }] }), 'added token 0 has no "content"'],
    [minimal({ added_tokens: {} }), '"added_tokens" is not a list'],
    [minimal({ decoder: {} }), '"decoder" is {}, expected an object with a "type"'],
    [minimal({ model: { vocab: { a: 0 }, merges: "a b" } }), '"model.merges" is not a list'],
    ["hello", "is no tokenizer that we read"],
    ["", "is no tokenizer that we read"],
  ])("%s is refused: %s", ([content, message]) => {
    expect(() => loadTokenizer(write(content))).toThrow(message);
  });

  test("a merge of tokens that are not there is refused with its rank", async () => {
    const json = structuredClone((await trained()).toJson());
    json.model.merges!.push("l zz");
    expect(() => createTokenizer(json, { name: "t" })).toThrow(
      't: merge 3 ("l zz") needs the token "zz", which the vocabulary lacks',
    );
    json.model.merges![3] = "one";
    expect(() => createTokenizer(json, { name: "t" })).toThrow(
      't: "model.merges[3]" is "one", expected two tokens, "left right"',
    );
  });

  test("a missing path and a folder without a tokenizer are refused", () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "empty"));
    expect(() => loadTokenizer(join(folder, "none.json"))).toThrow("none.json: cannot read: no such file or folder");
    expect(() => loadTokenizer(join(folder, "empty"))).toThrow(
      "empty: has neither a tokenizer.json nor a tokenizer.model",
    );
  });
});
