/** Checks that the ops of this folder share. */
import { UsageError } from "../../platform/errors.ts";

/** @throws UsageError for a temperature that is none */
export function checkTemperatures(temperature: number, tokenTemperature: number | null): void {
  if (!(Number.isFinite(temperature) && temperature > 0))
    throw new UsageError(`distillation: the temperature is ${temperature}; expected a number above 0`);
  if (tokenTemperature !== null && !(Number.isFinite(tokenTemperature) && tokenTemperature > 0))
    throw new UsageError(`distillation: the temperature of token weights is ${tokenTemperature}; expected one above 0`);
}
