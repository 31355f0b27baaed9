// `bitnet export --format compact` and `--format onnx`, `import`, and commands that open a compact file by its path, as
// processes. Oracle: the checkpoint that was exported: the same words, the same losses, the same shares of -1, 0 and +1.
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createReferenceBackend } from "../../src/backends/index.ts";
import { saveCheckpoint } from "../../src/checkpoint/index.ts";
import { presets, Transformer } from "../../src/model/index.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { trainCharacters } from "../../src/tokenizer/index.ts";
import { createAdamW } from "../../src/train/index.ts";
import { bitnet } from "../support/cli.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-cli-compact-"));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string) => join(root, name);
const text = "the cat sat on the mat.<|endoftext|>a dog ran to the cat.";

beforeAll(async () => {
  const { tokenizer } = await trainCharacters(text.split("<|endoftext|>"));
  const runtime = new Runtime(createReferenceBackend());
  for (const variant of ["bitnet", "full"] as const) {
    const config = {
      ...presets.tiny,
      variant,
      vocabSize: tokenizer.vocabSize,
      width: 32,
      layers: 2,
      heads: 2,
      kvHeads: 1,
      hiddenWidth: 48,
      contextLength: 32,
      initStd: 0.5,
    };
    const model = new Transformer(runtime, config, 4);
    const optimizer = createAdamW(runtime, model.parameters);
    await saveCheckpoint(at(variant), { model, optimizer, tokenizer, step: 7, training: null });
  }
  writeFileSync(at("text.txt"), text);
});

const run = async (...args: string[]) => {
  const result = await bitnet(args, { cwd: root });
  expect(result).toMatchObject({ code: 0 });
  return result.stdout;
};

test("a run's newest checkpoint is imported as a model folder; one with other files in it is not written over", async () => {
  const config = readFileSync(join(at("bitnet"), "config.json"), "utf8");
  cpSync(at("bitnet"), join(at("run"), "checkpoints", "step_000007"), { recursive: true });
  expect(await run("import", "run", "-o", "of-run")).toMatch(/^wrote of-run: [\d,]+ parameters, variant bitnet\n$/);
  const { architectures, hidden_size } = JSON.parse(config);
  expect(JSON.parse(readFileSync(join(at("of-run"), "config.json"), "utf8"))).toMatchObject({
    architectures,
    hidden_size,
  });
  await run("export", "run", "--format", "compact", "-o", "run.bitnet");
  for (const from of ["run", "run.bitnet"]) await run("import", from, "-o", "of-run");
  writeFileSync(join(at("of-run"), "notes.txt"), "mine");
  for (const from of ["run", "run.bitnet"]) {
    const again = await bitnet(["import", from, "-o", "of-run"], { cwd: root });
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toMatch(/^bitnet: of-run: exists and was not written by this command; name another [^\n]*\n$/);
  }
});

describe("a compact file", () => {
  test("is written, opened by its path, and read back: the same words, losses and weights", async () => {
    const said = await run("export", "bitnet", "--format", "compact", "--embeddings", "f32");
    expect(said).toMatch(/^bitnet\.bitnet: \S+ KiB\nternary weights: 1\.\d+ bits each, exactly as they were\n$/);
    await run("import", "bitnet.bitnet", "-o", "again");
    const words = (model: string) =>
      run("generate", "-m", model, "-p", "the", "-n", "20", "--temp", "0", "--ignore-eos");
    const losses = async (model: string) =>
      JSON.parse(await run("eval", "-m", model, "-d", "text.txt", "--json", "--cache-dir", "cache")).loss;
    const [first, second] = await Promise.all(["bitnet", "again"].map(words));
    expect(second).toBe(first);
    expect(await losses("bitnet.bitnet")).toBe(await losses("bitnet"));
  });

  test("is inspected: bits a weight measured in the file, entropy beside them", async () => {
    await run("export", "bitnet", "--format", "compact", "-o", "inspected.bitnet");
    const of = JSON.parse(await run("inspect", "inspected.bitnet", "--json"));
    const checkpoint = JSON.parse(await run("inspect", "bitnet", "--json"));
    expect(of.fileBytes).toBe(statSync(at("inspected.bitnet")).size);
    expect(of.step).toBe(7);
    const sizes = of.tensors.map(({ bytes }: { bytes: number }) => bytes);
    expect(of.headerBytes + of.tokenizerBytes + sizes.reduce((a: number, b: number) => a + b)).toBe(of.fileBytes);
    expect(of.ternaryLayers.length).toBe(14);
    for (const [i, layer] of of.ternaryLayers.entries()) {
      const { minus, zero, plus, gamma, entropyBits } = checkpoint.ternaryLayers[i];
      expect(layer).toMatchObject({ minus, zero, plus, gamma });
      expect(layer.entropy).toBeCloseTo(entropyBits, 12);
      expect(layer.bits).toBe((8 * layer.bytes) / (layer.shape[0] * layer.shape[1]));
    }
  });

  test("packs five to a byte where that is asked for, and says what rounding did to embeddings", async () => {
    const said = await run(
      "export",
      "bitnet",
      "-f",
      "compact",
      "-t",
      "trits",
      "--embeddings",
      "q4",
      "-o",
      "trits.bitnet",
    );
    expect(said).toMatch(/other matrices: q4, rounded by 0\.\d+ of their size at most/);
    const table = await run("inspect", "trits.bitnet");
    expect(table).toMatch(/every hash is right/);
    expect(table).toMatch(/other weights, q4 +\S+ +\S+ +4\.5000/);
    expect(table.match(/ 1\.6\d\d\d +trits\n/g)).toHaveLength(14);
  });

  test("that is damaged, absent or of another kind is refused in one line", async () => {
    const bytes = readFileSync(at("bitnet.bitnet"));
    bytes[bytes.length - 9] ^= 4;
    writeFileSync(at("damaged.bitnet"), bytes);
    for (const args of [
      ["generate", "-m", "damaged.bitnet"],
      ["import", "damaged.bitnet", "-o", "never"],
    ]) {
      const { code, stderr } = await bitnet(args, { cwd: root });
      expect(code).toBe(1);
      expect(stderr).toMatch(/^bitnet: damaged\.bitnet: byte \d+: tensor "[^"]+": its SHA-256 is [^\n]*\n$/);
    }
    expect(existsSync(at("never"))).toBe(false);
    const wrong = async (...args: string[]) => (await bitnet(args, { cwd: root })).stderr;
    expect(await wrong("import", "text.txt", "--format", "compact", "-o", "never")).toMatch(/is not a compact file/);
    expect(await wrong("export", "bitnet", "-f", "compact", "-t", "zip")).toMatch(
      /types are: smallest, entropy, trits/,
    );
  });
});

describe("an ONNX file", () => {
  test("is written for both variants; ternary weights take 1.6 bits and a little", async () => {
    expect(await run("export", "bitnet", "--format", "onnx")).toMatch(/^bitnet\.onnx: \S+ KiB\n$/);
    expect(await run("export", "full", "-f", "onnx", "-o", "f.onnx", "--external-data")).toMatch(
      /^f\.onnx: \S+ KiB\nf\.onnx\.[0-9a-f]{16}\.data: \S+ KiB\n$/,
    );
    const float = await run("export", "bitnet", "-f", "onnx", "-t", "float", "-o", "float.onnx");
    expect(float).toMatch(/^float\.onnx/);
    // 15,360 ternary weights: 60 KiB as float32, 3 KiB and some nodes packed.
    expect(statSync(at("float.onnx")).size - statSync(at("bitnet.onnx")).size).toBeGreaterThan(40_000);
  });

  test("that cannot be is refused in one line", async () => {
    const wrong = async (...args: string[]) => (await bitnet(["export", ...args], { cwd: root })).stderr;
    expect(await wrong("full", "-f", "onnx", "-t", "packed")).toMatch(/^bitnet: .*no ternary weights to pack[^\n]*\n$/);
    expect(await wrong("bitnet", "-f", "onnx", "--opset", "12")).toMatch(/opsets are 21 to 26/);
  });
});
