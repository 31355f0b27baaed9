/** `bitnet inspect`: layers, shapes, parameters and memory of a preset, a config file or a checkpoint. */
import { Command, Option } from "commander";
import type { ModelConfig, ModelDescription, ParameterInfo, TernaryLayerInfo } from "../model/index.ts";
import type { ConfigLayer } from "../train/config.ts";
import type { OptimizerChoice } from "../train/optimizers.ts";
import { countOf, formatBytes, formatCount, formatShare, formatTable } from "./support/format.ts";
import { downloaded, noteRefused, openModel, startTokenFor } from "./support/model.ts";
import { addPreOption, type PreFlags } from "./support/model-options.ts";
import { addBackendOptions, type BackendOptions, refuseBeside, wholeNumber } from "./support/options.ts";

interface InspectOptions extends BackendOptions, PreFlags {
  variant?: ModelConfig["variant"];
  optimizer?: string;
  batch?: number;
  sequence?: number;
  recompute?: boolean;
  json?: boolean;
}

/** What is inspected: its name for people, its config, and a path where there are weights. */
interface Subject {
  title: string;
  config: ModelConfig;
  /** Sequences computed at once and tokens in each, where training is configured. */
  batch?: number;
  sequence?: number;
  /** What it is, or would be, trained by. */
  optimizer: OptimizerChoice;
  checkpoint?: string;
  /** What is said of how a file was read. */
  notes?: readonly string[];
  /** Keys of a file that have no effect here, each with its reason. */
  ignored?: readonly string[];
}

/** The most that a config file has: far more than all its keys need. */
const configBytes = 1 << 20;

export function inspectCommand(): Command {
  const command = new Command("inspect")
    .summary("layers, parameters and memory of a preset, config or checkpoint")
    .description(
      "Tells what a model is made of and what it costs. Only a checkpoint's weights are read; of the largest presets nothing is allocated.",
    )
    .argument(
      "<what>",
      "a preset (bitnet inspect presets lists them), a run's config.yaml, a checkpoint's folder, a compact or a GGUF file, a name on the hub",
    )
    .addOption(new Option("--variant <name>", "of a preset or config").choices(["bitnet", "full"]))
    .option("--optimizer <kind>", "as if trained by this optimizer.kind; default: the config's")
    .option("--batch <n>", "sequences computed at once in training; default: the config's micro-batch", wholeNumber(1))
    .option("--sequence <n>", "tokens in each; default: the config's", wholeNumber(1))
    .option("--recompute", "as if blocks were computed again in backward (model.recompute)")
    .option("--json", "print everything as JSON");
  return addBackendOptions(addPreOption(command))
    .addHelpText(
      "after",
      `
Memory in training is what the model's own forward and backward ask for: weights, gradients, the optimiser's state, and
all that is kept in between. Where a checkpoint is read, each ternary layer's shares of -1, 0 and +1 are printed too.

Examples:
  bitnet inspect presets
  bitnet inspect tiny --batch 32
  bitnet inspect 700m --optimizer adamw8bit --recompute
  bitnet inspect 2b4t --variant full --json
  bitnet inspect runs/tiny-bitnet-1
  bitnet inspect tiny.bitnet`,
    )
    .action(run);
}

/** Options that mean something, by what is inspected. */
export const inspectOptions = {
  presets: ["variant", "json"],
  "a preset or config": ["variant", "optimizer", "batch", "sequence", "recompute", "json"],
  "a checkpoint": ["optimizer", "batch", "sequence", "recompute", "json", "backend", "isa", "threads", "pre"],
  "a compact file": ["json"],
} as const satisfies Record<string, readonly string[]>;

async function run(asked: string, options: InspectOptions, command: Command): Promise<void> {
  const only = (what: keyof typeof inspectOptions) => refuseBeside(command, inspectOptions[what], what);
  const { inspectModel, presets } = await import("../model/index.ts");
  const { createDryBackend } = await import("../backends/dry.ts");
  const { Runtime } = await import("../tensor/index.ts");
  const dry = () => new Runtime(createDryBackend());
  const what = Object.hasOwn(presets, asked) || asked === "presets" ? asked : await downloaded(asked);
  if (what === "presets") {
    only("presets");
    printPresets(presets, (config) => inspectModel(config, dry, { batch: 1, sequence: 1 }), options);
    return;
  }
  const { isCompactPath } = await import("../exchange/index.ts");
  if (!Object.hasOwn(presets, what) && isCompactPath(what)) {
    only("a compact file");
    const { inspectCompact } = await import("./support/compact.ts");
    process.stdout.write(await inspectCompact(what, options.json === true));
    return;
  }
  const subject = await findSubject(what, options);
  only(subject.checkpoint === undefined ? "a preset or config" : "a checkpoint");
  const config = options.recompute ? { ...subject.config, recompute: true } : subject.config;
  const batch = options.batch ?? subject.batch ?? 1;
  const sequence = options.sequence ?? subject.sequence;
  const { optimizerKinds, optimizerStateBytes } = await import("../train/optimizers.ts");
  const { stateLabel } = optimizerKinds.get(subject.optimizer.kind, "optimizer.kind");
  const description = inspectModel(config, dry, {
    batch,
    sequence,
    optimizerBytes: (parameter) => optimizerStateBytes(subject.optimizer, parameter),
  });
  const read = subject.checkpoint === undefined ? null : await readCheckpoint(subject.checkpoint, options);
  const layers = read?.layers ?? [];
  const { notes = [], ignored = [] } = subject;
  if (options.json) {
    const about = read ? { tokens: read.tokens, notes, ignored } : {};
    process.stdout.write(
      `${JSON.stringify({ name: subject.title, ...description, ...about, ternaryLayers: layers }, null, 2)}\n`,
    );
    return;
  }
  process.stdout.write(
    [
      heading(subject.title, description),
      tokensText(read?.tokens ?? null),
      remarks(notes, ignored),
      shapes(description),
      memory(description, stateLabel),
      ternary(layers),
    ]
      .filter((text) => text !== "")
      .join("\n"),
  );
}

async function findSubject(what: string, options: InspectOptions): Promise<Subject> {
  const { UsageError } = await import("../platform/errors.ts");
  const { describePath, exists, readWhole } = await import("../platform/files.ts");
  const { presets } = await import("../model/index.ts");
  const { parseConfig, resolveConfig } = await import("../train/config.ts");
  const { optimizerKinds } = await import("../train/optimizers.ts");
  const variant = options.variant ? [{ from: "--variant", patch: { model: { variant: options.variant } } }] : [];
  const kind = options.optimizer && optimizerKinds.get(options.optimizer, "--optimizer").kind;
  const asked = kind ? [{ from: "--optimizer", patch: { optimizer: { kind } } }] : [];
  const subjectOf = (layers: ConfigLayer[]): Subject => {
    const { model, train, optimizer } = resolveConfig([...layers, ...variant, ...asked]);
    const { batch, microBatch, sequence } = train;
    return {
      title: what,
      config: model,
      batch: Math.min(microBatch ?? batch, batch),
      sequence,
      optimizer,
    };
  };
  if (Object.hasOwn(presets, what)) return subjectOf([{ from: "preset", patch: { preset: what } }]);
  if (!exists(what))
    throw new UsageError(
      `"${what}" is neither a preset, a file or folder, nor a name on the hub (org/name); presets are: ${Object.keys(presets).join(", ")}`,
    );
  const { isGgufPath } = await import("../exchange/index.ts");
  if (describePath(what).kind === "folder" || isGgufPath(what)) {
    if (options.variant) throw new UsageError("--variant is of a preset or config; a checkpoint has its own");
    const { describeModel } = await import("../exchange/index.ts");
    const { folder, step, config, refused, optimizer, notes, ignored } = describeModel(what, { pre: options.pre });
    noteRefused(refused);
    const trainedBy = kind ?? optimizer ?? "adamw";
    const known = optimizerKinds.find(trainedBy);
    if (!known)
      throw new UsageError(
        `${folder}: was trained by optimizer "${trainedBy}", which is not known here; load its module with --extension FILE, or name one by --optimizer to count its memory`,
      );
    return {
      title: `${folder}${step === null ? "" : `, step ${formatCount(step)}`}`,
      config,
      optimizer: { kind: known.kind, ...known.defaults } as OptimizerChoice,
      checkpoint: folder,
      ...{ notes, ignored },
    };
  }
  const { sizeBytes } = describePath(what);
  const bytes = sizeBytes > configBytes ? null : readWhole(what, configBytes);
  if (bytes === null || bytes.includes(0))
    throw new UsageError(
      `${what}: is no config file, and no model that is inspected; those are folders, GGUF files (.gguf) and compact files (.bitnet)`,
    );
  const text = new TextDecoder().decode(bytes);
  return subjectOf([{ from: what, patch: parseConfig(text, what) }]);
}

/** What a tokenizer puts around a text, and what ends one. */
interface TokensInfo {
  tokens: number;
  start: NamedToken | null;
  behind: NamedToken[];
  ends: NamedToken[];
}
interface NamedToken {
  id: number;
  token: string | null;
}

/** The checkpoint's matrices, and its tokenizer where it has one. */
async function readCheckpoint(
  checkpoint: string,
  options: InspectOptions,
): Promise<{ layers: TernaryLayerInfo[]; tokens: TokensInfo | null }> {
  const { inspectTernaryLayers } = await import("../model/index.ts");
  const { aroundText, endTokensOf } = await import("../infer/index.ts");
  const opened = await openModel(checkpoint, options);
  try {
    const { tokenizer, folder, endTokens } = opened;
    const layers = await inspectTernaryLayers(opened.model);
    if (!tokenizer) return { layers, tokens: null };
    const named = (id: number): NamedToken => ({ id, token: tokenizer.tokenOf(id) ?? null });
    const start = await startTokenFor(opened, tokenizer, {});
    const tokens: TokensInfo = {
      tokens: tokenizer.vocabSize,
      start: start === null ? null : named(start),
      behind: aroundText(tokenizer).suffix.map(named),
      ends: endTokensOf(tokenizer, endTokens ?? folder).map(named),
    };
    return { layers, tokens };
  } finally {
    opened.close();
  }
}

function tokensText(info: TokensInfo | null): string {
  if (!info) return "";
  const word = ({ id, token }: NamedToken) => `${token ?? "?"} (${id})`;
  const rows = [
    ["tokenizer", `${countOf(info.tokens, "token")}`],
    ["before a text", info.start ? word(info.start) : "nothing"],
    ...(info.behind.length > 0 ? [["behind a text", `nothing; its own rule: ${info.behind.map(word).join(" ")}`]] : []),
    ["ends of a text", info.ends.map(word).join(", ") || "none"],
  ];
  return formatTable(rows);
}

const remarks = (notes: readonly string[], ignored: readonly string[]): string =>
  [...notes.map((text) => `note: ${text}\n`), ...ignored.map((text) => `ignored: ${text}\n`)].join("");

function printPresets(
  presets: Record<string, ModelConfig>,
  inspect: (config: ModelConfig) => ModelDescription,
  { json, variant = "bitnet" }: InspectOptions,
): void {
  const described = Object.entries(presets).map(([name, config]) => ({ name, ...inspect({ ...config, variant }) }));
  if (json) {
    const about = described.map(({ name, config, total, ternary }) => ({ name, config, total, ternary }));
    process.stdout.write(`${JSON.stringify(about, null, 2)}\n`);
    return;
  }
  const rows = described.map(({ name, config: c, total, ternaryShare }) => [
    name,
    ...[c.vocabSize, c.width, c.layers, c.heads, c.kvHeads, c.hiddenWidth, c.contextLength].map(String),
    formatCount(total),
    formatShare(ternaryShare, 1),
  ]);
  const head = ["preset", "V", "C", "L", "H", "G", "F", "T", "parameters", "ternary"];
  process.stdout.write(
    `${formatTable([head, ...rows], [1, 2, 3, 4, 5, 6, 7, 8, 9])}V vocabulary, C width, L layers, H heads, G key/value heads, F feed-forward width, T context\n`,
  );
}

function heading(title: string, { config: c, ...d }: ModelDescription): string {
  const bits = d.ternary > 0 ? `; packed, ${d.bitsPerWeight.toFixed(2)} bits a parameter` : "";
  return [
    `${title} (${c.variant}${isMixed(d) ? `, ${d.quantization}` : ""})`,
    `${countOf(d.total, "parameter")}, ${formatCount(d.nonEmbedding)} outside embedding and head`,
    `${formatCount(d.ternary)} of them ternary: ${formatShare(d.ternaryShare)} (${formatShare(d.ternaryShareNonEmbedding)} outside embedding and head)${bits}`,
    `V ${c.vocabSize}  C ${c.width}  L ${c.layers}  H ${c.heads}  G ${c.kvHeads}  F ${c.hiddenWidth}  T ${c.contextLength}  ${c.tiedHead ? "tied head" : "head of its own"}, ${c.activation}, rotary base ${c.ropeBase}`,
    "",
  ].join("\n");
}

const isMixed = ({ quantization }: Pick<ModelDescription, "quantization">) =>
  !["ternary", "full precision"].includes(quantization);

/** Every tensor once; blocks that are alike, once for all of them. */
function shapes({ parameters, layers, config }: ModelDescription): string {
  const rows: string[][] = [["tensor", "shape", "parameters", "kind"]];
  const kinds = new Map(layers.map(({ name, kind }) => [name, kind]));
  const row = ({ name, shape, count, role }: ParameterInfo, shown = name) => {
    const kind = kinds.get(name.replace(/\.weight$/, "")) ?? kindOf(role, config);
    rows.push([shown, shape.join(" x "), formatCount(count), kind]);
  };
  const blockOf = (name: string) => /^model\.layers\.(\d+)\./.exec(name)?.[1] ?? null;
  const perBlock = layers.length / config.layers;
  const kindsOf = (block: number) =>
    layers
      .slice(block * perBlock, (block + 1) * perBlock)
      .map(({ kind }) => kind)
      .join();
  let shownTo = -1;
  for (const parameter of parameters) {
    const block = blockOf(parameter.name);
    if (block === null) row(parameter);
    else if (Number(block) > shownTo) {
      const first = Number(block);
      shownTo = first;
      while (shownTo + 1 < config.layers && kindsOf(shownTo + 1) === kindsOf(first)) shownTo++;
      const own = parameters.filter(({ name }) => blockOf(name) === block);
      const count = own.reduce((sum, p) => sum + p.count, 0);
      const all = `model.layers.${first}${shownTo > first ? ` to ${shownTo}` : ""}`;
      rows.push([all, shownTo > first ? "each" : "", formatCount(count), ""]);
      for (const p of own) row(p, `  ${p.name.slice(`model.layers.${block}.`.length)}`);
    }
  }
  return formatTable(rows, [2]);
}

function kindOf(role: ParameterInfo["role"], { tiedHead }: ModelConfig): string {
  if (role === "embedding") return tiedHead ? "float, embedding and head" : "float, embedding";
  if (role === "head") return "float, head";
  return {
    ternary: "ternary",
    linear: "float",
    norm: "float, gain",
    quantizer: "float, learned by the quantizer",
    objective: "float, of an objective",
  }[role];
}

function memory({ training: t, inference: i, layers }: ModelDescription, optimizerState: string): string {
  const others = layers.some(({ weights, bits }) => weights !== null && bits > 2);
  const rows = [
    [`training, ${formatCount(t.batch)} x ${countOf(t.sequence, "token")} at once`, formatBytes(t.totalBytes)],
    ["  weights, float32", formatBytes(t.weightsBytes)],
    ["  gradients", formatBytes(t.gradientsBytes)],
    [`  ${optimizerState}`, formatBytes(t.optimizerBytes)],
    [
      others ? "  quantized weights and rotary table" : "  ternary codes and rotary table",
      formatBytes(t.quantizedBytes),
    ],
    ["  activations, at most", formatBytes(t.activationsBytes)],
    [
      `inference, context of ${formatCount(i.contextLength)}`,
      formatBytes(i.presentBytes + i.cacheBytes + i.activationsBytes),
    ],
    ["  weights as we hold them", formatBytes(i.presentBytes)],
    [`  key-value cache, ${formatBytes(i.cacheBytesPerToken)} a token`, formatBytes(i.cacheBytes)],
    ["  activations", formatBytes(i.activationsBytes)],
    [
      `weights packed: two bits a ternary weight,${others ? " 8.5 an int8 one," : ""} float16 for the rest`,
      formatBytes(i.packedBytes),
    ],
  ];
  return formatTable(rows, [1]);
}

function ternary(layers: readonly TernaryLayerInfo[]): string {
  if (layers.length === 0) return "";
  const rows = layers.map((layer) => [
    layer.name,
    ...[layer.minus, layer.zero, layer.plus].map((share) => formatShare(share, 1)),
    layer.gamma.toPrecision(4),
    layer.entropyBits.toFixed(3),
  ]);
  const head = ["ternary layer", "-1", "0", "+1", "gamma", "bits"];
  return `${formatTable([head, ...rows], [1, 2, 3, 4, 5])}bits: entropy of a weight, at most log2 3 = 1.585\n`;
}
