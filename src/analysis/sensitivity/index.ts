/** Sensitivity of layers to quantization, and budgets of mixed precision. docs/sensitivity.md says what each number is. */
export { type BudgetOptions, type BudgetPlan, planBudget, type RaisedLayer } from "./budget.ts";
export { type SensitivityGroup, sensitivityGroups } from "./groups.ts";
export {
  measureSensitivity,
  type Sensitivity,
  type SensitivityMeasure,
  sensitivityMeasures,
  type SensitivityOptions,
  type SensitivityRow,
  type SensitivityScore,
} from "./measure.ts";
