/** Calibration on a text: statistics of inputs, fixed scales, least-squares scales, one temperature. See docs/calibration.md. */
export {
  type CalibrateOptions,
  calibrate,
  type CalibrationResult,
  type Effect,
  type StaticScales,
} from "./calibrate.ts";
export type { ValueStatistics } from "./histogram.ts";
export type { InputStatistics } from "./statistics.ts";
export { atTemperature, fitTemperature, foldTemperature } from "./temperature.ts";
export { leastSquaresScales, type MatrixScale, ternarize, withScales } from "./ternarize.ts";
export { type StaticMethod, staticMethods } from "./thresholds.ts";
