/** Measurements over models and runs, as plain JSON (`bitnet.ts/analysis`). docs/report.md says what each number is. */
export { type AuditOptions, type AuditReport, auditModel } from "./audit.ts";
export type { AuditCheck, Verdict } from "./audit-judges.ts";
export * from "./calibration/index.ts";
export { bitsPerWeight, type CompactFileMeasurement, type CompactLayer, measureCompactFile } from "./compact-file.ts";
export type { LossOfSample, Measured, SampleOptions } from "./sample.ts";
export * from "./diagnosis/index.ts";
export * from "./errors/index.ts";
export * from "./sensitivity/index.ts";
export { measureSize, type SizeMeasurement } from "./size.ts";
export {
  type Contender,
  type EngineMeasurement,
  measureSpeed,
  type SpeedMeasurement,
  type SpeedOptions,
  type Spread,
} from "./speed.ts";
export {
  type Calibration,
  type CalibrationBin,
  type MeasureTextOptions,
  measureText,
  pairedStandardError,
  type TextMeasurement,
  type WindowScore,
} from "./text.ts";
export { type CurvePoint, measureTraining, type SchedulePoint, type TrainingMeasurement } from "./training.ts";
