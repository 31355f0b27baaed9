/** Columns of typed arrays as the bytes of a Parquet file: flat, required, plain, uncompressed (hashes do not compress). */
import { parquetWriteBuffer } from "hyparquet-writer";

export type Column = { name: string; data: Int32Array | BigInt64Array | Float64Array };

const typeOf = ({ data }: Column) =>
  data instanceof Int32Array ? "INT32" : data instanceof BigInt64Array ? "INT64" : "DOUBLE";

export function parquetBytes(columns: readonly Column[]): ArrayBuffer {
  return parquetWriteBuffer({
    codec: "UNCOMPRESSED",
    rowGroupSize: 2 ** 30,
    schema: [
      { name: "root", num_children: columns.length },
      ...columns.map((column) => ({
        name: column.name,
        type: typeOf(column) as "INT32" | "INT64" | "DOUBLE",
        repetition_type: "REQUIRED" as const,
      })),
    ],
    // Bounds of `doc` let an engine pass over files; those of hashes say nothing.
    columnData: columns.map((column) => ({ ...column, encoding: "PLAIN" as const, statistics: column.name === "doc" })),
  });
}

/** 64-bit integers whose halves are filled as 32-bit ones: [low, high] for each (both little-endian, as every machine of Node's). */
export function wideColumn(length: number): { halves: Int32Array; data: BigInt64Array } {
  const data = new BigInt64Array(length);
  return { data, halves: new Int32Array(data.buffer) };
}
