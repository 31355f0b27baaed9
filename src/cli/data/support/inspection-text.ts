/** An inspection of text for the terminal: counts by source, lengths, duplicates side by side. */
import type { InspectedGroup, Inspection, MarkedText, ShownPair } from "../../../corpus/index.ts";
import { describeLengths, describeSamples, describeSources, describeSpread, describeStages } from "./data-report.ts";
import { countOf, formatCount, formatShare, formatTable } from "../../support/format.ts";

export interface InspectionTextOptions {
  /** Dropped documents, and pairs of duplicates, to show for each reason. */
  samples: number;
  /** Columns of the terminal. */
  columns: number;
  /** Words that differ are shown in reverse; else in square brackets. */
  color: boolean;
}

export async function describeInspection(inspection: Inspection, options: InspectionTextOptions): Promise<string> {
  const { reading, stages, lengths } = inspection;
  const parts = [
    reading ? describeSources(reading) : "",
    await describeGroups(inspection),
    describeStages(stages),
    describeSamples(stages, options.samples),
    ...Object.values(lengths).map(
      (histogram) => describeSpread(histogram, histogram.unit) + describeLengths(histogram.bins, histogram.unit),
    ),
    describeDuplicates(inspection),
    await describePairs(inspection, options),
  ];
  return parts.filter((part) => part !== "").join("\n");
}

const share = (part: number, all: number): string => (all === 0 ? "-" : formatShare(part / all));

async function describeGroups({ groups, groupedBy, kind }: Inspection): Promise<string> {
  const { tokensPerByte } = await import("../../../corpus/index.ts");
  const known = (n: number | null) => (n === null ? "-" : formatCount(n));
  const row = (group: InspectedGroup) => [
    group.name,
    formatCount(group.documents),
    formatCount(group.kept),
    ...(kind === "deduplication"
      ? []
      : [known(group.characters), known(group.bytes), known(group.tokens), tokensPerByte(group)?.toFixed(4) ?? "-"]),
  ];
  const sum = (of: (group: InspectedGroup) => number | null) =>
    groups.reduce<number | null>((all, group) => (all === null || of(group) === null ? null : all + of(group)!), 0);
  const total: InspectedGroup = {
    name: "all",
    documents: sum((g) => g.documents)!,
    kept: sum((g) => g.kept)!,
    characters: sum((g) => g.characters),
    bytes: sum((g) => g.bytes),
    tokens: sum((g) => g.tokens),
  };
  const head = [groupedBy, "documents", "kept"];
  if (kind !== "deduplication") head.push("characters", "bytes", "tokens", "tokens/byte");
  const rows = groups.length > 1 ? [...groups, total] : groups;
  return formatTable([head, ...rows.map(row)], [1, 2, 3, 4, 5, 6]);
}

function describeDuplicates({ duplicates }: Inspection): string {
  if (!duplicates) return "";
  const { documents, kept, dropped, clusters, joinedThroughOthers, heldOut } = duplicates;
  const row = (name: string, n: number) => [name, formatCount(n), share(n, documents)];
  return (
    formatTable(
      [
        ["duplicates", "documents", "share"],
        row("exact", dropped.exact),
        row("near", dropped.near),
        ...(heldOut ? [row("holding evaluation text", dropped.contaminated)] : []),
        row("left", kept),
      ],
      [1, 2],
    ) +
    `${countOf(clusters.count, "cluster")}, the largest of ${formatCount(clusters.largest)}; ${countOf(joinedThroughOthers, "document")} joined through others\n`
  );
}

/** Lines of a text that both have, word for word. */
const sameLines = 3;

/** Pairs in two columns, a few for each reason. */
export async function describePairs(
  { duplicates }: Pick<Inspection, "duplicates">,
  { samples, columns, color }: InspectionTextOptions,
): Promise<string> {
  const { markDifferences } = await import("../../../corpus/index.ts");
  const shown = new Map<string, number>();
  const width = Math.floor((columns - 3) / 2);
  const name = ({ source, document, id }: ShownPair["dropped"]) =>
    `${source}, document ${formatCount(document)}${id === undefined ? "" : `, ${id}`}`;
  let text = "";
  for (const { reason, similarity, dropped, other } of duplicates?.pairs ?? []) {
    const before = shown.get(reason) ?? 0;
    shown.set(reason, before + 1);
    if (before >= samples) continue;
    const how = similarity === null ? "" : `, similarity ${similarity.toFixed(3)}`;
    const second = reason === "contaminated" ? "held out" : "stays";
    text += `${reason}${how}\n  dropped  ${name(dropped)}\n  ${second.padEnd(8)} ${name(other)}\n`;
    const marked = markDifferences(dropped.text, other.text);
    if (!marked.flat().some(({ differs }) => differs)) {
      const lines = wrapped(marked[0], columns - 2, color);
      text += `${lines
        .slice(0, sameLines)
        .map((line) => `  ${line.text}\n`)
        .join("")}${lines.length > sameLines ? "  ...\n" : ""}\n`;
      continue;
    }
    const [left, right] = marked.map((stretches) => wrapped(stretches, width, color));
    for (let i = 0; i < Math.max(left.length, right.length); i++) {
      const [a, b] = [left[i] ?? { text: "", width: 0 }, right[i] ?? { text: "", width: 0 }];
      text += `${`${a.text}${" ".repeat(width - a.width)} | ${b.text}`.trimEnd()}\n`;
    }
    text += "\n";
  }
  return text.trimEnd() === "" ? "" : `${text.trimEnd()}\n`;
}

/** Lines of words; each with the columns that it takes. Control characters of a stranger's text become spaces. */
function wrapped(marked: readonly MarkedText[], width: number, color: boolean): { text: string; width: number }[] {
  const [open, close] = color ? ["\x1b[7m", "\x1b[0m"] : ["[", "]"];
  const lines: { text: string; width: number }[] = [];
  let [text, taken, inside] = ["", 0, false];
  const marks = color ? 0 : 1;
  const endLine = () => {
    if (inside) text += close;
    lines.push({ text, width: taken + (inside ? marks : 0) });
    [text, taken, inside] = ["", 0, false];
  };
  for (const { text: stretch, differs } of marked) {
    const clean = stretch.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu, " ");
    for (const word of clean.split(/\s+/u).filter((word) => word !== "")) {
      // What does not fit a line is cut into lines; a mark at both ends takes two columns.
      for (let rest = [...word]; rest.length > 0; ) {
        const piece = rest.slice(0, width - 2 * marks);
        const room = piece.length + (taken > 0 ? 1 : 0) + (differs || inside ? 2 * marks : 0);
        if (taken > 0 && taken + room > width) {
          endLine();
          continue;
        }
        if (inside && !differs) {
          text += close;
          taken += marks;
          inside = false;
        }
        if (taken > 0) {
          text += " ";
          taken++;
        }
        if (differs && !inside) {
          text += open;
          taken += marks;
          inside = true;
        }
        text += piece.join("");
        taken += piece.length;
        rest = rest.slice(piece.length);
      }
    }
  }
  if (taken > 0) endLine();
  return lines;
}
