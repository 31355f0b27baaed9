/**
 * Times the training of the 2048-token BPE and the encoding of a text: in one thread, over 1 and 2 workers, and by
 * @huggingface/tokenizers. First checks that all give the same tokens, and that they decode to the text.
 *
 *   npx tsx bench/tokenizer.ts [--data FILE] [--rounds 5] [--library-mb 2]
 *
 * MB are 10^6 bytes of UTF-8. A round runs each in turn; a worker pool is timed from its start (cold) and once warm.
 */
import { parseArgs } from "node:util";
import { readDocuments } from "../src/data/sources.ts";
import {
  createDocumentEncoder,
  createTokenizer,
  type DocumentEncoder,
  encodeDocuments,
  type Tokenizer,
  trainBpe,
} from "../src/tokenizer/index.ts";
import { sharedPath } from "../test/support/shared.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string", default: sharedPath("data/tinystories/train.txt.gz") },
    "vocab-size": { type: "string", default: "2048" },
    rounds: { type: "string", default: "5" },
    "library-mb": { type: "string", default: "2" },
  },
});
const rounds = Number(values.rounds);
const libraryBytes = Number(values["library-mb"]) * 1e6;

const documents: string[] = [];
for await (const document of readDocuments(values.data)) documents.push(document);
const sizes = documents.map((text) => Buffer.byteLength(text));
const bytes = sizes.reduce((sum, size) => sum + size, 0);
console.log(`${documents.length} documents, ${(bytes / 1e6).toFixed(2)} MB`);

async function elapsed(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

const trainMs: number[] = [];
let ours: Tokenizer | undefined;
for (let round = 0; round < rounds; round++)
  trainMs.push(
    await elapsed(async () => {
      ours = (await trainBpe(documents, { vocabSize: Number(values["vocab-size"]) })).tokenizer;
    }),
  );
const tokenizer = ours!;
const library = createTokenizer(tokenizer.toJson(), { engine: "library" });

// Equality first: the library on its part of the text, the workers on all of it, and the text back.
const few: string[] = [];
for (let i = 0, left = libraryBytes; i < documents.length && left > 0; left -= sizes[i++]) few.push(documents[i]);
const fewBytes = few.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
const same = (a: Int32Array, b: Int32Array) => a.length === b.length && a.every((id, i) => id === b[i]);
for (const text of few)
  if (!same(tokenizer.encode(text), library.encode(text)))
    throw new Error(`differs from the library: ${text.slice(0, 200)}`);
let tokens = 0;
let at = 0;
for await (const ids of encodeDocuments(tokenizer, documents, { threads: 2 })) {
  if (!same(ids, tokenizer.encode(documents[at])))
    throw new Error(`the workers differ: ${documents[at].slice(0, 200)}`);
  if (tokenizer.decode(ids) !== documents[at])
    throw new Error(`does not decode to itself: ${documents[at].slice(0, 200)}`);
  tokens += ids.length;
  at++;
}
if (at !== documents.length) throw new Error(`the workers gave ${at} of ${documents.length} documents`);
console.log(`equal: the library on ${few.length} documents, the workers and the decoder on all; ${tokens} tokens`);

const times: Record<string, { bytes: number; ms: number[] }> = {};
const record = async (name: string, size: number, work: () => unknown) => {
  times[name] ??= { bytes: size, ms: [] };
  times[name].ms.push(await elapsed(work));
};
const drain = async (threads: number) => {
  for await (const _ of encodeDocuments(tokenizer, documents, { threads }));
};
const warm: DocumentEncoder[] = [];
for (const threads of [1, 2]) {
  const encoder = createDocumentEncoder(tokenizer, { threads });
  await encoder.encodeMany(documents.slice(0, 2000));
  warm.push(encoder);
}
for (let round = 0; round < rounds; round++) {
  await record("this thread", bytes, () => documents.map((text) => tokenizer.encode(text)));
  for (const encoder of warm)
    await record(`${encoder.threads} workers, warm`, bytes, () => encoder.encodeMany(documents));
  await record("1 workers, from their start", bytes, () => drain(1));
  await record("2 workers, from their start", bytes, () => drain(2));
  await record("@huggingface/tokenizers", fewBytes, () => few.map((text) => library.encode(text)));
}
for (const encoder of warm) await encoder.close();

const report = (name: string, size: number, ms: number[]) => {
  const row = { name, megabytes: size / 1e6, medianMs: medianOf(ms), bestMs: Math.min(...ms) };
  const rate = (t: number) => (size / 1e3 / t).toFixed(1).padStart(6);
  console.log(`${name.padEnd(28)} ${rate(row.medianMs)} MB/s median, ${rate(row.bestMs)} best of ${ms.length}`);
  return { ...row, medianMBs: size / 1e3 / row.medianMs, bestMBs: size / 1e3 / row.bestMs };
};
writeResult("tokenizer", {
  ...provenance(`npx tsx bench/tokenizer.ts ${process.argv.slice(2).join(" ")}`.trim()),
  vocabSize: tokenizer.vocabSize,
  tokens,
  rows: [
    report(`train ${tokenizer.vocabSize} tokens`, bytes, trainMs),
    ...Object.entries(times).map(([name, { bytes: size, ms }]) => report(name, size, ms)),
  ],
});
