// A name on the hub wherever a command takes a model. Oracle: the same commands on the folder whose files the stand-in hub
// serves; without a network, the one line that says what to do.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createReferenceBackend } from "../../src/backends/index.ts";
import { saveModelFolder } from "../../src/checkpoint/index.ts";
import { presets, Transformer } from "../../src/model/index.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { trainBpe } from "../../src/tokenizer/index.ts";
import { bitnet } from "../support/cli.ts";
import { startHubServer } from "../support/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const hub = await startHubServer("models", "org/name");
const work = mkdtempSync(join(tmpdir(), "bitnet-hub-"));
afterAll(() => {
  hub.close();
  rmSync(work, { recursive: true, force: true });
});
const cache = join(work, "cache");
const folder = join(work, "model");
const text = join(work, "text.txt");

beforeAll(async () => {
  const story = "the cat sat on the mat and the rat ate that hat. ".repeat(40);
  writeFileSync(text, story);
  const { tokenizer } = await trainBpe([story], { vocabSize: 280 });
  const config = { ...presets.tiny, vocabSize: 280, width: 32, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 32 };
  const model = new Transformer(new Runtime(createReferenceBackend()), { ...config, contextLength: 32 }, 1);
  await saveModelFolder(folder, model, tokenizer);
  model.dispose();
  hub.reset(
    Object.fromEntries(
      readdirSync(folder).map((name) => [
        name,
        { bytes: readFileSync(join(folder, name)), large: name.endsWith(".safetensors") },
      ]),
    ),
  );
});

const online = { HF_ENDPOINT: hub.url, BITNET_CACHE: cache, HF_HUB_OFFLINE: "0", HF_TOKEN: "" };
/** Of each command, its arguments with a model's name in their place, and whether what it prints is of the model alone. */
const commands: Record<string, (model: string, out: string) => string[]> = {
  inspect: (model) => ["inspect", model],
  eval: (model) => ["eval", "-m", model, "-d", text],
  generate: (model) => ["generate", "-m", model, "-p", "the cat", "-n", "4", "--temp", "0"],
  run: (model) => ["run", "-m", model, "the cat", "-n", "4", "--temp", "0"],
  perplexity: (model) => ["perplexity", "-m", model, "-f", text, "-c", "16"],
  audit: (model) => ["audit", model, "--max-tokens", "32"],
  bench: (model) => ["bench", "-m", model, "-p", "4", "-n", "4", "--samples", "2"],
  export: (model, out) => ["export", model, "--format", "compact", "-o", join(out, "x.bitnet")],
  import: (model, out) => ["import", model, "-o", join(out, "imported")],
  report: (model, out) => ["report", model, "--data", text, "--no-speed", "-o", join(out, "report")],
  train: (model, out) => [
    ...["train", "tiny", "--from", model, "--data", text, "--steps", "1", "--run-dir", join(out, "run")],
    ...["--train.sequence", "32", "--train.batch", "2", "--samples.every", "null"],
  ],
};

describe("a name on the hub does where a path does", () => {
  for (const [name, args] of Object.entries(commands))
    test(`bitnet ${name}`, async () => {
      const out = temporaryFolder();
      const { code, stderr } = await bitnet(args("org/name", out), { cwd: out, env: online });
      // An audit of random weights finds what is wrong with them, and says so.
      const fine = code === 0 || (name === "audit" && code === 1 && stderr === "");
      expect({ fine, stderr: fine ? "" : stderr }).toEqual({ fine: true, stderr: "" });
    });
});

test("what is printed of it is what is printed of its folder", async () => {
  for (const name of ["generate"]) {
    const [named, local] = await Promise.all(
      ["org/name", folder].map((model) => bitnet(commands[name](model, work), { cwd: work, env: online })),
    );
    const plain = ({ stdout }: { stdout: string }) =>
      stdout.split("\n").filter((line) => !/\d+(\.\d+)? (ms|s|tokens\/s)|model/.test(line));
    expect(plain(named)).toEqual(plain(local));
  }
});

test("downloaded once it serves without a network; what was never downloaded is told in one line, with what to do", async () => {
  const offline = { ...online, HF_HUB_OFFLINE: "1" };
  expect((await bitnet(commands.inspect("org/name", work), { cwd: work, env: offline })).code).toBe(0);
  for (const name of ["inspect", "eval", "run", "bench", "train"]) {
    const args = commands[name];
    const out = temporaryFolder();
    const { code, stderr } = await bitnet(args("org/other", out), { cwd: out, env: offline });
    expect(code, name).toBe(1);
    expect(stderr, name).toMatch(
      /^bitnet: org\/other: is neither a folder here nor in the cache .* HF_HUB_OFFLINE forbids downloads; give the path of a local folder/m,
    );
    expect(readdirSync(out), name).toEqual([]);
  }
  const away = { ...online, HF_ENDPOINT: "http://127.0.0.1:9" };
  const { code, stderr } = await bitnet(["inspect", "org/other"], { cwd: work, env: away });
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /org\/other: there is no folder of this name here, and .* cannot be reached .*; give the path/,
  );
});
