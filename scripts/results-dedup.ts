/** The part of docs/results.md about deduplication at four sizes: from bench/results/dedup.json (bench/dedup.ts). */

export interface DedupResult {
  date: string;
  commit: string;
  command: string;
  machine: { cpu: string; cores: number; memoryGiB: number; system: string; node: string };
  threads: number;
  memory: string;
  rows: {
    documents: number;
    bytes: number;
    wallMs: number;
    peakBytes: number;
    stages: { stage: string; wallMs: number; processorMs: number }[];
    near: { pairs: number; candidates: number; duplicates: number };
    dropped: Record<string, number>;
    kept: number;
    score: {
      pairs: number;
      found: number;
      recall: number;
      dropped: number;
      rightlyDropped: number;
      precision: number;
      decoys: number;
    };
  }[];
}

const table = (rows: string[][]) =>
  [rows[0], rows[0].map(() => "---"), ...rows.slice(1)].map((row) => `| ${row.join(" | ")} |`).join("\n");
const count = (value: number) => value.toLocaleString("en-US");
const seconds = (ms: number) => (ms / 1000).toFixed(1);
const percent = (part: number, all: number) => (all === 0 ? "-" : `${((100 * part) / all).toFixed(3)} %`);

export function dedupPart(result: DedupResult): string {
  const { rows, machine, threads, memory } = result;
  const last = rows.at(-1)!;
  const sizes = rows.map(({ documents }) => count(documents));
  const stages = last.stages.map(({ stage }) => stage);
  const processorMs = last.stages.reduce((sum, stage) => sum + stage.processorMs, 0);
  return `## Deduplication

Generated documents of 60 to 300 words with planted copies, edited copies (most at 0.8 to 0.98) and decoys below 0.8, in four .jsonl files;
\`bitnet data dedup\` with its defaults (128 permutations, threshold 0.8, exact verification), ${threads} worker threads, DuckDB bounded to ${memory}. Judged by
exact Jaccard similarity of sets of strings.

${table([
  ["documents", "text, MiB", "seconds", "x half's", "documents/s", "MiB/s", "peak memory, GiB", "recall", "precision"],
  ...rows.map((row, i) => [
    count(row.documents),
    (row.bytes / 2 ** 20).toFixed(0),
    seconds(row.wallMs),
    i === 0 ? "" : (row.wallMs / rows[i - 1].wallMs).toFixed(2),
    count(Math.round((1000 * row.documents) / row.wallMs)),
    (row.bytes / 2 ** 20 / (row.wallMs / 1000)).toFixed(1),
    (row.peakBytes / 2 ** 30).toFixed(2),
    percent(row.score.found, row.score.pairs),
    percent(row.score.rightlyDropped, row.score.dropped),
  ]),
])}

Of ${count(last.documents)} documents ${count(last.kept)} stayed; ${count(last.near.pairs)} pairs agreed in a band, ${count(last.near.candidates)} were compared, ${count(last.near.duplicates)} are duplicates.
${count(last.score.decoys)} planted pairs lie below the threshold. Seconds by stage, and what ${count(last.documents)} documents cost of the processors (${seconds(processorMs)} s in all,
${((processorMs * 1000) / last.documents).toFixed(0)} µs a document):

${table([
  ["stage", ...sizes, `processor seconds, ${sizes.at(-1)}`],
  ...stages.map((stage) => [
    stage,
    ...rows.map((row) => seconds(row.stages.find((one) => one.stage === stage)?.wallMs ?? 0)),
    seconds(last.stages.find((one) => one.stage === stage)!.processorMs),
  ]),
])}

\`${result.command}\`, commit ${result.commit}, ${result.date.slice(0, 10)}; ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}.
`;
}
