/**
 * What a run is, as data: one schema for the YAML file, the command line's `--key.path value` and the library call.
 * Every key is required here; presets (config-presets.ts) give the defaults and config.ts lays differences over them.
 */
import { z } from "zod";
import { backendNames } from "../backends/registry.ts";
import { mixtureSchema } from "../data/mixing/spec.ts";
import { plainMessage } from "../platform/issue.ts";
import { modelConfigSchema } from "../model/config.ts";
import { callbackKinds } from "./callbacks.ts";
import { distillSchema } from "./distillation/settings.ts";
import { objectiveKinds, type objectives } from "./objectives.ts";
import { optimizerKinds, type optimizers } from "./optimizers.ts";
import type { WeightConfig } from "./objectives/objective.ts";
import { progressiveKinds, type progressives } from "./progressive.ts";
import { schemaOfKinds } from "./registry.ts";
import { scheduleKinds, type schedules } from "./schedules.ts";

const count = z.int().positive();
const countOrNone = z.int().positive().nullable();
const positive = z.number().positive();

/** Each kind with the keys of its own file, typed by the kinds of this package. */
const kindSchemas = () => ({
  optimizer: schemaOfKinds("kind", optimizerKinds.all as unknown as typeof optimizers),
  schedule: schemaOfKinds("kind", scheduleKinds.all as unknown as typeof schedules),
  progressive: schemaOfKinds("kind", progressiveKinds.all as unknown as typeof progressives),
  objective: schemaOfKinds("name", objectiveKinds.all as unknown as typeof objectives),
});

/** A callback by name with its options, and their defaults; checked here, for there may be none to make a union of. */
const callbackChoice = z.looseObject({ name: z.string() }).transform((choice, context) => {
  const kind = callbackKinds.find(choice.name);
  const checked = kind?.schema.safeParse(choice);
  if (checked?.success) return checked.data as typeof choice;
  const issue = checked?.error.issues[0];
  const message = issue
    ? `callback "${choice.name}": ${plainMessage(issue.message)}`
    : callbackKinds.expected(choice.name);
  context.addIssue({ code: "custom", message, path: issue ? issue.path : ["name"] });
  return z.NEVER;
});

function makeSchema() {
  const { optimizer, schedule, progressive, objective } = kindSchemas();
  return z.strictObject({
    /** The preset whose values stand where nothing else is said. */
    preset: z.string(),
    /** A recipe laid over the preset, under all else: a name in recipes/training/, or a YAML file; null: none. */
    recipe: z.string().min(1).nullable(),
    /** The model's own sizes; `variant` chooses bitnet or its full-precision twin. */
    model: modelConfigSchema,
    data: z.strictObject({
      /** Text to train on: files, folders, globs, addresses, data sets of the hub; or datasets prepared ahead. */
      files: z.array(z.string()),
      /** Or: several sources, each with a weight, and perhaps a curriculum (docs/mixing.md); null: files. */
      mixture: mixtureSchema.nullable(),
      /** Text to validate on; none: a part of the training text is held out. */
      validFiles: z.array(z.string()),
      /** Share of the training text held out where there are no validation files; 0: no validation. */
      validFraction: z.number().min(0).lt(1),
      /** Line or string between documents of a .txt file. */
      separator: z.string(),
      /** Key of the text in a .jsonl file. */
      field: z.string(),
      /** Attention does not reach over a document's start within a packed sequence. */
      maskDocuments: z.boolean(),
      /** Only what stands behind this text in its document counts in the loss, such as the answer behind " = "; null: all. */
      lossAfter: z.string().min(1).nullable(),
      /** Where encoded text is kept, under the hash of its content. */
      cacheDir: z.string(),
      /** A folder with copies of what is far away, such as a clone of a data set; null: it is downloaded. */
      localCopy: z.string().nullable(),
      /** Batches that a worker thread reads ahead; 0: each is read when it is needed; auto: 4 for data prepared ahead, else 0. */
      prefetch: z.union([z.int().min(0).max(1024), z.literal("auto")]),
      /** Compare all of the data that were prepared ahead with their checksums before training. */
      verify: z.boolean(),
    }),
    tokenizer: z.strictObject({
      /** A tokenizer.json to use; null: one is trained on the training text. */
      file: z.string().nullable(),
      /** Kind of the one trained: byte-level BPE of model.vocabSize tokens, or one token for each character. */
      kind: z.enum(["bpe", "characters"]),
    }),
    optimizer,
    schedule,
    train: z
      .strictObject({
        /** B: sequences in a step. */
        batch: count,
        /** T: tokens in a sequence; at most model.contextLength. */
        sequence: count,
        /** Sequences computed at once, their gradients added up: less memory, the same step. null: the whole batch. */
        microBatch: countOrNone,
        /** The budget, one of three: updates (0: the initial weights are evaluated and saved), */
        steps: z.int().min(0).nullable(),
        /** passes over the training text, */
        epochs: positive.nullable(),
        /** or tokens. */
        tokens: countOrNone,
        /** Names the initial weights, the order of the data and the samples. */
        seed: z.int().min(0),
        /**
         * Of the gradients' products. auto: bf16 where the processor multiplies bfloat16, else fp32. int8: of int8 in the
         * ternary layers, elsewhere as auto.
         */
        precision: z.enum(["auto", "fp32", "bf16", "int8"]),
        /**
         * Progressive quantization (docs/progressive-quantization.md): how the layers come from float to ternary, by its kind;
         * null: they are ternary from the first step on.
         */
        progressive: progressive.nullable(),
        /** Short for progressive: { kind: linear, start: 0, end: this many steps }; 0: none. */
        quantRampSteps: z.int().min(0),
        /**
         * What is trained on: losses, each with its weight (docs/extending.md), added up. Validation is of the next-token loss
         * whatever stands here.
         */
        objectives: z.array(objective).min(1),
        /** Callbacks by name, each with its options (docs/extending.md), told in this order. */
        callbacks: z.array(callbackChoice),
        /** Parameters that are not trained, by patterns of their names such as "embed_tokens" or "layers.0.*". */
        freeze: z.array(z.string().min(1)),
        /** Steps in a row whose loss or gradient is not finite, all skipped, after which training gives up. */
        maxSkippedSteps: count,
      })
      .refine((t) => [t.steps, t.epochs, t.tokens].filter((x) => x !== null).length === 1, {
        message: "expected exactly one of train.steps, train.epochs and train.tokens; set the others to null",
        path: ["steps"],
      }),
    /** Learning from a teacher beside the text (docs/distillation.md). */
    distill: distillSchema,
    evaluation: z.strictObject({
      /** Steps between evaluations; null: only before and after training. */
      every: countOrNone,
      /** Batches of validation text in one; null: all of it. */
      batches: countOrNone,
      /** Evaluations in a row without a better val_loss after which training stops; null: never. */
      patience: countOrNone,
      /** What counts as better: val_loss lower by more than this, in nats per token. */
      minDelta: z.number().min(0),
    }),
    samples: z.strictObject({
      /** Steps between samples of the model's writing; null: none. */
      every: countOrNone,
      /** What it is given to go on from; "" is the start of a document. */
      prompts: z.array(z.string()),
      /** Tokens written after each prompt. */
      tokens: count,
      /** 0: the most probable token each time. */
      temperature: z.number().min(0),
    }),
    checkpoints: z.strictObject({
      /** Steps between checkpoints; null: only at the end. */
      every: countOrNone,
      /** Save the weights before the first step too, as step 0, and keep them. */
      first: z.boolean(),
      /** The newest ones kept. */
      keepLast: count,
      /** Keep the one of the lowest val_loss too, and save whenever there is a new one. */
      keepBest: z.boolean(),
    }),
    metrics: z.strictObject({
      /** Steps between lines of metrics/scalars.jsonl. */
      every: count,
      /** Steps between lines that also describe every ternary layer; null: never. */
      layersEvery: countOrNone,
      /** Steps between lines with the error measures of every ternary layer (docs/analysis.md); null: never. */
      errorEvery: countOrNone,
      /** Measure there how far the weights moved too: a copy of them, 4 bytes for each ternary weight. */
      drift: z.boolean(),
      /**
       * Steps between lines with the gradient norm of each objective alone, where there are several; null: never. Such a step
       * costs one more forward and backward pass for each objective.
       */
      termsEvery: countOrNone,
      /** Share of the old value in the smoothed loss behind ppl_smoothed. */
      smoothing: z.number().min(0).lt(1),
      /** Write a TensorBoard event file beside it. */
      tensorboard: z.boolean(),
    }),
    backend: z.strictObject({
      /** auto: native where the addon is built, else wasm. */
      name: z.enum(backendNames),
      /** Instruction set; "auto": the best of this processor. */
      isa: z.string(),
      /** 0: one for each processor. */
      threads: z.int().min(0),
    }),
  });
}

let made: { schema: RunConfigSchema; kinds: number } | undefined;
export type RunConfigSchema = ReturnType<typeof makeSchema>;

/** The schema of a run's config, with what extensions have added by now. */
export function runConfigSchema(): RunConfigSchema {
  const kinds = [optimizerKinds, scheduleKinds, progressiveKinds, objectiveKinds].reduce(
    (sum, { all }) => sum + all.length,
    0,
  );
  if (made?.kinds !== kinds) made = { schema: makeSchema(), kinds };
  return made.schema;
}

export type RunConfig = z.infer<RunConfigSchema>;
export type OptimizerConfig = RunConfig["optimizer"];

/** A difference: any keys, at any depth. */
export type Partially<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { [K in keyof T]?: Partially<T[K]> }
    : T;

/** What an extension brought: its keys are checked when the config is resolved. */
type FromExtension<Key extends string> = { [K in Key]: string } & Record<string, unknown>;
type Patch = Partially<RunConfig>;

export interface RunConfigPatch extends Omit<Patch, "optimizer" | "schedule" | "train"> {
  optimizer?: Patch["optimizer"] | FromExtension<"kind">;
  schedule?: Patch["schedule"] | FromExtension<"kind">;
  train?: Omit<NonNullable<Patch["train"]>, "objectives" | "progressive"> & {
    progressive?: NonNullable<Patch["train"]>["progressive"] | FromExtension<"kind">;
    objectives?: readonly (
      | RunConfig["train"]["objectives"][number]
      | (FromExtension<"name"> & { weight: WeightConfig })
    )[];
  };
}
