/** From measurements to a page (`bitnet.ts/report`): HTML, JSON and Markdown. docs/report.md tells what is in it. */
export { chartsOf } from "./charts.ts";
export { type Comparison, compare, type Metric, metricsOf, type Row } from "./compare.ts";
export { toHtml } from "./html.ts";
export { deltaOf, formatDelta, type Interpretation, interpret, thresholds } from "./interpret.ts";
export { toMarkdown } from "./markdown.ts";
export { comparedEngine, openTimed, type TimedModel, type TimedResult, timeModels } from "./contenders.ts";
export { type MeasureOptions, measureModels } from "./measure.ts";
export type { ModelMeasurement, TaskScore } from "./measurement.ts";
export { createRandomModel, type ModelSource, openSource } from "./sources.ts";
export { buildReport, type Report, type ReportOptions } from "./report.ts";
export { checkTasks, type TaskPlan } from "./tasks.ts";
export { createStore, type Kept, type Made, type MeasurementStore, type PartKey, type StoreOptions } from "./store.ts";
export { studyPage } from "./study-page.ts";
export { markdownTable, studyHead, studyMarkdown, studyNotes, studyRows } from "./study-table.ts";
export { writeReport } from "./write.ts";
export { sensitivityPage, type SensitivityPageOptions } from "./sensitivity-page.ts";
export { inspectionPage, type InspectionPageOptions } from "./inspection-page.ts";
