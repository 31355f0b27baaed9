/**
 * Distillation of logits as an op: contract, kernels and gradient. The definition is in reference.ts; sampled.ts has the loss
 * against tokens drawn from the teacher. Called by train/objectives.
 *
 * Backward writes the student's gradient over the teacher's logits where nobody else holds them, so that a step with a teacher
 * holds two [M, V] arrays, never three.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type Op, sizeOf } from "../op.ts";
import { checkTemperatures } from "./check.ts";
import { type Direction, directions, distillationBackward, distillationForward } from "./reference.ts";

export { type Direction, directions } from "./reference.ts";
export { sampledDistillation, sampleTokens } from "./sampled.ts";

const forward = defineKernel({
  name: "distillation_forward",
  buffers: {
    student: "f32",
    teacher: "f32",
    targets: "i32",
    stats: "f32",
    targetLoss: "f32",
    divergence: "f32",
    coefficient: "f32",
    loss: "f32",
  },
  params: ["rows", "length", "classes", "temperature", "direction", "tokenTemperature"],
  sizes: {
    student: ["rows", "classes"],
    teacher: ["rows", "classes"],
    targets: ["rows"],
    targetLoss: ["rows"],
  },
  reference: (a, p) => distillationForward(a, p),
});

const backward = defineKernel({
  name: "distillation_backward",
  buffers: {
    student: "f32",
    teacher: "f32",
    targets: "i32",
    stats: "f32",
    divergence: "f32",
    coefficient: "f32",
    dloss: "f32",
    gradient: "f32",
  },
  params: ["rows", "classes", "temperature"],
  sizes: {
    student: ["rows", "classes"],
    teacher: ["rows", "classes"],
    targets: ["rows"],
    gradient: ["rows", "classes"],
  },
  reference: (a, p) => distillationBackward(a, p),
});

export interface DistillationParams {
  /** t, above 0. */
  temperature: number;
  direction: Direction;
  /** u: tokens weigh by the teacher's cross entropy of the target; null: all alike. */
  tokenTemperature: number | null;
}

/**
 * inputs: the student's logits [B, T, V], targets [B, T] i32 (-100: not counted), the teacher's logits [B, T, V], which get no
 * gradient; output: loss [1], per counted token. The teacher's logits may be overwritten in backward.
 */
export const distillation: Op<DistillationParams> = {
  name: "distillation",
  forward(cx, [student, targets, teacher], { temperature, direction, tokenTemperature }) {
    const lead = student.shape.slice(0, -1);
    const classes = student.shape[student.shape.length - 1];
    if (student.shape.length < 2 || targets.dtype !== "i32" || targets.shape.join() !== lead.join() || classes < 1)
      throw new ShapeError(
        `distillation: logits are [${student.shape}], targets are ${targets.dtype} [${targets.shape}]; expected logits [..., T, V] and targets i32 [${lead}]`,
      );
    if (teacher.shape.join() !== student.shape.join())
      throw new ShapeError(
        `distillation: the student's logits are [${student.shape}], the teacher's [${teacher.shape}]; expected one shape`,
      );
    checkTemperatures(temperature, tokenTemperature);
    const rows = sizeOf(lead);
    const make = (...shape: number[]): NDArray => cx.create(shape, "f32");
    const loss = make(1);
    const [stats, targetLoss, divergence, coefficient] = [make(rows, 4), make(rows), make(rows, 2), make(rows, 2)];
    cx.backend.launch(
      forward,
      { student, teacher, targets, stats, targetLoss, divergence, coefficient, loss },
      {
        rows,
        length: lead[lead.length - 1],
        classes,
        temperature,
        direction: directions.indexOf(direction),
        tokenTemperature: tokenTemperature ?? 0,
      },
    );
    return { outputs: [loss], saved: [student, targets, teacher, stats, divergence, coefficient] };
  },
  backward(cx, [student, targets, teacher, stats, divergence, coefficient], [dloss], { temperature }) {
    if (!dloss) return;
    const gradient = cx.exclusive(teacher) ? teacher : cx.create(teacher.shape, "f32");
    cx.backend.launch(
      backward,
      { student, teacher, targets, stats, divergence, coefficient, dloss, gradient },
      { rows: sizeOf(targets.shape), classes: student.shape[student.shape.length - 1], temperature },
    );
    cx.pass(0, gradient);
  },
};
