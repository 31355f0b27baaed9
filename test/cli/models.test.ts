// `bitnet generate`, `eval` and `inspect` on a checkpoint, as processes. Oracle: the library called here with the same
// settings, which has tests of its own; a model whose logits are all 0, with loss ln V whatever the text.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createReferenceBackend } from "../../src/backends/index.ts";
import { saveCheckpoint } from "../../src/checkpoint/index.ts";
import { generateText, TransformerEngine } from "../../src/infer/index.ts";
import { type ModelConfig, presets, Transformer } from "../../src/model/index.ts";
import { createRandom } from "../../src/platform/random.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { loadTokenizer, type Tokenizer, trainCharacters } from "../../src/tokenizer/index.ts";
import { createAdamW } from "../../src/train/index.ts";
import { bitnet } from "../support/cli.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-cli-"));
afterAll(() => rmSync(root, { recursive: true }));
const at = (...path: string[]) => join(root, ...path);

const text = "the cat sat on the mat.<|endoftext|>a dog ran to the cat.<|endoftext|>no cat ran.";
let V = 0;
let model: Transformer;
let tokenizer: Tokenizer;

/** A checkpoint at `name`; `blank`: one whose logits are all 0. */
async function save(name: string, changes: Partial<ModelConfig>, blank = false): Promise<Transformer> {
  const runtime = new Runtime(createReferenceBackend());
  const config: ModelConfig = {
    ...presets.tiny,
    vocabSize: V,
    width: 16,
    layers: 2,
    heads: 2,
    kvHeads: 1,
    hiddenWidth: 24,
    contextLength: 32,
    initStd: 0.5,
    ...changes,
  };
  const made = new Transformer(runtime, config, 4);
  const gain = made.parameters.find((parameter) => parameter.name === "model.norm.weight")!;
  if (blank) runtime.backend.upload(gain.tensor.buffer, new Float32Array(config.width));
  const optimizer = createAdamW(runtime, made.parameters);
  await saveCheckpoint(at(name), { model: made, optimizer, tokenizer, step: 7, training: null });
  return made;
}

beforeAll(async () => {
  const trained = await trainCharacters(text.split("<|endoftext|>"));
  tokenizer = trained.tokenizer;
  V = tokenizer.vocabSize;
  model = await save("model", {});
  await save("blank", {}, true);
  await save("long", { contextLength: 60_000, layers: 1 });
  writeFileSync(at("text.txt"), text);
});

describe("generate", () => {
  const greedy = { maxTokens: 12, temperature: 0, stopTokens: [], random: createRandom(1) };

  test("prints the prompt and its continuation, and nothing else, on the standard output", async () => {
    const expected = await generateText(new TransformerEngine(model), tokenizer, "the cat", greedy);
    const args = ["generate", "-m", at("model"), "-p", "the cat", "-n", "12", "--temp", "0", "--ignore-eos"];
    const { code, stdout, stderr } = await bitnet([...args, "--backend", "reference"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `the cat${expected.text}\n` });
    expect(stderr).toMatch(
      /^prompt 8 tokens at \S+ tokens\/s; wrote 12 tokens at \S+ tokens\/s: as many as asked for\n$/,
    );
  });

  test("takes the prompt from a file, leaves it out where asked, and writes the same for the same seed", async () => {
    writeFileSync(at("prompt.txt"), "the cat");
    const args = ["generate", "-m", at("model"), "-n", "20", "--ignore-eos", "--seed", "5"];
    const [file, word] = await Promise.all([
      bitnet([...args, "-f", at("prompt.txt"), "--no-display-prompt"]),
      bitnet([...args, "-p", "the cat"]),
    ]);
    expect(`the cat${file.stdout}`).toBe(word.stdout);
    expect(word.stderr).toMatch(/; seed 5\n$/);
    const both = await bitnet([...args, "-f", at("prompt.txt"), "-p", "x"]);
    expect(both).toMatchObject({ code: 2, stdout: "" });
    expect(both.stderr).toContain("name either a prompt (-p) or a file with one (-f), not both");
  });

  test("goes on to the end of the context where no number of tokens is set, and says so", async () => {
    const { stderr } = await bitnet(["generate", "-m", at("model"), "-n", "-1", "--ignore-eos"]);
    expect(stderr).toContain("wrote 32 tokens"); // one of 32 is the start, and the last written is not read back
    expect(stderr).toContain("the model's context of 32 tokens is full");
  });

  test("ends at Ctrl-C with what was written, and exits 130", async () => {
    const { code, stdout, stderr } = await bitnet(["generate", "-m", at("long"), "-n", "-1", "--ignore-eos"], {
      meanwhile: (child) => child.stdout!.once("data", () => child.kill("SIGINT")),
    });
    expect(code).toBe(130);
    expect(stdout).toMatch(/\n$/);
    expect(stderr).toMatch(/: interrupted; seed \d+\nbitnet: interrupted\n$/);
  });

  test("refuses a prompt that does not fit or cannot be spelled: one line, exit 1", async () => {
    const [long, strange] = await Promise.all([
      bitnet(["generate", "-m", at("model"), "-p", "the cat sat on the mat. a dog ran to the cat."]),
      bitnet(["generate", "-m", at("model"), "-p", "\u{1F600}"]),
    ]);
    expect(long).toMatchObject({ code: 1, stdout: "" });
    expect(long.stderr).toBe(
      "bitnet: generate: the prompt has 46 tokens, the model's context 32; shorten the prompt\n",
    );
    expect(strange).toMatchObject({ code: 1, stdout: "" });
    expect(strange.stderr).toMatch(/^bitnet: [^\n]*\n$/);
  });
});

describe("eval", () => {
  const evaluate = (...args: string[]) => bitnet(["eval", "--cache-dir", at("cache"), ...args]);

  test("gives the blank model ln V, its perplexity and bits per byte, as a table and as JSON", async () => {
    const [table, json] = await Promise.all([
      evaluate("-m", at("blank"), "-d", at("text.txt")),
      evaluate("-m", at("blank"), "-d", at("text.txt"), "--json", "--batch", "1", "--stride", "9"),
    ]);
    // Three documents of 23, 21 and 11 characters; an end-of-text token behind each.
    const result = JSON.parse(json.stdout);
    expect(result.loss).toBeCloseTo(Math.log(V), 5);
    expect(result.perplexity).toBeCloseTo(V, 3);
    expect(result.bits_per_byte).toBeCloseTo((58 * Math.log2(V)) / 55, 5);
    expect(result).toMatchObject({ tokens: 58, end_of_text_tokens: 3, bytes: 55, documents: 3, step: 7, stride: 9 });
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(new RegExp(`^loss +${Math.log(V).toFixed(4)} nats per token$`, "m"));
    expect(table.stdout).toMatch(/^tokens +58, of them 3 end-of-text; 55 bytes in 3 documents$/m);
    expect(table.stderr).toBe("");
  });

  test("finds the encoded text again, and counts the bytes of a part of it", async () => {
    const { stdout } = await evaluate("-m", at("blank"), "-d", at("text.txt"), "--json", "--max-tokens", "24");
    expect(JSON.parse(stdout)).toMatchObject({ tokens: 24, bytes: 23, documents: null });
  });

  test("scores WikiText pages by words and bytes", async () => {
    writeFileSync(at("wiki.raw"), " = no = \n the cat ran . \n");
    const wiki = await trainCharacters([" = no = \n the cat ran . \n"]);
    const before = tokenizer;
    const size = V;
    tokenizer = wiki.tokenizer;
    V = tokenizer.vocabSize;
    await save("wiki", {}, true);
    [tokenizer, V] = [before, size];
    const { stdout } = await evaluate("-m", at("wiki"), "-d", at("wiki.raw"), "--task", "wikitext", "--json");
    const result = JSON.parse(stdout);
    const tokens = " = no =\nthe cat ran.\n".length; // as the harness's detokeniser leaves it
    // Keys of lm-evaluation-harness's results; what it does not have is beside them.
    expect(result.bitnet.tasks.wikitext).toMatchObject({ tokens, words: 9, bytes: 25, pages: 1 });
    expect(result.versions).toEqual({ wikitext: 2 });
    expect(result.results.wikitext["word_perplexity,none"]).toBeCloseTo(
      Math.exp((tokens * Math.log(wiki.tokenizer.vocabSize)) / 9),
      1,
    );
  });

  test("refuses bad text and a dataset of another tokenizer, naming them: one line, exit 1", async () => {
    writeFileSync(at("empty.txt"), "");
    writeFileSync(at("broken.txt"), Uint8Array.of(0x61, 0xff, 0x62));
    mkdirSync(at("folder"));
    const refused = async (path: string, message: string) => {
      const { code, stdout, stderr } = await evaluate("-m", at("blank"), "-d", at(path));
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(/^bitnet: [^\n]*\n$/);
      expect(stderr).toContain(message);
    };
    await refused("empty.txt", "empty.txt");
    await refused("broken.txt", "broken.txt");
    await refused("folder", "folder");
    await refused("absent.txt", "absent.txt: cannot read: no such file or folder");
  });

  test("refuses a checkpoint with a flipped byte, naming the file", async () => {
    await save("damaged", {});
    const file = at("damaged", "model.safetensors");
    const bytes = readFileSync(file);
    bytes[bytes.length - 5] ^= 1;
    writeFileSync(file, bytes);
    const { code, stderr } = await evaluate("-m", at("damaged"), "-d", at("text.txt"));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^bitnet: .*model\.safetensors: its SHA-256 is[^\n]*\n$/);
  });
});

test("inspect reads a checkpoint's ternary layers: shares, scale and entropy", async () => {
  const { code, stdout } = await bitnet(["inspect", at("model"), "--json"]);
  expect(code).toBe(0);
  const { name, total, ternaryLayers } = JSON.parse(stdout);
  expect(name).toContain("step 7");
  expect(total).toBe(model.parameters.reduce((sum, p) => sum + p.size, 0));
  expect(ternaryLayers.length).toBe(14);
  for (const { minus, zero, plus, gamma, entropyBits } of ternaryLayers) {
    expect(minus + zero + plus).toBeCloseTo(1, 9);
    expect(zero).toBeGreaterThan(0.2); // of a normal weight within half its mean magnitude: 31 %
    expect(zero).toBeLessThan(0.4);
    expect(Math.abs(gamma - 0.5 * Math.sqrt(2 / Math.PI))).toBeLessThan(0.06); // mean of |N(0, 0.5²)|
    expect(entropyBits).toBeGreaterThan(1.5);
  }
  const table = await bitnet(["inspect", at("model")]);
  expect(table.stdout).toContain("model.layers.1.mlp.down_proj.weight");
});

test("what a checkpoint's tokenizer.json says is what generate encodes with", () => {
  expect(loadTokenizer(at("model")).hash).toBe(tokenizer.hash);
});
