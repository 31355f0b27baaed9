/**
 * Runs one table of cases over every backend and instruction set that this machine has. One that is absent is skipped
 * by name, with its reason.
 */
import { describe } from "vitest";
import type { Backend, DType, NDArray, TypedArray } from "../../src/backends/backend.ts";
import { type BackendChoice, createBackend, findBackends } from "../../src/backends/index.ts";
import { viewOf } from "../../src/backends/reference.ts";
import type { BackwardContext, GradTarget, Op, OpContext, Precision } from "../../src/ops/op.ts";
import { sizeOf } from "../../src/ops/op.ts";

/** One backend with one instruction set and thread count, made on first use and closed when the file's tests end. */
export interface BackendUnderTest {
  readonly label: string;
  readonly choice: BackendChoice;
  get(): Promise<Backend>;
}

const all = await findBackends();
const made = new Map<string, Promise<Backend>>();

/** `describe` for each backend: reference, native for every instruction set (1 and 3 threads), wasm. */
export function forEachBackend(body: (backend: BackendUnderTest) => void): void {
  for (const entry of all) {
    const label = `${entry.choice.backend}/${entry.choice.isa}/${entry.choice.threads} threads`;
    if (entry.absent) {
      describe.skip(`${label} (${entry.absent})`, () =>
        body({ label, choice: entry.choice, get: () => Promise.reject() }));
      continue;
    }
    const get = () => {
      let backend = made.get(label);
      if (!backend) {
        backend = createBackend(entry.choice);
        made.set(label, backend);
      }
      return backend;
    };
    describe(label, () => body({ label, choice: entry.choice, get }));
  }
}

/** Uploads an array. */
export function place(backend: Backend, shape: readonly number[], dtype: DType, data: ArrayLike<number>): NDArray {
  const n = sizeOf(shape);
  if (data.length !== n) throw new Error(`place: ${data.length} values for shape [${shape}]`);
  const host = viewOf(dtype, new ArrayBuffer(Math.max(8, n * 8)), 0, n);
  host.set(data);
  const buffer = backend.allocate(Math.max(1, host.byteLength));
  backend.upload(buffer, host);
  return { shape, dtype, buffer };
}

/** Reads an array back. */
export async function fetchArray(backend: Backend, array: NDArray): Promise<TypedArray> {
  const n = sizeOf(array.shape);
  const host = viewOf(array.dtype, new ArrayBuffer(Math.max(8, n * 8)), 0, n);
  await backend.read(array.buffer, host);
  return host;
}

export interface OpRun {
  outputs: NDArray[];
  saved: NDArray[];
  /** Gradients of the inputs asked for (undefined where none). */
  gradients: (NDArray | undefined)[];
}

/**
 * Runs an op forward, and backward when `outputGradients` are given, without tensors or a tape. Gradient targets come
 * filled with `accumulateInto` where given (so accumulation is tested), else with NaN (so that a missed write shows).
 */
export function runOp<P>(
  backend: Backend,
  op: Op<P>,
  inputs: readonly NDArray[],
  params: P,
  options: {
    outputGradients?: readonly (NDArray | null)[];
    wanted?: readonly boolean[];
    precision?: Precision;
    accumulateInto?: readonly (ArrayLike<number> | null)[];
    /** Whether the op is the last to hold what it saved; default true. */
    exclusive?: boolean;
  } = {},
): OpRun {
  const create = (shape: readonly number[], dtype: DType): NDArray =>
    place(backend, shape, dtype, new Float32Array(sizeOf(shape)).fill(dtype === "f32" ? Number.NaN : 85));
  const cx: OpContext = { backend, precision: options.precision ?? "fp32", create };
  const { outputs, saved } = op.forward(cx, inputs, params);
  const gradients: (NDArray | undefined)[] = inputs.map(() => undefined);
  if (options.outputGradients) {
    if (!op.backward) throw new Error(`${op.name} has no backward`);
    const backwardContext: BackwardContext = {
      ...cx,
      gradient(i): GradTarget | null {
        if (options.wanted && !options.wanted[i]) return null;
        const start = options.accumulateInto?.[i];
        const array = start ? place(backend, inputs[i].shape, "f32", start) : create(inputs[i].shape, "f32");
        gradients[i] = array;
        return { array, accumulate: start ? 1 : 0 };
      },
      pass(i, gradient) {
        gradients[i] = gradient;
      },
      exclusive: () => options.exclusive ?? true,
    };
    op.backward(backwardContext, saved, options.outputGradients, params);
  }
  return { outputs, saved, gradients };
}
