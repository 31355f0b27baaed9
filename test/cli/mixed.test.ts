// A model of mixed precision from the command line: trained, inspected, evaluated, exported in each format, as processes.
// Oracle: the model itself: each exported file scores the same loss as the checkpoint, within what its types round.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bitnet } from "../support/cli.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-cli-mixed-"));
afterAll(() => rmSync(root, { recursive: true }));
const run = async (...args: string[]) => {
  const result = await bitnet(args, { cwd: root });
  expect(result, args.join(" ")).toMatchObject({ code: 0 });
  return result.stdout;
};

const overrides = '[{layers: "*.down_proj", weights: int8}, {layers: "layers.0.*", weights: none}]';
const sizes = {
  ...{ vocabSize: 270, width: 64, layers: 2, heads: 2, kvHeads: 1, hiddenWidth: 128, contextLength: 32 },
};
const train = (folder: string, quantization: string) =>
  run(
    ...["train", "tiny", "--data", "text.txt", "--steps", "6", "--run-dir", folder, "--threads", "1"],
    ...["--train.batch", "4", "--train.sequence", "32", "--evaluation.every", "6", "--metrics.layersEvery", "3"],
    ...["--checkpoints.every", "3", "--checkpoints.keepLast", "4"],
    ...Object.entries(sizes).flatMap(([key, value]) => [`--model.${key}`, String(value)]),
    ...["--model.quantization.overrides", quantization],
  );

beforeAll(async () => {
  const words = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "to", "red", "hill"];
  const texts = Array.from({ length: 120 }, (_, i) =>
    Array.from({ length: 20 }, (_, k) => words[(i * 7 + k * k + 3 * k) % words.length]).join(" "),
  );
  writeFileSync(join(root, "text.txt"), texts.join(".<|endoftext|>"));
  await train("mixed", overrides);
  await train("part-float", '[{layers: "layers.0.*", weights: none}]');
}, 120_000);

const lossOf = async (model: string) => JSON.parse(await run("eval", model, "--data", "text.txt", "--json")).loss;

test("inspect names each layer's precision, and the ternary layers that there are", async () => {
  const text = await run("inspect", "mixed");
  expect(text).toContain("(bitnet, float but for 6 layers in ternary and 1 in int8)");
  expect(text).toMatch(/model\.layers\.1 .*\n(.*\n){9}\s+mlp\.down_proj\.weight +64 x 128 +8,192 +int8/);
  const { layers, ternaryLayers } = JSON.parse(await run("inspect", "mixed", "--json"));
  expect(layers).toHaveLength(14);
  expect(layers.filter(({ kind }: { kind: string }) => kind === "int8")).toHaveLength(1);
  expect(ternaryLayers).toHaveLength(6);
});

test("resumed from a checkpoint, it has the same losses as without the pause", async () => {
  cpSync(join(root, "mixed"), join(root, "resumed"), { recursive: true });
  rmSync(join(root, "resumed/checkpoints/step_000006"), { recursive: true });
  await run("train", "--resume", "resumed");
  const losses = readFileSync(join(root, "resumed/metrics/scalars.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { step: number; loss?: number })
    .filter(({ step, loss }) => step > 3 && loss !== undefined)
    .map(({ loss }) => loss);
  expect(losses).toHaveLength(6);
  expect(losses.slice(3)).toEqual(losses.slice(0, 3));
});

test("GGUF: each layer in its type, and the checkpoint's loss from there, imported or not", async () => {
  const loss = await lossOf("mixed");
  expect(loss).toBeGreaterThan(1);
  const exact = ["--embedding-type", "f32", "--linear-type", "f32"];
  expect(await run("export", "mixed", "--format", "gguf", "--type", "f16", ...exact, "-o", "m.gguf")).toContain(
    "the inputs of the layer in int8 (model.layers.1.mlp.down_proj) to int8, and the model does not",
  );
  expect(Math.abs((await lossOf("m.gguf")) - loss)).toBeLessThan(1e-5);
  await run("import", "m.gguf", "-o", "from-gguf");
  expect(Math.abs((await lossOf("from-gguf")) - loss)).toBeLessThan(1e-5);
}, 180_000);

test("both engines write the same text, from the run, a GGUF file and a compact file", async () => {
  const exact = ["--embeddings", "f32", "--linear", "f32"];
  expect(await run("export", "mixed", "--format", "compact", ...exact, "-o", "m.bitnet")).toContain(
    "layers of other quantizers: 1, exactly as they were",
  );
  const written = (model: string, engine: string) =>
    run("generate", "-m", model, "-p", "the cat", "-n", "20", "--temp", "0", "--engine", engine);
  const text = await written("mixed", "float");
  expect(text).toContain("the cat");
  for (const model of ["mixed", "m.gguf", "m.bitnet"]) expect(await written(model, "packed")).toBe(text);
}, 180_000);

test("ONNX is written; Hugging Face's folder is refused by the name of the int8 layer", async () => {
  await run("export", "mixed", "--format", "onnx", "-o", "m.onnx");
  const refused = await bitnet(["export", "mixed", "--format", "hf", "-o", "m-hf"], { cwd: root });
  expect(refused).toMatchObject({ code: 1 });
  expect(refused.stderr).toContain("layer model.layers.1.mlp.down_proj is int8, which transformers' BitNet quantizer");
});

test("float layers beside ternary ones go to Hugging Face and back", async () => {
  await run("export", "part-float", "--format", "hf", "--type", "packed", "-o", "part-hf");
  const config = JSON.parse(readFileSync(join(root, "part-hf/config.json"), "utf8"));
  expect(config.quantization_config.modules_to_not_convert).toContain("model.layers.0.mlp.up_proj");
  expect(Math.abs((await lossOf("part-hf")) - (await lossOf("part-float")))).toBeLessThan(1e-5);
});

test("audit judges its ternary layers", async () => {
  const text = await run("audit", "mixed", "--data", "text.txt");
  expect(text).toContain("6 of 14 linear layers are ternary");
});

test("an override that matches no layer is refused by what it says", async () => {
  const overrides = '[{layers: "*.qkv", weights: int8}]';
  writeFileSync(join(root, "mixed.yaml"), `preset: tiny\nmodel: {quantization: {overrides: ${overrides}}}\n`);
  const { code, stderr } = await bitnet(["inspect", "mixed.yaml"], { cwd: root });
  expect(code).toBe(2);
  expect(stderr).toContain('model.quantization.overrides: layers "*.qkv" matches no layer');
});
