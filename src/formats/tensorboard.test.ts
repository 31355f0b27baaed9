// Oracles: the CRC-32C examples of RFC 3720 (appendix B.4); the record that TensorBoard's own reader is tested with; an
// event worked out by hand from event.proto; a reader written here from the descriptions of TFRecord and protobuf.
import { expect, test } from "vitest";
import { crc32c, eventFileName, type ScalarEvent, scalarsRecord, versionRecord } from "./tensorboard.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);

test.each([
  ["32 zeros", new Uint8Array(32), "aa36918a"],
  ["32 ones", new Uint8Array(32).fill(0xff), "43aba862"],
  ["0 to 31", ascending, "4e79dd46"],
  ["31 to 0", ascending.toReversed(), "5cdb3f11"],
  [
    "an iSCSI read command",
    Buffer.from(
      "01c00000000000000000000000000000140000000000040000000014000000182800000000000000" + "0200000000000000",
      "hex",
    ),
    "563a96d9",
  ],
])("crc32c of %s is RFC 3720's", (_, bytes, expected) => {
  const crc = Buffer.alloc(4);
  crc.writeUInt32LE(crc32c(bytes));
  expect(crc.toString("hex")).toBe(expected);
});

test("a version record is, to the byte, the one that TensorBoard's reader is tested with", () => {
  expect(hex(versionRecord(1440183447, "brain.Event:1"))).toBe(
    "1800000000000000a37f4b22090000c025dd75d5411a0d627261696e2e4576656e743a31ecf3328d",
  );
});

test("a file begins with version 2", () => {
  expect(Buffer.from(versionRecord(1)).subarray(21, 36).toString()).toBe("\x1a\rbrain.Event:2");
});

test("a scalar's message is the one worked out by hand", () => {
  // Event: wall_time 1.5 | step 300 = 0xac 0x02 | summary, 10 bytes: value, 8 bytes: tag "a" | simple_value -2
  const message = `09${"000000000000f83f"}${"10ac02"}${"2a0a"}${"0a08"}${"0a0161"}${"15000000c0"}`;
  const record = scalarsRecord({ wallTimeSeconds: 1.5, step: 300, scalars: { a: -2 } });
  expect(hex(record.subarray(0, 8))).toBe("1800000000000000");
  expect(hex(record.subarray(12, -4))).toBe(message);
});

/** Reads records by the formats' descriptions, checking every checksum. */
function read(file: Uint8Array) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const masked = (bytes: Uint8Array) => {
    const crc = BigInt(crc32c(bytes));
    return Number((((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn);
  };
  const messages: Uint8Array[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(view.getBigUint64(at, true));
    expect(view.getUint32(at + 8, true)).toBe(masked(file.slice(at, at + 8)));
    messages.push(file.slice(at + 12, at + 12 + length));
    expect(view.getUint32(at + 12 + length, true)).toBe(masked(messages.at(-1)!));
    at += 16 + length;
  }
  return messages;
}

type Field = [number: number, value: bigint | number | Uint8Array];
function fieldsOf(message: Uint8Array): Field[] {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (size: number) => {
    at += size;
    return at - size;
  };
  const fields: Field[] = [];
  while (at < message.length) {
    const key = Number(varint());
    const kind = key & 7;
    if (kind === 0) fields.push([key >> 3, varint()]);
    else if (kind === 1) fields.push([key >> 3, view.getFloat64(take(8), true)]);
    else if (kind === 5) fields.push([key >> 3, view.getFloat32(take(4), true)]);
    else {
      const size = Number(varint());
      const start = take(size);
      fields.push([key >> 3, message.slice(start, start + size)]);
    }
  }
  return fields;
}
const text = (bytes: unknown) => new TextDecoder().decode(bytes as Uint8Array);

test("what a run writes is read back: tags, values that are not finite, steps past 2^32", () => {
  const events: ScalarEvent[] = [
    { wallTimeSeconds: 1.7e9 + 0.25, step: 0, scalars: { "train/loss": 7.6246, "größe ≈": 1e-30 } },
    { wallTimeSeconds: 1.7e9 + 1, step: 1, scalars: {} },
    {
      wallTimeSeconds: 1.7e9 + 2,
      step: 2 ** 53 - 1,
      scalars: { nan: Number.NaN, inf: Number.NEGATIVE_INFINITY, ["long".repeat(100)]: 0 },
    },
  ];
  const file = Buffer.concat([versionRecord(1.7e9), ...events.map(scalarsRecord)]);
  const [version, ...rest] = read(file).map(fieldsOf);
  expect(version.map(([n, v]) => [n, n === 3 ? text(v) : v])).toEqual([
    [1, 1.7e9],
    [3, "brain.Event:2"],
  ]);
  const actual = rest.map((fields) => {
    const map = new Map(fields);
    const values = fieldsOf(map.get(5) as Uint8Array).map(([, value]) => new Map(fieldsOf(value as Uint8Array)));
    return {
      wallTimeSeconds: map.get(1),
      step: Number(map.get(2) ?? 0n),
      scalars: Object.fromEntries(values.map((value) => [text(value.get(1)), value.get(2)])),
    };
  });
  const rounded = events.map((event) => ({
    ...event,
    scalars: Object.fromEntries(Object.entries(event.scalars).map(([tag, value]) => [tag, Math.fround(value)])),
  }));
  expect(actual).toEqual(rounded);
});

test("refuses a step that is not a whole number from 0", () => {
  for (const step of [-1, 0.5, Number.NaN, 2 ** 53])
    expect(() => scalarsRecord({ wallTimeSeconds: 0, step, scalars: {} })).toThrow(
      `tensorboard: step is ${step}; expected 0, 1, 2, ...`,
    );
});

test("a file's name is one that TensorBoard finds, whatever the host is called", () => {
  expect(eventFileName(1700000000.9, "my host/1")).toBe("events.out.tfevents.1700000000.my_host_1");
});
