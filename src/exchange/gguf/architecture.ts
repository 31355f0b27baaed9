/**
 * Which GGUF architecture and tensor formats a model can be written in, and which programs then load it. What cannot be is
 * refused with its reason: a file that loads and computes something else would be worse than none.
 */
import {
  describePlan,
  finalNormEpsOf,
  headWidth,
  type ModelConfig,
  type ModelPlan,
  planModel,
} from "../../model/index.ts";
import { hasTernaryWeights } from "../../nn/index.ts";
import { UnsupportedError, UsageError } from "../../platform/errors.ts";
import { type GgmlTypeName, rowMultiple } from "../../quant/ggml-types.ts";

export const ggufArchitectures = ["bitnet", "bitnet-b1.58", "bitnet-25", "llama"] as const;
export type GgufArchitecture = (typeof ggufArchitectures)[number];

/** Formats of the blocks' matrices. */
export const ggufExportTypes = ["f32", "f16", "bf16", "q8_0", "tq2_0", "tq1_0", "q2_0", "i2_s"] as const;
export type GgufExportType = (typeof ggufExportTypes)[number];

/** Formats of float layers beside ternary ones. */
export const ggufLinearTypes = ["f32", "f16", "bf16"] as const;
export type GgufLinearType = (typeof ggufLinearTypes)[number];

/** Formats of the embedding, and of a head of its own. */
export const ggufEmbeddingTypes = ["f32", "f16", "bf16", "q8_0", "q6_k"] as const;
export type GgufEmbeddingType = (typeof ggufEmbeddingTypes)[number];

const ternaryTypes: readonly GgufExportType[] = ["tq2_0", "tq1_0", "q2_0", "i2_s"];

/** What "auto" tries for a model with ternary layers, the smallest first: 1.69, 2.06 and 2.25 bits a weight, then 8.5. */
const autoTypes: readonly GgufExportType[] = ["tq1_0", "tq2_0", "q2_0", "q8_0"];
/** The same for architectures that bitnet.cpp alone loads: it has I2_S (2 bits), and no Q2_0. */
const autoTypesOfFork: readonly GgufExportType[] = ["tq1_0", "i2_s", "tq2_0"];

export const ggmlNameOf = (type: GgufExportType | GgufEmbeddingType): GgmlTypeName =>
  type.toUpperCase() as GgmlTypeName;

/** general.file_type. 40 for I2_S is bitnet.cpp's. */
export const fileTypes: Record<GgufExportType, number> = {
  f32: 0,
  f16: 1,
  q8_0: 7,
  bf16: 32,
  tq1_0: 36,
  tq2_0: 37,
  i2_s: 40,
  q2_0: 41,
};

export interface GgufPlan {
  architecture: GgufArchitecture;
  type: GgufExportType;
  embeddingType: GgufEmbeddingType;
  /** Of the float layers: beside ternary layers one of ggufLinearTypes, else the type itself. */
  linearType: GgufExportType;
  /** Ternary matrices are written as codes of one unit with their float32 scale in a tensor of its own. */
  scaleTensors: boolean;
  /** For people: the programs that load it. */
  loadsIn: string;
  /** For people: what else does not read the type, and what type of this size it reads. */
  notes: string[];
}

/** Ternary types that gguf, the Python package from PyPI (0.19.0), has no number for: it refuses the whole file. */
const unknownToPython: readonly GgufExportType[] = ["q2_0", "i2_s"];

/** The architecture that computes what the model does. */
const naturalArchitecture = (config: ModelConfig, model: ModelPlan): GgufArchitecture =>
  !model.subNorms ? "llama" : config.activation === "relu2" ? "bitnet-b1.58" : "bitnet";

const forkAlone = (architecture: GgufArchitecture) => architecture === "bitnet-b1.58" || architecture === "bitnet-25";

/**
 * The type that "auto" stands for: of the ternary types that llama.cpp loads (bitnet.cpp, where it alone has the
 * architecture) the smallest whose blocks divide the ternary layers' rows; without one q8_0, or f16. A model without ternary
 * layers is written in f16.
 */
export function autoGgufType(config: ModelConfig, architecture?: GgufArchitecture): GgufExportType {
  const model = planModel(config);
  if (!model.anyTernary) return "f16";
  const candidates = forkAlone(architecture ?? naturalArchitecture(config, model)) ? autoTypesOfFork : autoTypes;
  return candidates.find((type) => rowsThatDoNotFit(config, model, type) === null) ?? "f16";
}

/**
 * @param where names the model, for messages
 * @throws UnsupportedError for a model that the architecture cannot hold; UsageError for options at odds
 */
export function planGguf(
  config: ModelConfig,
  options: {
    type: GgufExportType | "auto";
    embeddingType?: GgufEmbeddingType;
    linearType?: GgufLinearType;
    architecture?: GgufArchitecture;
  },
  where: string,
): GgufPlan {
  const model = planModel(config);
  const natural = naturalArchitecture(config, model);
  const architecture = options.architecture ?? natural;
  checkArchitecture(config, model, architecture, natural, where);
  const type = options.type === "auto" ? autoGgufType(config, architecture) : options.type;
  const ternary = ternaryTypes.includes(type);
  if (ternary && !model.anyTernary)
    throw new UsageError(
      `${where}: --type ${type} holds ternary weights, and this model's are not (${describePlan(model)}); use f16, bf16, f32 or q8_0`,
    );
  const mixed = model.anyTernary && model.layers.some(({ weights }) => !weights);
  if (options.linearType && !mixed)
    throw new UsageError(
      `${where}: --linear-type is for float layers beside ternary ones, and this model is ${describePlan(model)}; use --type`,
    );
  const linearType = options.linearType ?? (mixed && (ternary || type === "q8_0") ? "f16" : type);
  if (type === "q2_0" && architecture !== "bitnet" && architecture !== "llama")
    throw new UnsupportedError(
      `${where}: q2_0 is read by llama.cpp alone, which has no architecture "${architecture}"; use i2_s, tq2_0 or tq1_0`,
    );
  const embeddingType = options.embeddingType ?? (ternary ? "f16" : (type as GgufEmbeddingType));
  checkWidths(config, model, type, embeddingType, where);
  const fork = "bitnet.cpp";
  const loadsIn =
    forkAlone(architecture) || type === "i2_s"
      ? `${fork} (not llama.cpp, which has no ${type === "i2_s" ? "I2_S" : `architecture "${architecture}"`})`
      : type === "q2_0"
        ? `llama.cpp (not ${fork}, which has no Q2_0)`
        : `llama.cpp and ${fork}`;
  return {
    architecture,
    type,
    embeddingType,
    linearType,
    // float32 holds the products exactly, I2_S has a scale of its own; the other architectures know no such tensor.
    scaleTensors: architecture === "bitnet" && type !== "f32" && type !== "i2_s",
    loadsIn,
    notes: pythonNotes(config, architecture, type),
  };
}

/** A type that both gguf's Python package and llama.cpp read, where the widths allow one. */
function pythonNotes(config: ModelConfig, architecture: GgufArchitecture, type: GgufExportType): string[] {
  if (!unknownToPython.includes(type)) return [];
  const others = (["tq2_0", "tq1_0", "q8_0", "f16"] as const).filter((other) =>
    [config.width, config.hiddenWidth].every((width) => width % rowMultiple(ggmlNameOf(other)) === 0),
  );
  const both = forkAlone(architecture) ? "bitnet.cpp" : "llama.cpp";
  return [
    `gguf, the Python package, does not know ${type.toUpperCase()} and refuses the file; it and ${both} both read ${others.join(", ")} at these widths`,
  ];
}

function checkArchitecture(
  config: ModelConfig,
  model: ModelPlan,
  architecture: GgufArchitecture,
  natural: GgufArchitecture,
  where: string,
): void {
  const refuse = (why: string) => {
    throw new UnsupportedError(`${where}: cannot be written as GGUF architecture "${architecture}": ${why}`);
  };
  if (finalNormEpsOf(config) !== config.normEps)
    refuse(
      `it has one epsilon for all norms, and this model's last norm has its own (finalNormEps ${config.finalNormEps})`,
    );
  if (!model.subNorms) {
    if (architecture !== "llama") refuse("it has sub-norms, and this model has none; use llama");
    if (config.activation !== "silu")
      refuse(`its feed-forward is SwiGLU, and this model's gate is ${config.activation}`);
    return;
  }
  if (architecture === "llama") refuse(`it has no sub-norms, and this model has; use ${natural}`);
  if (architecture === "bitnet" && config.activation !== "silu")
    refuse(
      `its feed-forward is SwiGLU, and this model's gate is squared ReLU; use bitnet-b1.58, which bitnet.cpp loads`,
    );
  if (architecture !== "bitnet" && config.activation !== "relu2")
    refuse("its gate is squared ReLU, and this model's feed-forward is SwiGLU; use bitnet");
  if (!config.tiedHead)
    refuse("its output head is always the embedding, and this model has a head of its own (tiedHead: false)");
  if (headWidth(config) * config.heads !== config.width)
    refuse("its heads times their width must be the model's width");
}

/** Rows must be whole blocks. */
function checkWidths(
  config: ModelConfig,
  model: ModelPlan,
  type: GgufExportType,
  embedding: GgufEmbeddingType,
  where: string,
): void {
  const refuse = (kind: string, name: string, k: number, what: string, fits: string) => {
    throw new UnsupportedError(
      `${where}: ${name} has rows of ${k}, and ${kind} stores rows in blocks of ${rowMultiple(ggmlNameOf(what as GgufExportType))}; ${fits}`,
    );
  };
  const { width: C, hiddenWidth: F } = config;
  const misfit = rowsThatDoNotFit(config, model, type);
  if (misfit) {
    const candidates = model.anyTernary ? ggufExportTypes : (["f16", "bf16", "f32"] as const);
    const fitting = candidates.filter((t) => [C, F].every((n) => n % rowMultiple(ggmlNameOf(t)) === 0));
    refuse(type.toUpperCase(), misfit.name, misfit.length, type, `these fit: ${fitting.join(", ")}`);
  }
  if (C % rowMultiple(ggmlNameOf(embedding)) !== 0)
    refuse(embedding.toUpperCase(), "token_embd (width)", C, embedding, "choose another --embedding-type");
}

/** The first kind of matrix whose rows are not whole blocks of the type; null where all are. */
function rowsThatDoNotFit(
  { width, hiddenWidth }: ModelConfig,
  model: ModelPlan,
  type: GgufExportType,
): { name: string; length: number } | null {
  // The layers that the type is of: the ternary ones, or all of a model without them.
  const own = model.layers.filter((layer) => !model.anyTernary || hasTernaryWeights(layer));
  const rows = [
    { name: "attn_q (width)", length: width, there: own.some(({ role }) => role !== "down") },
    { name: "ffn_down (hiddenWidth)", length: hiddenWidth, there: own.some(({ role }) => role === "down") },
  ];
  return rows.find(({ length, there }) => there && length % rowMultiple(ggmlNameOf(type)) !== 0) ?? null;
}
