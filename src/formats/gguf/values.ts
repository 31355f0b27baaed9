/** The metadata values of a GGUF file: their types, and how to ask for one of a certain kind. */
import { FormatError } from "../../platform/errors.ts";

/** Types in the order of their numbers in a file (9 is array). */
export const ggufTypes = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "string",
  "array",
  "u64",
  "i64",
  "f64",
] as const;
export type GgufType = (typeof ggufTypes)[number];

export type GgufNumberType = "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64";

/** An array's values: numbers in the typed array of their type (bool as 0 and 1), text, or arrays. */
export type GgufArray =
  | { type: "array"; of: GgufNumberType | "bool" | "u64" | "i64"; values: GgufNumbers }
  | { type: "array"; of: "string"; values: readonly string[] }
  | { type: "array"; of: "array"; values: readonly GgufArray[] };

export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

export type GgufValue =
  | { type: GgufNumberType; value: number }
  | { type: "bool"; value: boolean }
  | { type: "string"; value: string }
  | { type: "u64" | "i64"; value: bigint }
  | GgufArray;

/** The typed array of each type of number. */
export const numberArrays = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
  bool: Uint8Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
} as const;

export const u32 = (value: number): GgufValue => ({ type: "u32", value });
export const float = (value: number): GgufValue => ({ type: "f32", value });
export const bool = (value: boolean): GgufValue => ({ type: "bool", value });
export const text = (value: string): GgufValue => ({ type: "string", value });
export const texts = (values: readonly string[]): GgufValue => ({ type: "array", of: "string", values });

/** Metadata by key, with what to say where something is missing or of another kind. */
export class GgufMetadata {
  constructor(
    private readonly entries: ReadonlyMap<string, GgufValue>,
    /** The file's path, for messages. */
    readonly where: string,
  ) {}

  get keys(): string[] {
    return [...this.entries.keys()];
  }

  has(key: string): boolean {
    return this.entries.has(key);
  }

  get(key: string): GgufValue | undefined {
    return this.entries.get(key);
  }

  private refuse(key: string, wanted: string): FormatError {
    const value = this.entries.get(key);
    if (!value) return new FormatError(`${this.where}: has no ${key}; expected ${wanted}`);
    const shown =
      value.type === "array"
        ? `an array of ${value.of}`
        : `${value.type} ${JSON.stringify(String(value.value)).slice(0, 60)}`;
    return new FormatError(`${this.where}: ${key} is ${shown}; expected ${wanted}`);
  }

  /** A number of any type, if the key is there. */
  findNumber(key: string): number | undefined {
    const value = this.entries.get(key);
    if (!value) return undefined;
    if (value.type === "array" || value.type === "bool" || value.type === "string") throw this.refuse(key, "a number");
    return Number(value.value);
  }

  /** @throws FormatError where it is missing or no number */
  number(key: string): number {
    const value = this.findNumber(key);
    if (value === undefined) throw this.refuse(key, "a number");
    return value;
  }

  /** A whole number from `least`. @throws FormatError where it is missing or something else */
  count(key: string, least = 1): number {
    const value = this.number(key);
    if (!Number.isSafeInteger(value) || value < least) throw this.refuse(key, `a whole number from ${least}`);
    return value;
  }

  findCount(key: string, least = 0): number | undefined {
    return this.entries.has(key) ? this.count(key, least) : undefined;
  }

  findText(key: string): string | undefined {
    const value = this.entries.get(key);
    if (value && value.type !== "string") throw this.refuse(key, "a string");
    return value?.value;
  }

  text(key: string): string {
    const value = this.findText(key);
    if (value === undefined) throw this.refuse(key, "a string");
    return value;
  }

  /** True or false, also where a converter wrote 1 or 0 as a number. */
  findBool(key: string): boolean | undefined {
    const value = this.entries.get(key);
    if (!value || value.type === "bool") return value?.value;
    const number = value.type === "array" || value.type === "string" ? Number.NaN : Number(value.value);
    if (number !== 0 && number !== 1) throw this.refuse(key, "true or false");
    return number === 1;
  }

  texts(key: string): readonly string[] {
    const value = this.entries.get(key);
    if (value?.type !== "array" || value.of !== "string") throw this.refuse(key, "an array of strings");
    return value.values;
  }

  /** An array of numbers, if the key is there. */
  findNumbers(key: string): Exclude<GgufNumbers, BigUint64Array | BigInt64Array> | undefined {
    const value = this.entries.get(key);
    if (!value) return undefined;
    if (value.type !== "array" || value.of === "string" || value.of === "array")
      throw this.refuse(key, "an array of numbers");
    const { values } = value;
    return values instanceof BigUint64Array || values instanceof BigInt64Array
      ? Float64Array.from(values as ArrayLike<unknown> as ArrayLike<bigint>, Number)
      : values;
  }
}
