// Checkpoints and configs of version 0.1 load, and training goes on from them. Oracle: what version 0.1 wrote (see the fixture's
// README): its config, and its losses after the checkpoint, to the last bit.
import { cpSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { createReferenceBackend } from "../src/backends/index.ts";
import { describeModel, loadModel } from "../src/exchange/index.ts";
import { planModel } from "../src/model/index.ts";
import { Runtime } from "../src/tensor/index.ts";
import { parseConfig, resolveConfig } from "../src/train/config.ts";
import { bitnet } from "./support/cli.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const fixture = resolve(import.meta.dirname, "fixtures/v0.1");

test.for([
  ["run/config.yaml", { allBitLinear: true, allFloat: false }],
  ["full.yaml", { allBitLinear: false, allFloat: true }],
] as const)("the config %s gives what it gave", ([name, kind]) => {
  const text = readFileSync(join(fixture, name), "utf8");
  const resolved = resolveConfig([{ from: name, patch: parseConfig(text, name) }]);
  expect(resolved).toMatchObject(parse(text));
  expect(resolved.model.quantization).toBeUndefined();
  expect(planModel(resolved.model)).toMatchObject(kind);
});

test("the checkpoint opens with its config, tokenizer and step", async () => {
  const { config, step, refused } = describeModel(join(fixture, "run"));
  expect({ step, refused }).toEqual({ step: 6, refused: [] });
  const yaml = parse(readFileSync(join(fixture, "run/config.yaml"), "utf8"));
  expect(config).toEqual(yaml.model);
  const { model, tokenizer } = await loadModel(join(fixture, "run"), new Runtime(createReferenceBackend()));
  expect(model.ternaryLayers).toHaveLength(14);
  expect(tokenizer!.decode(tokenizer!.encode("12+34=46"))).toBe("12+34=46");
});

interface Line {
  step: number;
  loss?: number;
  grad_norm?: number;
  val_loss?: number;
}

test("training goes on from it with the losses that version 0.1 had, to the last bit", async () => {
  const folder = temporaryFolder();
  cpSync(fixture, folder, { recursive: true });
  const { code, stderr } = await bitnet(["train", "--resume", "run"], { cwd: folder });
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const curve = (root: string) =>
    readFileSync(join(root, "run/metrics/scalars.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Line)
      .filter(({ step }) => step > 6)
      .map(({ step, loss, grad_norm, val_loss }) => ({ step, loss, grad_norm, val_loss }));
  expect(curve(fixture).map(({ step }) => step)).toEqual([7, 8, 9, 10, 11, 12, 12]);
  // The file goes on behind the lines that it has.
  expect(curve(folder).slice(7)).toEqual(curve(fixture));
});
