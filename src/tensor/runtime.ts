/**
 * The runtime: a backend, scopes that free memory, and the tape that strings ops together and runs them backwards.
 *
 *   const loss = runtime.gradient(() => model.loss(batch));   // forward, backward; gradients in the parameters
 *   const [value] = await runtime.read(loss);  loss.dispose();
 *
 * It knows ops by their contract alone (ops/op.ts). Called by nn/, model/ and train/.
 */
import type { Backend, DType, TypedArray } from "../backends/backend.ts";
import { dtypeBytes } from "../backends/backend.ts";
import { viewOf } from "../backends/reference.ts";
import { accumulate, copy } from "../ops/add/index.ts";
import { fill } from "../ops/fill/index.ts";
import type { BackwardContext, GradTarget, Op, OpContext, Precision } from "../ops/op.ts";
import { sizeOf } from "../ops/op.ts";
import { ShapeError } from "../platform/errors.ts";
import type { OpObserver } from "./observe.ts";
import { Storage, Tensor } from "./tensor.ts";

/** One step of the tape: how to turn the outputs' gradients into the inputs'. */
interface TapeNode {
  name: string;
  inputs: readonly Tensor[];
  outputs: readonly Tensor[];
  /** Held until backward has used them. */
  saved: readonly Tensor[];
  backward(cx: BackwardContext, outputGradients: readonly (Tensor | null)[]): void;
}

type Returned = Tensor | readonly Tensor[] | undefined;

export class Runtime {
  /** Tensors of each open scope, the innermost last. */
  private readonly scopes: Set<Tensor>[] = [];
  private tape: TapeNode[] | null = null;
  private readonly observers = new Set<OpObserver>();
  /** While a checkpoint's forward runs the second time. */
  private recomputing = false;

  constructor(
    readonly backend: Backend,
    /** Of float matrix products. "bf16" needs backend.supports.bf16. */
    readonly precision: Precision = "fp32",
  ) {}

  /** Uninitialised; owned by the innermost scope, else by the caller. */
  empty(shape: readonly number[], dtype: DType = "f32"): Tensor {
    const tensor = this.create(shape, dtype);
    this.scopes.at(-1)?.add(tensor);
    return tensor;
  }

  /** A tensor with these values; owned as `empty`'s. */
  upload(shape: readonly number[], dtype: DType, data: TypedArray): Tensor {
    if (data.length !== sizeOf(shape))
      throw new ShapeError(`tensor: ${data.length} values came for shape [${shape}], which has ${sizeOf(shape)}`);
    const tensor = this.empty(shape, dtype);
    this.backend.upload(tensor.buffer, data);
    return tensor;
  }

  /** Copies a tensor's values out. */
  async read(tensor: Tensor): Promise<TypedArray> {
    const n = sizeOf(tensor.shape);
    const host = viewOf(tensor.dtype, new ArrayBuffer(n * dtypeBytes[tensor.dtype]), 0, n);
    await this.backend.read(tensor.buffer, host);
    return host;
  }

  /** `read`, for a float32 tensor. */
  async readFloats(tensor: Tensor): Promise<Float32Array> {
    const values = await this.read(tensor);
    if (!(values instanceof Float32Array)) throw new ShapeError(`tensor: is ${tensor.dtype}; expected f32`);
    return values;
  }

  /** A second tensor on the same memory with another shape (or no gradient); owned as `empty`'s. */
  view(tensor: Tensor, shape: readonly number[], requiresGradient = false): Tensor {
    if (sizeOf(shape) !== sizeOf(tensor.shape))
      throw new ShapeError(`tensor: [${tensor.shape}] cannot be seen as [${shape}]`);
    const view = new Tensor(shape, tensor.dtype, tensor.storage.retain(), requiresGradient);
    this.scopes.at(-1)?.add(view);
    return view;
  }

  /**
   * Runs `body`, then frees every tensor made in it, save those it returns (which pass to the scope around, or to the
   * caller) and those the tape still needs.
   */
  scope<R extends Returned>(body: () => R): R {
    const mine = new Set<Tensor>();
    this.scopes.push(mine);
    try {
      const result = body();
      const kept = result === undefined ? [] : result instanceof Tensor ? [result] : (result as readonly Tensor[]);
      const outer = this.scopes.at(-2);
      for (const tensor of kept) if (mine.delete(tensor)) outer?.add(tensor);
      return result;
    } finally {
      this.scopes.pop();
      for (const tensor of mine) tensor.dispose();
    }
  }

  /** Applies an op with one output. */
  apply<P>(op: Op<P>, inputs: readonly Tensor[], params: P): Tensor {
    return this.applyAll(op, inputs, params)[0];
  }

  /** Applies an op: forward now, and recorded for backward where an input asks for a gradient. */
  applyAll<P>(op: Op<P>, inputs: readonly Tensor[], params: P): Tensor[] {
    const record = this.tape !== null && op.backward !== undefined && inputs.some((t) => t.requiresGradient);
    const made: Tensor[] = [];
    const cx: OpContext = {
      backend: this.backend,
      precision: this.precision,
      create: (shape, dtype) => {
        const tensor = this.create(shape, dtype, record);
        made.push(tensor);
        return tensor;
      },
    };
    let outputs: Tensor[] = [];
    try {
      const result = op.forward(cx, inputs, params);
      outputs = (result.outputs as Tensor[]).map((output) => {
        if (!inputs.includes(output)) return output;
        // The input itself, as an output with a gradient of its own.
        const alias = new Tensor(output.shape, output.dtype, output.storage.retain(), record);
        made.push(alias);
        return alias;
      });
      if (record) {
        const saved = result.saved as Tensor[];
        for (const tensor of saved) tensor.storage.retain();
        this.tape!.push({
          name: op.name,
          inputs,
          outputs,
          saved,
          backward: (bcx, gradients) => op.backward!(bcx, saved, gradients, params),
        });
      }
      for (const output of outputs) {
        output.storage.retain();
        this.scopes.at(-1)?.add(output);
      }
    } finally {
      for (const tensor of made) tensor.storage.release();
    }
    if (this.observers.size > 0)
      for (const observer of this.observers)
        observer({ op: op.name, params, inputs, outputs, recomputed: this.recomputing });
    return outputs;
  }

  /**
   * Calls `observer` after every op from now on, until the function that is returned is called. Tensors that it wants to
   * read later it must hold (`storage.retain()`), and must not write. Without observers ops cost what they always do.
   */
  observe(observer: OpObserver): () => void {
    // One function may be given twice, and each time is stopped alone.
    const mine: OpObserver = (observation) => observer(observation);
    this.observers.add(mine);
    return () => void this.observers.delete(mine);
  }

  /**
   * Runs `body` without recording: what it computes is a constant to a gradient that is being taken around it (a teacher's
   * logits, statistics). Memory is freed as in any scope around it. It must end before it returns: no promise.
   */
  withoutGradient<R>(body: () => R): R {
    const { tape } = this;
    this.tape = null;
    try {
      return body();
    } finally {
      this.tape = tape;
    }
  }

  /** Applies an op outside every scope and tape: the outputs are the caller's to dispose. */
  detached<P>(op: Op<P>, inputs: readonly Tensor[], params: P): Tensor[] {
    const scopes = this.scopes.splice(0);
    try {
      return this.withoutGradient(() => this.applyAll(op, inputs, params));
    } finally {
      this.scopes.push(...scopes);
    }
  }

  /**
   * Runs `body` to a scalar loss and backwards: the gradient of `seed * loss` is added to every parameter that it used
   * (overwriting where the parameter had none). Frees all that was made. The loss is the caller's to dispose.
   */
  gradient(body: () => Tensor, seed = 1): Tensor {
    if (this.tape) throw new Error("tensor: gradient() inside gradient()");
    const tape: TapeNode[] = [];
    this.tape = tape;
    try {
      return this.scope(() => {
        const loss = body();
        this.tape = null;
        if (sizeOf(loss.shape) !== 1) throw new ShapeError(`tensor: the loss is [${loss.shape}]; expected one number`);
        const start = this.create(loss.shape, "f32");
        fill(this.plainContext(), start, seed);
        this.backwards(tape, loss, start);
        return loss;
      });
    } finally {
      this.tape = null;
      releaseTape(tape); // what an error left
    }
  }

  /**
   * Gradient checkpointing (Chen et al., arXiv:1604.06174): runs `body` without keeping what its backward needs, and
   * runs it again when its gradient is asked for. `body` must compute the same both times.
   */
  checkpoint(body: (inputs: readonly Tensor[]) => Tensor, inputs: readonly Tensor[]): Tensor {
    const tape = this.tape;
    if (!tape) return body(inputs);
    const output = this.withoutGradient(() => {
      const plain = this.scope(() => body(inputs));
      return this.view(plain, plain.shape, true);
    });
    const saved = inputs.map((t) => t);
    for (const tensor of saved) tensor.storage.retain();
    tape.push({
      name: "checkpoint",
      inputs,
      outputs: [output],
      saved,
      backward: (cx, [dy]) => {
        if (!dy) return;
        const inner: TapeNode[] = [];
        this.scope(() => {
          const again = inputs.map((t) => this.view(t, t.shape, t.requiresGradient));
          this.tape = inner;
          let result: Tensor;
          this.recomputing = true;
          try {
            result = body(again);
          } finally {
            this.recomputing = false;
            this.tape = null;
          }
          dy.storage.retain();
          const gradients = this.backwards(inner, result, new Tensor(dy.shape, "f32", dy.storage), again);
          for (const [i, gradient] of gradients.entries()) {
            if (!gradient) continue;
            cx.pass(i, gradient);
            gradient.dispose();
          }
          return undefined;
        });
      },
    });
    return output;
  }

  /** Contexts for op functions that are not taped (optimiser steps, statistics). Scratch they create is theirs to keep. */
  plainContext(): OpContext {
    return {
      backend: this.backend,
      precision: this.precision,
      create: (shape, dtype) => this.empty(shape, dtype),
    };
  }

  private create(shape: readonly number[], dtype: DType, requiresGradient = false): Tensor {
    const sizeBytes = Math.max(1, sizeOf(shape)) * dtypeBytes[dtype];
    return new Tensor(
      shape,
      dtype,
      new Storage(this.backend, this.backend.allocate(sizeBytes)),
      // int8 codes stand for reals, and have their gradient.
      requiresGradient && (dtype === "f32" || dtype === "i8"),
    );
  }

  /**
   * Runs a tape backwards from `root`, whose gradient is `start` (taken over). Returns the gradients of `wanted`, which
   * the caller must dispose.
   */
  private backwards(tape: TapeNode[], root: Tensor, start: Tensor, wanted: readonly Tensor[] = []): (Tensor | null)[] {
    const gradients = new Map<number, Tensor>([[root.id, start]]);
    const keep = new Set(wanted.map((t) => t.id));
    try {
      for (let node = tape.pop(); node; node = tape.pop()) {
        const outputGradients = node.outputs.map((t) => gradients.get(t.id) ?? null);
        if (outputGradients.some((g) => g !== null)) this.backwardOf(node, outputGradients, gradients);
        for (const tensor of node.saved) tensor.storage.release();
        for (const output of node.outputs) {
          if (keep.has(output.id)) continue;
          gradients.get(output.id)?.dispose();
          gradients.delete(output.id);
        }
      }
      const result = wanted.map((t) => gradients.get(t.id) ?? null);
      for (const t of wanted) gradients.delete(t.id);
      return result;
    } finally {
      for (const gradient of gradients.values()) gradient.dispose();
      releaseTape(tape);
    }
  }

  private backwardOf(
    node: TapeNode,
    outputGradients: readonly (Tensor | null)[],
    gradients: Map<number, Tensor>,
  ): void {
    const made: Tensor[] = [];
    const cx: BackwardContext = {
      backend: this.backend,
      precision: this.precision,
      create: (shape, dtype) => {
        const tensor = this.create(shape, dtype);
        made.push(tensor);
        return tensor;
      },
      // Of the holders one is this node.
      exclusive: (saved) => (saved as Tensor).storage.exclusive,
      gradient: (i) => {
        const input = node.inputs[i];
        return input.requiresGradient ? this.gradientTarget(input, gradients) : null;
      },
      pass: (i, array) => {
        const input = node.inputs[i];
        if (!input.requiresGradient) return;
        const from = array as Tensor;
        if (!input.parameter && !gradients.has(input.id)) {
          gradients.set(input.id, new Tensor(input.shape, "f32", from.storage.retain()));
          return;
        }
        const target = this.gradientTarget(input, gradients);
        if (target.accumulate) accumulate(this.plainContext(), target.array, from);
        else copy(this.plainContext(), target.array, from);
      },
    };
    try {
      node.backward(cx, outputGradients);
    } finally {
      for (const tensor of made) tensor.storage.release();
    }
  }

  private gradientTarget(input: Tensor, gradients: Map<number, Tensor>): GradTarget {
    const { parameter } = input;
    if (parameter) {
      const add = parameter.hasGradient ? 1 : 0;
      parameter.hasGradient = true;
      return { array: parameter.gradient, accumulate: add };
    }
    const present = gradients.get(input.id);
    if (!present) {
      const array = this.create(input.shape, "f32");
      gradients.set(input.id, array);
      return { array, accumulate: 0 };
    }
    if (present.storage.exclusive) return { array: present, accumulate: 1 };
    // Another holder still reads this memory (a residual's gradient goes two ways): write to a copy.
    const own = this.create(input.shape, "f32");
    copy(this.plainContext(), own, present);
    gradients.set(input.id, own);
    present.dispose();
    return { array: own, accumulate: 1 };
  }
}

function releaseTape(tape: TapeNode[]): void {
  for (let node = tape.pop(); node; node = tape.pop()) for (const tensor of node.saved) tensor.storage.release();
}
