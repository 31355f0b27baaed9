/**
 * Which options of `bitnet eval` mean something for what is asked: a text, or each kind of task. One that was given and means
 * nothing is refused by name; test/cli/options.test.ts walks the table. Called by cli/eval.ts.
 */
import type { Command } from "commander";
import { givenBeside } from "./options.ts";

const always = [
  ...["model", "checkpoint", "pre", "backend", "isa", "threads", "json", "output", "data", "cacheDir", "overrides"],
] as const;
const engine = ["engine", "weightsType", "headType", "cacheType"] as const;
const tasks = ["task", "taskData", "limit", "logSamples", "hubUrl", "startToken", ...engine] as const;

/** Names of attributes, as commander has them. */
export const evalOptions = {
  "a text": [
    ...always,
    ...[
      "batch",
      "cacheDir",
      "format",
      "split",
      "separator",
      "field",
      "sequence",
      "stride",
      "maxTokens",
      "maskDocuments",
      "scoreEndOfText",
    ],
  ],
  "tasks of choices": [...always, ...tasks, "batch", "fewshotData", "numFewshot", "fewshotSeed"],
  wikitext: [...always, "task", "taskData", "batch", "sequence", ...engine],
  humaneval: [
    ...[
      ...always,
      ...tasks,
      "cacheDir",
      "contextRing",
      "allowCodeExecution",
      "completions",
      "samples",
      "k",
      "temperature",
    ],
    ...["topP", "maxNewTokens", "seed", "programSeconds", "programMemory"],
  ],
} as const satisfies Record<string, readonly string[]>;

export type EvalKind = keyof typeof evalOptions;

/** @param names tasks by their names; none: a text */
export function kindsOf(names: readonly string[]): EvalKind[] {
  if (names.length === 0) return ["a text"];
  const kinds = names.map((name) => (name === "wikitext" || name === "humaneval" ? name : "tasks of choices"));
  return [...new Set(kinds)];
}

/** @throws UsageError for an option given that none of these takes */
export async function refuseOtherOptions(command: Command, names: readonly string[]): Promise<void> {
  const { UsageError } = await import("../../platform/errors.ts");
  const kinds = kindsOf(names);
  const [wrong] = givenBeside(
    command,
    kinds.flatMap((kind): readonly string[] => evalOptions[kind]),
  );
  if (!wrong) return;
  const { attribute } = wrong;
  const takers = (Object.keys(evalOptions) as EvalKind[]).filter((kind) =>
    (evalOptions[kind] as readonly string[]).includes(attribute),
  );
  const what = names.length === 0 ? "a text, which is scored by the training-time model" : `--task ${names.join(",")}`;
  throw new UsageError(
    `${wrong.long} has no meaning for ${what}${takers.length > 0 ? ` (it is of ${takers.join(", ")})` : ""}; leave it out`,
  );
}
