// The native and WASM backends with kernels of this folder (kernels/), on every instruction set of this machine, with
// one thread and three. Oracle: what each kernel says it does. Skipped by name where a compiler is absent.
import { describe, expect, onTestFinished, test } from "vitest";
import { type Backend, type DType, defineKernel, type NDArray, type TypedArray } from "../../src/backends/backend.ts";
import { createBackend, findBackends } from "../../src/backends/index.ts";
import { BackendLostError } from "../../src/platform/errors.ts";
import { buildTestAddon, buildTestModule, testAddon, testModule } from "./build.ts";

const noAddon = buildTestAddon();
const noModule = buildTestModule();
process.env.BITNET_ADDON = testAddon;
process.env.BITNET_WASM = testModule;

const noReference = () => {
  throw new Error("has no reference");
};
const double = defineKernel({
  name: "team_double",
  buffers: { x: "f32", y: "f32", by: "i32" },
  params: ["n", "addend"],
  reference: noReference,
});
const otherDouble = defineKernel({
  name: "other_double",
  buffers: { x: "f32" },
  params: ["n"],
  reference: noReference,
});
const barriers = defineKernel({
  name: "team_barriers",
  buffers: { wrong: "i32" },
  params: ["rounds"],
  reference: noReference,
});
const scratch = defineKernel({
  name: "team_scratch",
  buffers: { wrong: "i32" },
  params: [],
  reference: noReference,
});
const trap = defineKernel({ name: "team_trap", buffers: {}, params: ["thread"], reference: noReference });
const missing = defineKernel({ name: "no_such_kernel", buffers: {}, params: [], reference: noReference });

function place(backend: Backend, dtype: DType, data: TypedArray): NDArray {
  const buffer = backend.allocate(data.byteLength);
  backend.upload(buffer, data);
  return { shape: [data.length], dtype, buffer };
}
async function fetch<A extends TypedArray>(backend: Backend, array: NDArray, into: A): Promise<A> {
  await backend.read(array.buffer, into);
  return into;
}

for (const { choice, absent } of await findBackends()) {
  if (choice.backend === "reference") continue;
  const label = `${choice.backend}/${choice.isa}/${choice.threads} threads`;
  const reason = (choice.backend === "native" ? noAddon : noModule) ?? absent;
  describe.skipIf(reason)(reason ? `${label} (${reason})` : label, () => {
    const make = async () => {
      const backend = await createBackend(choice);
      onTestFinished(() => backend.close());
      return backend;
    };

    test("says what it is", async () => {
      const { name, isa, threads, supports } = await make();
      expect({ name, isa, threads, supports }).toEqual({
        name: choice.backend,
        isa: choice.isa,
        threads: choice.threads,
        supports: {
          bf16: choice.isa === "avx512",
          int8Gradients: true,
          float64Sums: true,
          ieee: true,
          anyByteWidth: true,
          int8Columns: choice.backend === "wasm" ? 2048 : 4096,
        },
      });
    });

    test("runs a kernel over every element once, shared out among all threads in order", async () => {
      const backend = await make();
      const n = 1000;
      const x = place(
        backend,
        "f32",
        Float32Array.from({ length: n }, (_, i) => i),
      );
      const y = place(backend, "f32", new Float32Array(n).fill(Number.NaN));
      const by = place(backend, "i32", new Int32Array(n).fill(-1));
      backend.launch(double, { x, y, by }, { n, addend: 0.5 });
      expect(await fetch(backend, y, new Float32Array(n))).toEqual(
        Float32Array.from({ length: n }, (_, i) => 2 * i + 0.5),
      );
      const threads = await fetch(backend, by, new Int32Array(n));
      expect([...new Set(threads)]).toEqual(Array.from({ length: choice.threads }, (_, t) => t));
      expect(threads).toEqual(Int32Array.from(threads).sort());
    });

    test("gives a kernel a null buffer, and files helpers of their own", async () => {
      const backend = await make();
      const x = place(backend, "f32", Float32Array.of(1, 2, 3));
      const y = place(backend, "f32", new Float32Array(3));
      backend.launch(double, { x, y, by: null }, { n: 3, addend: 0 });
      backend.launch(otherDouble, { x: y }, { n: 3 });
      expect(await fetch(backend, y, new Float32Array(3))).toEqual(Float32Array.of(4, 8, 12));
    });

    test("lets no thread through a barrier before all have come, in many rounds and many launches", async () => {
      const backend = await make();
      const wrong = place(backend, "i32", new Int32Array(choice.threads).fill(-1));
      for (let i = 0; i < 200; i++) backend.launch(barriers, { wrong }, { rounds: 10 });
      backend.launch(barriers, { wrong }, { rounds: 500 });
      expect(await fetch(backend, wrong, new Int32Array(choice.threads))).toEqual(new Int32Array(choice.threads));
    });

    test("gives each thread 64-byte aligned scratch that no other thread touches", async () => {
      const backend = await make();
      const wrong = place(backend, "i32", new Int32Array(choice.threads).fill(-1));
      backend.launch(scratch, { wrong }, {});
      expect(await fetch(backend, wrong, new Int32Array(choice.threads))).toEqual(new Int32Array(choice.threads));
    });

    test("uploads and reads at offsets, for every dtype", async () => {
      const backend = await make();
      const buffer = backend.allocate(64);
      backend.upload(
        buffer,
        Uint8Array.from({ length: 64 }, (_, i) => i),
      );
      backend.upload(buffer, Int8Array.of(-1, -2), 3);
      const bytes = new Uint8Array(8);
      await backend.read(buffer, bytes, 1);
      expect([...bytes]).toEqual([1, 2, 255, 254, 5, 6, 7, 8]);
      // A view that starts inside its own buffer.
      backend.upload(buffer, new Float32Array([0, 1.5, 2.5]).subarray(1), 8);
      const floats = new Float32Array(4).subarray(1, 3);
      await backend.read(buffer, floats, 8);
      expect([...floats]).toEqual([1.5, 2.5]);
    });

    test("names a kernel that it does not have, and how to build it", async () => {
      const backend = await make();
      expect(() => backend.launch(missing, {}, {})).toThrow(
        new RegExp(`^${choice.backend} backend: there is no kernel "no_such_kernel" for ${choice.isa}; .*build`),
      );
    });

    test("refuses a size that no memory has, naming it, and goes on", async () => {
      const backend = await make();
      const bytes = 2 ** 50;
      expect(() => backend.allocate(bytes)).toThrow(`no room for ${bytes} bytes`);
      const x = place(backend, "f32", Float32Array.of(1));
      backend.launch(otherDouble, { x }, { n: 1 });
      expect(await fetch(backend, x, new Float32Array(1))).toEqual(Float32Array.of(2));
    });

    test("works above 2 GiB", async () => {
      const backend = await make();
      // Untouched memory costs nothing; the array after it has addresses that are negative as 32-bit integers.
      backend.allocate(2.5 * 2 ** 30);
      const x = place(backend, "f32", Float32Array.of(1, 2));
      backend.launch(otherDouble, { x }, { n: 2 });
      expect(await fetch(backend, x, new Float32Array(2))).toEqual(Float32Array.of(2, 4));
    });

    test("does nothing after close, and close may come twice", async () => {
      const backend = await make();
      const x = place(backend, "f32", Float32Array.of(1));
      backend.close();
      backend.close();
      expect(backend.stats.liveBytes).toBe(0);
      expect(() => backend.launch(otherDouble, { x }, { n: 1 })).toThrow("launch of other_double after close()");
      expect(() => backend.allocate(4)).toThrow("allocate after close()");
      expect(() => backend.upload(x.buffer, Float32Array.of(1))).toThrow("upload after close()");
    });

    if (choice.backend === "wasm")
      test.for(Array.from({ length: choice.threads }, (_, t) => t))(
        "a kernel that traps on thread %i is an error, not a hang",
        async (thread) => {
          const backend = await make();
          const x = place(backend, "f32", Float32Array.of(1));
          const kept = backend.allocate(64);
          backend.free(kept);
          const program = backend.record(() => backend.launch(otherDouble, { x }, { n: 1 }));
          expect(() => backend.launch(trap, {}, { thread })).toThrow('kernel "team_trap" trapped');
          // From then on all fails with that one error, which is the backend's loss.
          const error = await backend.lost;
          expect(error).toBeInstanceOf(BackendLostError);
          const calls = [
            () => backend.launch(otherDouble, { x }, { n: 1 }),
            () => backend.run(program),
            () => backend.allocate(64),
            () => backend.upload(x.buffer, Float32Array.of(1)),
          ];
          for (const call of calls) expect(call).toThrow(error);
          await expect(backend.read(x.buffer, new Float32Array(1))).rejects.toBe(error);
          backend.free(x.buffer);
          backend.trim();
        },
      );
  });
}
