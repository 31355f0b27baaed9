/** A report as Markdown: what the page says, without its charts. */
import type { Comparison } from "./compare.ts";
import { chanceRule, formatDelta } from "./interpret.ts";
import { formatValue } from "./numbers.ts";
import { provenanceOf } from "./provenance.ts";
import type { Report } from "./report.ts";
import { caveatText } from "./summary.ts";

/** Text in a cell or a sentence: what Markdown would read is written out. */
const plain = (text: string): string =>
  text
    .replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]!)
    .replace(/[\\`*_{}[\]|#]/g, (c) => `\\${c}`)
    .replace(/\s+/g, " ");

const row = (cells: readonly string[]): string => `| ${cells.map(plain).join(" | ")} |`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(head), `| ${head.map(() => "---").join(" | ")} |`, ...rows.map(row)].join("\n");
}

const comparisonTable = ({ a, b, rows }: Comparison): string =>
  table(
    ["category", "metric", a, b ?? "no twin", "delta", "interpretation"],
    rows.map((r) => [
      r.category,
      r.name,
      formatValue(r.a, r.unit),
      b === null ? "–" : formatValue(r.b, r.unit),
      formatDelta(r.delta),
      r.interpretation,
    ]),
  );

export function toMarkdown(report: Report): string {
  const { title, summary, comparison, others, notes, configDifferences } = report;
  const parts = [
    `# ${plain(title)}`,
    "## Summary",
    summary.map(plain).join("\n\n"),
    "## Comparison",
    comparisonTable(comparison),
    `Delta is zero-based and signed: positive is always better for ${plain(comparison.a)}, 0 % is parity. ${thresholdText(report)}`,
  ];
  for (const other of others)
    parts.push(
      `### ${plain(other.a)} against ${plain(other.b ?? "")}`,
      comparisonTable(other),
      ...(other.caveats.length > 0 ? [plain(caveatText(other))] : []),
    );
  if (configDifferences.length > 0)
    parts.push(
      "## Configs",
      table(
        ["key", comparison.a, comparison.b ?? ""],
        configDifferences.map(({ key, a, b }) => [key, JSON.stringify(a) ?? "–", JSON.stringify(b) ?? "–"]),
      ),
    );
  if (notes.length > 0) parts.push("## Notes", notes.map((note) => `- ${plain(note)}`).join("\n"));
  parts.push("## Provenance", table(["what", "value"], provenanceOf(report)));
  return `${parts.join("\n\n")}\n`;
}

/** What the words mean; those on chance where a score is at chance. */
export function thresholdText({ thresholds, noiseRule, comparison, others }: Report): string {
  const words = thresholds.map(({ word, fromPercent }) =>
    fromPercent === null ? `${word}: below that` : `${word}: from ${fromPercent > 0 ? "+" : ""}${fromPercent} %`,
  );
  const chance = [comparison, ...others].some(({ rows }) => rows.some(({ a, b }) => a?.atChance || b?.atChance));
  return `${[...words, noiseRule, ...(chance ? [chanceRule] : [])].join("; ")}.`;
}
