// The parts of the contract in backend.ts that every backend keeps: what `read` copies, and how a failure that comes later
// is told. Oracle: that text; and backends that answer late, as a GPU's does: one that keeps it, one that breaks it.
import { describe, expect, test } from "vitest";
import { forEachBackend, place } from "../../test/support/backends.ts";
import { createLateBackend } from "../../test/support/late-backend.ts";
import { fill } from "../ops/fill/index.ts";
import type { OpContext } from "../ops/op.ts";
import { BackendLostError, UnsupportedError } from "../platform/errors.ts";
import { Runtime } from "../tensor/index.ts";
import { type Backend, defineKernel } from "./backend.ts";
import { createReferenceBackend } from "./reference.ts";
import { shaderOf } from "./shader.ts";

const n = 4096;
const context = (backend: Backend): OpContext => ({
  backend,
  precision: "fp32",
  create: () => {
    throw new Error("fill makes no scratch");
  },
});

/** Reads a buffer of ones, does `meanwhile` to it before the promise is awaited, and gives what came. */
async function readBefore(backend: Backend, meanwhile: (array: ReturnType<typeof place>) => void) {
  const array = place(backend, [n], "f32", new Float32Array(n));
  fill(context(backend), array, 1);
  const into = new Float32Array(n);
  const reading = backend.read(array.buffer, into);
  meanwhile(array);
  await reading;
  return into;
}
const ones = new Float32Array(n).fill(1);

/** Each thing that may happen to the memory before a read resolves. */
const meanwhiles: [title: string, meanwhile: (backend: Backend, array: ReturnType<typeof place>) => void][] = [
  ["a kernel writes over it", (backend, array) => fill(context(backend), array, 2)],
  ["an upload writes over it", (backend, { buffer }) => backend.upload(buffer, new Float32Array(n).fill(3))],
  [
    "it is freed, and its memory is another's by then",
    (backend, { buffer }) => {
      backend.free(buffer);
      const next = place(backend, [n], "f32", new Float32Array(n).fill(4));
      fill(context(backend), next, 5);
      backend.free(next.buffer);
      backend.trim();
    },
  ],
  [
    "a program writes over it",
    (backend, array) => {
      const program = backend.record(() => fill(context(backend), array, 6));
      backend.run(program);
      program.dispose();
    },
  ],
];

forEachBackend((backend) => {
  test.for(meanwhiles)("a read gives what was there at the call, though %s", async ([, meanwhile]) => {
    const b = await backend.get();
    expect(await readBefore(b, (array) => meanwhile(b, array))).toEqual(ones);
  });

  test("reads that are under way at once give each its own moment", async () => {
    const b = await backend.get();
    const array = place(b, [n], "f32", new Float32Array(n));
    const results = [1, 2, 3].map((value) => {
      fill(context(b), array, value);
      const into = new Float32Array(1);
      return b.read(array.buffer, into, 4 * (n - 1)).then(() => into[0]);
    });
    b.free(array.buffer);
    expect(await Promise.all(results)).toEqual([1, 2, 3]);
  });
});

describe("a backend that answers late", () => {
  // Without record: the reference's programs run at once.
  const before = meanwhiles.slice(0, 3);

  test.for(before)("may keep the contract, though %s", async ([, meanwhile]) => {
    const late = createLateBackend();
    expect(await readBefore(late, (array) => meanwhile(late, array))).toEqual(ones);
  });

  test.for(before.slice(0, 2))("is caught where it copies too late and %s", async ([, meanwhile]) => {
    const late = createLateBackend({ copyLate: true });
    expect(await readBefore(late, (array) => meanwhile(late, array))).not.toEqual(ones);
  });

  test("tells a lost device by one error, in whatever comes next", async () => {
    const late = createLateBackend();
    const runtime = new Runtime(late);
    const tensor = runtime.upload([2], "f32", Float32Array.of(1, 2));
    late.loseDevice("unplugged");
    fill(context(late), tensor, 1); // comes back: nothing is known yet
    const first = await runtime.read(tensor).catch((error) => error);
    expect(first).toBeInstanceOf(BackendLostError);
    expect(first.message).toBe("late backend: the device is lost: unplugged");
    expect(await late.lost).toBe(first);
    const again = [
      () => late.allocate(4),
      () => late.upload(tensor.buffer, Float32Array.of(1)),
      () => fill(context(late), tensor, 1),
    ];
    for (const call of again) expect(call).toThrow(first);
    await expect(runtime.read(tensor)).rejects.toBe(first);
    tensor.dispose(); // what holds memory can still let go of it
    late.close();
  });

  test("tells of room that was not there at the next read", async () => {
    const late = createLateBackend({ room: 100 });
    const small = place(late, [20], "f32", new Float32Array(20));
    await late.read(small.buffer, new Float32Array(20));
    place(late, [6], "f32", new Float32Array(6));
    await expect(late.read(small.buffer, new Float32Array(20))).rejects.toThrow(
      "late backend: out of memory: 104 bytes are wanted, and 100 are there",
    );
  });
});

describe("a backend that runs shaders", () => {
  const buffers = { x: "f32" } as const;
  const bare = defineKernel({ name: "half", buffers, params: ["n"], reference: () => {} });
  const shaded = defineKernel({
    ...bare,
    shader: ({ n }, has) => [
      {
        body: "if (i < u.n) { x[i] = 0.5 * x[i]; }",
        bindings: has.x ? [{ buffer: "x", access: "read_write" }] : [],
        uniforms: [{ param: "n", type: "u32" }],
        workgroupSize: [64, 1, 1],
        workgroups: [Math.ceil(n / 64), 1, 1],
      },
    ],
  });
  /** As one on a GPU would: asks for the kernel's shader before anything else. */
  const dispatched: number[] = [];
  const gpu: Backend = {
    ...createReferenceBackend(),
    name: "gpu",
    launch(kernel, arrays, params) {
      const has = Object.fromEntries(Object.keys(kernel.buffers).map((name) => [name, arrays[name] !== null]));
      for (const { workgroups } of shaderOf(kernel, "gpu")(params, has as never)) dispatched.push(workgroups[0]);
    },
  };

  test("gets the passes of a kernel, and refuses one that has none by its name", () => {
    const x = place(gpu, [100], "f32", new Float32Array(100));
    gpu.launch(shaded, { x }, { n: 100 });
    expect(dispatched).toEqual([2]);
    expect(() => gpu.launch(bare, { x }, { n: 100 })).toThrow(UnsupportedError);
    expect(() => gpu.launch(bare, { x }, { n: 100 })).toThrow(
      "half: has no shader, and the gpu backend runs nothing else; use the native or the wasm backend",
    );
  });
});
