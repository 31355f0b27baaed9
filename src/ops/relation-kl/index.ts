/**
 * Relations between positions as a distillation op: contract, kernels and gradient. The definition is in reference.ts. No
 * [T, T] matrix is kept: backward computes the relations again. Called by train/objectives.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import type { Op } from "../op.ts";
import { relationBackward, relationForward } from "./reference.ts";

const params = ["batch", "length", "parts", "width", "teacherWidth"] as const;
const sizes = {
  student: ["batch", "length", "width"],
  teacher: ["batch", "length", "teacherWidth"],
  targets: ["batch", "length"],
} as const;

/** unitS and unitT are scratch: rows at length 1. */
const forward = defineKernel({
  name: "relation_kl_forward",
  buffers: { student: "f32", teacher: "f32", targets: "i32", unitS: "f32", unitT: "f32", partial: "f32", loss: "f32" },
  params,
  sizes: { ...sizes, partial: ["batch", "parts"] },
  reference: (a, p) => relationForward(a, p),
});

/** unitS, unitT and du are scratch. */
const backward = defineKernel({
  name: "relation_kl_backward",
  buffers: {
    student: "f32",
    teacher: "f32",
    targets: "i32",
    unitS: "f32",
    unitT: "f32",
    du: "f32",
    dloss: "f32",
    dstudent: "f32",
  },
  params: [...params, "accumulate"],
  sizes: { ...sizes, dstudent: ["batch", "length", "width"] },
  reference: (a, p) => relationBackward(a, p, p.accumulate),
});

export interface RelationParams {
  /** R: parts of a state whose relations are compared; divides both widths. */
  parts: number;
}

function sizesOf(student: NDArray, teacher: NDArray, parts: number) {
  const [batch, length, width] = student.shape;
  return { batch, length, parts, width, teacherWidth: teacher.shape[2] };
}

/** A kernel keeps two rows of relations in a thread's scratch memory. */
const maxLength = 1 << 19;

/**
 * inputs: the student's states [B, T, W], targets [B, T] i32 (-100: not counted), the teacher's states [B, T, W'], which get no
 * gradient; output: loss [1], per counted token and part.
 */
export const relationKl: Op<RelationParams> = {
  name: "relation-kl",
  forward(cx, [student, targets, teacher], { parts }) {
    const was = `states are [${student.shape}], the teacher's [${teacher.shape}], targets ${targets.dtype} [${targets.shape}]`;
    const [batch, length, width] = student.shape;
    if (
      student.shape.length !== 3 ||
      teacher.shape.length !== 3 ||
      teacher.shape[0] !== batch ||
      teacher.shape[1] !== length ||
      targets.dtype !== "i32" ||
      targets.shape.join() !== `${batch},${length}`
    )
      throw new ShapeError(`relation-kl: ${was}; expected [B, T, W], [B, T, W'] and i32 [B, T]`);
    if (!(Number.isInteger(parts) && parts >= 1) || width % parts !== 0 || teacher.shape[2] % parts !== 0)
      throw new ShapeError(`relation-kl: ${was}; ${parts} parts do not divide both widths`);
    if (length > maxLength) throw new ShapeError(`relation-kl: ${was}; at most ${maxLength} positions fit`);
    const loss = cx.create([1], "f32");
    const partial = cx.create([batch, parts], "f32");
    const [unitS, unitT] = [cx.create(student.shape, "f32"), cx.create(teacher.shape, "f32")];
    cx.backend.launch(
      forward,
      { student, teacher, targets, unitS, unitT, partial, loss },
      sizesOf(student, teacher, parts),
    );
    return { outputs: [loss], saved: [student, targets, teacher] };
  },
  backward(cx, [student, targets, teacher], [dloss], { parts }) {
    const target = dloss && cx.gradient(0);
    if (!dloss || !target) return;
    const [unitS, unitT] = [cx.create(student.shape, "f32"), cx.create(teacher.shape, "f32")];
    const du = cx.create(student.shape, "f32");
    cx.backend.launch(
      backward,
      { student, teacher, targets, unitS, unitT, du, dloss, dstudent: target.array },
      { ...sizesOf(student, teacher, parts), accumulate: target.accumulate },
    );
  },
};
