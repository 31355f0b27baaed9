/**
 * Which parameters an optimizer's setting is of: `role:norm` names those of a role, anything else is a pattern of their names
 * (platform/patterns.ts). Used by `optimizer.multipliers` and `controls.scaleLearningRate`.
 */
import { UsageError } from "../platform/errors.ts";
import { matching } from "../platform/patterns.ts";
import type { Parameter } from "../tensor/index.ts";

/** @throws UsageError where it names none */
export function selectParameters(what: string, selector: string, parameters: readonly Parameter[]): Parameter[] {
  const role = /^role:(.*)$/s.exec(selector)?.[1];
  if (role === undefined) return matching(what, selector, parameters);
  const found = parameters.filter((parameter) => parameter.role === role);
  if (found.length > 0) return found;
  const roles = [...new Set(parameters.map((parameter) => parameter.role))];
  throw new UsageError(`${what}: no parameter has the role "${role}"; roles of this model are ${roles.join(", ")}`);
}
