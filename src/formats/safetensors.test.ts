// Oracles: files built here byte by byte from the format's description, for both directions; a file that the format's
// own library wrote (../shared). A hostile file must be refused with a FormatError that names the field, and no
// mutation of a good one may do anything but read or be refused so.
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { fixturePath } from "../../test/support/fixtures.ts";
import { FormatError, UnsupportedError } from "../platform/errors.ts";
import { sha256OfFile } from "../platform/files.ts";
import { readSafetensors, type SafetensorsTensor, writeSafetensors } from "./safetensors.ts";
import { buildHeader } from "./safetensors-header.ts";

const folder = mkdtempSync(join(tmpdir(), "safetensors-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, "model.safetensors");

/** A file of this header (as text) and data, its length counted unless given. */
function build(header: string, data: ArrayLike<number> = [], length = new TextEncoder().encode(header).length): string {
  const head = new Uint8Array(8);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  writeFileSync(path, Buffer.concat([head, Buffer.from(header), Uint8Array.from(data)]));
  return path;
}

/** Opens, reads every tensor, closes. */
async function readAll(from = path) {
  const file = await readSafetensors(from);
  try {
    const tensors: Record<string, ArrayLike<number>> = {};
    for (const name of file.tensors.keys()) tensors[name] = await file.read(name);
    return { ...file, values: tensors };
  } finally {
    file.close();
  }
}

describe("reading", () => {
  test("gives every tensor of a file written by hand, whatever the order of its header", async () => {
    build(
      '{"b":{"dtype":"I32","shape":[2],"data_offsets":[4,12]},"__metadata__":{"format":"pt"},' +
        '"a":{"shape":[1,1],"data_offsets":[0,4],"dtype":"F32"},"none":{"dtype":"F32","shape":[3,0],"data_offsets":[12,12]},' +
        '"scalar":{"dtype":"U8","shape":[],"data_offsets":[12,13]},"i":{"dtype":"I8","shape":[3],"data_offsets":[13,16]}}   ',
      [0, 0, 0xc0, 0x3f, 1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 200, 255, 0, 127],
    );
    const { metadata, tensors, values } = await readAll();
    expect(metadata).toEqual({ format: "pt" });
    expect([...tensors.keys()].sort()).toEqual(["a", "b", "i", "none", "scalar"]);
    expect(tensors.get("b")).toMatchObject({ dtype: "I32", shape: [2], bytes: 8 });
    expect(values).toEqual({
      a: Float32Array.of(1.5),
      b: Int32Array.of(1, -2),
      none: new Float32Array(0),
      scalar: Uint8Array.of(200),
      i: Int8Array.of(-1, 0, 127),
    });
  });

  test("widens half-precision tensors to float32", async () => {
    build(
      '{"f":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]}}',
      [0x00, 0x3c, 0x00, 0xc1, 0x80, 0x3f, 0x20, 0xc0],
    );
    expect((await readAll()).values).toEqual({ f: Float32Array.of(1, -2.5), b: Float32Array.of(1, -2.5) });
  });

  test("opens a file with a dtype that it does not convert, and names it when that tensor is read", async () => {
    build('{"x":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}', new Uint8Array(8));
    const file = await readSafetensors(path);
    const reading = file.read("x");
    await expect(reading).rejects.toThrow(UnsupportedError);
    await expect(reading).rejects.toThrow(
      `${path}: tensor "x": is I64; only F32, F16, BF16, I32, I8 and U8 can be read`,
    );
    await expect(file.read("y")).rejects.toThrow(`${path}: has no tensor "y"; it has "x"`);
    file.close();
  });

  test("names that look like numbers or like a prototype are names", async () => {
    build(
      '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"7":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
      [5, 6],
    );
    const { values } = await readAll();
    expect(values["7"]).toEqual(Uint8Array.of(5));
    const file = await readSafetensors(path);
    expect(await file.read("__proto__")).toEqual(Uint8Array.of(6));
    file.close();
  });

  test("reads a file that the format's own library wrote", async () => {
    const { metadata, tensors, values } = await readAll(fixturePath("pytorch/tiny_fp32.safetensors"));
    expect(JSON.parse(metadata.config)).toMatchObject({ vocab: 61, hidden: 32 });
    expect(tensors.get("logits")).toMatchObject({ dtype: "F32", shape: [2, 8, 61] });
    expect(values.tokens).toBeInstanceOf(Int32Array);
    expect(Math.max(...Array.from(values.tokens))).toBeLessThan(61);
    // The head is tied: the first loss is near ln 61 = 4.11.
    expect(values.loss[0]).toBeCloseTo(Math.log(61), 0);
  });
});

const one = '"dtype":"F32","shape":[1],"data_offsets":[0,4]';
const four = [0, 0, 0, 0];
describe("refusing, naming the field", () => {
  test.each<[fact: string, message: string, header: string, data?: number[], length?: number]>([
    ["a header longer than the file", "the header says that it has 900 bytes, but the file has 10", "{}", [], 900],
    ["a header past 2^53 bytes", "the header says that it has 18446744073709551615 bytes", "{}", [], -1],
    ["a header that is not JSON", "the header is not JSON", "{'a':1}"],
    ["a header that ends early", "the header is not JSON", `{"a":{${one}}}`, four, 20],
    ["space before the brace", "the header is not a JSON object", " {}"],
    ["a list", "the header is not a JSON object", "[]"],
    ["metadata that is a list", "__metadata__ is not an object", '{"__metadata__":[]}'],
    ["metadata of another type", '__metadata__: "k" is not a string', '{"__metadata__":{"k":1}}'],
    ["a name given twice", 'the header has "a" twice', `{"a":{${one}},"\\u0061" :{${one}}}`, four],
    ["a field given twice", 'the header has "shape" twice', `{"a":{"shape":[2],${one}}}`, four],
    ["a tensor that is a number", 'tensor "a": is not an object', '{"a":1}'],
    ["a field that the format lacks", 'tensor "a": has an unknown field "x"', `{"a":{"x":0,${one}}}`, four],
    ["an unknown dtype", 'tensor "a": dtype is "F31"', '{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}', four],
    ["a dtype of the prototype", 'dtype is "toString"', '{"a":{"dtype":"toString","shape":[],"data_offsets":[0,4]}}'],
    ["no dtype", 'tensor "a": dtype is absent', '{"a":{"shape":[1],"data_offsets":[0,4]}}', four],
    ["a negative size", 'tensor "a": shape is [-1]', '{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,4]}}', four],
    ["a broken size", 'tensor "a": shape is [0.5]', '{"a":{"dtype":"U8","shape":[0.5],"data_offsets":[0,4]}}', four],
    ["a huge size", "shape is [1e+300]", '{"a":{"dtype":"U8","shape":[1e300],"data_offsets":[0,4]}}', four],
    [
      "sizes whose product wraps 64 bits to the right number",
      "F32 [4294967296,4294967296,1] takes",
      '{"a":{"dtype":"F32","shape":[4294967296,4294967296,1],"data_offsets":[0,0]}}',
    ],
    [
      "a shape that is not the bytes",
      'tensor "a": F32 [2] takes 8 bytes, but data_offsets [0,4] span 4',
      '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
      four,
    ],
    ["offsets backwards", "data_offsets is [4,0]", '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', four],
    ["one offset", "data_offsets is [4]", '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}}', four],
    [
      "tensors that overlap",
      'tensor "b" begins at byte',
      `{"a":{${one}},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`,
      [...four, 0, 0],
    ],
    [
      "a gap between tensors",
      'but tensor "a" ends at byte',
      `{"a":{${one}},"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}}`,
      [...four, 0, 0],
    ],
    [
      "data before the first tensor",
      "but the header ends",
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
      [0, 0],
    ],
    [
      "a file cut short",
      'tensor "a" ends at byte 66, but the file has 65; is it cut short?',
      `{"a":{${one}}}`,
      [0, 0, 0],
    ],
    ["bytes after the last tensor", "the rest is no tensor's", `{"a":{${one}}}`, [...four, 0]],
  ])("%s", async (_, message, header, data = [], length) => {
    build(header, data, length === -1 ? undefined : length);
    if (length === -1) writeFileSync(path, Buffer.concat([Buffer.alloc(8, 255), Buffer.from(header)]));
    const opening = readAll();
    await expect(opening).rejects.toThrow(FormatError);
    await expect(opening).rejects.toThrow(message);
    await expect(opening).rejects.toThrow(path);
  });

  test("a file of less than eight bytes, and an empty one", async () => {
    for (const size of [0, 7]) {
      writeFileSync(path, new Uint8Array(size));
      await expect(readAll()).rejects.toThrow(`has ${size} bytes; a safetensors file has at least 10`);
    }
  });

  test("a header that is not UTF-8", async () => {
    const header = Buffer.from('{"?":1}');
    header[2] = 0xff;
    writeFileSync(path, Buffer.concat([Buffer.from([7, 0, 0, 0, 0, 0, 0, 0]), header]));
    await expect(readAll()).rejects.toThrow("the header is not UTF-8");
  });

  test("a header nested a hundred thousand deep, without falling over", async () => {
    build(`{"a":${"[".repeat(1e5)}${"]".repeat(1e5)}}`);
    await expect(readAll()).rejects.toThrow(FormatError);
  });

  test("a file that is not there, naming the path", async () => {
    await expect(readSafetensors(join(folder, "absent"))).rejects.toThrow(join(folder, "absent"));
  });
});

test("metadata of millions of characters, escapes among them, is read", async () => {
  const long = `${'\\"a'.repeat(1e6)}`;
  build(`{"__metadata__":{"long":"${long}"}}`);
  expect((await readAll()).metadata.long.length).toBe(2e6);
});

describe("writing", () => {
  const tensors: SafetensorsTensor[] = [
    { name: "b", dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 3) },
    { name: "z", dtype: "F32", shape: [1, 2], data: Float32Array.of(1, -0) },
    { name: "c", dtype: "I32", shape: [], data: async () => Int32Array.of(-5) },
  ];

  test("gives the bytes that the format describes: padded header, larger elements first, then by name", async () => {
    const { sizeBytes, sha256 } = await writeSafetensors(path, tensors, { step: "3" });
    const json =
      '{"__metadata__":{"step":"3"},"c":{"dtype":"I32","shape":[],"data_offsets":[0,4]},' +
      '"z":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},"b":{"dtype":"U8","shape":[3],"data_offsets":[12,15]}}';
    const padded = json.padEnd(Math.ceil(json.length / 8) * 8, " ");
    const expected = Buffer.concat([
      Buffer.from([padded.length, 0, 0, 0, 0, 0, 0, 0]),
      Buffer.from(padded),
      Buffer.from([0xfb, 0xff, 0xff, 0xff, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x80, 1, 2, 3]),
    ]);
    expect(readFileSync(path)).toEqual(expected);
    expect(sizeBytes).toBe(expected.length);
    expect(sha256).toBe(sha256OfFile(path));
  });

  test("does not depend on the order in which tensors come", async () => {
    const { sha256 } = await writeSafetensors(path, tensors);
    expect((await writeSafetensors(path, tensors.toReversed())).sha256).toBe(sha256);
  });

  test("asks for one tensor at a time, in the order of the file", async () => {
    const log: string[] = [];
    const lazy = (name: string): SafetensorsTensor => ({
      name,
      dtype: "F32",
      shape: [2],
      data: async () => {
        log.push(`ask ${name}`);
        await new Promise((resolve) => setImmediate(resolve));
        log.push(`give ${name}`);
        return Float32Array.of(1, 2);
      },
    });
    await writeSafetensors(path, [lazy("y"), lazy("x")]);
    expect(log).toEqual(["ask x", "give x", "ask y", "give y"]);
  });

  test.each<[string, SafetensorsTensor, string]>([
    [
      "data of another length",
      { name: "q", dtype: "F32", shape: [3], data: Float32Array.of(1) },
      'safetensors: "q" is F32 [3], but a Float32Array of 1 came',
    ],
    [
      "data of another type",
      { name: "q", dtype: "I8", shape: [1], data: Uint8Array.of(1) },
      'safetensors: "q" is I8 [1], but a Uint8Array of 1 came',
    ],
    [
      "a name twice",
      { name: "b", dtype: "U8", shape: [1], data: Uint8Array.of(1) },
      'safetensors: the name "b" is taken',
    ],
    [
      "the name of the metadata",
      { name: "__metadata__", dtype: "U8", shape: [1], data: Uint8Array.of(1) },
      'safetensors: the name "__metadata__" is taken',
    ],
  ])("refuses %s, and leaves the old file and nothing else", async (_, wrong, message) => {
    await writeSafetensors(path, tensors);
    const before = readFileSync(path);
    await expect(writeSafetensors(path, [...tensors, wrong])).rejects.toThrow(message);
    expect(readFileSync(path)).toEqual(before);
    expect(readdirSync(folder)).toEqual(["model.safetensors"]);
  });

  test("what is written is read back, whatever the names, shapes and values", async () => {
    const values = fc.oneof(
      fc.float32Array({ maxLength: 20 }).map((data) => ({ dtype: "F32" as const, data })),
      fc.int32Array({ maxLength: 20 }).map((data) => ({ dtype: "I32" as const, data })),
      fc.int8Array({ maxLength: 20 }).map((data) => ({ dtype: "I8" as const, data })),
      fc.uint8Array({ maxLength: 20 }).map((data) => ({ dtype: "U8" as const, data })),
    );
    const named = fc.tuple(fc.string({ unit: "grapheme" }), values);
    const list = fc.uniqueArray(named, { selector: ([name]) => name, maxLength: 8 });
    const strings = fc.dictionary(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }));
    await fc.assert(
      fc.asyncProperty(list, strings, async (entries, metadata) => {
        await writeSafetensors(
          path,
          entries.map(([name, { dtype, data }]) => ({ name, dtype, shape: [1, data.length], data })),
          metadata,
        );
        const file = await readSafetensors(path);
        expect(file.metadata).toEqual({ ...metadata });
        expect(file.tensors.size).toBe(entries.length);
        for (const [name, { dtype, data }] of entries) {
          expect(file.tensors.get(name)).toMatchObject({ dtype, shape: [1, data.length] });
          expect(await file.read(name)).toEqual(data);
        }
        file.close();
      }),
      { numRuns: 60, seed: 1 },
    );
  });
});

test("a tensor past 4 GiB is read, and laid out, at its place", async () => {
  const large = 4.5 * 2 ** 30;
  const tensors = [
    { name: "a", dtype: "U8" as const, shape: [1024, large / 1024] },
    { name: "end", dtype: "U8" as const, shape: [4] },
  ];
  const { head, order } = buildHeader(tensors, {});
  expect(order.map(({ name }) => name)).toEqual(["a", "end"]);
  expect(new TextDecoder().decode(head)).toContain(`"data_offsets":[${large},${large + 4}]`);
  // Sparse: zeros that take no room, then four bytes.
  const big = join(folder, "large.safetensors");
  const fd = openSync(big, "w");
  writeSync(fd, head);
  writeSync(fd, Uint8Array.of(1, 2, 3, 4), 0, 4, head.length + large);
  closeSync(fd);
  const file = await readSafetensors(big);
  expect([...(await file.read("end"))]).toEqual([1, 2, 3, 4]);
  expect(file.tensors.get("a")!.shape).toEqual([1024, large / 1024]);
  file.close();
  truncateSync(big, head.length + large + 3);
  await expect(readSafetensors(big)).rejects.toThrow(FormatError);
  rmSync(big);
});

test("no mutation of a good file does anything but read, or be refused with a FormatError", async () => {
  await writeSafetensors(
    path,
    [
      { name: "a", dtype: "F32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
      { name: "b", dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 3) },
    ],
    { k: "v" },
  );
  const good = readFileSync(path);
  const mutant = join(folder, "mutant.safetensors");
  let refused = 0;
  const runs = 600;
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.tuple(
          fc.nat(good.length - 1),
          fc.oneof(fc.nat(255), fc.constantFrom(...'0123456789[]{},:"-.'.split("").map((c) => c.charCodeAt(0)))),
        ),
        { maxLength: 3 },
      ),
      fc.option(fc.nat(good.length), { freq: 5 }),
      async (changes, cut) => {
        const bytes = Uint8Array.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        writeFileSync(mutant, bytes.subarray(0, cut ?? good.length));
        try {
          const { values } = await readAll(mutant);
          for (const data of Object.values(values)) expect(data.length).toBeLessThanOrEqual(19);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
          refused++;
        }
      },
    ),
    { numRuns: runs, seed: 2 },
  );
  rmSync(mutant);
  expect(refused).toBeGreaterThan(runs / 4);
  expect(refused).toBeLessThan(runs);
  expect(statSync(path).size).toBe(good.length);
});
