/** The estimators there are. */
import { Registry } from "../../platform/registry.ts";
import { clipped } from "./clipped.ts";
import type { Estimator } from "./estimator.ts";
import { identity } from "./identity.ts";

// biome-ignore lint/suspicious/noExplicitAny: a list holds estimators of all settings; the schema checks them.
export const estimators = new Registry<Estimator<any>>("estimator", [identity, clipped], ({ op }) =>
  op === null || (typeof op?.forward === "function" && typeof op.backward === "function")
    ? null
    : "op with forward and backward (null: identity)",
);

export type { Estimator } from "./estimator.ts";
