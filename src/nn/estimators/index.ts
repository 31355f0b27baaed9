/** The estimators there are. */
import { Registry } from "../../platform/registry.ts";
import { clipped } from "./clipped.ts";
import type { Estimator } from "./estimator.ts";
import { ewgs } from "./ewgs.ts";
import { identity } from "./identity.ts";
import { quest } from "./quest.ts";
import { reste } from "./reste.ts";
import { soft } from "./soft.ts";

const ours = [identity, clipped, quest, soft, ewgs, reste];

// biome-ignore lint/suspicious/noExplicitAny: a list holds estimators of all settings; the schema checks them.
export const estimators = new Registry<Estimator<any>>("estimator", ours, ({ op }) =>
  op === null || (typeof op?.forward === "function" && typeof op.backward === "function")
    ? null
    : "op with forward and backward (null: identity)",
);

export type { Estimator } from "./estimator.ts";
