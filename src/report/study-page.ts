/** A study as one HTML file, as a report is: table, curves by arm, results by seed, failures, configs. `bitnet study report --html`. */
import { scaleBand, scaleLinear } from "d3-scale";
import { line } from "d3-shape";
import { countOf } from "../platform/format.ts";
import { configDifferences } from "./compare.ts";
import { type CurvePoint, type SavedStudy, type StudySummary, summarizeStudy } from "../study/index.ts";
import { recordStyles, records } from "./inspection-page.ts";
import { type DrawnChart, figure, pageOf, simpleTable } from "./page.ts";
import { metricWords, studyHead, studyNotes, studyRows } from "./study-table.ts";
import {
  bandAxis,
  dot,
  escapeText as e,
  frame,
  type FrameOptions,
  path,
  plotArea,
  segment,
  xAxis,
  yAxis,
} from "./svg.ts";

/** Of the arms in their order; those after repeat, dashed. */
const colorOf = (index: number): string => `var(--series-${(index % 6) + 1})`;
const dashOf = (index: number): string => (index < 6 ? "" : 'stroke-dasharray="5 3"');

export function studyPage(study: SavedStudy, { createdMs, title }: { createdMs: number; title?: string }): string {
  const summary = summarizeStudy(study);
  const charts = [resultChart(study, summary), curveChart(summary)].filter((chart) => chart !== null);
  const { failures } = summary;
  const last = study.trials.at(-1);
  const provenance: [string, string][] = [
    ...study.commands.map((command): [string, string] => ["command", command]),
    ...(last
      ? ([
          ["machine", `${last.machine.processor}, ${last.machine.processors} processors, Node ${last.machine.node}`],
          [
            "backend",
            `${last.backend.name} ${last.backend.isa}, ${countOf(last.backend.threads, "thread")}, ${last.backend.precision}`,
          ],
          ["software", `bitnet.ts ${last.software.version}, commit ${last.software.commit ?? "unknown"}`],
        ] as [string, string][])
      : []),
    ...Object.values(study.data).map((data): [string, string] => [
      "text",
      `${data.tokens.toLocaleString("en-US")} tokens to train on (${data.identity.slice(0, 16)}), ${data.validationTokens.toLocaleString("en-US")} to validate on (${data.validationIdentity.slice(0, 16)})`,
    ]),
  ];
  const about = study.file.about;
  return pageOf({
    title: title ?? `Study: ${study.name}`,
    createdMs,
    // Nine columns: a phone shows them row by row, and a page lets long cells break.
    moreStyles: `${recordStyles}@media (min-width:701px){.records .number{white-space:normal}.records th,.records td{overflow-wrap:normal}}`,
    sections: [
      about ? `<section><p>${e(about)}</p></section>` : "",
      `<section><h2>Arms</h2>${records(
        studyHead(summary),
        studyRows(summary).map((cells) => ({ cells })),
      )}${studyNotes(summary)
        .map((note) => `<p class="note">${e(note)}</p>`)
        .join("")}</section>`,
      charts.length > 0 ? `<section><h2>Charts</h2>${charts.map(figure).join("")}</section>` : "",
      failures.length > 0
        ? `<section><h2>Failures</h2>${simpleTable(
            ["arm", "seed", "steps", "reason"],
            failures.map(({ arm, seed, steps, reason }) => [arm, String(seed), String(steps), reason]),
          )}</section>`
        : "",
      differences(study),
      `<section><h2>Provenance</h2>${simpleTable(["what", "value"], provenance)}</section>`,
    ],
  });
}

/** Keys in which an arm differs from the baseline. */
function differences(study: SavedStudy): string {
  const base = study.arms.find(({ name }) => name === study.baseline)!;
  const rows = study.arms.flatMap(({ name, config }) =>
    configDifferences(base.config, config).map(({ key, a, b }) => [
      name,
      key,
      JSON.stringify(a) ?? "–",
      JSON.stringify(b) ?? "–",
    ]),
  );
  return rows.length === 0
    ? ""
    : `<section><h2>What differs in the configs</h2>${simpleTable(["arm", "key", study.baseline, "arm's"], rows)}</section>`;
}

/** A row for each arm: a dot for each seed, the mean, and a standard error to both sides. */
function resultChart({ trials }: SavedStudy, summary: StudySummary): DrawnChart | null {
  const { metric } = summary;
  const rows = summary.arms.flatMap((arm, i) => {
    const values = trials.filter((trial) => trial.arm === arm.arm && trial.status === "finished");
    return arm.final ? [{ name: arm.arm, color: colorOf(i), final: arm.final, values }] : [];
  });
  if (rows.length === 0) return null;
  return {
    id: "results",
    heading: "Results by arm",
    caption:
      "Small dots: seeds. Large dot: their mean; line: one standard error to both sides. Further left is better.",
    draw(width) {
      const long = 8 + 7 * Math.max(...rows.map(({ name }) => name.length));
      const options: FrameOptions = {
        width,
        height: 62 + rows.length * 26,
        title: `Validation ${metricWords[metric]} by arm`,
        xLabel: metricWords[metric],
        yLabel: "",
        margin: { left: Math.max(24, Math.min(long, width * 0.45)) },
      };
      const area = plotArea(options);
      const all = rows.flatMap(({ values, final }) => [
        ...values.map(({ final: one }) => one![metric]!),
        final.mean - (final.standardError ?? 0),
        final.mean + (final.standardError ?? 0),
      ]);
      const [low, high] = [Math.min(...all), Math.max(...all)];
      const room = high > low ? 0 : 0.01 * Math.max(1, Math.abs(low));
      const x = scaleLinear([low - room, high + room], [area.left, area.right]).nice();
      const y = scaleBand<string>(
        rows.map(({ name }) => name),
        [area.top, area.bottom],
      ).padding(0.3);
      const body = rows.map(({ name, color, final, values }) => {
        const middle = y(name)! + y.bandwidth() / 2;
        const error = final.standardError ?? 0;
        return [
          segment(x(final.mean - error), middle, x(final.mean + error), middle, color, 'stroke-width="2"'),
          ...values.map(({ seed, final: one }) =>
            dot(x(one![metric]!), middle, 2.5, color, `${name}, seed ${seed}: ${one![metric]!.toFixed(4)}`),
          ),
          dot(x(final.mean), middle, 5, color, `${name}: ${final.mean.toFixed(4)}`),
        ].join("");
      });
      const ticks = Math.max(2, Math.floor(width / 130));
      return frame(options, xAxis(x, area, ticks, String) + bandAxis(y, area) + body.join(""));
    },
  };
}

/** Of each arm the mean over its seeds at each evaluation, and each seed faintly. */
function curveChart(summary: StudySummary): DrawnChart | null {
  const { metric } = summary;
  const valueAt = (point: CurvePoint): number | null => point[metric];
  const arms = summary.arms.flatMap(({ arm }, i) => {
    const seeds = summary.curves.filter((curve) => curve.arm === arm && curve.points.length > 1);
    return seeds.length > 0 ? [{ arm, index: i, seeds }] : [];
  });
  if (arms.length === 0) return null;
  return {
    id: "curves",
    heading: "Validation while training",
    caption:
      "Strong: mean over the seeds that reached an evaluation. Faint: single seeds. Evaluations on the way may be of a part of the validation text. Lower is better.",
    draw(width) {
      const options: FrameOptions = {
        width,
        height: Math.min(420, 260 + width / 5),
        title: `Validation ${metricWords[metric]} over tokens`,
        xLabel: "tokens trained on",
        yLabel: metricWords[metric],
        legend: arms.map(({ arm, index }) => ({ name: arm, color: colorOf(index), dashed: index >= 6 })),
      };
      const area = plotArea(options);
      const shown = arms
        .flatMap(({ seeds }) => seeds.flatMap(({ points }) => points))
        .flatMap((point) => {
          const value = valueAt(point);
          return value === null ? [] : [{ tokens: point.tokens, value }];
        });
      if (shown.length === 0) return frame(options, "");
      const x = scaleLinear([0, Math.max(...shown.map(({ tokens }) => tokens))], [area.left, area.right]);
      const values = shown.map(({ value }) => value);
      const y = scaleLinear([Math.min(...values), Math.max(...values)], [area.bottom, area.top]).nice();
      const curve = line<{ tokens: number; value: number }>()
        .x(({ tokens }) => x(tokens))
        .y(({ value }) => y(value));
      const body = arms.map(({ arm, index, seeds }) => {
        const at = new Map<number, number[]>();
        const lines = seeds.map(({ points }) =>
          points.flatMap((point) => {
            const value = valueAt(point);
            if (value === null) return [];
            at.set(point.tokens, [...(at.get(point.tokens) ?? []), value]);
            return [{ tokens: point.tokens, value }];
          }),
        );
        const mean = [...at]
          .sort(([a], [b]) => a - b)
          .map(([tokens, list]) => ({ tokens, value: list.reduce((sum, one) => sum + one, 0) / list.length }));
        const color = colorOf(index);
        return [
          ...(lines.length > 1 ? lines : []).map((one) => path(curve(one) ?? "", color, 'stroke-opacity="0.35"')),
          path(curve(mean) ?? "", color, dashOf(index)),
          ...mean.map((p) =>
            dot(x(p.tokens), y(p.value), 2.5, color, `${arm}, ${p.tokens} tokens: ${p.value.toFixed(4)}`),
          ),
        ].join("");
      });
      const ticks = Math.max(3, Math.floor(width / 110));
      const tokens = (n: number) => (n >= 1e6 ? `${n / 1e6} M` : n >= 1e3 ? `${n / 1e3} k` : String(n));
      return frame(options, xAxis(x, area, ticks, tokens) + yAxis(y, area, 6, String) + body.join(""));
    },
  };
}
