/**
 * Distillation against tokens drawn from a teacher, and the drawing: kernels and gradient. The definition is in reference.ts.
 * Called by train/objectives (the loss) and train/distillation (the drawing, once for every student).
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, type OpContext, sizeOf } from "../op.ts";
import { checkTemperatures } from "./check.ts";
import { sampledBackward, sampledForward, sampleTokens as sampleTokensReference } from "./reference.ts";

const forward = defineKernel({
  name: "sampled_distillation_forward",
  buffers: {
    student: "f32",
    targets: "i32",
    ids: "i32",
    entropy: "f32",
    targetLoss: "f32",
    stats: "f32",
    rowLoss: "f32",
    coefficient: "f32",
    loss: "f32",
  },
  params: ["rows", "length", "classes", "samples", "temperature", "tokenTemperature"],
  sizes: {
    student: ["rows", "classes"],
    targets: ["rows"],
    ids: ["rows", "samples"],
    entropy: ["rows"],
    targetLoss: ["rows"],
  },
  reference: (a, p) => sampledForward(a, p),
});

const backward = defineKernel({
  name: "sampled_distillation_backward",
  buffers: {
    student: "f32",
    targets: "i32",
    ids: "i32",
    stats: "f32",
    coefficient: "f32",
    dloss: "f32",
    gradient: "f32",
  },
  params: ["rows", "classes", "samples", "temperature", "accumulate"],
  sizes: { student: ["rows", "classes"], targets: ["rows"], ids: ["rows", "samples"], gradient: ["rows", "classes"] },
  reference: (a, p) => sampledBackward(a, p, p.accumulate),
});

const sample = defineKernel({
  name: "sample_tokens",
  buffers: { teacher: "f32", targets: "i32", uniforms: "f32", ids: "i32", entropy: "f32", targetLoss: "f32" },
  params: ["rows", "classes", "samples", "temperature"],
  sizes: {
    teacher: ["rows", "classes"],
    targets: ["rows"],
    uniforms: ["rows", "samples"],
    ids: ["rows", "samples"],
    entropy: ["rows"],
    targetLoss: ["rows"],
  },
  reference: (a, p) => sampleTokensReference(a, p),
});

export interface SampledDistillationParams {
  temperature: number;
  tokenTemperature: number | null;
}

/**
 * inputs: the student's logits [B, T, V], targets [B, T] i32, ids [B, T, S] i32 drawn from the teacher, its entropy [B, T] and
 * its cross entropy of the target [B, T]; output: loss [1], per counted token.
 */
export const sampledDistillation: Op<SampledDistillationParams> = {
  name: "sampled-distillation",
  forward(cx, [student, targets, ids, entropy, targetLoss], { temperature, tokenTemperature }) {
    const lead = student.shape.slice(0, -1);
    const classes = student.shape[student.shape.length - 1];
    const samples = ids.shape[ids.shape.length - 1];
    const wanted = lead.join();
    if (student.shape.length < 2 || targets.shape.join() !== wanted || ids.shape.join() !== [...lead, samples].join())
      throw new ShapeError(
        `sampled-distillation: logits are [${student.shape}], targets [${targets.shape}], ids [${ids.shape}]; expected logits [..., T, V], targets [${lead}] and ids [${lead},S]`,
      );
    if (entropy.shape.join() !== wanted || targetLoss.shape.join() !== wanted)
      throw new ShapeError(
        `sampled-distillation: entropy is [${entropy.shape}], the targets' loss [${targetLoss.shape}]; expected [${lead}] for both`,
      );
    checkTemperatures(temperature, tokenTemperature);
    const rows = sizeOf(lead);
    const make = (...shape: number[]): NDArray => cx.create(shape, "f32");
    const loss = make(1);
    const [stats, rowLoss, coefficient] = [make(rows, 2), make(rows), make(rows, 2)];
    cx.backend.launch(
      forward,
      { student, targets, ids, entropy, targetLoss, stats, rowLoss, coefficient, loss },
      {
        rows,
        length: lead[lead.length - 1],
        classes,
        samples,
        temperature,
        tokenTemperature: tokenTemperature ?? 0,
      },
    );
    return { outputs: [loss], saved: [student, targets, ids, stats, coefficient] };
  },
  backward(cx, [student, targets, ids, stats, coefficient], [dloss], { temperature }) {
    const gradient = dloss && cx.gradient(0);
    if (!dloss || !gradient) return;
    cx.backend.launch(
      backward,
      { student, targets, ids, stats, coefficient, dloss, gradient: gradient.array },
      {
        rows: sizeOf(targets.shape),
        classes: student.shape[student.shape.length - 1],
        samples: ids.shape[ids.shape.length - 1],
        temperature,
        accumulate: gradient.accumulate,
      },
    );
  },
};

/** Draws tokens from the teacher's logits into `ids`, with entropies and losses of the targets; see reference.ts. No tape records it. */
export function sampleTokens(
  cx: OpContext,
  a: Record<"teacher" | "targets" | "uniforms" | "ids" | "entropy" | "targetLoss", NDArray>,
  temperature: number,
): void {
  const classes = a.teacher.shape[a.teacher.shape.length - 1];
  const samples = a.ids.shape[a.ids.shape.length - 1];
  cx.backend.launch(sample, a, { rows: sizeOf(a.targets.shape), classes, samples, temperature });
}
