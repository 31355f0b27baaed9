/**
 * Launches watched from outside: a backend that reports how long each kernel took, and what a kernel must do at least:
 * its operations by unit, and the bytes of its arrays. Bench code alone; the product's backends know nothing of it.
 */
import type { Backend, DType, Kernel, NDArray } from "../src/backends/backend.ts";
import { dtypeBytes } from "../src/backends/backend.ts";
import { sizeOf } from "../src/ops/op.ts";
import type { Peaks, Unit } from "./native-helper.ts";

export interface Launch {
  kernel: string;
  ms: number;
  work: Work;
}

/** What a launch asks of the machine, however it is written. */
export interface Work {
  unit: Unit | null;
  operations: number;
  bytes: number;
}

type Arrays = Record<string, NDArray | null>;
type Numbers = Record<string, number>;

/** The same backend, whose launches are timed and handed to `report`. Launches return when the kernel has ended. */
export function watch(backend: Backend, report: (launch: Launch) => void): Backend {
  const launch: Backend["launch"] = (kernel, arrays, params) => {
    const start = performance.now();
    backend.launch(kernel, arrays, params);
    const ms = performance.now() - start;
    report({ kernel: kernel.name, ms, work: workOf(kernel as unknown as Kernel, arrays as Arrays, params) });
  };
  return new Proxy(backend, {
    get(target, key) {
      // Recorded kernels would run unseen, and the report would be short of them.
      if (key === "record") throw new Error("bench: recorded launches cannot be watched one by one");
      return key === "launch" ? launch : Reflect.get(target, key, target);
    },
  });
}

/** Buffers that are read as well as written: they pass through memory twice. */
const passedTwice: Record<string, readonly string[]> = {
  adamw_step: ["weight", "m", "v"],
  cross_entropy_backward: ["logits"],
  add_accumulate: ["into"],
  add_copy: [],
};

/**
 * Operations of a kernel, from its numbers: a matrix product has m, k and n (or n0, n1, n2) and multiplies and adds m · k
 * · n times; attention has two products forward and five backward, of which causality leaves half. All others are bound
 * by memory, and their arithmetic is not counted.
 *
 * @throws Error for a product whose sizes this does not know: a floor left out would look like a fast kernel
 */
export function workOf(kernel: Pick<Kernel, "name">, arrays: Arrays, params: Numbers): Work {
  const name = kernel.name;
  const twice = passedTwice[name] ?? [];
  if (name.startsWith("embedding")) {
    // Of the table only the rows that tokens name are touched; backward reads and writes them.
    const { count, width } = params;
    const passes = name.includes("backward") ? 3 : 2;
    return { unit: null, operations: 0, bytes: count * 4 + passes * count * width * 4 };
  }
  let bytes = 0;
  for (const [buffer, array] of Object.entries(arrays)) {
    if (!array) continue;
    bytes += sizeOf(array.shape) * dtypeBytes[array.dtype as DType] * (twice.includes(buffer) ? 2 : 1);
  }
  const float: Unit = params.bf16 === 1 ? "bfloat16" : "float32";
  if (name.startsWith("attention")) {
    const { batch, tokens, keys, heads, headWidth } = params;
    const pairs = batch * heads * (tokens === keys ? (tokens * (tokens + 1)) / 2 : tokens * keys);
    const products = name.includes("backward") ? 5 : 2;
    return { unit: float, operations: products * 2 * pairs * headWidth, bytes };
  }
  if (name.startsWith("relation_kl")) {
    // Products of all pairs of positions, of both models; backward adds two rows for each pair of the student's.
    const { batch, length, width, teacherWidth } = params;
    const products = width + teacherWidth + (name.includes("backward") ? 2 * width : 0);
    return { unit: "float32", operations: 2 * batch * length ** 2 * products, bytes };
  }
  const columns = ["n", "n0", "n1", "n2"].reduce((sum, key) => sum + (params[key] ?? 0), 0);
  if (params.m && params.k && columns) {
    const unit: Unit = name === "bit_linear_forward" || name.endsWith("_int8") ? "int8" : float;
    return { unit, operations: 2 * params.m * params.k * columns, bytes };
  }
  if (/matmul|linear|product/.test(name))
    throw new Error(`bench: the operations of kernel "${name}" are not known; teach bench/launches.ts to count them`);
  return { unit: null, operations: 0, bytes };
}

/** The least time for it, in ms, and which limit that is. A float32 rate serves a unit that the machine lacks. */
export function floorOf(work: Work, peaks: Peaks): { ms: number; limit: "memory" | Unit } {
  const rate = work.unit ? peaks[work.unit] || peaks.float32 : 0;
  const compute = work.unit ? work.operations / rate / 1e6 : 0;
  const memory = work.bytes / peaks.readGBs / 1e6;
  return work.unit && compute >= memory ? { ms: compute, limit: work.unit } : { ms: memory, limit: "memory" };
}
