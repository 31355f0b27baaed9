// Oracle: the examples of protobuf's own page on its wire format (https://protobuf.dev/programming-guides/encoding), and
// a reader of it written here. What the graphs compute is judged by onnxruntime (test/judges/onnx.test.ts).
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { Graph, writeOnnx } from "./index.ts";
import { Message, varint } from "./wire.ts";

vi.mock("node:fs", async (original) => {
  const actual = await original<typeof import("node:fs")>();
  return { ...actual, renameSync: vi.fn(actual.renameSync) };
});
const actual = await vi.importActual<typeof import("node:fs")>("node:fs");

const hex = (bytes: Iterable<number>) => Buffer.from([...bytes]).toString("hex");

test("fields are as in protobuf's examples", () => {
  expect(hex(new Message().integer(1, 150).finish())).toBe("089601");
  expect(hex(new Message().string(2, "testing").finish())).toBe("120774657374696e67");
  expect(hex(new Message().message(3, new Message().integer(1, 150)).finish())).toBe("1a03089601");
  expect(hex(varint(-2))).toBe("feffffffffffffffff01");
  expect(hex(varint(-1))).toBe("ffffffffffffffffff01");
  expect(hex(varint(0))).toBe("00");
  expect(hex(new Message().float(2, 1).finish())).toBe("150000803f");
});

test("varints hold what 32 bits do not", () => {
  for (const n of [127, 128, 2 ** 31, 2 ** 32 + 1, 2 ** 45 + 12345, Number.MAX_SAFE_INTEGER]) {
    const back = varint(n).reduce((sum, byte, i) => sum + (byte % 128) * 128 ** i, 0);
    expect(back).toBe(n);
    expect(varint(n).every((byte, i, all) => byte >= 128 === i < all.length - 1)).toBe(true);
  }
});

type Fields = Map<number, (number | Uint8Array)[]>;

/** A message's fields, by number. */
function parse(bytes: Uint8Array): Fields {
  const fields: Fields = new Map();
  let at = 0;
  const number = () => {
    let [value, unit] = [0, 1];
    for (; bytes[at] >= 128; unit *= 128) value += unit * (bytes[at++] - 128);
    return value + unit * bytes[at++];
  };
  while (at < bytes.length) {
    const tag = number();
    const kind = tag % 8;
    let value: number | Uint8Array;
    if (kind === 0) value = number();
    else {
      const length = kind === 5 ? 4 : number();
      value = bytes.subarray(at, at + length);
      at += length;
    }
    const field = Math.floor(tag / 8);
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  expect(at).toBe(bytes.length);
  return fields;
}
const textOf = (value: number | Uint8Array) => Buffer.from(value as Uint8Array).toString();

const large = Float32Array.from({ length: 600 }, (_, i) => i / 7);
function small(): Graph {
  const graph = new Graph(
    "g",
    [{ name: "x", type: "float", dims: ["rows", 30] }],
    [{ name: "y", type: "float", dims: ["rows", 20] }],
  );
  graph.initializer({ name: "w", type: "float", dims: [30, 20], data: async () => large });
  graph.initializer({ name: "v", type: "float", dims: [20, 30], data: async () => large });
  graph.node("MatMul", ["x", "w"], {}, "y");
  graph.constant("int64", [-1]);
  return graph;
}
const options = { opset: 21, irVersion: 10, producerVersion: "1", metadata: { key: "value" } };

/** Initialisers of a file, by name. */
function initializersOf(path: string) {
  const graph = parse(parse(readFileSync(path)).get(7)![0] as Uint8Array);
  return new Map(
    graph.get(5)!.map((bytes) => {
      const tensor = parse(bytes as Uint8Array);
      return [textOf(tensor.get(8)![0]), tensor] as const;
    }),
  );
}

test("a file is one ModelProto: versions, metadata, and a graph whose initialisers hold their data", async () => {
  const path = join(temporaryFolder(), "m.onnx");
  const [{ sizeBytes }] = await writeOnnx(path, small(), options);
  const bytes = readFileSync(path);
  expect(bytes.length).toBe(sizeBytes);
  const model = parse(bytes);
  expect(model.get(1)).toEqual([10]);
  expect(textOf(model.get(2)![0])).toBe("bitnet.ts");
  expect(parse(model.get(8)![0] as Uint8Array).get(2)).toEqual([21]);
  expect(parse(model.get(14)![0] as Uint8Array).size).toBe(2);
  const tensors = initializersOf(path);
  expect([...tensors.keys()]).toEqual(["w", "v", "constant_0"]);
  expect(tensors.get("w")!.get(1)).toEqual([30, 20]);
  expect(hex(tensors.get("w")!.get(9)![0] as Uint8Array)).toBe(hex(new Uint8Array(large.buffer)));
  expect(hex(tensors.get("constant_0")!.get(9)![0] as Uint8Array)).toBe("ffffffffffffffff");
});

test("external data lies at multiples of 4096, where the tensors say, and small tensors stay", async () => {
  const path = join(temporaryFolder(), "m.onnx");
  const written = await writeOnnx(path, small(), { ...options, externalData: true });
  const data = readFileSync(written[1].path);
  const location = `m.onnx.${createHash("sha256").update(data).digest("hex").slice(0, 16)}.data`;
  expect(written.map((file) => file.path)).toEqual([path, join(path, "..", location)]);
  const tensors = initializersOf(path);
  for (const [i, name] of ["w", "v"].entries()) {
    const entries = tensors
      .get(name)!
      .get(13)!
      .map((bytes) => {
        const entry = parse(bytes as Uint8Array);
        return [textOf(entry.get(1)![0]), textOf(entry.get(2)![0])];
      });
    expect(Object.fromEntries(entries)).toEqual({ location, offset: String(4096 * i), length: "2400" });
    expect(tensors.get(name)!.has(9)).toBe(false);
    expect(hex(data.subarray(4096 * i, 4096 * i + 2400))).toBe(hex(new Uint8Array(large.buffer)));
  }
  expect(tensors.get("constant_0")!.has(9)).toBe(true);
});

test("a new export takes the data of the one before away; one that fails between its files leaves that one whole", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "m.onnx");
  const external = { ...options, externalData: true };
  const [, first] = await writeOnnx(path, small(), external);
  const before = readFileSync(path);
  const changed = small();
  changed.initializer({ name: "u", type: "float", dims: [600], data: () => new Float32Array(600) });
  // Between the data file's last name and the graph's.
  vi.mocked(fs.renameSync)
    .mockImplementationOnce(actual.renameSync)
    .mockImplementationOnce(() => {
      throw Object.assign(new Error("ENOSPC: no space left on device, rename"), { code: "ENOSPC" });
    });
  await expect(writeOnnx(path, changed, external)).rejects.toThrow("the disk is full");
  expect(readFileSync(path).equals(before)).toBe(true);
  expect(readdirSync(folder)).toContain(basename(first.path));
  const [, second] = await writeOnnx(path, changed, external);
  expect(second.path).not.toBe(first.path);
  expect(readdirSync(folder).sort()).toEqual(["m.onnx", basename(second.path)].sort());
  await writeOnnx(path, changed, options);
  expect(readdirSync(folder)).toEqual(["m.onnx"]);
});

test("data that is not of its dims is refused, and what was there stays", async () => {
  const path = join(temporaryFolder(), "m.onnx");
  writeFileSync(path, "before");
  const graph = small();
  graph.initializer({ name: "short", type: "float", dims: [5], data: () => new Float32Array(4) });
  await expect(writeOnnx(path, graph, options)).rejects.toThrow(/short is float \[5\], but 16 bytes came/);
  expect(readFileSync(path, "utf8")).toBe("before");
});

test("a tensor past 2 GiB is announced in external data by itself, before any byte of it is asked for", async () => {
  const path = join(temporaryFolder(), "m.onnx");
  const graph = small();
  const stop = new Error("asked for");
  let asked = false;
  graph.initializer({
    name: "huge",
    type: "float",
    dims: [2 ** 15, 2 ** 15],
    data: () => {
      asked = true;
      throw stop;
    },
  });
  await expect(writeOnnx(path, graph, options)).rejects.toBe(stop);
  expect(asked).toBe(true);
  await expect(writeOnnx(path, graph, { ...options, externalData: false })).rejects.toThrow(
    /would have 42949\d+ bytes/,
  );
  expect(existsSync(path)).toBe(false);
});
