/**
 * TensorBoard event files: scalars to bytes, as pure functions. The caller appends the bytes to a file of the name that
 * `eventFileName` gives, first `versionRecord`, then a `scalarsRecord` for each step.
 *
 * A file is a sequence of TFRecords (https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details),
 * each a protobuf message `Event` (tensorflow/core/util/event.proto and framework/summary.proto):
 *
 *   record   8 bytes: length | 4: masked crc32c of the length | the message | 4: masked crc32c of the message
 *   Event    1: double wall_time   2: int64 step   3: string file_version   5: Summary summary
 *   Summary  1: repeated Value     Value  1: string tag   2: float simple_value
 */

/** Scalars of one step. */
export interface ScalarEvent {
  /** Seconds since 1970. */
  readonly wallTimeSeconds: number;
  /** A whole number from 0. */
  readonly step: number;
  /** By tag ("train/loss"); stored as float32, NaN and infinities as they are. */
  readonly scalars: Readonly<Record<string, number>>;
}

/** The name by which TensorBoard knows an event file. */
export function eventFileName(wallTimeSeconds: number, host: string): string {
  return `events.out.tfevents.${Math.floor(wallTimeSeconds)}.${host.replaceAll(/[^\w.-]/g, "_")}`;
}

/** The first record of a file. */
export function versionRecord(wallTimeSeconds: number, version = "brain.Event:2"): Uint8Array {
  return tfRecord([...doubleField(1, wallTimeSeconds), ...bytesField(3, utf8(version))]);
}

/** One step's record. @throws Error if the step is not a whole number from 0 */
export function scalarsRecord({ wallTimeSeconds, step, scalars }: ScalarEvent): Uint8Array {
  if (!Number.isSafeInteger(step) || step < 0) throw new Error(`tensorboard: step is ${step}; expected 0, 1, 2, ...`);
  const values = Object.entries(scalars).flatMap(([tag, value]) =>
    bytesField(1, [...bytesField(1, utf8(tag)), ...floatField(2, value)]),
  );
  // A field that is zero is left out, as protobuf's own writers do.
  const stepField = step === 0 ? [] : [...varint(2 << 3), ...varint(step)];
  return tfRecord([...doubleField(1, wallTimeSeconds), ...stepField, ...bytesField(5, values)]);
}

/** Frames a message. */
function tfRecord(message: ArrayLike<number>): Uint8Array {
  const record = new Uint8Array(8 + 4 + message.length + 4);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(message.length), true);
  view.setUint32(8, maskedCrc(record.subarray(0, 8)), true);
  record.set(message, 12);
  view.setUint32(12 + message.length, maskedCrc(record.subarray(12, 12 + message.length)), true);
  return record;
}

/** The mask keeps a checksum of data that itself holds checksums from being a special case. */
function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** One byte's remainder for every byte, by the Castagnoli polynomial with its bits reversed. */
const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C (Castagnoli; RFC 3720, appendix B.4), as an unsigned number. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 0xff];
  return ~crc >>> 0;
}

// Protobuf: a field is its number and kind in a varint, then its value; kinds: 0 varint, 1 eight bytes, 2 length and
// bytes, 5 four bytes.
const utf8 = (text: string) => new TextEncoder().encode(text);

/** Seven bits a byte, the lowest first. Divided, not shifted: shifts wrap at 32 bits. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 0x80);
  }
}

function bytesField(field: number, bytes: ArrayLike<number>): number[] {
  return [...varint((field << 3) | 2), ...varint(bytes.length), ...Array.from(bytes)];
}

function doubleField(field: number, value: number): number[] {
  return [...varint((field << 3) | 1), ...new Uint8Array(Float64Array.of(value).buffer)];
}

function floatField(field: number, value: number): number[] {
  return [...varint((field << 3) | 5), ...new Uint8Array(Float32Array.of(value).buffer)];
}
