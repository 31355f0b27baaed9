/**
 * Times encoding: own BPE of 2,048 and 32,000 tokens, LLaMA-2's and LLaMA-3's, over stories, web text and many languages; on
 * this thread, over two workers, and by @huggingface/tokenizers. First checks that all give the same tokens, and that they
 * decode to the text.
 *
 *   npm run bench -- tokenizer [--only bpe-32000] [--rounds 5] [--library-mb 0.3] [--quick]
 *
 * MB are 10^6 bytes of UTF-8. In a round each has its turn, with an empty cache: new encoders and new workers, which have
 * encoded another text before, so that their code is compiled. `--only` keeps the rows of the others.
 */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { readDocuments } from "../src/corpus/sources.ts";
import {
  createDocumentEncoder,
  createTokenizer,
  encodeDocuments,
  loadTokenizer,
  type Tokenizer,
  trainBpe,
} from "../src/tokenizer/index.ts";
import { sharedPath } from "../test/support/shared.ts";
import { medianOf, provenance, writeResult } from "./machine.ts";

export interface TokenizerRow {
  tokenizer: string;
  vocabSize: number;
  text: string;
  megabytes: number;
  tokens: number;
  /** Rounds, in MB/s. */
  thread: number[];
  workers: number[];
  /** One pass over the beginning of the text. */
  library: number;
  date: string;
  commit: string;
}

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    rounds: { type: "string", default: "5" },
    "library-mb": { type: "string", default: "0.3" },
    quick: { type: "boolean", default: false },
  },
});
const rounds = values.quick ? 1 : Number(values.rounds);
const libraryBytes = Number(values["library-mb"]) * 1e6;

const shared = (paths: string[]) => paths.map((path) => sharedPath(`data/${path}`));
const corpora: { name: string; files: string[]; field?: string }[] = [
  { name: "TinyStories", files: shared(["tinystories/train.txt.gz"]) },
  {
    name: "web",
    files: shared([
      "text/c4_sample.jsonl.gz",
      "text/dolma_commoncrawl_2019-30.jsonl.gz",
      "text/dclm_quality_agreement.jsonl.gz",
      "text/dclm_quality_majority.jsonl.gz",
    ]),
  },
  { name: "23 languages", files: shared(["text/opentextbooks_400.parquet"]), field: "contents" },
];

interface Corpus {
  name: string;
  documents: string[];
  megabytes: number;
}

const texts: Corpus[] = [];
for (const { name, files, field } of corpora) {
  const absent = files.find((file) => !existsSync(file));
  if (absent) {
    console.log(`left out: ${name}, since ${absent} is not here`);
    continue;
  }
  const documents: string[] = [];
  for await (const document of readDocuments(files, { field })) documents.push(document);
  const kept = values.quick ? documents.slice(0, 200) : documents;
  texts.push({ name, documents: kept, megabytes: kept.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6 });
}
if (texts.length === 0) throw new Error("bench: there is no text to encode");

const trained = (vocabSize: number, of: readonly Corpus[]) => async (): Promise<Tokenizer> =>
  (
    await trainBpe(
      of.flatMap(({ documents }) => documents),
      { vocabSize },
    )
  ).tokenizer;
const published = (path: string) => (existsSync(path) ? async () => loadTokenizer(path) : null);
const makers: Record<string, (() => Promise<Tokenizer>) | null> = {
  "bpe-2048": trained(2048, texts.slice(0, 1)),
  "bpe-32000": trained(32_000, texts),
  "LLaMA-2": published(sharedPath("data/tokenizers/llama2.tokenizer.json")),
  "LLaMA-3": published(sharedPath("data/tokenizers/llama3.tokenizer.model")),
};
if (values.only !== undefined && !Object.hasOwn(makers, values.only))
  throw new Error(`bench: there is no tokenizer "${values.only}"; there are: ${Object.keys(makers).join(", ")}`);

const same = (a: Int32Array, b: Int32Array) => a.length === b.length && a.every((id, i) => id === b[i]);

/** All ways give the same tokens, which decode to the text. Returns their number, and the library's speed. */
async function check(tokenizer: Tokenizer, { name, documents }: Corpus): Promise<{ tokens: number; library: number }> {
  const differ = (what: string, text: string) =>
    new Error(`${tokenizer.name}, ${name}: ${what}: ${text.slice(0, 200)}`);
  const library = createTokenizer(tokenizer.toJson(), { engine: "library" });
  let [bytes, elapsedMs] = [0, 0];
  for (const text of documents) {
    if (bytes >= libraryBytes) break;
    // Without a pre-tokenizer the library's time grows with the square of a text's length: short texts.
    const part = text.slice(0, 2000).replace(/[\ud800-\udbff]$/, "");
    const start = performance.now();
    const expected = library.encode(part);
    elapsedMs += performance.now() - start;
    bytes += Buffer.byteLength(part);
    if (!same(tokenizer.encode(part), expected)) throw differ("differs from the library", part);
  }
  let [tokens, at] = [0, 0];
  for await (const ids of encodeDocuments(tokenizer, documents, { threads: 2 })) {
    const text = documents[at++];
    if (!same(ids, tokenizer.encode(text))) throw differ("the workers differ", text);
    // LLaMA-2's mark for a space comes back as a space, and a space is put behind a special token.
    if (tokenizer.decode(ids) !== text && tokenizer.engine === "byte-level")
      throw differ("does not decode to itself", text);
    tokens += ids.length;
  }
  if (at !== documents.length) throw new Error(`the workers gave ${at} of ${documents.length} documents`);
  return { tokens, library: bytes / 1e3 / elapsedMs };
}

/** MB/s of one pass with an empty cache. */
async function pass(tokenizer: Tokenizer, { documents, megabytes }: Corpus, threads: number, before: Corpus) {
  const encoder = createDocumentEncoder(tokenizer, { threads });
  if (threads > 0) for (let i = 0; i < 3; i++) await encoder.encodeMany(before.documents);
  const start = performance.now();
  await encoder.encodeMany(documents);
  const elapsedMs = performance.now() - start;
  await encoder.close();
  return (megabytes * 1e3) / elapsedMs;
}

const origin = provenance(`npm run bench -- tokenizer ${process.argv.slice(2).join(" ")}`.trim());
const file = resolve(import.meta.dirname, "results/tokenizer.json");
const before: TokenizerRow[] =
  values.only !== undefined && existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).rows : [];
const rows = before.filter(({ tokenizer }) => tokenizer !== values.only && Object.hasOwn(makers, tokenizer));
const leftOut: string[] = [];
for (const [name, make] of Object.entries(makers)) {
  if (values.only !== undefined && values.only !== name) continue;
  if (!make) {
    leftOut.push(`${name}: its file is not here`);
    continue;
  }
  const tokenizer = await make();
  for (const [i, text] of texts.entries()) {
    const { tokens, library } = await check(tokenizer, text);
    const row: TokenizerRow = {
      ...{ tokenizer: name, vocabSize: tokenizer.vocabSize, text: text.name, megabytes: text.megabytes, tokens },
      ...{ thread: [], workers: [], library, date: origin.date, commit: origin.commit },
    };
    const other = texts[(i + 1) % texts.length];
    for (let round = 0; round < rounds; round++) {
      row.thread.push(await pass(tokenizer, text, 0, other));
      row.workers.push(await pass(tokenizer, text, 2, other));
    }
    rows.push(row);
    const [one, two] = [medianOf(row.thread), medianOf(row.workers)].map((rate) => rate.toFixed(1).padStart(6));
    console.log(
      `${name.padEnd(10)} ${text.name.padEnd(12)} ${text.megabytes.toFixed(1).padStart(5)} MB  ${one} MB/s on a thread, ${two} on two workers, ${library.toFixed(2)} by the library`,
    );
  }
}
const order = Object.keys(makers);
rows.sort((a, b) => order.indexOf(a.tokenizer) - order.indexOf(b.tokenizer));
writeResult("tokenizer", { ...origin, rounds, leftOut, rows }, values.quick);
