/** What `bitnet data inspect` finds as one HTML file: counts, charts, what was dropped with samples, duplicates side by side. */
import {
  type Inspection,
  type InspectedGroup,
  markDifferences,
  type MarkedText,
  type ShownPair,
  tokensPerByte,
} from "../corpus/index.ts";
import { clusterChart, groupChart, lengthChart, reasonChart, tokensChart } from "./inspection-charts.ts";
import { figure, pageOf, simpleTable } from "./page.ts";
import { escapeText as e } from "./svg.ts";

export interface InspectionPageOptions {
  createdMs: number;
  /** What else is known: the dataset's key, the command. */
  facts?: readonly (readonly [string, string])[];
}

const counted = (n: number | null): string =>
  n === null ? "–" : n.toLocaleString("en-US", { maximumFractionDigits: 0 });
const shareOf = (part: number, all: number): string => (all === 0 ? "–" : `${((100 * part) / all).toFixed(2)} %`);

export function inspectionPage(inspection: Inspection, { createdMs, facts = [] }: InspectionPageOptions): string {
  const { of, lengths, stages, duplicates, reading } = inspection;
  const charts = [
    ...Object.entries(lengths).map(([name, histogram]) => lengthChart(name, histogram)),
    groupChart(inspection),
    tokensChart(inspection),
    reasonChart(inspection),
    clusterChart(inspection),
  ].filter((chart) => chart !== null);
  const [first, ...more] = of;
  const sections = [
    `<section><h2>Counts</h2>${groupTable(inspection)}${readingNote(inspection)}</section>`,
    charts.length > 0 ? `<section><h2>Charts</h2>${charts.map(figure).join("")}</section>` : "",
    stages.length > 0 ? `<section><h2>Filters</h2>${stageTable(inspection)}</section>` : "",
    samples(inspection),
    duplicates ? duplicateSection(duplicates) : "",
    reading && reading.badRecords.length > 0
      ? `<section><h2>Bad records</h2><ul>${reading.badRecords.map(({ file, reason, records }) => `<li>${e(`${file}: ${reason}${records > 1 ? ` (${counted(records)} records)` : ""}`)}</li>`).join("")}</ul></section>`
      : "",
    facts.length > 0 ? `<section><h2>Provenance</h2>${simpleTable(["what", "value"], facts)}</section>` : "",
  ];
  const title = more.length > 0 ? `${first} and ${counted(more.length)} more` : first;
  return pageOf({ title, createdMs, sections, moreStyles: recordStyles });
}

/** A table that a phone shows row by row, each cell with its column's name. */
export function records(
  heads: readonly string[],
  rows: readonly { cells: readonly string[]; class?: string }[],
): string {
  const body = rows.map(({ cells, class: of }) => {
    const [name, ...rest] = cells;
    const numbers = rest.map((cell, i) => `<td class="number" data-label="${e(heads[i + 1])}">${e(cell)}</td>`);
    return `<tr${of ? ` class="${of}"` : ""}><th scope="row">${e(name)}</th>${numbers.join("")}</tr>`;
  });
  const head = heads.map((h, i) => `<th scope="col"${i > 0 ? ' class="number"' : ""}>${e(h)}</th>`).join("");
  return `<table class="records"><thead><tr>${head}</tr></thead><tbody>${body.join("")}</tbody></table>`;
}

/** Columns that say nothing (all cells unknown) are left out. */
function groupTable({ groups, groupedBy }: Inspection): string {
  const sum = (of: (group: InspectedGroup) => number | null): number | null =>
    groups.every((group) => of(group) !== null) ? groups.reduce((all, group) => all + of(group)!, 0) : null;
  const total: InspectedGroup = {
    name: "all",
    documents: sum((g) => g.documents)!,
    kept: sum((g) => g.kept)!,
    characters: sum((g) => g.characters),
    bytes: sum((g) => g.bytes),
    tokens: sum((g) => g.tokens),
  };
  const cells = (group: InspectedGroup): (string | null)[] => [
    group.name,
    counted(group.documents),
    total.kept < total.documents ? `${counted(group.kept)} (${shareOf(group.kept, group.documents)})` : null,
    total.characters === null ? null : counted(group.characters),
    total.bytes === null ? null : counted(group.bytes),
    total.tokens === null ? null : counted(group.tokens),
    total.tokens === null ? null : (tokensPerByte(group)?.toFixed(4) ?? "–"),
  ];
  const names = [groupedBy, "documents", "kept", "characters", "bytes", "tokens", "tokens per byte"];
  const shown = cells(total).map((cell) => cell !== null);
  const only = (row: readonly (string | null)[]) => row.filter((_, i) => shown[i]) as string[];
  const rows = [...groups, ...(groups.length > 1 ? [total] : [])];
  return records(
    only(names),
    rows.map((group) => ({ cells: only(cells(group)) })),
  );
}

function readingNote({ reading }: Inspection): string {
  if (!reading) return "";
  const { files, blank, bad } = reading;
  const facts = [`Read from ${counted(files)} ${files === 1 ? "file" : "files"}`];
  facts.push(`${counted(blank)} blank documents left out`, `${counted(bad)} bad records passed over`);
  return `<p class="note">${e(facts.join(", "))}.</p>`;
}

function stageTable({ stages }: Inspection): string {
  const rows = stages.flatMap(({ name, documentsIn, documentsOut, changed, dropped }) => [
    {
      class: "stage",
      cells: [
        name,
        counted(documentsIn),
        counted(documentsIn - documentsOut),
        shareOf(documentsIn - documentsOut, documentsIn),
        counted(changed),
      ],
    },
    ...Object.entries(dropped)
      .sort(([, a], [, b]) => b.documents - a.documents)
      .map(([reason, { documents }]) => ({
        class: "reason",
        cells: [reason, "", counted(documents), shareOf(documents, documentsIn), ""],
      })),
  ]);
  return records(["filter", "documents in", "dropped", "share", "changed"], rows);
}

function samples({ stages }: Inspection): string {
  const parts = stages.flatMap(({ name, dropped }) =>
    Object.entries(dropped)
      .filter(([, { samples }]) => samples.length > 0)
      .map(([reason, { documents, samples }]) => {
        const shown = samples.map(({ file, place, id, detail, text }) => {
          const where = `${file}, ${place}${id === null ? "" : `, ${id}`}${detail === null ? "" : `: ${detail}`}`;
          return `<article><h4>${e(where)}</h4><p class="text">${e(text)}</p></article>`;
        });
        return `<h3>${e(`${name}: ${reason}`)} <span class="arrow">${counted(documents)}</span></h3>${shown.join("")}`;
      }),
  );
  return parts.length === 0
    ? ""
    : `<section><h2>Samples of what was dropped</h2><p class="note">Those whose text hashes lowest, whatever the order of documents.</p>${parts.join("")}</section>`;
}

function duplicateSection(report: NonNullable<Inspection["duplicates"]>): string {
  const { documents, kept, dropped, options, near, pairs } = report;
  const rows = [
    ["exact duplicates", dropped.exact],
    ["near duplicates", dropped.near],
    ...(report.heldOut ? [["holding evaluation text", dropped.contaminated] as const] : []),
    ["left", kept],
  ] as const;
  const table = records(
    [`of ${counted(documents)} documents`, "documents", "share"],
    rows.map(([name, n]) => ({ cells: [name, counted(n), shareOf(n, documents)] })),
  );
  const how = near
    ? `Near: Jaccard similarity of the sets of word ${options.shingle}-grams of ${options.threshold} or more, ${options.verify === "exact" ? "compared exactly" : "estimated by MinHash"}; a pair at the threshold is found with probability ${options.recall.toFixed(4)}.`
    : "Exact duplicates only: the same text but for case, white space and Unicode composition.";
  const shown = pairs.map(pairOf);
  return `<section><h2>Duplicates</h2>${table}<p class="note">${e(how)}</p>${shown.length > 0 ? `<h3>Pairs</h3><p class="note">Marked: words that the other text lacks. Long texts are shown as they begin.</p>${shown.join("")}` : ""}</section>`;
}

function pairOf({ reason, similarity, dropped, other }: ShownPair): string {
  const [left, right] = markDifferences(dropped.text, other.text);
  const name = (of: ShownPair["dropped"]) =>
    `${of.source}, document ${counted(of.document)}${of.id ? `, ${of.id}` : ""}`;
  const side = (what: string, of: ShownPair["dropped"], text: readonly MarkedText[]) =>
    `<div><h4>${e(`${what}: ${name(of)}`)}</h4><p class="text">${text.map(marked).join("")}</p></div>`;
  const how = similarity === null ? "" : `, similarity ${similarity.toFixed(3)}`;
  const second = reason === "contaminated" ? "evaluation text" : "stays";
  return `<article class="pair"><h3>${e(`${reason}${how}`)}</h3><div class="sides">${side("dropped", dropped, left)}${side(second, other, right)}</div></article>`;
}

/** White space before the words stays outside of the mark. */
function marked({ text, differs }: MarkedText): string {
  if (!differs) return e(text);
  const words = text.trimStart();
  return `${text.slice(0, text.length - words.length)}<mark>${e(words)}</mark>`;
}

export const recordStyles = `
h1,h2,h3{overflow-wrap:anywhere}
h4{font-size:.85rem;margin:.4rem 0 .2rem;color:var(--muted);font-weight:600;overflow-wrap:anywhere}
th.number,td.number{text-align:right}
@media (min-width:701px){.records .number{white-space:nowrap}}
.records tbody th{font-weight:400}
.records .stage th,.records .stage td{font-weight:600}
.records .reason th{padding-left:1.6rem}
.text{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);margin:0 0 .6rem;padding:.6rem .8rem;font-size:.88rem;line-height:1.45;border-radius:4px}
.pair{border-top:1px solid var(--line);padding-top:.6rem;break-inside:avoid}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:.8rem}
.sides>div{min-width:0}
table:not(.records) td:first-child{overflow-wrap:normal}
mark{background:color-mix(in srgb,var(--series-2) 28%,transparent);color:inherit;border-radius:2px}
@media screen and (max-width:700px){
.sides{grid-template-columns:1fr;gap:0}
.records thead{position:absolute;clip-path:inset(50%)}
.records,.records tbody,.records tr,.records th,.records td{display:block}
.records tr{border-bottom:1px solid var(--line);padding:.4rem 0}
.records th,.records td{border:0;padding:.1rem .2rem}
.records tbody th{font-weight:600}
.records td{display:flex;justify-content:space-between;gap:1rem}
.records td:empty{display:none}
.records td::before{content:attr(data-label);color:var(--muted);text-align:left;font-weight:400}}
@media print{mark{background:none;text-decoration:underline}}
`;
