/**
 * The papers' claims (arXiv:2402.17764, arXiv:2504.12285), each computed on one model as it is: nothing is typed in, and
 * every check can fail (audit.test.ts makes each). The judges are in audit-judges.ts; this file gathers what they judge:
 * weights, the int8 activations and outputs of every BitLinear on a real text, a file's bits. Called by cli/.
 */
import type { NDArray } from "../backends/backend.ts";
import { describePlan, inspectTernaryLayers, type ModelConfig, type Transformer } from "../model/index.ts";
import { isBitLinear, type LinearLayer } from "../nn/index.ts";
import type { Op } from "../ops/op.ts";
import { packModel } from "../infer/index.ts";
import { gatedActivation } from "../ops/gated-activation/index.ts";
import { rmsNorm } from "../ops/rms-norm/index.ts";
import { rotary, rotaryTable } from "../ops/rotary/index.ts";
import { DataError, UnsupportedError } from "../platform/errors.ts";
import type { Runtime, Tensor } from "../tensor/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import {
  type AuditCheck,
  type BitLinearEvidence,
  judgeActivations,
  judgeAgreement,
  judgeBits,
  judgeFloatParts,
  judgeHistograms,
  judgeNoBiases,
  judgePackedLogits,
  judgeReference,
  judgeSubNorms,
  judgeTernary,
  notApplicable,
  notBitLinear,
  notTernary,
  type TernaryEvidence,
} from "./audit-judges.ts";
import { type ReferenceValues, referenceValues } from "./reference-values.ts";
import { measureSize, type SizeMeasurement } from "./size.ts";

export interface AuditReport {
  variant: ModelConfig["variant"];
  /** The linear layers in words: "ternary", "full precision", "ternary but for 7 layers in int8". */
  quantization: string;
  /** Of the text that the activations were taken from. */
  textTokens: number;
  checks: AuditCheck[];
  /** Histograms of every ternary matrix. */
  layers: SizeMeasurement["layers"];
}

export interface AuditOptions {
  /** Real text: what activations are taken from. Only its first tokens are run. */
  text: string;
  /** Put before it; null: nothing. */
  startToken: number | null;
  /** Default 64, or the context if that is less. */
  maxTokens?: number;
  /** Values to hold the kernels to; default: PyTorch's, as stored. */
  reference?: ReferenceValues;
  signal?: AbortSignal;
  onProgress?: (what: string) => void;
}

/** Tokens of each layer whose outputs are computed again in float64. */
const comparedTokens = 2;

/**
 * @param model loaded with `runtime`, which is observed meanwhile
 * @throws DataError for a text without tokens; what measureSize throws
 */
export async function auditModel(
  model: Transformer,
  runtime: Runtime,
  tokenizer: Tokenizer,
  options: AuditOptions,
): Promise<AuditReport> {
  const { config } = model;
  const { signal, onProgress = () => {}, reference = referenceValues } = options;
  const { plan } = model;
  const ternary = plan.anyTernary;
  const bitLinear = plan.layers.filter(isBitLinear).length;
  const mixed = plan.allBitLinear
    ? null
    : `${model.ternaryLayers.length} of ${plan.layers.length} linear layers are ternary: the model is ${describePlan(plan)}`;
  const ids = tokensOf(tokenizer, options, config.contextLength);
  const checks: AuditCheck[] = [];
  const step = async (what: string, check: () => Promise<AuditCheck> | AuditCheck) => {
    signal?.throwIfAborted();
    onProgress(what);
    checks.push(await check());
  };

  const others = new Set(model.ternaryLayers.filter((layer) => !isAbsmean(layer)).map(quantizerOf));
  const byOthers = others.size > 0 ? `${others.size > 1 ? "quantizers" : "quantizer"} ${[...others].join(", ")}` : null;
  await step("weights", async () => {
    if (!ternary) return notTernary("ternary-weights");
    if (byOthers && !model.ternaryLayers.some(isAbsmean))
      return notApplicable("ternary-weights", `its ternary layers are by ${byOthers}, whose rule is not the papers'`);
    const beside = byOthers && `layers by ${byOthers} are not counted, whose rule is not the papers'`;
    return judgeTernary(ternaryEvidence(model), config, [mixed, beside].filter(Boolean).join("; ") || null);
  });
  onProgress("histograms and size");
  const size = await sizeOf(model, tokenizer, signal);
  await step("histograms", () => (ternary ? judgeHistograms(size.layers) : notTernary("histograms")));
  await step("biases", () => judgeNoBiases(model.parameters));
  await step("norms", () =>
    ternary ? judgeSubNorms(model.parameters, { ...config, subNorms: plan.subNorms }) : notTernary("sub-norms"),
  );
  await step("float parts", async () => judgeFloatParts(await floatParts(model)));
  onProgress("activations");
  const layers = bitLinear > 0 ? await observeBitLinear(model, runtime, ids) : [];
  const observed = (id: "activations" | "integer-float", judge: () => AuditCheck) =>
    bitLinear > 0 ? judge() : ternary ? notBitLinear(id) : notTernary(id);
  await step("activations", () => observed("activations", () => judgeActivations(layers, ids.length)));
  await step("integer products", () => observed("integer-float", () => judgeAgreement(layers)));
  await step("packed engine", async () =>
    ternary ? judgePackedLogits(...(await bothLogits(model, ids)), config.vocabSize) : notTernary("packed"),
  );
  await step("bits", () =>
    !ternary ? notTernary("bits") : "unheld" in size ? notApplicable("bits", size.unheld) : judgeBits(size),
  );
  for (const [what, computed] of [
    ["rms-norm", () => computeRmsNorm(runtime, reference)],
    ["rotary", () => computeRotary(runtime, reference)],
    ["swiglu", () => computeSwiglu(runtime, reference)],
  ] as const)
    await step(what, async () => {
      const { y, expected, float32Error } = await computed();
      const unused = what === "swiglu" && config.activation !== "silu";
      return judgeReference(what, y, expected, float32Error, unused ? config.activation : null);
    });
  return {
    variant: config.variant,
    quantization: describePlan(plan),
    textTokens: ids.length,
    checks,
    layers: size.layers,
  };
}

const quantizerOf = ({ spec }: LinearLayer): string => String(spec.weights?.quantizer.name);

function isAbsmean({ spec }: LinearLayer): boolean {
  const quantizer = spec.weights?.quantizer;
  return quantizer?.form === "ternary" && quantizer.isAbsmean === true;
}

/** The size, and of a model that the compact file cannot hold the layers alone, with the reason. */
async function sizeOf(model: Transformer, tokenizer: Tokenizer, signal?: AbortSignal) {
  try {
    return await measureSize(model, tokenizer, { signal });
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    const layers = (await inspectTernaryLayers(model)).map((layer) => ({ ...layer, fileBits: null }));
    return { layers, unheld: error.message };
  }
}

function tokensOf(
  tokenizer: Tokenizer,
  { text, startToken, maxTokens = 64 }: AuditOptions,
  context: number,
): Int32Array {
  // A few characters a token at most: the rest need not be encoded.
  const encoded = Array.from(tokenizer.encode(text.slice(0, 64 * maxTokens)));
  if (encoded.length === 0) throw new DataError("audit: the text is empty; give one with words in it");
  return Int32Array.from(
    [...(startToken === null ? [] : [startToken]), ...encoded].slice(0, Math.min(maxTokens, context)),
  );
}

/** Each matrix that absmean makes ternary: master weights, and codes and scale as they multiply. One at a time: a large model has many. */
async function* ternaryEvidence(model: Transformer): AsyncGenerator<TernaryEvidence> {
  const { runtime } = model;
  for (const layer of model.ternaryLayers) {
    // The rule of another quantizer is its own; audit knows the papers'.
    if (!isAbsmean(layer)) continue;
    const { codes, scale } = layer.quantized(runtime);
    yield {
      name: layer.weight.name,
      weights: await runtime.readFloats(layer.weight.tensor),
      codes: (await runtime.read(codes)) as Uint8Array,
      scale: (await runtime.readFloats(scale))[0],
    };
  }
}

/** Embedding, head and norms, some of their values. */
async function floatParts(model: Transformer) {
  const parts: { name: string; role: string; values: Float32Array }[] = [];
  for (const { name, role, tensor, size } of model.parameters) {
    if (role === "ternary") continue;
    const values = new Float32Array(Math.min(size, 1 << 16));
    await model.runtime.backend.read(tensor.buffer, values);
    parts.push({ name, role, values });
  }
  return parts;
}

interface Held {
  name: string;
  shape: readonly number[];
  k: number;
  arrays: {
    codes: Tensor;
    scale: Tensor;
    weightCodes: Tensor;
    weightScale: Tensor;
    residual: Tensor | null;
    y: Tensor;
  };
}

/** Runs the tokens through the model and keeps what every BitLinear read and wrote. */
async function observeBitLinear(model: Transformer, runtime: Runtime, ids: Int32Array): Promise<BitLinearEvidence[]> {
  const held: Held[] = [];
  const hold = (tensor: Tensor): Tensor => {
    tensor.storage.retain();
    return tensor;
  };
  // Ternary layers with codes of four bits have the same op, and are none.
  const bitLinears = model.ternaryLayers.filter(({ spec }) => isBitLinear(spec));
  const names = new Map(bitLinears.map(({ weight }) => [weight.tensor.buffer, weight.name]));
  const stop = runtime.observe(({ op, inputs, outputs }) => {
    if (op !== "bit-linear") return;
    const [codes, scale, , ...rest] = inputs;
    const count = outputs.length;
    const residual = rest.length > 3 * count ? rest[3 * count] : null;
    for (let i = 0; i < count; i++) {
      const name = names.get(rest[i].buffer);
      if (name === undefined) continue;
      held.push({
        name,
        shape: rest[i].shape,
        k: rest[i].shape[1],
        arrays: {
          codes: hold(codes),
          scale: hold(scale),
          weightCodes: hold(rest[count + i]),
          weightScale: hold(rest[2 * count + i]),
          residual: residual && hold(residual),
          y: hold(outputs[i]),
        },
      });
    }
  });
  try {
    const states = model.hiddenStates({ tokens: ids, batch: 1, length: ids.length });
    states.dispose();
  } finally {
    stop();
  }
  const found: BitLinearEvidence[] = [];
  try {
    for (const { name, shape, k, arrays } of held) {
      const [n] = shape;
      const m = Math.min(comparedTokens, ids.length);
      const floats = async (array: NDArray, count: number) => {
        const values = new Float32Array(count);
        await runtime.backend.read(array.buffer, values);
        return values;
      };
      found.push({
        name,
        ...{ n, k, rows: m },
        activations: (await runtime.read(arrays.codes)) as Int8Array,
        activationScales: await runtime.readFloats(arrays.scale),
        codes: (await runtime.read(arrays.weightCodes)) as Uint8Array,
        scale: (await runtime.readFloats(arrays.weightScale))[0],
        residual: arrays.residual && (await floats(arrays.residual, m * n)),
        y: await floats(arrays.y, m * n),
      });
    }
  } finally {
    for (const { arrays } of held) for (const tensor of Object.values(arrays)) tensor?.storage.release();
  }
  return found;
}

/** Logits of every token: as training computes them, and by the packed engine. */
async function bothLogits(model: Transformer, ids: Int32Array): Promise<[Float32Array, Float32Array]> {
  const output = model.logits({ tokens: ids, batch: 1, length: ids.length });
  let trained: Float32Array;
  try {
    trained = await model.runtime.readFloats(output);
  } finally {
    output.dispose();
  }
  const engine = await packModel(model, { head: "f32", cache: "f32", gatherAbove: 0 });
  try {
    const [packed] = await engine.forward([{ sequence: engine.createSequence(), tokens: ids, logits: "all" }]);
    return [trained, packed];
  } finally {
    engine.dispose();
  }
}

interface Computed {
  y: Float32Array;
  expected: readonly number[];
  float32Error: number;
}

async function compute<P>(
  runtime: Runtime,
  op: Op<P>,
  inputs: readonly { shape: readonly number[]; values: readonly number[] | Float32Array }[],
  params: P,
): Promise<Float32Array> {
  const output = runtime.scope(() =>
    runtime.apply(
      op,
      inputs.map(({ shape, values }) => runtime.upload(shape, "f32", Float32Array.from(values))),
      params,
    ),
  );
  try {
    return await runtime.readFloats(output);
  } finally {
    output.dispose();
  }
}

async function computeRmsNorm(runtime: Runtime, { rmsNorm: r }: ReferenceValues): Promise<Computed> {
  const inputs = [
    { shape: r.shape, values: r.x },
    { shape: [r.gain.length], values: r.gain },
  ];
  return { y: await compute(runtime, rmsNorm, inputs, { eps: r.eps }), expected: r.y, float32Error: r.float32Error };
}

async function computeRotary(runtime: Runtime, { rotary: r }: ReferenceValues): Promise<Computed> {
  const [batch, heads, tokens, width] = r.shape;
  // [B, H, T, D], as PyTorch has it, and [B, T, H · D], as our op has it.
  const turned = (values: readonly number[]) =>
    Array.from({ length: values.length }, (_, i) => {
      const [d, h, rest] = [i % width, Math.floor(i / width) % heads, Math.floor(i / (width * heads))];
      const [t, b] = [rest % tokens, Math.floor(rest / tokens)];
      return values[((b * heads + h) * tokens + t) * width + d];
    });
  const positions = r.start + tokens;
  const inputs = [
    { shape: [batch, tokens, heads * width], values: turned(r.x) },
    { shape: [positions, width], values: rotaryTable(positions, width, r.base) },
  ];
  const y = await compute(runtime, rotary, inputs, { heads, start: r.start });
  return { y, expected: turned(r.y), float32Error: r.float32Error };
}

async function computeSwiglu(runtime: Runtime, { swiglu: s }: ReferenceValues): Promise<Computed> {
  const inputs = [
    { shape: s.shape, values: s.gate },
    { shape: s.shape, values: s.up },
  ];
  return {
    y: await compute(runtime, gatedActivation, inputs, { kind: "silu" }),
    expected: s.y,
    float32Error: s.float32Error,
  };
}
