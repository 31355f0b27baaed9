/**
 * Writes the table of docs/tokenizers.md from bench/results/tokenizer.json: no number there is typed in. `npm run
 * docs:results`; a test compares the page with what this makes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { medianOf, type Provenance } from "../bench/machine.ts";
import type { TokenizerRow } from "../bench/tokenizer.ts";

const root = resolve(import.meta.dirname, "..");

export interface TokenizerResult extends Provenance {
  rounds: number;
  leftOut: string[];
  rows: TokenizerRow[];
}

const begin = "<!-- made by npm run docs:results from bench/results/tokenizer.json -->";
const end = "<!-- end -->";

function speedTable({ machine, rows, leftOut }: TokenizerResult): string {
  const head = [
    "tokenizer",
    "text",
    "MB",
    "tokens",
    "one thread, MB/s",
    "two workers",
    "ratio",
    "@huggingface/tokenizers",
  ];
  const lines = rows.map(({ tokenizer, text, megabytes, tokens, thread, workers, library }) => {
    const [one, two] = [medianOf(thread), medianOf(workers)];
    return [
      tokenizer,
      text,
      megabytes.toFixed(1),
      tokens.toLocaleString("en-US"),
      one.toFixed(1),
      two.toFixed(1),
      (two / one).toFixed(2),
      library.toFixed(2),
    ];
  });
  const table = [head, head.map((_, i) => (i < 2 ? "---" : "---:")), ...lines].map((line) => `| ${line.join(" | ")} |`);
  const least = (rates: (row: TokenizerRow) => number[]) =>
    Math.min(...rows.map((row) => medianOf(rates(row)))).toFixed(1);
  const commits = [...new Set(rows.map(({ commit }) => commit))].join(", ");
  const days = [...new Set(rows.map(({ date }) => date.slice(0, 10)))].join(", ");
  return `\`npm run bench -- tokenizer\` checks that all ways give the same tokens, then times them, each round with an empty cache; the
medians of ${[...new Set(rows.map(({ thread }) => thread.length))].join(" or ")} rounds. The least is ${least((r) => r.thread)} MB/s on one thread and ${least((r) => r.workers)} on two workers.

${table.join("\n")}

Commit ${commits}, ${days}; ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}.${leftOut.length > 0 ? ` Left out: ${leftOut.join("; ")}.` : ""}`;
}

/** The page with the table of these results in its place. */
export function withSpeeds(page: string, result: TokenizerResult): string {
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/tokenizers.md lacks "${begin}" or "${end}" behind it`);
  return `${page.slice(0, from)}${begin}\n\n${speedTable(result)}\n\n${page.slice(to)}`;
}

if (process.argv[1] === import.meta.filename) {
  const path = resolve(root, "docs/tokenizers.md");
  const result = JSON.parse(readFileSync(resolve(root, "bench/results/tokenizer.json"), "utf8")) as TokenizerResult;
  writeFileSync(path, withSpeeds(readFileSync(path, "utf8"), result));
  console.log("written: docs/tokenizers.md");
}
