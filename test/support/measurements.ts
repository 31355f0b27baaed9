/** Made-up measurements of two small models, for tests of reports: every part there, every number chosen. */
import { presets } from "../../src/model/index.ts";
import type { ModelMeasurement } from "../../src/report/index.ts";

const spread = (mean: number) => ({ mean, deviation: mean / 50, best: mean, samples: 6 });

export function madeUpMeasurement(
  variant: "bitnet" | "full",
  changes: Partial<ModelMeasurement> = {},
): ModelMeasurement {
  const bitnet = variant === "bitnet";
  const loss = bitnet ? 2.1 : 2;
  const windows = Array.from({ length: 20 }, (_, i) => ({ nats: 256 * (loss + Math.sin(i) / 10), tokens: 256 }));
  const kinds = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
  ];
  const machine = {
    system: "linux 6 x64",
    processor: "A Processor",
    processors: 2,
    memoryBytes: 2 ** 34,
    node: "v20.0.0",
  };
  const made = {
    startedMs: 1.6e12,
    elapsedMs: 30_000,
    machine,
    backend: { name: "native", isa: "avx2", threads: 2 },
    software: { version: "0.1.0", commit: "c".repeat(40) },
    othersShare: 0.5,
  };
  const curve = Array.from({ length: 120 }, (_, i) => ({
    step: i + 1,
    tokens: 8192 * (i + 1),
    lossNats: loss + 5 * Math.exp(-i / 25) + Math.sin(i) / 20,
  }));
  return {
    format: "bitnet.ts measurement",
    version: 1,
    name: bitnet ? "tiny-bitnet" : "tiny-full",
    path: `runs/tiny-${variant}`,
    step: 120,
    config: { ...presets.tiny, variant },
    parameters: bitnet ? 11_417_472 : 11_408_256,
    tokenizer: { name: "bpe-2048", vocabSize: 2048, hash: "aa".repeat(32) },
    training: {
      folder: `runs/tiny-${variant}`,
      preset: "tiny",
      steps: 120,
      plannedSteps: 120,
      finished: true,
      totalTokens: 983_040,
      skippedSteps: 0,
      damagedLines: 0,
      training: curve,
      validation: curve
        .filter((_, i) => i % 10 === 9)
        .map((point) => ({ ...point, bitsPerByte: point.lossNats * 0.4 })),
      epochs: [
        { epoch: 1, lossNats: loss + 1, elapsedMs: bitnet ? 600_000 : 700_000 },
        { epoch: 2, lossNats: loss, elapsedMs: bitnet ? 600_000 : 700_000 },
      ],
      elapsedMs: 1_200_000,
      tokensPerSecond: bitnet ? 4700 : 4100,
      tokensPerSecondDeviation: 100,
      peakMemoryBytes: 7e8,
      data: {
        identity: "bb".repeat(32),
        tokens: 491_520,
        documents: 2000,
        validationTokens: 5120,
        validation: "files",
      },
      tokenizer: { name: "bpe-2048", vocabSize: 2048, hash: "aa".repeat(32) },
      parameters: { total: 11_417_472, ternary: bitnet ? 10_616_832 : 0 },
      sessions: [
        {
          startedMs: 1.7e12,
          fromStep: 0,
          backend: "native",
          isa: "avx2",
          threads: 2,
          precision: "fp32",
          machine,
          version: "0.1.0",
          commit: "c".repeat(40),
        },
      ],
      config: {
        preset: "tiny",
        model: { ...presets.tiny, variant },
        optimizer: { learningRate: bitnet ? 0.0015 : 0.001 },
      },
    },
    text: {
      identity: "dd".repeat(32),
      tokens: 5120,
      bytes: 19_000,
      sequence: 256,
      whole: true,
      lossNats: loss,
      lossStandardError: 0.02,
      perplexity: Math.exp(loss),
      bitsPerByte: (loss * 5120) / (Math.LN2 * 19_000),
      bitsPerByteStandardError: 0.008,
      calibration: {
        bins: Array.from({ length: 10 }, (_, i) => ({
          from: i / 10,
          to: (i + 1) / 10,
          count: 512,
          meanProbability: (i + 0.5) / 10,
          accuracy: Math.min(1, (i + (bitnet ? 0.3 : 0.7)) / 10),
        })),
        expectedCalibrationError: bitnet ? 0.02 : 0.018,
        accuracy: bitnet ? 0.47 : 0.49,
      },
      windows,
      files: ["valid.txt"],
      sha256: "ee".repeat(32),
    },
    tasks: [
      {
        task: "arc_easy",
        metric: "acc",
        value: bitnet ? 0.27 : 0.28,
        standardError: 0.02,
        higherIsBetter: true,
        items: 500,
        fewshot: 0,
        source: "tasks/arc_easy.jsonl",
        sha256: "ab".repeat(32),
        baselines: [0.25, 0.27],
        withinNoise: true,
      },
      {
        task: "boolq",
        metric: "acc",
        value: bitnet ? 0.71 : 0.75,
        standardError: 0.008,
        higherIsBetter: true,
        items: 3270,
        fewshot: 0,
        source: "tasks/boolq.jsonl",
        sha256: "cd".repeat(32),
        baselines: [0.5, 0.38, 0.62],
        withinNoise: false,
      },
    ],
    size: {
      fileBytes: bitnet ? 4e6 : 23e6,
      parameters: 11_417_472,
      ternaryParameters: bitnet ? 10_616_832 : 0,
      bitsPerParameter: bitnet ? 2.6 : 16.1,
      linearBitsPerWeight: bitnet ? 1.56 : 16,
      ternaryBitsPerWeight: bitnet ? 1.56 : null,
      ternaryEntropyBits: bitnet ? 1.55 : null,
      layers: bitnet
        ? Array.from({ length: 42 }, (_, i) => ({
            name: `model.layers.${Math.floor(i / 7)}.${kinds[i % 7]}.weight`,
            shape: [384, 384],
            minus: 0.3 + (i % 5) / 100,
            zero: 0.4 - (i % 5) / 50,
            plus: 0.3 + (i % 5) / 100,
            gamma: 0.02,
            entropyBits: 1.57,
            fileBits: 1.575,
          }))
        : [],
    },
    speed: {
      prompt: { name: "pp256", tokens: 256, ...spread(bitnet ? 5000 : 3000) },
      decode: { name: "tg128", tokens: 128, ...spread(bitnet ? 700 : 300) },
      firstToken: { tokens: 64, ...spread(bitnet ? 15 : 22) },
      loadedBytes: bitnet ? 6e6 : 24e6,
      peakBytes: bitnet ? 9e6 : 28e6,
      engines: { prompt: bitnet ? "packed" : "float", decode: "packed", firstToken: "packed" },
      weights: bitnet ? "2 bits" : "f16",
    },
    made: { text: made, size: made, speed: { ...made, othersShare: 0.01 }, "task-arc_easy": made, "task-boolq": made },
    machine,
    backend: made.backend,
    software: made.software,
    measuredMs: 1.7e12,
    notes: [],
    ...changes,
  };
}
