/** The part of docs/results.md about whole preparations: from bench/results/data.json (bench/data.ts). */
import type { DataRun } from "../bench/data.ts";

export interface DataResult {
  date: string;
  commit: string;
  command: string;
  machine: { cpu: string; cores: number; memoryGiB: number; system: string; node: string };
  texts: string[];
  corpus: { documents: number; bytes: number; fileBytes: number };
  filters: unknown[];
  vocabSize: number;
  sequence: number;
  runs: DataRun[];
}

const what: Record<string, string> = {
  hash: "hash the files",
  text: "read, filter, keep as text",
  signatures: "signatures",
  candidates: "candidates (SQL)",
  shingles: "shingles of candidates",
  clusters: "clusters (SQL)",
  write: "list what is dropped",
  tokenizer: "train the tokenizer",
  encode: "encode",
  shards: "order, fit, write shards",
};
const table = (rows: string[][]) =>
  [rows[0], rows[0].map(() => "---"), ...rows.slice(1)].map((row) => `| ${row.join(" | ")} |`).join("\n");
const count = (value: number) => Math.round(value).toLocaleString("en-US");
const seconds = (ms: number) => (ms / 1000).toFixed(1);
const gibibytes = (bytes: number) => (bytes / 2 ** 30).toFixed(2);

export function dataPart(result: DataResult): string {
  const { corpus, runs, machine, vocabSize, sequence } = result;
  const [first] = runs;
  const { read, filtered, duplicates, train, valid } = first.documents;
  const rates = (ms: number) => [
    seconds(ms),
    (corpus.bytes / 1e3 / ms).toFixed(1),
    count((1000 * corpus.documents) / ms),
  ];
  const threads = (n: number) => `${n} ${n === 1 ? "thread" : "threads"}`;
  const stages = first.stages.map(({ stage }) => stage);
  const names = result.filters.map((filter) =>
    typeof filter === "string" ? filter : Object.keys(filter as object)[0],
  );
  return `## Preparing data

A whole preparation: ${count(corpus.documents)} documents, ${(corpus.bytes / 1e6).toFixed(0)} MB of text (${(corpus.fileBytes / 1e6).toFixed(0)} MB as .jsonl.gz), made of ${result.texts.join(", ")} and changed copies of
them, through ${names.join(", ")}; exact and near duplicates; a BPE of ${count(vocabSize)} tokens trained on them; best-fit sequences of ${count(sequence)},
shuffled; shards of 10 million tokens. Filters dropped ${count(filtered)} of ${count(read)} documents, duplicates were ${count(duplicates)}; ${count(train + valid)} with ${count(first.tokens)}
tokens stayed. All runs wrote the same bytes. MB (10^6 bytes) and documents are those read, for every stage.

${table([
  ["", ...runs.flatMap((run) => [`${threads(run.threads)}: s`, "MB/s", "documents/s", "processor s", "peak, GiB"])],
  ...stages.map((name) => [
    what[name] ?? name,
    ...runs.flatMap((run) => {
      const stage = run.stages.find((one) => one.stage === name);
      return stage
        ? [...rates(stage.wallMs), seconds(stage.processorMs), gibibytes(stage.peakBytes)]
        : ["", "", "", "", ""];
    }),
  ]),
  ["all", ...runs.flatMap((run) => [...rates(run.wallMs), seconds(run.processorMs), gibibytes(run.peakBytes)])],
])}

A peak is the process's up to the end of the stage. \`${result.command}\`, commit ${result.commit}, ${result.date.slice(0, 10)}; ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}.
`;
}
