/**
 * A report as one HTML file: no script, no font, no address; light and dark by the reader's setting, and fit to print. Text
 * from outside (names, paths, notes) is escaped.
 */
import { chartsOf } from "./charts.ts";
import type { Comparison, Row } from "./compare.ts";
import { formatDelta } from "./interpret.ts";
import { thresholdText } from "./markdown.ts";
import { caveatText } from "./summary.ts";
import { formatValue } from "./numbers.ts";
import { figure, pageOf, simpleTable } from "./page.ts";
import { provenanceOf } from "./provenance.ts";
import type { Report } from "./report.ts";
import { escapeText as e } from "./svg.ts";

export function toHtml(report: Report): string {
  const { title, summary, comparison, others, notes, configDifferences, models } = report;
  const charts = chartsOf(models).map(figure);
  const sections = [
    `<section><h2>Summary</h2>${summary.map((sentence) => `<p>${whole(sentence)}</p>`).join("")}</section>`,
    `<section><h2>Comparison</h2>${comparisonTable(comparison)}<p class="note">Delta is zero-based and signed: positive is always better for ${e(comparison.a)}, 0&nbsp;% is parity. ${whole(thresholdText(report))}</p></section>`,
    ...others.map(
      (other) =>
        `<section><h2>${e(other.a)} against ${e(other.b ?? "")}</h2>${comparisonTable(other)}${other.caveats.length > 0 ? `<p class="note">${whole(caveatText(other))}</p>` : ""}</section>`,
    ),
    charts.length > 0 ? `<section><h2>Charts</h2>${charts.join("")}</section>` : "",
    configDifferences.length > 0
      ? `<section><h2>What differs in the configs</h2>${simpleTable(
          ["key", comparison.a, comparison.b ?? ""],
          configDifferences.map(({ key, a, b }) => [key, JSON.stringify(a) ?? "–", JSON.stringify(b) ?? "–"]),
        )}</section>`
      : "",
    notes.length > 0
      ? `<section><h2>Notes</h2><ul>${notes.map((note) => `<li>${e(note)}</li>`).join("")}</ul></section>`
      : "",
    `<section><h2>Provenance</h2>${simpleTable(["what", "value"], provenanceOf(report))}</section>`,
    ...models.flatMap(({ name, training, config }) => [
      `<details><summary>Config of ${e(name)}</summary><pre>${e(JSON.stringify(training?.config ?? config, null, 2))}</pre></details>`,
    ]),
  ];
  return pageOf({ title, createdMs: report.createdMs, sections });
}

/** Text in which no line breaks between a number and its sign of per cent. */
const whole = (text: string): string => e(text.replace(/(\d) %/g, "$1\u00a0%"));

const slug = (text: string): string => text.replaceAll(" ", "-");

function comparisonTable({ a, b, rows }: Comparison): string {
  const groups = new Map<string, Row[]>();
  for (const row of rows) groups.set(row.category, [...(groups.get(row.category) ?? []), row]);
  const body = [...groups].flatMap(([category, list]) =>
    list.map((row, i) => {
      const head = i === 0 ? `<th class="category" scope="rowgroup" rowspan="${list.length}">${e(category)}</th>` : "";
      const cells = [
        `<td data-label="metric"><span>${e(row.name)}&nbsp;<span class="arrow">${row.higherIsBetter ? "↑" : "↓"}</span></span></td>`,
        `<td class="number" data-label="${e(a)}">${e(formatValue(row.a, row.unit))}</td>`,
        `<td class="number" data-label="${e(b ?? "no twin")}">${b === null ? "–" : e(formatValue(row.b, row.unit))}</td>`,
        `<td class="number" data-label="delta">${e(formatDelta(row.delta))}</td>`,
        `<td data-label="interpretation"><span class="word ${slug(row.interpretation)}">${e(row.interpretation)}</span></td>`,
      ];
      return `<tr${i === 0 ? ' class="first"' : ""}>${head}${cells.join("")}</tr>`;
    }),
  );
  const heads = ["category", "metric", a, b ?? "no twin", "delta", "interpretation"];
  return `<table class="comparison"><thead><tr>${heads.map((h) => `<th scope="col">${e(h)}</th>`).join("")}</tr></thead><tbody>${body.join("")}</tbody></table>`;
}
