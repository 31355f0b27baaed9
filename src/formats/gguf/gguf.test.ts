// GGUF files. Oracles: bytes put together by hand from the specification (ggml/docs/gguf.md); two files that llama.cpp's
// own converter wrote (shared data); for damage, the bytes that the file has. That llama.cpp reads what is written here is
// shown in test/judges/.
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { sharedPath, testShared } from "../../../test/support/shared.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import type { ReadableFile } from "../../platform/files.ts";
import { readGgufHeader } from "./header.ts";
import { bool, float, type GgufTensorSource, type GgufValue, readGguf, text, texts, u32, writeGguf } from "./index.ts";
import { buildGgufHeader } from "./write.ts";

const concat = (...parts: (Uint8Array | number[])[]) => Uint8Array.from(parts.flatMap((part) => [...part]));
const le32 = (n: number) => [n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24];
const le64 = (n: number) => [...le32(n % 2 ** 32), ...le32(Math.floor(n / 2 ** 32))];
const str = (s: string) => [...le64(new TextEncoder().encode(s).length), ...new TextEncoder().encode(s)];

/** A file by hand: one key, one tensor [2, 3] of float32, data at the next multiple of 32. */
function handMade(changes: { key?: number[]; info?: number[]; head?: number[]; data?: number } = {}): Uint8Array {
  const head = changes.head ?? [...Buffer.from("GGUF"), ...le32(3), ...le64(1), ...le64(1)];
  const key = changes.key ?? [...str("general.architecture"), ...le32(8), ...str("test")];
  const info = changes.info ?? [...str("w"), ...le32(2), ...le64(3), ...le64(2), ...le32(0), ...le64(0)];
  const front = concat(head, key, info);
  const data = new Uint8Array(changes.data ?? 32);
  data.set(new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, -6).buffer).subarray(0, data.length));
  return concat(front, new Uint8Array((32 - (front.length % 32)) % 32), data);
}

function inMemory(bytes: Uint8Array, onRead: (length: number) => void = () => {}): ReadableFile {
  return {
    path: "fuzzed",
    descriptor: -1,
    sizeBytes: bytes.length,
    read(offset, target) {
      onRead(target.length);
      if (offset + target.length > bytes.length) throw new Error(`read past the end: ${offset} + ${target.length}`);
      target.set(bytes.subarray(offset, offset + target.length));
    },
    close() {},
  };
}

function fileOf(bytes: Uint8Array): string {
  const path = join(temporaryFolder(), "model.gguf");
  writeFileSync(path, bytes);
  return path;
}

test("a file by hand is read: its key, its tensor rows first, its values", () => {
  const file = readGguf(fileOf(handMade()));
  expect(file.version).toBe(3);
  expect(file.metadata.text("general.architecture")).toBe("test");
  expect(file.tensor("w")).toMatchObject({ shape: [2, 3], type: "F32", bytes: 24 });
  expect([...file.readFloats("w")]).toEqual([1, 2, 3, 4, 5, -6]);
  const part = new Uint8Array(8);
  file.readInto("w", 12, part);
  expect([...new Float32Array(part.buffer)]).toEqual([4, 5]);
  expect(() => file.readInto("w", 20, part)).toThrow(/tensor "w" has 24 bytes; 20 to 28/);
  expect(() => file.readFloats("x")).toThrow(/has no tensor "x"; it has "w"/);
  file.close();
});

test("what is written is those bytes, and its size and SHA-256 are told", async () => {
  const path = join(temporaryFolder(), "model.gguf");
  const data = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, -6).buffer);
  const tensors: GgufTensorSource[] = [{ name: "w", type: "F32", shape: [2, 3], data: () => data }];
  const { sizeBytes, sha256 } = await writeGguf(path, [["general.architecture", text("test")]], tensors);
  const bytes = readFileSync(path);
  expect(Buffer.compare(bytes, handMade())).toBe(0);
  expect(sizeBytes).toBe(bytes.length);
  expect(sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
});

test("every type of value comes back as it was written", async () => {
  const metadata: [string, GgufValue][] = [
    ["a", u32(4_000_000_000)],
    ["b", float(0.1)],
    ["c", bool(true)],
    ["d", text("gamma \u0263 \ud83d\ude00")],
    ["e", texts(["", "\u2581the", "\u0120", "\ufeff"])],
    ["f", { type: "u64", value: 2n ** 63n }],
    ["g", { type: "i64", value: -5n }],
    ["h", { type: "f64", value: Math.PI }],
    ["i", { type: "i8", value: -128 }],
    ["j", { type: "u8", value: 255 }],
    ["k", { type: "i16", value: -2 }],
    ["l", { type: "u16", value: 65535 }],
    ["m", { type: "i32", value: -(2 ** 31) }],
    ["n", { type: "array", of: "i32", values: Int32Array.of(1, -2, 3) }],
    ["o", { type: "array", of: "f32", values: Float32Array.of(1.5, -0) }],
    ["p", { type: "array", of: "bool", values: Uint8Array.of(1, 0) }],
    ["q", { type: "array", of: "u64", values: BigUint64Array.of(7n) }],
    ["r", { type: "array", of: "array", values: [{ type: "array", of: "string", values: ["x"] }] }],
  ];
  const path = join(temporaryFolder(), "model.gguf");
  await writeGguf(path, metadata, []);
  const file = readGguf(path);
  expect(file.metadata.keys.join("")).toBe("abcdefghijklmnopqr");
  for (const [key, value] of metadata)
    expect(file.metadata.get(key)).toEqual(key === "b" ? float(Math.fround(0.1)) : value);
  expect(() => file.metadata.text("a")).toThrow(/a is u32 "4000000000"; expected a string/);
  expect(() => file.metadata.count("z")).toThrow(/has no z; expected a number/);
  expect(() => file.metadata.count("m")).toThrow(/expected a whole number from 1/);
  file.close();
});

test("a tensor may come in pieces; one of another size, and a disk that refuses, leave no file", async () => {
  const folder = temporaryFolder();
  const path = join(folder, "model.gguf");
  async function* pieces(count: number) {
    for (let i = 0; i < count; i++) yield new Uint8Array(34).fill(i);
  }
  const tensor = (count: number) => ({ name: "w", type: "Q8_0" as const, shape: [3, 32], data: () => pieces(count) });
  await writeGguf(path, [], [tensor(3)]);
  const file = readGguf(path);
  expect(file.readBytes("w")[68]).toBe(2);
  file.close();
  for (const count of [2, 4])
    await expect(writeGguf(join(folder, "no.gguf"), [], [tensor(count)])).rejects.toThrow(/102 bytes, but/);
  await expect(
    writeGguf(join(folder, "no.gguf"), [], [{ ...tensor(3), data: () => Promise.reject(new Error("gone")) }]),
  ).rejects.toThrow("gone");
  expect(readdirSync(folder)).toEqual(["model.gguf"]);
});

test("names that are taken or too long for ggml, and rows that are no whole blocks, are refused when writing", async () => {
  const path = join(temporaryFolder(), "model.gguf");
  const w = { name: "w", type: "F32" as const, shape: [1], data: () => new Uint8Array(4) };
  await expect(writeGguf(path, [], [w, w])).rejects.toThrow(/"w" is taken/);
  await expect(writeGguf(path, [], [{ ...w, name: "x".repeat(64) }])).rejects.toThrow(/over 63 bytes/);
  await expect(writeGguf(path, [], [{ ...w, type: "TQ2_0", shape: [2, 384] }])).rejects.toThrow(/a multiple of 256/);
});

test("a tensor past 4 GiB is read by its range", () => {
  // Sparse: 4.5 GiB of zeros that take no room, then 32 bytes.
  const path = join(temporaryFolder(), "large.gguf");
  const large = 4.5 * 2 ** 30;
  const front = concat(
    [...Buffer.from("GGUF"), ...le32(3), ...le64(2), ...le64(0)],
    [...str("zeros"), ...le32(2), ...le64(2 ** 20), ...le64(large / 4 / 2 ** 20), ...le32(0), ...le64(0)],
    [...str("end"), ...le32(1), ...le64(8), ...le32(0), ...le64(large)],
  );
  const start = Math.ceil(front.length / 32) * 32;
  const fd = openSync(path, "w");
  writeSync(fd, front);
  writeSync(fd, new Uint8Array(Float32Array.from({ length: 8 }, (_, i) => i + 0.5).buffer), 0, 32, start + large);
  closeSync(fd);
  const file = readGguf(path);
  expect(file.sizeBytes).toBe(start + large + 32);
  expect([...file.readFloats("end")]).toEqual([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]);
  const last = new Uint8Array(16).fill(9);
  file.readInto("zeros", large - 16, last);
  expect(last.every((byte) => byte === 0)).toBe(true);
  file.close();
  truncateSync(path, start + large + 31);
  expect(() => readGguf(path)).toThrow(
    /tensor "end" at byte \d+ ends at byte \d+, but the file has \d+; is it cut short/,
  );
});

test("tensors past 4 GiB are laid out at their places", () => {
  const tensors = ["a", "b", "c"].map((name) => ({ name, type: "F32" as const, shape: [2 ** 15, 2 ** 15] }));
  const path = join(temporaryFolder(), "head.gguf");
  const head = buildGgufHeader([], tensors);
  const fd = openSync(path, "w");
  writeSync(fd, head);
  closeSync(fd);
  truncateSync(path, head.length + 3 * 2 ** 32);
  const file = readGguf(path);
  expect([...file.tensors.values()].map(({ offset }) => offset - head.length)).toEqual([0, 2 ** 32, 2 ** 33]);
  file.close();
});

const w = str("w");
const info = (type: number, offset: number, ...sizes: number[]) => [
  ...w,
  ...le32(sizes.length),
  ...sizes.flatMap(le64),
  ...le32(type),
  ...le64(offset),
];
const counted = (tensors: number, keys: number) => [
  ...Buffer.from("GGUF"),
  ...le32(3),
  ...le64(tensors),
  ...le64(keys),
];
test.for<[string, Uint8Array, RegExp]>([
  ["an empty file", new Uint8Array(0), /has 0 bytes; a GGUF file has at least 24/],
  [
    "another magic",
    handMade({ head: [1, 2, 3, 4, ...le32(3), ...le64(1), ...le64(1)] }),
    /the magic at byte 0 is not "GGUF"/,
  ],
  [
    "version 1",
    handMade({ head: [...Buffer.from("GGUF"), ...le32(1), ...le64(1), ...le64(1)] }),
    /GGUF of version 1; versions 2 and 3/,
  ],
  ["big-endian", handMade({ head: [...Buffer.from("GGUF"), 0, 0, 0, 3, ...le64(1), ...le64(1)] }), /big-endian/],
  [
    "more tensors than bytes",
    handMade({ head: counted(2 ** 40, 1) }),
    /the number of tensors at byte 8 is 1099511627776, but the \d+ bytes left hold at most/,
  ],
  ["more keys than bytes", handMade({ head: counted(1, 2 ** 33) }), /the number of keys at byte 16 is 8589934592/],
  [
    "a count past 2^53",
    handMade({ head: [...Buffer.from("GGUF"), ...le32(3), 255, 255, 255, 255, 255, 255, 255, 255, ...le64(1)] }),
    /the number of tensors at byte 8 is 18446744073709551615, more than any file/,
  ],
  [
    "a long key",
    handMade({ key: [...le64(2 ** 30), ...le32(8)] }),
    /the length of key 0 at byte 24 is 1073741824, but/,
  ],
  [
    "a key that is not UTF-8",
    handMade({ key: [...le64(2), 0xff, 0xfe, ...le32(7), 1] }),
    /key 0 at byte 32 is not UTF-8/,
  ],
  [
    "a key twice",
    handMade({ head: counted(1, 2), key: [...w, ...le32(7), 1, ...w, ...le32(7), 1] }),
    /key "w" at byte 38 is there twice/,
  ],
  ["an unknown type", handMade({ key: [...w, ...le32(13), 1] }), /the type of "w" at byte 33 is 13; expected 0 to 12/],
  ["a bool of 2", handMade({ key: [...w, ...le32(7), 2] }), /"w" at byte 37 is 2; expected 0 or 1/],
  [
    "an array longer than the file",
    handMade({ key: [...w, ...le32(9), ...le32(6), ...le64(2 ** 36)] }),
    /the length of "w" at byte 41 is 68719476736, but the \d+ bytes left hold at most \d+/,
  ],
  [
    "an array of strings longer than the file",
    handMade({ key: [...w, ...le32(9), ...le32(8), ...le64(2 ** 30)] }),
    /the length of "w" at byte 41/,
  ],
  [
    "arrays in arrays without end",
    handMade({
      key: [
        ...w,
        ...le32(9),
        ...Array(40)
          .fill([...le32(9), ...le64(1)])
          .flat(),
      ],
    }),
    /nests arrays more than 4 deep/,
  ],
  [
    "a wild alignment",
    handMade({ key: [...str("general.alignment"), ...le32(4), ...le32(48)] }),
    /general.alignment is u32 48; expected a whole number, a power of two/,
  ],
  ["five dimensions", handMade({ info: info(0, 0, 1, 1, 1, 1, 1) }), /tensor "w" at byte \d+ has 5 dimensions/],
  [
    "dimensions whose product wraps",
    handMade({ info: info(0, 0, 2 ** 32, 2 ** 32) }),
    /tensor "w" at byte \d+ has more elements than any file/,
  ],
  ["an empty tensor", handMade({ info: info(0, 0, 3, 0) }), /is empty: its dimension 1 is 0/],
  [
    "a tensor past the end",
    handMade({ info: info(0, 0, 300) }),
    /tensor "w" at byte \d+ ends at byte \d+, but the file has \d+/,
  ],
  ["an offset past the end", handMade({ info: info(0, 2 ** 50, 3) }), /tensor "w" at byte \d+ ends at byte/],
  [
    "an offset that is not aligned",
    handMade({ info: info(0, 4, 3) }),
    /begins at byte 4 of the data, which is no multiple of 32/,
  ],
  [
    "rows that are no whole blocks",
    handMade({ info: info(35, 0, 128, 2) }),
    /is TQ2_0 with rows of 128; expected a multiple of 256/,
  ],
  [
    "two tensors in one place",
    handMade({
      head: counted(2, 1),
      info: [...info(0, 0, 3), ...str("v"), ...le32(1), ...le64(3), ...le32(0), ...le64(0)],
    }),
    /tensor "v" begins at byte \d+, amid tensor "w"/,
  ],
  [
    "a tensor twice",
    handMade({ head: counted(2, 1), info: [...info(0, 0, 3), ...info(0, 32, 3)] }),
    /tensor "w" at byte \d+ is there twice/,
  ],
])("%s is refused, naming the field", ([, bytes, message]) => {
  expect(() => readGgufHeader(inMemory(bytes))).toThrow(message);
});

test("a tensor of a format that is not read is listed, and refused by name when read", () => {
  const file = readGguf(fileOf(handMade({ info: info(7, 0, 32) })));
  expect(file.tensor("w")).toMatchObject({ type: null, typeId: 7, bytes: null });
  expect(() => file.readFloats("w")).toThrow(
    /tensor "w" \(Q5_1 \(7\), \[32\]\) is of a format that cannot be read here/,
  );
  file.close();
});

/** Either a header, or one of our refusals; never more read than some times the file, never one piece over it. */
function survives(bytes: Uint8Array): void {
  let total = 0;
  const file = inMemory(bytes, (length) => {
    expect(length).toBeLessThanOrEqual(bytes.length);
    total += length;
  });
  try {
    readGgufHeader(file);
  } catch (error) {
    if (!(error instanceof FormatError || error instanceof UnsupportedError)) throw error;
    expect(error.message).toMatch(/^fuzzed: (gguf: .* (at byte \d+|is .*; expected|begins at byte)|has \d+ bytes|is )/);
  }
  expect(total).toBeLessThanOrEqual(4 * bytes.length + (1 << 20));
}

const mutations = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    bytes: fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      fc
        .constantFrom([255, 255, 255, 255, 255, 255, 255, 255], [0, 0, 0, 0, 1], [9, 0, 0, 0], [0, 0, 0, 128])
        .map((list) => Uint8Array.from(list)),
    ),
  }),
  { minLength: 1, maxLength: 4 },
);
function mutate(
  base: Uint8Array,
  changes: { at: number; bytes: Uint8Array }[],
  share: number,
  cut: number,
): Uint8Array {
  const bytes = base.slice(0, Math.ceil(base.length * cut));
  for (const { at, bytes: patch } of changes) {
    const from = Math.floor(at * Math.max(1, bytes.length * share));
    for (let i = 0; i < patch.length && from + i < bytes.length; i++) bytes[from + i] = patch[i];
  }
  return bytes;
}
const cuts = fc.oneof(
  { weight: 3, arbitrary: fc.constant(1) },
  { weight: 1, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) },
);

test("a damaged file is read or refused in our words, whatever the damage, and never makes us read past it", () => {
  fc.assert(
    fc.property(mutations, cuts, (changes, cut) => survives(mutate(handMade(), changes, 1, cut))),
    {
      numRuns: 600,
    },
  );
});

const converted = ["gpt-2", "llama-spm"].map((name) => `data/tokenizers/ggml-vocab-${name}.gguf`);
testShared("files of llama.cpp's own converter are read (shared vocabularies)", converted, () => {
  const gpt2 = readGguf(sharedPath(converted[0]));
  expect(gpt2.metadata.text("tokenizer.ggml.model")).toBe("gpt2");
  expect(gpt2.metadata.count("gpt2.context_length")).toBe(1024);
  expect(gpt2.metadata.texts("tokenizer.ggml.tokens")).toHaveLength(50257);
  expect(gpt2.metadata.texts("tokenizer.ggml.merges")[0]).toBe("\u0120 t");
  gpt2.close();
  const llama = readGguf(sharedPath(converted[1]));
  expect(llama.metadata.findNumbers("tokenizer.ggml.scores")?.[262]).toBe(-3);
  expect(llama.metadata.findBool("tokenizer.ggml.add_bos_token")).toBe(true);
  llama.close();
});

testShared("such a file, damaged, is read or refused too (shared vocabularies)", converted, () => {
  const base = readFileSync(sharedPath(converted[1]));
  expect(existsSync(sharedPath(converted[1]))).toBe(true);
  // Half of the damage in the first 2,000 bytes, where all counts are.
  fc.assert(
    fc.property(mutations, cuts, fc.boolean(), (changes, cut, front) =>
      survives(mutate(base, changes, front ? 2000 / base.length : 1, cut)),
    ),
    { numRuns: 30 },
  );
});
