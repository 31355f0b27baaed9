/** What happened to documents, for people: what was read, what each stage dropped and why, how long they are. */
import type { LengthHistogram, SourceReport, StageReport } from "../../../corpus/index.ts";
import { countOf, formatCount, formatShare, formatTable } from "../../support/format.ts";

/** Reading, and the bad records by name. */
export function describeSources({ files, documents, blank, bad, badRecords }: SourceReport): string {
  const facts = [`${countOf(documents, "document")} of ${formatCount(files)} ${files === 1 ? "file" : "files"}`];
  if (blank > 0) facts.push(`${formatCount(blank)} blank ones left out`);
  if (bad > 0) facts.push(`${formatCount(bad)} bad ${bad === 1 ? "record" : "records"} passed over`);
  const named = badRecords.map(
    ({ file, reason, records }) => `  ${file}: ${reason}${records > 1 ? ` (${countOf(records, "record")})` : ""}\n`,
  );
  const more = bad - badRecords.reduce((sum, { records }) => sum + records, 0);
  return `read       ${facts.join(", ")}\n${named.join("")}${more > 0 ? `  and ${formatCount(more)} more\n` : ""}`;
}

/** Stages as a table: what went in, what each reason took. */
export function describeStages(stages: readonly StageReport[]): string {
  if (stages.length === 0) return "";
  const rows = [["stage", "documents in", "dropped", "share", "changed", "characters out"]];
  for (const stage of stages) {
    const dropped = stage.documentsIn - stage.documentsOut;
    rows.push([
      stage.name,
      formatCount(stage.documentsIn),
      formatCount(dropped),
      share(dropped, stage.documentsIn),
      formatCount(stage.changed),
      formatCount(stage.charactersOut),
    ]);
    for (const [reason, { documents }] of byCount(stage))
      rows.push([`  ${reason}`, "", formatCount(documents), share(documents, stage.documentsIn), "", ""]);
    for (const [name, count] of Object.entries(stage.counts)
      .sort(([, a], [, b]) => b - a)
      .slice(0, 8))
      rows.push([`  (${name}: ${formatCount(count)})`, "", "", "", "", ""]);
  }
  return formatTable(rows, [1, 2, 3, 4, 5]);
}

/** How dropped documents begin, by stage and reason. */
export function describeSamples(stages: readonly StageReport[], most = Number.POSITIVE_INFINITY): string {
  let text = "";
  for (const stage of stages)
    for (const [reason, { samples }] of byCount(stage))
      for (const { file, place, id, detail, text: begin } of samples.slice(0, most)) {
        const why = detail === null ? "" : ` (${detail})`;
        text += `${stage.name}: ${reason}${why}: ${file}, ${place}${id === null ? "" : `, ${id}`}\n  ${oneLine(begin)}\n`;
      }
  return text;
}

/** A histogram with bars: each bin from a power of two to the next. */
export function describeLengths(bins: readonly number[], unit: string): string {
  const first = bins.findIndex((count) => count > 0);
  if (first < 0) return "";
  const most = Math.max(...bins);
  const all = bins.reduce((sum, count) => sum + count, 0);
  const rows = bins
    .slice(first)
    .map((count, i) => [
      `${formatCount(i + first === 0 ? 0 : 2 ** (i + first))}-${formatCount(2 ** (i + first + 1) - 1)}`,
      formatCount(count),
      share(count, all),
      "#".repeat(Math.ceil((40 * count) / most)),
    ]);
  return formatTable([[unit, "documents", "share", ""], ...rows], [0, 1, 2]);
}

export const describeSpread = ({ shortest, longest, mean }: LengthHistogram, unit = "tokens"): string =>
  `${unit} in a document: ${formatCount(shortest)} to ${formatCount(longest)}, ${mean.toFixed(1)} on average\n`;

const byCount = (stage: StageReport) => Object.entries(stage.dropped).sort(([, a], [, b]) => b.documents - a.documents);
const share = (part: number, all: number) => (all === 0 ? "-" : formatShare(part / all));

/** Control characters of a stranger's text must not reach the terminal. */
const oneLine = (text: string) =>
  text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, " ")
    .trim()
    .slice(0, 160);
