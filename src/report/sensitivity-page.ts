/** What `bitnet sensitivity` finds as one HTML file: losses, the ranking as charts and as a table, a budget's choice. */
import type { BudgetPlan, LossOfSample, Measured, Sensitivity } from "../analysis/index.ts";
import { shortName } from "../model/index.ts";
import { formatBytes, formatColumn, formatCount } from "../platform/format.ts";
import { formatValue } from "./numbers.ts";
import { figure, pageOf, simpleTable } from "./page.ts";
import { blockMap, measureWords, rankingChart } from "./sensitivity-charts.ts";
import { escapeText as e } from "./svg.ts";

export interface SensitivityPageOptions {
  createdMs: number;
  budget?: BudgetPlan | null;
  /** What else is known: the model, the text. */
  facts?: readonly (readonly [string, string])[];
}

export function sensitivityPage(
  result: Sensitivity,
  { createdMs, budget = null, facts = [] }: SensitivityPageOptions,
): string {
  const { measures, asIf, plan, group } = result;
  const measured = measures.filter((measure) => measure === "leave-one-out" || measure === "put-one-back");
  const charted = measured.length > 0 ? measured : measures.slice(0, 1);
  const charts = [...charted.map((measure) => rankingChart(result, measure)), blockMap(result, charted[0])];
  const losses: [string, string][] = [
    ["no layer quantized", lossWords(result.float)],
    [asIf === null ? `as it is (${plan})` : `all layers ${asIf}`, lossWords(result.quantized)],
    ["difference", withError(result.rise)],
  ];
  const sections = [
    `<section><h2>Loss</h2>${simpleTable(["", "nats per token"], losses)}<p class="note">On ${formatCount(result.tokens)} tokens in ${formatCount(result.sequences)} sequences; standard errors are over sequences, of differences paired by sequence.</p></section>`,
    `<section><h2>Charts</h2>${charts
      .filter((chart) => chart !== null)
      .map(figure)
      .join("")}</section>`,
    budget ? budgetSection(budget) : "",
    `<section><h2>Every ${group}</h2>${rankingTable(result)}</section>`,
    facts.length > 0 ? `<section><h2>Provenance</h2>${simpleTable(["what", "value"], facts)}</section>` : "",
  ];
  return pageOf({ title: "Sensitivity to quantization", createdMs, sections });
}

const withError = ({ value, standardError }: Measured): string => formatValue({ value, standardError }, "number");
const lossWords = ({ lossNats, standardError, perplexity }: LossOfSample): string =>
  `${withError({ value: lossNats, standardError })} (perplexity ${perplexity.toPrecision(5)})`;

function rankingTable({ rows, measures, group }: Sensitivity): string {
  const columns = measures.map((measure) => formatColumn(rows.map(({ scores }) => scores[measure]!)));
  const heads = [group, "weights", ...measures.map((measure, k) => measureWords[measure].name + columns[k].unit)];
  const body = rows.map(({ name, weights }, row) => {
    const cells = [formatCount(weights), ...columns.map((column) => column.cells[row])];
    return `<tr><td data-label="${e(group)}">${e(name)}</td>${cells.map((cell, i) => `<td class="number" data-label="${e(heads[i + 1])}">${e(cell)}</td>`).join("")}</tr>`;
  });
  return `<table class="comparison"><thead><tr>${heads.map((head, i) => `<th scope="col"${i > 0 ? ' class="number"' : ""}>${e(head)}</th>`).join("")}</tr></thead><tbody>${body.join("")}</tbody></table>`;
}

function budgetSection({ raised, bytes, ternaryBytes, loss, ternaryLoss }: BudgetPlan): string {
  const facts: [string, string, string][] = [
    ["bytes", formatBytes(ternaryBytes), formatBytes(bytes)],
    ["loss, nats per token", lossWords(ternaryLoss), lossWords(loss)],
  ];
  const falls = formatColumn(raised.map(({ fall }) => fall));
  const list = raised.map(({ layer, weights, extraBytes }, i) => [
    shortName(layer),
    weights === "none" ? "float" : weights,
    formatBytes(extraBytes),
    falls.cells[i],
  ]);
  return `<section><h2>Budget</h2>${simpleTable(["", "all ternary", "as chosen"], facts)}${
    list.length > 0
      ? simpleTable(["raised", "to", "bytes more", `fall in loss, alone${falls.unit}`], list)
      : "<p>No layer is worth its bytes.</p>"
  }</section>`;
}
