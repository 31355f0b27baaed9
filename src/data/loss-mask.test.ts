// Targets after a marker. Oracles: rows marked by hand; over random documents, the definition by text: a target counts if its
// token's text, at its offset in the decoded document, reaches past the marker's end.
import { expect, test } from "vitest";
import { createTokenizer, trainBpe, trainCharacters } from "../tokenizer/index.ts";
import { createBatches } from "./batches.ts";
import { createLossMarker, ignoreBeforeMarker, nextCounted } from "./loss-mask.ts";

const no = -100;
const characters = (await trainCharacters(["0123456789=+ ab\n"])).tokenizer;
const id = (token: string) => characters.idOf(token)!;
const EOT = characters.endOfText!;
const [EQ, SP] = [id("="), id(" ")];

test("targets count behind the marker to the document's end, and not behind an answer cut by the row's start", () => {
  const [four, five, six, seven, eight, nine] = [..."456789"].map(id);
  const tokens = new Int32Array([seven, EQ, SP, five, EOT, eight, EQ, SP, six, EOT, nine, EQ, SP, four, EOT, seven]);
  const targets = new Int32Array([...tokens.slice(1), seven]);
  ignoreBeforeMarker(tokens, targets, 8, createLossMarker("= ", characters), EOT);
  expect([...targets]).toEqual([no, no, five, EOT, no, no, no, six, no, no, no, no, four, EOT, no, no]);
});

test("a marker does not reach over a row's start", () => {
  const tokens = new Int32Array([id("7"), EQ, SP, id("5")]);
  const targets = new Int32Array([EQ, SP, id("5"), EOT]);
  ignoreBeforeMarker(tokens, targets, 2, createLossMarker("= ", characters), EOT);
  expect([...targets]).toEqual([no, no, no, no]);
});

const sums = Array.from(
  { length: 300 },
  (_, i) => `${(i * 37) % 100} + ${(i * 53) % 100} = ${((i * 37) % 100) + ((i * 53) % 100)}\n`,
);
const bpe = (await trainBpe(sums, { vocabSize: 330, specialTokens: ["<|endoftext|>", "<|answer|>"] })).tokenizer;

test.for(["=", " = ", "= ", " =", "==", "aab", "<|answer|>", " caf\u00e9 "])(
  "with byte-level BPE the marker %j is found wherever its text stands, whatever the tokens",
  (text) => {
    const documents = [
      ...sums.slice(0, 20),
      "1 == 2 == 3",
      "aaab 5 aab",
      "x<|answer|>y z",
      "a caf\u00e9 b",
      "no sign of it",
      text,
      `${text}1`,
      `1${text}`,
      ` ${text} 2 `,
    ];
    const end = bpe.endOfText!;
    const marker = createLossMarker(text, bpe);
    let joined = 0;
    for (const document of documents) {
      const ids = [...bpe.encode(document)];
      // Offsets are of bytes: a character can be cut.
      const bytes = new TextEncoder().encode(document);
      const found = Buffer.from(bytes).indexOf(text);
      const markerEnd = found < 0 ? Number.POSITIVE_INFINITY : found + Buffer.byteLength(text);
      const tokens = Int32Array.from([end, ...ids]);
      const targets = Int32Array.from([...ids, end]);
      let at = 0;
      const wanted = [...targets].map((target) => {
        const own = target === end ? 0 : (bpe.bytesOf(target)?.length ?? Buffer.byteLength(bpe.tokenOf(target)!));
        const from = at;
        at += own;
        if (from < markerEnd && at > markerEnd) joined++;
        return (own === 0 ? from >= markerEnd : at > markerEnd) ? target : no;
      });
      ignoreBeforeMarker(tokens, targets, tokens.length, marker, end);
      expect([...targets], JSON.stringify(document)).toEqual(wanted);
    }
    // The pages' own example: BPE joins the second space with the digits.
    if (text === " = ") expect(joined).toBeGreaterThan(10);
  },
);

test("a tokenizer whose tokens spell no bytes is refused", () => {
  const wordPiece = createTokenizer({
    ...bpe.toJson(),
    added_tokens: [],
    pre_tokenizer: { type: "Whitespace" },
    post_processor: null,
    decoder: { type: "WordPiece", prefix: "##", cleanup: false },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: { "[UNK]": 0, a: 1 },
    },
  });
  expect(() => createLossMarker("=", wordPiece)).toThrow(/spell no bytes of their own/);
  expect(() => createLossMarker("", bpe)).toThrow(/the text is empty/);
});

const streamOf = (documents: readonly string[]) => {
  const all = Int32Array.from(documents.flatMap((document) => [...characters.encode(document), EOT]));
  return {
    ...{
      tokenCount: all.length,
      endOfText: EOT,
      vocabSize: characters.vocabSize,
      identity: "x",
      documentCount: documents.length,
    },
    ...{
      textBytes: 1,
      read: (from: number, into: Int32Array) => void into.set(all.subarray(from, from + into.length)),
    },
  };
};

test("a batch without a counted target is passed over and counted, and the position behind it goes on the same", () => {
  const documents = Array.from({ length: 40 }, (_, i) => (i % 10 === 3 ? "1+1=2" : "aaaaaaa"));
  const open = () =>
    createBatches({
      ...{ tokens: streamOf(documents) as never, batch: 1, sequence: 8, seed: 1, shuffle: false },
      lossAfter: createLossMarker("=", characters),
    });
  const source = open();
  const batches = Array.from({ length: 6 }, () => source.next());
  expect(batches.every(({ targets_BT }) => targets_BT.some((target) => target !== no))).toBe(true);
  expect(batches.map(({ passedOver = 0 }) => passedOver).reduce((a, b) => a + b)).toBeGreaterThan(20);
  const again = open();
  for (let i = 0; i < 3; i++) again.next();
  const resumed = open();
  resumed.restore(again.state());
  for (let i = 3; i < 6; i++) expect(resumed.next()).toEqual(batches[i]);
});

test("where none ever comes that is an error, after two epochs", () => {
  const source = createBatches({
    ...{ tokens: streamOf(["aaaaaaa", "bbbbbbb", "aaaaaaa"]) as never, batch: 1, sequence: 4, seed: 1 },
    lossAfter: createLossMarker("=", characters),
  });
  expect(() => source.next()).toThrow(
    /no target counts in the loss in .* two epochs; does the text of data.lossAfter occur/,
  );
  let calls = 0;
  const never = () => {
    calls++;
    return { tokens_BT: new Int32Array(1), targets_BT: Int32Array.of(no), epoch: 0, index: 0 };
  };
  expect(() => nextCounted(never, 5)).toThrow("10 batches");
  expect(calls).toBe(11);
});
