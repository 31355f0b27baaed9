/**
 * A tensor: an array in a backend's memory, with a lifetime and perhaps a gradient. Storage is counted: a scope, a tape
 * node that saved it and a gradient each hold it, and the last to let go frees it. Nothing waits for the collector.
 */
import type { Backend, DeviceBuffer, DType, NDArray } from "../backends/backend.ts";

/** Counted memory, shared by the tensors that view it. */
export class Storage {
  private holders = 1;
  constructor(
    readonly backend: Backend,
    readonly buffer: DeviceBuffer,
  ) {}

  /** true while exactly one holder remains: only then may it be written in place. */
  get exclusive(): boolean {
    return this.holders === 1;
  }

  retain(): this {
    if (this.holders <= 0) throw new Error("tensor: retained after it was freed");
    this.holders++;
    return this;
  }

  release(): void {
    if (this.holders <= 0) throw new Error("tensor: released twice");
    if (--this.holders === 0) this.backend.free(this.buffer);
  }
}

let nextId = 0;

export class Tensor implements NDArray {
  /** Names this tensor on the tape. */
  readonly id = nextId++;
  /** Where a leaf's gradient is kept; null for what an op made. */
  parameter: Parameter | null = null;

  constructor(
    readonly shape: readonly number[],
    readonly dtype: DType,
    readonly storage: Storage,
    private readonly asksForGradient = false,
  ) {}

  /** Gradients flow to and through it: never to a frozen parameter. */
  get requiresGradient(): boolean {
    return this.asksForGradient && !this.parameter?.frozen;
  }

  get buffer(): DeviceBuffer {
    return this.storage.buffer;
  }

  /** Lets go of the memory; for a tensor that no scope owns. */
  dispose(): void {
    this.storage.release();
  }
}

/** What a parameter is for: decides decay, quantisation and what is reported. "objective": what a loss trains beside the model. */
export type ParameterRole = "embedding" | "head" | "norm" | "ternary" | "linear" | "quantizer" | "objective";

/** A trained tensor with its gradient. Lives until the model is disposed. */
export class Parameter {
  /** Rises with every update, so that what was derived from the weights (their quantised form) knows it is stale. */
  version = 0;
  /** Whether `gradient` holds something; a gradient is then added to it (gradient accumulation), else it overwrites. */
  hasGradient = false;
  private gradientTensor: Tensor | null = null;
  private isFrozen = false;

  constructor(
    /** As in a Hugging Face checkpoint, e.g. `model.layers.0.self_attn.q_proj.weight`. */
    readonly name: string,
    readonly role: ParameterRole,
    readonly tensor: Tensor,
  ) {
    tensor.parameter = this;
  }

  get shape(): readonly number[] {
    return this.tensor.shape;
  }

  get size(): number {
    return this.shape.reduce((a, b) => a * b, 1);
  }

  /** Float32 of the parameter's shape; made on first use, so that a model that only runs has none. */
  get gradient(): Tensor {
    if (!this.gradientTensor) {
      const { backend } = this.tensor.storage;
      this.gradientTensor = new Tensor(this.shape, "f32", new Storage(backend, backend.allocate(this.size * 4)));
    }
    return this.gradientTensor;
  }

  /** A frozen parameter gets no gradient and no update, and holds no memory for one; its weights stay as they are. */
  get frozen(): boolean {
    return this.isFrozen;
  }

  /** Between steps, or when a step's gradients are done: a gradient that was there is dropped. */
  setFrozen(frozen: boolean): void {
    this.isFrozen = frozen;
    if (!frozen) return;
    this.hasGradient = false;
    this.gradientTensor?.dispose();
    this.gradientTensor = null;
  }

  /** Forgets the gradient; the memory stays for the next step. */
  clearGradient(): void {
    this.hasGradient = false;
  }

  /** Says that the weights changed. */
  changed(): void {
    this.version++;
  }

  dispose(): void {
    this.gradientTensor?.dispose();
    this.tensor.dispose();
  }
}
