/**
 * README.md of an exported folder: a model card as the hub shows it. Facts only: what was written, and what the run's own
 * records say; where there is no record there is no line. Pure; the caller gathers the facts.
 */
import { describePlan, planModel } from "../model/index.ts";
import { hasTernaryWeights, isBitLinear } from "../nn/index.ts";
import type { HuggingFaceWritten } from "./hf-export.ts";

/** What the run's records say. */
export interface TrainingFacts {
  preset?: string;
  /** Updates behind these weights, and the tokens that they saw. */
  step: number;
  totalTokens?: number;
  /** Of the text: its tokens, once through. */
  textTokens?: number;
  textDocuments?: number;
  /** The last evaluation at or before the step. */
  validation?: { step: number; lossNats: number; bitsPerByte?: number; tokens?: number };
  optimizer?: string;
  /** bitnet.ts's version, and its commit. */
  version?: string;
  commit?: string | null;
}

export interface CardFacts extends Omit<HuggingFaceWritten, "files"> {
  /** Title: the folder's name. */
  name: string;
  tokenizer: { name: string; vocabSize: number } | null;
  training: TrainingFacts | null;
}

const whole = (n: number) => n.toLocaleString("en-US");

export function modelCard(facts: CardFacts): string {
  const { name, config, type, training } = facts;
  const plan = planModel(config);
  const bitnet = plan.anyTernary;
  const lines = [
    "---",
    "library_name: transformers",
    "pipeline_tag: text-generation",
    "tags:",
    "  - bitnet.ts",
    ...(bitnet ? ["  - bitnet", "  - ternary"] : []),
    "---",
    "",
    `# ${name}`,
    "",
    bitnet && !plan.allBitLinear
      ? `A BitNet b1.58 language model of mixed precision: its blocks are ${describePlan(plan)}. Ternary layers have weights of -1, 0 and +1 times one scale${plan.layers.every((layer) => !hasTernaryWeights(layer) || isBitLinear(layer)) ? ", and 8-bit integer activations" : ""}.`
      : bitnet
        ? "A BitNet b1.58 language model: every matrix of its blocks is ternary (-1, 0, +1 times one scale), activations are 8-bit integers."
        : "A LLaMA-style language model in full precision, the twin of a BitNet b1.58 model.",
    "",
    "## Model",
    "",
    ...table([
      ["parameters", whole(facts.parameters)],
      ...(bitnet ? ([["ternary weights", ternaryLine(facts)]] as [string, string][]) : []),
      [
        "blocks, width, feed-forward",
        `${config.layers}, ${config.width}, ${config.hiddenWidth} (${config.activation})`,
      ],
      ["heads (key/value heads)", `${config.heads} (${config.kvHeads})`],
      ["context", `${whole(config.contextLength)} tokens`],
      ["vocabulary", `${whole(config.vocabSize)}${facts.tokenizer ? "" : "; no tokenizer came with the weights"}`],
      ["stored as", stored(facts)],
    ]),
  ];
  if (training) lines.push("", "## Training", "", ...table(trainingRows(training)));
  lines.push("", "## Use", "", "```python", ...usage(facts), "```");
  if (bitnet && type !== "packed")
    lines.push(
      "",
      "The weights are float master weights, which transformers makes ternary in each forward pass, as training does.",
    );
  if (facts.fittedMatrices > 0)
    lines.push(
      "",
      `In ${facts.fittedMatrices} matrices they were moved by rounding errors, so that transformers' quantiser makes exactly the ternary weights and scales of the trained model.`,
    );
  return `${lines.join("\n")}\n`;
}

const table = (rows: readonly (readonly [string, string])[]) => [
  "| | |",
  "| --- | --- |",
  ...rows.map(([key, value]) => `| ${key} | ${value} |`),
];

function ternaryLine({ ternaryWeights, zeroWeights }: CardFacts): string {
  const share = ternaryWeights > 0 ? ((100 * zeroWeights) / ternaryWeights).toFixed(1) : "0.0";
  return `${whole(ternaryWeights)}, of which ${share} % are 0`;
}

function stored({ type, floatType, tensorBytes }: CardFacts): string {
  const how = type === "packed" ? `four ternary weights a byte; embedding, norms and head ${floatType}` : type;
  return `${how}; ${whole(tensorBytes)} bytes`;
}

function trainingRows(training: TrainingFacts): [string, string][] {
  const { validation } = training;
  const rows: [string, string | undefined][] = [
    ["preset", training.preset],
    ["steps", whole(training.step)],
    ["tokens seen", training.totalTokens === undefined ? undefined : whole(training.totalTokens)],
    [
      "training text",
      training.textTokens === undefined
        ? undefined
        : `${whole(training.textTokens)} tokens${training.textDocuments ? ` in ${whole(training.textDocuments)} documents` : ""}`,
    ],
    ["optimiser", training.optimizer],
    [
      "validation loss",
      validation &&
        `${validation.lossNats.toFixed(4)} nats a token (perplexity ${Math.exp(validation.lossNats).toPrecision(4)}${validation.bitsPerByte === undefined ? "" : `, ${validation.bitsPerByte.toFixed(3)} bits per byte`}) at step ${whole(validation.step)}`,
    ],
    [
      "trained with",
      training.version === undefined
        ? undefined
        : `bitnet.ts ${training.version}${training.commit ? ` (${training.commit.slice(0, 7)})` : ""}`,
    ],
  ];
  return rows.filter((row): row is [string, string] => row[1] !== undefined);
}

function usage({ tokenizer }: CardFacts): string[] {
  const lines = [
    `from transformers import AutoModelForCausalLM${tokenizer ? ", AutoTokenizer" : ""}`,
    "",
    'model = AutoModelForCausalLM.from_pretrained(".", dtype="float32")',
  ];
  if (!tokenizer) return lines;
  return [
    ...lines,
    'tokenizer = AutoTokenizer.from_pretrained(".")',
    'ids = tokenizer("Once upon a time", return_tensors="pt")',
    "print(tokenizer.decode(model.generate(**ids, max_new_tokens=50)[0]))",
  ];
}
