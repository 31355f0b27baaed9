/**
 * What is recorded and replayed: short training runs, greedy texts of both engines, and the bytes of exports. Each is run
 * through the library's public door (src/index.ts) or the command line, as users do, so that it can be run on either side of
 * a refactoring. Called by record.ts, which writes the records, and replay.test.ts, which holds the code to them.
 *
 * What determines the bits: the seed, the thread count (two), the instruction set, and for native the compiler only as far
 * as it breaks IEEE arithmetic (the kernels are built without contraction and without -ffast-math). Not the operating
 * system, and not the number of processors.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BackendChoice, findBackends, generate, openEngine, type TrainOptions, train } from "../../src/index.ts";
import { createProgram } from "../../src/cli/program.ts";
import { problems, stories } from "./text.ts";

type Patch = Exclude<TrainOptions["config"], string | readonly unknown[]>;
export type EngineOptions = Omit<NonNullable<Parameters<typeof openEngine>[1]>, "backend">;

/** Every float is the 16 hexadecimal digits of its float64, the most significant first. */
export interface Curve {
  losses: string[];
  gradNorms: string[];
  /** Validation loss before and after. */
  validation: string[];
  /** SHA-256 over the final weights: each tensor's name and bytes, sorted by name. */
  weights: string;
}

export interface Text {
  ids: number[];
  logProbabilities: string[];
}

export const threads = 2;
export const steps = 20;

/** A backend and instruction set. */
export interface ReplaySet {
  name: string;
  choice: Required<BackendChoice>;
  /** Why it is not here. */
  absent: string | null;
}

export const sets: readonly ReplaySet[] = (await findBackends())
  .filter(({ choice }) => choice.threads === 1 && choice.backend !== "reference")
  .map(({ choice, absent }) => ({
    name: `${choice.backend}-${choice.isa}`,
    choice: { ...choice, threads },
    absent,
  }));

/** Without what takes time and is not training: samples, TensorBoard, statistics of layers. */
const quiet = (patch: Patch): Patch => ({
  ...patch,
  evaluation: { every: null, batches: 1 },
  samples: { every: null },
  checkpoints: { every: null, keepBest: false },
  metrics: { every: 1, layersEvery: null, tensorboard: false },
});

/** The preset's widths, heads and vocabulary; fewer layers, which are the same code again, and few tokens. */
const shapes = {
  arithmetic: {
    model: { layers: 2 },
    data: { validFraction: 0.1, separator: "\n" },
    train: { steps, epochs: null, batch: 4, microBatch: 2, sequence: 16 },
  },
  tiny: {
    model: { layers: 1 },
    data: { validFraction: 0.1 },
    train: { steps, epochs: null, batch: 2, microBatch: null, sequence: 20 },
  },
} satisfies Record<string, Patch>;
type Shape = keyof typeof shapes;

export interface CurveCase {
  name: string;
  preset: Shape;
  patch: Patch;
}

function merged(...patches: Patch[]): Patch {
  const result: Record<string, unknown> = {};
  for (const patch of patches)
    for (const [key, value] of Object.entries(patch))
      result[key] =
        typeof value === "object" && value !== null && !Array.isArray(value)
          ? { ...(result[key] as object), ...value }
          : value;
  return result as Patch;
}

/** Recomputing and the ramp, each alone; both where the other precisions add nothing to them. */
function switchesOf(variant: string, precision: string): [recompute: boolean, quantRampSteps: number][] {
  if (variant === "bitnet")
    return [[false, 0], [true, 0], [false, 12], ...(precision === "fp32" ? [[true, 12] as [boolean, number]] : [])];
  // int8 is of ternary layers: the baseline has none, and trains as with "auto".
  return precision === "int8"
    ? [[false, 0]]
    : [
        [false, 0],
        [true, 0],
      ];
}

function curveCases(): CurveCase[] {
  const cases: CurveCase[] = [];
  for (const preset of ["arithmetic", "tiny"] as const)
    for (const variant of ["bitnet", "full"] as const)
      for (const precision of ["fp32", "bf16", "int8"] as const)
        for (const [recompute, quantRampSteps] of switchesOf(variant, precision))
          cases.push({
            name: [preset, variant, precision, recompute ? "recompute" : "", quantRampSteps ? "ramp" : ""]
              .filter((word) => word !== "")
              .join(" "),
            preset,
            patch: { model: { variant, recompute }, train: { precision, quantRampSteps } },
          });
  // Deeper, and one of each of the other choices that a config has.
  const others: Record<string, [Shape, Patch]> = {
    "tiny bitnet, three layers": ["tiny", { model: { layers: 3 } }],
    "arithmetic full, four layers": ["arithmetic", { model: { variant: "full", layers: 4 } }],
    "no sub-norms, a head of its own, squared ReLU, clamped scale": [
      "arithmetic",
      { model: { subNorms: false, tiedHead: false, activation: "relu2", weightScale: "clamp", weightEps: 1e-5 } },
    ],
    "AdamW of eight bits, two stages": [
      "arithmetic",
      { optimizer: { kind: "adamw8bit" }, schedule: { kind: "two-stage", warmupSteps: 3 } },
    ],
    "SGD, requantized every third update, decayed embeddings": [
      "arithmetic",
      { model: { requantizeEvery: 3 }, optimizer: { kind: "sgd", decayEmbeddings: true, learningRate: 0.1 } },
    ],
    "documents masked, loss after an equals sign": ["arithmetic", { data: { maskDocuments: true, lossAfter: " = " } }],
  };
  for (const [name, [preset, patch]] of Object.entries(others)) cases.push({ name, preset, patch });
  return cases;
}

export const curves: readonly CurveCase[] = curveCases();

/** The texts and tokenizers, made once in a folder. */
export class Replay {
  readonly #folder: string;
  #runs = 0;
  #bpe: string | null = null;

  /** @param folder  an empty one, for what is made on the way */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "arithmetic.txt"), problems(3000));
    writeFileSync(join(folder, "tiny.txt"), stories(1500));
  }

  async #train(
    preset: Shape,
    backend: Required<BackendChoice>,
    patch: Patch,
    name = `run-${++this.#runs}`,
  ): Promise<string> {
    const folder = join(this.#folder, name);
    const { backend: engine, isa, threads } = backend;
    await train({
      config: quiet(
        merged(shapes[preset], patch, {
          preset,
          data: { files: [join(this.#folder, `${preset}.txt`)], cacheDir: join(this.#folder, "cache") },
          // Learning 2048 tokens takes as long as a run. A tokenizer of characters is made at once, and may be smaller.
          tokenizer: { file: preset === "tiny" && !patch.model?.vocabSize ? this.#bpe : null },
          backend: { name: engine as never, isa: engine === "reference" ? "auto" : isa, threads },
        }),
      ),
      runFolder: folder,
    });
    if (preset === "tiny" && !patch.model?.vocabSize) this.#bpe ??= join(folder, "tokenizer.json");
    return folder;
  }

  /** A run's curve; null where this set refuses bfloat16. */
  async curve({ choice }: ReplaySet, { preset, patch }: CurveCase): Promise<Curve | null> {
    let folder: string;
    try {
      folder = await this.#train(preset, choice, patch);
    } catch (error) {
      if (/does not multiply bfloat16/.test((error as Error).message)) return null;
      throw error;
    }
    const lines = readFileSync(join(folder, "metrics", "scalars.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, number>);
    const of = (key: string) => lines.filter((line) => key in line).map((line) => bits(line[key]));
    return {
      losses: of("loss"),
      gradNorms: of("grad_norm"),
      validation: of("val_loss"),
      weights: hashOfTensors(join(checkpointOf(folder), "model.safetensors")),
    };
  }

  /** What each engine writes up to the end of its context (and past it, where it slides), by the likeliest token, with its log-probabilities. */
  async texts({ choice }: ReplaySet): Promise<Record<string, Text>> {
    const found: Record<string, Text> = {};
    for (const [variant, ways] of Object.entries(textCases)) {
      const folder = await this.#train("tiny", choice, {
        // Large weights and few steps: texts that do not repeat themselves.
        model: { variant: variant as "bitnet" | "full", initStd: 0.2, tiedHead: false, contextLength: 64 },
        train: { precision: "fp32", steps: 2 },
      });
      for (const [way, options] of Object.entries(ways)) {
        const opened = await openEngine(folder, { ...options, backend: choice });
        try {
          const { engine, tokenizer, startToken } = opened;
          const text: Text = { ids: [], logProbabilities: [] };
          // Temperature 0 takes the likeliest; without stop tokens an end of text is a token as any other.
          const settings = { maxTokens: 60, temperature: 0, startToken, stopTokens: [] };
          for await (const { id, logProbability } of generate(engine, tokenizer, prompt, settings)) {
            text.ids.push(id);
            text.logProbabilities.push(bits(logProbability));
          }
          found[`${variant}, ${way}`] = text;
        } finally {
          opened.close();
        }
      }
    }
    return found;
  }

  /**
   * SHA-256 of each file of each export. The model is trained for two steps on the reference backend, which every machine
   * has: what is exported is the same everywhere, and so are the files.
   */
  async exports(): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const [kind, { model, ways }] of Object.entries(exportCases)) {
      const reference = { backend: "reference", isa: "typescript", threads: 1 } as const;
      // Rows of 256 weights, which every GGUF type can hold.
      const patch: Patch = {
        model: { ...model, width: 256, hiddenWidth: 256, vocabSize: 300 },
        train: { steps: 2, sequence: 8, precision: "fp32" },
      };
      // GGUF files hold the run's name.
      const folder = await this.#train("tiny", reference, patch, `replay ${kind}`);
      const checkpoint = checkpointOf(folder);
      for (const way of ways) {
        const target = join(this.#folder, `export-${kind}`, way.replaceAll(/\W+/g, "-"), "model");
        mkdirSync(join(target, ".."), { recursive: true });
        const args = ["export", checkpoint, "--backend", "reference", "-f", ...way.split(" "), "-o", target];
        await silently(async () => (await createProgram(args)).parseAsync(args, { from: "user" }));
        for (const path of filesUnder(join(target, "..")))
          found[`${kind}: ${way}: ${path}`] = sha256(readFileSync(join(target, "..", path)));
      }
      found[`${kind}: checkpoint: weights`] = hashOfTensors(join(checkpoint, "model.safetensors"));
    }
    return found;
  }
}

/** Longer than a few tokens, so that the prompt goes through as a batch of rows. */
const prompt = "Ba ket lominra stovel zu. Anchi do fer gul hepix jonap pel quiba";

const textCases: Record<"bitnet" | "full", Record<string, EngineOptions>> = {
  bitnet: {
    "float engine": { engine: "float" },
    "packed engine": { engine: "packed" },
    "packed, 2bit": { packed: { weights: "2bit" } },
    "packed, trits": { packed: { weights: "trits" } },
    ...Object.fromEntries(
      (["f32", "bf16", "f16", "int8", "int4"] as const).map((head) => [`packed, head ${head}`, { packed: { head } }]),
    ),
    ...Object.fromEntries(
      (["f16", "int8", "int4"] as const).map((cache) => [`packed, cache ${cache}`, { packed: { cache } }]),
    ),
    "packed, trits, head int4, cache int8": { packed: { weights: "trits", head: "int4", cache: "int8" } },
    "packed, past the context": { packed: { overflow: "slide" } },
  },
  full: { "float engine": { engine: "float" }, "packed engine": { engine: "packed" } },
};

/** What follows `bitnet export CHECKPOINT -f`. Without the model card, which is prose. */
const hf = (type: string) => `hf --type ${type} --no-card`;
const exportCases: Record<string, { model: Patch["model"]; ways: readonly string[] }> = {
  bitnet: {
    model: { variant: "bitnet" },
    ways: [
      ...["f32", "f16", "bf16", "q8_0", "tq2_0", "tq1_0", "q2_0", "i2_s"].map((type) => `gguf --type ${type}`),
      ...["f32", "bf16", "q8_0", "q6_k"].map((type) => `gguf --type tq2_0 --embedding-type ${type}`),
      ...["f32", "bf16", "f16", "packed"].map(hf),
      `${hf("packed")} --float-type bf16`,
      `${hf("f32")} --shard-size 1MB`,
      ...["smallest", "entropy", "trits"].map((type) => `compact --type ${type}`),
      ...["f32", "bf16", "int8", "q4"].map((type) => `compact --embeddings ${type}`),
      "onnx --type packed",
      "onnx --type float",
      "onnx --type packed --external-data",
    ],
  },
  "without sub-norms": {
    model: { variant: "bitnet", subNorms: false, tiedHead: false },
    ways: ["gguf --type i2_s", "gguf --type f16", hf("packed"), "compact --head int8", "onnx"],
  },
  "squared ReLU": {
    model: { variant: "bitnet", activation: "relu2" },
    ways: ["gguf --type i2_s", hf("packed"), "onnx"],
  },
  full: {
    model: { variant: "full" },
    ways: ["gguf --type f16", "gguf --type f32", hf("f32"), hf("bf16"), "compact --linear int8", "onnx"],
  },
};

async function silently(run: () => Promise<unknown>): Promise<void> {
  const { write } = process.stdout;
  process.stdout.write = () => true;
  try {
    await run();
  } finally {
    process.stdout.write = write;
  }
}

function checkpointOf(run: string): string {
  const folder = join(run, "checkpoints");
  return join(folder, readdirSync(folder).sort().at(-1)!);
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Of a safetensors file: names and bytes alone, so that metadata and the order of tensors may change. */
function hashOfTensors(path: string): string {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, start)) as Record<string, { data_offsets: [number, number] }>;
  const hash = createHash("sha256");
  for (const name of Object.keys(header).sort()) {
    if (name === "__metadata__") continue;
    const [from, to] = header[name].data_offsets;
    hash.update(name).update(file.subarray(start + from, start + to));
  }
  return hash.digest("hex");
}

/** A float64 as its bits. */
export function bits(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes.toString("hex");
}

export const numberOf = (hex: string): number => Buffer.from(hex, "hex").readDoubleBE(0);
