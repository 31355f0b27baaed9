// Oracle: PyTorch's autograd over a student and a teacher of other widths (fixtures.json, float64 from float32 weights, made by
// fixtures.py): every loss, the weighted sum, logits and gradients of a step. Bound: as test/parity/model.test.ts, 2e-6 absolute
// and a few float32 roundings of sums relative.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { forEachBackend } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { type ModelConfig, presets, Transformer } from "../../model/index.ts";
import { type Parameter, Runtime } from "../../tensor/index.ts";
import { besideTeacher, distillationObjectives } from "../objectives/distillation.ts";
import { nextTokenObjective } from "../objectives/next-token.ts";
import { stepLoss } from "../objectives/weighted.ts";
import { summarizeTargets } from "../targets.ts";
import { distillDefaults } from "./settings.ts";

interface Shape {
  C: number;
  L: number;
  H: number;
  G: number;
  F: number;
}
const f = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8"));

/** The fixtures' name of one of our parameters. */
const fixtureName = (name: string): string =>
  name
    .replace(/^model\.embed_tokens\.weight$/, "embed")
    .replace(/^model\.norm/, "norm")
    .replace(/^model\.layers\./, "blocks.")
    .replace(".input_layernorm.", ".attn_norm.")
    .replace(".post_attention_layernorm.", ".ffn_norm.")
    .replace(/\.self_attn\.(.)_proj\./, ".attn.$1.")
    .replace(/\.mlp\.(gate|up|down)_proj\./, ".ffn.$1.");

function createModel(runtime: Runtime, { C, L, H, G, F }: Shape, weights: Record<string, number[]>): Transformer {
  const sizes = { vocabSize: 13, width: C, layers: L, heads: H, kvHeads: G, hiddenWidth: F, contextLength: 6 };
  const config: ModelConfig = { ...presets.tiny, ...sizes, variant: "full" };
  const model = new Transformer(runtime, config, null);
  for (const { name, tensor } of model.parameters)
    runtime.backend.upload(tensor.buffer, Float32Array.from(weights[fixtureName(name)]));
  return model;
}

forEachBackend((backend) => {
  test("a step with a teacher has PyTorch's losses and gradients", async () => {
    const runtime = new Runtime(await backend.get());
    const before = runtime.backend.stats.liveBytes;
    const student = createModel(runtime, f.shapes.student, f.weights.student);
    const teacher = createModel(runtime, f.shapes.teacher, f.weights.teacher);
    for (const parameter of teacher.parameters) parameter.setFrozen(true);
    const settings = {
      ...distillDefaults,
      teacher: "fixture",
      alpha: f.settings.alpha,
      temperature: f.settings.temperature,
      relations: { weight: f.settings.relations, layers: [1, 0] as [number, number], heads: f.settings.parts },
      hidden: { weight: f.settings.hidden, layers: [0, 1] as [number, number] },
    };
    const list = distillationObjectives({ runtime, student, teacher, settings, seed: 1 });
    const objectives = [...besideTeacher([{ objective: nextTokenObjective, weight: 1 }], settings.alpha), ...list];
    const [projection] = objectives.flatMap(({ objective }) => objective.parameters ?? []) as [Parameter];
    runtime.backend.upload(projection.tensor.buffer, Float32Array.from(f.projection));

    const targets = Int32Array.from(f.targets);
    const summary = summarizeTargets(targets);
    const batch = { tokens: Int32Array.from(f.tokens), targets, targetCount: summary.count, batch: 2, length: 6 };
    const names: string[] = [];
    const values: Promise<Float32Array>[] = [];
    const loss = runtime.gradient(() => {
      const made = stepLoss({ runtime, model: student, step: 1 }, objectives, batch, summary);
      for (const [name, part] of Object.entries(made.parts)) {
        names.push(name);
        values.push(runtime.readFloats(part));
      }
      return made.loss;
    });
    const parts = Object.fromEntries((await Promise.all(values)).map(([value], i) => [names[i], value]));
    expect(Object.keys(parts)).toEqual(Object.keys(f.losses));
    for (const [name, value] of Object.entries(f.losses))
      expectClose([parts[name]], [value as number], { abs: 2e-6, rel: 2e-6 }, name);
    expectClose(await runtime.readFloats(loss), [f.loss], { abs: 2e-6, rel: 2e-6 }, "loss");
    const close = { abs: 4e-6, rel: 2e-5 };
    for (const p of student.parameters)
      expectClose(await runtime.readFloats(p.gradient), f.gradients[fixtureName(p.name)], close, `d${p.name}`);
    expectClose(await runtime.readFloats(projection.gradient), f.projection_gradient, close, "dP");
    for (const { hasGradient } of teacher.parameters) expect(hasGradient).toBe(false);
    const logits = student.logits(batch);
    expectClose(await runtime.readFloats(logits), f.logits, { abs: 4e-6, rel: 4e-6 }, "logits");

    // All memory comes back, the teacher's logits among it, over which the gradient was written.
    loss.dispose();
    logits.dispose();
    for (const { objective } of objectives) objective.dispose?.();
    student.dispose();
    teacher.dispose();
    expect(runtime.backend.stats.liveBytes).toBe(before);
  });
});
