// Buffers, their reuse and the checks before a launch, over an engine that only counts. Oracle: the contract in backend.ts.
import { expect, test } from "vitest";
import { defineKernel, type NDArray } from "./backend.ts";
import { createProcessorBackend, type KernelProcessor, maxArguments } from "./processor.ts";

const mebibyte = 2 ** 20;

/** Hands out addresses up to `room` bytes in all, and writes down what it was asked. */
function countingEngine(room = Number.POSITIVE_INFINITY) {
  const sizes = new Map<number, number>();
  const launches: { kernel: number; addresses: number[]; numbers: number[] }[] = [];
  let next = 64;
  const counted = {
    /** Allocations that reached the engine, and bytes that it gave out and did not get back. */
    allocations: 0,
    held: 0,
    launches,
    freedPrograms: [] as number[],
  };
  const programs: Float64Array[] = [];
  const engine: KernelProcessor = {
    name: "native",
    isa: "counting",
    threads: 1,
    bf16: false,
    int8Columns: 4096,
    kernels: ["other", "sum"],
    remedy: "build it",
    addresses: new Float64Array(maxArguments),
    numbers: new Float64Array(maxArguments),
    allocate(sizeBytes) {
      if (counted.held + sizeBytes > room) return 0;
      counted.allocations++;
      counted.held += sizeBytes;
      const address = next;
      next += sizeBytes;
      sizes.set(address, sizeBytes);
      return address;
    },
    free(address) {
      counted.held -= sizes.get(address)!;
      sizes.delete(address);
    },
    write() {},
    read() {},
    launch(kernel) {
      launches.push({ kernel, addresses: [...engine.addresses], numbers: [...engine.numbers] });
    },
    createProgram: (commands) => programs.push(commands) - 1,
    runProgram(program) {
      for (let at = 0; at < programs[program].length; at += 65) {
        const [kernel, ...rest] = programs[program].subarray(at, at + 65);
        launches.push({ kernel, addresses: rest.slice(0, 32), numbers: rest.slice(32) });
      }
    },
    freeProgram(program) {
      counted.freedPrograms.push(program);
    },
    close() {},
  };
  return { backend: createProcessorBackend(engine), counted };
}

const sum = defineKernel({
  name: "sum",
  buffers: { x: "f32", bias: "f32", y: "f32" },
  params: ["n", "scale"],
  reference: () => {},
});

test("a second step with the sizes of the first asks the system for nothing", () => {
  const { backend, counted } = countingEngine();
  for (let step = 0; step < 3; step++) {
    const buffers = [4, 1000, 1000, 4096].map((size) => backend.allocate(size));
    for (const buffer of buffers) backend.free(buffer);
    expect(counted.allocations).toBe(4);
  }
});

test("counts live bytes as asked for, and the most there were", () => {
  const { backend } = countingEngine();
  const [a, b] = [backend.allocate(100), backend.allocate(7)];
  expect(backend.stats).toEqual({ liveBytes: 107, peakBytes: 107 });
  backend.free(a);
  backend.allocate(1);
  expect(backend.stats).toEqual({ liveBytes: 8, peakBytes: 107 });
  backend.free(b);
  expect(backend.stats).toEqual({ liveBytes: 1, peakBytes: 107 });
});

test("trim gives kept memory back, and live memory stays", () => {
  const { backend, counted } = countingEngine();
  const live = backend.allocate(64);
  backend.free(backend.allocate(mebibyte));
  expect(counted.held).toBe(mebibyte + 64);
  backend.trim();
  expect(counted.held).toBe(64);
  backend.upload(live, Uint8Array.of(1));
});

test("sizes that never come again do not pile up", () => {
  const { backend, counted } = countingEngine();
  const fixed = backend.allocate(100 * mebibyte);
  let most = 0;
  for (let i = 1; i <= 500; i++) {
    backend.free(backend.allocate(mebibyte + i * 64));
    most = Math.max(most, counted.held);
  }
  // A quarter of the peak (101 MiB) and 64 MiB above it.
  expect(most).toBeLessThan(1.25 * 102 * mebibyte + 64 * mebibyte);
  backend.free(fixed);
});

test("gives kept memory back before it says that there is no room", () => {
  const { backend } = countingEngine(1000 * 64);
  backend.free(backend.allocate(600 * 64));
  const live = backend.allocate(700 * 64);
  expect(() => backend.allocate(301 * 64)).toThrow(
    "native backend: no room for 19264 bytes (0.0 MiB); 0.0 MiB are in use",
  );
  backend.free(live);
  backend.allocate(301 * 64);
});

test("a launch passes addresses and numbers in the kernel's order, null as 0", () => {
  const { backend, counted } = countingEngine();
  const array = (n: number): NDArray => ({ shape: [n], dtype: "f32", buffer: backend.allocate(n * 4) });
  const [y, x] = [array(16), array(16)];
  backend.launch(sum, { y, bias: null, x }, { scale: 0.5, n: 16 });
  expect(counted.launches).toHaveLength(1);
  expect(counted.launches[0].kernel).toBe(1);
  expect(counted.launches[0].addresses.slice(0, 3)).toEqual([128, 0, 64]);
  expect(counted.launches[0].numbers.slice(0, 2)).toEqual([16, 0.5]);
});

test("a launch passes no address of the launch before", () => {
  const { backend, counted } = countingEngine();
  const other = defineKernel({ name: "other", buffers: { x: "f32" }, params: [], reference: () => {} });
  const array = (): NDArray => ({ shape: [4], dtype: "f32", buffer: backend.allocate(16) });
  const x = array();
  backend.launch(sum, { x, bias: array(), y: array() }, { n: 4, scale: 1 });
  backend.launch(other, { x }, {});
  expect(counted.launches[1].addresses.slice(1).every((address) => address === 0)).toBe(true);
});

test("refuses what would read or write the wrong memory, saying what came", () => {
  const { backend, counted } = countingEngine();
  const array = (n: number): NDArray => ({ shape: [n], dtype: "f32", buffer: backend.allocate(n * 4) });
  const [x, y, freed] = [array(4), array(4), array(4)];
  backend.free(freed.buffer);
  const params = { n: 4, scale: 1 };
  const launch = (over: object, numbers: object = {}) =>
    backend.launch(sum, { x, bias: null, y, ...over }, { ...params, ...numbers });
  const other = countingEngine().backend.allocate(16);

  expect(() => launch({ x: freed })).toThrow('native backend: sum: use as "x" of a freed buffer (16 bytes)');
  expect(() => launch({ x: { ...x, dtype: "i32" } })).toThrow('sum: buffer "x" is i32; the kernel takes f32');
  expect(() => launch({ x: { ...x, shape: [1, 5] } })).toThrow(
    'sum: "x" is [1,5] f32, 20 bytes, over a buffer of 16 bytes',
  );
  expect(() => launch({ x: { ...x, shape: [Number.NaN] } })).toThrow('sum: "x" is [NaN] f32');
  expect(() => launch({ x: { ...x, buffer: other } })).toThrow('use as "x" of a buffer that another backend made');
  expect(() => launch({ x: undefined })).toThrow('sum: buffer "x" is missing');
  expect(() => launch({}, { scale: undefined })).toThrow('sum: parameter "scale" is undefined; expected a number');
  expect(() => backend.free(freed.buffer)).toThrow("free of a freed buffer");
  expect(() => backend.upload(freed.buffer, new Uint8Array(1))).toThrow("upload of a freed buffer");
  expect(() => backend.upload(x.buffer, new Float32Array(4), 4)).toThrow(
    "native backend: upload of 16 bytes at offset 4 of a buffer of 16 bytes",
  );
  expect(() => backend.upload(x.buffer, new Uint8Array(1), -1)).toThrow("upload of 1 bytes at offset -1");
  expect(() => backend.allocate(0)).toThrow("allocate of 0 bytes; expected a whole number from 1");
  expect(() => backend.allocate(1.5)).toThrow("allocate of 1.5 bytes");
  expect(counted.launches).toHaveLength(0);
});

test("a read outside its buffer is refused", async () => {
  const { backend } = countingEngine();
  await expect(backend.read(backend.allocate(16), new Float32Array(5))).rejects.toThrow(
    "read of 20 bytes at offset 0 of a buffer of 16 bytes",
  );
});

test("a program runs what was recorded, each time, and refuses memory that was freed since", () => {
  const { backend, counted } = countingEngine();
  const array = (): NDArray => ({ shape: [4], dtype: "f32", buffer: backend.allocate(16) });
  const [x, y] = [array(), array()];
  const program = backend.record(() => {
    backend.launch(sum, { x, bias: null, y }, { n: 4, scale: 0.5 });
    backend.launch(sum, { x: y, bias: x, y }, { n: 3, scale: 2 });
  });
  expect(counted.launches).toEqual([]);
  backend.run(program);
  backend.run(program);
  expect(counted.launches).toHaveLength(4);
  const [first, second] = counted.launches;
  expect([first.kernel, first.addresses.slice(0, 4), first.numbers.slice(0, 3)]).toEqual([
    1,
    [64, 0, 128, 0],
    [4, 0.5, 0],
  ]);
  expect([second.addresses.slice(0, 3), second.numbers.slice(0, 2)]).toEqual([
    [128, 64, 128],
    [3, 2],
  ]);
  backend.launch(sum, { x, bias: null, y }, { n: 4, scale: 1 });
  expect(counted.launches).toHaveLength(5);
  expect(() => backend.record(() => backend.record(() => {}))).toThrow(/inside/);
  backend.free(x.buffer);
  expect(() => backend.run(program)).toThrow(/freed buffer/);
  program.dispose();
  program.dispose();
  expect(counted.freedPrograms).toEqual([0]);
  expect(() => backend.run(program)).toThrow(/disposed of/);
});
